//! Columns and tables out of the ordinary, each with its outcome in `docs/types.md`.

use headwater_rig::{Flavor, ServerOptions};
use mysql_async::prelude::Queryable as _;

use super::ends::{Ends, session, shown};
use super::exact::TYPES;
use crate::support::ledger::{EXACT, NOT_THERE, REFUSED};
use crate::support::on_all;

/// Both ends must show the same for these expressions.
async fn same(ends: &Ends, table: &str, expressions: &[&str]) {
    let expressions: Vec<String> = expressions.iter().map(|one| (*one).to_owned()).collect();
    let child = shown(&ends.child, table, &expressions).await;
    let parent = shown(&ends.parent, table, &expressions).await;
    assert_eq!(format!("{child:?}"), format!("{parent:?}"), "{table}");
}

async fn carry(ends: &mut Ends, sql: &str) {
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
    carry(&mut ends, &format!("INSERT INTO wide SET uuid = 'a', {}", set(0))).await;
    carry(&mut ends, "UPDATE wide SET c999 = 7, c500 = 8").await;
    carry(&mut ends, &format!("UPDATE wide SET {}", set(1))).await;
    let all: Vec<String> = (0..1000).map(|place| format!("c{place}")).collect();
    let all = format!("CONCAT_WS(',', {})", all.join(", "));
    same(&ends, "wide", &[&all, "c999 IS NULL", "c998 IS NULL"]).await;
    ends.stop().await;
    TYPES.settle("a table of 1,000 columns", flavor, EXACT);
}

/// `BLOB` and `TEXT` of this size.
const LARGE_BYTES: usize = 64 << 20;

async fn sixty_four_mebibytes_arrive(flavor: Flavor) {
    // MySQL 5.6 takes no value of more than a tenth of its redo log.
    let options = ServerOptions { redo_log_mib: 700, ..ServerOptions::default() };
    let mut ends = Ends::start_with(flavor, flavor, options).await;
    ends.table("large", &list(&["b LONGBLOB NULL", "t LONGTEXT CHARACTER SET utf8mb4 NULL"])).await;
    ends.run().await;
    let half = LARGE_BYTES / 2;
    carry(&mut ends, &format!("INSERT INTO large SET uuid = 'a', b = REPEAT(0x00FF, {half})"))
        .await;
    carry(
        &mut ends,
        &format!("UPDATE large SET b = NULL, t = REPEAT('éж😀', {})", LARGE_BYTES / 8),
    )
    .await;
    carry(&mut ends, "UPDATE large SET touched = 1").await;
    same(&ends, "large", &["LENGTH(t)", "SHA2(t, 256)", "b IS NULL"]).await;
    // A parent that takes no packet of this size says so, and nothing is lost.
    if flavor.is_new_mysql() {
        ends.parent.sql("SET GLOBAL max_allowed_packet = 16777216").await.unwrap();
        ends.rebind().await;
        let mut conn = session(&ends.child).await;
        let sql = format!("INSERT INTO large SET uuid = 'b', b = REPEAT(0x00FF, {half})");
        conn.query_drop(sql).await.unwrap();
        let words = ends.try_carry().await.unwrap_err();
        assert!(words.contains("max_allowed_packet") && words.contains("raise it"), "{words}");
        ends.parent.sql("SET GLOBAL max_allowed_packet = 1073741824").await.unwrap();
        ends.rebind().await;
        ends.carry_all().await;
        same(&ends, "large", &["SHA2(b, 256)"]).await;
    }
    ends.stop().await;
    TYPES.settle("LONGTEXT and LONGBLOB of 64 MiB", flavor, EXACT);
}

