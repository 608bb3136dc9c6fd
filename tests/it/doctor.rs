//! Each thing that the doctor looks at, broken on a real server: it says what it found, what that means,
//! and the statement that mends it, which does.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use headwater_rig::{Flavor, Server, ServerOptions, edge, openmrs};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{CHILD, Desk, PARENT, TIER, headwater, printed};
use crate::support::{Capturing, capture_options, on_all, openmrs_map};

on_all!(
    each_end_is_told_what_it_risks,
    what_is_broken_on_the_server_is_named_with_the_statement_that_mends_it,
    what_is_broken_around_the_server_is_named_with_what_to_do,
);

/// A check of the doctor's report, where it is not good.
#[derive(Debug)]
struct Found {
    name: String,
    verdict: String,
    words: String,
    meaning: String,
    mend: String,
}

/// What the doctor finds, and its exit code.
fn doctor(config: &Path) -> (Vec<Found>, Option<i32>) {
    let output = headwater(config, &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", printed(&output)));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = checks.filter(|check| check["verdict"] != "good").map(|check| {
        assert!(!text(check, "meaning").is_empty(), "what does it mean? {check}");
        assert!(!text(check, "mend").is_empty(), "what mends it? {check}");
        Found {
            name: text(check, "name"),
            verdict: text(check, "verdict"),
            words: text(check, "found"),
            meaning: text(check, "meaning"),
            mend: text(check, "mend"),
        }
    });
    (bad.collect(), output.status.code())
}

/// The check of this name that found these words, if it is not good.
fn told<'f>(found: &'f [Found], name: &str, words: &str) -> Option<&'f Found> {
    found.iter().find(|check| check.name == name && check.words.contains(words))
}

/// What undoes it.
enum Undo {
    /// The doctor's own statements.
    Mend,
    /// These: what the doctor advises is for a person to decide.
    By(&'static str),
}

struct Broken {
    /// The check.
    name: &'static str,
    /// What it finds.
    words: &'static str,
    verdict: &'static str,
    /// What breaks it; `None` where the server does not allow it.
    sql: fn(Flavor) -> Option<&'static str>,
    undo: Undo,
}

const fn broken(
    name: &'static str,
    words: &'static str,
    verdict: &'static str,
    sql: fn(Flavor) -> Option<&'static str>,
) -> Broken {
    Broken { name, words, verdict, sql, undo: Undo::Mend }
}

fn is_mysql(flavor: Flavor) -> bool {
    !flavor.is_mariadb()
}

const BROKEN: &[Broken] = &[
    broken("binlog_row_value_options", "PARTIAL_JSON", "bad", |flavor| {
        flavor.is_new_mysql().then_some("SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'")
    }),
    broken("binlog_checksum", "NONE", "doubtful", |_| Some("SET GLOBAL binlog_checksum = 'NONE'")),
    broken("log retention", "3 days", "doubtful", |flavor| {
        Some(if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) {
            "SET GLOBAL expire_logs_days = 3"
        } else {
            "SET GLOBAL binlog_expire_logs_seconds = 259200"
        })
    }),
    broken("log retention", "64 MiB in all (max_binlog_total_size)", "doubtful", |flavor| {
        (flavor == Flavor::Mariadb118).then_some("SET GLOBAL max_binlog_total_size = 67108864")
    }),
    broken("server_id", "0", "bad", |flavor| {
        is_mysql(flavor).then_some("SET GLOBAL server_id = 0")
    }),
    broken("mysql56_temporal_format", "OFF", "doubtful", |flavor| {
        flavor.is_mariadb().then_some("SET GLOBAL mysql56_temporal_format = OFF")
    }),
    broken("engines", "clob_datatype_storage is MyISAM", "bad", |_| {
        Some("ALTER TABLE clob_datatype_storage ENGINE = MyISAM")
    }),
    broken("schema map", "clob_datatype_storage: its engine MyISAM", "bad", |_| {
        Some("ALTER TABLE clob_datatype_storage ENGINE = MyISAM")
    }),
    broken("schema map", "location: no unique index of location", "doubtful", |_| {
        Some("ALTER TABLE location DROP INDEX uq_location_uuid")
    }),
    Broken {
        undo: Undo::By("ALTER TABLE note CHANGE name uuid CHAR(38) NOT NULL"),
        ..broken("schema map", "note: its identity column uuid is not there", "bad", |_| {
            Some("ALTER TABLE note CHANGE uuid name CHAR(38) NOT NULL")
        })
    },
    broken("triggers", "busy on visit", "doubtful", |_| {
        Some("CREATE TRIGGER busy AFTER INSERT ON visit FOR EACH ROW SET @a = 1")
    }),
    broken("cascades", "users.changed_by -> users ON DELETE CASCADE", "doubtful", |flavor| {
        // It is so in every OpenMRS; MySQL logs it from 9.6 on.
        (!flavor.is_mysql_from(9, 6)).then_some("DO 0")
    }),
    Broken {
        undo: Undo::By("ALTER TABLE note DROP COLUMN place"),
        ..broken("types", "note.place is ", "unknown", |flavor| match flavor {
            _ if flavor.is_mysql_from(5, 7) => Some("ALTER TABLE note ADD COLUMN place JSON"),
            Flavor::Mariadb1011 => Some("ALTER TABLE note ADD COLUMN place UUID"),
            Flavor::Mariadb118 => Some("ALTER TABLE note ADD COLUMN place VECTOR(3)"),
            _ => None,
        })
    },
    Broken {
        undo: Undo::By("DROP TABLE stray"),
        ..broken("unmapped tables", "stray", "unknown", |_| {
            Some("CREATE TABLE stray (id INT PRIMARY KEY)")
        })
    },
    broken("read_only", "ON", "bad", |flavor| {
        Some(if flavor.is_mysql_from(5, 7) {
            "SET GLOBAL super_read_only = ON"
        } else {
            "SET GLOBAL read_only = ON"
        })
    }),
    broken("max_allowed_packet", "16 MiB", "doubtful", |_| {
        Some("SET GLOBAL max_allowed_packet = 16777216")
    }),
];

