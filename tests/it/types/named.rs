//! A type or a collation that one kind of server has and another lacks is named, by table and column,
//! before anything is sent: for every pair of servers and every type of [`kinds`].

use std::path::{Path, PathBuf};

use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;

use super::exact::columns;
use super::kinds::{Kind, kinds};
use crate::cli::{CHILD, headwater, printed};
use crate::support::is_there;

const DATABASE: &str = "lacks";
/// As many unique indexes as fit into one table, and as many such tables.
const COLLATIONS: usize = 40;
const TABLES: usize = 2;

/// What one server has and the other does not, under the same name or at all.
fn lacking(child: Flavor, parent: Flavor) -> Vec<Kind> {
    let all = kinds();
    let there = |kind: &Kind| {
        let same = |other: &&Kind| other.row == kind.row && other.column == kind.column;
        all.iter().filter(same).any(|other| other.is_on(parent))
    };
    let found = kinds().into_iter().filter(|kind| kind.is_on(child) && !there(kind));
    // A value, not a type: MariaDB 10.11 has the column, and makes 0.0 of it (docs/fine-print.md). And
    // the longest vectors fill a row by themselves; shorter ones are of the same type.
    found.filter(|kind| !kind.row.ends_with("-0.0") && kind.group != "vectors_large").collect()
}

/// The collations of utf8mb4 that one server has and the other lacks; some of them, where there are many.
async fn lacking_collations(child: &Server, parent: &Server) -> Vec<String> {
    let list = async |server: &Server| -> Vec<String> {
        // MariaDB shares some among character sets, and lists them without one.
        let mariadb = server.flavor().is_mariadb();
        let name = if mariadb { "FULL_COLLATION_NAME" } else { "COLLATION_NAME" };
        let mut conn = server.conn("").await.unwrap();
        let found = conn
            .query(format!(
                "SELECT {name} FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY \
                 WHERE CHARACTER_SET_NAME = 'utf8mb4' ORDER BY 1"
            ))
            .await
            .unwrap();
        conn.disconnect().await.unwrap();
        found
    };
    let theirs = list(parent).await;
    let ours: Vec<String> =
        list(child).await.into_iter().filter(|name| !theirs.contains(name)).collect();
    let step = ours.len() / (COLLATIONS * TABLES) + 1;
    ours.into_iter().step_by(step).collect()
}

async fn table(server: &Server, name: &str, columns: &[String]) {
    let mut conn = server.conn(DATABASE).await.unwrap();
    // Many columns of one type in one table: the row is small enough, its most is not.
    conn.query_drop("SET SESSION innodb_strict_mode = OFF, sql_mode = ''").await.unwrap();
    let format = if server.flavor() == Flavor::Mysql56 { " ROW_FORMAT=DYNAMIC" } else { "" };
    let sql = format!(
        "CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) CHARACTER SET ascii \
         NOT NULL UNIQUE, {}) ENGINE=InnoDB{format}",
        columns.join(", ")
    );
    let made = conn.query_drop(&sql).await;
    assert!(made.is_ok(), "{} says {:?} to {sql}", server.flavor(), made.unwrap_err());
    conn.disconnect().await.unwrap();
}

