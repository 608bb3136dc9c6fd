//! What `headwater status` says at either end, and its exit code.

use std::time::Duration;

use headwater_rig::{Flavor, edge};
use mysql_async::prelude::Queryable as _;

use crate::nodes::{Node, Pair};
use crate::support::on_both;

fn code(node: &Node) -> Option<i32> {
    node.command(&["status"]).status.code()
}

/// Waits for something that a node has to say of itself.
pub(crate) async fn until(node: &Node, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
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

    let id = set_aside(&pair, "quarantine");
    is_shown(&pair, "quarantine", &id, ("address6", "much too long"));
    asked(&pair, &["parked", "show", &id], 2, "no change");
    asked(&pair, &["quarantine", "retry", &id], 1, "not yet: ");
    let tried = asked(&pair, &["quarantine", "retry", &id, "--json"], 1, "");
    let tried: serde_json::Value = serde_json::from_str(&tried).unwrap();
    assert_eq!((&tried["gone"], &tried["released"]), (&false.into(), &0.into()), "{tried}");
    pair.parent_server
        .sql("ALTER TABLE openmrs.location MODIFY address6 VARCHAR(255)")
        .await
        .unwrap();
    asked(&pair, &["quarantine", "retry", &id], 0, "applied; 1 changes in all");
    for again in ["show", "retry", "discard"] {
        let words = format!("no change {id} is quarantined: headwater quarantine list");
        asked(&pair, &["quarantine", again, &id], 2, &words);
    }
    asked(&pair, &["quarantine", "list"], 0, "nothing is quarantined");
    assert_eq!(code(&pair.parent), Some(0), "{}", pair.parent.says(&["status"]));
    what_waits_for_a_column_is_given_up(&pair).await;
    a_parent_that_lost_what_it_set_aside_says_so(&pair).await;
    // Said at the next hello, which is in a minute, or now.
    pair.link.cut();
    until(&pair.child, "the child is told", |status| {
        status["links"][0]["set_aside"] == serde_json::json!({"parked": 0, "quarantined": 0})
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

/// The number of the only change that is set aside at the parent.
fn set_aside(pair: &Pair, how: &str) -> String {
    let list = pair.parent.says(&[how, "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
    list[0]["id"].as_u64().unwrap_or_else(|| panic!("{list:#}")).to_string()
}

/// What the parent says to a command, with this exit code and these words.
fn asked(pair: &Pair, arguments: &[&str], code: i32, words: &str) -> String {
    let output = pair.parent.command(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
    assert!(all.contains(words), "{arguments:?}: {words}\nin {all}");
    said
}

/// Both ways of showing a change of a location that is set aside have its reason and this value.
fn is_shown(pair: &Pair, how: &str, id: &str, (column, value): (&str, &str)) {
    let listed = asked(pair, &[how, "list"], 0, &format!("{id}  update location "));
    let state = if how == "parked" { "parked" } else { "quarantined" };
    assert!(listed.ends_with(&format!("\n1 change is {state}\n")), "{listed}");
    let told = asked(pair, &[how, "show", id, "--json"], 0, column);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let reason = told["reason"].as_str().unwrap_or_else(|| panic!("{told:#}"));
    assert!(listed.contains(reason), "{reason}\nin {listed}");
    let shown = asked(pair, &[how, "show", id], 0, &format!("why: {reason}"));
    assert!(shown.starts_with("update location "), "{shown}");
    let line = shown.lines().find(|line| line.starts_with(&format!("  {column}: ")));
    assert!(line.is_some_and(|line| line.contains(value)), "{shown}");
    let columns = told["values"].as_array().unwrap();
    let told_value = columns.iter().find(|told| told["column"] == column);
    let told_value = told_value.unwrap_or_else(|| panic!("{told:#}"));
    assert!(told_value["value"].as_str().unwrap().contains(value), "{told:#}");
}

/// A value for a column that only the child has: parked, a difference, and given up in the end.
async fn what_waits_for_a_column_is_given_up(pair: &Pair) {
    pair.at_child(
        "ALTER TABLE location ADD COLUMN cot INT;
         UPDATE location SET cot = 5 ORDER BY location_id LIMIT 1",
    )
    .await;
    pair.in_step().await;
    let id = set_aside(pair, "parked");
    is_shown(pair, "parked", &id, ("cot", "5"));
    asked(pair, &["parked", "retry", &id], 1, "not yet: table location has no column cot here");
    let with = pair.parent.config.to_str().unwrap();
    let compared = pair.child.command(&["compare", "--subset", "--with", with]);
    let said = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert_eq!(compared.status.code(), Some(1), "{said}");
    assert!(said.contains("cot: \"5\" here, \"no such column\" there"), "{said}");
    let gone = asked(pair, &["parked", "discard", &id, "--json"], 0, "");
    let gone: serde_json::Value = serde_json::from_str(&gone).unwrap();
    assert_eq!(gone["gone"], true, "{gone}");
    asked(pair, &["parked", "show", &id], 2, &format!("no change {id} is parked"));
    asked(pair, &["parked", "list"], 0, "nothing is parked");
    // A column that is NULL everywhere is no difference; nor is one that is gone.
    pair.at_child("UPDATE location SET cot = NULL").await;
    assert_eq!(pair.compare_code(), Some(0));
    pair.at_child("ALTER TABLE location DROP COLUMN cot").await;
    pair.in_step().await;
}

async fn a_parent_that_lost_what_it_set_aside_says_so(pair: &Pair) {
    let rename = |from, to| format!("RENAME TABLE headwater.{from} TO headwater.{to}");
    pair.parent_server.sql(&rename("held", "away")).await.unwrap();
    let status = pair.parent.status();
    assert_eq!((code(&pair.parent), &status["in_step"]), (Some(1), &false.into()), "{status:#}");
    assert_eq!(status["quarantined"], serde_json::Value::Null);
    let said = pair.parent.says(&["status"]);
    assert!(said.contains("! what is set aside here cannot be told: "), "{said}");
    pair.parent_server.sql(&rename("away", "held")).await.unwrap();
    assert_eq!(code(&pair.parent), Some(0), "{}", pair.parent.says(&["status"]));
}

/// What a person sees of rows that stay where they are, until they are mended.
async fn rows_without_an_identity_are_counted_and_named(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    assert_eq!(pair.child.status()["capture"]["without_identity"], serde_json::json!([]));
    pair.at_child(
        "ALTER TABLE location MODIFY uuid CHAR(38) NULL;
         INSERT INTO location (name, creator, date_created)
           SELECT 'nobody''s', MIN(user_id), '2026-01-01' FROM users;
         UPDATE location SET address6 = 'seen' WHERE uuid IS NOT NULL LIMIT 1",
    )
    .await;
    until(&pair.child, "rows without an identity are told", |status| {
        status["capture"]["without_identity"]
            == serde_json::json!([{"table": "location", "column": "uuid", "rows": 1}])
    })
    .await;
    pair.in_step().await;
    assert_eq!(code(&pair.child), Some(1), "it is not passed over");
    let said = pair.child.says(&["status"]);
    assert!(said.contains("! 1 rows of location stay here, because their uuid is NULL"), "{said}");
    assert!(said.ends_with("\nin step: yes, but without an identity here: 1\n"), "{said}");
    assert_eq!(pair.child.figure("headwater_capture_rows_without_identity_total"), 1);

    // `map check` has the statement; the row travels when it has been run.
    let check = pair.child.command(&["map", "check"]);
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    let mend = "UPDATE `openmrs`.`location` SET `uuid` = UUID() WHERE `uuid` IS NULL";
    assert!(check.contains(mend), "{check}");
    pair.at_child(mend).await;
    pair.in_step().await;
    assert_eq!(code(&pair.child), Some(0), "{}", pair.child.says(&["status"]));
    let there = pair.parent_says("SELECT COUNT(*) FROM location WHERE name = 'nobody''s'").await;
    assert_eq!(there.as_deref(), Some("1"));
    pair.must_be_equal().await;
}

async fn a_parent_restored_while_its_child_has_nothing_to_send_is_sent_what_it_lost(
    flavor: Flavor,
) {
    let mut pair = Pair::start(flavor).await;
    // What the backup has, so that there is a watermark in it.
    pair.at_child("UPDATE location SET address6 = 'before' ORDER BY location_id LIMIT 1").await;
    pair.in_step().await;
    let backup = "CREATE TABLE openmrs.backup_location LIKE openmrs.location; \
                  INSERT INTO openmrs.backup_location SELECT * FROM openmrs.location; \
                  CREATE TABLE openmrs.backup_watermark LIKE headwater.watermark; \
                  INSERT INTO openmrs.backup_watermark SELECT * FROM headwater.watermark";
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

/// Waits for what a node answers to who asks whether it is healthy.
async fn is_healthy(node: &Node, answer: &str, words: &str) {
    let mut said = String::new();
    for _ in 0..150 {
        said = node.health();
        if said.starts_with(answer) && said.contains(words) {
            return;
        }
        edge::sleep(Duration::from_millis(200)).await;
    }
    panic!("{answer} {words}: {said}\n{}", node.log());
}

const WELL: &str = "HTTP/1.1 200";
const ILL: &str = "HTTP/1.1 503";

async fn a_parent_whose_database_is_away_is_not_healthy(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.in_step().await;
    is_healthy(&pair.parent, WELL, "ok").await;

    // However often it is asked, it asks its database once in a while.
    let connections = "SHOW GLOBAL STATUS WHERE Variable_name = 'Connections'";
    let count = async || {
        let mut conn = pair.parent_server.conn("openmrs").await.unwrap();
        let row: (String, u64) = conn.query_first(connections).await.unwrap().unwrap();
        conn.disconnect().await.unwrap();
        row.1
    };
    let before = count().await;
    let mut said = String::new();
    for _ in 0..200 {
        said = pair.parent.health();
    }
    let asked = count().await - before;
    assert!(said.starts_with(WELL), "{said}");
    assert!(asked < 10, "{asked} connections for 200 questions");

    pair.parent_server.freeze().unwrap();
    is_healthy(&pair.parent, ILL, "the database: ").await;
    assert!(pair.child.health().starts_with(WELL), "what it captures waits");
    pair.parent_server.thaw().unwrap();
    is_healthy(&pair.parent, WELL, "ok").await;

    pair.parent_server.kill9();
    is_healthy(&pair.parent, ILL, "cannot reach the database").await;
    // Nor is one that waits for it at its start.
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    pair.parent.start();
    is_healthy(&pair.parent, ILL, "cannot reach the database").await;
    pair.at_child("UPDATE location SET address6 = 'meanwhile' LIMIT 1").await;
    pair.parent_server.restart().await.unwrap();
    is_healthy(&pair.parent, WELL, "ok").await;
    pair.must_be_equal().await;
}

async fn all_that_a_revoked_child_left_is_given_up_at_once(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    pair.in_step().await;
    pair.parent_server
        .sql("ALTER TABLE openmrs.location MODIFY address6 VARCHAR(3)")
        .await
        .unwrap();
    pair.at_child(
        "ALTER TABLE location ADD COLUMN cot INT;
         UPDATE location SET cot = 5 ORDER BY location_id LIMIT 3;
         UPDATE location SET address6 = 'much too long' ORDER BY location_id DESC LIMIT 1",
    )
    .await;
    until(&pair.parent, "all is set aside", |status| {
        (&status["parked"], &status["quarantined"]) == (&3.into(), &1.into())
    })
    .await;
    let clinic = ["--node", "clinic-12"];
    let list = asked(&pair, &["parked", "list", clinic[0], clinic[1]], 0, "3 changes are parked");
    assert_eq!(list.matches("(from clinic-12, since ").count(), 3, "{list}");
    asked(&pair, &["parked", "list", "--node", "nobody"], 2, "no child named nobody");
    let none = uuid::Uuid::from_u128(1).to_string();
    asked(&pair, &["parked", "list", "--node", &none], 0, "nothing is parked");

    // Neither all of one that is let in, nor all of everybody.
    let discard = |how| [how, "discard", clinic[0], clinic[1]];
    asked(&pair, &discard("parked"), 2, "clinic-12 is let in");
    asked(&pair, &["parked", "discard"], 2, "required");
    asked(&pair, &["parked", "discard", "7", "--node", "clinic-12"], 2, "cannot be used with");
    pair.parent.says(&["revoke", "clinic-12"]);
    asked(&pair, &discard("parked"), 0, "given up: 3 parked changes of clinic-12\n");
    asked(&pair, &discard("parked"), 0, "nothing of clinic-12 is parked\n");
    asked(&pair, &["quarantine", "list"], 0, "1 change is quarantined");

    // Another machine has the name now; what the first one left goes by its id.
    let token = pair.parent.says(&["invite", "clinic-12"]);
    asked(&pair, &discard("quarantine"), 2, "has not joined");
    pair.another("successor").says(&["join", token.lines().last().unwrap()]);
    asked(&pair, &discard("quarantine"), 2, "clinic-12 is let in");
    let list = pair.parent.says(&["quarantine", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let first = list[0]["node"].as_str().unwrap();
    asked(&pair, &["quarantine", "list"], 0, &format!("(from {first}, since "));
    let gone = asked(&pair, &["quarantine", "discard", "--node", first, "--json"], 0, "");
    let gone: serde_json::Value = serde_json::from_str(&gone).unwrap();
    assert_eq!(gone, serde_json::json!({"node": first, "discarded": 1}));
    asked(&pair, &["quarantine", "list"], 0, "nothing is quarantined");
}

on_both!(
    a_parent_whose_database_is_away_is_not_healthy,
    all_that_a_revoked_child_left_is_given_up_at_once,
    what_is_set_aside_is_said_at_both_ends,
    rows_without_an_identity_are_counted_and_named,
    a_parent_restored_while_its_child_has_nothing_to_send_is_sent_what_it_lost,
);
