//! The child's server restarted, killed, frozen, upgraded in place, or under another id; and
//! another reader under ours.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headwater::capture::Doing;
use headwater_rig::{Flavor, ServerOptions, edge};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use super::{DATABASE, SERVERS, Site, names, until_stopped};
use crate::support::ledger::{EXACT, NOT_THERE, REFUSED, WAITS};
use crate::support::{Capturing, on_all};

async fn restarted_it_is_followed_on(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    site.server.restart().await.unwrap();
    site.write("after").await;
    site.captured(&["before", "after"]).await;
    site.stop_capture().await;
    SERVERS.settle("restarted while capture follows", flavor, EXACT);
}

async fn killed_while_it_writes_all_that_it_kept_is_captured(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    for round in 0..3 {
        let mut conn = site.server.conn(DATABASE).await.unwrap();
        let writing = tokio::spawn(async move {
            for number in 0.. {
                let sql = format!("INSERT INTO note (uuid, body) VALUES ('{round}-{number}', 'x')");
                if conn.query_drop(sql).await.is_err() {
                    return;
                }
            }
        });
        // Beside them transactions that take a while to be written, so that the kill meets one.
        let mut conn = site.server.conn(DATABASE).await.unwrap();
        let large = tokio::spawn(async move {
            for number in 0.. {
                let row = |row: u32| format!("('{round}-{number}-{row}', REPEAT('long', 50))");
                let rows: Vec<String> = (0..2_000).map(row).collect();
                let sql = format!("INSERT INTO note (uuid, body) VALUES {}", rows.join(","));
                if conn.query_drop(sql).await.is_err() {
                    return;
                }
            }
        });
        let written = site.capturing().spool.head().0 + 40;
        site.capturing().until_head(written).await;
        site.server.kill9();
        writing.await.unwrap();
        large.await.unwrap();
        site.server.restart().await.unwrap();
    }
    site.write("the end").await;
    site.all_captured().await;
    site.stop_capture().await;
    SERVERS.settle("killed while it writes", flavor, EXACT);
}

/// Killed while it writes, it leaves a transaction without an end in its log; MariaDB gives its number
/// to the next one.
async fn killed_in_the_middle_of_a_transaction_no_other_is_passed_over(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    site.stop_capture().await;
    // The engine has nothing of the transaction that is cut, as when a server dies while it writes its log.
    site.server.stop().await.unwrap();
    let (data, kept) = (site.server.data(), TempDir::new().unwrap());
    copied(&data, kept.path());
    site.server.restart().await.unwrap();
    let (file, _) = site.log_end().await;
    site.write("cut").await;
    site.server.kill9();
    let log = std::fs::read(data.join(&file)).unwrap();
    let index = std::fs::read(data.join("binlog.index")).unwrap();
    let end = ends_of(&log, INSERTS).last().copied().unwrap();
    assert!(end < log.len());
    std::fs::remove_dir_all(&data).unwrap();
    copied(kept.path(), &data);
    std::fs::write(data.join(&file), &log[..end]).unwrap();
    std::fs::write(data.join("binlog.index"), index).unwrap();
    site.server.restart().await.unwrap();
    // Capture stops in the middle of the next, which starts from there when that is mended.
    let next = "BEGIN; INSERT INTO note (uuid, body) VALUES ('one', 'x');
        INSERT INTO note (uuid, body) VALUES ('two', 'x'); COMMIT; FLUSH LOGS";
    let (file, _) = site.log_end().await;
    site.server.sql_in(DATABASE, next).await.unwrap();
    let path = site.server.data().join(&file);
    let log = std::fs::read(&path).unwrap();
    let end = ends_of(&log, INSERTS).last().copied().unwrap();
    let mut damaged = log.clone();
    damaged[end - 10] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    site.go();
    let words = site.until_stopped().await;
    assert!(words.contains("checksum mismatch"), "{words}");
    assert_eq!(site.capturing().spool.head().0, 1);
    site.stop_capture().await;
    std::fs::write(&path, log).unwrap();
    site.go();
    assert_eq!(site.names(2).await, ["before", "one", "two"]);
    site.stop_capture().await;
    SERVERS.settle("killed in the middle of writing a transaction to its log", flavor, EXACT);
}

/// Copies a folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    let from = from.join(".");
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

