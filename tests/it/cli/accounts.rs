//! The server's settings and the account's rights: the doctor's statements, and the grants.

use std::path::PathBuf;
use std::process::Output;

use headwater::apply::{Applier, Settings};
use headwater::clock::SystemClock;
use headwater::database::connect::Options;
use headwater::database::schema::LiveSchema;
use headwater::schema_map::BoundMap;
use headwater_rig::{Flavor, Server, ServerOptions, openmrs};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use super::{CHILD, Desk, PARENT, TIER, complaint, headwater, printed};
use crate::support::{Capturing, capture_options, on_all, openmrs_map};

on_all!(
    a_good_server_passes_and_each_broken_setting_is_named_with_its_mend,
    a_wrong_password_and_a_missing_database_are_told_in_one_message,
    the_grants_are_enough_and_the_doctor_misses_each_that_is_taken,
);

/// The checks of a doctor's report that are not good: name, verdict, mend.
fn diagnosis(output: &Output) -> Vec<(String, String, String)> {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == "bad" || check["verdict"] == "doubtful")
        .map(|check| (text(&check["name"]), text(&check["verdict"]), text(&check["mend"])))
        .collect()
}

async fn a_good_server_passes_and_each_broken_setting_is_named_with_its_mend(flavor: Flavor) {
    // MySQL before 8.0 logs nothing about columns, and cannot be told to.
    let row_metadata = flavor.names_columns().then_some("FULL");
    let options = ServerOptions { row_metadata, ..ServerOptions::default() };
    let mut server = Server::start(flavor, options).await.unwrap();
    openmrs::create(&server, "openmrs").await.unwrap();
    let desk = Desk::new();
    let child = desk.configuration("child", &server.url("openmrs"), CHILD);
    let good = headwater(&child, &["doctor", "--json"]);
    assert_eq!(good.status.code(), Some(0), "{}", printed(&good));

    // Each setting, broken while the server runs; the doctor's own statement mends it.
    for (name, broken, verdict) in [
        ("binlog_format", "SET GLOBAL binlog_format = 'STATEMENT'", "bad"),
        ("binlog_row_image", "SET GLOBAL binlog_row_image = 'MINIMAL'", "bad"),
        ("sync_binlog", "SET GLOBAL sync_binlog = 0", "doubtful"),
        (
            "innodb_flush_log_at_trx_commit",
            "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
            "doubtful",
        ),
        ("binlog_row_metadata", "SET GLOBAL binlog_row_metadata = 'MINIMAL'", "doubtful"),
    ] {
        if name == "binlog_row_metadata" && !flavor.names_columns() {
            continue;
        }
        server.sql(broken).await.unwrap();
        let output = headwater(&child, &["doctor", "--json"]);
        assert_eq!(output.status.code(), Some(i32::from(verdict == "bad")), "{name}");
        let found = diagnosis(&output);
        let (_, as_found, mend) = found
            .iter()
            .find(|(found, _, _)| found == name)
            .unwrap_or_else(|| panic!("{name} in {found:?}"));
        assert_eq!(as_found, verdict, "{name}");
        let statement = mend.split(';').next().unwrap();
        server.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let mended = diagnosis(&headwater(&child, &["doctor", "--json"]));
        assert!(
            !mended.iter().any(|(found, _, _)| found == name),
            "{name} is not mended by {mend}"
        );
    }
    server.restart_with(|options| options.binlog = false).await.unwrap();
    let output = headwater(&child, &["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains("✗ binary log: the server writes no binary log"), "{text}");
    assert!(text.contains("log_bin = binlog"), "{text}");
    let refused = complaint(&headwater(&child, &["run"]), 4);
    assert!(refused.contains("binary log") && refused.contains("log_bin = binlog"), "{refused}");
}

async fn a_wrong_password_and_a_missing_database_are_told_in_one_message(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE USER 'u'@'%' IDENTIFIED BY 'right'; CREATE DATABASE openmrs").await.unwrap();
    let desk = Desk::new();
    let url = format!("mysql://u@127.0.0.1:{}/openmrs", server.port());
    let config = desk.configuration("child", &url, "password_file = \"secret\"");
    let secret = desk.folder.path().join("secret");
    std::fs::write(&secret, "wrong\n").unwrap();
    let output = headwater(&config, &["doctor"]);
    let all = format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr));
    assert!(all.contains("chmod 600"), "an open password file is warned of: {all}");
    assert!(!all.contains("wrong"), "the password is not shown: {all}");
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let text = complaint(&headwater(&config, &["map", "check"]), 4);
    assert!(text.contains("refuses user 'u'"), "{text}");

    let nowhere = desk.configuration("nowhere", &server.url("nosuch"), CHILD);
    let text = complaint(&headwater(&nowhere, &["map", "check"]), 4);
    assert!(text.contains("no database 'nosuch'"), "{text}");
}

