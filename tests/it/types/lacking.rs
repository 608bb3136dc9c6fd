//! What a parent of another kind lacks is named before anything is sent, by table and column, and
//! set aside with clear words when it is sent all the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_rig::{Flavor, Server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::ends::{DATABASE, Ends, session};
use crate::support::is_there;

/// A column that is one thing at the child and another at the parent.
struct Unlike {
    name: &'static str,
    here: &'static str,
    there: &'static str,
    /// What `map check --with` says of it, from its name on.
    told: &'static [&'static str],
    /// A value that the child holds and the parent does not.
    lacked: &'static str,
    /// What a change with it is set aside with.
    held: &'static str,
}

/// A child and a parent of two kinds.
struct Story {
    child: Flavor,
    parent: Flavor,
    columns: &'static [Unlike],
    /// Of columns that only some servers have: the name, and which.
    rare: &'static [(&'static str, &'static str)],
    /// What both hold: the columns' values, what shows them at the parent, and what that is.
    common: (&'static str, &'static str, &'static str),
}

/// A node's configuration for one end.
fn configuration(folder: &Path, name: &str, server: &Server, section: &str) -> PathBuf {
    let map = folder.join("kinds.toml");
    let text = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
        [tables]\nmixed = { class = \"all\" }\nfine = { class = \"all\" }\nabsent = { class = \"all\" }\n\
        linked = { class = \"all\" }\nbare = { class = \"all\" }\n";
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

/// What `map check --with` and `doctor` say before anything is sent.
fn named_before(story: &Story, ends: &Ends, folder: &Path) {
    let parent = "[listen]\naddress = \"127.0.0.1:1\"\nnames = [\"n\"]";
    let parent = configuration(folder, "centre", &ends.parent, parent);
    let dialled = "[parent]\nurl = \"https://127.0.0.1:1\"";
    let child = configuration(folder, "clinic", &ends.child, dialled);
    let with = parent.display().to_string();
    let (code, said) = headwater(&child, &["map", "check", "--with", &with]);
    assert_eq!(code, Some(1), "{said}");
    for column in story.columns {
        let line = format!("mixed: its column {} is ", column.name);
        for words in column.told {
            let told = said.lines().any(|known| known.contains(&line) && known.contains(words));
            assert!(told, "{line}..{words}\nin {said}");
        }
        if column.told.is_empty() {
            let other_end = "at the other end";
            assert!(!said.lines().any(|it| it.contains(&line) && it.contains(other_end)), "{said}");
        }
    }
    assert!(
        said.contains("absent: it cannot be written at the other end: it is not there"),
        "{said}"
    );
    assert!(!said.contains("fine:"), "{said}");
    for words in KEYS_TOLD {
        assert!(said.contains(words), "{words}\nin {said}");
    }
    for (column, servers) in story.rare {
        let line = format!("mixed: its column {column} is ");
        let told = said.lines().any(|known| known.contains(&line) && known.contains(servers));
        assert!(told, "{line}..{servers}\nin {said}");
    }
    let (_, said) = headwater(&child, &["doctor"]);
    for (column, servers) in story.rare {
        let line = format!("mixed.{column} is ");
        let told = said.lines().any(|known| known.contains(&line) && known.contains(servers));
        assert!(told, "{line}..{servers}\nin {said}");
    }
    assert!(story.rare.is_empty() || said.contains("map check --with"), "{said}");
    // The parent's own check names the table that it does not have.
    let (_, said) = headwater(&parent, &["map", "check"]);
    assert!(said.contains("absent"), "{said}");
}

/// Tables whose columns and keys differ, by their definitions at the child and at the parent.
const KEYS: [(&str, [&str; 2]); 2] = [
    (
        "linked",
        [
            "fine_id INT NULL, none INT NULL, word INT NULL, \
             CONSTRAINT linked_to_fine FOREIGN KEY (fine_id) REFERENCES fine (id) ON DELETE CASCADE",
            "fine_id INT NULL, none INT NOT NULL DEFAULT 0, word INT NULL, UNIQUE one_word (word)",
        ],
    ),
    ("bare", ["a INT NULL", "a INT NULL, must INT NOT NULL"]),
];

/// What is said of them before anything is sent.
const KEYS_TOLD: [&str; 5] = [
    "linked: its column fine_id is a reference to fine here and has no foreign key at the other end: add the \
     key there, or state references = { fine_id = \"fine\" } in the map",
    "linked: its column none may be NULL here and not at the other end",
    "linked: its rows are unique in word by the index one_word at the other end, and by none here",
    "linked: its foreign key linked_to_fine to fine says ON DELETE CASCADE, ON UPDATE ",
    "bare: its column must is not there here and may not be NULL at the other end, where it has no default",
];

/// Rows that meet what differs, in this order, and what they are set aside with.
const KEYS_HELD: [(&str, &str); 4] = [
    ("linked SET uuid = 'l-1', none = 1, fine_id = (SELECT MIN(id) FROM fine)", "maps differ"),
    ("linked SET uuid = 'l-2'", "none"),
    ("linked SET uuid = 'l-4', none = 1, word = 7", "one_word"),
    ("bare SET uuid = 'b-1'", "must"),
];

/// Makes [`KEYS`].
async fn tables_with_other_keys(ends: &mut Ends) {
    for (name, definitions) in KEYS {
        let [child, parent] = definitions.map(|columns| {
            format!(
                "CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) CHARACTER SET \
                 ascii NOT NULL UNIQUE, {columns}) ENGINE=InnoDB"
            )
        });
        ends.table_by(name, &child, &parent).await;
    }
}

/// What was named of keys is set aside when it is sent.
async fn keys_hold(ends: &mut Ends, conn: &mut Conn) {
    for row in ["fine SET uuid = 'f-1', a = 1", "linked SET uuid = 'l-3', none = 1, word = 7"] {
        conn.query_drop(format!("INSERT INTO {row}")).await.unwrap();
        ends.carry_all().await;
    }
    for (row, words) in KEYS_HELD {
        conn.query_drop(format!("INSERT INTO {row}")).await.unwrap();
        ends.carry().await;
        let held = ends.held().await;
        let [held] = held.as_slice() else { panic!("{row}: {held:?}") };
        assert!(held.contains(words), "{row}: {held}");
        ends.discard_held().await;
    }
}

async fn told(story: &Story, name: &str) {
    if !(is_there(story.child, name) && is_there(story.parent, name)) {
        return;
    }
    let mut ends = Ends::start(story.child, story.parent).await;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for column in story.columns {
        here.push(format!("{} {} NULL", column.name, column.here));
        there.push(format!("{} {} NULL", column.name, column.there));
    }
    ends.table_as("mixed", &here, &there).await;
    ends.table("fine", &["a INT NULL".to_owned()]).await;
    tables_with_other_keys(&mut ends).await;
    let absent = "CREATE TABLE absent (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) \
        CHARACTER SET ascii NOT NULL UNIQUE)";
    ends.child.sql_in(DATABASE, absent).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    named_before(story, &ends, folder.path());

    // Sent all the same: what fits arrives, what does not is set aside by name.
    ends.run().await;
    let mut conn = session(&ends.child).await;
    for Unlike { name, lacked, held: words, .. } in story.columns {
        if lacked.is_empty() {
            continue;
        }
        let sql = format!("INSERT INTO mixed SET uuid = 'row-{name}', {name} = {lacked}");
        conn.query_drop(sql).await.unwrap();
        ends.carry().await;
        let held = ends.held().await;
        let [held] = held.as_slice() else { panic!("{name}: {held:?}") };
        assert!(held.starts_with("mixed: ") && held.contains(words), "{name}: {held}");
        ends.discard_held().await;
    }
    keys_hold(&mut ends, &mut conn).await;
    let (values, shown, expected) = story.common;
    conn.query_drop(format!("INSERT INTO mixed SET uuid = 'row', {values}")).await.unwrap();
    ends.carry_all().await;
    let shown = format!("SELECT {shown} FROM mixed WHERE uuid = 'row'");
    assert_eq!(ends.parent.ask(DATABASE, &shown).await.unwrap().as_deref(), Some(expected));
    // Nothing else of the table came.
    let rows = "SELECT COUNT(*) FROM mixed";
    assert_eq!(ends.parent.ask(DATABASE, rows).await.unwrap().as_deref(), Some("1"));
    ends.stop().await;
}

const DOES_NOT_HOLD: &str = "at the other end, which does not hold";

const MYSQL_TO_MARIADB: Story = Story {
    child: Flavor::Mysql97,
    parent: Flavor::Mariadb1011,
    columns: &[
        Unlike {
            name: "v",
            here: "VECTOR(3)",
            there: "INT",
            told: &["vector(3) here and int(11) at the other end", DOES_NOT_HOLD],
            lacked: "STRING_TO_VECTOR('[1,2,3]')",
            held: "`v`",
        },
        Unlike {
            name: "t",
            here: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs",
            there: "VARCHAR(20) CHARACTER SET latin1",
            told: &["varchar(20) in utf8mb4 here and varchar(20) in latin1 at the other end, and \
                     latin1 does not hold every character of it"],
            lacked: "'😀'",
            held: "`t`",
        },
        Unlike {
            name: "n",
            here: "BIGINT UNSIGNED",
            there: "INT",
            told: &[
                "bigint unsigned here and int(11) at the other end, which holds -2147483648 to \
                     2147483647 only",
            ],
            lacked: "18446744073709551615",
            held: "column 'n'",
        },
        Unlike {
            name: "g",
            here: "VARCHAR(20) CHARACTER SET gb18030",
            there: "VARCHAR(20) CHARACTER SET utf8mb4",
            told: &[],
            lacked: "",
            held: "",
        },
        Unlike {
            name: "d",
            here: "DATETIME(6)",
            there: "DATETIME",
            told: &[
                "datetime(6) here and datetime at the other end, which holds fewer fractional \
                     digits",
            ],
            lacked: "'2026-11-22 01:02:03.000004'",
            held: "column d has 0 digits after the point",
        },
    ],
    rare: &[
        ("v", "which only MySQL from 9.0 and MariaDB from 11.7 have"),
        ("g", "which only MySQL from 5.7"),
    ],
    common: ("g = '汉字', t = 'é', n = 1", "CONCAT(g, t, n)", "汉字é1"),
};

const MARIADB_TO_MYSQL: Story = Story {
    child: Flavor::Mariadb1011,
    parent: Flavor::Mysql97,
    columns: &[
        Unlike {
            name: "u",
            here: "UUID",
            there: "CHAR(32)",
            told: &["uuid here", "char(32)", "which is shorter than 36 characters"],
            lacked: "'123e4567-e89b-12d3-a456-426614174000'",
            held: "column 'u'",
        },
        Unlike {
            name: "six",
            here: "INET6",
            there: "VARCHAR(20)",
            told: &["inet6 here", "which is shorter than 45 characters"],
            lacked: "'2001:db8:85a3:8d3:1319:8a2e:370:7348'",
            held: "column 'six'",
        },
        Unlike {
            name: "four",
            here: "INET4",
            there: "INT UNSIGNED",
            told: &["inet4 here and int unsigned at the other end", DOES_NOT_HOLD],
            lacked: "'10.0.0.1'",
            held: "column 'four'",
        },
        Unlike {
            name: "c",
            here: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_as_cs",
            there: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci UNIQUE",
            told: &[
                "in utf8mb4_uca1400_as_cs here and in utf8mb4_0900_ai_ci at the other end, where \
                     it is unique",
            ],
            lacked: "",
            held: "",
        },
    ],
    rare: &[
        ("u", "which only MariaDB from 10.7"),
        ("six", "which only MariaDB from 10.5"),
        ("four", "which only MariaDB from 10.10"),
    ],
    common: ("six = '::1', c = 'Bébé'", "CONCAT(six, c)", "::1Bébé"),
};

const OLD_MYSQL_TO_NEW_MARIADB: Story = Story {
    child: Flavor::Mysql56,
    parent: Flavor::Mariadb118,
    columns: &[
        Unlike {
            name: "m",
            here: "SET('a','b','c')",
            there: "SET('a','b')",
            told: &["at the other end, which has no member 'c'"],
            lacked: "'a,c'",
            held: "column m is set('a','b') here",
        },
        Unlike {
            name: "f",
            here: "DOUBLE",
            there: "FLOAT",
            told: &["double here and float at the other end, which holds fewer digits"],
            lacked: "0.1",
            held: "column f is float here, which would round 0.1",
        },
        Unlike {
            name: "b",
            here: "BIT(20)",
            there: "BIT(10)",
            told: &["bit(20) here and bit(10) at the other end, which holds fewer bits"],
            lacked: "b'11111111111'",
            held: "column 'b'",
        },
        Unlike {
            name: "d",
            here: "DECIMAL(10,4)",
            there: "DECIMAL(10,2)",
            told: &[
                "decimal(10,4) here and decimal(10,2) at the other end, which holds fewer digits",
            ],
            lacked: "1.2345",
            held: "column d has 2 digits after the point",
        },
        Unlike {
            name: "p",
            here: "POINT",
            there: "LINESTRING",
            told: &["point here and linestring at the other end, which is another shape"],
            lacked: "POINT(1, 2)",
            held: "error 1",
        },
    ],
    rare: &[],
    common: (
        "m = 'b', f = 0.5, b = b'101', d = 1.25",
        "CONCAT(m, ' ', f, ' ', b + 0, ' ', d)",
        "b 0.5 5 1.25",
    ),
};

const NEW_MARIADB_TO_OLD_MYSQL: Story = Story {
    child: Flavor::Mariadb118,
    parent: Flavor::Mysql56,
    columns: &[
        Unlike {
            name: "v",
            here: "VECTOR(3)",
            there: "INT",
            told: &["vector(3) here", DOES_NOT_HOLD],
            lacked: "VEC_FromText('[1,2,3]')",
            held: "column 'v'",
        },
        Unlike {
            name: "t",
            here: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci",
            there: "VARCHAR(20) CHARACTER SET utf8",
            told: &["and utf8 does not hold every character of it"],
            lacked: "'😀'",
            held: "column 't'",
        },
        Unlike {
            name: "s",
            here: "TIMESTAMP",
            there: "TIMESTAMP",
            told: &["timestamp here, up to 2106, and up to 2038 at the other end"],
            lacked: "'2100-01-01 00:00:00'",
            held: "column 's'",
        },
        Unlike {
            name: "u",
            here: "UUID",
            there: "BINARY(16)",
            told: &["uuid here and binary(16) at the other end", DOES_NOT_HOLD],
            lacked: "'123e4567-e89b-12d3-a456-426614174000'",
            held: "column 'u'",
        },
    ],
    rare: &[
        ("v", "which only MySQL from 9.0 and MariaDB from 11.7 have"),
        ("u", "which only MariaDB from 10.7"),
    ],
    common: ("t = 'é'", "t", "é"),
};

macro_rules! stories {
    ($($name:ident: $story:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            told(&$story, concat!(module_path!(), "::", stringify!($name))).await;
        })*
    };
}

stories!(
    what_a_mariadb_parent_of_a_mysql_child_lacks_is_named_before_it_is_sent: MYSQL_TO_MARIADB,
    what_a_mysql_parent_of_a_mariadb_child_lacks_is_named_before_it_is_sent: MARIADB_TO_MYSQL,
    what_a_new_mariadb_parent_of_an_old_mysql_child_lacks_is_named_before_it_is_sent:
        OLD_MYSQL_TO_NEW_MARIADB,
    what_an_old_mysql_parent_of_a_new_mariadb_child_lacks_is_named_before_it_is_sent:
        NEW_MARIADB_TO_OLD_MYSQL,
);
