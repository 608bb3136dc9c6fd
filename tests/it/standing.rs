//! What `headwater status` says at either end, and its exit code.

use std::time::Duration;

use headwater_rig::{Flavor, edge};

use crate::nodes::{Node, Pair};
use crate::support::on_both;

fn code(node: &Node) -> Option<i32> {
    node.command(&["status"]).status.code()
}

/// Waits for something that a node has to say of itself.
async fn until(node: &Node, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    for _ in 0..150 {
        if is_so(&node.status()) {
            return;
        }
        edge::sleep(Duration::from_millis(200)).await;
    }
    panic!("{what}: {:#}\n{}", node.status(), node.log());
}

async fn what_is_set_aside_is_said_at_both_ends(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    pair.in_step().await;
    assert_eq!((code(&pair.child), code(&pair.parent)), (Some(0), Some(0)));
    assert!(pair.child.says(&["status"]).ends_with("\nin step: yes\n"));

    pair.parent_server
        .sql("ALTER TABLE openmrs.location MODIFY address6 VARCHAR(3)")
        .await
        .unwrap();
    pair.at_child("UPDATE location SET address6 = 'much too long' LIMIT 1").await;
    until(&pair.child, "the child is told", |status| {
        status["links"][0]["set_aside"]["quarantined"] == 1
    })
    .await;
    pair.in_step().await;
    // Everything is acknowledged, so the child is in step; but not without a word.
    assert_eq!(code(&pair.child), Some(1));
    let said = pair.child.says(&["status"]);
    assert!(said.contains("set aside there: 0 parked, 1 quarantined"), "{said}");
    assert!(said.contains("\nin step: yes, but set aside at parent: 1\n"), "{said}");
    let status = pair.parent.status();
    assert_eq!((code(&pair.parent), &status["in_step"]), (Some(1), &false.into()), "{status:#}");
    let problem = status["problems"][0].as_str().unwrap();
    assert_eq!(problem, "quarantined here: 1 (headwater quarantine list)");

    pair.parent_server
        .sql("ALTER TABLE openmrs.location MODIFY address6 VARCHAR(255)")
        .await
        .unwrap();
    let list = pair.parent.says(&["quarantine", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_u64().unwrap_or_else(|| panic!("{list:#}")).to_string();
    pair.parent.says(&["quarantine", "retry", &id]);
    assert_eq!(code(&pair.parent), Some(0), "{}", pair.parent.says(&["status"]));
    // Said at the next hello, which is in a minute, or now.
    pair.link.cut();
    until(&pair.child, "the child is told", |status| {
        status["links"][0]["set_aside"]["quarantined"] == 0
    })
    .await;
    assert_eq!(code(&pair.child), Some(0), "{}", pair.child.says(&["status"]));
    pair.must_be_equal().await;

    let heard = "headwater_link_last_contact_timestamp_seconds{link=\"clinic-12\"}";
    for tries in 0.. {
        if pair.parent.figure(heard) > 1_700_000_000 {
            break;
        }
        assert!(tries < 100, "the parent shows no last contact");
        edge::sleep(Duration::from_millis(200)).await;
    }
}

async fn a_parent_restored_while_its_child_has_nothing_to_send_is_sent_what_it_lost(
    flavor: Flavor,
) {
    let mut pair = Pair::start(flavor).await;
    // What the backup has, so that there is a watermark in it.
    pair.at_child("UPDATE location SET address6 = 'before' ORDER BY location_id LIMIT 1").await;
    pair.in_step().await;
    let backup = "CREATE TABLE openmrs.backup_location AS SELECT * FROM openmrs.location; \
                  CREATE TABLE openmrs.backup_watermark AS SELECT * FROM headwater.watermark";
    pair.parent_server.sql(backup).await.unwrap();
    pair.at_child("UPDATE location SET address6 = 'since' ORDER BY location_id LIMIT 1").await;
    pair.in_step().await;
    // Rows and watermark as they were, as one dump of both schemas brings them back.
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    let restore = "UPDATE openmrs.location l JOIN openmrs.backup_location b USING (location_id) \
                   SET l.address6 = b.address6; \
                   UPDATE headwater.watermark w JOIN headwater_backup b USING (node) \
                   SET w.sequence = b.sequence, w.batch = b.batch; \
                   DROP TABLE openmrs.backup_location, openmrs.backup_watermark";
    let restore = restore.replace("headwater_backup", "openmrs.backup_watermark");
    pair.parent_server.sql(&restore).await.unwrap();
    let since = "SELECT COUNT(*) FROM location WHERE address6 = 'since'";
    assert_eq!(pair.parent_says(since).await.as_deref(), Some("0"));
    pair.parent.start();
    for tries in 0.. {
        if pair.parent_says(since).await.as_deref() == Some("1") {
            break;
        }
        assert!(tries < 150, "it was not sent again\n{}", pair.child.log());
        edge::sleep(Duration::from_millis(200)).await;
    }
    pair.must_be_equal().await;
}

on_both!(
    what_is_set_aside_is_said_at_both_ends,
    a_parent_restored_while_its_child_has_nothing_to_send_is_sent_what_it_lost,
);
