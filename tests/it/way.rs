//! The whole way: what a clinic commits is at the parent, once, whatever is cut or killed.

mod between;
mod pharmacy;
mod refused;

use std::net::Ipv4Addr;
use std::time::Duration;

use headwater_rig::clinic::AtWork;
use headwater_rig::{Clinic, Direction, Flavor, edge};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::nodes::{Node, Pair};
use crate::support::on_both;

async fn a_change_made_at_the_clinic_is_at_the_parent(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(1);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    clinic.work(&mut conn, 200).await.unwrap();
    pair.must_be_equal().await;
    let parent = pair.parent.status();
    assert_eq!((&parent["parked"], &parent["quarantined"]), (&0.into(), &0.into()), "{parent}");
}

/// The value at `path` of a node's status, held against what it has to be.
fn has(status: &Value, path: &str, what: &str, good: impl Fn(&Value) -> bool) {
    let value = path.split('.').fold(status, |value, name| match name.strip_suffix("[]") {
        Some(list) => &value[list][0],
        None => &value[name],
    });
    assert!(good(value), "{path} is {value}, not {what}: {status:#}");
}

/// What scripts rely on, path by path.
async fn status_says_what_scripts_ask_for(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    Clinic::new(7).work(&mut conn, 30).await.unwrap();
    pair.in_step().await;
    let status = pair.child.status();
    let place = |value: &Value| {
        let (file, offset) = value.as_str()?.rsplit_once(':')?;
        Some(file.starts_with("binlog.0") && offset.parse::<u64>().ok()? > 4)
    };
    let moment = |value: &Value| {
        value.as_str().is_some_and(|text| text.len() == 20 && text.starts_with("20"))
    };
    let head = status["spool"]["head"].as_u64().unwrap();
    assert!(head >= 20, "{status:#}");
    has(&status, "node", "its name", |value| value == "clinic-12");
    has(&status, "epoch", "a uuid", |value| value.as_str().is_some_and(|text| text.len() == 36));
    has(&status, "capture.position", "file:offset", |value| place(value) == Some(true));
    has(&status, "capture.lag_seconds", "0", |value| *value == 0);
    has(&status, "spool.transactions", "what is kept", |value| *value == head);
    has(&status, "spool.bytes", "what they take", |value| value.as_u64() > Some(1000));
    has(&status, "links[].name", "the parent's", |value| value == "parent");
    has(&status, "links[].direction", "up", |value| value == "up");
    has(&status, "links[].acknowledged", "all", |value| *value == head);
    has(&status, "links[].waiting_transactions", "none", |value| *value == 0);
    has(&status, "links[].last_contact", "a moment", moment);
    has(&status, "parked", "none", |value| *value == 0);
    has(&status, "quarantined", "none", |value| *value == 0);
    has(&status, "in_step", "true", |value| *value == true);
    let parent = pair.parent.status();
    has(&parent, "node", "its name", |value| value == "parent");
    has(&parent, "links[].name", "the child's", |value| value == "clinic-12");
    has(&parent, "links[].direction", "down", |value| value == "down");
    has(&parent, "links[].received", "all", |value| *value == head);
    has(&parent, "links[].last_contact", "a moment", moment);

    // What waits, where there is no link.
    pair.link.refuse();
    pair.at_child("UPDATE location SET description = 'waits'").await;
    let mut status = pair.child.status();
    for _ in 0..100 {
        if status["links"][0]["waiting_transactions"] == 1 {
            break;
        }
        edge::sleep(Duration::from_millis(100)).await;
        status = pair.child.status();
    }
    has(&status, "links[].waiting_transactions", "1", |value| *value == 1);
    has(&status, "links[].acknowledged", "as before", |value| *value == head);
    has(&status, "spool.transactions", "one more", |value| *value == head + 1);
    has(&status, "in_step", "false", |value| *value == false);
}

fn lag(node: &Node) -> u64 {
    let status = node.status();
    status["capture"]["lag_seconds"].as_u64().unwrap_or_else(|| panic!("{status:#}"))
}

