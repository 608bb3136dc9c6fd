//! Statements that change rows without the rows being in the log, in all the ways in which they can
//! be written, and statements that only look so.

use super::{Surprise, everywhere, is_mariadb};
use headwater_rig::Flavor;

pub(super) const TOLD: &[Surprise] = &[
    everywhere("LOAD DATA", |_| {
        Some(
            "SELECT 'l-1', 'loaded' UNION ALL SELECT 'l-2', 'loaded' INTO OUTFILE './load-1';
             LOAD DATA INFILE './load-1' INTO TABLE note (uuid, text)",
        )
    }),
    everywhere("LOAD DATA in statement format", |_| {
        Some(
            "SELECT 'l-1', 'loaded' UNION ALL SELECT 'l-2', 'loaded' INTO OUTFILE './load-2';
             SET SESSION binlog_format = STATEMENT;
             LOAD DATA INFILE './load-2' INTO TABLE note (uuid, text)",
        )
    }),
    everywhere("statement format for another table of the database", |_| {
        Some("SET SESSION binlog_format = STATEMENT; INSERT INTO loose (text) VALUES ('note')")
    })
    .says("some table of clinic"),
    everywhere("statement format for tables outside of the database", |_| {
        Some(
            "CREATE DATABASE elsewhere; USE elsewhere; CREATE TABLE note (text VARCHAR(9));
             SET SESSION binlog_format = STATEMENT; INSERT INTO note VALUES ('clinic')",
        )
    })
    .says("ran in database elsewhere")
    .after("DROP DATABASE elsewhere"),
    everywhere(
        "statement format in another database that the configuration calls harmless",
        |_| {
            Some(
                "CREATE DATABASE harmless; USE harmless; CREATE TABLE note (text VARCHAR(9));
             SET SESSION binlog_format = STATEMENT; INSERT INTO note VALUES ('note')",
            )
        },
    )
    .after("DROP DATABASE harmless"),
    everywhere(
        "trigger of another database that writes a mapped table, in statement format",
        |_| {
            Some(
                "CREATE DATABASE elsewhere; USE elsewhere;
             CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200));
             CREATE TRIGGER fires AFTER INSERT ON other FOR EACH ROW
               UPDATE clinic.note SET text = 'trigger' WHERE uuid = 'n-2';
             SET SESSION binlog_format = STATEMENT; INSERT INTO other (text) VALUES ('fires')",
            )
        },
    )
    .says("a session in statement format")
    .after("DROP DATABASE elsewhere"),
    everywhere("trigger that writes a mapped table, in statement format", |_| {
        Some(
            "CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200));
             CREATE TRIGGER fires AFTER INSERT ON other FOR EACH ROW
               UPDATE note SET text = 'trigger' WHERE uuid = 'n-2';
             SET SESSION binlog_format = STATEMENT; INSERT INTO other (text) VALUES ('fires')",
        )
    })
    .says("some table of clinic")
    .after("DROP TABLE other"),
    everywhere("function that writes a mapped table", |_| {
        Some(
            "CREATE FUNCTION writes() RETURNS INT DETERMINISTIC MODIFIES SQL DATA
               BEGIN UPDATE note SET text = 'function' WHERE uuid = 'n-1'; RETURN 1; END;
             SELECT writes(); DO writes(); SET @a = writes()",
        )
    })
    .after("DROP FUNCTION writes"),
    everywhere("function that writes a mapped table, in statement format", |_| {
        Some(
            "CREATE FUNCTION writes() RETURNS INT DETERMINISTIC MODIFIES SQL DATA
               BEGIN UPDATE note SET text = 'function' WHERE uuid = 'n-1'; RETURN 1; END;
             SET SESSION binlog_format = STATEMENT; DO writes()",
        )
    })
    .says("some table of clinic")
    .after("DROP FUNCTION writes"),
    everywhere("view of a mapped table written, in statement format", |_| {
        Some(
            "CREATE VIEW seen AS SELECT * FROM note; SET SESSION binlog_format = STATEMENT;
             UPDATE seen SET text = 'view' WHERE uuid = 'n-1'",
        )
    })
    .says("some table of clinic")
    .after("DROP VIEW seen"),
    everywhere("procedure that writes mapped tables", |_| {
        Some(
            "CREATE PROCEDURE works(IN what VARCHAR(20)) BEGIN
               UPDATE note SET text = what WHERE uuid = 'n-1';
               INSERT INTO ward (uuid, text) VALUES ('w-9', what); END;
             CALL works('by procedure')",
        )
    })
    .after("DROP PROCEDURE works"),
    everywhere("TRUNCATE inside of a procedure", |_| {
        Some("CREATE PROCEDURE empties() BEGIN TRUNCATE TABLE note; END; CALL empties()")
    })
    .after("DROP PROCEDURE empties"),
    everywhere("TRUNCATE behind a comment", |_| Some("/* d */ -- don't\nTRUNCATE TABLE note")),
    everywhere("TRUNCATE of a name in double quotes", |_| {
        Some("SET SESSION sql_mode = 'ANSI_QUOTES'; TRUNCATE TABLE \"note\"")
    }),
    everywhere("TRUNCATE inside of a version's comment", |flavor| {
        Some(match flavor {
            Flavor::Mariadb1011 => "/*M!100000 TRUNCATE TABLE note */",
            Flavor::Mariadb118 => "/*M!110000 TRUNCATE TABLE note */",
            _ => "/*!50000 TRUNCATE TABLE note */",
        })
    }),
    everywhere("TRUNCATE under SET STATEMENT", |flavor| {
        is_mariadb(flavor).then_some("SET STATEMENT max_statement_time = 0 FOR TRUNCATE TABLE note")
    }),
    everywhere("TRUNCATE from another database", |_| {
        Some("CREATE DATABASE elsewhere; USE elsewhere; TRUNCATE TABLE `clinic` . `note`")
    })
    .after("DROP DATABASE elsewhere"),
    everywhere("TRUNCATE of a table of the same name in another database", |_| {
        Some(
            "CREATE DATABASE elsewhere; CREATE TABLE elsewhere.note (text VARCHAR(9));
             TRUNCATE TABLE elsewhere.note",
        )
    })
    .after("DROP DATABASE elsewhere"),
    everywhere("partition exchanged with a table", |_| {
        Some(
            "SET foreign_key_checks = 0;
             ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id);
             CREATE TABLE parted LIKE note;
             ALTER TABLE parted PARTITION BY RANGE (note_id) (PARTITION p VALUES LESS THAN (99));
             ALTER TABLE parted EXCHANGE PARTITION p WITH TABLE note",
        )
    })
    .after("DROP TABLE parted"),
    everywhere("partition made a table of its own", |flavor| {
        is_mariadb(flavor).then_some(
            "SET foreign_key_checks = 0;
             ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id);
             ALTER TABLE note PARTITION BY RANGE (note_id)
               (PARTITION p VALUES LESS THAN (2), PARTITION q VALUES LESS THAN (99));
             ALTER TABLE note CONVERT PARTITION q TO TABLE gone",
        )
    })
    .after("DROP TABLE gone"),
    everywhere("tablespace discarded", |_| {
        Some("SET foreign_key_checks = 0; ALTER TABLE note DISCARD TABLESPACE")
    }),
    everywhere("ALTER IGNORE that drops duplicates", |flavor| {
        (flavor.is_mariadb() || flavor == Flavor::Mysql56).then_some(
            "INSERT INTO note (uuid, text) VALUES ('i-1', 'same'), ('i-2', 'same');
             ALTER IGNORE TABLE note ADD UNIQUE KEY once (text(20))",
        )
    }),
    everywhere("temporary table named like a mapped one", |_| {
        Some(
            "CREATE TEMPORARY TABLE note (text VARCHAR(9)); INSERT INTO note VALUES ('hidden');
             DROP TEMPORARY TABLE note; INSERT INTO note (uuid, text) VALUES ('t-1', 'seen')",
        )
    }),
    everywhere("INSERT DELAYED", |_| {
        Some("INSERT DELAYED INTO note (uuid, text) VALUES ('d-1', 'delayed')")
    }),
    everywhere("LOW_PRIORITY, HIGH_PRIORITY, QUICK and IGNORE", |_| {
        Some(
            "INSERT LOW_PRIORITY IGNORE INTO note (uuid, text) VALUES ('n-1', 'x'), ('o-1', 'low');
             INSERT HIGH_PRIORITY INTO note (uuid, text) VALUES ('o-2', 'high');
             UPDATE LOW_PRIORITY IGNORE note SET text = 'lower' WHERE uuid = 'o-1';
             REPLACE LOW_PRIORITY INTO note (uuid, text) VALUES ('o-2', 'replaced');
             DELETE LOW_PRIORITY QUICK IGNORE FROM note WHERE uuid = 'n-3'",
        )
    }),
    everywhere("tables under other names in a statement", |_| {
        Some(
            "UPDATE `clinic` . `note` AS `ward`, `ward` AS `note`
               SET `ward`.`text` = 'a note', `note`.`text` = 'a ward'
               WHERE `ward`.`ward_id` = `note`.`ward_id` AND `note`.`uuid` = 'w-1'",
        )
    }),
    everywhere("ANALYZE of an update", |flavor| {
        is_mariadb(flavor).then_some("ANALYZE UPDATE note SET text = 'analysed' WHERE uuid = 'n-1'")
    }),
    everywhere("ANALYZE of an update, in statement format", |flavor| {
        is_mariadb(flavor).then_some(
            "SET SESSION binlog_format = STATEMENT;
             ANALYZE FORMAT = JSON UPDATE note SET text = 'analysed' WHERE uuid = 'n-1'",
        )
    }),
];
