//! Two nodes as a site has them: the `headwater` program beside a child's and a parent's database,
//! and a link between them that can be cut.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use headwater_rig::{Flavor, Link, Server, ServerOptions, edge, openmrs, tail};
use tempfile::TempDir;

/// How long nothing may move while a story waits for both ends to be in step.
const STILL_MAX: Duration = Duration::from_mins(3);

/// How many of the tables of OpenMRS travel by its map.
const TABLES_TRAVELLING: u32 = 104;

/// One node: its configuration, its folder, and its process while it runs.
pub(crate) struct Node {
    pub(crate) config: PathBuf,
    folder: PathBuf,
    status_port: u16,
    process: Option<Child>,
}

impl Node {
    /// Runs a command of this node to its end.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_headwater"))
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that has to succeed; gives what it printed.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // The exit code of `status` is a part of what it says.
        let told = arguments.first() == Some(&"status") && !said.is_empty();
        assert!(
            output.status.success() || told,
            "headwater {arguments:?} failed: {said}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        said
    }

    /// Starts `headwater run`.
    pub(crate) fn start(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let config = self.config.clone();
        let process = edge::spawn_tied(env!("CARGO_BIN_EXE_headwater").as_ref(), |command| {
            command.arg("--config").arg(config).arg("run").stdin(Stdio::null()).stderr(log);
        });
        self.process = Some(process.unwrap());
    }

    pub(crate) fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take()?;
        let id = process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        process.wait().unwrap().code()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.says(&["status", "--json"])).unwrap()
    }

    /// One of the figures that it shows; 0 if it does not show it.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let answer = self.serves("/metrics");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// What it answers at `/healthz`, status line and all; empty while nobody listens or it ends.
    pub(crate) fn health(&self) -> String {
        self.serves("/healthz")
    }

    fn serves(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.status_port)) else {
            return String::new();
        };
        let question = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let asked = stream.write_all(question.as_bytes());
        let answered = asked.and_then(|()| stream.read_to_string(&mut answer));
        if answered.is_ok() { answer } else { String::new() }
    }

    /// The most memory that its process has had so far.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The last lines it logged.
    pub(crate) fn log(&self) -> String {
        tail(&self.whole_log(), 25)
    }

    /// All that it logged.
    pub(crate) fn whole_log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A child and its parent.
pub(crate) struct Pair {
    pub(crate) child: Node,
    pub(crate) parent: Node,
    pub(crate) child_server: Server,
    pub(crate) parent_server: Server,
    pub(crate) link: Link,
    others: Option<openmrs::OtherRows>,
    tables: Tables,
    folder: TempDir,
}

/// A database that is in step, and its map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) database: &'static str,
    /// Below the package's folder.
    pub(crate) map: &'static str,
}

const OPENMRS: Tables = Tables { database: "openmrs", map: "schema-maps/openmrs-2.x.toml" };

impl Pair {
    /// Both servers with the same metadata under other ids, the parent with patients of another
    /// clinic, the child enrolled, both nodes running and in step.
    pub(crate) async fn start(flavor: Flavor) -> Pair {
        Pair::start_between(flavor, flavor).await
    }

    /// The same with servers of two kinds.
    pub(crate) async fn start_between(child: Flavor, parent: Flavor) -> Pair {
        let mut pair = Pair::enrolled_between(child, parent).await;
        pair.parent.start();
        pair.child.start();
        pair.captures().await;
        pair
    }

    /// The same, but with neither node running.
    pub(crate) async fn enrolled(flavor: Flavor) -> Pair {
        Pair::enrolled_between(flavor, flavor).await
    }

    async fn enrolled_between(child: Flavor, parent: Flavor) -> Pair {
        let child_server =
            Server::start_with_openmrs(child, ServerOptions::default()).await.unwrap();
        let parent_server =
            Server::start_with_openmrs(parent, ServerOptions::default()).await.unwrap();
        openmrs::seed(&child_server, "openmrs", 0).await.unwrap();
        openmrs::seed(&parent_server, "openmrs", 5000).await.unwrap();
        let others = openmrs::other_patients(&parent_server, "openmrs", 99, 300).await.unwrap();
        let mut pair = Pair::enrolled_with(child_server, parent_server, OPENMRS).await;
        pair.others = Some(others);
        pair
    }

