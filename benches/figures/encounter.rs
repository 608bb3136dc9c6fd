//! (d) One encounter, 14 rows in 5 tables: from the answer to its COMMIT at the child until a query
//! at the parent finds it, on a good link; and the same with native replication.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headwater_rig::{Server, edge};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use rand::RngExt as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::report::{Report, median, milliseconds, percentile, tell};
use crate::site::{DATABASE, Site};

const REPETITIONS: usize = 100;
/// How often the parent is asked.
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_mins(1);
const OBSERVATIONS: usize = 10;

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(d) one encounter at a time");
    site.in_step().await?;
    let ours = series(&site.child_server, &site.parent_server).await?;
    site.child.stop().await?;
    site.parent.stop().await?;
    site.replica.start().await?;
    site.replica.caught_up(&site.child_server).await?;
    let native = series(&site.child_server, &site.replica.server).await?;
    site.replica.stop().await?;
    let line = |times: &[Duration]| {
        format!(
            "median {}, p99 {}",
            milliseconds(median(times)),
            milliseconds(percentile(times, 99))
        )
    };
    let found = [
        format!("headwater: {} (goal: median under 100 ms)", line(&ours)),
        format!("native replication: {}", line(&native)),
        format!("{REPETITIONS} encounters each"),
    ];
    let bound_by = "syncs one after the other (spool, parent's log) and the parent's round trips";
    report.figure('d', "one encounter until it is visible at the parent", &found, bound_by);
    Ok(())
}

async fn series(child: &Server, parent: &Server) -> Result<Vec<Duration>> {
    let mut here = child.conn(DATABASE).await?;
    let mut there = parent.conn(DATABASE).await?;
    let mut times = Vec::with_capacity(REPETITIONS);
    // The first few warm up connections, plans and caches on the way.
    for number in 0..REPETITIONS + 3 {
        let took = one(&mut here, &mut there).await?;
        if number >= 3 {
            times.push(took);
        }
        let pause = Duration::from_millis(rand::rng().random_range(50..250));
        edge::sleep(pause).await;
    }
    here.disconnect().await?;
    there.disconnect().await?;
    Ok(times)
}

async fn one(here: &mut Conn, there: &mut Conn) -> Result<Duration> {
    let last = Uuid::new_v4();
    // Prepared, and the plan made, before time is taken.
    ensure!(!found(there, last).await?, "a uuid that is not new");
    here.query_drop(encounter(last)).await.context("the encounter was refused")?;
    let committed = Instant::now();
    while !found(there, last).await? {
        ensure!(committed.elapsed() < PATIENCE, "an encounter did not arrive");
        edge::sleep(PAUSE).await;
    }
    Ok(committed.elapsed())
}

async fn found(there: &mut Conn, uuid: Uuid) -> Result<bool> {
    let row: Option<u8> =
        there.exec_first("SELECT 1 FROM obs WHERE uuid = ?", (uuid.to_string(),)).await?;
    Ok(row.is_some())
}

/// A visit, an encounter, its provider, ten observations and a condition. `last` is the uuid of the last
/// observation.
pub(crate) fn encounter(last: Uuid) -> String {
    let new = || Uuid::new_v4().to_string();
    let mut obs = Vec::new();
    for number in 1..=OBSERVATIONS {
        let uuid = if number == OBSERVATIONS { last.to_string() } else { new() };
        obs.push(format!("('{uuid}', @p, @c, @e, NOW(), @l, {number}.5, @u, NOW())"));
    }
    format!(
        "SET @p = (SELECT MIN(patient_id) FROM patient), @u = (SELECT MIN(user_id) FROM users), \
         @l = (SELECT MIN(location_id) FROM location), @c = (SELECT MIN(concept_id) FROM concept);\n\
         BEGIN;\n\
         INSERT INTO visit (uuid, patient_id, visit_type_id, date_started, location_id, creator, \
         date_created) VALUES ('{}', @p, (SELECT MIN(visit_type_id) FROM visit_type), NOW(), @l, @u, \
         NOW());\n\
         SET @v = LAST_INSERT_ID();\n\
         INSERT INTO encounter (uuid, encounter_type, patient_id, location_id, encounter_datetime, \
         visit_id, creator, date_created) VALUES ('{}', \
         (SELECT MIN(encounter_type_id) FROM encounter_type), @p, @l, NOW(), @v, @u, NOW());\n\
         SET @e = LAST_INSERT_ID();\n\
         INSERT INTO encounter_provider (uuid, encounter_id, provider_id, encounter_role_id, creator, \
         date_created) VALUES ('{}', @e, (SELECT MIN(provider_id) FROM provider), \
         (SELECT MIN(encounter_role_id) FROM encounter_role), @u, NOW());\n\
         INSERT INTO conditions (uuid, patient_id, encounter_id, condition_coded, clinical_status, \
         creator, date_created) VALUES ('{}', @p, @e, @c, 'ACTIVE', @u, NOW());\n\
         INSERT INTO obs (uuid, person_id, concept_id, encounter_id, obs_datetime, location_id, \
         value_numeric, creator, date_created) VALUES {};\n\
         COMMIT",
        new(),
        new(),
        new(),
        new(),
        obs.join(", ")
    )
}
