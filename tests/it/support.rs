//! What several stories need: a node's capture on a server of the rig, and what it captured.

pub(crate) mod ledger;
pub(crate) mod shown;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headwater::capture::{self, Capture, Doing, State};
use headwater::change::{Change, Sequence};
use headwater::clock::SystemClock;
use headwater::database::connect;
use headwater::record::{End, Record, SegmentReader};
use headwater::schema_map::MapFile;
use headwater::spool::{Limits, Segment, Spool};
use headwater::transport::Wanted;
use headwater_rig::{Flavor, Server};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a story waits for something that takes milliseconds on a machine that is not busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The schema map of OpenMRS.
pub(crate) fn openmrs_map() -> Arc<MapFile> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
    Arc::new(MapFile::load(&[path]).unwrap())
}

/// A transaction as it was captured.
pub(crate) struct Captured {
    pub(crate) end: End,
    pub(crate) changes: Vec<Change<'static>>,
}

/// Capture running on a server, into a store of its own.
pub(crate) struct Capturing {
    pub(crate) spool: Spool,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) wanted: mpsc::Sender<Vec<Wanted>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), capture::Error>>,
}

pub(crate) fn capture_options(
    server: &Server,
    database: &str,
    map: Arc<MapFile>,
) -> capture::Options {
    capture::Options {
        database: connect::Options::parse(&server.url(database)).unwrap(),
        map,
        state_schema: "headwater".to_owned(),
        server_id: 77_777,
        heartbeat: Duration::from_secs(2),
        identities_cached_max: NonZeroUsize::new(50_000).unwrap(),
        inflated_bytes_max: 2 << 30,
        accepted: Vec::new(),
        harmless_databases: Vec::new(),
        backoff_min: Duration::from_millis(100),
        backoff_max: Duration::from_secs(2),
    }
}

impl Capturing {
    /// Starts capture and waits until it follows the log.
    pub(crate) async fn start(options: capture::Options, folder: &TempDir) -> Capturing {
        let capturing = Capturing::start_only(options, folder);
        capturing.until(|state| state.doing == Doing::Following).await;
        capturing
    }

    /// Starts capture.
    pub(crate) fn start_only(options: capture::Options, folder: &TempDir) -> Capturing {
        Capturing::start_within(options, folder.path(), Limits::default())
    }

    /// Starts capture into a store with these limits.
    pub(crate) fn start_within(
        options: capture::Options,
        folder: &Path,
        limits: Limits,
    ) -> Capturing {
        let clock = SystemClock::shared();
        let spool = Spool::open(folder, clock.clone(), limits).unwrap();
        let (wanted, wanted_out) = mpsc::channel(4);
        let (state_in, state) = watch::channel(State::default());
        let (stop, stopping) = watch::channel(false);
        let capture =
            Capture { options, spool: spool.clone(), wanted: wanted_out, state: state_in, clock };
        let task = tokio::spawn(capture::run(capture, stopping));
        Capturing { spool, state, wanted, stop, task }
    }

    /// Waits until capture's state is as asked.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.clone();
        match tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => panic!("capture stays {:?}", self.state.borrow()),
        }
    }

    /// Waits for a number of transactions and gives all of them.
    pub(crate) async fn transactions(&self, count: u64) -> Vec<Captured> {
        self.until_head(count).await;
        let segments = self.spool.segments(Sequence(0), u64::MAX).await.unwrap();
        captured(&segments)
    }

    /// Waits for a number of transactions.
    pub(crate) async fn until_head(&self, count: u64) {
        let mut head = self.spool.head_changes();
        let reached = head.wait_for(|head| *head >= Sequence(count));
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => panic!(
                "only {} of {count} transactions were captured; capture is {:?}",
                self.spool.head(),
                self.state.borrow()
            ),
        }
    }

    /// Stops capture and closes the store.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap().unwrap();
        self.spool.close().await.unwrap();
    }
}

/// Reads the transactions of segments.
pub(crate) fn captured(segments: &[Segment]) -> Vec<Captured> {
    let mut transactions = Vec::new();
    let mut changes = Vec::new();
    for segment in segments {
        let raw_bytes = usize::try_from(segment.raw_bytes).unwrap();
        let raw = lz4_flex::block::decompress(&segment.compressed, raw_bytes).unwrap();
        let mut reader = SegmentReader::new(&raw);
        while let Some(record) = reader.read().unwrap() {
            match record {
                Record::Begin(_) => assert!(changes.is_empty()),
                Record::Change(change) => changes.push(change.into_owned()),
                Record::End(end) => {
                    transactions.push(Captured { end, changes: std::mem::take(&mut changes) });
                }
            }
        }
    }
    transactions
}

/// Whether a story can be told on this kind of server. One that cannot is named on standard error
/// and in a file, from which `make test` names it again at its end.
pub(crate) fn is_there(flavor: Flavor, story: &str) -> bool {
    if headwater_rig::tested_on(flavor) {
        return true;
    }
    if flavor.is_extra() {
        return false;
    }
    skipped(&flavor.to_string(), story.trim_start_matches("it::"));
    false
}