    /// The same for tables that stand on both servers already.
    pub(crate) async fn enrolled_with(
        child_server: Server,
        parent_server: Server,
        tables: Tables,
    ) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let port = edge::free_port().unwrap();
        let link = Link::to_port(port).await.unwrap();
        let dialled = format!(
            "[parent]\nurl = \"https://127.0.0.1:{}\"\ntimeout = \"10s\"\nbackoff_min = \"100ms\"\nbackoff_max = \"2s\"",
            link.port()
        );
        let listens = format!("[listen]\naddress = \"127.0.0.1:{port}\"\nnames = [\"127.0.0.1\"]");
        let child = node(folder.path(), "clinic-12", &child_server, tables, &dialled);
        let parent = node(folder.path(), "parent", &parent_server, tables, &listens);
        let others = None;
        let mut pair =
            Pair { child, parent, child_server, parent_server, link, others, tables, folder };
        pair.enrol();
        pair
    }

    /// Invites and joins the child; the parent has to listen meanwhile.
    fn enrol(&mut self) {
        let said = self.parent.says(&["invite", "clinic-12"]);
        let token = said.lines().last().unwrap().to_owned();
        self.parent.start();
        let deadline = Instant::now() + STILL_MAX;
        loop {
            let joined = self.child.command(&["join", &token]);
            if joined.status.success() {
                break;
            }
            let words = String::from_utf8_lossy(&joined.stderr).into_owned();
            assert!(Instant::now() < deadline, "join: {words}\n{}", self.parent.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        self.parent.kill9();
    }

    /// Another child of the same parent: a node without a database of its own story.
    pub(crate) fn another(&self, name: &str) -> Node {
        let dialled = format!("[parent]\nurl = \"https://127.0.0.1:{}\"", self.link.port());
        node(self.folder.path(), name, &self.child_server, self.tables, &dialled)
    }

    /// Waits until the child's capture has a position.
    pub(crate) async fn captures(&self) {
        let deadline = Instant::now() + STILL_MAX;
        loop {
            let output = self.child.command(&["status", "--json"]);
            let position = serde_json::from_slice::<serde_json::Value>(&output.stdout)
                .ok()
                .map(|status| status["capture"]["position"].clone());
            if position.is_some_and(|position| !position.is_null()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "capture has not begun: {}\n{}",
                String::from_utf8_lossy(&output.stderr),
                self.child.log()
            );
            edge::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until everything captured is acknowledged, as long as anything moves.
    pub(crate) async fn in_step(&self) {
        let mut last = String::new();
        let mut moved = Instant::now();
        loop {
            let status = self.child.status();
            if status["in_step"] == true {
                return;
            }
            // Not the whole link, which says how many seconds ago it was last heard of.
            let acknowledged = &status["links"][0]["acknowledged"];
            let now = format!("{} {acknowledged}", status["capture"]["position"]);
            if now != last {
                last = now;
                moved = Instant::now();
            }
            assert!(
                moved.elapsed() < STILL_MAX,
                "not in step: {status:#}\nchild:\n{}\nparent:\n{}",
                self.child.log(),
                self.parent.log()
            );
            edge::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The exit code of a comparison of every mapped table, in which what the parent has from elsewhere
    /// does not count: 0 if all is equal.
    pub(crate) fn compare_code(&self) -> Option<i32> {
        let with = self.parent.config.to_str().unwrap();
        self.child.command(&["compare", "--subset", "--with", with]).status.code()
    }

    /// In step, and the rows of the other clinic as they were. They are removed then, and without them
    /// the two are the same: nothing is missing, nothing is left over, nothing is there twice.
    pub(crate) async fn must_be_equal(&self) {
        self.in_step().await;
        let others = self.others.as_ref().unwrap();
        assert!(others.untouched(&self.parent_server, "openmrs").await.unwrap());
        others.remove(&self.parent_server, "openmrs").await.unwrap();
        let with = self.parent.config.to_str().unwrap();
        let said = self.child.says(&["compare", "--with", with]);
        let last = said.lines().last().unwrap_or_default();
        let rows = "SELECT (SELECT COUNT(*) FROM person) + (SELECT COUNT(*) FROM obs)
            + (SELECT COUNT(*) FROM encounter) + (SELECT COUNT(*) FROM concept)
            + (SELECT COUNT(*) FROM location) + (SELECT COUNT(*) FROM users)";
        let least: u64 =
            self.child_server.ask("openmrs", rows).await.unwrap().unwrap().parse().unwrap();
        let words: Vec<&str> = last.split(' ').collect();
        let ["in", "step:", rows, "rows", "in", tables, "tables,", "0", "differences"] = words[..]
        else {
            panic!("{said}")
        };
        // All of them: what neither capture nor compare looks at would be equal as well.
        assert_eq!(tables, TABLES_TRAVELLING.to_string(), "{said}");
        assert!(rows.parse::<u64>().unwrap() > least, "of more than {least} rows: {said}");
        let ids = "SELECT CONCAT(MIN(person_id), ' to ', MAX(person_id)) FROM person";
        let at_child = self.child_server.ask("openmrs", ids).await.unwrap();
        assert_ne!(self.parent_says(ids).await, at_child, "the ids do not differ");
    }

    pub(crate) async fn at_child(&self, statements: &str) {
        self.child_server.sql_in(self.tables.database, statements).await.unwrap();
    }

    /// What a question gives at the parent.
    pub(crate) async fn parent_says(&self, query: &str) -> Option<String> {
        self.parent_server.ask(self.tables.database, query).await.unwrap()
    }
}

fn node(folder: &Path, name: &str, server: &Server, tables: Tables, section: &str) -> Node {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join(tables.map);
    let config = folder.join("headwater.toml");
    let url = server.url(tables.database);
    let status_port = edge::free_port().unwrap();
    let text = format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n\n[database]\nurl = \"{url}\"\nmaps = [\"{}\"]\n\n\
         [capture]\nheartbeat = \"2s\"\nbackoff_min = \"100ms\"\nbackoff_max = \"2s\"\n\n\
         [status]\naddress = \"127.0.0.1:{status_port}\"\n\n{section}\n",
        folder.join("data").display(),
        map.display()
    );
    std::fs::write(&config, text).unwrap();
    Node { config, folder, status_port, process: None }
}
