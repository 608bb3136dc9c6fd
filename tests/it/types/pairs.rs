//! A child and a parent of different kinds: what both have arrives exactly, and what the parent
//! has not arrives in a column of another type, or is set aside by name.

use std::collections::BTreeMap;

use headwater_rig::Flavor;

use super::ends::Ends;
use super::exact::{Compared, Groups, PHASES, alike, columns, differing, groups};
use super::kinds::{Kind, kinds};
use crate::support::ledger::{EXACT, Ledger, column};

const PAIRS: Ledger = Ledger { file: "types.md", head: "child" };
const INSTEAD: Ledger = Ledger { file: "types.md", head: "instead, at a parent without the type" };

/// Whether both ends have a type under one name.
fn shared(kind: &Kind, child: Flavor, parent: Flavor) -> bool {
    let named = |other: &Kind| {
        let same = other.row == kind.row || kind.column == "JSON";
        same && other.column == kind.column && other.is_on(parent)
    };
    kind.is_on(child)
        && kinds().iter().any(named)
        && !is_too_deep(kind, parent)
        && !is_respelled_json(kind, child, parent)
}

/// MariaDB takes JSON of 32 levels at most.
fn is_too_deep(kind: &Kind, parent: Flavor) -> bool {
    kind.row.contains("deep") && parent.is_mariadb()
}

/// JSON that one end keeps as it was written and the other by its meaning cannot be compared as
/// text; see [`json_keeps_its_meaning`]. Neither can doubles that MySQL 5.7 prints in other words.
fn is_respelled_json(kind: &Kind, child: Flavor, parent: Flavor) -> bool {
    let is_57 = |flavor| flavor == Flavor::Mysql57;
    kind.column == "JSON" && child.is_mariadb() && !parent.is_mariadb()
        || kind.row.contains("without a fraction") && is_57(child) != is_57(parent)
}

/// What a parent without a type can have in its place, how the child shows the value, and how the
/// parent shows the same.
fn instead(kind: &Kind) -> Option<(String, &'static str, &'static str)> {
    let printed = "CAST({} AS CHAR)";
    let column = kind.column.as_str();
    Some(match column {
        "UUID" => ("CHAR(36) CHARACTER SET ascii".to_owned(), printed, printed),
        "INET4" | "INET6" => ("VARCHAR(45) CHARACTER SET ascii".to_owned(), printed, printed),
        "JSON" => ("LONGTEXT CHARACTER SET utf8mb4".to_owned(), printed, printed),
        "VECTOR(3)" => ("VARBINARY(12)".to_owned(), "HEX({})", "HEX({})"),
        "VECTOR(500)" => ("VARBINARY(2000)".to_owned(), "HEX({})", "HEX({})"),
        _ if column.contains("COMPRESSED") => {
            (column.replace(" COMPRESSED", ""), "HEX({})", "HEX({})")
        }
        _ if column.contains("gb18030") => {
            (column.replace("gb18030", "utf8mb4"), "HEX(CONVERT({} USING utf8mb4))", "HEX({})")
        }
        _ if kind.row == "TIMESTAMP after 2038" => {
            (column.replace("TIMESTAMP", "DATETIME").replace(" NULL", ""), printed, printed)
        }
        _ => return None,
    })
}

async fn types_arrive_between(child: Flavor, parent: Flavor) {
    let mut ends = Ends::start(child, parent).await;
    let mut all = groups(|kind| shared(kind, child, parent));
    let mut compared = alike(&all);
    for (table, kinds) in &all {
        ends.table(table, &columns(kinds)).await;
    }
    let lacking: Vec<Kind> = kinds()
        .into_iter()
        .filter(|kind| kind.is_on(child) && !shared(kind, child, parent))
        .filter(|kind| !is_respelled_json(kind, child, parent) && instead(kind).is_some())
        .collect();
    let replaced: Vec<(String, &str, &str)> = lacking.iter().filter_map(instead).collect();
    if !lacking.is_empty() {
        let theirs: Vec<String> = replaced
            .iter()
            .enumerate()
            .map(|(place, (column, _, _))| format!("c{place} {column} NULL"))
            .collect();
        ends.table_as("instead", &columns(&lacking), &theirs).await;
        let shows = replaced.iter().map(|(_, one, other)| ((*one).into(), (*other).into()));
        compared.insert("instead", shows.collect());
        all.insert("instead", lacking);
    }
    ends.run().await;
    carried_exactly(&mut ends, &all, &compared).await;
    ends.stop().await;
    settle(child, parent, &all, &replaced);
}

