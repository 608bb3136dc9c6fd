//! The whole way: what a clinic commits is at the parent, once, whatever is cut or killed.

use std::net::Ipv4Addr;
use std::time::Duration;

use headwater_rig::{Clinic, Direction, Flavor, edge};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::nodes::Pair;
use crate::support::on_both;

async fn a_change_made_at_the_clinic_is_at_the_parent(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(1);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    clinic.work(&mut conn, 200).await.unwrap();
    pair.must_be_equal().await;
    let status = pair.child.status();
    for field in ["node", "epoch", "capture", "spool", "links", "parked", "quarantined", "in_step"]
    {
        assert!(status.get(field).is_some(), "status has no {field}: {status}");
    }
    let link = &status["links"][0];
    for field in ["name", "direction", "acknowledged", "waiting_transactions", "last_contact"] {
        assert!(link.get(field).is_some(), "a link's status has no {field}: {status}");
    }
    let parent = pair.parent.status();
    assert_eq!((&parent["parked"], &parent["quarantined"]), (&0.into(), &0.into()), "{parent}");
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

async fn an_address_that_changes_between_two_batches_does_not_matter(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(3);
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    for host in [2, 3, 4] {
        pair.link.come_from(Ipv4Addr::new(127, 0, 0, host));
        pair.link.cut();
        clinic.work(&mut conn, 20).await.unwrap();
        pair.in_step().await;
    }
    pair.must_be_equal().await;
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

/// The rounds of the story below; each kills one of four.
const ROUNDS: u32 = 20;

async fn killed_at_random_moments_both_ends_are_equal(flavor: Flavor) {
    let seed = std::env::var("HEADWATER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("HEADWATER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = Pair::start(flavor).await;
    let mut clinic = Clinic::new(seed);
    for round in 1..=ROUNDS {
        let at_work = clinic.go(pair.child_server.port(), "openmrs", Some(60.0));
        edge::sleep(Duration::from_millis(random.random_range(50..1500))).await;
        let victim = random.random_range(0..4);
        // The clinic's own connection breaks with its server: it goes home before.
        clinic = if victim == 2 {
            let clinic = at_work.stop().await.unwrap();
            pair.child_server.kill9();
            pair.child_server.restart().await.unwrap();
            clinic
        } else {
            match victim {
                0 => pair.child.kill9(),
                1 => pair.parent.kill9(),
                _ => pair.parent_server.kill9(),
            }
            edge::sleep(Duration::from_millis(random.random_range(0..500))).await;
            match victim {
                0 => pair.child.start(),
                1 => pair.parent.start(),
                _ => pair.parent_server.restart().await.unwrap(),
            }
            at_work.stop().await.unwrap()
        };
        let name = ["the child", "the parent", "the child's server", "the parent's server"];
        eprintln!("round {round} of {ROUNDS}: killed {}", name[victim]);
    }
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
    for _ in 0..100 {
        if pair.parent_says(names).await == at_child {
            return;
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

async fn a_revoked_child_writes_nothing_more(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before' LIMIT 1").await;
    pair.in_step().await;
    pair.parent.says(&["revoke", "clinic-12"]);
    edge::sleep(Duration::from_secs(2)).await;
    pair.at_child("UPDATE location SET description = 'after' LIMIT 1").await;
    let mut words = String::new();
    for _ in 0..100 {
        words = pair.child.says(&["status"]);
        if words.contains("revoked") {
            break;
        }
        edge::sleep(Duration::from_millis(200)).await;
    }
    assert!(words.contains("revoked"), "{words}");
    let after = "SELECT COUNT(*) FROM location WHERE description = 'after'";
    assert_eq!(pair.parent_says(after).await.as_deref(), Some("0"));
    let stranger = pair.another("clinic-13");
    let refused = stranger.command(&["join", "not-a-token"]);
    assert!(!refused.status.success());
}

on_both!(
    a_change_made_at_the_clinic_is_at_the_parent,
    ended_by_sigterm_a_node_ends_well_and_goes_on_later,
    an_address_that_changes_between_two_batches_does_not_matter,
    a_link_cut_again_and_again_doubles_nothing,
    killed_at_random_moments_both_ends_are_equal,
    a_row_that_the_parent_lacks_is_asked_for,
    a_revoked_child_writes_nothing_more,
);

/// The whole way between servers of two kinds.
mod between {
    use headwater_rig::{Clinic, Flavor};

    use crate::nodes::Pair;
    use crate::support::is_there;

    async fn a_clinic_s_work_arrives(child: Flavor, parent: Flavor, name: &str) {
        if !(is_there(child, name) && is_there(parent, name)) {
            return;
        }
        let pair = Pair::start_between(child, parent).await;
        let mut conn = pair.child_server.conn("openmrs").await.unwrap();
        Clinic::new(1).work(&mut conn, 150).await.unwrap();
        pair.must_be_equal().await;
        let status = pair.parent.status();
        assert_eq!((&status["parked"], &status["quarantined"]), (&0.into(), &0.into()), "{status}");
    }

    macro_rules! between {
        ($($name:ident: $child:ident to $parent:ident,)*) => {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                a_clinic_s_work_arrives(Flavor::$child, Flavor::$parent, name).await;
            })*
        };
    }

    between!(
        mariadb_to_mysql: Mariadb1011 to Mysql97,
        mysql_to_mariadb: Mysql97 to Mariadb1011,
        mysql_56_to_mariadb_11_8: Mysql56 to Mariadb118,
        mariadb_11_8_to_mysql_56: Mariadb118 to Mysql56,
    );
}
