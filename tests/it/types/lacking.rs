//! What a parent of another kind lacks is named before anything is sent, by table and column, and
//! set aside with clear words when it is sent all the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_rig::{Flavor, Server};
use mysql_async::prelude::Queryable as _;

use super::ends::{DATABASE, Ends, session};
use crate::support::is_there;

fn list(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

/// A node's configuration for one end.
fn configuration(folder: &Path, name: &str, server: &Server, section: &str) -> PathBuf {
    let map = folder.join("kinds.toml");
    let text = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
        [tables]\nmixed = { class = \"all\" }\nfine = { class = \"all\" }\nabsent = { class = \"all\" }\n";
    std::fs::write(&map, text).unwrap();
    let path = folder.join(format!("{name}.toml"));
    let data = folder.join(name);
    let text = format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[database]\nurl = \"{}\"\nmaps = [\"{}\"]\n{section}\n",
        data.display(),
        server.url(DATABASE),
        map.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn headwater(config: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_parent_lacks_is_named_before_it_is_sent() {
    let name = concat!(module_path!(), "::what_the_parent_lacks_is_named_before_it_is_sent");
    let (child, parent) = (Flavor::Mysql97, Flavor::Mariadb1011);
    if !(is_there(child, name) && is_there(parent, name)) {
        return;
    }
    let mut ends = Ends::start(child, parent).await;
    let here = [
        "v VECTOR(3) NULL",
        "t VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs NULL",
        "n BIGINT UNSIGNED NULL",
        "g VARCHAR(20) CHARACTER SET gb18030 NULL",
        "d DATETIME(6) NULL",
    ];
    let there = [
        "v INT NULL",
        "t VARCHAR(20) CHARACTER SET latin1 NULL",
        "n INT NULL",
        "g VARCHAR(20) CHARACTER SET utf8mb4 NULL",
        "d DATETIME NULL",
    ];
    ends.table_as("mixed", &list(&here), &list(&there)).await;
    ends.table("fine", &list(&["a INT NULL"])).await;
    ends.child
        .sql_in(DATABASE, "CREATE TABLE absent (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE)")
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parent = "[listen]\naddress = \"127.0.0.1:1\"\nnames = [\"n\"]";
    let parent = configuration(folder.path(), "centre", &ends.parent, parent);
    let dialled = "[parent]\nurl = \"https://127.0.0.1:1\"";
    let child = configuration(folder.path(), "clinic", &ends.child, dialled);

    let with = parent.display().to_string();
    let (code, said) = headwater(&child, &["map", "check", "--with", &with]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "mixed: its column v is vector(3) here and int(11) at the other end, which does not hold",
        "mixed: its column t is varchar(20) in utf8mb4 here and varchar(20) in latin1 at the other \
         end, and latin1 does not hold every character of it",
        "mixed: its column n is bigint unsigned here and int(11) at the other end, which holds \
         -2147483648 to 2147483647 only",
        "mixed: its column d is datetime(6) here and datetime at the other end, which holds fewer \
         fractional digits",
        "absent: it cannot be written at the other end: it is not there",
        "mixed: its column v is vector(3), which only MySQL from 9.0 and MariaDB from 11.7 have",
    ] {
        assert!(said.contains(words), "{words}\nin {said}");
    }
    assert!(!said.contains("column g is varchar(20) in gb18030 here"), "utf8mb4 holds it: {said}");
    assert!(!said.contains("fine:"), "{said}");
    let (_, said) = headwater(&child, &["doctor"]);
    assert!(said.contains("mixed.v is vector(3), which only MySQL from 9.0"), "{said}");
    assert!(said.contains("map check --with"), "{said}");

    // Sent all the same: what fits arrives, what does not is set aside by name.
    ends.run().await;
    let mut conn = session(&ends.child).await;
    for (column, value) in [
        ("v", "STRING_TO_VECTOR('[1,2,3]')"),
        ("t", "'😀'"),
        ("n", "18446744073709551615"),
        ("d", "'2026-11-22 01:02:03.000004'"),
    ] {
        let sql = format!("INSERT INTO mixed SET uuid = 'row-{column}', {column} = {value}");
        conn.query_drop(sql).await.unwrap();
        ends.carry().await;
        let held = ends.held().await;
        let [held] = held.as_slice() else { panic!("{column}: {held:?}") };
        assert!(held.starts_with("mixed: ") && held.contains(column), "{column}: {held}");
        ends.discard_held().await;
    }
    conn.query_drop("INSERT INTO mixed SET uuid = 'row', g = '汉字', t = 'é', n = 1")
        .await
        .unwrap();
    ends.carry_all().await;
    let shown = "SELECT CONCAT(g, t, n) FROM mixed WHERE uuid = 'row'";
    assert_eq!(ends.parent.ask(DATABASE, shown).await.unwrap().as_deref(), Some("汉字é1"));
    ends.stop().await;
}
