//! Logs begun anew, GTIDs switched on and off, and transactions that outlive their server: where
//! capture resumes is never guessed.

use std::sync::Arc;
use std::time::Duration;

use headwater::capture::Doing;
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, Server, ServerOptions};
use tempfile::TempDir;

use super::{DATABASE, MAP, SURPRISES, TABLES, differing, is_mariadb, replayed, rows};
use crate::support::ledger::{EXACT, NOT_THERE, REFUSED};
use crate::support::{Capturing, capture_options, on_all};

struct Stage {
    server: Server,
    folder: TempDir,
    map: Arc<MapFile>,
    before: super::Rows,
}

impl Stage {
    async fn start(flavor: Flavor, options: ServerOptions) -> Stage {
        let server = Server::start(flavor, options).await.unwrap();
        server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
        server.sql_in(DATABASE, TABLES).await.unwrap();
        let map = Arc::new(MapFile::parse(MAP, "gtids.toml").unwrap());
        let before = rows(&server).await.unwrap();
        Stage { server, folder: tempfile::tempdir().unwrap(), map, before }
    }

    fn capture(&self) -> Capturing {
        let options = capture_options(&self.server, DATABASE, self.map.clone());
        Capturing::start_only(options, &self.folder)
    }

    async fn following(&self) -> Capturing {
        let capturing = self.capture();
        capturing.until(|state| state.doing == Doing::Following).await;
        capturing
    }

    async fn sql(&self, sql: &str) {
        self.server.sql_in(DATABASE, sql).await.unwrap();
    }

    async fn note(&self, uuid: &str) {
        self.sql(&format!("INSERT INTO note (uuid, text) VALUES ('{uuid}', 'x')")).await;
    }

