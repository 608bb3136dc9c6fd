//! The repair by hand of docs/operator.md, 'When the log does not fit the position', word for word.

use headwater_rig::{Flavor, edge};

use super::{SERVERS, purge};
use crate::nodes::Pair;
use crate::support::ledger::EXACT;
use crate::support::on_all;

/// What the child's status says that capture waits for, once it does.
async fn waits_for(pair: &Pair, part: &str) {
    for _ in 0..300 {
        let status = pair.child.status();
        let words = status["capture"]["waits_for"].as_str().unwrap_or_default().to_owned();
        if words.contains(part) {
            assert_eq!(status["in_step"], false);
            return;
        }
        edge::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{:#}\n{}", pair.child.status(), pair.child.log());
}

/// The rows that `compare` names, indented below their table: table, identity, and whether the
/// parent has none.
fn named(said: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    let mut table = "";
    for line in said.lines() {
        if let Some(row) = line.strip_prefix("  ") {
            let identity = row.split_whitespace().next().unwrap();
            found.push((table.to_owned(), identity.to_owned(), row.ends_with("is missing there")));
        } else {
            table = line.split(':').next().unwrap_or_default();
        }
    }
    found
}

async fn a_purged_log_is_repaired_as_the_docs_say(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.at_child(
        "INSERT INTO location (name, description, creator, date_created, uuid)
           SELECT 'Closed ward', 'sent', MIN(user_id), '2026-01-01',
             '10570000-0000-4000-8000-000000000003' FROM users;
         UPDATE location SET description = 'before'",
    )
    .await;
    pair.in_step().await;
    assert_eq!(pair.child.terminate(), Some(0));
    // Headwater is off, and the log of this time is deleted.
    pair.at_child(
        "UPDATE location SET description = 'lost' ORDER BY location_id LIMIT 2;
         DELETE FROM location WHERE name = 'Closed ward';
         INSERT INTO location (name, description, creator, date_created, uuid)
           SELECT 'Lost ward', 'new', MIN(user_id), '2026-01-01',
             '10570000-0000-4000-8000-000000000001' FROM users;
         INSERT INTO location (name, description, creator, date_created, uuid, parent_location)
           SELECT 'Lost bed', 'new', MIN(creator), '2026-01-01',
             '10570000-0000-4000-8000-000000000002', MAX(location_id) FROM location;
         FLUSH LOGS",
    )
    .await;
    purge(&pair.child_server).await;
    pair.child.start();
    waits_for(&pair, "'A purged log' in docs/operator.md").await;

    // 1. Let the child send what it has.
    let status = pair.child.status();
    assert_eq!(status["links"][0]["waiting_transactions"], 0, "{status:#}");
    // 2. Begin anew.
    assert_eq!(pair.child.terminate(), Some(0));
    let data = pair.child.config.with_file_name("data");
    std::fs::rename(&data, data.with_file_name("data.old")).unwrap();
    pair.parent.says(&["revoke", "clinic-12"]);
    let token = pair.parent.says(&["invite", "clinic-12"]);
    pair.child.says(&["join", token.lines().last().unwrap()]);
    pair.child.start();
    pair.captures().await;
    pair.in_step().await;
    // 3. Name the rows that differ, and change each of them and back.
    let with = pair.parent.config.to_str().unwrap().to_owned();
    let output = pair.child.command(&["compare", "--with", &with, "--subset", "--show", "100000"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = named(&said);
    assert_eq!(rows.len(), 4, "{said}");
    assert_eq!(rows.iter().filter(|(_, _, missing)| *missing).count(), 2, "{said}");
    for (table, identity, _) in &rows {
        let of = format!("WHERE uuid = '{identity}'");
        pair.at_child(&format!(
            "UPDATE {table} SET description = CONCAT(description, ' ') {of};
             UPDATE {table} SET description = TRIM(TRAILING ' ' FROM description) {of}"
        ))
        .await;
    }
    // What the parent lacks is asked for, row by row.
    for _ in 0..300 {
        pair.in_step().await;
        if pair.compare_code() == Some(0) {
            break;
        }
        edge::sleep(std::time::Duration::from_millis(200)).await;
    }
    // 4. What the clinic deleted is still there, among the rows of others.
    let output = pair.child.command(&["compare", "--with", &with, "--show", "100000"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let deleted = "10570000-0000-4000-8000-000000000003";
    let left = said.lines().filter(|line| line.trim() == format!("{deleted} is missing here"));
    assert_eq!(left.count(), 1, "{said}");
    assert!(named(&said).len() > 100, "{said}");
    let delete = format!("DELETE FROM location WHERE uuid = '{deleted}'");
    pair.parent_server.sql_in("openmrs", &delete).await.unwrap();
    pair.must_be_equal().await;
    let parent = pair.parent.status();
    assert_eq!((&parent["parked"], &parent["quarantined"]), (&0.into(), &0.into()), "{parent}");
    SERVERS.settle("purged log, after the repair that operator.md describes", flavor, EXACT);
}

on_all!(a_purged_log_is_repaired_as_the_docs_say);