/// An account made by what `headwater grants` prints for a node with this section: as it stands, to
/// a server that does not know the account yet. The node's configuration, and how to connect.
async fn granted(server: &Server, desk: &Desk, user: &str, section: &str) -> (PathBuf, Options) {
    let url = format!("mysql://{user}:secret@127.0.0.1:{}/open_mrs", server.port());
    let config = desk.configuration(user, &url, section);
    let told = printed(&headwater(&config, &["grants"]));
    // What it is, a server says before anybody has logged in.
    assert_eq!(told.matches("CREATE USER").count(), 1, "{told}");
    let sql: Vec<&str> = told.lines().filter(|line| !line.starts_with("--")).collect();
    assert!(sql.len() >= 3, "{told}");
    server.sql(&sql.join("\n")).await.unwrap_or_else(|error| panic!("{told}: {error}"));
    let doctor = headwater(&config, &["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", printed(&doctor));
    (config, Options::parse(&url).unwrap())
}

async fn the_grants_are_enough_and_the_doctor_misses_each_that_is_taken(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    openmrs::create(&server, "open_mrs").await.unwrap();
    let desk = Desk::new();

    // Capture, with nothing but a child's rights.
    let (_, account) = granted(&server, &desk, "child", CHILD).await;
    let mut options = capture_options(&server, "open_mrs", openmrs_map());
    options.database = account;
    let folder = TempDir::new().unwrap();
    let capturing = Capturing::start(options, &folder).await;

    // Apply, with nothing but a parent's: headwater's own schema and tables, and rows.
    let (_, account) = granted(&server, &desk, "parent", PARENT).await;
    let mut connection = account.connect(&[]).await.unwrap();
    let schema = LiveSchema::read(&mut connection, "open_mrs").await.unwrap();
    let map = std::sync::Arc::new(BoundMap::bind(&openmrs_map(), &schema));
    assert!(map.tables.len() > 80, "the tables are seen");
    let applier = Applier::new(
        account.driver(&[]),
        openmrs_map(),
        map,
        SystemClock::shared(),
        Settings::default(),
    );
    applier.prepare().await.unwrap();
    for statement in [
        "SET foreign_key_checks = 0",
        "INSERT INTO role (role, uuid) VALUES ('Nurse', 'r-1')",
        "UPDATE role SET description = 'nurses' WHERE role = 'Nurse'",
        "SELECT role FROM role WHERE role = 'Nurse' FOR UPDATE",
        "DELETE FROM role WHERE role = 'Nurse'",
    ] {
        connection.query_drop(statement).await.unwrap();
    }
    connection.disconnect().await.unwrap();
    capturing.transactions(3).await;
    capturing.stop().await;

    // Take each away: the doctor says so, the node does not start, and the statement gives it back.
    let (config, _) = granted(&server, &desk, "sync", TIER).await;
    let positions = if flavor.is_mariadb() { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    for (right, on) in [
        ("REPLICATION SLAVE", "*.*"),
        (positions, "*.*"),
        ("INSERT", "`open\\_mrs`.*"),
        ("UPDATE", "`open\\_mrs`.*"),
        ("DELETE", "`open\\_mrs`.*"),
        ("CREATE", "`headwater`.*"),
        ("ALTER", "`headwater`.*"),
        ("UPDATE", "`headwater`.*"),
    ] {
        server.sql(&format!("REVOKE {right} ON {on} FROM 'sync'@'127.0.0.1'")).await.unwrap();
        let output = headwater(&config, &["doctor", "--json"]);
        assert_eq!(output.status.code(), Some(1), "without {right} on {on}");
        let found = diagnosis(&output);
        let (_, _, mend) = found
            .iter()
            .find(|(name, _, mend)| name == "privileges" && mend.contains(right))
            .unwrap_or_else(|| panic!("{right} on {on} in {found:?}"));
        let refused = complaint(&headwater(&config, &["run"]), 4);
        assert!(refused.contains("does not start") && refused.contains(mend), "{refused}");
        server.sql(mend).await.unwrap_or_else(|error| panic!("{mend}: {error}"));
        let again = headwater(&config, &["doctor"]);
        assert_eq!(again.status.code(), Some(0), "{mend}: {}", printed(&again));
    }
    rights_may_come_from_a_role(&server, &desk).await;
    if flavor.is_new_mysql() {
        rights_may_be_revoked_in_part(&server, &desk).await;
    }
}

/// Where that may be, names in grants are names; the mend makes what was granted on patterns good.
async fn rights_may_be_revoked_in_part(server: &Server, desk: &Desk) {
    for (user, sql) in [
        // Something has to be left of its rights on the database, or it is not let in.
        (
            "child",
            "SET GLOBAL partial_revokes = ON; \
             GRANT INSERT ON open_mrs.* TO 'child'@'127.0.0.1'",
        ),
        (
            "partial",
            "CREATE USER 'partial'@'127.0.0.1' IDENTIFIED BY 'secret'; \
             GRANT SELECT, INSERT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* \
               TO 'partial'@'127.0.0.1'; \
             REVOKE SELECT ON open_mrs.* FROM 'partial'@'127.0.0.1'",
        ),
    ] {
        let url = format!("mysql://{user}:secret@127.0.0.1:{}/open_mrs", server.port());
        let child = desk.configuration(user, &url, CHILD);
        server.sql(sql).await.unwrap();
        let found = diagnosis(&headwater(&child, &["doctor", "--json"]));
        let lacks = found.iter().find(|(name, _, _)| name == "privileges");
        let (_, _, mend) = lacks.unwrap_or_else(|| panic!("{sql}: {found:?}"));
        assert!(mend.starts_with("GRANT SELECT ON `open_mrs`.*"), "{sql}: {mend}");
        server.sql(mend).await.unwrap();
        let again = headwater(&child, &["doctor"]);
        assert_eq!(again.status.code(), Some(0), "{mend}: {}", printed(&again));
    }
}

/// What the account has by a role of its own is its right too.
async fn rights_may_come_from_a_role(server: &Server, desk: &Desk) {
    let flavor = server.flavor();
    let (positions, whose) = match flavor {
        _ if flavor.is_mariadb() => ("BINLOG MONITOR", "FOR"),
        _ if flavor.is_mysql_from(8, 4) => ("REPLICATION CLIENT", "TO"),
        // It has no roles, or, as 8.0.28, lets nobody into a database by a role alone.
        _ => return,
    };
    let sql = format!(
        "CREATE ROLE reader; \
         GRANT REPLICATION SLAVE, {positions} ON *.* TO reader; \
         GRANT SELECT ON `open\\_mrs`.* TO reader; \
         CREATE USER 'borrower'@'127.0.0.1' IDENTIFIED BY 'secret'; \
         GRANT reader TO 'borrower'@'127.0.0.1'; \
         SET DEFAULT ROLE reader {whose} 'borrower'@'127.0.0.1'"
    );
    server.sql(&sql).await.unwrap();
    let url = format!("mysql://borrower:secret@127.0.0.1:{}/open_mrs", server.port());
    let doctor = headwater(&desk.configuration("borrower", &url, CHILD), &["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", printed(&doctor));
}
