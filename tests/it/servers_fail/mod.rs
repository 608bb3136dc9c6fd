//! What happens to the servers and the people around them: restarts, failovers, logs that begin
//! anew, accounts, limits, full disks. Work goes on exactly, or waits and says for what, or is
//! refused with what a person has to do; nothing is lost or set aside on the way.

mod accounts;
mod disk;
mod failover;
mod log;
mod parent;
mod process;
mod repair;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::capture::{Doing, Options};
use headwater::change::{Identity, Kind};
use headwater::schema_map::MapFile;
use headwater::value::Value;
use headwater_rig::{Flavor, Server, ServerOptions, edge};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::ledger::Ledger;
use crate::support::{Capturing, PATIENCE, capture_options, skipped};

const SERVERS: Ledger = Ledger { file: "surprises.md", head: "what happens to the server" };

const DATABASE: &str = "clinic";
const MAP: &str = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
    [tables]\nnote = { class = \"all\" }\n";
const TABLES: &str = "CREATE TABLE note (note_id INT AUTO_INCREMENT PRIMARY KEY,
    uuid CHAR(36) NOT NULL UNIQUE, body MEDIUMTEXT) ENGINE = InnoDB";

/// A server with notes, and a node's capture of them.
struct Site {
    server: Server,
    folder: TempDir,
    map: Arc<MapFile>,
    capturing: Option<Capturing>,
}

impl Site {
    async fn start(flavor: Flavor) -> Site {
        Site::start_with(flavor, ServerOptions::default()).await
    }

    async fn start_with(flavor: Flavor, options: ServerOptions) -> Site {
        let mut site = Site::without_capture(flavor, options).await;
        site.follow().await;
        site
    }

    async fn without_capture(flavor: Flavor, options: ServerOptions) -> Site {
        let server = Server::start(flavor, options).await.unwrap();
        server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
        server.sql_in(DATABASE, TABLES).await.unwrap();
        let map = Arc::new(MapFile::parse(MAP, "servers.toml").unwrap());
        Site { server, folder: TempDir::new().unwrap(), map, capturing: None }
    }

    fn options(&self) -> Options {
        capture_options(&self.server, DATABASE, self.map.clone())
    }

    /// Starts capture and waits until it follows.
    async fn follow(&mut self) {
        self.follow_with(self.options()).await;
    }

    async fn follow_with(&mut self, options: Options) {
        self.capturing = Some(Capturing::start(options, &self.folder).await);
    }

    /// Starts capture only.
    fn go(&mut self) {
        self.capturing = Some(Capturing::start_only(self.options(), &self.folder));
    }

    fn capturing(&self) -> &Capturing {
        self.capturing.as_ref().unwrap()
    }

    async fn stop_capture(&mut self) {
        self.capturing.take().unwrap().stop().await;
    }

    /// Commits a note of this name.
    async fn write(&self, name: &str) {
        write(&self.server, name).await;
    }

    /// Waits until exactly these notes were captured, in this order.
    async fn captured(&self, names: &[&str]) {
        let found = self.names(names.len() as u64).await;
        assert_eq!(found, names);
    }

    async fn names(&self, count: u64) -> Vec<String> {
        names(self.capturing(), count).await
    }