fn configuration(folder: &Path, name: &str, server: &Server, tables: &[String]) -> PathBuf {
    let (map, path) = (folder.join("map.toml"), folder.join(format!("{name}.toml")));
    let listed: Vec<String> =
        tables.iter().map(|table| format!("{table} = {{ class = \"all\" }}\n")).collect();
    let listed = listed.concat();
    let text = format!(
        "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n[tables]\n{listed}"
    );
    std::fs::write(&map, text).unwrap();
    let (data, url) = (folder.join(name), server.url(DATABASE));
    let text = format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[database]\nurl = \"{url}\"\nmaps = [\"{}\"]\n{CHILD}\n",
        data.display(),
        map.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

async fn all_of_it_is_named(child: &Server, parent: &Server) {
    let pair = format!("{} to {}", child.flavor(), parent.flavor());
    let again = format!("DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE}");
    for server in [child, parent] {
        server.sql(&again).await.unwrap();
    }
    let mut tables = Vec::new();
    let mut expected = Vec::new();
    let kinds = lacking(child.flavor(), parent.flavor());
    if !kinds.is_empty() {
        let ours = columns(&kinds);
        // In the place of what it lacks something that does not hold it; what it has holds less.
        let theirs: Vec<String> = kinds
            .iter()
            .zip(&ours)
            .enumerate()
            .map(|(place, (kind, same))| {
                if kind.row == "TIMESTAMP after 2038" {
                    same.clone()
                } else {
                    format!("c{place} BIT(1) NULL")
                }
            })
            .collect();
        table(child, "kinds", &ours).await;
        table(parent, "kinds", &theirs).await;
        tables.push("kinds".to_owned());
        expected.extend((0..kinds.len()).map(|place| format!("kinds: its column c{place} is ")));
    }
    let collations = lacking_collations(child, parent).await;
    for (number, some) in collations.chunks(COLLATIONS).enumerate() {
        let column = |place: usize, name: &str| {
            format!("c{place} VARCHAR(5) CHARACTER SET utf8mb4 COLLATE {name} UNIQUE")
        };
        let ours: Vec<String> =
            some.iter().enumerate().map(|(place, name)| column(place, name)).collect();
        let theirs: Vec<String> =
            (0..some.len()).map(|place| column(place, "utf8mb4_general_ci")).collect();
        let name = format!("texts{number}");
        table(child, &name, &ours).await;
        table(parent, &name, &theirs).await;
        expected.extend(some.iter().enumerate().map(|(place, collation)| {
            format!("{name}: its column c{place} is in {collation} here and in utf8mb4_general_ci ")
        }));
        tables.push(name);
    }
    // What both have is not named.
    let fine = ["a INT NULL".to_owned(), "t VARCHAR(9) CHARACTER SET utf8mb4 UNIQUE".to_owned()];
    table(child, "fine", &fine).await;
    table(parent, "fine", &fine).await;
    tables.push("fine".to_owned());

    let folder = tempfile::tempdir().unwrap();
    let centre = configuration(folder.path(), "centre", parent, &tables).display().to_string();
    let clinic = configuration(folder.path(), "clinic", child, &tables);
    let output = headwater(&clinic, &["map", "check", "--quick", "--with", &centre]);
    let said = printed(&output);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in &expected {
        assert!(said.contains(words.as_str()), "{pair}: {words}\nnot in {said}{errors}");
    }
    let sure = kinds.iter().any(|kind| kind.row != "TIMESTAMP after 2038");
    assert_eq!(output.status.code(), Some(i32::from(sure)), "{pair}: {said}{errors}");
    // The collations that the servers take by default differ, and `t` is unique.
    assert!(!said.contains("fine: its column a"), "{pair}: {said}");
    eprintln!("{pair}: {} types and {} collations are named", kinds.len(), collations.len());

    // What the child can know alone.
    let output = headwater(&clinic, &["map", "check", "--quick"]);
    let said = printed(&output);
    for (place, kind) in kinds.iter().enumerate() {
        let rare = ["VECTOR", "UUID", "INET", "JSON", "COMPRESSED", "gb18030", "38,38"];
        let alias = kind.column == "JSON" && !child.flavor().is_mysql_from(5, 7);
        if rare.iter().any(|word| kind.column.contains(word)) && !alias {
            let words = format!("kinds: its column c{place} is ");
            assert!(said.contains(&words), "{pair}: {} is not named in {said}", kind.column);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_other_end_lacks_is_named_for_every_pair() {
    let name = concat!(module_path!(), "::what_the_other_end_lacks_is_named_for_every_pair");
    let mut servers = Vec::new();
    for flavor in Flavor::ALL {
        if is_there(flavor, name) {
            let options = ServerOptions { sync_binlog: 0, ..ServerOptions::default() };
            servers.push(Server::start(flavor, options).await.unwrap());
        }
    }
    for child in &servers {
        for parent in servers.iter().filter(|parent| parent.flavor() != child.flavor()) {
            all_of_it_is_named(child, parent).await;
        }
    }
}
