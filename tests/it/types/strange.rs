//! Columns and tables out of the ordinary, each with its outcome in `docs/types.md`.

use headwater_rig::{Flavor, ServerOptions};
use mysql_async::prelude::Queryable as _;

use super::ends::{Ends, session, shown};
use super::exact::{TYPES, metadata};
use crate::cli::{CHILD, Desk, headwater, printed};
use crate::support::ledger::{EXACT, NOT_THERE, NOT_TRIED, REFUSED};
use crate::support::on_all;

/// Both ends must show the same for these expressions.
async fn same(ends: &Ends, table: &str, expressions: &[&str]) {
    let expressions: Vec<String> = expressions.iter().map(|one| (*one).to_owned()).collect();
    let child = shown(&ends.child, table, &expressions).await;
    let parent = shown(&ends.parent, table, &expressions).await;
    assert_eq!(format!("{child:?}"), format!("{parent:?}"), "{table}");
}

/// Lets the child's log say so much about its columns.
pub(super) async fn tell(ends: &Ends, metadata: &str) {
    if !metadata.is_empty() {
        let sql = format!("SET GLOBAL binlog_row_metadata = {metadata}");
        ends.child.sql(&sql).await.unwrap();
    }
}

pub(super) async fn carry(ends: &mut Ends, sql: &str) {
    let mut conn = session(&ends.child).await;
    conn.query_drop(sql).await.unwrap();
    ends.carry_all().await;
}

fn list(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

async fn a_table_of_a_thousand_columns_arrives(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let columns: Vec<String> = (0..1000).map(|place| format!("c{place} SMALLINT NULL")).collect();
    ends.table("wide", &columns).await;
    ends.run().await;
    let set = |turn: i32| {
        let one = |place: i32| match (place + turn) % 3 {
            0 => format!("c{place} = NULL"),
            _ => format!("c{place} = {}", place - 500 + turn),
        };
        (0..1000).map(one).collect::<Vec<_>>().join(", ")
    };
    // A NULL shows: CONCAT_WS leaves it out, so that one in another place would not be seen.
    let all: Vec<String> = (0..1000).map(|place| format!("IFNULL(c{place}, '-')")).collect();
    let all = format!("CONCAT_WS(',', {})", all.join(", "));
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        for uuid in ['a', 'b'] {
            carry(&mut ends, &format!("INSERT INTO wide SET uuid = '{uuid}', {}", set(0))).await;
        }
        same(&ends, "wide", &[&all]).await;
        carry(&mut ends, "UPDATE wide SET c999 = 7, c500 = 8 WHERE uuid = 'a'").await;
        same(&ends, "wide", &[&all]).await;
        carry(&mut ends, &format!("UPDATE wide SET {}", set(1))).await;
        same(&ends, "wide", &[&all]).await;
        for (uuid, left) in [('a', 1), ('b', 0)] {
            carry(&mut ends, &format!("DELETE FROM wide WHERE uuid = '{uuid}'")).await;
            same(&ends, "wide", &[&all]).await;
            assert_eq!(shown(&ends.parent, "wide", &list(&["c0"])).await.len(), left);
        }
    }
    ends.stop().await;
    TYPES.settle("a table of 1,000 columns", flavor, EXACT);
}

/// `BLOB` and `TEXT` of this size.
const LARGE_BYTES: usize = 64 << 20;
/// The most that a `MEDIUMBLOB` or a `MEDIUMTEXT` holds.
const MEDIUM_BYTES: usize = (16 << 20) - 1;

