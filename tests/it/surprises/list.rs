//! The surprises that are told by statements alone.

use headwater_rig::Flavor;

/// One surprise: the statements of one session, each `None` if this server lacks it.
pub(super) struct Surprise {
    pub(super) row: &'static str,
    pub(super) sql: fn(Flavor) -> Option<&'static str>,
    /// What has to be put right for the next surprise.
    pub(super) after: &'static str,
    /// Happens while capture is stopped.
    pub(super) behind: bool,
    /// What a refusal speaks of.
    pub(super) says: &'static str,
    /// What only comes before it: a refusal that speaks of this is passed over.
    pub(super) past: &'static str,
}

pub(super) const fn everywhere(
    row: &'static str,
    sql: fn(Flavor) -> Option<&'static str>,
) -> Surprise {
    Surprise { row, sql, after: "", behind: false, says: "table note", past: "" }
}

impl Surprise {
    pub(super) const fn after(self, after: &'static str) -> Surprise {
        Surprise { after, ..self }
    }

    pub(super) const fn behind(self) -> Surprise {
        Surprise { behind: true, ..self }
    }

    pub(super) const fn says(self, says: &'static str) -> Surprise {
        Surprise { says, ..self }
    }

    pub(super) const fn past(self, past: &'static str) -> Surprise {
        Surprise { past, ..self }
    }
}

/// The notes by partitions, made so and what comes then: a key that refers to others, and one without
/// the column of the partitions, are not allowed.
macro_rules! partitioned {
    ($by:literal) => {
        Some(concat!(
            "SET foreign_key_checks = 0; ALTER TABLE note DROP FOREIGN KEY note_ibfk_1; ",
            "ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id); ",
            "ALTER TABLE note PARTITION BY ",
            $by
        ))
    };
}

pub(super) fn is_mariadb(flavor: Flavor) -> bool {
    matches!(flavor, Flavor::Mariadb1011 | Flavor::Mariadb118)
}