/// The lag is the age of what is captured, however lately it was.
async fn a_child_that_is_behind_says_by_how_much(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before'").await;
    pair.in_step().await;
    assert_eq!(lag(&pair.child), 0);
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    let updated = std::time::Instant::now();
    // No less than the pause, and no more than the time since then, in seconds of two clocks.
    let is_its_age = |lag: u64| (5..=updated.elapsed().as_secs() + 2).contains(&lag);
    pair.at_child("UPDATE location SET description = 'long ago'").await;
    edge::sleep(Duration::from_secs(5)).await;
    let off = lag(&pair.child);
    assert!(is_its_age(off), "off: {off}");

    // It reads what is old, and gets no further: the position has just moved.
    pair.at_child(
        "TRUNCATE TABLE concept_proposal_tag_map; UPDATE location SET description = 'now'",
    )
    .await;
    let before = pair.child.status()["capture"]["position"].clone();
    pair.child.start();
    let mut status = pair.child.status();
    for _ in 0..300 {
        let words = status["capture"]["waits_for"].as_str().unwrap_or_default();
        if words.contains("TRUNCATE") {
            break;
        }
        edge::sleep(Duration::from_millis(100)).await;
        status = pair.child.status();
    }
    assert_ne!(status["capture"]["position"], before, "{status:#}");
    let behind = status["capture"]["lag_seconds"].as_u64().unwrap();
    assert!(is_its_age(behind), "behind: {status:#}");
    let figure = "headwater_capture_lag_seconds";
    for tries in 0.. {
        let shown = pair.child.figure(figure);
        if is_its_age(shown) {
            break;
        }
        assert!(tries < 100, "{figure} is {shown}");
        edge::sleep(Duration::from_millis(100)).await;
    }

    let words = status["capture"]["waits_for"].as_str().unwrap();
    let accept = words.split("[capture] ").nth(1).unwrap_or_else(|| panic!("{words}"));
    let accept = accept.split_inclusive(']').next().unwrap();
    let text = std::fs::read_to_string(&pair.child.config).unwrap();
    let text = text.replace("[capture]\n", &format!("[capture]\n{accept}\n"));
    std::fs::write(&pair.child.config, text).unwrap();
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    pair.child.start();
    pair.must_be_equal().await;
    assert_eq!(lag(&pair.child), 0);
    for tries in 0.. {
        if pair.child.figure(figure) == 0 {
            break;
        }
        assert!(tries < 150, "{figure} is not 0 at the end of the log");
        edge::sleep(Duration::from_millis(100)).await;
    }
}

async fn ended_by_sigterm_a_node_ends_well_and_goes_on_later(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(2);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    clinic.work(&mut conn, 50).await.unwrap();
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    let before = pair.child.status()["spool"]["transactions"].as_u64().unwrap();
    clinic.work(&mut conn, 50).await.unwrap();
    pair.child.start();
    pair.parent.start();
    pair.must_be_equal().await;
    // All of what it captured is in its figures, from the first change on.
    let captured = pair.child.status()["spool"]["transactions"].as_u64().unwrap() - before;
    assert!(captured > 0);
    assert_eq!(pair.child.figure("headwater_capture_transactions_total"), captured);
}

/// Where the open connections to a port come from, as the system that listens there has them.
fn seen_by(port: u16) -> Vec<Ipv4Addr> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let end = |shown: &str| {
        let (address, port) = shown.split_once(':').unwrap();
        let address = u32::from_str_radix(address, 16).unwrap();
        (Ipv4Addr::from(address.to_le_bytes()), u16::from_str_radix(port, 16).unwrap())
    };
    let mut from = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns[3] == ESTABLISHED && end(columns[1]).1 == port {
            from.push(end(columns[2]).0);
        }
    }
    from
}

async fn an_address_that_changes_between_two_batches_does_not_matter(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let parent = pair.link.conditions().target.port();
    let mut clinic = Clinic::new(3);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    for host in [2, 3, 4] {
        let (before, address) = (pair.link.connections(), Ipv4Addr::new(127, 0, 0, host));
        pair.link.come_from(address);
        clinic.work(&mut conn, 20).await.unwrap();
        pair.in_step().await;
        assert!(pair.link.connections() > before, "on the connection of before");
        // The connection of before may be about to be closed.
        let begun = std::time::Instant::now();
        while seen_by(parent) != [address] {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", seen_by(parent));
            edge::sleep(Duration::from_millis(50)).await;
        }
    }
    pair.must_be_equal().await;
}