async fn sixty_four_mebibytes_arrive(flavor: Flavor) {
    // MySQL 5.6 takes no value of more than a tenth of its redo log.
    let options = ServerOptions { redo_log_mib: 700, ..ServerOptions::default() };
    let mut ends = Ends::start_with(flavor, flavor, options).await;
    ends.table("large", &list(&["b LONGBLOB NULL", "t LONGTEXT CHARACTER SET utf8mb4 NULL"])).await;
    let medium = ["b MEDIUMBLOB NULL", "t MEDIUMTEXT CHARACTER SET utf8mb4 NULL"];
    ends.table("medium", &list(&medium)).await;
    ends.run().await;
    // As long as their lengths of three bytes can say; a packet of the log's is one byte longer.
    let most = format!("CONCAT(REPEAT(0x00FF, {}), 0x00)", MEDIUM_BYTES / 2);
    let insert =
        format!("INSERT INTO medium SET uuid = 'a', b = {most}, t = REPEAT('x', {MEDIUM_BYTES})");
    carry(&mut ends, &insert).await;
    let all = ["LENGTH(b)", "SHA2(b, 256)", "LENGTH(t)", "SHA2(t, 256)"];
    same(&ends, "medium", &all).await;
    let length = ends.parent.ask("kinds", "SELECT LENGTH(b) FROM medium").await.unwrap().unwrap();
    assert_eq!(length, MEDIUM_BYTES.to_string());
    carry(&mut ends, "UPDATE medium SET b = NULL").await;
    same(&ends, "medium", &all).await;
    TYPES.settle("MEDIUMTEXT and MEDIUMBLOB of 16 MiB", flavor, EXACT);
    let half = LARGE_BYTES / 2;
    let all = ["LENGTH(b)", "SHA2(b, 256)", "LENGTH(t)", "SHA2(t, 256)", "touched"];
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        let insert = format!("INSERT INTO large SET uuid = 'a', b = REPEAT(0x00FF, {half})");
        carry(&mut ends, &insert).await;
        same(&ends, "large", &all).await;
        let length = "SELECT LENGTH(b) FROM large";
        let length = ends.parent.ask("kinds", length).await.unwrap().unwrap();
        assert_eq!(length, LARGE_BYTES.to_string());
        let update = format!("UPDATE large SET b = NULL, t = REPEAT('éж😀', {})", LARGE_BYTES / 8);
        carry(&mut ends, &update).await;
        same(&ends, "large", &all).await;
        carry(&mut ends, "UPDATE large SET touched = 1").await;
        same(&ends, "large", &all).await;
        carry(&mut ends, "DELETE FROM large").await;
        same(&ends, "large", &all).await;
    }
    // What no packet can bring to a parent waits there until one can.
    if flavor.is_new_mysql() {
        ends.parent.sql("SET GLOBAL max_allowed_packet = 16777216").await.unwrap();
        ends.rebind().await;
        let mut conn = session(&ends.child).await;
        let sql = format!("INSERT INTO large SET uuid = 'b', b = REPEAT(0x00FF, {half})");
        conn.query_drop(sql).await.unwrap();
        assert_eq!(ends.carry().await.quarantined, 1);
        let held = ends.held().await;
        assert!(held[0].contains("max_allowed_packet (16777216): raise it"), "{held:?}");
        ends.parent.sql("SET GLOBAL max_allowed_packet = 1073741824").await.unwrap();
        ends.rebind().await;
        ends.retry_held().await;
        assert!(ends.held().await.is_empty());
        same(&ends, "large", &["SHA2(b, 256)"]).await;
    }
    ends.stop().await;
    TYPES.settle("LONGTEXT and LONGBLOB of 64 MiB", flavor, EXACT);
}

async fn computed_hidden_and_default_columns_arrive(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let old = flavor == Flavor::Mysql56;
    let hides = flavor.is_mariadb() || flavor.is_new_mysql();
    let stored = if flavor.is_mariadb() { "PERSISTENT" } else { "STORED" };
    let mut columns = vec!["a INT NULL".to_owned(), "z INT NULL DEFAULT 9".to_owned()];
    if !old {
        columns.push(format!("s INT AS (a * 2) {stored}"));
        columns.push("v INT AS (a + 1) VIRTUAL".to_owned());
    }
    if hides {
        columns.push("e VARCHAR(50) DEFAULT (CONCAT('made ', 1 + 1))".to_owned());
        let hidden = "h VARCHAR(20) DEFAULT 'hidden' INVISIBLE";
        columns.push(hidden.to_owned());
    }
    columns.push("last VARCHAR(20) NULL".to_owned());
    ends.table("computed", &columns).await;
    ends.run().await;
    let all: &[&str] = match (old, hides) {
        (true, _) => &["a", "z", "last"],
        (_, false) => &["a", "z", "s", "v", "last"],
        (_, true) => &["a", "z", "s", "v", "e", "h", "last"],
    };
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        let insert = "INSERT INTO computed (uuid, a, last) VALUES ('a', 1, 'x'), ('b', NULL, 'y')";
        carry(&mut ends, insert).await;
        same(&ends, "computed", all).await;
        carry(&mut ends, "UPDATE computed SET a = 5, last = 'z' WHERE uuid = 'a'").await;
        same(&ends, "computed", all).await;
        if hides {
            carry(&mut ends, "UPDATE computed SET h = 'seen', e = 'other' WHERE uuid = 'b'").await;
            same(&ends, "computed", all).await;
        }
        carry(&mut ends, "DELETE FROM computed WHERE uuid = 'a'").await;
        same(&ends, "computed", all).await;
        carry(&mut ends, "DELETE FROM computed").await;
    }
    ends.stop().await;
    let cell = match (old, hides) {
        (true, _) => NOT_THERE,
        // It has no others.
        (_, false) => "exact, generated ones",
        (_, true) => EXACT,
    };
    TYPES.settle("generated, invisible and default-expression columns", flavor, cell);
}

