//! Rows of another clinic, which a parent already has and this child doesn't.

#![expect(clippy::format_push_string, reason = "scripts read better in one piece than as writes")]

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;

use crate::clinic::Clinic;
use crate::server::Server;

/// The tables that a clinic's work fills, each with the id that its rows get there.
const NUMBERED: &[(&str, &str)] = &[
    ("person", "person_id"),
    ("person_name", "person_name_id"),
    ("person_address", "person_address_id"),
    ("person_attribute", "person_attribute_id"),
    ("patient_identifier", "patient_identifier_id"),
    ("relationship", "relationship_id"),
    ("users", "user_id"),
    ("visit", "visit_id"),
    ("visit_attribute", "visit_attribute_id"),
    ("encounter", "encounter_id"),
    ("encounter_provider", "encounter_provider_id"),
    ("encounter_diagnosis", "diagnosis_id"),
    ("conditions", "condition_id"),
    ("allergy", "allergy_id"),
    ("allergy_reaction", "allergy_reaction_id"),
    ("orders", "order_id"),
    ("obs", "obs_id"),
    ("note", "note_id"),
    ("patient_program", "patient_program_id"),
    ("patient_state", "patient_state_id"),
    ("concept_proposal", "concept_proposal_id"),
];

/// Tables whose rows have the id of a row in another table.
const DEPENDENT: &[(&str, &str, &str)] = &[
    ("patient", "patient_id", "person"),
    ("drug_order", "order_id", "orders"),
    ("test_order", "order_id", "orders"),
    ("user_role", "user_id", "users"),
    ("user_property", "user_id", "users"),
    ("concept_proposal_tag_map", "concept_proposal_id", "concept_proposal"),
];

/// The rows that [`other_patients`] made.
#[derive(Debug, Clone)]
pub struct OtherRows {
    /// Table, id column, ids above this one, up to this one.
    ranges: Vec<(&'static str, &'static str, u64, u64)>,
    digest: Vec<String>,
}

/// Lets another clinic work at this server until it has changed `rows` rows, so that ids at a parent
/// are used up by rows that no child has.
pub async fn other_patients(
    server: &Server,
    database: &str,
    seed: u64,
    rows: u64,
) -> Result<OtherRows> {
    let mut before = Vec::new();
    for (table, id) in NUMBERED {
        before.push(highest(server, database, table, id).await?);
    }
    let mut conn = server.conn(database).await?;
    Clinic::new(seed).until_rows(&mut conn, rows, |_| ()).await?;
    conn.disconnect().await?;
    let mut ranges = Vec::new();
    for ((table, id), low) in NUMBERED.iter().zip(before) {
        ranges.push((*table, *id, low, highest(server, database, table, id).await?));
    }
    for (table, id, of) in DEPENDENT {
        if let Some((_, _, low, high)) = ranges.iter().find(|range| range.0 == *of) {
            ranges.push((table, id, *low, *high));
        }
    }
    let mut others = OtherRows { ranges, digest: Vec::new() };
    others.digest = others.read_digest(server, database).await?;
    Ok(others)
}

impl OtherRows {
    /// Whether all of these rows are still what they were.
    pub async fn untouched(&self, server: &Server, database: &str) -> Result<bool> {
        Ok(self.read_digest(server, database).await? == self.digest)
    }

    /// Removes them, so that what is left can be compared with the child. The ids stay used up.
    pub async fn remove(&self, server: &Server, database: &str) -> Result<()> {
        let mut script = String::from("SET foreign_key_checks = 0; BEGIN;");
        for (table, id, low, high) in &self.ranges {
            script.push_str(&format!(
                "DELETE FROM `{table}` WHERE `{id}` > {low} AND `{id}` <= {high};"
            ));
        }
        script.push_str("COMMIT");
        server.sql_in(database, &script).await
    }

    /// For each table, the number of rows and a sum over all their values.
    async fn read_digest(&self, server: &Server, database: &str) -> Result<Vec<String>> {
        let mut conn = server.conn(database).await?;
        let mut digest = Vec::new();
        for (table, id, low, high) in &self.ranges {
            let columns: Vec<String> = conn
                .exec(
                    "SELECT column_name FROM information_schema.columns \
                     WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position",
                    (table,),
                )
                .await?;
            let values: Vec<String> =
                columns.iter().map(|name| format!("COALESCE(`{name}`, '\\0')")).collect();
            let line: Option<(u64, u64)> = conn
                .query_first(format!(
                    "SELECT COUNT(*), CAST(COALESCE(SUM(CRC32(CONCAT_WS('|', {}))), 0) AS UNSIGNED) \
                     FROM `{table}` WHERE `{id}` > {low} AND `{id}` <= {high}",
                    values.join(", ")
                ))
                .await?;
            let (count, sum) = line.context("no answer to a COUNT")?;
            digest.push(format!("{table} {count} {sum}"));
        }
        conn.disconnect().await?;
        Ok(digest)
    }
}

async fn highest(server: &Server, database: &str, table: &str, id: &str) -> Result<u64> {
    let answer =
        server.ask(database, &format!("SELECT COALESCE(MAX(`{id}`), 0) FROM `{table}`")).await?;
    Ok(answer.context("no answer to a MAX")?.parse()?)
}
