//! The parent's server: read-only, its account in trouble, no connection left, its disk full. What
//! hits every change sets none of them aside: the link says what is wrong, and goes on once it is mended.

use std::time::{Duration, Instant};

use headwater_rig::{Flavor, Server, edge};
use mysql_async::prelude::Queryable as _;

use super::accounts::{EXPIRE, OTHER_PASSWORD, Trouble, disconnect, lock, set_password};
use super::{Disk, SERVERS};
use crate::nodes::Pair;
use crate::support::ledger::{NOT_THERE, WAITS};
use crate::support::on_all;

fn read_only(flavor: Flavor, on: bool) -> &'static str {
    match (flavor, on) {
        (_, true) if flavor.is_mysql_from(5, 7) => "SET GLOBAL super_read_only = ON",
        (_, false) if flavor.is_mysql_from(5, 7) => {
            "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF"
        }
        (_, true) => "SET GLOBAL read_only = ON",
        (_, false) => "SET GLOBAL read_only = OFF",
    }
}

const TROUBLES: &[Trouble] = &[
    Trouble {
        row: "the parent turns read-only",
        sql: |flavor| Some(read_only(flavor, true)),
        words: "read-only",
        mend: |flavor| read_only(flavor, false),
    },
    Trouble {
        row: "UPDATE on one mapped table is taken away at the parent",
        sql: |_| Some("REVOKE UPDATE ON openmrs.location FROM 'hw'@'%'"),
        words: "`headwater grants` prints",
        mend: |_| "GRANT UPDATE ON openmrs.location TO 'hw'@'%'",
    },
    Trouble {
        row: "SELECT on one mapped table is taken away at the parent",
        sql: |_| Some("REVOKE SELECT ON openmrs.location FROM 'hw'@'%'"),
        words: "`headwater grants` prints",
        mend: |_| "GRANT SELECT ON openmrs.location TO 'hw'@'%'",
    },
    Trouble {
        row: "the schema headwater is taken away at the parent",
        sql: |_| Some("REVOKE ALL ON headwater.* FROM 'hw'@'%'"),
        words: "`headwater grants` prints",
        mend: |_| "GRANT ALL ON headwater.* TO 'hw'@'%'",
    },
    Trouble {
        row: "the parent's password is changed",
        sql: |flavor| Some(set_password(flavor, true)),
        words: "denied",
        mend: |_| "",
    },
    Trouble {
        row: "the parent's account is locked",
        sql: lock,
        words: "locked",
        mend: |_| "ALTER USER 'hw'@'%' ACCOUNT UNLOCK",
    },
    Trouble {
        row: "the parent's password expires",
        sql: |_| Some(EXPIRE),
        words: "let the account in",
        mend: |flavor| set_password(flavor, true),
    },
];

