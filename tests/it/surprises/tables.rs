//! Definitions that bring rows, take them away, or change what the table is.

use super::{Surprise, everywhere, is_mariadb};

pub(super) const TOLD: &[Surprise] = &[
    everywhere("table dropped and made again", |_| {
        Some(
            "SET foreign_key_checks = 0; DROP TABLE note;
             CREATE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300), ward_id INT,
               note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
             INSERT INTO note (uuid, text) VALUES ('m-1', 'made')",
        )
    }),
    everywhere("CREATE OR REPLACE TABLE", |flavor| {
        is_mariadb(flavor).then_some(
            "SET foreign_key_checks = 0;
             CREATE OR REPLACE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300),
               ward_id INT, note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
             INSERT INTO note (uuid, text) VALUES ('m-1', 'made')",
        )
    }),
    everywhere("table dropped and made again while capture was behind, names in the log", |flavor| {
        flavor.names_columns().then_some(
            "SET foreign_key_checks = 0;
             UPDATE note SET text = 'before' WHERE uuid = 'n-2'; DROP TABLE note;
             CREATE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300), ward_id INT,
               note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
             INSERT INTO note (uuid, text) VALUES ('m-1', 'made')",
        )
    })
    .behind(),
    everywhere("table dropped and made again while capture was behind", |flavor| {
        Some(match flavor {
            _ if !flavor.names_columns() => {
                "SET foreign_key_checks = 0; DROP TABLE note;
                 CREATE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300), ward_id INT,
                   note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('m-1', 'made')"
            }
            _ if !flavor.is_mariadb() => {
                "SET GLOBAL binlog_row_metadata = MINIMAL; SET foreign_key_checks = 0;
                 DROP TABLE note;
                 CREATE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300), ward_id INT,
                   note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('m-1', 'made');
                 SET GLOBAL binlog_row_metadata = FULL"
            }
            _ => {
                "SET GLOBAL binlog_row_metadata = NO_LOG; SET foreign_key_checks = 0;
                 DROP TABLE note;
                 CREATE TABLE note (uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(300), ward_id INT,
                   note_id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('m-1', 'made');
                 SET GLOBAL binlog_row_metadata = FULL"
            }
        })
    })
    .behind(),
    everywhere("database dropped and made again", |_| {
        Some(
            "DROP DATABASE clinic; CREATE DATABASE clinic CHARACTER SET utf8mb4; USE clinic;
             CREATE TABLE ward (ward_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,
               text VARCHAR(200)) ENGINE = InnoDB;
             CREATE TABLE note (note_id INT AUTO_INCREMENT PRIMARY KEY,
               uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(200)) ENGINE = InnoDB;
             INSERT INTO note (uuid, text) VALUES ('m-1', 'made')",
        )
    }),
    everywhere("table renamed away, another renamed to its name", |_| {
        Some(
            "CREATE TABLE note_new LIKE note; INSERT INTO note_new (uuid, text) VALUES ('r-1', 'new');
             RENAME TABLE note TO note_old, note_new TO note;
             INSERT INTO note (uuid, text) VALUES ('r-2', 'renamed')",
        )
    })
    .after("DROP TABLE note_old"),
    everywhere("another table given a column and a key that are called like a mapped table", |_| {
        Some(
            "INSERT INTO note (uuid, text) VALUES ('o-1', 'before');
             ALTER TABLE loose ADD COLUMN note INT, ADD INDEX note (note);
             INSERT INTO note (uuid, text) VALUES ('o-2', 'between');
             ALTER TABLE loose DROP COLUMN note;
             INSERT INTO note (uuid, text) VALUES ('o-3', 'after')",
        )
    }),
    everywhere("table rebuilt and converted to another character set", |flavor| {
        Some(if flavor.names_columns() {
            "ALTER TABLE note ENGINE = InnoDB; INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}');
             ALTER TABLE note FORCE; INSERT INTO note (uuid, text) VALUES ('e-2', 'caf\u{e9}');
             ALTER TABLE note CONVERT TO CHARACTER SET latin1;
             INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}')"
        } else {
            // No row lies between what changes its columns and what may change them again: without
            // names in the log, it would depend on how quickly capture reads it.
            "ALTER TABLE note ENGINE = InnoDB; ALTER TABLE note CONVERT TO CHARACTER SET latin1;
             INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}'); ALTER TABLE note FORCE;
             INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}')"
        })
    }),
    everywhere("table rebuilt and converted while capture was behind, names in the log", |flavor| {
        flavor.names_columns().then_some(
            "ALTER TABLE note ENGINE = InnoDB; INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}');
             ALTER TABLE note FORCE; INSERT INTO note (uuid, text) VALUES ('e-2', 'caf\u{e9}');
             ALTER TABLE note CONVERT TO CHARACTER SET latin1;
             INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}')",
        )
    })
    .behind(),
    everywhere("table rebuilt and converted while capture was behind", |flavor| {
        Some(match flavor {
            _ if !flavor.names_columns() => {
                "ALTER TABLE note ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}');
                 ALTER TABLE note CONVERT TO CHARACTER SET latin1;
                 INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}')"
            }
            _ if !flavor.is_mariadb() => {
                "SET GLOBAL binlog_row_metadata = MINIMAL; ALTER TABLE note ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}');
                 ALTER TABLE note CONVERT TO CHARACTER SET latin1;
                 INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}');
                 SET GLOBAL binlog_row_metadata = FULL"
            }
            _ => {
                "SET GLOBAL binlog_row_metadata = NO_LOG; ALTER TABLE note ENGINE = InnoDB;
                 INSERT INTO note (uuid, text) VALUES ('e-1', 'caf\u{e9}');
                 ALTER TABLE note CONVERT TO CHARACTER SET latin1;
                 INSERT INTO note (uuid, text) VALUES ('e-3', 'caf\u{e9}');
                 SET GLOBAL binlog_row_metadata = FULL"
            }
        })
    })
    .behind(),
    everywhere("ALTER TABLE logged in two phases", |flavor| {
        is_mariadb(flavor).then_some(
            "SET SESSION binlog_alter_two_phase = ON;
             ALTER TABLE ward ADD COLUMN extra INT NULL AFTER uuid;
             UPDATE ward SET extra = 1, text = 'extra' WHERE uuid = 'w-1'",
        )
    }),
    everywhere("table made MyISAM", |_| {
        Some(
            "SET foreign_key_checks = 0; ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note ENGINE = MyISAM; INSERT INTO note (uuid, text) VALUES ('y-1', 'y')",
        )
    }),
    everywhere("CREATE TABLE ... SELECT on MyISAM", |_| {
        Some(
            "SET foreign_key_checks = 0; RENAME TABLE note TO note_old;
             CREATE TABLE note (PRIMARY KEY (note_id), UNIQUE KEY (uuid)) ENGINE = MyISAM
               SELECT * FROM note_old",
        )
    })
    .past("RENAME")
    .after("DROP TABLE IF EXISTS note_old"),
    everywhere("column of the identity dropped", |_| {
        Some("ALTER TABLE note DROP COLUMN uuid; INSERT INTO note (text) VALUES ('nameless')")
    }),
    everywhere("system versioning switched on", |flavor| {
        is_mariadb(flavor).then_some(
            "ALTER TABLE note ADD SYSTEM VERSIONING; UPDATE note SET text = 'v' WHERE uuid = 'n-1'",
        )
    }),
];