async fn carried_exactly(ends: &mut Ends, all: &Groups, compared: &Compared) {
    let mut wrong = BTreeMap::new();
    for phase in PHASES {
        phase.at_child(ends, all).await;
        ends.carry().await;
        for held in ends.held().await {
            wrong.insert(format!("{phase:?}"), held);
        }
        for (row, found) in differing(ends, all, compared).await {
            wrong.insert(row, format!("{phase:?}: {found}"));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Notes what was exact, and what of the child's types the parent does not have.
fn settle(child: Flavor, parent: Flavor, all: &Groups, replaced: &[(String, &str, &str)]) {
    let mut without: Vec<String> = Vec::new();
    for kind in kinds().into_iter().filter(|kind| kind.is_on(child)) {
        let there = kinds().iter().any(|other| other.row == kind.row && other.is_on(parent));
        if !there && !without.contains(&kind.row) {
            without.push(kind.row);
        }
    }
    without.retain(|row| !row.starts_with("JSON of") || parent == Flavor::Mysql56);
    let cell = match without.len() {
        0 => EXACT.to_owned(),
        _ => format!("{EXACT}; not there: {}", without.join("; ")),
    };
    let has_fellow = |kind: &Kind| {
        let fellow = |other: &Kind| child.is_mariadb() || other.row == kind.row;
        let mut others = kinds().into_iter().filter(|other| other.column == kind.column);
        others.any(|other| other.is_on(parent) && fellow(&other))
    };
    let respelled = kinds().into_iter().find(|kind| {
        kind.is_on(child) && has_fellow(kind) && is_respelled_json(kind, child, parent)
    });
    let cell = match respelled {
        // Told of by its meaning: `json_keeps_its_meaning`.
        Some(kind) if child.is_mariadb() => {
            format!("{cell}; arrives as what it means: {}", kind.row)
        }
        // And `whole_doubles_of_mysql_5_7_stay_doubles`.
        Some(kind) => format!("{cell}; spelt otherwise: {}", kind.row),
        None => cell,
    };
    let deep = kinds().into_iter().find(|kind| kind.is_on(child) && is_too_deep(kind, parent));
    let cell = match deep {
        Some(kind) => format!("{cell}; not tried: {}", kind.row),
        None => cell,
    };
    PAIRS.settle_all(column(parent), &[(column(child).to_owned(), cell)]);
    let mut cells: Vec<(String, String)> = Vec::new();
    for (kind, (theirs, _, _)) in all.get("instead").into_iter().flatten().zip(replaced) {
        let name = theirs.split(['(', ' ']).next().unwrap_or_default();
        let theirs = if kind.row.contains("gb18030") { "utf8mb4" } else { name };
        let row = format!("{} as {theirs}", kind.row);
        if !cells.iter().any(|(known, _)| *known == row) {
            cells.push((row, EXACT.to_owned()));
        }
    }
    INSTEAD.settle_all(column(parent), &cells);
}

macro_rules! pairs {
    ($($name:ident: $child:ident to $parent:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (child, parent) = (Flavor::$child, Flavor::$parent);
            let name = concat!(module_path!(), "::", stringify!($name));
            if crate::support::is_there(child, name) && crate::support::is_there(parent, name) {
                types_arrive_between(child, parent).await;
            }
        })*
    };
}

crate::support::each_pair!(pairs);

/// MariaDB keeps JSON as it was written, MySQL what it means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_keeps_its_meaning() {
    let (child, parent) = (Flavor::Mariadb1011, Flavor::Mysql97);
    let name = concat!(module_path!(), "::json_keeps_its_meaning");
    if !(crate::support::is_there(child, name) && crate::support::is_there(parent, name)) {
        return;
    }
    let mut ends = Ends::start(child, parent).await;
    ends.table("documents", &["doc JSON NULL".to_owned()]).await;
    ends.run().await;
    let documents = [
        (
            r#"{"b":1,   "a": [1.5, -0.0, "\u00e9\n", null, true]}"#,
            r#"{"a": [1.5, -0.0, "é\n", null, true], "b": 1}"#,
        ),
        (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
        (
            "[18446744073709551615, -9223372036854775808]",
            "[18446744073709551615, -9223372036854775808]",
        ),
        (r#""😀""#, r#""😀""#),
    ];
    for (number, (written, meant)) in documents.iter().enumerate() {
        let written = written.replace('\\', "\\\\");
        let sql = format!("INSERT INTO documents SET uuid = '{number}', doc = '{written}'");
        ends.child.sql_in("kinds", &sql).await.unwrap();
        ends.carry_all().await;
        let found = format!("SELECT CAST(doc AS CHAR) FROM documents WHERE uuid = '{number}'");
        let found = ends.parent.ask("kinds", &found).await.unwrap();
        assert_eq!(found.as_deref(), Some(*meant));
    }
    // Changed, emptied and deleted.
    let shown = "SELECT CONCAT(COUNT(*), ' ', COUNT(doc), ' ', COALESCE(MAX(CAST(doc AS CHAR)), '')) \
                 FROM documents WHERE uuid = '0'";
    for (sql, expected) in [
        (
            r#"UPDATE documents SET doc = '{"z": [2,  1], "y": 0.5}' WHERE uuid = '0'"#,
            r#"1 1 {"y": 0.5, "z": [2, 1]}"#,
        ),
        ("UPDATE documents SET doc = NULL WHERE uuid = '0'", "1 0 "),
        ("UPDATE documents SET doc = '[]' WHERE uuid = '0'", "1 1 []"),
        ("DELETE FROM documents WHERE uuid = '0'", "0 0 "),
    ] {
        ends.child.sql_in("kinds", sql).await.unwrap();
        ends.carry_all().await;
        let found = ends.parent.ask("kinds", shown).await.unwrap();
        assert_eq!(found.as_deref(), Some(expected), "{sql}");
    }
    // What is no JSON to MySQL is set aside, and says so.
    let sql = "INSERT INTO documents SET uuid = 'long', doc = '[0.12345678901234567890123]'";
    ends.child.sql_in("kinds", sql).await.unwrap();
    ends.carry().await;
    let held = ends.held().await.join("\n");
    assert!(held.contains("documents: ") && held.contains("0.12345678901234567890123"), "{held}");
    ends.stop().await;
}

/// MySQL 5.7 prints such doubles like integers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_doubles_of_mysql_5_7_stay_doubles() {
    let (child, parent) = (Flavor::Mysql57, Flavor::Mysql97);
    let name = concat!(module_path!(), "::whole_doubles_of_mysql_5_7_stay_doubles");
    if !(crate::support::is_there(child, name) && crate::support::is_there(parent, name)) {
        return;
    }
    let mut ends = Ends::start(child, parent).await;
    ends.table("documents", &["doc JSON NULL".to_owned()]).await;
    ends.run().await;
    let sql = "INSERT INTO documents SET uuid = 'a', doc = '[1.0, -0.0, 1e15, -2e3]'";
    ends.child.sql_in("kinds", sql).await.unwrap();
    ends.carry_all().await;
    let shown = "SELECT CAST(doc AS CHAR) FROM documents";
    let printed = ends.child.ask("kinds", shown).await.unwrap().unwrap();
    assert!(printed.starts_with("[1, -0, "), "{printed}");
    let arrived = ends.parent.ask("kinds", shown).await.unwrap();
    assert_eq!(arrived.as_deref(), Some("[1.0, -0.0, 1e15, -2000.0]"));
    ends.stop().await;
}

/// A row is called the same at both ends, whatever its name is stored as.
async fn identities_are_the_same_between(child: Flavor, here: &str, parent: Flavor, there: &str) {
    let name = concat!(module_path!(), "::identities_are_the_same_between");
    if !(crate::support::is_there(child, name) && crate::support::is_there(parent, name)) {
        return;
    }
    let mut ends = Ends::start(child, parent).await;
    let table = |uuid: &str| {
        format!(
            "CREATE TABLE owner (id INT AUTO_INCREMENT PRIMARY KEY, uuid {uuid} NOT NULL UNIQUE, a INT)"
        )
    };
    let pet = "CREATE TABLE pet (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, \
        owner_id INT NOT NULL, FOREIGN KEY (owner_id) REFERENCES owner (id))";
    ends.table_by("owner", &table(here), &table(there)).await;
    ends.table_by("pet", pet, pet).await;
    ends.parent.sql_in("kinds", "ALTER TABLE owner AUTO_INCREMENT = 900").await.unwrap();
    ends.run().await;
    let binary = here == "BINARY(16)";
    for (number, uuid) in [
        "123e4567-e89b-12d3-a456-426614174000",
        "A4F30A1B-5EB9-11DF-A648-37A07F9C9000",
        "00000000-0000-0000-0000-000000000000",
    ]
    .into_iter()
    .enumerate()
    {
        let literal =
            if binary { format!("UNHEX(REPLACE('{uuid}', '-', ''))") } else { format!("'{uuid}'") };
        for sql in [
            format!("INSERT INTO owner (id, uuid, a) VALUES ({number} + 1, {literal}, 1)"),
            format!("INSERT INTO pet (uuid, owner_id) VALUES ('pet-{number}', {number} + 1)"),
            format!("UPDATE owner SET a = 7 WHERE uuid = {literal}"),
        ] {
            ends.child.sql_in("kinds", &sql).await.unwrap();
            ends.carry_all().await;
        }
        let query = format!(
            "SELECT CONCAT(owner.id >= 900, ' ', a) FROM pet JOIN owner ON owner.id = owner_id \
             WHERE pet.uuid = 'pet-{number}' AND owner.uuid = {literal}"
        );
        let found = ends.parent.ask("kinds", &query).await.unwrap();
        assert_eq!(found.as_deref(), Some("1 7"), "{uuid} as {here} and {there}");
    }
    let sql = "DELETE FROM pet; DELETE FROM owner";
    ends.child.sql_in("kinds", sql).await.unwrap();
    ends.carry_all().await;
    ends.carry_all().await;
    let left = ends.parent.ask("kinds", "SELECT COUNT(*) FROM owner").await.unwrap();
    assert_eq!(left.as_deref(), Some("0"));
    ends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_stored_otherwise_are_the_same() {
    let (mysql, mariadb) = (Flavor::Mysql97, Flavor::Mariadb1011);
    identities_are_the_same_between(mariadb, "UUID", mysql, "CHAR(36)").await;
    identities_are_the_same_between(mysql, "CHAR(36)", mariadb, "UUID").await;
    identities_are_the_same_between(mariadb, "BINARY(16)", mysql, "BINARY(16)").await;
    let ucs2 = "VARCHAR(38) CHARACTER SET ucs2";
    identities_are_the_same_between(mysql, "CHAR(38) CHARACTER SET latin1", mariadb, ucs2).await;
    // Tables of one database in two collations, as upgrades leave them behind.
    let bin = "CHAR(38) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    identities_are_the_same_between(mysql, "CHAR(38)", mysql, bin).await;
    identities_are_the_same_between(mariadb, "CHAR(38)", mariadb, bin).await;
}