    /// Waits until what was captured is what the tables hold.
    async fn exact(&self, capturing: &Capturing) {
        let expected = rows(&self.server).await.unwrap();
        for _ in 0..1_200 {
            if differing(&replayed(self.before.clone(), capturing).await, &expected).is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let found = replayed(self.before.clone(), capturing).await;
        panic!("{:?}: {found:?}\ninstead of {expected:?}", capturing.state.borrow());
    }

    /// Starts the server again, by a kill where it keeps what was prepared through one.
    async fn begin_anew(&mut self) {
        // Not so MySQL before 8.0.30.
        if !matches!(self.server.flavor(), Flavor::Mysql57 | Flavor::Mysql80) {
            self.server.kill9();
        }
        self.server.restart().await.unwrap();
    }

    /// Waits until the server's clock shows another second: a file is told by when it was begun.
    async fn next_second(&self) {
        let now =
            || async { self.server.ask("", "SELECT UNIX_TIMESTAMP()").await.unwrap().unwrap() };
        let first = now().await;
        while now().await == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn stopped(capturing: &Capturing) -> String {
    let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    words
}

fn reset(flavor: Flavor) -> &'static str {
    if flavor.is_mysql_from(8, 4) { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }
}

async fn a_log_begun_anew_while_it_is_followed_is_noticed(flavor: Flavor) {
    let stage = Stage::start(flavor, ServerOptions::default()).await;
    let capturing = stage.following().await;
    stage.note("r-1").await;
    capturing.until_head(1).await;
    stage.next_second().await;
    stage.sql(reset(flavor)).await;
    stage.note("r-2").await;
    let words = stopped(&capturing).await;
    println!("{flavor}: {words}");
    assert!(words.contains("docs/operator.md"), "{words}");
    assert_eq!(capturing.spool.head().0, 1);
    capturing.stop().await;
    SURPRISES.settle("RESET while capture goes on following", flavor, REFUSED);
}

/// The four steps of MySQL, up and down again, with capture following and with capture stopped.
async fn gtids_are_switched_on_and_off(flavor: Flavor) {
    const ROW: &str = "GTIDs switched on and off";
    if is_mariadb(flavor) {
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut stage =
        Stage::start(flavor, ServerOptions { gtid: false, ..ServerOptions::default() }).await;
    let mut capturing = stage.following().await;
    if flavor == Flavor::Mysql56 {
        for (round, gtid) in [true, false, true].into_iter().enumerate() {
            stage.note(&format!("g-{round}-0")).await;
            stage.exact(&capturing).await;
            capturing.stop().await;
            stage.server.restart_with(|options| options.gtid = gtid).await.unwrap();
            stage.note(&format!("g-{round}-1")).await;
            capturing = stage.capture();
            stage.note(&format!("g-{round}-2")).await;
            stage.exact(&capturing).await;
        }
        capturing.stop().await;
        SURPRISES.settle(ROW, flavor, EXACT);
        return;
    }
    stage.sql("SET GLOBAL enforce_gtid_consistency = ON").await;
    let up = ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let down = ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"];
    let steps = up.iter().chain(&down).chain(&up).chain(&down).chain(&up);
    for (round, step) in steps.enumerate() {
        stage.note(&format!("g-{round}-0")).await;
        // Stopped at every step in the second half, and at none in the first.
        if round >= 6 {
            stage.exact(&capturing).await;
            capturing.stop().await;
            stage.sql(&format!("SET GLOBAL gtid_mode = {step}")).await;
            stage.note(&format!("g-{round}-1")).await;
            capturing = stage.capture();
        } else {
            // The server does not send what it wrote two steps ago.
            if *step == "OFF" || *step == "ON" {
                stage.exact(&capturing).await;
            }
            stage.sql(&format!("SET GLOBAL gtid_mode = {step}")).await;
            stage.note(&format!("g-{round}-1")).await;
        }
        stage.note(&format!("g-{round}-2")).await;
        stage.exact(&capturing).await;
    }
    capturing.stop().await;
    SURPRISES.settle(ROW, flavor, EXACT);
}

/// What was written before the last step is refused by the server, and sent once it goes a step back.
async fn gtids_switched_while_capture_was_behind_are_told_by_name(flavor: Flavor) {
    const ROW: &str = "GTIDs switched on while capture was behind";
    if !flavor.is_mysql_from(5, 7) {
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let options = ServerOptions { gtid: false, ..ServerOptions::default() };
    let stage = Stage::start(flavor, options).await;
    stage.following().await.stop().await;
    stage.note("h-1").await;
    stage
        .sql(
            "SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE;
             SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON",
        )
        .await;
    stage.note("h-2").await;
    let capturing = stage.capture();
    let words = stopped(&capturing).await;
    for part in ["binlog.", "gtid_mode", "ON_PERMISSIVE"] {
        assert!(words.contains(part), "{words}");
    }
    capturing.stop().await;
    stage.sql("SET GLOBAL gtid_mode = ON_PERMISSIVE").await;
    let capturing = stage.capture();
    stage.exact(&capturing).await;
    capturing.stop().await;
    SURPRISES.settle(ROW, flavor, REFUSED);
}

async fn an_xa_transaction_prepared_before_capture_began_is_refused(flavor: Flavor) {
    const ROW: &str = "XA transaction prepared before capture began, committed after";
    const RESTART: &str = "XA transaction prepared, the server restarted, committed";
    let mut stage = Stage::start(flavor, ServerOptions::default()).await;
    stage
        .sql(
            "XA START 'p1'; INSERT INTO note (uuid, text) VALUES ('x-1', 'prepared');
             XA END 'p1'; XA PREPARE 'p1'",
        )
        .await;
    if flavor == Flavor::Mysql56 {
        // It rolls back what was prepared when the session ends.
        assert!(stage.server.sql("XA COMMIT 'p1'").await.is_err());
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        SURPRISES.settle(RESTART, flavor, NOT_THERE);
        return;
    }
    let capturing = stage.following().await;
    stage.sql("XA COMMIT 'p1'").await;
    let words = stopped(&capturing).await;
    for part in ["binlog.", "XA transaction", "accept = [\""] {
        assert!(words.contains(part), "{words}");
    }
    capturing.stop().await;
    SURPRISES.settle(ROW, flavor, REFUSED);
    // One that changed nothing that is mapped is nobody's concern.
    stage.folder = tempfile::tempdir().unwrap();
    stage.before = rows(&stage.server).await.unwrap();
    let capturing = stage.following().await;
    stage
        .sql(
            "CREATE TABLE other (id INT PRIMARY KEY);
             XA START 'p2'; INSERT INTO other VALUES (1); XA END 'p2'; XA PREPARE 'p2'",
        )
        .await;
    stage.begin_anew().await;
    stage.note("x-2").await;
    stage.exact(&capturing).await;
    // Which it was is known over the restart.
    stage.sql("XA COMMIT 'p2'").await;
    stage.note("x-4").await;
    stage.exact(&capturing).await;
    stage
        .sql(
            "XA START 'p3'; INSERT INTO note (uuid, text) VALUES ('x-3', 'prepared');
             XA END 'p3'; XA PREPARE 'p3'",
        )
        .await;
    stage.begin_anew().await;
    stage.sql("XA COMMIT 'p3'").await;
    let words = stopped(&capturing).await;
    for part in ["binlog.", "an XA transaction changed table note", "accept = [\""] {
        assert!(words.contains(part), "{words}");
    }
    capturing.stop().await;
    SURPRISES.settle(RESTART, flavor, REFUSED);
}

/// What a server itself writes when an in-memory table is first used after a restart concerns nobody; what
/// a session deletes does, in the same words.
async fn an_in_memory_table_is_emptied_by_a_restart(flavor: Flavor) {
    let mut stage = Stage::start(flavor, ServerOptions::default()).await;
    stage
        .sql("CREATE TABLE fleeting (a INT) ENGINE = MEMORY; INSERT INTO fleeting VALUES (1)")
        .await;
    let capturing = stage.following().await;
    for round in 0..2 {
        if round == 0 {
            stage.server.kill9();
        }
        stage.server.restart().await.unwrap();
        // The server quotes as the session does that is the first to use the table.
        let mode = ["", "SET SESSION sql_mode = 'ANSI_QUOTES'; "][round];
        stage.sql(&format!("{mode}SELECT * FROM fleeting; INSERT INTO fleeting VALUES (1)")).await;
        stage.note(&format!("m-{round}")).await;
        stage.exact(&capturing).await;
    }
    capturing.stop().await;
    for database in ["", DATABASE] {
        let by_hand = "SET SESSION binlog_format = STATEMENT; DELETE FROM `clinic`.`fleeting`";
        stage.folder = tempfile::tempdir().unwrap();
        let following = stage.following().await;
        stage.server.sql_in(database, by_hand).await.unwrap();
        let words = stopped(&following).await;
        let told = "a session in statement format changed some table of clinic";
        assert!(words.contains(told), "{flavor}, in {database:?}: {words}");
        following.stop().await;
    }
    SURPRISES.settle("in-memory table emptied by a restart of the server", flavor, EXACT);
}

/// The place of each domain is its own: work in several, capture stopped and started, the server
/// killed, files begun and purged in between, and a domain that is new while capture is off.
async fn several_domains_are_each_followed_from_their_own_place(flavor: Flavor) {
    const ROW: &str = "work in several replication domains, capture and server restarted";
    if !is_mariadb(flavor) {
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut stage = Stage::start(flavor, ServerOptions::default()).await;
    let mut notes = 0;
    let mut capturing = stage.following().await;
    for round in 0..4 {
        for off in [false, true] {
            let following = if off {
                stage.exact(&capturing).await;
                capturing.stop().await;
                None
            } else {
                Some(capturing)
            };
            for domain in [0, 7, 7, 0, 3, 20 + round] {
                notes += 1;
                let note =
                    format!("INSERT INTO note (uuid, text) VALUES ('d-{notes}', '{domain}')");
                stage.sql(&format!("SET SESSION gtid_domain_id = {domain}; {note}")).await;
            }
            // In the first round nothing happens to the server, then more and more.
            match round {
                1 => stage.sql("FLUSH BINARY LOGS").await,
                2 => {
                    stage.server.kill9();
                    stage.server.restart().await.unwrap();
                }
                3 if !off => {
                    stage.exact(following.as_ref().unwrap()).await;
                    stage.sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW()").await;
                }
                _ => {}
            }
            // One that writes to a domain that was quiet for long, and not to the others.
            notes += 1;
            let note = format!("INSERT INTO note (uuid, text) VALUES ('d-{notes}', 'quiet')");
            stage.sql(&format!("SET SESSION gtid_domain_id = {}; {note}", 20 - round)).await;
            capturing = following.unwrap_or_else(|| stage.capture());
        }
    }
    stage.exact(&capturing).await;
    assert_eq!(capturing.spool.head().0, notes, "each once");
    capturing.stop().await;
    SURPRISES.settle(ROW, flavor, EXACT);
}

on_all!(
    several_domains_are_each_followed_from_their_own_place,
    a_log_begun_anew_while_it_is_followed_is_noticed,
    gtids_are_switched_on_and_off,
    gtids_switched_while_capture_was_behind_are_told_by_name,
    an_xa_transaction_prepared_before_capture_began_is_refused,
    an_in_memory_table_is_emptied_by_a_restart,
);
