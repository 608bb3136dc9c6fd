-- A small pharmacy that is not OpenMRS: shows that nothing about tables is compiled in.
CREATE TABLE staff (
  code VARCHAR(20) NOT NULL PRIMARY KEY,
  full_name VARCHAR(100) NOT NULL,
  pin_hash VARCHAR(100) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE product (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  sku VARCHAR(40) NOT NULL,
  name VARCHAR(200) NOT NULL,
  form ENUM('tablet','syrup','ointment','it''s other') NOT NULL DEFAULT 'tablet',
  price DECIMAL(12,4) NULL,
  label VARCHAR(250) GENERATED ALWAYS AS (CONCAT(sku, ' ', name)) STORED,
  UNIQUE KEY uq_product_sku (sku)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE store (
  id BINARY(16) NOT NULL PRIMARY KEY,
  name VARCHAR(100) NOT NULL,
  parent_id BINARY(16) NULL,
  CONSTRAINT store_parent FOREIGN KEY (parent_id) REFERENCES store (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE lot (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  guid BINARY(16) NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  expires DATE NULL,
  UNIQUE KEY uq_lot_guid (guid),
  CONSTRAINT lot_product FOREIGN KEY (product_id) REFERENCES product (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE stock (
  store_id BINARY(16) NOT NULL,
  lot_id BIGINT NOT NULL,
  quantity DECIMAL(14,3) NOT NULL,
  counted_at TIMESTAMP NULL,
  PRIMARY KEY (store_id, lot_id),
  CONSTRAINT stock_store FOREIGN KEY (store_id) REFERENCES store (id),
  CONSTRAINT stock_lot FOREIGN KEY (lot_id) REFERENCES lot (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE dispensing (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  guid BINARY(16) NOT NULL,
  lot_id BIGINT NOT NULL,
  dispensed_by VARCHAR(20) NOT NULL,
  quantity DECIMAL(14,3) NOT NULL,
  dispensed_at DATETIME(6) NOT NULL,
  replaces_id BIGINT NULL,
  UNIQUE KEY uq_dispensing_guid (guid),
  CONSTRAINT dispensing_lot FOREIGN KEY (lot_id) REFERENCES lot (id),
  CONSTRAINT dispensing_staff FOREIGN KEY (dispensed_by) REFERENCES staff (code),
  CONSTRAINT dispensing_replaces FOREIGN KEY (replaces_id) REFERENCES dispensing (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE attachment (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  guid BINARY(16) NOT NULL,
  owner_type VARCHAR(40) NOT NULL,
  owner_id BIGINT NOT NULL,
  content LONGBLOB NOT NULL,
  UNIQUE KEY uq_attachment_guid (guid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE product_tag (
  product_id INT UNSIGNED NOT NULL,
  tag VARCHAR(40) NOT NULL,
  KEY product_tag_product (product_id),
  CONSTRAINT product_tag_product FOREIGN KEY (product_id) REFERENCES product (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE audit_log (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  written_at DATETIME NOT NULL,
  entry TEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