async fn what_is_broken_on_the_server_is_named_with_the_statement_that_mends_it(flavor: Flavor) {
    let options = ServerOptions {
        row_metadata: flavor.names_columns().then_some("FULL"),
        ..ServerOptions::default()
    };
    let server = Server::start_with_openmrs(flavor, options).await.unwrap();
    let desk = Desk::new();
    let tier = desk.configuration("tier", &server.url("openmrs"), TIER);
    let (good, code) = doctor(&tier);
    assert_eq!(code, Some(0), "{good:#?}");
    for Broken { name, words, verdict, sql, undo } in BROKEN {
        let Some(sql) = sql(flavor) else { continue };
        if sql != "DO 0" {
            assert!(told(&good, name, words).is_none(), "{name} before: {good:#?}");
        }
        server.sql_in("openmrs", sql).await.unwrap();
        let (found, code) = doctor(&tier);
        let check = told(&found, name, words)
            .unwrap_or_else(|| panic!("{flavor}: {name}, {words} after {sql}: {found:#?}"));
        assert_eq!(check.verdict, *verdict, "{flavor}: {check:?}");
        assert!(!check.mend.contains("map explain"), "that mends nothing: {check:?}");
        assert_eq!(code, Some(i32::from(*verdict == "bad")), "{flavor}: {check:?}");
        match undo {
            Undo::By(sql) => server.sql_in("openmrs", sql).await.unwrap(),
            Undo::Mend => {
                for line in statements(&check.mend) {
                    server.sql(line).await.unwrap_or_else(|error| {
                        panic!("{flavor}: {line}: {error:#}");
                    });
                }
            }
        }
        let (mended, code) = doctor(&tier);
        assert!(told(&mended, name, words).is_none(), "{flavor}: {name}: {mended:#?}");
        assert_eq!(code, Some(0), "{flavor}: {name}: {mended:#?}");
    }
}