async fn computed_hidden_and_default_columns_arrive(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let old = flavor == Flavor::Mysql56;
    let stored = if flavor.is_mariadb() { "PERSISTENT" } else { "STORED" };
    let mut columns = vec!["a INT NULL".to_owned(), "z INT NULL DEFAULT 9".to_owned()];
    if !old {
        columns.push(format!("s INT AS (a * 2) {stored}"));
        columns.push("v INT AS (a + 1) VIRTUAL".to_owned());
        columns.push("e VARCHAR(50) DEFAULT (CONCAT('made ', 1 + 1))".to_owned());
        let hidden = "h VARCHAR(20) DEFAULT 'hidden' INVISIBLE";
        columns.push(hidden.to_owned());
    }
    columns.push("last VARCHAR(20) NULL".to_owned());
    ends.table("computed", &columns).await;
    ends.run().await;
    carry(&mut ends, "INSERT INTO computed (uuid, a, last) VALUES ('a', 1, 'x'), ('b', NULL, 'y')")
        .await;
    carry(&mut ends, "UPDATE computed SET a = 5, last = 'z' WHERE uuid = 'a'").await;
    if old {
        same(&ends, "computed", &["a", "z", "last"]).await;
    } else {
        carry(&mut ends, "UPDATE computed SET h = 'seen', e = 'other' WHERE uuid = 'b'").await;
        same(&ends, "computed", &["a", "z", "s", "v", "e", "h", "last"]).await;
    }
    carry(&mut ends, "DELETE FROM computed WHERE uuid = 'a'").await;
    same(&ends, "computed", &["a"]).await;
    ends.stop().await;
    let cell = if old { NOT_THERE } else { EXACT };
    TYPES.settle("generated, invisible and default-expression columns", flavor, cell);
}

async fn columns_added_instantly_are_read(flavor: Flavor) {
    if flavor == Flavor::Mysql56 {
        TYPES.settle("columns added INSTANT", flavor, NOT_THERE);
        return;
    }
    let mut ends = Ends::start(flavor, flavor).await;
    ends.table("grown", &list(&["a INT NULL"])).await;
    ends.run().await;
    carry(&mut ends, "INSERT INTO grown SET uuid = 'before', a = 1").await;
    let add = "ALTER TABLE grown ADD COLUMN b VARCHAR(20) DEFAULT 'given' AFTER uuid, \
        ADD COLUMN c INT NOT NULL DEFAULT 7, ALGORITHM=INSTANT";
    for server in [&ends.parent, &ends.child] {
        server.sql_in("kinds", add).await.unwrap();
    }
    ends.rebind().await;
    // A row from before: its new columns were never written, and are in the log all the same.
    carry(&mut ends, "UPDATE grown SET b = 'set' WHERE uuid = 'before'").await;
    carry(&mut ends, "INSERT INTO grown (uuid, a) VALUES ('after', 2)").await;
    carry(&mut ends, "UPDATE grown SET c = c + 1").await;
    same(&ends, "grown", &["a", "b", "c"]).await;
    ends.stop().await;
    TYPES.settle("columns added INSTANT", flavor, EXACT);
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
    // What `map check` and `doctor` print, and why capture leaves the table alone.
    let bound = ends.bound(&ends.child).await;
    assert!(!bound.tables.contains_key("versions"));
    let problem = bound.problems.iter().find(|problem| &*problem.table == "versions").unwrap();
    assert!(problem.fatal && problem.message.contains("DROP SYSTEM VERSIONING"), "{problem:?}");
    ends.stop().await;
    TYPES.settle(ROW, flavor, REFUSED);
}

async fn what_no_column_takes_is_set_aside_by_name(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let json = flavor.is_new_mysql();
    let document = if json { "doc JSON NULL" } else { "doc LONGTEXT NULL" };
    ends.table("odd", &list(&["e ENUM('a','b') NULL", document])).await;
    ends.run().await;
    let mut conn = session(&ends.child).await;
    // A value that was no member, written by a session that is not strict: the server keeps 0.
    conn.query_drop("SET sql_mode = ''").await.unwrap();
    conn.query_drop("INSERT INTO odd SET uuid = 'enum', e = 'c'").await.unwrap();
    ends.carry().await;
    let held = ends.held().await.join("\n");
    assert!(held.contains("odd: ") && held.contains("'e'"), "{held}");
    ends.discard_held().await;
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
    columns_added_instantly_are_read,
    a_system_versioned_table_is_refused_by_name,
    what_no_column_takes_is_set_aside_by_name,
);
