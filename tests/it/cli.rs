//! What an operator meets: one clear message for each thing that is wrong, the doctor's statements,
//! the grants, and the comparison of two databases.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use headwater::apply::{Applier, Settings};
use headwater::clock::SystemClock;
use headwater::database::connect::Options;
use headwater::database::schema::LiveSchema;
use headwater::schema_map::BoundMap;
use headwater_rig::{Flavor, Server, ServerOptions, openmrs};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::{Capturing, capture_options, on_all, openmrs_map};

on_all!(
    a_good_server_passes_and_each_broken_setting_is_named_with_its_mend,
    a_wrong_password_and_a_missing_database_are_told_in_one_message,
    the_grants_are_enough_and_the_doctor_misses_each_that_is_taken,
    equal_databases_with_other_ids_are_in_step_and_each_difference_is_named,
);

/// A folder with configurations for nodes of one server.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk { folder: TempDir::new().unwrap() }
    }

    /// A configuration with the openmrs map and these further lines.
    pub(crate) fn configuration(&self, name: &str, url: &str, more: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
        let data = self.folder.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&data, mode).unwrap();
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n[database]\nurl = \"{url}\"\nmaps = [\"{}\"]\n{more}\n",
            data.display(),
            map.display()
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A child: it captures.
pub(crate) const CHILD: &str = "[parent]\nurl = \"https://127.0.0.1:1\"";
/// A parent: it applies.
pub(crate) const PARENT: &str = "[listen]\naddress = \"127.0.0.1:1\"\nnames = [\"n\"]";
/// A middle tier: it captures and applies.
pub(crate) const TIER: &str =
    "[parent]\nurl = \"https://127.0.0.1:1\"\n[listen]\naddress = \"127.0.0.1:1\"\nnames = [\"n\"]";

pub(crate) fn headwater(config: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .env_remove("HEADWATER_DATABASE_PASSWORD")
        .env("RUST_BACKTRACE", "1")
        .arg("--config")
        .arg(config)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one message on standard error of a command that failed with this code.
pub(crate) fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let all = format!("{}{text}", printed(output));
    assert_eq!(output.status.code(), Some(code), "{all}");
    for word in ["backtrace", "panicked", "Error {", "RUST_"] {
        assert!(!all.contains(word), "{all}");
    }
    assert_eq!(text.matches("headwater: ").count(), 1, "{text}");
    text
}