/// Columns that the server makes for itself: of an index on an expression, and the key of a table
/// without one.
async fn columns_that_the_server_adds_by_itself_stay_out_of_the_way(flavor: Flavor) {
    const INDEXED: &str = "tables with functional and multi-valued indexes";
    const KEYED: &str = "tables with a generated invisible primary key";
    if !flavor.is_new_mysql() {
        for row in [INDEXED, KEYED] {
            TYPES.settle(row, flavor, NOT_THERE);
        }
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    // From 8.0.30 on.
    let setting = "SELECT @@sql_generate_invisible_primary_key";
    let makes_keys = ends.child.ask("", setting).await.is_ok();
    ends.table("indexed", &list(&["a VARCHAR(20) NULL", "doc JSON NULL", "z INT NULL"])).await;
    for server in [&ends.child, &ends.parent] {
        let sql = "ALTER TABLE indexed ADD INDEX ((LOWER(a))), ADD INDEX ((z + 1), a),
            ADD INDEX ((CAST(doc->'$[*]' AS UNSIGNED ARRAY)))";
        server.sql_in("kinds", sql).await.unwrap();
        if makes_keys {
            server.sql("SET GLOBAL sql_generate_invisible_primary_key = ON").await.unwrap();
        }
    }
    let keyless = if makes_keys {
        "CREATE TABLE keyless (uuid CHAR(38) NULL UNIQUE, a INT NULL)"
    } else {
        // As if there were one.
        "CREATE TABLE keyless (my_row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY INVISIBLE,
           uuid CHAR(38) NULL UNIQUE, a INT NULL)"
    };
    ends.table_by("keyless", keyless, keyless).await;
    let column = "SELECT COUNT(*) FROM information_schema.COLUMNS
        WHERE TABLE_NAME = 'keyless' AND COLUMN_NAME = 'my_row_id'";
    assert_eq!(ends.child.ask("kinds", column).await.unwrap().as_deref(), Some("1"));
    ends.run().await;
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        for sql in [
            "INSERT INTO indexed SET uuid = 'a', a = 'One', doc = '[1, 2]', z = 3",
            "INSERT INTO keyless (uuid, a) VALUES ('a', 1), ('b', 2)",
            "UPDATE indexed SET a = 'Two', doc = '[3]', z = NULL",
            "UPDATE keyless SET a = 7 WHERE uuid = 'b'",
        ] {
            carry(&mut ends, sql).await;
            same(&ends, "indexed", &["a", "CAST(doc AS CHAR)", "z"]).await;
            same(&ends, "keyless", &["a"]).await;
        }
        carry(&mut ends, "DELETE FROM indexed").await;
        carry(&mut ends, "DELETE FROM keyless").await;
    }
    TYPES.settle(INDEXED, flavor, EXACT);
    // The docs speak of 8.0.28, which is older.
    let tried = makes_keys && flavor != Flavor::Mysql80;
    TYPES.settle(KEYED, flavor, if tried { EXACT } else { NOT_TRIED });
    ends.stop().await;
}

