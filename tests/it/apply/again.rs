//! What is tried again: whose, when, and that one that cannot be tried stops no other.

use std::time::{Duration, Instant};

use headwater::apply::{Error, Limits, State};
use headwater::change::{Change, NodeId};
use headwater::schema_map::MapFile;
use headwater::value::Value;
use headwater_rig::edge;
use mysql_async::prelude::Queryable as _;

use super::on_both;
use super::stage::*;

on_both!(
    a_table_taken_out_of_the_map_stops_nobody,
    a_row_that_cannot_be_tried_keeps_no_other_from_it,
    what_a_revoked_node_parked_is_not_applied_over_what_its_successor_sent,
    a_key_held_by_a_row_that_waits_to_change_is_waited_for,
    a_row_held_by_one_that_waits_to_move_is_waited_for,
    a_row_that_another_link_brings_meanwhile_is_updated,
    a_row_whose_new_name_waits_does_not_come_to_be_twice,
    the_rest_of_a_chain_is_tried_once_its_first_is_discarded,
    all_of_one_state_is_discarded_of_one_node_and_the_rest_has_its_turn,
    what_comes_while_the_first_of_a_chain_is_discarded_does_not_wait_for_ever,
    a_row_that_somebody_has_locked_does_not_hold_its_link,
    a_row_that_the_targets_own_keys_took_along_is_not_made_up,
);

const TABLES: &str = "
CREATE TABLE site (site_id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE);
CREATE TABLE ward (ward_id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE);
CREATE TABLE bed (
  bed_id INT PRIMARY KEY AUTO_INCREMENT, place INT NOT NULL UNIQUE, ward INT, site INT, tilt INT,
  uuid CHAR(36) NOT NULL UNIQUE, FOREIGN KEY (ward) REFERENCES ward (ward_id),
  FOREIGN KEY (site) REFERENCES site (site_id) ON DELETE CASCADE);
CREATE TABLE linen (
  linen_id INT PRIMARY KEY AUTO_INCREMENT, bed INT NOT NULL, uuid CHAR(36) NOT NULL UNIQUE,
  FOREIGN KEY (bed) REFERENCES bed (bed_id))";

/// The map of those tables, in which linen goes this way.
fn map(linen: &str) -> MapFile {
    let text = format!(
        "version = 1\n[defaults]\nidentity = \"uuid\"\nclass = \"ward\"\n\
         [classes.ward]\ndirection = \"up\"\n[classes.laundry]\ndirection = \"{linen}\"\n\
         [tables]\nsite = {{}}\nward = {{}}\nbed = {{ left_out = [\"site\"] }}\n\
         linen = {{ class = \"laundry\" }}\n"
    );
    MapFile::parse(&text, "wards.toml").unwrap()
}

async fn wards(stage: &Stage) -> Stage {
    let database = format!("again_{}", uuid().replace('-', ""));
    stage.sql(&format!("CREATE DATABASE {database}; USE {database}; {TABLES}")).await;
    let stage = Stage::with_map_alone(stage.flavor, stage.server, &database, map("up")).await;
    assert!(stage.map.problems.iter().all(|problem| !problem.fatal), "{:?}", stage.map.problems);
    stage
}

fn site(id: &str) -> Row {
    insert("site", id, vec![])
}

fn ward(id: &str) -> Row {
    insert("ward", id, vec![])
}

fn bed(id: &str, place: i64) -> Row {
    insert("bed", id, vec![("place", Value::Int(place))])
}

fn linen(id: &str, bed: &str) -> Row {
    insert("linen", id, vec![("bed", refer("bed", bed))])
}

async fn sql(stage: &Stage, statements: &str) {
    stage.server.sql_in(&stage.database, statements).await.unwrap();
}

async fn ask(stage: &Stage, query: &str) -> String {
    stage.server.ask(&stage.database, query).await.unwrap().unwrap_or_default()
}

async fn nothing_waits(stage: &Stage) {
    for state in [State::Parked, State::Quarantined] {
        let waiting = stage.waiting(state).await;
        assert!(waiting.is_empty(), "{waiting:?}");
    }
}