const INSERTS: &[u8] = &[23, 30];

/// Where the events of these types end in a log file.
fn ends_of(log: &[u8], kinds: &[u8]) -> Vec<usize> {
    let (mut ends, mut offset) = (Vec::new(), 4);
    while let Some(header) = log.get(offset..offset + 19) {
        offset += u32::from_le_bytes(header[9..13].try_into().unwrap()) as usize;
        if kinds.contains(&header[4]) {
            ends.push(offset);
        }
    }
    ends
}

async fn frozen_it_is_noticed_within_three_heartbeats(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.server.freeze().unwrap();
    site.until_waits("silent for 6 s").await;
    site.server.thaw().unwrap();
    site.write("after").await;
    site.captured(&["after"]).await;
    site.stop_capture().await;
    SERVERS.settle("frozen", flavor, WAITS);
}

async fn upgraded_in_place_it_is_followed_on_or_named(flavor: Flavor) {
    const ROW: &str = "upgraded in place";
    let newer = match flavor {
        Flavor::Mariadb1011 => Some(Flavor::Mariadb118),
        // A MySQL 5.6 data folder can be started with it directly; 9.7 is four upgrades away.
        Flavor::Mysql56 => Some(Flavor::Mariadb1011),
        Flavor::Mariadb118 => None,
        _ => next_release(flavor),
    };
    let Some(newer) = newer else {
        SERVERS.settle(ROW, flavor, NOT_THERE);
        return;
    };
    if !newer.available() {
        return;
    }
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    site.server.upgrade_to(newer).await.unwrap();
    site.write("after").await;
    if flavor == Flavor::Mysql56 {
        let words = site.until_stopped().await;
        for part in ["MySQL", "MariaDB", "GTIDs", "'Another server' in docs/operator.md"] {
            assert!(words.contains(part), "{words}");
        }
        site.stop_capture().await;
        SERVERS.settle(ROW, flavor, REFUSED);
        return;
    }
    site.captured(&["before", "after"]).await;
    site.stop_capture().await;
    SERVERS.settle(ROW, flavor, EXACT);
}

/// The release that a MySQL's data folder can be started with next.
fn next_release(flavor: Flavor) -> Option<Flavor> {
    match flavor {
        Flavor::Mysql56 => Some(Flavor::Mysql57),
        Flavor::Mysql57 => Some(Flavor::Mysql80),
        Flavor::Mysql80 => Some(Flavor::Mysql84),
        Flavor::Mysql84 => Some(Flavor::Mysql97),
        Flavor::Mysql97 | Flavor::Mariadb1011 | Flavor::Mariadb118 => None,
    }
}

