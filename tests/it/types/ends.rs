//! A child and a parent of any kinds, and the whole way between them but the network: capture from
//! the log, batches as bytes, apply. Both ends are compared by what they themselves say.

use std::sync::Arc;

use headwater::apply::{Applier, Report, Settings, State};
use headwater::capture::Doing;
use headwater::change::{Epoch, Identity, NodeId, Sequence};
use headwater::clock::SystemClock;
use headwater::database::schema::LiveSchema;
use headwater::schema_map::{BoundMap, MapFile};
use headwater::transport::batch;
use headwater::transport::codec::Codec;
use headwater::transport::content::Room;
use headwater::transport::cut::{Cut, Cutter};
use headwater::transport::{Peer, Wanted};
use headwater::value::Value as Carried;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Value};
use tempfile::TempDir;

use crate::support::{Capturing, capture_options};

/// The database at both ends.
pub(crate) const DATABASE: &str = "kinds";
/// A table's entry in the map, unless it has one of its own.
const USUAL: &str = "{ class = \"all\" }";
/// As headwater's own sessions: what a column cannot hold is an error, zero dates are not.
const SESSION: &str = "SET NAMES utf8mb4, time_zone = '+00:00', \
    sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// Both ends.
pub(crate) struct Ends {
    pub(crate) child: Server,
    pub(crate) parent: Server,
    /// The tables, each with its entry in the map.
    tables: Vec<(String, String)>,
    running: Option<Running>,
}

struct Running {
    folder: TempDir,
    capturing: Capturing,
    applier: Applier,
    peer: Peer,
    applied: Sequence,
}

/// A row as a server shows it: its uuid, then each expression.
pub(crate) type Shown = Vec<(String, Vec<Value>)>;

/// A connection as headwater's own.
pub(crate) async fn session(server: &Server) -> Conn {
    let mut conn = server.conn(DATABASE).await.unwrap();
    conn.query_drop(SESSION).await.unwrap();
    conn
}

impl Ends {
    pub(crate) async fn start(child: Flavor, parent: Flavor) -> Ends {
        Ends::start_with(child, parent, ServerOptions::default()).await
    }

    /// Starts both servers with an empty database each.
    pub(crate) async fn start_with(child: Flavor, parent: Flavor, options: ServerOptions) -> Ends {
        let other = ServerOptions { server_id: 7, ..options.clone() };
        let (child, parent) = (Server::start(child, options), Server::start(parent, other));
        let (child, parent) = tokio::join!(child, parent);
        let ends = Ends {
            child: child.unwrap(),
            parent: parent.unwrap(),
            tables: Vec::new(),
            running: None,
        };
        for server in [&ends.child, &ends.parent] {
            server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
        }
        ends
    }

    /// Makes a table at both ends: its columns' definitions after the keys.
    pub(crate) async fn table(&mut self, name: &str, columns: &[String]) {
        self.table_as(name, columns, columns).await;
    }

    /// Makes a table that is another at the parent.
    pub(crate) async fn table_as(&mut self, name: &str, child: &[String], parent: &[String]) {
        for (server, columns) in [(&self.child, child), (&self.parent, parent)] {
            create(server, name, columns).await;
        }
        self.tables.push((name.to_owned(), USUAL.to_owned()));
    }

    /// Makes a table by a statement for each end.
    pub(crate) async fn table_by(&mut self, name: &str, child: &str, parent: &str) {
        self.child.sql_in(DATABASE, child).await.unwrap();
        self.parent.sql_in(DATABASE, parent).await.unwrap();
        self.tables.push((name.to_owned(), USUAL.to_owned()));
    }

    /// The same, with an entry of its own in the map.
    pub(crate) async fn table_mapped(
        &mut self,
        name: &str,
        entry: &str,
        child: &str,
        parent: &str,
    ) {
        self.child.sql_in(DATABASE, child).await.unwrap();
        self.parent.sql_in(DATABASE, parent).await.unwrap();
        self.tables.push((name.to_owned(), entry.to_owned()));
    }

    /// The map of all tables made.
    pub(crate) fn map(&self) -> Arc<MapFile> {
        let mut text = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\n\
            direction = \"up\"\n[tables]\n"
            .to_owned();
        for (table, entry) in &self.tables {
            text.push_str(&format!("{table} = {entry}\n"));
        }
        Arc::new(MapFile::parse(&text, "kinds.toml").unwrap())
    }

    /// The map held against one end.
    pub(crate) async fn bound(&self, server: &Server) -> BoundMap {
        let mut conn = server.conn(DATABASE).await.unwrap();
        let schema = LiveSchema::read(&mut conn, DATABASE).await.unwrap();
        conn.disconnect().await.unwrap();
        BoundMap::bind(&self.map(), &schema)
    }

    /// Starts to capture at the child, and gets ready to apply at the parent.
    pub(crate) async fn run(&mut self) {
        let bound = self.bound(&self.parent).await;
        for (table, _) in &self.tables {
            assert!(bound.tables.contains_key(table.as_str()), "{:?}", bound.problems);
        }
        let applier = applier(&self.parent, self.map(), Arc::new(bound)).await;
        let folder = tempfile::tempdir().unwrap();
        let options = capture_options(&self.child, DATABASE, self.map());
        let capturing = Capturing::start(options, &folder).await;
        let peer = Peer {
            name: "clinic-12".to_owned(),
            node: NodeId(uuid::Uuid::new_v4()),
            epoch: Epoch(uuid::Uuid::new_v4()),
        };
        self.running = Some(Running { folder, capturing, applier, peer, applied: Sequence(0) });
    }