/// From the log to the tables as one, while neither end of the child's takes much memory.
async fn a_transaction_of_300_000_rows_arrives_through_little_memory(flavor: Flavor) {
    const ROWS: &str = "300000";
    const MEMORY_KIB_MAX: u64 = 64 * 1024;
    let pair = Pair::start(flavor).await;
    let head = pair.child.status()["spool"]["head"].as_u64().unwrap();
    let begun = std::time::Instant::now();
    pair.at_child(
        "CREATE DATABASE digits; CREATE TABLE digits.digits (d INT NOT NULL PRIMARY KEY);
         INSERT INTO digits.digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
         INSERT INTO obs (person_id, concept_id, obs_datetime, creator, date_created, voided, uuid,
             value_text)
           SELECT p.person_id, (SELECT MIN(concept_id) FROM concept), '2026-01-01', u.user_id,
             '2026-01-01', 0, CONCAT('0b5', a.d, b.d, c.d, d.d, e.d, '-0000-4000-8000-00000000000', f.d),
             'text'
           FROM digits.digits a, digits.digits b, digits.digits c, digits.digits d, digits.digits e,
             digits.digits f, (SELECT MIN(person_id) person_id FROM person) p,
             (SELECT MIN(user_id) user_id FROM users) u WHERE f.d < 3",
    )
    .await;
    let committed = begun.elapsed();
    // Between two batches nothing is said, and this is one.
    let (mut moved, mut last) = (begun, String::new());
    let mut status = pair.child.status();
    while status["in_step"] != true {
        let mib_sent = pair.link.passed(Direction::Up) >> 20;
        let now = format!("{} {} {mib_sent}", status["capture"]["position"], status["spool"]);
        if now != last {
            (moved, last) = (std::time::Instant::now(), now);
        }
        assert!(moved.elapsed() < Duration::from_mins(5), "{status:#}\n{}", pair.child.log());
        edge::sleep(Duration::from_millis(300)).await;
        status = pair.child.status();
    }
    let arrived = begun.elapsed();
    assert_eq!(status["spool"]["head"], head + 1, "{status:#}");
    let there = "SELECT COUNT(*) FROM obs WHERE uuid LIKE '0b5%'";
    assert_eq!(pair.parent_says(there).await.as_deref(), Some(ROWS));
    let (child, parent) = (pair.child.memory_peak_kib(), pair.parent.memory_peak_kib());
    pair.must_be_equal().await;
    eprintln!(
        "{flavor}: {ROWS} rows in one transaction: committed after {committed:?}, arrived after \
         {arrived:?}, compared after {:?}; at most {child} KiB at the child, {parent} KiB at the parent",
        begun.elapsed()
    );
    assert!(child < MEMORY_KIB_MAX, "{child} KiB");
}

async fn a_link_cut_again_and_again_doubles_nothing(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(4);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    for round in 0..12_u64 {
        clinic.work(&mut conn, 20).await.unwrap();
        pair.link.cut_after(Direction::Up, 3_000 + round * 1_000);
        edge::sleep(Duration::from_millis(200)).await;
        if round % 3 == 0 {
            pair.link.cut_after(Direction::Down, 300);
        }
    }
    pair.must_be_equal().await;
}

/// One batch, and the link is cut again after each 1,000 bytes or so of it: pieces shrink to 1 KiB, the
/// least, and one of them comes through on each connection.
async fn a_batch_cut_at_every_thousandth_byte_gets_there(flavor: Flavor) {
    const STEP: u64 = 1_600;
    let pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before'").await;
    pair.in_step().await;
    // What a connection takes for the least there is to send.
    pair.link.cut();
    let passed = pair.link.passed(Direction::Up);
    pair.at_child("UPDATE location SET description = 'one' LIMIT 1").await;
    pair.in_step().await;
    let greeting = pair.link.passed(Direction::Up) - passed;
    assert!((500..20_000).contains(&greeting), "{greeting}");

    pair.link.refuse();
    let mut clinic = Clinic::new(8);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    clinic.work(&mut conn, 40).await.unwrap();
    let question = "SELECT COUNT(*) FROM obs";
    let there = pair.child_server.ask("openmrs", question).await.unwrap();
    while pair.child.status()["capture"]["lag_seconds"] != 0 {
        edge::sleep(Duration::from_millis(100)).await;
    }
    let (passed, cut) = (pair.link.passed(Direction::Up), pair.link.cuts());
    let cuts = || pair.link.cuts() - cut;
    let begun = std::time::Instant::now();
    pair.link.cut_every(Direction::Up, Some(greeting + STEP));
    pair.link.allow();
    let mut status = pair.child.status();
    while status["links"][0]["waiting_transactions"] != 0 {
        assert!(
            begun.elapsed() < Duration::from_mins(6),
            "after {} cuts, {} bytes: {status:#}",
            cuts(),
            pair.link.passed(Direction::Up) - passed,
        );
        edge::sleep(Duration::from_millis(500)).await;
        status = pair.child.status();
    }
    pair.link.cut_every(Direction::Up, None);
    let (cuts, sent) = (cuts(), pair.link.passed(Direction::Up) - passed);
    eprintln!("{flavor}: {cuts} cuts, {sent} bytes, of which a connection takes {greeting}");
    assert!(cuts >= 10, "{cuts} cuts are not many");
    assert_ne!(there.as_deref(), Some("0"));
    pair.must_be_equal().await;
    assert_eq!(pair.parent_says(question).await, there);
}