/// Names a story that cannot be told for want of something.
pub(crate) fn skipped(want: &str, story: &str) {
    let line = format!("SKIPPED, for want of {}: {story}\n", want.to_uppercase());
    // Not by a macro: what those print is kept back while a test passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(folder.join(want)).unwrap();
    file.write_all(format!("{story}\n").as_bytes()).unwrap();
}

/// Tests of these stories on one kind of server.
macro_rules! on {
    ($module:ident, $flavor:ident, $($name:ident),*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let flavor = headwater_rig::Flavor::$flavor;
                if crate::support::is_there(flavor, concat!(module_path!(), "::", stringify!($name))) {
                    super::$name(flavor).await;
                }
            })*
        }
    };
}
pub(crate) use on;

/// A test of each story for the two servers that everything runs on, and for what else is there beside
/// the four that `make test` gets.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        $crate::support::on!(mysql, Mysql97, $($name),*);
        $crate::support::on!(mariadb, Mariadb1011, $($name),*);
        $crate::support::on!(mysql_57, Mysql57, $($name),*);
        $crate::support::on!(mysql_80, Mysql80, $($name),*);
        $crate::support::on!(mysql_84, Mysql84, $($name),*);
    };
}
pub(crate) use on_both;

/// A test of each story for each kind of server: on the four that `make test` gets, and on what else is there.
macro_rules! on_all {
    ($($name:ident),* $(,)?) => {
        $crate::support::on!(mysql, Mysql97, $($name),*);
        $crate::support::on!(mariadb, Mariadb1011, $($name),*);
        $crate::support::on!(mysql_56, Mysql56, $($name),*);
        $crate::support::on!(mariadb_11_8, Mariadb118, $($name),*);
        $crate::support::on!(mysql_57, Mysql57, $($name),*);
        $crate::support::on!(mysql_80, Mysql80, $($name),*);
        $crate::support::on!(mysql_84, Mysql84, $($name),*);
    };
}
pub(crate) use on_all;

/// Hands all pairs of two kinds of server to a macro that makes a test of each: a child and its parent.
macro_rules! each_pair {
    ($told:ident) => {
        $told!(
            mariadb_to_mysql: Mariadb1011 to Mysql97,
            mariadb_to_mysql_56: Mariadb1011 to Mysql56,
            mariadb_to_mariadb_11_8: Mariadb1011 to Mariadb118,
            mysql_to_mariadb: Mysql97 to Mariadb1011,
            mysql_to_mysql_56: Mysql97 to Mysql56,
            mysql_to_mariadb_11_8: Mysql97 to Mariadb118,
            mysql_56_to_mysql: Mysql56 to Mysql97,
            mysql_56_to_mariadb: Mysql56 to Mariadb1011,
            mysql_56_to_mariadb_11_8: Mysql56 to Mariadb118,
            mariadb_11_8_to_mysql: Mariadb118 to Mysql97,
            mariadb_11_8_to_mysql_56: Mariadb118 to Mysql56,
            mariadb_11_8_to_mariadb: Mariadb118 to Mariadb1011,
            mysql_to_mysql_57: Mysql97 to Mysql57,
            mysql_to_mysql_80: Mysql97 to Mysql80,
            mysql_to_mysql_84: Mysql97 to Mysql84,
            mariadb_to_mysql_57: Mariadb1011 to Mysql57,
            mariadb_to_mysql_80: Mariadb1011 to Mysql80,
            mariadb_to_mysql_84: Mariadb1011 to Mysql84,
            mysql_56_to_mysql_57: Mysql56 to Mysql57,
            mysql_56_to_mysql_80: Mysql56 to Mysql80,
            mysql_56_to_mysql_84: Mysql56 to Mysql84,
            mariadb_11_8_to_mysql_57: Mariadb118 to Mysql57,
            mariadb_11_8_to_mysql_80: Mariadb118 to Mysql80,
            mariadb_11_8_to_mysql_84: Mariadb118 to Mysql84,
            mysql_57_to_mysql: Mysql57 to Mysql97,
            mysql_57_to_mariadb: Mysql57 to Mariadb1011,
            mysql_57_to_mysql_56: Mysql57 to Mysql56,
            mysql_57_to_mariadb_11_8: Mysql57 to Mariadb118,
            mysql_57_to_mysql_80: Mysql57 to Mysql80,
            mysql_57_to_mysql_84: Mysql57 to Mysql84,
            mysql_80_to_mysql: Mysql80 to Mysql97,
            mysql_80_to_mariadb: Mysql80 to Mariadb1011,
            mysql_80_to_mysql_56: Mysql80 to Mysql56,
            mysql_80_to_mariadb_11_8: Mysql80 to Mariadb118,
            mysql_80_to_mysql_57: Mysql80 to Mysql57,
            mysql_80_to_mysql_84: Mysql80 to Mysql84,
            mysql_84_to_mysql: Mysql84 to Mysql97,
            mysql_84_to_mariadb: Mysql84 to Mariadb1011,
            mysql_84_to_mysql_56: Mysql84 to Mysql56,
            mysql_84_to_mariadb_11_8: Mysql84 to Mariadb118,
            mysql_84_to_mysql_57: Mysql84 to Mysql57,
            mysql_84_to_mysql_80: Mysql84 to Mysql80,
        );
    };
}
pub(crate) use each_pair;
