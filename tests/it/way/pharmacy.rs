//! The whole way of another application than OpenMRS: nothing about tables is compiled in.

use headwater_rig::{Flavor, Server, ServerOptions};

use crate::nodes::{Pair, Tables};
use crate::support::on_both;

const PHARMACY: Tables = Tables { database: "pharmacy", map: "schema-maps/pharmacy.toml" };

const WORK: &str = "
INSERT INTO staff VALUES ('amina', 'Amina D.', 'secret'), ('jo', 'Jo', 'secret too');
INSERT INTO product (sku, name, form, price) VALUES
  ('AMX-250', 'Amoxicillin', 'syrup', 1.2500), ('ORS', 'Salts', 'it''s other', NULL);
INSERT INTO store VALUES (0x000102030405060708090A0B0C0D0E0F, 'Main', NULL);
INSERT INTO store VALUES (0x00FF0000000000000000000000000020, 'Ward', 0x000102030405060708090A0B0C0D0E0F);
INSERT INTO lot (guid, product_id, expires) VALUES
  (0x11110000000000000000000000000000, (SELECT id FROM product WHERE sku = 'AMX-250'), '2027-01-31'),
  (0x11110000000000000000000000000009, (SELECT id FROM product WHERE sku = 'ORS'), NULL);
INSERT INTO stock SELECT store.id, lot.id, 12.5, '2026-01-02 03:04:05' FROM store, lot;
INSERT INTO dispensing (guid, lot_id, dispensed_by, quantity, dispensed_at)
  SELECT REVERSE(guid), id, 'amina', 2, '2026-01-02 03:04:05.000001' FROM lot;
INSERT INTO attachment (guid, owner_type, owner_id, content)
  SELECT guid, 'lot', id, REPEAT(0x00FF, 5000) FROM lot;
INSERT INTO attachment (guid, owner_type, owner_id, content)
  SELECT guid, 'dispensing', id, 'a slip' FROM dispensing;
INSERT INTO product_tag SELECT id, 'cold' FROM product;
INSERT INTO audit_log (written_at, entry) VALUES ('2026-01-02', 'stays here');
BEGIN;
UPDATE stock SET quantity = quantity - 2 WHERE store_id = 0x00FF0000000000000000000000000020;
UPDATE dispensing SET replaces_id = (SELECT id FROM (SELECT MIN(id) AS id FROM dispensing) AS first)
  WHERE dispensed_by = 'amina' ORDER BY id DESC LIMIT 1;
COMMIT;
UPDATE product SET sku = 'ORS-1L' WHERE sku = 'ORS';
UPDATE staff SET full_name = 'Joanna', pin_hash = 'changed' WHERE code = 'jo';
DELETE FROM product_tag WHERE product_id = (SELECT id FROM product WHERE sku = 'AMX-250');
DELETE FROM stock WHERE store_id = 0x000102030405060708090A0B0C0D0E0F;";

async fn another_application_s_rows_arrive(flavor: Flavor) {
    let mut servers = Vec::new();
    for numbers in [1, 700] {
        let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
        server.sql("CREATE DATABASE pharmacy CHARACTER SET utf8mb4").await.unwrap();
        server.sql_in("pharmacy", include_str!("../../pharmacy/schema.sql")).await.unwrap();
        for table in ["product", "lot", "dispensing", "attachment"] {
            let sql = format!("ALTER TABLE {table} AUTO_INCREMENT = {numbers}");
            server.sql_in("pharmacy", &sql).await.unwrap();
        }
        servers.push(server);
    }
    let [child, parent] = <[Server; 2]>::try_from(servers).ok().unwrap();
    let mut pair = Pair::enrolled_with(child, parent, PHARMACY).await;
    pair.parent.start();
    pair.child.start();
    pair.captures().await;
    pair.at_child(WORK).await;
    pair.in_step().await;
    let with = pair.parent.config.to_str().unwrap().to_owned();
    let said = pair.child.says(&["compare", "--with", &with]);
    // 2 of staff, product, store, lot, stock, dispensing, 4 attachments, a tag.
    assert_eq!(said.lines().last(), Some("in step: 17 rows in 8 tables, 0 differences"), "{said}");
    // The servers' own words for what refers by number, beside what compare says.
    let owners =
        "SELECT GROUP_CONCAT(CONCAT(owner_type, ' ', COALESCE(HEX(lot.guid), HEX(dispensing.guid)))
        ORDER BY HEX(attachment.guid)) FROM attachment
        LEFT JOIN lot ON owner_type = 'lot' AND lot.id = owner_id
        LEFT JOIN dispensing ON owner_type = 'dispensing' AND dispensing.id = owner_id";
    let at_child = pair.child_server.ask("pharmacy", owners).await.unwrap().unwrap();
    assert_eq!(pair.parent_says(owners).await.unwrap(), at_child);
    let others = "SELECT CONCAT((SELECT MIN(id) FROM lot) >= 700, ' ', (SELECT GROUP_CONCAT(pin_hash) FROM staff),
        ' ', (SELECT COUNT(*) FROM audit_log))";
    assert_eq!(pair.parent_says(others).await.as_deref(), Some("1 , 0"));
}

on_both!(another_application_s_rows_arrive);