async fn a_table_taken_out_of_the_map_stops_nobody(stage: Stage) {
    let stage = wards(&stage).await;
    let (a, b, sheet) = (uuid(), uuid(), uuid());
    let report = stage.try_send(&[vec![linen(&sheet, &a)]]).await.unwrap();
    assert_eq!(report.parked, 1, "{report:?}");

    let stage = stage.anew(Limits::default(), map("none")).await;
    // The bed releases the sheet, which may not be written any more.
    let report = stage.try_send(&[vec![bed(&a, 1)]]).await.unwrap();
    assert_eq!((report.rows, report.released, report.held), (1, 0, 0), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert_eq!(waiting.len(), 1);
    let reason = &waiting[0].reason;
    assert!(reason.contains("linen") && reason.contains("discard"), "{reason}");
    // What was captured before the table was taken out, and comes now.
    let late = [vec![linen(&uuid(), &a)], vec![bed(&b, 2)]];
    let error = stage.try_send(&late).await.unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, Error::Refused(_)) && words.contains("let it in again"), "{words}");

    let stage = stage.anew(Limits::default(), map("up")).await;
    assert_eq!(stage.try_send(&late).await.unwrap().rows, 2);
    assert_eq!(stage.applier.retry(waiting[0].id).await.unwrap().unwrap().released, 1);
    assert_eq!(ask(&stage, "SELECT COUNT(*) FROM linen").await, "2");
}

async fn a_row_that_cannot_be_tried_keeps_no_other_from_it(stage: Stage) {
    let stage = wards(&stage).await;
    let other = stage.beside(map("up")).await;
    let beds: Vec<String> = (0..6).map(|_| uuid()).collect();
    let sheets: Vec<String> = beds.iter().map(|_| uuid()).collect();
    let rows: Vec<Row> = sheets.iter().zip(&beds).map(|(sheet, bed)| linen(sheet, bed)).collect();
    assert_eq!(stage.try_send(&[rows[..5].to_vec()]).await.unwrap().parked, 5);
    assert_eq!(other.try_send(&[rows[5..].to_vec()]).await.unwrap().parked, 1);
    for (place, id) in beds.iter().enumerate() {
        sql(&stage, &format!("INSERT INTO bed (place, uuid) VALUES ({place}, '{id}')")).await;
    }
    // As if a privilege were missing, for one of them.
    let trigger = format!(
        "CREATE TRIGGER denied BEFORE INSERT ON linen FOR EACH ROW IF NEW.uuid = '{}' THEN SIGNAL \
         SQLSTATE '42000' SET MYSQL_ERRNO = 1142, MESSAGE_TEXT = 'INSERT command denied'; END IF",
        sheets[2]
    );
    let mut conn = stage.server.conn(&stage.database).await.unwrap();
    conn.query_drop(trigger).await.unwrap();
    let nodes = [stage.peer.node, other.peer.node];
    let again = async || stage.applier.retry_parked(Duration::ZERO, &nodes).await.unwrap();
    let retried = again().await;
    assert_eq!((retried.released, retried.untried), (5, 1), "{retried:?}");
    let waiting = stage.waiting(State::Parked).await;
    assert_eq!(waiting.len(), 1);
    let reason = &waiting[0].reason;
    assert!(reason.contains("cannot be tried") && reason.contains("1142"), "{reason}");
    conn.query_drop("DROP TRIGGER denied").await.unwrap();
    conn.disconnect().await.unwrap();
    assert_eq!(again().await.released, 1);
    nothing_waits(&stage).await;
}

async fn what_a_revoked_node_parked_is_not_applied_over_what_its_successor_sent(stage: Stage) {
    let former = wards(&stage).await;
    let (id, missing) = (uuid(), uuid());
    former.send(&[vec![bed(&id, 1)]]).await;
    let old = update("bed", &id, vec![("tilt", Value::Int(10)), ("ward", refer("ward", &missing))]);
    assert_eq!(former.try_send(&[vec![old]]).await.unwrap().parked, 1);
    let successor = former.beside(map("up")).await;
    let newer = with(&bed(&id, 1), vec![("tilt", Value::Int(20)), ("ward", Value::Null)]);
    successor.send(&[vec![newer]]).await;
    // What the former one's change waits for comes by another way.
    sql(&former, &format!("INSERT INTO ward (uuid) VALUES ('{missing}')")).await;
    let tilt = "SELECT tilt FROM bed";
    assert_eq!(successor.retry_parked().await.released, 0);
    let none = successor.applier.retry_parked(Duration::ZERO, &[]).await.unwrap();
    assert_eq!((none.released, &*ask(&former, tilt).await), (0, "20"));
    assert_eq!(former.waiting(State::Parked).await.len(), 1);
    // A link in use has what it parked applied.
    assert_eq!(former.retry_parked().await.released, 1);
    assert_eq!(ask(&former, tilt).await, "10");
}