    /// Asks the child for whole rows, as a parent does that lacks them.
    pub(crate) async fn ask_for(&self, table: &str, uuids: &[String]) {
        let wanted = uuids.iter().map(|uuid| Wanted {
            table: table.into(),
            identity: Identity::One(Carried::Text(uuid.clone().into())),
        });
        self.running.as_ref().unwrap().capturing.wanted.send(wanted.collect()).await.unwrap();
    }

    /// Learns the parent's tables anew, as its node does when it starts.
    pub(crate) async fn rebind(&mut self) {
        let bound = Arc::new(self.bound(&self.parent).await);
        let map = self.map();
        let running = self.running.as_mut().unwrap();
        running.applier = applier(&self.parent, map, bound).await;
    }

    /// Waits until one more transaction is captured than are applied, and applies it.
    pub(crate) async fn carry(&mut self) -> Report {
        let running = self.running.as_mut().unwrap();
        let through = running.applied.next();
        running.capturing.until_head(through.0).await;
        let segments = running.capturing.spool.segments(running.applied, u64::MAX).await.unwrap();
        let cut = Cut {
            from: running.applied,
            through: Some(through),
            raw_bytes_max: u64::MAX,
            codec: Codec::Lz4,
            to: None,
        };
        let room = Room { directory: running.folder.path().to_owned(), memory_bytes_max: 1 << 20 };
        let mut cutter = Cutter::new(cut, room.empty()).unwrap();
        for segment in &segments {
            cutter.take(segment).unwrap();
        }
        let batch = cutter.finish().unwrap().unwrap();
        let received = batch::open(batch.content, &batch.key).unwrap();
        let report = running.applier.apply_counted(&running.peer, &received).await.unwrap();
        running.applied = through;
        report
    }

    /// The same, and nothing may be set aside.
    pub(crate) async fn carry_all(&mut self) {
        let report = self.carry().await;
        let held = self.held().await;
        assert!(held.is_empty(), "{}", held.join("\n"));
        assert_eq!(report.held, 0);
    }

    /// Why changes wait, each with its table.
    pub(crate) async fn held(&self) -> Vec<String> {
        let running = self.running.as_ref().unwrap();
        let mut reasons = Vec::new();
        for state in [State::Parked, State::Quarantined] {
            for waiting in running.applier.list(state, None, 1000).await.unwrap() {
                reasons.push(format!("{}: {}", waiting.table, waiting.reason));
            }
        }
        reasons
    }

    /// Waits until capture stops for good, and gives its words.
    pub(crate) async fn stopped(&self) -> String {
        let capturing = &self.running.as_ref().unwrap().capturing;
        let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
        let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
        words
    }

    /// Tries again what is quarantined.
    pub(crate) async fn retry_held(&self) {
        let applier = &self.running.as_ref().unwrap().applier;
        for waiting in applier.list(State::Quarantined, None, 1000).await.unwrap() {
            applier.retry(waiting.id).await.unwrap();
        }
    }

    /// Forgets what was set aside.
    pub(crate) async fn discard_held(&self) {
        self.parent.sql("DELETE FROM headwater.held").await.unwrap();
    }

    pub(crate) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.capturing.stop().await;
        }
    }
}

async fn applier(parent: &Server, map: Arc<MapFile>, bound: Arc<BoundMap>) -> Applier {
    let clock = SystemClock::shared();
    let applier = Applier::new(parent.opts(DATABASE), map, bound, clock, Settings::default());
    applier.prepare().await.unwrap();
    applier
}

async fn create(server: &Server, name: &str, columns: &[String]) {
    let format = if server.flavor() == Flavor::Mysql56 { " ROW_FORMAT=DYNAMIC" } else { "" };
    let sql = format!(
        "CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) CHARACTER SET ascii \
         NOT NULL UNIQUE, touched INT NOT NULL DEFAULT 0, {}) ENGINE=InnoDB{format}",
        columns.join(", ")
    );
    let mut conn = session(server).await;
    // Many columns of one type in one table: the row is small enough, its most is not.
    conn.query_drop("SET SESSION innodb_strict_mode = OFF").await.unwrap();
    let outcome = conn.query_drop(&sql).await;
    assert!(outcome.is_ok(), "{} says {:?} to {sql}", server.flavor(), outcome.unwrap_err());
    // Local numbers differ.
    if server.server_id() == 7 {
        conn.query_drop(format!("ALTER TABLE {name} AUTO_INCREMENT = 5000")).await.unwrap();
    }
}

/// What a server says of a table's rows, in the order of their uuids.
pub(crate) async fn shown(server: &Server, table: &str, expressions: &[String]) -> Shown {
    let mut conn = session(server).await;
    let sql = format!("SELECT uuid, {} FROM {table} ORDER BY uuid", expressions.join(", "));
    let rows: Vec<mysql_async::Row> = conn.exec(&sql, ()).await.unwrap();
    rows.into_iter()
        .map(|row| {
            let mut values = row.unwrap();
            let rest = values.split_off(1);
            (mysql_async::from_value(values.remove(0)), rest)
        })
        .collect()
}
