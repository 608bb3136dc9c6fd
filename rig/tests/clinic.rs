//! The clinic leaves a database that OpenMRS could work with, and nodes differ in ids, not in identities.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use headwater_rig::{Clinic, Flavor, Server, ServerOptions, found_servers, openmrs, tested_on};
use mysql_async::prelude::Queryable as _;

/// Every foreign key of the database, as a query for the rows that violate it.
async fn orphans(server: &Server) -> Vec<String> {
    let mut conn = server.conn("openmrs").await.unwrap();
    let keys: Vec<(String, String, String, String)> = conn
        .query(
            "SELECT table_name, column_name, referenced_table_name, referenced_column_name \
             FROM information_schema.key_column_usage \
             WHERE table_schema = 'openmrs' AND referenced_table_name IS NOT NULL",
        )
        .await
        .unwrap();
    assert!(keys.len() > 440, "{} foreign keys", keys.len());
    let mut found = Vec::new();
    for (table, column, target, id) in keys {
        let count: Option<u64> = conn
            .query_first(format!(
                "SELECT COUNT(*) FROM `{table}` a LEFT JOIN `{target}` b ON a.`{column}` = b.`{id}` \
                 WHERE a.`{column}` IS NOT NULL AND b.`{id}` IS NULL"
            ))
            .await
            .unwrap();
        if count != Some(0) {
            found.push(format!("{table}.{column} -> {target}: {count:?}"));
        }
    }
    found
}

async fn leaves_a_sound_database(flavor: Flavor) {
    if !tested_on(flavor) {
        return;
    }
    let options = || ServerOptions { sync_binlog: 0, ..ServerOptions::default() };
    let child = Server::start_with_openmrs(flavor, options()).await.unwrap();
    let parent = Server::start_with_openmrs(flavor, options()).await.unwrap();
    openmrs::seed(&child, "openmrs", 0).await.unwrap();
    openmrs::seed(&parent, "openmrs", 5000).await.unwrap();
    assert_eq!(orphans(&parent).await, Vec::<String>::new());
    let whose = "SELECT GROUP_CONCAT(CONCAT(uuid, name) ORDER BY uuid) FROM location";
    assert_eq!(
        child.ask("openmrs", whose).await.unwrap(),
        parent.ask("openmrs", whose).await.unwrap()
    );
    let ids = "SELECT GROUP_CONCAT(location_id ORDER BY uuid) FROM location";
    assert_ne!(child.ask("openmrs", ids).await.unwrap(), parent.ask("openmrs", ids).await.unwrap());

    let others = openmrs::other_patients(&parent, "openmrs", 99, 1000).await.unwrap();
    assert!(others.untouched(&parent, "openmrs").await.unwrap());
    others.remove(&parent, "openmrs").await.unwrap();
    assert!(!others.untouched(&parent, "openmrs").await.unwrap());
    assert_eq!(orphans(&parent).await, Vec::<String>::new());
    let left = parent.ask("openmrs", "SELECT COUNT(*) FROM obs").await.unwrap();
    assert_eq!(left.as_deref(), Some("0"));

    let mut clinic = Clinic::new(7);
    let mut conn = child.conn("openmrs").await.unwrap();
    let start = tokio::time::Instant::now();
    clinic.until_rows(&mut conn, 12_000, |_| ()).await.unwrap();
    eprintln!(
        "{flavor}: {} row changes in {} transactions, {:?}",
        clinic.rows(),
        clinic.transactions(),
        start.elapsed()
    );
    assert_eq!(orphans(&child).await, Vec::<String>::new());
    for table in [
        "patient",
        "person_attribute",
        "visit_attribute",
        "relationship",
        "allergy_reaction",
        "note",
        "encounter_diagnosis",
        "conditions",
        "drug_order",
        "test_order",
        "patient_state",
        "user_role",
        "user_property",
        "concept_proposal_tag_map",
    ] {
        let rows =
            child.ask("openmrs", &format!("SELECT COUNT(*) FROM {table}")).await.unwrap().unwrap();
        eprintln!("{flavor}: {table} {rows}");
        assert_ne!(rows, "0", "{table} is empty");
    }
    let edited = "SELECT COUNT(*) FROM obs o JOIN obs p ON p.obs_id = o.previous_version \
                  WHERE p.voided = 1 AND o.obs_group_id IS NOT NULL";
    assert_ne!(child.ask("openmrs", edited).await.unwrap().as_deref(), Some("0"));
}

#[tokio::test]
async fn work_leaves_a_sound_mysql() {
    leaves_a_sound_database(Flavor::Mysql97).await;
}

#[tokio::test]
async fn work_leaves_a_sound_mariadb() {
    leaves_a_sound_database(Flavor::Mariadb1011).await;
}

#[tokio::test]
async fn the_same_seed_does_the_same_work() {
    let mut sums = Vec::new();
    for _ in 0..2 {
        let flavor = *found_servers().first().unwrap();
        let server = Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
        openmrs::seed(&server, "openmrs", 0).await.unwrap();
        let mut conn = server.conn("openmrs").await.unwrap();
        Clinic::new(3).work(&mut conn, 150).await.unwrap();
        let sum = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT_WS('|', uuid, obs_id, concept_id, \
                   person_id, value_numeric, value_text, obs_datetime, voided)))) FROM obs";
        sums.push(server.ask("openmrs", sum).await.unwrap().unwrap());
    }
    assert_eq!(sums[0], sums[1]);
}

#[tokio::test]
async fn work_goes_on_through_a_kill_of_the_server_and_counts_right() {
    for flavor in [Flavor::Mysql97, Flavor::Mariadb1011] {
        if !tested_on(flavor) {
            continue;
        }
        let options = ServerOptions::default();
        let mut server = Server::start_with_openmrs(flavor, options).await.unwrap();
        openmrs::seed(&server, "openmrs", 0).await.unwrap();
        let work = Clinic::new(11).go(server.port(), "openmrs", None);
        for _ in 0..3 {
            let before = work.rows();
            while work.rows() < before + 300 {
                assert!(!work.has_ended());
                headwater_rig::edge::sleep(std::time::Duration::from_millis(20)).await;
            }
            server.kill9();
            server.restart().await.unwrap();
        }
        let clinic = work.stop().await.unwrap();
        assert!(clinic.rows() > 900);
        assert_eq!(orphans(&server).await, Vec::<String>::new());
    }
}