/// What a node at one end of a link only is told, in the words for that end.
async fn each_end_is_told_what_it_risks(flavor: Flavor) {
    let server = Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    let desk = Desk::new();
    let url = server.url("openmrs");
    let (child, parent) =
        (desk.configuration("child", &url, CHILD), desk.configuration("parent", &url, PARENT));
    for (sql, name, words, at_child, at_parent) in [
        (
            "SET GLOBAL sync_binlog = 0",
            "sync_binlog",
            "0",
            "they never reach the parent",
            "lose transactions of its children",
        ),
        (
            "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
            "innodb_flush_log_at_trx_commit",
            "2",
            "gone here that the parent already has",
            "lose transactions of its children",
        ),
        (
            "CREATE TRIGGER busy AFTER INSERT ON visit FOR EACH ROW SET @a = 1",
            "triggers",
            "busy on visit",
            "the same triggers at the parent",
            "what they already did at the child",
        ),
    ] {
        for config in [&child, &parent] {
            assert!(told(&doctor(config).0, name, words).is_none(), "{flavor}: {name}");
        }
        server.sql_in("openmrs", sql).await.unwrap();
        for (config, expected, other) in
            [(&child, at_child, at_parent), (&parent, at_parent, at_child)]
        {
            let (found, code) = doctor(config);
            let check = told(&found, name, words)
                .unwrap_or_else(|| panic!("{flavor}: {name}, {words} after {sql}: {found:#?}"));
            assert_eq!((check.verdict.as_str(), code), ("doubtful", Some(0)), "{check:?}");
            assert!(check.meaning.contains(expected), "{flavor}: {expected}: {check:?}");
            assert!(!check.meaning.contains(other), "{flavor}: not {other}: {check:?}");
        }
        let (found, _) = doctor(&parent);
        for line in statements(&told(&found, name, words).unwrap().mend) {
            server.sql_in("openmrs", line).await.unwrap();
        }
    }
}

/// The statements of a mend: up to the semicolon of each line that has one.
fn statements(mend: &str) -> Vec<&str> {
    mend.lines().filter_map(|line| Some(line.split_once(';')?.0)).collect()
}

