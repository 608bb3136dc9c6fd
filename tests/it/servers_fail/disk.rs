//! The child's own disk: capture waits before it is full, or when it is, loses nothing, and goes on by
//! itself when there is room.

use std::fmt::Write as _;

use headwater::spool::{Limits, free_bytes};
use headwater_rig::{Flavor, ServerOptions, edge};
use rand::RngExt as _;

use super::{DATABASE, Disk, SERVERS, Site, until_waits_unless};
use crate::nodes::Pair;
use crate::support::ledger::WAITS;
use crate::support::{Capturing, on_all};

const MIB: u64 = 1 << 20;
const NOTES: usize = 40;
/// The room that the store wants for its words of why capture waits.
const NOTE_BYTES: u64 = 64 << 10;

/// Notes of a mebibyte each that do not compress.
async fn write_notes(site: &Site) {
    for number in 0..NOTES {
        let mut body = String::new();
        for _ in 0..MIB / 16 {
            write!(body, "{:016x}", rand::rng().random::<u64>()).unwrap();
        }
        let sql = format!("INSERT INTO note (uuid, body) VALUES ('note-{number}', '{body}')");
        site.server.sql_in(DATABASE, &sql).await.unwrap();
    }
}

async fn waited_for(flavor: Flavor, disk_mib: u32, limits: Limits, words: &str) -> bool {
    let mut site = Site::without_capture(flavor, ServerOptions::default()).await;
    let data = site.folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let Some(disk) = Disk::mount(&data, disk_mib) else { return false };
    let least = limits.disk_free_bytes_min;
    let capturing = Capturing::start_within(site.options(), &data, limits);
    site.capturing = Some(capturing);
    site.until_follows().await;
    write_notes(&site).await;
    let no_room = || free_bytes(&data).unwrap() < NOTE_BYTES;
    until_waits_unless(site.capturing(), words, no_room).await;
    // What the log of the store takes beyond what is appended is little.
    let free = free_bytes(&data).unwrap();
    assert!(free + MIB >= least, "{free} bytes are free, of at least {least}");
    let taken = site.capturing().spool.head().0;
    assert!(taken < NOTES as u64);
    edge::sleep(std::time::Duration::from_millis(300)).await;
    disk.enlarge(400);
    site.all_captured().await;
    site.until_follows().await;
    site.stop_capture().await;
    drop(disk);
    true
}

async fn a_full_disk_is_waited_for(flavor: Flavor) {
    if waited_for(flavor, 12, Limits::default(), "full").await {
        SERVERS.settle("the disk of the child's data_dir is full", flavor, WAITS);
    }
}

async fn a_disk_that_is_nearly_full_is_not_filled(flavor: Flavor) {
    let limits = Limits { disk_free_bytes_min: 40 * MIB, ..Limits::default() };
    if waited_for(flavor, 56, limits, "to stay free").await {
        SERVERS.settle("the disk of the child's data_dir is nearly full", flavor, WAITS);
    }
}

/// The limit of the configuration, as `headwater status` tells of it.
async fn a_node_with_too_little_left_runs_and_says_so(flavor: Flavor) {
    let mut pair = Pair::enrolled(flavor).await;
    let text = std::fs::read_to_string(&pair.child.config).unwrap();
    let more = format!("{text}\n[spool]\ndisk_free_bytes_min = \"1000000GiB\"\n");
    std::fs::write(&pair.child.config, more).unwrap();
    pair.parent.start();
    pair.child.start();
    pair.captures().await;
    pair.at_child("UPDATE location SET description = 'meanwhile'").await;
    for tries in 0.. {
        let status = pair.child.status();
        let words = status["capture"]["waits_for"].as_str().unwrap_or_default().to_owned();
        if words.contains("disk_free_bytes_min") && status["spool"]["head"] == 0 {
            assert_eq!(status["in_step"], false);
            break;
        }
        assert!(tries < 300, "{status:#}\n{}", pair.child.log());
        edge::sleep(std::time::Duration::from_millis(100)).await;
    }
    let said = pair.child.says(&["status"]);
    assert!(said.contains("! capture waits: the disk of"), "{said}");
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    std::fs::write(&pair.child.config, text).unwrap();
    pair.child.start();
    pair.must_be_equal().await;
    assert_eq!(pair.child.status()["capture"]["waits_for"], serde_json::Value::Null);
}

on_all!(a_full_disk_is_waited_for, a_disk_that_is_nearly_full_is_not_filled);

/// What depends on no server.
mod node {
    use super::a_node_with_too_little_left_runs_and_says_so;

    crate::support::on_both!(a_node_with_too_little_left_runs_and_says_so);
}