pub(super) const SURPRISES_TOLD: &[Surprise] = &[
    everywhere("update of several tables", |_| {
        Some(
            "UPDATE note JOIN ward USING (ward_id) SET note.text = 'joined', ward.text = 'joined'
             WHERE ward.uuid = 'w-1'",
        )
    }),
    everywhere("delete from several tables", |_| {
        Some(
            "INSERT INTO ward (uuid, text) VALUES ('w-3', 'three');
             INSERT INTO note (uuid, text, ward_id) SELECT 'n-9', 'gone', ward_id FROM ward
               WHERE uuid = 'w-3';
             SET foreign_key_checks = 0;
             DELETE note, ward FROM note JOIN ward USING (ward_id) WHERE ward.uuid = 'w-3'",
        )
    }),
    everywhere("REPLACE, and INSERT ... ON DUPLICATE KEY UPDATE", |_| {
        Some(
            "REPLACE INTO note (uuid, text) VALUES ('n-2', 'replaced'), ('n-4', 'new');
             INSERT INTO note (uuid, text) VALUES ('n-2', 'x'), ('n-5', 'new')
               ON DUPLICATE KEY UPDATE text = 'updated'",
        )
    }),
    everywhere("uuids exchanged between two rows", |_| {
        Some(
            "BEGIN; UPDATE note SET uuid = 'n-0' WHERE uuid = 'n-1';
             UPDATE note SET uuid = 'n-1' WHERE uuid = 'n-2';
             UPDATE note SET uuid = 'n-2' WHERE uuid = 'n-0'; COMMIT",
        )
    }),
    everywhere("trigger that writes another table", |_| {
            Some(
                "CREATE TRIGGER noted AFTER INSERT ON note FOR EACH ROW
                   UPDATE ward SET text = CONCAT('last ', NEW.uuid) WHERE uuid = 'w-2';
                 INSERT INTO note (uuid, text) VALUES ('n-6', 'triggers')",
            )
        })
    .after("DROP TRIGGER IF EXISTS noted"),
    everywhere("rollback to a savepoint", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-1', 'kept'); SAVEPOINT here;
             INSERT INTO note (uuid, text) VALUES ('s-2', 'undone'); ROLLBACK TO here;
             INSERT INTO note (uuid, text) VALUES ('s-3', 'kept'); COMMIT",
        )
    }),
    everywhere("rollback to a savepoint after a MyISAM table was written", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-4', 'kept'); SAVEPOINT here;
             INSERT INTO loose (text) VALUES ('stays');
             INSERT INTO note (uuid, text) VALUES ('s-5', 'undone');
             UPDATE note SET uuid = 's-0', text = 'undone' WHERE uuid = 's-4'; ROLLBACK TO here;
             INSERT INTO note (uuid, text) VALUES ('s-6', 'kept');
             UPDATE note SET text = 'changed' WHERE uuid = 's-4'; COMMIT",
        )
    }),
    everywhere("rollback of a transaction that wrote a MyISAM table", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-7', 'undone');
             INSERT INTO loose (text) VALUES ('stays'); ROLLBACK",
        )
    }),
    everywhere("XA transaction in one phase", |_| {
        Some(
            "XA START 'one'; INSERT INTO note (uuid, text) VALUES ('x-1', 'one phase');
             XA END 'one'; XA COMMIT 'one' ONE PHASE",
        )
    }),
    everywhere("XA transaction prepared and committed", |_| {
        Some(
            "XA START 'two'; INSERT INTO note (uuid, text) VALUES ('x-2', 'prepared');
             XA END 'two'; XA PREPARE 'two'; XA COMMIT 'two'",
        )
    }),
    everywhere("XA transaction prepared and rolled back", |_| {
        Some(
            "XA START 'three'; INSERT INTO note (uuid, text) VALUES ('x-3', 'prepared');
             XA END 'three'; XA PREPARE 'three'; XA ROLLBACK 'three'",
        )
    }),
    everywhere("TRUNCATE", |_| Some("TRUNCATE TABLE note")),
    everywhere("session in statement format", |_| {
        Some("SET SESSION binlog_format = STATEMENT; UPDATE note SET text = 's' WHERE uuid = 'n-1'")
    }),
    everywhere("session in mixed format", |_| {
        Some("SET SESSION binlog_format = MIXED; UPDATE note SET text = 'm' WHERE uuid = 'n-1'")
    }),
    everywhere("row image MINIMAL", |_| {
        Some(
            "SET SESSION binlog_row_image = MINIMAL;
             UPDATE note SET text = 'minimal' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("row image NOBLOB", |_| {
        Some(
            "SET SESSION binlog_row_image = NOBLOB;
             UPDATE note SET text = 'noblob' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("row image FULL_NODUP", |flavor| {
        (flavor == Flavor::Mariadb118).then_some(
            "SET SESSION binlog_row_image = FULL_NODUP;
             UPDATE note SET text = 'nodup' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("partial JSON", |flavor| {
        flavor.is_new_mysql().then_some(
            "ALTER TABLE note ADD COLUMN facts JSON NULL;
             UPDATE note SET facts = '{\"a\": \"a long text to leave alone\", \"b\": 1}';
             SET SESSION binlog_row_value_options = PARTIAL_JSON;
             UPDATE note SET facts = JSON_SET(facts, '$.b', 2)",
        )
    }),
    everywhere("checksums switched off and on", |_| {
            Some(
                "SET GLOBAL binlog_checksum = NONE;
                 INSERT INTO note (uuid, text) VALUES ('c-1', 'unchecked');
                 SET GLOBAL binlog_checksum = CRC32;
                 INSERT INTO note (uuid, text) VALUES ('c-2', 'checked')",
            )
        })
    .after("SET GLOBAL binlog_checksum = CRC32"),
    everywhere("files of 4 KiB", |_| {
            Some(
                "SET GLOBAL max_binlog_size = 4096;
                 INSERT INTO ward (uuid, text, body) SELECT CONCAT('f-', note_id), 'f', REPEAT('f', 3000)
                   FROM note;
                 INSERT INTO note (uuid, text, body) VALUES ('f-1', 'f', REPEAT('f', 9000));
                 INSERT INTO note (uuid, text, body) VALUES ('f-2', 'f', REPEAT('f', 9000))",
            )
        })
    .after("SET GLOBAL max_binlog_size = 1073741824"),
    everywhere("FLUSH LOGS, and a purge of what has been read", |flavor| {
        Some(if is_mariadb(flavor) {
            "FLUSH BINARY LOGS; INSERT INTO note (uuid, text) VALUES ('p-1', 'flushed');
             FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW();
             INSERT INTO note (uuid, text) VALUES ('p-2', 'purged')"
        } else {
            "FLUSH LOGS; INSERT INTO note (uuid, text) VALUES ('p-1', 'flushed');
             FLUSH LOGS; PURGE BINARY LOGS BEFORE NOW();
             INSERT INTO note (uuid, text) VALUES ('p-2', 'purged')"
        })
    }),
    everywhere("compressed transaction", |flavor| {
        flavor.is_new_mysql().then_some(
            "SET SESSION binlog_transaction_compression = ON; BEGIN;
             INSERT INTO note (uuid, text, body) VALUES ('z-1', 'z', REPEAT('z', 20000));
             UPDATE note SET body = REPEAT('y', 20000) WHERE uuid = 'z-1'; COMMIT",
        )
    }),
    everywhere("compressed events", |flavor| {
            is_mariadb(flavor).then_some(
                "SET GLOBAL log_bin_compress = ON; BEGIN;
                 INSERT INTO note (uuid, text, body) VALUES ('z-1', 'z', REPEAT('z', 20000));
                 UPDATE note SET body = REPEAT('y', 20000) WHERE uuid = 'z-1';
                 DELETE FROM note WHERE uuid = 'n-3'; COMMIT",
            )
        })
    .after("SET GLOBAL log_bin_compress = OFF"),
    everywhere("transactions in another replication domain", |flavor| {
        is_mariadb(flavor).then_some(
            "SET SESSION gtid_domain_id = 7; INSERT INTO note (uuid, text) VALUES ('d-1', 'seven');
             SET SESSION gtid_domain_id = 0; INSERT INTO note (uuid, text) VALUES ('d-2', 'zero')",
        )
    }),
    everywhere("tagged GTID", |flavor| {
        flavor.is_mysql_from(8, 3).then_some(
            "SET SESSION gtid_next = 'AUTOMATIC:clinic';
             INSERT INTO note (uuid, text) VALUES ('g-1', 'tagged');
             SET SESSION gtid_next = 'AUTOMATIC'",
        )
    }),
    everywhere("column added and dropped between rows, names in the log", |flavor| {
        flavor.names_columns().then_some(
            "ALTER TABLE ward ADD COLUMN extra INT NULL AFTER uuid;
             UPDATE ward SET extra = 1, text = 'extra' WHERE uuid = 'w-1';
             ALTER TABLE ward DROP COLUMN extra;
             UPDATE ward SET text = 'no extra' WHERE uuid = 'w-1'",
        )
    }),
    everywhere("rows of a partitioned table, partitions added and reorganised", |_| {
        partitioned!(
            "RANGE (note_id)
               (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (100));
             INSERT INTO note (note_id, uuid, text, body) VALUES (9, 'q-1', 'parted', 'b'),
               (50, 'q-2', 'parted', 'b');
             ALTER TABLE note ADD PARTITION (PARTITION p2 VALUES LESS THAN (1000));
             INSERT INTO note (note_id, uuid, text, ward_id) VALUES (500, 'q-3', 'added', 1);
             ALTER TABLE note REORGANIZE PARTITION p1 INTO
               (PARTITION p1a VALUES LESS THAN (30), PARTITION p1b VALUES LESS THAN (100));
             UPDATE note SET text = 'reorganised', body = NULL WHERE uuid IN ('n-1', 'q-2');
             UPDATE note SET note_id = 600, text = 'moved' WHERE uuid = 'q-1';
             ALTER TABLE note REBUILD PARTITION p0;
             ALTER TABLE note OPTIMIZE PARTITION p2;
             DELETE FROM note WHERE uuid = 'q-2';
             ALTER TABLE note REMOVE PARTITIONING;
             INSERT INTO note (uuid, text) VALUES ('q-4', 'whole')"
        )
    }),
    everywhere("TRUNCATE PARTITION", |_| {
        partitioned!(
            "HASH (note_id) PARTITIONS 3;
             INSERT INTO note (uuid, text) VALUES ('q-1', 'parted');
             ALTER TABLE note TRUNCATE PARTITION p1;
             UPDATE note SET text = 'parted' WHERE uuid = 'n-3'"
        )
    }),
    everywhere("DROP PARTITION", |_| {
        partitioned!(
            "RANGE (note_id)
               (PARTITION p0 VALUES LESS THAN (3), PARTITION p1 VALUES LESS THAN (100));
             INSERT INTO note (uuid, text) VALUES ('q-1', 'parted');
             ALTER TABLE note DROP PARTITION p0"
        )
    }),
];
