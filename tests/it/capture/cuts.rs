//! The log's connection is cut inside of every event: capture goes on from the end of the last
//! transaction that it has whole.

use headwater_rig::{Direction, Flavor, Link, ServerOptions};

use super::{Site, text, told, value};
use crate::support::{Capturing, capture_options, on_all, openmrs_map};

/// No event is shorter with what a packet adds to it, so each is hit.
const STEP_BYTES: usize = 23;
/// What one round of work is captured as: a transaction of several events, and one that commits itself.
const ROUND: [&str; 5] =
    ["Update location", "Insert location", "Update person", "Delete location", "Update location"];

fn work(round: u64) -> String {
    format!(
        "BEGIN;
         UPDATE location SET name = 'ward {round:06}' WHERE location_id = 12;
         INSERT INTO location (location_id, name, creator, date_created, uuid) VALUES
           (20, 'for a while', 7, '2026-01-01', 'c0ffee00-0000-4000-8000-000000{round:06}');
         UPDATE person SET cause_of_death_non_coded = '{round:06}' WHERE person_id = 41;
         DELETE FROM location WHERE location_id = 20;
         COMMIT;
         UPDATE location SET description = 'round {round:06}' WHERE location_id = 12"
    )
}

async fn a_cut_inside_of_every_event_loses_and_doubles_nothing(flavor: Flavor) {
    let Site { server, folder, capturing } =
        Site::start_with(flavor, ServerOptions::default()).await;
    capturing.stop().await;
    let link = Link::to_port(server.port()).await.unwrap();
    let mut options = capture_options(&server, "openmrs", openmrs_map());
    options.database.port = link.port();
    let capturing = Capturing::start(options, &folder).await;

    // The first rounds go through whole; what is asked once is asked in the first, so the second says how
    // many bytes the log takes.
    let mut bytes = 0;
    for round in 0..2 {
        let before = link.passed(Direction::Down);
        server.sql_in("openmrs", &work(round)).await.unwrap();
        capturing.until_head(2 * (round + 1)).await;
        bytes = link.passed(Direction::Down) - before;
    }
    let (mut rounds, before) = (2, link.connections());
    for cut_after in (1..bytes).step_by(STEP_BYTES) {
        link.cut_after(Direction::Down, cut_after);
        server.sql_in("openmrs", &work(rounds)).await.unwrap();
        rounds += 1;
        capturing.until_head(2 * rounds).await;
    }
    let (cuts, made) = (rounds - 2, link.connections() - before);
    println!("{flavor}: {bytes} bytes, {cuts} cuts, {made} connections");
    assert!(cuts > 20 && made >= cuts, "{flavor}: {bytes} bytes, {cuts} cuts, {made} connections");

    let all = capturing.transactions(2 * rounds).await;
    assert_eq!(all.len() as u64, 2 * rounds, "{flavor}");
    for (round, both) in all.chunks(2).enumerate() {
        assert_eq!(told(both), ROUND, "{flavor}: round {round}");
        let [first, second] = both else { unreachable!("there are as many as asked for") };
        let said = [
            value(&first.changes[0], "name"),
            value(&first.changes[2], "cause_of_death_non_coded"),
            value(&second.changes[0], "description"),
        ];
        let expected =
            [format!("ward {round:06}"), format!("{round:06}"), format!("round {round:06}")];
        assert_eq!(said, expected.map(|words| text(&words)), "{flavor}");
    }
    capturing.stop().await;
}

on_all!(a_cut_inside_of_every_event_loses_and_doubles_nothing);