/// `MariaDB` adds a column to the log for each unique key that is too long for the engine.
async fn hashes_of_long_unique_keys_are_passed_over(flavor: Flavor) {
    const ROW: &str = "tables with unique keys kept by a hash";
    if !flavor.is_mariadb() {
        TYPES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    let columns = ["a TEXT NULL", "b VARCHAR(4000) NULL", "v INT AS (z + 1) VIRTUAL", "z INT NULL"];
    let keys = ["UNIQUE (a)", "UNIQUE (b, z)", "UNIQUE (z) USING HASH", "n BIGINT NULL"];
    ends.table("hashed", &list(&[&columns[..], &keys].concat())).await;
    // Of a name that the server would give, which makes it take the next one.
    ends.table("named", &list(&["a TEXT NULL UNIQUE", "DB_ROW_HASH_1 BIGINT NULL"])).await;
    ends.table("later", &list(&["a TEXT NULL", "n BIGINT NULL"])).await;
    ends.run().await;
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        for sql in [
            "INSERT INTO hashed (uuid, a, b, z, n) VALUES ('a', 'One', 'x', 1, -1), ('b', NULL, 'y', 2, 9)",
            "INSERT INTO named SET uuid = 'a', a = 'One', DB_ROW_HASH_1 = 77",
            "INSERT INTO later SET uuid = 'a', a = 'One', n = 5",
            "ALTER TABLE later ADD UNIQUE (a)",
            "INSERT INTO later SET uuid = 'b', a = 'Two', n = 6",
            "UPDATE hashed SET a = 'Two', z = 7 WHERE uuid = 'b'",
            "UPDATE hashed SET n = n + 1",
            "UPDATE named SET a = 'Two', DB_ROW_HASH_1 = 78",
            "UPDATE later SET n = n + 1",
            "ALTER TABLE later DROP KEY a",
            "UPDATE later SET a = 'Three' WHERE uuid = 'a'",
            "DELETE FROM hashed WHERE uuid = 'a'",
        ] {
            if sql.starts_with("ALTER") {
                ends.child.sql_in("kinds", sql).await.unwrap();
                continue;
            }
            carry(&mut ends, sql).await;
            same(&ends, "hashed", &["a", "b", "v", "z", "n"]).await;
            same(&ends, "named", &["a", "DB_ROW_HASH_1"]).await;
            same(&ends, "later", &["a", "n"]).await;
        }
        assert_eq!(shown(&ends.parent, "hashed", &list(&["a"])).await.len(), 1);
        for table in ["hashed", "named", "later"] {
            carry(&mut ends, &format!("DELETE FROM {table}")).await;
        }
        assert!(shown(&ends.parent, "hashed", &list(&["a"])).await.is_empty());
    }
    ends.stop().await;
    TYPES.settle(ROW, flavor, EXACT);
}

async fn columns_added_instantly_are_read(flavor: Flavor) {
    if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) {
        TYPES.settle("columns added INSTANT", flavor, NOT_THERE);
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    let tables: Vec<String> = metadata(flavor)
        .iter()
        .map(|metadata| format!("grown_{metadata}").to_lowercase())
        .collect();
    for table in &tables {
        ends.table(table, &list(&["a INT NULL"])).await;
    }
    ends.run().await;
    for (table, metadata) in tables.iter().zip(metadata(flavor)) {
        tell(&ends, metadata).await;
        carry(&mut ends, &format!("INSERT INTO {table} SET uuid = 'before', a = 1")).await;
        // MySQL before 8.0.29 does so at a table's end only.
        let place = if flavor == Flavor::Mysql80 { "" } else { "AFTER uuid" };
        let add = format!(
            "ALTER TABLE {table} ADD COLUMN b VARCHAR(20) DEFAULT 'given' {place}, \
             ADD COLUMN c INT NOT NULL DEFAULT 7, ALGORITHM=INSTANT"
        );
        for server in [&ends.parent, &ends.child] {
            server.sql_in("kinds", &add).await.unwrap();
        }
        ends.rebind().await;
        // A row from before: its new columns were never written, and are in the log all the same.
        carry(&mut ends, &format!("UPDATE {table} SET b = 'set' WHERE uuid = 'before'")).await;
        same(&ends, table, &["a", "b", "c"]).await;
        carry(&mut ends, &format!("INSERT INTO {table} (uuid, a) VALUES ('after', 2)")).await;
        same(&ends, table, &["a", "b", "c"]).await;
        carry(&mut ends, &format!("UPDATE {table} SET c = c + 1")).await;
        same(&ends, table, &["a", "b", "c"]).await;
        carry(&mut ends, &format!("DELETE FROM {table} WHERE uuid = 'before'")).await;
        same(&ends, table, &["a", "b", "c"]).await;
    }
    ends.stop().await;
    TYPES.settle("columns added INSTANT", flavor, EXACT);
}