#[test]
fn a_wrong_configuration_is_one_message_with_its_place() {
    let desk = Desk::new();
    let url = "mysql://root@127.0.0.1:1/openmrs";
    let missing = desk.folder.path().join("nowhere.toml");
    let text = complaint(&headwater(&missing, &["doctor"]), 2);
    assert!(text.contains("nowhere.toml") && text.contains("init"), "{text}");

    let typo = desk.configuration("typo", url, "[parent]\nurl = \"https://p\"\nscedule = \"x\"");
    let text = complaint(&headwater(&typo, &["run"]), 2);
    assert!(
        text.contains("typo.toml:9:1: unknown key `scedule`; did you mean `schedule`?"),
        "{text}"
    );

    let lonely = desk.configuration("lonely", url, "");
    let text = complaint(&headwater(&lonely, &["invite", "clinic-1"]), 2);
    assert!(text.contains("only a parent invites"), "{text}");
    let text = complaint(&headwater(&lonely, &["join", "token"]), 2);
    assert!(text.contains("only a child joins"), "{text}");

    let child = desk.configuration("child", url, CHILD);
    let text = complaint(&headwater(&child, &["join", "nonsense"]), 2);
    assert!(text.contains("token"), "{text}");

    let wrong = std::fs::read_to_string(&lonely).unwrap().replace("openmrs-2.x.toml", "none.toml");
    std::fs::write(&lonely, wrong).unwrap();
    let text = complaint(&headwater(&lonely, &["map", "check"]), 2);
    assert!(text.contains("none.toml"), "{text}");

    let broken = desk.folder.path().join("broken-map.toml");
    std::fs::write(&broken, "version = 1\n[tables.obs]\nidentty = \"uuid\"\n").unwrap();
    let wrong = std::fs::read_to_string(&lonely).unwrap();
    let line = wrong.lines().find(|line| line.starts_with("maps")).unwrap();
    std::fs::write(&lonely, wrong.replace(line, &format!("maps = [{broken:?}]"))).unwrap();
    let text = complaint(&headwater(&lonely, &["map", "check"]), 2);
    assert!(text.contains("broken-map.toml") && text.contains("line 3"), "{text}");
    // Nor does a node start, though its database is away: systemd tries again after any code but 2.
    let text = complaint(&headwater(&lonely, &["run"]), 2);
    assert!(text.contains("broken-map.toml") && text.contains("line 3"), "{text}");
    let text = complaint(&headwater(&desk.configuration("alone", url, ""), &["run"]), 2);
    assert!(text.contains("neither [parent] nor [listen]"), "{text}");
    let astray = desk.configuration("astray", url, "[parent]\nurl = \"nonsense\"");
    let text = complaint(&headwater(&astray, &["run"]), 2);
    assert!(text.contains("nonsense"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_message() {
    let desk = Desk::new();
    let port = headwater_rig::edge::free_port().unwrap();
    let child = desk.configuration("child", &format!("mysql://u@127.0.0.1:{port}/openmrs"), CHILD);
    let child_name = child.display().to_string();
    for command in [
        &["doctor"][..],
        &["map", "check"],
        &["parked", "list"],
        &["compare", "--with", &child_name],
    ] {
        let text = complaint(&headwater(&child, command), 3);
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{command:?}: {text}");
    }
    let output = headwater(&child, &["status", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(state["in_step"], false);
    assert_eq!(state["node"], "child");
    assert!(state["problems"][0].as_str().unwrap().contains("cannot reach"), "{state}");
    // What goes into a pipe is run: it must not make an account with everybody's password.
    let text = complaint(&headwater(&child, &["grants"]), 2);
    assert!(text.contains("password_file"), "{text}");
    let url = format!("mysql://u:s3cret@127.0.0.1:{port}/openmrs");
    let child = desk.configuration("with", &url, CHILD);
    let grants = headwater(&child, &["grants"]);
    assert!(grants.status.success());
    let sql = printed(&grants);
    assert!(sql.contains("BINLOG MONITOR"), "shows both kinds when it cannot ask: {sql}");
    assert!(sql.contains("'u'@'127.0.0.1' IDENTIFIED BY 's3cret'"), "{sql}");
    let sql = printed(&headwater(&child, &["grants", "--host", "10.%"]));
    assert!(sql.contains("'u'@'10.%' IDENTIFIED"), "{sql}");
    // For what the node does; and a file, which stays, is told no password.
    assert!(sql.contains("REPLICATION SLAVE") && !sql.contains("INSERT"), "{sql}");
    let parent = desk.configuration("parent", &url, PARENT);
    let sql = printed(&headwater(&parent, &["grants"]));
    assert!(sql.contains("INSERT") && !sql.contains("REPLICATION"), "{sql}");
    let sql = printed(&headwater(&parent, &["grants", "--all"]));
    assert!(sql.contains("INSERT") && sql.contains("REPLICATION SLAVE"), "{sql}");
    let kept = desk.folder.path().join("grants.sql");
    let status = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .arg("--config")
        .arg(&child)
        .arg("grants")
        .stdout(std::fs::File::create(&kept).unwrap())
        .status()
        .unwrap();
    let sql = std::fs::read_to_string(&kept).unwrap();
    assert!(status.success() && sql.contains("IDENTIFIED BY <password>;"), "{sql}");
    assert!(!sql.contains("s3cret"), "{sql}");
}

/// Reads an environment as `/proc` shows it.
fn environment(process: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let variables = bytes.split(|byte| *byte == 0);
    variables.map(|variable| String::from_utf8_lossy(variable).into_owned()).collect()
}

#[test]
fn pooled_memory_is_limited_unless_the_environment_says_otherwise() {
    let desk = Desk::new();
    let child = desk.configuration("limits", "mysql://root@127.0.0.1:1/openmrs", CHILD);
    let mut running =
        headwater_rig::edge::spawn_tied(env!("CARGO_BIN_EXE_headwater").as_ref(), |command| {
            command.arg("--config").arg(&child).arg("run").stdin(Stdio::null());
            command.stderr(Stdio::piped());
            command.env_remove("MALLOC_ARENA_MAX").env("MYSQL_ASYNC_BUFFER_SIZE_CAP", "1234");
        })
        .unwrap();
    // It speaks first when it is past what may start it anew.
    let mut log = std::io::BufReader::new(running.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut log, &mut String::new()).unwrap();
    let found = environment(running.id());
    running.kill().unwrap();
    running.wait().unwrap();
    for expected in ["MALLOC_ARENA_MAX=1", "MYSQL_ASYNC_BUFFER_SIZE_CAP=1234"] {
        assert!(found.iter().any(|variable| variable == expected), "{expected} not in {found:?}");
    }
}

#[test]
fn init_writes_what_the_other_commands_read_and_never_over_it() {
    let desk = Desk::new();
    let config = desk.folder.path().join("etc/headwater.toml");
    let data = desk.folder.path().join("data");
    let data_text = data.display().to_string();
    let init = ["init", "--child", "--name", "clinic-12", "--data-dir", &data_text];
    assert!(headwater(&config, &init).status.success());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&data).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    let text = complaint(&headwater(&config, &init), 2);
    assert!(text.contains("is there already"), "{text}");
    let again = [&init[..], &["--force", "--parent"]].concat();
    assert!(headwater(&config, &again).status.success());
    let state = headwater(&config, &["status"]);
    assert_eq!(state.status.code(), Some(3), "{}", String::from_utf8_lossy(&state.stderr));
    assert!(printed(&state).starts_with("clinic-12"));
}

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
    // MySQL 5.6 logs nothing about columns, and cannot be told to.
    let old = flavor == Flavor::Mysql56;
    let row_metadata = if old { None } else { Some("FULL") };
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
        if old && name == "binlog_row_metadata" {
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
    let capturing = Capturing::start(options, &TempDir::new().unwrap()).await;

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
    let positions = match flavor {
        Flavor::Mysql97 | Flavor::Mysql56 => "REPLICATION CLIENT",
        Flavor::Mariadb1011 | Flavor::Mariadb118 => "BINLOG MONITOR",
    };
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
}

/// A clinic's rows, with local ids from `first`.
fn rows(first: u32) -> String {
    let id = |number: u32| first + number;
    let (one, two, three) = (id(1), id(2), id(3));
    format!(
        "SET foreign_key_checks = 0, sql_mode = '';
INSERT INTO person (person_id, uuid, creator, date_created, gender, birthdate) VALUES
  ({one}, 'person-1', {one}, '2020-01-01', 'M', '0000-00-00'), ({two}, 'person-2', NULL, '2020-01-02', 'F', NULL);
INSERT INTO users (user_id, person_id, uuid, creator, date_created, username, system_id) VALUES
  ({one}, {one}, 'user-1', {one}, '2020-01-01', 'admin', 'admin');
INSERT INTO patient (patient_id, creator, date_created) VALUES ({two}, {one}, '2020-01-02');
INSERT INTO role (role, description, uuid) VALUES ('Nurse', 'Schwester 😀', 'role-1'), ('Doc', '', 'role-2');
INSERT INTO user_role (user_id, role) VALUES ({one}, 'Nurse'), ({one}, 'Doc');
INSERT INTO location (location_id, name, uuid, creator, date_created, parent_location) VALUES
  ({three}, 'Ward', 'location-1', {one}, '2020-01-01', {two}), ({two}, 'House', 'location-2', {one}, '2020-01-01', NULL);
INSERT INTO person_attribute_type (person_attribute_type_id, name, format, uuid, creator, date_created) VALUES
  ({three}, 'where', 'org.openmrs.Location', 'type-1', {one}, '2020-01-01'), ({one}, 'text', 'java.lang.String', 'type-2', {one}, '2020-01-01');
INSERT INTO person_attribute (person_id, person_attribute_type_id, value, uuid, creator, date_created) VALUES
  ({two}, {three}, {three}, 'attribute-1', {one}, '2020-01-01'), ({two}, {one}, '12', 'attribute-2', {one}, '2020-01-01');
INSERT INTO obs (obs_id, person_id, concept_id, obs_datetime, value_numeric, value_text, uuid, creator, date_created, obs_group_id) VALUES
  ({one}, {two}, {one}, '2020-01-03 10:00:00', 0.1, 'a\\nb', 'obs-1', {one}, '2020-01-03', NULL),
  ({two}, {two}, {one}, '2020-01-03 10:00:00', 1e-300, NULL, 'obs-2', {one}, '2020-01-03', {one});
INSERT INTO concept (concept_id, uuid, creator, date_created, datatype_id, class_id) VALUES ({one}, '1AAAAA', {one}, '2020-01-01', {one}, {one});
INSERT INTO concept_class (concept_class_id, name, uuid, creator, date_created) VALUES ({one}, 'c', 'class-1', {one}, '2020-01-01');
INSERT INTO concept_datatype (concept_datatype_id, name, uuid, creator, date_created) VALUES ({one}, 'd', 'datatype-1', {one}, '2020-01-01');
"
    )
}

async fn equal_databases_with_other_ids_are_in_step_and_each_difference_is_named(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let desk = Desk::new();
    let mut configs = Vec::new();
    for (name, first) in [("clinic", 100), ("centre", 7_000)] {
        openmrs::create(&server, name).await.unwrap();
        server.sql_in(name, &rows(first)).await.unwrap();
        configs.push(desk.configuration(name, &server.url(name), ""));
    }
    let centre = configs[1].display().to_string();
    let compare = |more: &[&str]| {
        headwater(&configs[0], &[&["compare", "--with", &centre][..], more].concat())
    };
    let equal = compare(&[]);
    assert_eq!(equal.status.code(), Some(0), "{}", printed(&equal));
    let last = printed(&equal).lines().last().unwrap().to_owned();
    assert!(last.starts_with("in step: 19 rows in "), "{}", printed(&equal));
    assert!(last.ends_with(" tables, 0 differences"), "{last}");

    for (change, expected, undo) in [
        (
            "UPDATE obs SET value_numeric = 0.1000000000000001 WHERE uuid = 'obs-1'",
            "obs-1 differs: value_numeric: \"0.1\" here, \"0.1000000000000001\" there",
            "UPDATE obs SET value_numeric = 0.1 WHERE uuid = 'obs-1'",
        ),
        (
            "UPDATE obs SET obs_group_id = NULL WHERE uuid = 'obs-2'",
            "obs-2 differs: obs_group_id: \"obs-1\" here, \"NULL\" there",
            "UPDATE obs SET obs_group_id = 7001 WHERE uuid = 'obs-2'",
        ),
        (
            "UPDATE person_attribute SET value = '7002' WHERE uuid = 'attribute-1'",
            "attribute-1 differs: value: \"location-1\" here, \"location-2\" there",
            "UPDATE person_attribute SET value = '7003' WHERE uuid = 'attribute-1'",
        ),
        (
            "UPDATE person_attribute SET value = '112' WHERE uuid = 'attribute-2'",
            "attribute-2 differs: value: \"12\" here, \"112\" there",
            "UPDATE person_attribute SET value = '12' WHERE uuid = 'attribute-2'",
        ),
        (
            "UPDATE role SET description = 'Schwester' WHERE role = 'Nurse'",
            "Nurse differs: description: \"Schwester 😀\" here, \"Schwester\" there",
            "UPDATE role SET description = 'Schwester 😀' WHERE role = 'Nurse'",
        ),
        (
            "DELETE FROM user_role WHERE role = 'Doc'",
            "user-1 + Doc is missing there",
            "INSERT INTO user_role (user_id, role) VALUES (7001, 'Doc')",
        ),
        (
            "DELETE FROM patient",
            "person-2 is missing there",
            "INSERT INTO patient (patient_id, creator, date_created) VALUES (7002, 7001, '2020-01-02')",
        ),
        (
            "UPDATE users SET creator = 1 WHERE uuid = 'user-1'",
            "creator: \"user-1\" here, \"a row that is not there\" there",
            "UPDATE users SET creator = 7001 WHERE uuid = 'user-1'",
        ),
    ] {
        let unchecked = |statement| format!("SET foreign_key_checks = 0; {statement}");
        server.sql_in("centre", &unchecked(change)).await.unwrap();
        let output = compare(&["--subset"]);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{change}: {text}");
        assert!(text.contains(expected), "{change}: {text}");
        assert!(text.contains("not in step: 1 differences in 1 of "), "{text}");
        server.sql_in("centre", &unchecked(undo)).await.unwrap();
    }
    let mended = compare(&[]);
    assert_eq!(mended.status.code(), Some(0), "{}", printed(&mended));

    tables_and_columns_of_one_end_are_named(&server, &compare).await;
    tables_that_cannot_be_compared_are_named(&server, &compare).await;
    nothing_to_compare_is_no_success(&server, &desk).await;
    rows_without_a_key_are_counted(&server, &compare).await;

    // What only the parent has is a difference, unless the child is to be a part of it.
    let more = "INSERT INTO location (name, uuid, creator, date_created) VALUES ('Else', 'location-9', 7001, '2020-01-01')";
    server.sql_in("centre", &format!("SET sql_mode = ''; {more}")).await.unwrap();
    let strict = compare(&["--table", "location"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(printed(&strict).contains("location-9 is missing here"), "{}", printed(&strict));
    let subset = compare(&["--subset", "--json"]);
    assert_eq!(subset.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&subset.stdout).unwrap();
    assert_eq!((&report["differences"], &report["beyond"]), (&0.into(), &1.into()), "{report}");
}

async fn tables_and_columns_of_one_end_are_named(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    let run = async |database: &str, statement: &str| {
        let statement = format!("SET foreign_key_checks = 0; {statement}");
        server.sql_in(database, &statement).await.unwrap();
    };
    for (lacks, table, strict, subset, expected) in [
        // Nothing is missing of a table without rows.
        ("centre", "role_role", 0, 0, "role_role: there is no such mapped table there"),
        (
            "centre",
            "user_role",
            1,
            1,
            "user_role: there is no such mapped table there, 2 missing there\n  user-1 + ",
        ),
        ("clinic", "user_role", 1, 0, "user_role: there is no such mapped table here, 2 "),
    ] {
        run(lacks, &format!("RENAME TABLE {table} TO away")).await;
        for (more, code) in [(&[][..], strict), (&["--subset"][..], subset)] {
            let output = compare(more);
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(code), "{lacks} lacks {table}: {text}");
            assert!(text.contains(expected), "{expected}\nin {text}");
        }
        run(lacks, &format!("RENAME TABLE away TO {table}")).await;
    }
    run("centre", "ALTER TABLE location ADD COLUMN bed INT").await;
    run("clinic", "ALTER TABLE location ADD COLUMN cot INT").await;
    let output = compare(&[]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "location: 2 rows equal (only here, compared with NULL: cot) \
                    (not compared, only there: bed)";
    assert!(printed(&output).contains(expected), "{}", printed(&output));
    // What the other end has no room for is a difference; the other way round it is none.
    run("centre", "UPDATE location SET bed = 7").await;
    run("clinic", "UPDATE location SET cot = 5 WHERE uuid = 'location-2'").await;
    let output = compare(&["--subset"]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = "location-2 differs: cot: \"5\" here, \"no such column\" there";
    assert!(text.contains(expected) && text.contains("not in step: 1 differences"), "{text}");
    run("centre", "ALTER TABLE location DROP COLUMN bed").await;
    run("clinic", "ALTER TABLE location DROP COLUMN cot").await;
}

async fn tables_that_cannot_be_compared_are_named(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    const TABLE: &str = "clob_datatype_storage";
    let asked = |more: &[&str], code: i32, words: &str| {
        let output = compare(more);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {text}");
        assert!(text.contains(words), "{words}\nin {text}");
    };
    // In both, so that neither capture nor a comparison by the same map would miss it.
    for database in ["clinic", "centre"] {
        server.sql_in(database, &format!("ALTER TABLE {TABLE} ENGINE = MyISAM")).await.unwrap();
        for more in [&[][..], &["--subset"], &["--table", TABLE]] {
            asked(more, 1, &format!("{TABLE}: not compared, because here its engine MyISAM"));
            asked(more, 1, "tables, 0 differences, 1 tables not compared");
        }
    }
    asked(&[], 1, &format!("{TABLE}: not compared, because there its engine MyISAM"));
    asked(&["--table", "location"], 0, "in step: 2 rows in 1 tables");
    for database in ["clinic", "centre"] {
        server.sql_in(database, &format!("ALTER TABLE {TABLE} ENGINE = InnoDB")).await.unwrap();
    }
    asked(&[], 0, "in step: 19 rows in 104 tables, 0 differences");
}

async fn nothing_to_compare_is_no_success(server: &Server, desk: &Desk) {
    server.sql("CREATE DATABASE vacant; CREATE DATABASE bare").await.unwrap();
    let vacant = desk.configuration("vacant", &server.url("vacant"), "");
    let bare = desk.configuration("bare", &server.url("bare"), "").display().to_string();
    let text = complaint(&headwater(&vacant, &["compare", "--with", &bare]), 2);
    assert!(text.contains("none of the maps' tables is in vacant at "), "{text}");
    assert!(text.contains(", nor in bare at ") && text.contains("database.url"), "{text}");
}

async fn rows_without_a_key_are_counted(server: &Server, compare: &impl Fn(&[&str]) -> Output) {
    for (database, id) in [("clinic", 100), ("centre", 7_000)] {
        let rows = format!(
            "SET foreign_key_checks = 0, sql_mode = '';
             INSERT INTO concept_name_tag (concept_name_tag_id, tag, uuid, date_created)
               VALUES ({id}, 'preferred', 'tag-1', '2020-01-01');
             INSERT INTO concept_proposal (concept_proposal_id, original_text, locale, uuid, date_created)
               VALUES ({id}, 'toux', 'fr', 'proposal-1', '2020-01-01');
             INSERT INTO concept_proposal_tag_map VALUES ({id}, {id}), ({id}, {id})"
        );
        server.sql_in(database, &rows).await.unwrap();
    }
    let said = |output: &Output, code: i32, words: &str| {
        let text = printed(output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{words}\nin {text}");
    };
    said(&compare(&[]), 0, "concept_proposal_tag_map: 2 rows equal");
    let once = "INSERT INTO concept_proposal_tag_map VALUES (7000, 7000)";
    server.sql_in("centre", once).await.unwrap();
    said(&compare(&[]), 1, "proposal-1 + tag-1 is missing here");
    let twice = "DELETE FROM concept_proposal_tag_map LIMIT 2";
    server.sql_in("centre", twice).await.unwrap();
    said(&compare(&["--subset"]), 1, "concept_proposal_tag_map: 1 rows equal, 1 missing there");
    server.sql_in("centre", once).await.unwrap();
    said(&compare(&[]), 0, "concept_proposal_tag_map: 2 rows equal");
}