async fn what_is_broken_around_the_server_is_named_with_what_to_do(flavor: Flavor) {
    let options = ServerOptions { server_id: 4242, ..ServerOptions::default() };
    let mut server = Server::start_with_openmrs(flavor, options).await.unwrap();
    let desk = Desk::new();
    let url = server.url("openmrs");
    let is = |config: &Path, name: &str, words: &str, verdict: &str, mend: &str| {
        let (found, code) = doctor(config);
        let check = told(&found, name, words)
            .unwrap_or_else(|| panic!("{flavor}: {name}, {words}: {found:#?}"));
        assert_eq!(check.verdict, verdict, "{flavor}: {check:?}");
        assert!(check.mend.contains(mend), "{flavor}: {check:?}");
        assert_eq!(code, Some(i32::from(verdict == "bad")), "{flavor}: {found:#?}");
        check.mend.clone()
    };

    // Ids of readers.
    let same = desk.configuration("same", &url, &format!("{CHILD}\n[capture]\nserver_id = 4242"));
    is(&same, "server_id", "the server's own id is 4242", "bad", "take capture.server_id out");
    let taken =
        desk.configuration("taken", &url, &format!("{CHILD}\n[capture]\nserver_id = 77777"));
    assert!(told(&doctor(&taken).0, "server_id", "").is_none());
    // Of two as of one: MySQL before 8.0 answers with rows cut short.
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut options = capture_options(&server, "openmrs", openmrs_map());
    let first = Capturing::start(options.clone(), &folders[0]).await;
    options.server_id = 88888;
    let second = Capturing::start(options, &folders[1]).await;
    let also = desk.configuration("also", &url, &format!("{CHILD}\n[capture]\nserver_id = 88888"));
    for (config, id) in [(&taken, 77777), (&also, 88888)] {
        let words = format!("somebody reads the log as {id} already");
        for _ in 0..50 {
            if told(&doctor(config).0, "server_id", &words).is_some() {
                break;
            }
            edge::sleep(Duration::from_millis(100)).await;
        }
        is(config, "server_id", &words, "unknown", "another capture.server_id");
    }
    first.stop().await;
    second.stop().await;

    // The folder and its disk.
    let child = desk.configuration("child", &url, CHILD);
    let data = desk.folder.path().join("child");
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    let mend = is(&child, "data_dir", "has mode 755", "doubtful", "chmod 700");
    assert!(std::process::Command::new("sh").args(["-c", &mend]).status().unwrap().success());
    assert!(told(&doctor(&child).0, "data_dir", "").is_none());
    std::fs::remove_dir(&data).unwrap();
    let mend = is(&child, "data_dir", "is not there", "bad", "mkdir -p -m 700");
    // There need be no account of that name here.
    let mend = mend.split(" && ").next().unwrap();
    assert!(std::process::Command::new("sh").args(["-c", mend]).status().unwrap().success());
    assert!(told(&doctor(&child).0, "data_dir", "").is_none());
    let more = format!("{CHILD}\n[spool]\ndisk_free_bytes_min = \"1000000GiB\"");
    let full = desk.configuration("full", &url, &more);
    is(&full, "disk", "MiB free", "bad", "make room on that disk");

    // The way to the parent, and what is needed there.
    is(&child, "parent", "127.0.0.1:1 does not answer", "doubtful", "check parent.url");
    is(&child, "certificate", "this node has none yet", "unknown", "headwater invite child");
    let tls = data.join("tls");
    std::fs::create_dir(&tls).unwrap();
    std::fs::write(tls.join("child.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    is(&child, "certificate", "child.pem is damaged", "bad", "headwater revoke child");
    std::fs::remove_dir_all(&tls).unwrap();

    // A server whose clock is wrong, as far as this account can see.
    server
        .sql(
            "CREATE USER 'late'@'%' IDENTIFIED BY 'late'; \
             GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'late'@'%'; \
             SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() - 3600'",
        )
        .await
        .unwrap();
    let theirs = format!("mysql://late:late@127.0.0.1:{}/openmrs", server.port());
    let late = desk.configuration("late", &theirs, CHILD);
    is(&late, "clock", "ours is 36", "doubtful", "timedatectl set-ntp true");
    server.sql("SET GLOBAL init_connect = ''").await.unwrap();
    assert!(told(&doctor(&late).0, "clock", "").is_none());

    // A log without this database.
    let ignored =
        |options: &mut ServerOptions| options.extra = vec!["--binlog-ignore-db=openmrs".to_owned()];
    server.restart_with(ignored).await.unwrap();
    let words = "the server leaves openmrs out of its log";
    is(&child, "binary log", words, "bad", "binlog_ignore_db");

    // Nor what is replicated, nor what a cascade does.
    let (updates, change, reset) = match flavor {
        _ if flavor.is_new_mysql() => (
            "log_replica_updates",
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1",
            "RESET REPLICA ALL",
        ),
        _ => (
            "log_slave_updates",
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1",
            "RESET SLAVE ALL",
        ),
    };
    let without = |options: &mut ServerOptions| {
        options.extra = vec![format!("--skip-{}", updates.replace('_', "-"))];
        if flavor.is_mysql_from(9, 6) {
            options.extra.push("--innodb-native-foreign-keys=ON".to_owned());
        }
        // MySQL 5.6 and 5.7 want all of it in the log for their GTIDs.
        options.gtid = flavor.is_mariadb() || flavor.is_new_mysql();
    };
    server.restart_with(without).await.unwrap();
    let words = "users.changed_by -> users ON DELETE CASCADE";
    is(&child, "cascades", words, "doubtful", "RESTRICT here");
    assert!(told(&doctor(&child).0, updates, "").is_none());
    server.sql(change).await.unwrap();
    // Before it runs, MariaDB tells only those whom a child's account is not among.
    let asks = if flavor.is_mariadb() { &child } else { &late };
    is(asks, updates, "replicates from another", "doubtful", &format!("{updates} = ON"));
    if flavor.is_mariadb() {
        assert!(told(&doctor(&late).0, updates, "").is_none());
        server.sql("START SLAVE").await.unwrap();
        is(&late, updates, "replicates from another", "doubtful", &format!("{updates} = ON"));
        server.sql("STOP SLAVE").await.unwrap();
    }
    server.sql(reset).await.unwrap();
    let usual = |options: &mut ServerOptions| {
        options.gtid = true;
        options.extra.clear();
    };
    server.restart_with(usual).await.unwrap();
    assert!(told(&doctor(&child).0, "binary log", "").is_none());
    if flavor.is_mysql_from(9, 6) {
        assert!(told(&doctor(&child).0, "cascades", "").is_none());
    }

    // Another map than the tables', and no map at all.
    server.sql("CREATE DATABASE vacant").await.unwrap();
    let vacant = desk.configuration("vacant", &server.url("vacant"), CHILD);
    is(&vacant, "schema map", "none of the map's tables is in vacant", "bad", "database.url");
    openmrs::create(&server, "vacant").await.unwrap();
    assert_eq!(doctor(&vacant).1, Some(0));
}