async fn a_key_held_by_a_row_that_waits_to_change_is_waited_for(stage: Stage) {
    let stage = wards(&stage).await;
    let (a, b, c, hall, annex) = (uuid(), uuid(), uuid(), uuid(), uuid());
    stage.send(&[vec![bed(&a, 1)]]).await;
    let moved = |ward: &str, place| {
        update("bed", &a, vec![("ward", refer("ward", ward)), ("place", Value::Int(place))])
    };
    let sheet = linen(&uuid(), &b);
    let report = stage.try_send(&[vec![moved(&hall, 2)], vec![bed(&b, 1), sheet]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (3, 0), "{report:?}");
    // Nobody is asked for what is in the way, nor for the bed that came and waits itself.
    let wanted = stage.applier.wanted(stage.peer.node, 9).await.unwrap();
    let tables: Vec<&str> = wanted.iter().map(|wanted| &*wanted.table).collect();
    assert_eq!(tables, ["ward"]);
    let report = stage.send(&[vec![ward(&hall)]]).await;
    assert_eq!(report.released, 3, "{report:?}");
    assert_eq!(ask(&stage, "SELECT GROUP_CONCAT(place ORDER BY bed_id) FROM bed").await, "2,1");
    nothing_waits(&stage).await;

    // In the same way in a batch of its own, and what no change will ever move needs a person.
    let first = stage.try_send(&[vec![moved(&annex, 3)]]).await.unwrap();
    let second = stage.try_send(&[vec![bed(&c, 1)]]).await.unwrap();
    assert_eq!((first.parked, second.parked, second.quarantined), (1, 1, 0), "{second:?}");
    let report = stage.try_send(&[vec![ward(&annex)]]).await.unwrap();
    assert_eq!(report.released, 1, "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert_eq!((waiting.len(), &*waiting[0].identity), (1, &*c));
    assert!(waiting[0].reason.contains("1062"), "{}", waiting[0].reason);
}

async fn a_row_held_by_one_that_waits_to_move_is_waited_for(stage: Stage) {
    let stage = wards(&stage).await;
    let (old, new, sheet) = (uuid(), uuid(), uuid());
    stage.send(&[vec![bed(&old, 1), linen(&sheet, &old)]]).await;
    let moved = update("linen", &sheet, vec![("bed", refer("bed", &new))]);
    let report = stage.try_send(&[vec![moved], vec![delete("bed", &old)]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (2, 0), "{report:?}");
    let report = stage.send(&[vec![bed(&new, 2)]]).await;
    assert_eq!(report.released, 2, "{report:?}");
    assert_eq!(ask(&stage, "SELECT GROUP_CONCAT(uuid) FROM bed").await, new);
    nothing_waits(&stage).await;
}

/// Between the lookup and the insert of a row, somebody else commits it.
async fn a_row_that_another_link_brings_meanwhile_is_updated(stage: Stage) {
    let stage = wards(&stage).await;
    let id = uuid();
    let mut conn = stage.server.conn(&stage.database).await.unwrap();
    conn.query_drop("START TRANSACTION").await.unwrap();
    conn.query_drop("INSERT INTO bed (place, tilt, uuid) VALUES (7, 1, 'meanwhile')")
        .await
        .unwrap();
    let ours = with(&bed(&id, 7), vec![("tilt", Value::Int(2))]);
    let batch = [vec![ours]];
    let theirs = async {
        until_at_work(&stage, "INSERT INTO%bed%", Duration::from_mins(1)).await;
        conn.query_drop(format!("UPDATE bed SET uuid = '{id}' WHERE place = 7")).await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
    };
    let (report, ()) = tokio::join!(stage.try_send(&batch), theirs);
    let report = report.unwrap();
    assert_eq!((report.held, report.rows), (0, 1), "{report:?}");
    assert_eq!(ask(&stage, "SELECT CONCAT(COUNT(*), ' ', SUM(tilt)) FROM bed").await, "1 2");
    conn.disconnect().await.unwrap();
}

async fn a_row_whose_new_name_waits_does_not_come_to_be_twice(stage: Stage) {
    let stage = wards(&stage).await;
    let (old, new, hall, sheet) = (uuid(), uuid(), uuid(), uuid());
    stage.send(&[vec![bed(&old, 1)]]).await;
    let moved = update("bed", &old, vec![("ward", refer("ward", &hall))]);
    let renamed =
        Change { previous: Some(one(&old)), ..update("bed", &new, vec![("tilt", Value::Int(5))]) };
    let report =
        stage.try_send(&[vec![moved], vec![renamed], vec![linen(&sheet, &new)]]).await.unwrap();
    assert_eq!(report.parked, 3, "{report:?}");
    // The sheet's bed is asked for, and comes whole.
    let whole = with(&bed(&new, 3), vec![("tilt", Value::Int(6))]);
    let report = stage.try_send(&[vec![whole]]).await.unwrap();
    assert_eq!((report.superseded, report.held), (0, 1), "{report:?}");
    stage.try_send(&[vec![ward(&hall)]]).await.unwrap();
    stage.retry_parked().await;
    nothing_waits(&stage).await;
    let beds = "SELECT GROUP_CONCAT(CONCAT(uuid, ' ', place, ' ', tilt)) FROM bed";
    assert_eq!(ask(&stage, beds).await, format!("{new} 3 6"));
}

async fn the_rest_of_a_chain_is_tried_once_its_first_is_discarded(stage: Stage) {
    let stage = wards(&stage).await;
    let (a, b) = (uuid(), uuid());
    stage.send(&[vec![bed(&a, 1), bed(&b, 2)]]).await;
    let taken = update("bed", &b, vec![("place", Value::Int(1))]);
    let tilted = |tilt| update("bed", &b, vec![("tilt", Value::Int(tilt))]);
    let report = stage.try_send(&[vec![taken], vec![tilted(1)], vec![tilted(2)]]).await.unwrap();
    assert_eq!(report.quarantined, 3, "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    // Not the first: what is before it still is in its way.
    assert!(stage.applier.discard(waiting[2].id).await.unwrap());
    assert_eq!(stage.waiting(State::Quarantined).await.len(), 2);
    assert!(stage.applier.discard(waiting[0].id).await.unwrap());
    assert_eq!(stage.retry_parked().await.released, 1);
    nothing_waits(&stage).await;
    assert_eq!(
        ask(&stage, "SELECT CONCAT(place, ' ', tilt) FROM bed WHERE place = 2").await,
        "2 1"
    );
}

async fn all_of_one_state_is_discarded_of_one_node_and_the_rest_has_its_turn(stage: Stage) {
    let stage = wards(&stage).await;
    let (a, b) = (uuid(), uuid());
    stage.send(&[vec![bed(&a, 1), bed(&b, 2)]]).await;
    let taken = update("bed", &b, vec![("place", Value::Int(1))]);
    let tilted = update("bed", &b, vec![("tilt", Value::Int(7))]);
    let nowhere = || update("bed", &uuid(), vec![("tilt", Value::Int(1))]);
    let batch = [vec![taken], vec![tilted], vec![nowhere()], vec![nowhere()]];
    let report = stage.try_send(&batch).await.unwrap();
    assert_eq!((report.quarantined, report.parked), (2, 2), "{report:?}");
    let node = stage.peer.node;
    let discard = async |state, node| stage.applier.discard_all(state, node).await.unwrap();
    assert_eq!(discard(State::Parked, NodeId(uuid::Uuid::new_v4())).await, 0);
    assert_eq!(discard(State::Parked, node).await, 2);
    assert_eq!(stage.waiting(State::Quarantined).await.len(), 2);

    // What waits behind one that is discarded has nothing against it any more.
    let first = stage.waiting(State::Quarantined).await[0].id;
    let held = format!("{}.held", stage.schema);
    stage.sql(&format!("UPDATE {held} SET state = 'parked' WHERE id = {first}")).await;
    assert_eq!(discard(State::Parked, node).await, 1);
    assert_eq!(stage.waiting(State::Parked).await.len(), 1);
    assert_eq!(stage.retry_parked().await.released, 1);
    nothing_waits(&stage).await;
    let beds = "SELECT GROUP_CONCAT(CONCAT(place, ' ', COALESCE(tilt, 0)) ORDER BY place) FROM bed";
    assert_eq!(ask(&stage, beds).await, "1 0,2 7");
}

/// Waits until the server works on a statement that looks like this, or for the most.
async fn until_at_work(stage: &Stage, like: &str, most: Duration) {
    let at_work = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{like}' AND command <> \
         'Sleep' AND db = '{}'",
        stage.database
    );
    let begun = Instant::now();
    while begun.elapsed() < most {
        // MySQL does not tell while the text of any statement at work cannot be converted.
        let seen = stage.server.ask(&stage.database, &at_work).await.ok().flatten();
        if seen.is_some_and(|count| count != "0") {
            return;
        }
        edge::sleep(Duration::from_millis(20)).await;
    }
}

/// A batch has seen the chain and sets a change aside behind it; the first of the chain is discarded
/// before the batch commits.
async fn what_comes_while_the_first_of_a_chain_is_discarded_does_not_wait_for_ever(stage: Stage) {
    let stage = wards(&stage).await;
    let (a, b) = (uuid(), uuid());
    stage.send(&[vec![bed(&a, 1), bed(&b, 2)]]).await;
    let taken = update("bed", &b, vec![("place", Value::Int(1))]);
    let tilted = |tilt| update("bed", &b, vec![("tilt", Value::Int(tilt))]);
    stage.try_send(&[vec![taken], vec![tilted(1)]]).await.unwrap();
    let waiting = stage.waiting(State::Quarantined).await;
    // The batch, as far as it has come: it has its link's lock, and has written what waits.
    let mut conn = stage.server.conn(&stage.schema).await.unwrap();
    conn.query_drop("START TRANSACTION").await.unwrap();
    let node = stage.peer.node;
    conn.query_drop(format!("SELECT * FROM watermark WHERE node = '{node}' FOR UPDATE"))
        .await
        .unwrap();
    let columns = "state, node, sequence, place, row_table, row_hash, row_identity, kind, reason, \
                   held_at, tried_at, content";
    conn.query_drop(format!(
        "INSERT INTO held ({columns}) SELECT {columns} FROM held WHERE id = {}",
        waiting[1].id
    ))
    .await
    .unwrap();
    let batch_ends = async {
        until_at_work(&stage, "UPDATE%watermark%", Duration::from_secs(3)).await;
        conn.query_drop("COMMIT").await.unwrap();
    };
    let (discarded, ()) = tokio::join!(stage.applier.discard(waiting[0].id), batch_ends);
    assert!(discarded.unwrap());
    assert_eq!(stage.retry_parked().await.released, 2);
    nothing_waits(&stage).await;
    conn.disconnect().await.unwrap();
}

/// The application keeps a parked row locked: others are tried all the same, and a batch of the same
/// link does not wait until all tries are over.
async fn a_row_that_somebody_has_locked_does_not_hold_its_link(stage: Stage) {
    let stage = wards(&stage).await;
    let beds: Vec<String> = (0..3).map(|_| uuid()).collect();
    let sheets: Vec<String> = beds.iter().map(|_| uuid()).collect();
    let rows: Vec<Row> = sheets.iter().zip(&beds).map(|(sheet, bed)| linen(sheet, bed)).collect();
    assert_eq!(stage.try_send(&[rows]).await.unwrap().parked, 3);
    for (place, id) in beds.iter().enumerate() {
        sql(&stage, &format!("INSERT INTO bed (place, uuid) VALUES ({place}, '{id}')")).await;
    }
    let mut conn = stage.server.conn(&stage.database).await.unwrap();
    conn.query_drop("START TRANSACTION").await.unwrap();
    let made = format!(
        "INSERT INTO linen (bed, uuid) SELECT bed_id, '{}' FROM bed WHERE uuid = '{}'",
        sheets[1], beds[1]
    );
    conn.query_drop(made).await.unwrap();

    let waits = Duration::from_secs(10);
    let meanwhile = async {
        until_at_work(&stage, "INSERT INTO%linen%", waits).await;
        let begun = Instant::now();
        stage.send(&[vec![ward(&uuid())]]).await;
        begun.elapsed()
    };
    let (retried, waited) = tokio::join!(stage.retry_parked(), meanwhile);
    assert_eq!((retried.released, retried.untried), (2, 1), "{retried:?}");
    assert!(waited < waits, "a batch waited for {waited:?}");
    let waiting = stage.waiting(State::Parked).await;
    assert!(waiting.len() == 1 && waiting[0].reason.contains("1205"), "{waiting:?}");
    conn.query_drop("ROLLBACK").await.unwrap();
    conn.disconnect().await.unwrap();
    assert_eq!(stage.retry_parked().await.released, 1);
    nothing_waits(&stage).await;
}

/// The map leaves out the column by which a bed goes with its site.
async fn a_row_that_the_targets_own_keys_took_along_is_not_made_up(stage: Stage) {
    let stage = wards(&stage).await;
    let (at, beds) = (uuid(), (0..4).map(|_| uuid()).collect::<Vec<_>>());
    let mut rows = vec![site(&at)];
    rows.extend((1..).zip(&beds).map(|(place, id)| bed(id, place)));
    stage.send(&[rows]).await;
    sql(&stage, "UPDATE bed SET site = (SELECT site_id FROM site)").await;
    let tilted = |tilt: i64| {
        let row = move |id: &String| update("bed", id, vec![("tilt", Value::Int(tilt))]);
        beds.iter().map(row)
    };
    let mut changes: Vec<Row> = tilted(1).collect();
    changes.extend([delete("site", &at), site(&at)]);
    changes.extend(tilted(2));
    let report = stage.try_send(&[changes]).await.unwrap();
    assert_eq!(ask(&stage, "SELECT COUNT(*) FROM bed").await, "0");
    assert_eq!(report.parked, 4, "{report:?}");
}