/// The rounds of the story below; each kills one of four.
const ROUNDS: usize = 20;

/// Waits until the clinic has changed more rows than these.
async fn works_on(clinic: &AtWork, rows: u64) {
    for _ in 0..600 {
        if clinic.rows() > rows {
            return;
        }
        assert!(!clinic.has_ended(), "the clinic gave up");
        edge::sleep(Duration::from_millis(50)).await;
    }
    panic!("the clinic does not work on after {rows} row changes");
}

async fn killed_at_random_moments_both_ends_are_equal(flavor: Flavor) {
    let seed = edge::seed().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(seed);
    // Each of the four as often as the others.
    let mut victims: Vec<usize> = (0..ROUNDS).map(|round| round % 4).collect();
    victims.shuffle(&mut random);
    for (round, victim) in (1..).zip(victims) {
        let at_work = clinic.go(pair.child_server.port(), "openmrs", Some(60.0));
        edge::sleep(Duration::from_millis(random.random_range(50..1500))).await;
        match victim {
            0 => pair.child.kill9(),
            1 => pair.parent.kill9(),
            // The clinic is at work there, perhaps in the middle of a COMMIT.
            2 => pair.child_server.kill9(),
            _ => pair.parent_server.kill9(),
        }
        edge::sleep(Duration::from_millis(random.random_range(0..500))).await;
        match victim {
            0 => pair.child.start(),
            1 => pair.parent.start(),
            2 => pair.child_server.restart().await.unwrap(),
            _ => pair.parent_server.restart().await.unwrap(),
        }
        works_on(&at_work, at_work.rows()).await;
        clinic = at_work.stop().await.unwrap();
        let name = ["the child", "the parent", "the child's server", "the parent's server"];
        eprintln!("round {round} of {ROUNDS}: killed {}", name[victim]);
    }
    let (doubts, committed) = clinic.doubts();
    eprintln!(
        "{flavor}: {} row changes; {doubts} COMMITs were not answered, {committed} of them were made",
        clinic.rows()
    );
    pair.must_be_equal().await;
    let parent = pair.parent.status();
    assert_eq!((&parent["parked"], &parent["quarantined"]), (&0.into(), &0.into()), "{parent}");
}

async fn a_row_that_the_parent_lacks_is_asked_for(flavor: Flavor) {
    let pair = Pair::enrolled(flavor).await;
    // Recorded before capture began: nothing of it is in the log that is read.
    let mut clinic = Clinic::new(6);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    clinic.work(&mut conn, 60).await.unwrap();
    let mut pair = pair;
    pair.parent.start();
    pair.child.start();
    pair.captures().await;
    pair.at_child("UPDATE person_name SET given_name = CONCAT('X', given_name)").await;
    pair.in_step().await;
    let names = "SELECT COUNT(*) FROM person_name WHERE given_name LIKE 'X%'";
    let at_child = pair.child_server.ask("openmrs", names).await.unwrap();
    let (mut moved, mut last) = (std::time::Instant::now(), None);
    while moved.elapsed() < Duration::from_mins(1) {
        let there = pair.parent_says(names).await;
        if there == at_child {
            return;
        }
        if there != last {
            (moved, last) = (std::time::Instant::now(), there);
        }
        edge::sleep(Duration::from_millis(300)).await;
    }
    let waiting = pair
        .parent_says(
            "SELECT GROUP_CONCAT(line SEPARATOR '\n') FROM (SELECT CONCAT_WS(' ', row_table, kind, \
             LEFT(reason, 90), COUNT(*)) line FROM headwater.held GROUP BY row_table, kind, \
             LEFT(reason, 90) ORDER BY COUNT(*) DESC LIMIT 40) told",
        )
        .await;
    panic!("{:?} of {at_child:?}\n{}", pair.parent_says(names).await, waiting.unwrap_or_default());
}

on_both!(
    a_change_made_at_the_clinic_is_at_the_parent,
    status_says_what_scripts_ask_for,
    a_child_that_is_behind_says_by_how_much,
    a_batch_cut_at_every_thousandth_byte_gets_there,
    ended_by_sigterm_a_node_ends_well_and_goes_on_later,
    an_address_that_changes_between_two_batches_does_not_matter,
    a_transaction_of_300_000_rows_arrives_through_little_memory,
    a_link_cut_again_and_again_doubles_nothing,
    killed_at_random_moments_both_ends_are_equal,
    a_row_that_the_parent_lacks_is_asked_for,
);