    /// Waits until exactly the notes that the server has were captured, each once.
    async fn all_captured(&self) {
        let mut conn = self.server.conn(DATABASE).await.unwrap();
        let there: Vec<String> = conn.query("SELECT uuid FROM note").await.unwrap();
        conn.disconnect().await.unwrap();
        let mut found = Vec::new();
        for _ in 0..600 {
            found = self.names(self.capturing().spool.head().0).await;
            if found.len() >= there.len() {
                break;
            }
            edge::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(found.len(), there.len());
        let (found, there): (BTreeSet<_>, BTreeSet<_>) =
            (found.into_iter().collect(), there.into_iter().collect());
        assert_eq!(found, there);
    }

    /// Waits until capture waits for a person, and gives its words.
    async fn until_stopped(&self) -> String {
        until_stopped(self.capturing()).await
    }

    /// Waits until capture waits, for a person or not, and says these words.
    async fn until_waits(&self, part: &str) {
        until_waits(self.capturing(), part).await;
    }

    async fn until_follows(&self) {
        self.capturing().until(|state| state.doing == Doing::Following).await;
    }

    /// The file that is written now, and how far.
    async fn log_end(&self) -> (String, u64) {
        log_end(&self.server).await
    }
}

async fn write(server: &Server, name: &str) {
    let sql = format!("INSERT INTO note (uuid, body) VALUES ('{name}', 'text')");
    server.sql_in(DATABASE, &sql).await.unwrap();
}

async fn names(capturing: &Capturing, count: u64) -> Vec<String> {
    let transactions = capturing.transactions(count).await;
    let changes = transactions.into_iter().flat_map(|transaction| transaction.changes);
    changes
        .map(|change| match (change.kind, change.identity) {
            (Kind::Insert, Identity::One(Value::Text(uuid))) => uuid.to_string(),
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn until_stopped(capturing: &Capturing) -> String {
    let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    words
}

async fn until_waits(capturing: &Capturing, part: &str) {
    until_waits_unless(capturing, part, || false).await;
}

/// The same, but the words need not be in the store when there may be no room for them.
async fn until_waits_unless(capturing: &Capturing, part: &str, no_room: impl Fn() -> bool) {
    let says = |doing: &Doing| match doing {
        Doing::Retrying(words) | Doing::Stopped(words) => words.contains(part),
        Doing::Starting | Doing::Following => false,
    };
    capturing.until(|state| says(&state.doing)).await;
    // The same words are in the store, where `headwater status` finds them.
    let noted = async || {
        let noted = capturing.spool.note("capture.waits").await.unwrap_or_default();
        String::from_utf8(noted.unwrap_or_default()).unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if noted().await.contains(part) || !says(&capturing.state.borrow().doing) || no_room() {
            return;
        }
        edge::sleep(Duration::from_millis(20)).await;
    }
    panic!("the store says {:?} instead of {part}", noted().await);
}

async fn log_end(server: &Server) -> (String, u64) {
    let mut conn = server.conn("").await.unwrap();
    let (file, offset) = log_end_of(server.flavor(), &mut conn).await;
    conn.disconnect().await.unwrap();
    (file, offset)
}

async fn log_end_of(flavor: Flavor, conn: &mut Conn) -> (String, u64) {
    let status =
        if flavor.is_mysql_from(8, 4) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: mysql_async::Row = conn.query_first(status).await.unwrap().unwrap();
    (row.get(0).unwrap(), row.get(1).unwrap())
}

/// Has the server delete all of its log but the file that is written.
async fn purge(server: &Server) {
    let (last, _) = log_end(server).await;
    let mut conn = server.conn("").await.unwrap();
    let deadline = Instant::now() + 2 * PATIENCE;
    // A server keeps what a reader that has just left was reading, until it has noticed.
    loop {
        conn.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        let first: mysql_async::Row = conn.query_first("SHOW BINARY LOGS").await.unwrap().unwrap();
        let first: String = first.get(0).unwrap();
        if first == last {
            break;
        }
        assert!(Instant::now() < deadline, "the server keeps {first}");
        edge::sleep(Duration::from_millis(100)).await;
    }
    conn.disconnect().await.unwrap();
}

/// Waits until the server's clock shows another second than when its log file began.
async fn a_second_later(server: &Server) {
    let now = async || server.ask("", "SELECT UNIX_TIMESTAMP()").await.unwrap().unwrap();
    let begun = now().await;
    while now().await == begun {
        edge::sleep(Duration::from_millis(50)).await;
    }
}

/// A file system in memory that can be filled and enlarged; `None` where mounting is not allowed.
pub(crate) struct Disk<'p> {
    path: &'p Path,
}

impl<'p> Disk<'p> {
    pub(crate) fn mount(path: &'p Path, mib: u32) -> Option<Disk<'p>> {
        let size = format!("size={mib}m,mode=700");
        let path_text = path.to_str().unwrap();
        let done = mount(&["-t", "tmpfs", "-o", &size, "headwater-test", path_text]);
        if !done {
            let thread = std::thread::current();
            skipped("mount", thread.name().unwrap_or("a story of a full disk"));
        }
        done.then_some(Disk { path })
    }

    fn enlarge(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        assert!(mount(&["-o", &size, self.path.to_str().unwrap()]));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // What still has files open there keeps them until it ends.
        let path = self.path.to_str().unwrap();
        assert!(
            std::process::Command::new("umount").args(["-l", path]).status().unwrap().success()
        );
    }
}

fn mount(arguments: &[&str]) -> bool {
    std::process::Command::new("mount")
        .args(arguments)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn every_row_of_the_docs_is_told_by_a_test() {
    let sources = [
        include_str!("accounts.rs"),
        include_str!("disk.rs"),
        include_str!("failover.rs"),
        include_str!("log.rs"),
        include_str!("parent.rs"),
        include_str!("process.rs"),
        include_str!("repair.rs"),
    ];
    let untold = SERVERS.untold(|_| false, &sources);
    assert!(untold.is_empty(), "docs/surprises.md has rows that no test tells: {untold:?}");
}
