//! Keys that mean something at one end only, and keys that others hold.

use headwater_rig::Flavor;
use mysql_async::prelude::Queryable as _;

use super::ends::{Ends, session};
use super::exact::metadata;
use super::strange::{carry, tell};
use crate::support::on_all;

async fn what_a_server_does_with_keys_by_itself_stays_there(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    without_a_key(&mut ends).await;
    named(&mut ends).await;
    ends.run().await;
    for metadata in metadata(flavor) {
        tell(&ends, metadata).await;
        rows_without_a_key_arrive(&mut ends).await;
    }
    rows_that_hold_a_name_follow_it(&mut ends).await;
    ends.stop().await;
}

const COUNTED: &str = "id INT AUTO_INCREMENT PRIMARY KEY,";
/// Tables whose rows are called by all they hold, and what keys they have at either end.
const WHOLE: [(&str, &str, &str); 4] = [
    ("made", "MADE", "MADE"),
    ("counted", COUNTED, COUNTED),
    ("child_only", "MADE", ""),
    ("parent_only", "", COUNTED),
];

/// Makes them, with the columns in another order at the parent.
async fn without_a_key(ends: &mut Ends) {
    let setting = "SELECT @@sql_generate_invisible_primary_key";
    let makes_keys = ends.child.ask("", setting).await.is_ok();
    let hides = ends.child.flavor().is_new_mysql();
    for (name, child, parent) in WHOLE {
        let made = |key: &str, columns: &str| {
            let by_hand = if hides {
                "my_row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY INVISIBLE,"
            } else {
                COUNTED
            };
            let by_server = key == "MADE" && makes_keys;
            let key = if by_server { "" } else { key };
            let setting = if makes_keys {
                format!("SET sql_generate_invisible_primary_key = {};", u8::from(by_server))
            } else {
                String::new()
            };
            format!("{setting} CREATE TABLE {name} ({} {columns})", key.replace("MADE", by_hand))
        };
        let child = made(child, "b INT NULL, a INT NULL, word VARCHAR(20) NULL");
        let parent = made(parent, "word VARCHAR(20) NULL, a INT NULL, b INT NULL");
        let entry = "{ class = \"all\", identity = { whole_row = true } }";
        ends.table_mapped(name, entry, &child, &parent).await;
    }
}

async fn rows_without_a_key_arrive(ends: &mut Ends) {
    const ALL: &str =
        "SELECT GROUP_CONCAT(CONCAT_WS(' ', a, b, word) ORDER BY a, b SEPARATOR ',') FROM";
    for (name, ..) in WHOLE {
        for (sql, expected) in [
            ("INSERT INTO t (a, b, word) VALUES (7, 3, 'x'), (8, 5, 'y')", "7 3 x,8 5 y"),
            (
                "INSERT INTO t (a, b, word) VALUES (1, 2, 'z'), (1, 2, 'z')",
                "1 2 z,1 2 z,7 3 x,8 5 y",
            ),
            ("UPDATE t SET b = 1 WHERE a = 7", "1 2 z,1 2 z,7 1 x,8 5 y"),
            ("DELETE FROM t WHERE a = 1 LIMIT 1", "1 2 z,7 1 x,8 5 y"),
            ("DELETE FROM t WHERE a = 7", "1 2 z,8 5 y"),
        ] {
            carry(ends, &sql.replace(" t ", &format!(" {name} "))).await;
            let all = format!("{ALL} {name}");
            let there = ends.parent.ask("kinds", &all).await.unwrap();
            assert_eq!(there.as_deref(), Some(expected), "{name}: {sql}");
        }
        carry(ends, &format!("DELETE FROM {name}")).await;
    }
}

/// Tables that refer to rows by a name.
async fn named(ends: &mut Ends) {
    let follows = "FOREIGN KEY (role) REFERENCES role (role) ON UPDATE CASCADE";
    for (name, identity, columns) in [
        ("role", "\"role\"", "role VARCHAR(50) PRIMARY KEY, a INT".to_owned()),
        (
            "user_role",
            "[\"user_id\", \"role\"]",
            format!("user_id INT, role VARCHAR(50), a INT, PRIMARY KEY (user_id, role), {follows}"),
        ),
        (
            "member",
            "\"uuid\"",
            format!(
                "id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, \
                 role VARCHAR(50), a INT, {follows}"
            ),
        ),
    ] {
        let made = format!("CREATE TABLE {name} ({columns})");
        let entry = format!("{{ class = \"all\", identity = {identity} }}");
        ends.table_mapped(name, &entry, &made, &made).await;
    }
}

/// What most servers' logs do not tell: rows that the server itself writes because they hold the key.
async fn rows_that_hold_a_name_follow_it(ends: &mut Ends) {
    const ROLES: &str = "SELECT GROUP_CONCAT(CONCAT_WS(' ', user_id, role, a) ORDER BY user_id, role) \
                         FROM user_role";
    const MEMBERS: &str =
        "SELECT GROUP_CONCAT(CONCAT_WS(' ', uuid, role, a) ORDER BY uuid) FROM member";
    for sql in [
        "INSERT INTO role VALUES ('Nurse', 1), ('Clerk', 1)",
        "INSERT INTO user_role VALUES (1, 'Nurse', 1), (2, 'Nurse', 1), (1, 'Clerk', 1)",
        "INSERT INTO member (uuid, role, a) VALUES ('m', 'Nurse', 1), ('n', 'Clerk', 1)",
        "UPDATE role SET role = 'Midwife' WHERE role = 'Nurse'",
    ] {
        carry_in_turn(ends, sql).await;
    }
    let holds = async |ends: &Ends, roles: &str, members: &str| {
        for (query, expected) in [(ROLES, roles), (MEMBERS, members)] {
            for server in [&ends.child, &ends.parent] {
                let found = server.ask("kinds", query).await.unwrap();
                assert_eq!(found.as_deref(), Some(expected), "{query}");
            }
        }
    };
    holds(ends, "1 Clerk 1,1 Midwife 1,2 Midwife 1", "m Midwife 1,n Clerk 1").await;
    for sql in [
        "UPDATE user_role SET a = 2 WHERE user_id = 1",
        "UPDATE member SET a = 3",
        "DELETE FROM user_role WHERE user_id = 2",
        "INSERT INTO user_role VALUES (3, 'Midwife', 4)",
        "UPDATE role SET role = 'Nurse', a = 2 WHERE role = 'Midwife'",
    ] {
        carry_in_turn(ends, sql).await;
    }
    holds(ends, "1 Clerk 2,1 Nurse 2,3 Nurse 4", "m Nurse 3,n Clerk 3").await;
}

/// Where the log tells of them, they wait for the name within their batch.
async fn carry_in_turn(ends: &mut Ends, sql: &str) {
    session(&ends.child).await.query_drop(sql).await.unwrap();
    ends.carry().await;
    let held = ends.held().await;
    assert!(held.is_empty(), "{held:?}");
}

on_all!(what_a_server_does_with_keys_by_itself_stays_there);
