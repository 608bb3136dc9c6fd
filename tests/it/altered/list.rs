//! The alterations that are told.

use headwater_rig::Flavor;

/// One way of altering a table, called `{t}`.
pub(super) struct Alteration {
    pub(super) row: &'static str,
    pub(super) on: fn(Flavor) -> bool,
    /// Specifications that come before capture begins.
    pub(super) first: &'static str,
    /// What the row before it gets beside the usual, or instead of it.
    pub(super) before: Option<(&'static str, &'static str)>,
    /// What makes that row fit the new definition.
    pub(super) ready: &'static str,
    /// The statements, separated by semicolons; or specifications of an `ALTER TABLE`.
    pub(super) alter: &'static str,
    /// What rows get after it.
    pub(super) after: &'static str,
    /// What makes them fit the former definition.
    pub(super) fit: &'static str,
    /// Specifications that undo it.
    pub(super) back: &'static str,
    /// What they get after that.
    pub(super) last: &'static str,
}

const fn altered(
    row: &'static str,
    alter: &'static str,
    after: &'static str,
    back: &'static str,
) -> Alteration {
    Alteration {
        row,
        on: |_| true,
        first: "",
        before: None,
        ready: "",
        alter,
        after,
        fit: "",
        back,
        last: "one = 'last', two = 'of all', number = 9",
    }
}

impl Alteration {
    const fn first(self, first: &'static str) -> Alteration {
        Alteration { first, ..self }
    }

    const fn before(self, column: &'static str, value: &'static str) -> Alteration {
        Alteration { before: Some((column, value)), ..self }
    }

    const fn ready(self, ready: &'static str) -> Alteration {
        Alteration { ready, ..self }
    }

    const fn fit(self, fit: &'static str) -> Alteration {
        Alteration { fit, ..self }
    }

    const fn last(self, last: &'static str) -> Alteration {
        Alteration { last, ..self }
    }

    const fn on(self, on: fn(Flavor) -> bool) -> Alteration {
        Alteration { on, ..self }
    }
}

