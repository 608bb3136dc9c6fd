//! What an operator meets: one clear message for each thing that is wrong ([`accounts`]: of accounts,
//! settings and rights; [`compare`]: the comparison of two databases).

mod accounts;
mod compare;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

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
        let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
        self.configuration_of(name, url, &map, more)
    }

    /// The same with another map.
    pub(crate) fn configuration_of(
        &self,
        name: &str,
        url: &str,
        map: &Path,
        more: &str,
    ) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
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
    // Nor does a database that is away hide it.
    let told = headwater(&lonely, &["doctor"]);
    complaint(&told, 3);
    let told = printed(&told);
    assert!(told.contains("✗ schema map: ") && told.contains("none.toml"), "{told}");
    assert!(told.contains("✗ database: cannot reach"), "{told}");

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