/// What `doctor` and `map check` print of the child's table.
fn refused_by_name(ends: &Ends) {
    let desk = Desk::new();
    let map = desk.folder.path().join("kinds-map.toml");
    let text = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\n\
        direction = \"up\"\n[tables]\nversions = { class = \"all\" }\n";
    std::fs::write(&map, text).unwrap();
    let config = desk.configuration_of("child", &ends.child.url("kinds"), &map, CHILD);
    for command in [&["doctor"][..], &["map", "check"]] {
        let output = headwater(&config, command);
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {printed}");
        let of_it = printed.split("versions: ").nth(1).unwrap_or_else(|| panic!("{printed}"));
        assert!(of_it.contains("system-versioned"), "{command:?}: {printed}");
        assert!(printed.contains("DROP SYSTEM VERSIONING"), "{command:?}: {printed}");
    }
    // Without it there is nothing to refuse.
    let other =
        text.replace("versions = { class = \"all\" }", "versions = { exclude = \"its history\" }");
    std::fs::write(&map, other).unwrap();
    let checked = headwater(&config, &["map", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", printed(&checked));
}

async fn a_system_versioned_table_is_refused_by_name(flavor: Flavor) {
    const ROW: &str = "system-versioned tables";
    if !flavor.is_mariadb() {
        TYPES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    ends.table("versions", &list(&["a INT NULL"])).await;
    ends.child.sql_in("kinds", "ALTER TABLE versions ADD SYSTEM VERSIONING").await.unwrap();
    refused_by_name(&ends);
    // Why capture leaves the table alone.
    let bound = ends.bound(&ends.child).await;
    assert!(!bound.tables.contains_key("versions"));
    let problem = bound.problems.iter().find(|problem| &*problem.table == "versions").unwrap();
    assert!(problem.fatal && problem.message.contains("DROP SYSTEM VERSIONING"), "{problem:?}");
    ends.stop().await;
    TYPES.settle(ROW, flavor, REFUSED);
}

async fn old_temporal_formats_are_read_without_fractions_and_refused_with(flavor: Flavor) {
    const WITHOUT: &str = "TIME, DATETIME and TIMESTAMP in the format before fractions";
    const WITH: &str = "TIME, DATETIME and TIMESTAMP with fractions in MariaDB's old format";
    if !flavor.is_mariadb() {
        // A data folder of MySQL 5.5 brings them, and MySQL 8.0 has none of them left.
        let old = matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57);
        TYPES.settle(WITHOUT, flavor, if old { NOT_TRIED } else { NOT_THERE });
        TYPES.settle(WITH, flavor, NOT_THERE);
        return;
    }
    let options = ServerOptions::default().with("--mysql56-temporal-format=OFF");
    let mut ends = Ends::start_with(flavor, flavor, options).await;
    ends.table("olden", &list(&["a TIME NULL", "b DATETIME NULL", "c TIMESTAMP NULL"])).await;
    ends.table("finer", &list(&["a TIME(3) NULL"])).await;
    ends.run().await;
    let all = ["CAST(a AS CHAR)", "CAST(b AS CHAR)", "CAST(c AS CHAR)"];
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        carry(
            &mut ends,
            "INSERT INTO olden (uuid, a, b, c) VALUES
             ('a', '-838:59:59', '2026-11-22 01:02:03', '2038-01-19 03:14:07'),
             ('b', '00:00:01', '0000-00-00 00:00:00', '0000-00-00 00:00:00')",
        )
        .await;
        same(&ends, "olden", &all).await;
        carry(&mut ends, "UPDATE olden SET a = '12:00:00', b = NULL WHERE uuid = 'a'").await;
        same(&ends, "olden", &all).await;
        carry(&mut ends, "DELETE FROM olden").await;
        same(&ends, "olden", &all).await;
    }
    TYPES.settle(WITHOUT, flavor, EXACT);
    ends.child
        .sql_in("kinds", "INSERT INTO finer SET uuid = 'a', a = '00:00:00.001'")
        .await
        .unwrap();
    let words = ends.stopped().await;
    assert!(words.contains("finer") && words.contains("mysql56_temporal_format"), "{words}");
    ends.stop().await;
    TYPES.settle(WITH, flavor, REFUSED);
}

async fn partial_updates_of_json_are_refused(flavor: Flavor) {
    const ROW: &str = "partial updates of JSON";
    if !flavor.is_new_mysql() {
        TYPES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    ends.table("documents", &list(&["doc JSON NULL"])).await;
    ends.run().await;
    let long = "x".repeat(500);
    carry(&mut ends, &format!("INSERT INTO documents SET uuid = 'a', doc = '[\"{long}\", 1]'"))
        .await;
    let mut conn = session(&ends.child).await;
    conn.query_drop("SET SESSION binlog_row_value_options = 'PARTIAL_JSON'").await.unwrap();
    conn.query_drop("UPDATE documents SET doc = JSON_SET(doc, '$[1]', 2)").await.unwrap();
    let words = ends.stopped().await;
    for word in ["SET GLOBAL binlog_row_value_options = ''", "table documents", "binlog.0"] {
        assert!(words.contains(word), "{words}");
    }
    ends.stop().await;
    TYPES.settle(ROW, flavor, REFUSED);
}

async fn what_no_column_takes_is_set_aside_by_name(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let json = flavor.is_mysql_from(5, 7);
    let document = if json { "doc JSON NULL" } else { "doc LONGTEXT NULL" };
    let empty = ["f ENUM('a','') NULL", "s SET('','b') NULL"];
    ends.table("odd", &list(&["e ENUM('a','b') NULL", document, empty[0], empty[1]])).await;
    ends.run().await;
    let mut conn = session(&ends.child).await;
    // A value that was no member, written by a session that is not strict: the server keeps 0.
    conn.query_drop("SET sql_mode = ''").await.unwrap();
    conn.query_drop("INSERT INTO odd SET uuid = 'enum', e = 'c'").await.unwrap();
    ends.carry().await;
    let held = ends.held().await.join("\n");
    assert!(held.contains("odd: column e is enum") && held.contains("take '' for"), "{held}");
    ends.discard_held().await;
    // Where '' is a member, what is shown so is one of two things.
    for odd in ["uuid = 'f', f = 'c'", "uuid = 's', s = 1"] {
        conn.query_drop(format!("INSERT INTO odd SET {odd}")).await.unwrap();
        ends.carry().await;
        let held = ends.held().await.join("\n");
        assert!(held.contains("not valid as a member"), "{odd}: {held}");
        ends.discard_held().await;
    }
    conn.query_drop("INSERT INTO odd SET uuid = 'both', f = '', s = ''").await.unwrap();
    ends.carry().await;
    let both = "SELECT CONCAT(f + 0, '-', s + 0) FROM odd WHERE uuid = 'both'";
    assert_eq!(ends.parent.ask("kinds", both).await.unwrap().as_deref(), Some("2-0"));
    TYPES.settle("ENUM holding a value that is no member", flavor, REFUSED);
    if json {
        let sql = "INSERT INTO odd SET uuid = 'json', \
            doc = JSON_OBJECT('d', CAST(12345678901234567890.123456789 AS DECIMAL(40,9)))";
        conn.query_drop(sql).await.unwrap();
        ends.carry().await;
        let held = ends.held().await.join("\n");
        assert!(held.contains("column doc") && held.contains("12345678901234567890.1"), "{held}");
        ends.discard_held().await;
    }
    let cell = if json { REFUSED } else { NOT_THERE };
    TYPES.settle("JSON of MySQL holding a decimal that a double rounds", flavor, cell);
    // What is set aside stops nothing else.
    carry(&mut ends, "INSERT INTO odd SET uuid = 'next', e = 'a'").await;
    let next = "SELECT e FROM odd WHERE uuid = 'next'";
    assert_eq!(ends.parent.ask("kinds", next).await.unwrap().as_deref(), Some("a"));
    ends.stop().await;
}

on_all!(
    a_table_of_a_thousand_columns_arrives,
    sixty_four_mebibytes_arrive,
    computed_hidden_and_default_columns_arrive,
    columns_that_the_server_adds_by_itself_stay_out_of_the_way,
    hashes_of_long_unique_keys_are_passed_over,
    columns_added_instantly_are_read,
    a_system_versioned_table_is_refused_by_name,
    old_temporal_formats_are_read_without_fractions_and_refused_with,
    partial_updates_of_json_are_refused,
    what_no_column_takes_is_set_aside_by_name,
);