pub(super) const ALTERATIONS: &[Alteration] = &[
    altered(
        "two columns of one type change places",
        "MODIFY one VARCHAR(20) AFTER two",
        "one = 'eins', two = 'zwei'",
        "MODIFY one VARCHAR(20) AFTER uuid",
    ),
    altered(
        "two columns of one type change names",
        "CHANGE one two VARCHAR(20), CHANGE two one VARCHAR(20)",
        "one = 'eins', two = 'zwei'",
        "CHANGE one two VARCHAR(20), CHANGE two one VARCHAR(20)",
    ),
    altered(
        "a reference and a number change places",
        "MODIFY ward_id INT AFTER number",
        "ward_id = 2, number = 1",
        "MODIFY ward_id INT AFTER two",
    )
    .last("ward_id = 3, number = 2"),
    altered(
        "identity and another column of its type change places",
        "MODIFY uuid CHAR(36) NOT NULL AFTER other",
        "other = 'o-2'",
        "MODIFY uuid CHAR(36) NOT NULL AFTER id",
    )
    .first("ADD COLUMN other CHAR(36) NOT NULL AFTER uuid")
    .before("other", "'o-1'")
    .last("other = 'o-3'"),
    altered(
        "local key and a number change places",
        "MODIFY id INT AUTO_INCREMENT AFTER number, MODIFY number INT FIRST",
        "number = 77",
        "MODIFY id INT AUTO_INCREMENT FIRST, MODIFY number INT AFTER ward_id",
    ),
    altered(
        "column moved to the front",
        "MODIFY number INT FIRST",
        "number = 77, one = 'eins'",
        "MODIFY number INT AFTER ward_id",
    ),
    altered(
        "column added before one of its type",
        "ADD COLUMN more VARCHAR(20) AFTER uuid",
        "more = 'mehr', one = 'eins'",
        "DROP COLUMN more",
    ),
    altered(
        "column added, another of its type dropped",
        "DROP COLUMN two, ADD COLUMN more VARCHAR(20) AFTER uuid",
        "more = 'mehr', one = 'eins'",
        "DROP COLUMN more, ADD COLUMN two VARCHAR(20) AFTER one",
    ),
    altered(
        "column dropped",
        "DROP COLUMN one",
        "two = 'zwei'",
        "ADD COLUMN one VARCHAR(20) AFTER uuid",
    ),
    altered(
        "column renamed",
        "CHANGE one uno VARCHAR(20)",
        "uno = 'eins'",
        "CHANGE uno one VARCHAR(20)",
    ),
    altered("INT made BIGINT", "MODIFY number BIGINT", "number = -9000000000", "MODIFY number INT")
        .fit("number = 1"),
    altered(
        "INT made INT UNSIGNED",
        "MODIFY number INT UNSIGNED",
        "number = 4000000000",
        "MODIFY number INT",
    )
    .fit("number = 1")
    .last("number = -9"),
    altered(
        "INT UNSIGNED made INT",
        "MODIFY number INT",
        "number = -5",
        "MODIFY number INT UNSIGNED",
    )
    .first("MODIFY number INT UNSIGNED")
    .before("number", "4000000000")
    .ready("number = 5")
    .fit("number = 1")
    .last("number = 4000000001"),
    altered("TINYINT made SMALLINT", "MODIFY small SMALLINT", "small = -300", "MODIFY small TINYINT")
        .fit("small = 1"),
    altered("FLOAT made DOUBLE", "MODIFY ratio DOUBLE", "ratio = 0.1", "MODIFY ratio FLOAT"),
    altered(
        "DECIMAL(5,2) made DECIMAL(9,4)",
        "MODIFY price DECIMAL(9,4)",
        "price = 12345.6789",
        "MODIFY price DECIMAL(5,2)",
    )
    .fit("price = 1"),
    altered(
        "DATETIME made DATETIME(6)",
        "MODIFY at DATETIME(6)",
        "at = '2026-01-02 03:04:05.123456'",
        "MODIFY at DATETIME",
    )
    .fit("at = '2026-01-02 03:04:05'"),
    altered(
        "DATETIME made TIMESTAMP",
        "MODIFY at TIMESTAMP NULL",
        "at = '2026-02-03 04:05:06'",
        "MODIFY at DATETIME",
    ),
    altered(
        "VARCHAR(20) made VARCHAR(300)",
        "MODIFY one VARCHAR(300)",
        "one = REPEAT('\u{fc}', 300), two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .fit("one = '1'"),
    altered("INT made VARCHAR", "MODIFY number VARCHAR(20)", "number = 'seven'", "MODIFY number INT")
        .fit("number = '1'"),
    altered("VARCHAR made INT", "MODIFY one INT", "one = -13", "MODIFY one VARCHAR(20)")
        .ready("one = '12'"),
    altered(
        "VARCHAR made VARBINARY",
        "MODIFY one VARBINARY(20)",
        "one = x'00FF', two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .fit("one = 'fits'"),
    altered("CHAR made CHAR(200)", "MODIFY short CHAR(200)", "short = REPEAT('\u{fc}', 200)", "MODIFY short CHAR(10)")
        .fit("short = 's'"),
    altered("TEXT made BLOB", "MODIFY body BLOB", "body = x'00FF'", "MODIFY body TEXT")
        .fit("body = 'fits'")
        .last("body = '\u{fc}'"),
    altered("BLOB made TEXT", "MODIFY body TEXT", "body = '\u{fc}'", "MODIFY body BLOB")
        .first("MODIFY body BLOB")
        .before("body", "x'00FF'")
        .ready("body = 'text'")
        .last("body = x'00FF'"),
    altered(
        "VARCHAR of another character set",
        "MODIFY one VARCHAR(20) CHARACTER SET latin1",
        "one = '\u{fc}'",
        "MODIFY one VARCHAR(20) CHARACTER SET utf8mb4",
    )
    .last("one = '\u{20ac}'"),
    altered(
        "TEXT of another character set",
        "MODIFY body TEXT CHARACTER SET latin1",
        "body = '\u{fc}'",
        "MODIFY body TEXT CHARACTER SET utf8mb4",
    )
    .last("body = '\u{20ac}'"),
    altered(
        "table converted to another character set",
        "CONVERT TO CHARACTER SET latin1",
        "one = '\u{fc}', body = '\u{fc}', short = '\u{fc}'",
        "CONVERT TO CHARACTER SET utf8mb4",
    )
    .last("one = '\u{20ac}', body = '\u{20ac}', short = '\u{20ac}'"),
    altered(
        "members of an ENUM reordered",
        "MODIFY state ENUM('c','b','a')",
        "state = 'c'",
        "MODIFY state ENUM('a','b','c')",
    )
    .last("state = 'b'"),
    altered(
        "member put before those of an ENUM",
        "MODIFY state ENUM('new','a','b','c')",
        "state = 'b'",
        "MODIFY state ENUM('a','b','c')",
    )
    .last("state = 'c'"),
    altered(
        "members of a SET reordered",
        "MODIFY flags SET('y','x')",
        "flags = 'y'",
        "MODIFY flags SET('x','y')",
    )
    .last("flags = 'x,y'"),
    altered(
        "VARCHAR made VARCHAR COMPRESSED",
        "MODIFY one VARCHAR(200) COMPRESSED",
        "one = REPEAT('\u{fc}', 150), two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .on(Flavor::is_mariadb)
    .fit("one = 'fits'"),
    altered(
        "UUID made BINARY(16)",
        "MODIFY ident BINARY(16)",
        "ident = x'00112233445566778899AABBCCDDEEFF'",
        "MODIFY ident UUID",
    )
    .on(Flavor::is_mariadb)
    .first("ADD COLUMN ident UUID")
    .before("ident", "'6ccd780c-baba-1026-9564-5b8c656024db'")
    .fit("ident = NULL")
    .last("ident = '6ccd780c-baba-1026-9564-5b8c656024dc'"),
    altered(
        "BINARY(16) made INET6",
        "MODIFY ident INET6",
        "ident = '2001:db8::ff00:42:8329'",
        "MODIFY ident BINARY(16)",
    )
    .on(Flavor::is_mariadb)
    .first("ADD COLUMN ident BINARY(16)")
    .before("ident", "x'00112233445566778899AABBCCDDEEFF'")
    .last("ident = x'00112233445566778899AABBCCDDEE00'"),
    altered(
        "swapped for its copy, as gh-ost does it",
        "CREATE TABLE _{t}_gho LIKE {t};
         ALTER TABLE _{t}_gho MODIFY one VARCHAR(20) AFTER two, ADD COLUMN more INT AFTER id;
         CREATE TABLE _{t}_ghc (id BIGINT AUTO_INCREMENT PRIMARY KEY, hint VARCHAR(64)) ENGINE = InnoDB;
         INSERT INTO _{t}_ghc (hint) VALUES ('copying');
         INSERT IGNORE INTO _{t}_gho (id, uuid, one, two, ward_id, number, price, at, state, flags,
           body, short, ratio, small)
           SELECT id, uuid, one, two, ward_id, number, price, at, state, flags, body, short, ratio,
             small FROM {t} FORCE INDEX (PRIMARY) LOCK IN SHARE MODE;
         UPDATE {t} SET two = 'while it is copied';
         REPLACE INTO _{t}_gho (id, uuid, one, two, ward_id, number, price, at, state, flags, body,
           short, ratio, small)
           SELECT id, uuid, one, two, ward_id, number, price, at, state, flags, body, short, ratio,
             small FROM {t};
         CREATE TABLE _{t}_del (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB
           COMMENT = 'ghost-cut-over-sentry';
         DROP TABLE IF EXISTS _{t}_del;
         RENAME TABLE {t} TO _{t}_del, _{t}_gho TO {t};
         DROP TABLE _{t}_ghc;
         DROP TABLE _{t}_del",
        "one = 'eins', two = 'zwei', more = 4, number = 1, ward_id = 2",
        "MODIFY one VARCHAR(20) AFTER uuid, DROP COLUMN more",
    ),
    altered(
        "swapped for its copy, as pt-online-schema-change does it",
        "CREATE TABLE _{t}_new LIKE {t};
         ALTER TABLE _{t}_new ADD CONSTRAINT _{t}_ward FOREIGN KEY (ward_id) REFERENCES ward (ward_id),
           MODIFY one VARCHAR(20) AFTER two, ADD COLUMN more INT AFTER id;
         CREATE TRIGGER pt_osc_{t}_del AFTER DELETE ON {t} FOR EACH ROW
           DELETE IGNORE FROM _{t}_new WHERE _{t}_new.id <=> OLD.id;
         CREATE TRIGGER pt_osc_{t}_upd AFTER UPDATE ON {t} FOR EACH ROW
           REPLACE INTO _{t}_new (id, uuid, one, two, ward_id, number)
             VALUES (NEW.id, NEW.uuid, NEW.one, NEW.two, NEW.ward_id, NEW.number);
         CREATE TRIGGER pt_osc_{t}_ins AFTER INSERT ON {t} FOR EACH ROW
           REPLACE INTO _{t}_new (id, uuid, one, two, ward_id, number)
             VALUES (NEW.id, NEW.uuid, NEW.one, NEW.two, NEW.ward_id, NEW.number);
         INSERT INTO {t} SET uuid = 'r-t', one = 'trigger', two = 'before the copy', number = 5;
         INSERT LOW_PRIORITY IGNORE INTO _{t}_new (id, uuid, one, two, ward_id, number)
           SELECT id, uuid, one, two, ward_id, number FROM {t} LOCK IN SHARE MODE;
         UPDATE {t} SET two = 'while it is copied';
         DELETE FROM {t} WHERE uuid = 'r-t';
         RENAME TABLE {t} TO _{t}_old, _{t}_new TO {t};
         DROP TABLE IF EXISTS _{t}_old;
         DROP TRIGGER IF EXISTS pt_osc_{t}_del;
         DROP TRIGGER IF EXISTS pt_osc_{t}_upd;
         DROP TRIGGER IF EXISTS pt_osc_{t}_ins",
        "one = 'eins', two = 'zwei', more = 4, number = 1, ward_id = 2",
        "MODIFY one VARCHAR(20) AFTER uuid, DROP COLUMN more",
    ),
];