async fn upgraded_release_by_release_it_is_followed_on(flavor: Flavor) {
    const ROW: &str = "upgraded in place to MySQL 9.7, release by release";
    let steps: Vec<Flavor> =
        std::iter::successors(next_release(flavor), |last| next_release(*last)).collect();
    if steps.is_empty() {
        SERVERS.settle(ROW, flavor, NOT_THERE);
        return;
    }
    if !steps.iter().all(|step| step.available()) {
        return;
    }
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    let mut notes = vec!["before".to_owned()];
    for step in steps {
        // Once while capture follows, and once with capture off, which finds the upgraded server.
        for off in [false, true] {
            if off {
                site.captured(&notes.iter().map(String::as_str).collect::<Vec<_>>()).await;
                site.stop_capture().await;
            }
            notes.push(format!("on {} {off}", site.server.flavor()));
            site.write(notes.last().unwrap()).await;
            if off {
                site.server.upgrade_to(step).await.unwrap();
                site.go();
            } else {
                site.server.restart().await.unwrap();
            }
        }
    }
    notes.push("at the end".to_owned());
    site.write("at the end").await;
    site.captured(&notes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    site.stop_capture().await;
    SERVERS.settle(ROW, flavor, EXACT);
}

/// Gives a server another identity, as a copied configuration or a lost `auto.cnf` does.
async fn renamed(site: &mut Site) {
    site.server.stop().await.unwrap();
    if !site.server.flavor().is_mariadb() {
        std::fs::remove_file(site.server.data().join("auto.cnf")).unwrap();
    }
    site.server.restart_with(|options| options.server_id += 1).await.unwrap();
}

async fn under_another_id_it_is_followed_by_gtid_or_named(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    renamed(&mut site).await;
    site.write("after").await;
    site.captured(&["before", "after"]).await;
    site.stop_capture().await;
    site.follow().await;
    site.write("later").await;
    site.captured(&["before", "after", "later"]).await;
    site.stop_capture().await;
    SERVERS.settle("its uuid or id changed", flavor, EXACT);

    let row = "its uuid changed, without GTIDs";
    if flavor.is_mariadb() {
        SERVERS.settle(row, flavor, NOT_THERE);
        return;
    }
    let options = ServerOptions { gtid: false, ..ServerOptions::default() };
    let mut site = Site::start_with(flavor, options).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    renamed(&mut site).await;
    let words = site.until_stopped().await;
    assert!(words.contains("answers now") && words.contains("no GTIDs"), "{words}");
    site.stop_capture().await;
    SERVERS.settle(row, flavor, REFUSED);
}

async fn another_reader_with_our_server_id_is_named_and_not_fought(flavor: Flavor) {
    const ROW: &str = "another reader with the same server id";
    let mut site = Site::without_capture(flavor, ServerOptions::default()).await;
    let patient = |mut options: headwater::capture::Options| {
        options.backoff_max = Duration::from_mins(5);
        options
    };
    site.follow_with(patient(site.options())).await;
    // Following it says before the server sends anything.
    site.write("before").await;
    site.captured(&["before"]).await;
    let folder = TempDir::new().unwrap();
    let other = Capturing::start(patient(site.options()), &folder).await;
    if flavor == Flavor::Mysql56 {
        // It serves both readers, because neither says that it is a replica.
        site.write("one").await;
        site.captured(&["before", "one"]).await;
        assert_eq!(names(&other, 1).await, ["one"]);
        other.stop().await;
        site.stop_capture().await;
        SERVERS.settle(ROW, flavor, EXACT);
        return;
    }
    let words = site.until_stopped().await;
    for part in ["server id", "[capture] server_id"] {
        assert!(words.contains(part), "{words}");
    }
    // It waits before it tries again, and leaves the log to the other meanwhile.
    site.write("one").await;
    assert_eq!(names(&other, 1).await, ["one"]);
    assert_eq!(other.state.borrow().doing, Doing::Following);
    other.stop().await;
    site.stop_capture().await;
    // With an id of its own each follows.
    let mut options = site.options();
    options.server_id += 1;
    let other = Capturing::start(options, &folder).await;
    site.follow().await;
    site.write("two").await;
    site.captured(&["before", "one", "two"]).await;
    assert_eq!(names(&other, 2).await, ["one", "two"]);
    other.stop().await;
    site.stop_capture().await;
    SERVERS.settle(ROW, flavor, WAITS);
}

/// A dead link and a server that does not know us look alike to nobody.
async fn a_wrong_address_is_waited_for(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.server.kill9();
    site.until_waits("cannot reach the database").await;
    edge::sleep(Duration::from_millis(100)).await;
    site.server.restart().await.unwrap();
    site.until_follows().await;
    // What was waited for is over, for `headwater status` too.
    let begun = Instant::now();
    while site.capturing().spool.note("capture.waits").await.unwrap().as_deref() != Some(b"") {
        assert!(begun.elapsed() < Duration::from_mins(2), "it is still said to wait");
        edge::sleep(Duration::from_millis(20)).await;
    }
    site.stop_capture().await;
    let folder = TempDir::new().unwrap();
    let mut options = site.options();
    options.database = options.database.with_database("nowhere");
    let capturing = Capturing::start_only(options, &folder);
    let words = until_stopped(&capturing).await;
    assert!(words.contains("no database 'nowhere'"), "{words}");
    capturing.stop().await;
    SERVERS.settle("gone for a while", flavor, WAITS);
}

on_all!(
    restarted_it_is_followed_on,
    killed_while_it_writes_all_that_it_kept_is_captured,
    killed_in_the_middle_of_a_transaction_no_other_is_passed_over,
    frozen_it_is_noticed_within_three_heartbeats,
    upgraded_in_place_it_is_followed_on_or_named,
    upgraded_release_by_release_it_is_followed_on,
    under_another_id_it_is_followed_by_gtid_or_named,
    another_reader_with_our_server_id_is_named_and_not_fought,
    a_wrong_address_is_waited_for,
);