/// Gives the parent an account with no more rights than it needs, table by table.
async fn with_account(pair: &Pair) {
    let server = &pair.parent_server;
    server.sql("CREATE USER 'hw'@'%' IDENTIFIED BY 'right'").await.unwrap();
    let mut conn = server.conn("openmrs").await.unwrap();
    let tables: Vec<String> = conn.query("SHOW TABLES").await.unwrap();
    for table in tables {
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{table}` TO 'hw'@'%'");
        conn.query_drop(grant).await.unwrap();
    }
    conn.query_drop("GRANT ALL ON headwater.* TO 'hw'@'%'").await.unwrap();
    conn.disconnect().await.unwrap();
    std::fs::write(pair.parent.config.with_file_name("secret"), "right\n").unwrap();
    let text = std::fs::read_to_string(&pair.parent.config).unwrap();
    let port = server.port();
    let ours = format!("url = \"mysql://root@127.0.0.1:{port}/openmrs\"");
    assert!(text.contains(&ours), "{text}");
    let theirs =
        format!("url = \"mysql://hw@127.0.0.1:{port}/openmrs\"\npassword_file = \"secret\"");
    std::fs::write(&pair.parent.config, text.replace(&ours, &theirs)).unwrap();
}

/// Waits until the child's status says what the parent's trouble is.
async fn until_told(pair: &Pair, part: &str) {
    until_told_one_of(pair, &[part]).await;
}

async fn until_told_one_of(pair: &Pair, parts: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let status = pair.child.status();
        let words = status["links"][0]["last_error"].as_str().unwrap_or_default().to_owned();
        if parts.iter().any(|part| words.contains(part)) {
            return words;
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{words:?} does not say {parts:?}\nchild:\n{}\nparent:\n{}",
            pair.child.log(),
            pair.parent.log()
        );
        edge::sleep(Duration::from_millis(100)).await;
    }
}

async fn set_aside(server: &Server) -> Option<String> {
    server.ask("headwater", "SELECT COUNT(*) FROM held").await.unwrap()
}

async fn change(pair: &Pair, text: &str) {
    let sql = format!("UPDATE location SET description = '{text}' ORDER BY location_id LIMIT 1");
    pair.at_child(&sql).await;
}

async fn a_trouble_of_the_parent_s_server_sets_nothing_aside(flavor: Flavor) {
    let mut pair = Pair::enrolled(flavor).await;
    with_account(&pair).await;
    pair.parent.start();
    pair.child.start();
    pair.captures().await;
    for trouble in TROUBLES {
        let Some(sql) = (trouble.sql)(flavor) else {
            SERVERS.settle(trouble.row, flavor, NOT_THERE);
            continue;
        };
        println!("{}", trouble.row);
        pair.parent_server.sql(sql).await.unwrap();
        disconnect(&pair.parent_server).await;
        change(&pair, &trouble.row.replace('\'', "")).await;
        until_told(&pair, trouble.words).await;
        let mend = (trouble.mend)(flavor);
        if mend.is_empty() {
            let secret = pair.parent.config.with_file_name("secret");
            std::fs::write(secret, format!("{OTHER_PASSWORD}\n")).unwrap();
        } else {
            pair.parent_server.sql(mend).await.unwrap();
        }
        pair.in_step().await;
        assert_eq!(set_aside(&pair.parent_server).await.as_deref(), Some("0"));
        SERVERS.settle(trouble.row, flavor, WAITS);
    }
    pair.must_be_equal().await;
}

async fn no_connection_left_at_the_parent_is_waited_for(flavor: Flavor) {
    let mut pair = Pair::enrolled(flavor).await;
    with_account(&pair).await;
    pair.parent.start();
    pair.child.start();
    pair.captures().await;
    change(&pair, "before").await;
    pair.in_step().await;
    let server = &pair.parent_server;
    let mut admin = server.conn("").await.unwrap();
    let mut others = Vec::new();
    for _ in 0..12 {
        others.push(server.conn("").await.unwrap());
    }
    admin.query_drop("SET GLOBAL max_connections = 10").await.unwrap();
    let rows: Vec<mysql_async::Row> = admin.query("SHOW PROCESSLIST").await.unwrap();
    for row in rows.iter().filter(|row| row.get::<String, _>(1).as_deref() == Some("hw")) {
        let id: u64 = row.get(0).unwrap();
        admin.query_drop(format!("KILL {id}")).await.ok();
    }
    change(&pair, "meanwhile").await;
    until_told(&pair, "raise max_connections").await;
    drop(others);
    admin.query_drop("SET GLOBAL max_connections = 100").await.unwrap();
    pair.must_be_equal().await;
    assert_eq!(set_aside(server).await.as_deref(), Some("0"));
    SERVERS.settle("max_connections is reached at the parent", flavor, WAITS);
}

async fn a_full_disk_of_the_parent_sets_nothing_aside(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    change(&pair, "before").await;
    pair.in_step().await;
    // Without a binary log of its own: servers wait for a minute before they write to that again.
    pair.parent_server.stop().await.unwrap();
    let data = pair.parent_server.data();
    let disk = pair.parent_server.folder().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(mounted) = Disk::mount(&disk, 600) else { return };
    let moved = disk.join("data");
    let copied = std::process::Command::new("cp").arg("-a").args([&data, &moved]).status().unwrap();
    assert!(copied.success());
    std::fs::rename(&data, data.with_file_name("former")).unwrap();
    std::os::unix::fs::symlink(&moved, &data).unwrap();
    pair.parent_server.restart_with(|options| options.binlog = false).await.unwrap();
    pair.in_step().await;
    // Nothing is left but what the server has already.
    let ballast = disk.join("ballast");
    let filled = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", ballast.display()))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!filled.success(), "the disk is full");
    let text = "text ".repeat(10_000);
    for number in 0..120 {
        pair.at_child(&format!(
            "INSERT INTO location (name, description, address1, creator, date_created, uuid)
             SELECT 'full-{number}', 'd', '', MIN(user_id), '2026-01-01', UUID() FROM users;
             UPDATE global_property SET property_value = CONCAT('{number} ', '{text}')
               ORDER BY property LIMIT 1;
             INSERT INTO global_property (property, property_value, uuid)
               VALUES ('full.{number}', '{text}', UUID())"
        ))
        .await;
    }
    // Some servers end for want of room, which is another way to be gone.
    let told = until_told_one_of(&pair, &["make room on the target's disk", "refused (os"]).await;
    println!("{flavor}: {told}");
    std::fs::remove_file(ballast).unwrap();
    if pair.parent_server.conn("").await.is_err() {
        pair.parent_server.restart().await.unwrap();
    }
    // Others end later, when they next look at what they could not write.
    let begun = Instant::now();
    let mut status = pair.child.status();
    while status["in_step"] != true {
        if pair.parent_server.has_ended() {
            pair.parent_server.restart().await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_mins(5), "{status:#}\n{}", pair.parent.log());
        edge::sleep(Duration::from_millis(300)).await;
        status = pair.child.status();
    }
    pair.must_be_equal().await;
    assert_eq!(set_aside(&pair.parent_server).await.as_deref(), Some("0"));
    pair.parent_server.kill9();
    drop(mounted);
    SERVERS.settle("the parent's disk is full", flavor, WAITS);
}

on_all!(
    a_trouble_of_the_parent_s_server_sets_nothing_aside,
    no_connection_left_at_the_parent_is_waited_for,
    a_full_disk_of_the_parent_sets_nothing_aside,
);
