//! One bad row stops one row.

use headwater::apply::{Error, Limits, State};
use headwater::change::Change;
use headwater::schema_map::MapFile;
use headwater::value::Value;

use super::stage::*;
use super::{on_both, on_others};

on_both!(
    a_row_that_refers_to_one_that_never_comes_is_parked_and_released_when_it_comes,
    parked_rows_release_each_other,
    rows_that_wait_for_each_other_come_together,
    a_unique_key_collision_is_quarantined_and_the_rest_flows,
    an_update_of_a_row_the_parent_never_had_is_parked_and_asked_for,
    later_changes_of_a_row_wait_behind_the_first,
    a_column_the_parent_lacks_parks_the_change,
    a_discarded_change_is_gone,
    a_row_that_came_by_another_way_releases_at_the_next_try,
    one_bad_row_among_many_stops_one_row,
    a_delete_makes_moot_what_waits_for_its_row,
    a_delete_ends_what_waits_in_its_own_batch,
    a_delete_waits_behind_a_change_of_its_rows_name,
    a_row_renamed_that_the_parent_never_had_is_asked_for_by_its_new_name,
    what_waits_for_a_table_or_a_column_flows_once_it_is_made,
    a_column_that_is_dropped_parks_what_needs_it,
    no_more_is_set_aside_than_there_is_room_for,
    what_is_still_missing_is_known_after_a_restart,
    all_rows_that_are_missing_are_asked_for_in_their_turn,
    what_an_older_headwater_set_aside_is_kept,
);
on_others!(
    a_column_the_parent_lacks_parks_the_change,
    what_waits_for_a_table_or_a_column_flows_once_it_is_made,
    a_column_that_is_dropped_parks_what_needs_it,
    a_row_that_refers_to_one_that_never_comes_is_parked_and_released_when_it_comes,
    one_bad_row_among_many_stops_one_row,
);

fn place(id: &str, name: &str) -> Row {
    insert(
        "location",
        id,
        vec![
            ("name", text(name)),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    )
}

fn kind_of_encounter(id: &str, name: &str) -> Row {
    insert(
        "encounter_type",
        id,
        vec![
            ("name", text(name)),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    )
}

async fn is_there(stage: &Stage, table: &str, uuid: &str) -> bool {
    let query = format!("SELECT COUNT(*) FROM {table} WHERE uuid = '{uuid}'");
    stage.ask(&query).await.as_deref() == Some("1")
}

async fn a_row_that_refers_to_one_that_never_comes_is_parked_and_released_when_it_comes(
    stage: Stage,
) {
    let (person_id, enc, elsewhere, fine) = (uuid(), uuid(), uuid(), uuid());
    let visit_to = with(
        &encounter(&enc, &person_id, None),
        vec![("location_id", refer("location", &elsewhere))],
    );
    let report = stage
        .try_send(&[
            vec![person(&person_id), patient(&person_id)],
            vec![visit_to],
            vec![encounter(&fine, &person_id, None)],
        ])
        .await
        .unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 0));
    assert_eq!(report.wanted.len(), 1);
    assert_eq!(&*report.wanted[0].table, "location");
    assert!(is_there(&stage, "encounter", &fine).await);
    assert!(!is_there(&stage, "encounter", &enc).await);
    let waiting = stage.waiting(State::Parked).await;
    assert!(waiting[0].reason.contains(&elsewhere), "{}", waiting[0].reason);

    let report = stage.try_send(&[vec![place(&elsewhere, "Outpost")]]).await.unwrap();
    assert_eq!((report.held, report.released), (0, 1));
    assert!(is_there(&stage, "encounter", &enc).await);
    assert!(stage.waiting(State::Parked).await.is_empty());
}

async fn parked_rows_release_each_other(stage: Stage) {
    let (person_id, v, enc, ob) = (uuid(), uuid(), uuid(), uuid());
    let report = stage
        .try_send(&[
            vec![obs(&ob, &person_id, &enc)],
            vec![encounter(&enc, &person_id, Some(&v))],
            vec![visit(&v, &person_id)],
        ])
        .await
        .unwrap();
    assert_eq!(report.parked, 3, "{report:?}");
    let report = stage.try_send(&[vec![person(&person_id), patient(&person_id)]]).await.unwrap();
    assert_eq!(report.released, 3);
    assert!(is_there(&stage, "obs", &ob).await);
}

async fn rows_that_wait_for_each_other_come_together(stage: Stage) {
    let (person_id, user_id, taken) = (uuid(), uuid(), uuid());
    stage.send(&[vec![kind_of_encounter(&uuid(), &taken)]]).await;
    // The collision makes the plan fail, so that the ring is looked at change by change.
    let report = stage
        .try_send(&[vec![
            with(&person(&person_id), vec![("creator", refer("users", &user_id))]),
            kind_of_encounter(&uuid(), &taken),
            user(&user_id, &person_id, &user_id),
        ]])
        .await
        .unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 1), "{report:?}");
    assert!(is_there(&stage, "users", &user_id).await);
}

async fn a_unique_key_collision_is_quarantined_and_the_rest_flows(stage: Stage) {
    let name = format!("Triage {}", uuid());
    stage
        .sql(&format!(
            "INSERT INTO encounter_type (name, creator, date_created, uuid) \
             VALUES ('{name}', 77, '2024-01-01', '{}')",
            uuid()
        ))
        .await;
    let (kind, person_id, enc, plain) = (uuid(), uuid(), uuid(), uuid());
    let of_that_kind = with(
        &encounter(&enc, &person_id, None),
        vec![("encounter_type", refer("encounter_type", &kind))],
    );
    let report = stage
        .try_send(&[
            vec![person(&person_id), patient(&person_id), kind_of_encounter(&kind, &name)],
            vec![of_that_kind, encounter(&plain, &person_id, None)],
        ])
        .await
        .unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 1));
    assert!(is_there(&stage, "encounter", &plain).await);
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("1062"), "{}", waiting[0].reason);
    assert_eq!((&*waiting[0].table, &*waiting[0].identity), ("encounter_type", &*kind));
    let shown = stage.applier.show(waiting[0].id).await.unwrap().unwrap();
    let value = shown.values.iter().find(|value| value.column == "name").unwrap();
    assert_eq!(value.value.as_ref(), Some(&name));

    // Nothing mended: it stays. Mended: it goes, and what waited for it.
    assert_eq!(stage.applier.retry(waiting[0].id).await.unwrap().unwrap().released, 0);
    stage
        .sql(&format!("UPDATE encounter_type SET name = '{}' WHERE name = '{name}'", uuid()))
        .await;
    assert_eq!(stage.applier.retry(waiting[0].id).await.unwrap().unwrap().released, 2);
    assert!(is_there(&stage, "encounter", &enc).await);
}

async fn an_update_of_a_row_the_parent_never_had_is_parked_and_asked_for(stage: Stage) {
    let id = uuid();
    let change = update("person", &id, vec![("gender", text("M"))]);
    let report = stage.try_send(&[vec![change, person(&uuid())]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 0));
    assert_eq!(report.wanted[0].identity, one(&id));
    assert!(!is_there(&stage, "person", &id).await);

    // The child answers with the whole row, which is newer than the update.
    let whole = with(&person(&id), vec![("gender", text("O"))]);
    let report = stage.try_send(&[vec![whole]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 0));
    let query = format!("SELECT gender FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("O"));
    assert!(stage.waiting(State::Parked).await.is_empty());
}

async fn later_changes_of_a_row_wait_behind_the_first(stage: Stage) {
    let (id, other) = (uuid(), uuid());
    let name = format!("Ward {id}");
    let rows = |id: &str, name: &str| kind_of_encounter(id, name);
    stage.send(&[vec![rows(&other, &name)]]).await;
    let report = stage.try_send(&[vec![rows(&id, &name)]]).await.unwrap();
    assert_eq!(report.quarantined, 1);
    let renamed = update("encounter_type", &id, vec![("description", text("first"))]);
    let again = update("encounter_type", &id, vec![("description", text("second"))]);
    let report = stage.try_send(&[vec![renamed], vec![again]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 2));
    stage.sql(&format!("UPDATE encounter_type SET name = 'x{other}' WHERE uuid = '{other}'")).await;
    let waiting = stage.waiting(State::Quarantined).await;
    assert_eq!(stage.applier.retry(waiting[2].id).await.unwrap().unwrap().released, 3);
    let query = format!("SELECT description FROM encounter_type WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("second"));
}

async fn a_column_the_parent_lacks_parks_the_change(stage: Stage) {
    let (id, fine) = (uuid(), uuid());
    let newer = with(&person(&id), vec![("preferred_pronoun", text("they"))]);
    let empty = with(&person(&fine), vec![("preferred_pronoun", Value::Null)]);
    let report = stage.try_send(&[vec![newer, empty]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 0));
    assert!(is_there(&stage, "person", &fine).await);
    let waiting = stage.waiting(State::Parked).await;
    assert!(waiting[0].reason.contains("preferred_pronoun"), "{}", waiting[0].reason);
}

async fn a_discarded_change_is_gone(stage: Stage) {
    let change = update("person", &uuid(), vec![("gender", text("M"))]);
    stage.try_send(&[vec![change]]).await.unwrap();
    let waiting = stage.waiting(State::Parked).await;
    assert!(stage.applier.discard(waiting[0].id).await.unwrap());
    assert!(!stage.applier.discard(waiting[0].id).await.unwrap());
    assert!(stage.waiting(State::Parked).await.is_empty());
}

async fn a_row_that_came_by_another_way_releases_at_the_next_try(stage: Stage) {
    let (person_id, enc, elsewhere) = (uuid(), uuid(), uuid());
    let row = with(
        &encounter(&enc, &person_id, None),
        vec![("location_id", refer("location", &elsewhere))],
    );
    stage.try_send(&[vec![person(&person_id), patient(&person_id), row]]).await.unwrap();
    stage
        .sql(&format!(
            "INSERT INTO location (name, creator, date_created, uuid) \
             VALUES ('by hand', 77, '2024-01-01', '{elsewhere}')"
        ))
        .await;
    stage.retry_parked().await;
    assert!(is_there(&stage, "encounter", &enc).await);
}

async fn one_bad_row_among_many_stops_one_row(stage: Stage) {
    let (person_id, enc) = (uuid(), uuid());
    let mut rows = vec![person(&person_id), patient(&person_id), encounter(&enc, &person_id, None)];
    let uuids: Vec<String> = (0..1000).map(|_| uuid()).collect();
    for (number, id) in uuids.iter().enumerate() {
        let row = obs(id, &person_id, &enc);
        // Too long for its column: the server says so, headwater cannot know.
        rows.push(if number == 700 {
            with(&row, vec![("value_modifier", text("much too long"))])
        } else {
            row
        });
    }
    let report = stage.try_send(&[rows]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 1));
    eprintln!("{}: {} statements, {} halvings", stage.flavor, report.statements, report.halved);
    assert!(report.statements < 400, "{report:?}");
    let query = format!(
        "SELECT COUNT(*) FROM obs JOIN encounter USING (encounter_id) \
         WHERE encounter.uuid = '{enc}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("999"));
}

async fn a_delete_makes_moot_what_waits_for_its_row(stage: Stage) {
    // The parent never had the row.
    let (person_id, enc, ob) = (uuid(), uuid(), uuid());
    stage.send(&[vec![person(&person_id), patient(&person_id)]]).await;
    let later = update("obs", &ob, vec![("status", text("AMENDED"))]);
    stage.try_send(&[vec![obs(&ob, &person_id, &enc)], vec![later.clone()]]).await.unwrap();
    assert_eq!(stage.waiting(State::Parked).await.len(), 2);
    let report = stage.send(&[vec![later, delete("obs", &ob)]]).await;
    assert_eq!((report.held, report.dissolved), (0, 2), "{report:?}");
    assert!(stage.waiting(State::Parked).await.is_empty());

    // The parent has the row, and a change of it waits.
    let by_nobody = update("person", &person_id, vec![("creator", refer("users", &uuid()))]);
    let report = stage.try_send(&[vec![by_nobody]]).await.unwrap();
    assert_eq!(report.parked, 1);
    let gone = vec![delete("patient", &person_id), delete("person", &person_id)];
    assert_eq!(stage.send(&[gone]).await.dissolved, 1);
    assert!(!is_there(&stage, "person", &person_id).await);
    assert!(stage.waiting(State::Parked).await.is_empty());

    // What needed a person needs none any more.
    let (kind, taken) = (uuid(), uuid());
    stage.send(&[vec![kind_of_encounter(&uuid(), &taken)]]).await;
    let report = stage.try_send(&[vec![kind_of_encounter(&kind, &taken)]]).await.unwrap();
    assert_eq!(report.quarantined, 1);
    stage.send(&[vec![delete("encounter_type", &kind)]]).await;
    assert!(stage.waiting(State::Quarantined).await.is_empty());
}

async fn a_delete_ends_what_waits_in_its_own_batch(stage: Stage) {
    let (person_id, enc, ob) = (uuid(), uuid(), uuid());
    stage.send(&[vec![person(&person_id), patient(&person_id)]]).await;
    let row = obs(&ob, &person_id, &enc);
    let unknown = with(&person(&uuid()), vec![("preferred_pronoun", text("they"))]);
    let of_unknown = Change { identity: unknown.identity.clone(), ..delete("person", "") };
    let report =
        stage.send(&[vec![row.clone(), unknown], vec![of_unknown, delete("obs", &ob)]]).await;
    assert_eq!((report.held, report.dissolved), (0, 2), "{report:?}");

    // Made again after the delete, it is a new row that waits by itself.
    stage.try_send(&[vec![row.clone()]]).await.unwrap();
    let report = stage.try_send(&[vec![delete("obs", &ob)], vec![row]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 0), "{report:?}");
    assert_eq!(stage.waiting(State::Parked).await.len(), 1);
    let report = stage.send(&[vec![encounter(&enc, &person_id, None)]]).await;
    assert_eq!(report.released, 1);
    assert!(is_there(&stage, "obs", &ob).await);
}

async fn a_delete_waits_behind_a_change_of_its_rows_name(stage: Stage) {
    let (old, new, user_id, other) = (uuid(), uuid(), uuid(), uuid());
    stage.send(&[vec![person(&old), person(&other)]]).await;
    let renamed = Change {
        previous: Some(one(&old)),
        ..update("person", &new, vec![("creator", refer("users", &user_id))])
    };
    let report = stage.try_send(&[vec![renamed], vec![delete("person", &new)]]).await.unwrap();
    assert_eq!((report.parked, report.dissolved), (2, 0), "{report:?}");
    assert_eq!(stage.waiting(State::Parked).await[0].kind, "rename");
    let report = stage.send(&[vec![user(&user_id, &other, DAEMON)]]).await;
    assert_eq!(report.released, 2, "{report:?}");
    assert!(!is_there(&stage, "person", &old).await && !is_there(&stage, "person", &new).await);
}

async fn a_row_renamed_that_the_parent_never_had_is_asked_for_by_its_new_name(stage: Stage) {
    let new = uuid();
    let renamed = Change {
        previous: Some(one(&uuid())),
        ..update("person", &new, vec![("gender", text("M"))])
    };
    let report = stage.try_send(&[vec![renamed]]).await.unwrap();
    assert_eq!(report.wanted[0].identity, one(&new));
    stage.send(&[vec![person(&new)]]).await;
    assert!(is_there(&stage, "person", &new).await);
    assert!(stage.waiting(State::Parked).await.is_empty());
}

/// A database of its own, whose tables may be changed.
async fn wards(stage: &Stage, tables: &str) -> (Stage, String) {
    let database = format!("wards_{}", uuid().replace('-', ""));
    stage.sql(&format!("CREATE DATABASE {database}; USE {database}; {tables}")).await;
    let map = "version = 1\n[defaults]\nidentity = \"uuid\"\nclass = \"ward\"\n\
               [classes.ward]\ndirection = \"up\"\n[tables]\nbed = {}\nlinen = {}\n";
    let map = MapFile::parse(map, "wards.toml").unwrap();
    (Stage::with_map_alone(stage.flavor, stage.server, &database, map).await, database)
}

const BED: &str = "CREATE TABLE bed (bed_id INT PRIMARY KEY AUTO_INCREMENT, place INT, \
                   uuid CHAR(36) NOT NULL UNIQUE)";
const LINEN: &str = "CREATE TABLE linen (linen_id INT PRIMARY KEY AUTO_INCREMENT, \
                     uuid CHAR(36) NOT NULL UNIQUE)";

async fn what_waits_for_a_table_or_a_column_flows_once_it_is_made(stage: Stage) {
    let (stage, database) = wards(&stage, BED).await;
    let (bed, linen) = (uuid(), uuid());
    let made = insert("bed", &bed, vec![("place", Value::Int(4)), ("tilt", Value::Int(30))]);
    let report = stage.try_send(&[vec![made, insert("linen", &linen, vec![])]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (2, 0), "{report:?}");
    assert_eq!(stage.retry_parked().await.released, 0);
    stage.sql(&format!("USE {database}; ALTER TABLE bed ADD COLUMN tilt INT; {LINEN}")).await;
    assert_eq!(stage.retry_parked().await.released, 2);
    let query = format!("SELECT CONCAT(place, '/', tilt) FROM {database}.bed");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("4/30"));
    stage.send(&[vec![update("bed", &bed, vec![("tilt", Value::Int(0))])]]).await;
    assert!(is_there(&stage, &format!("{database}.linen"), &linen).await);
}

async fn a_column_that_is_dropped_parks_what_needs_it(stage: Stage) {
    let (stage, database) = wards(&stage, &format!("{BED}; {LINEN}")).await;
    let (bed, linen, other) = (uuid(), uuid(), uuid());
    stage.send(&[vec![insert("bed", &bed, vec![("place", Value::Int(4))])]]).await;
    stage
        .sql(&format!("USE {database}; ALTER TABLE bed DROP COLUMN place; DROP TABLE linen"))
        .await;
    let moved = update("bed", &bed, vec![("place", Value::Int(5))]);
    let report = stage
        .try_send(&[vec![moved, insert("linen", &linen, vec![]), insert("bed", &other, vec![])]])
        .await
        .unwrap();
    assert_eq!((report.parked, report.quarantined), (2, 0), "{report:?}");
    assert!(is_there(&stage, &format!("{database}.bed"), &other).await);
}

async fn no_more_is_set_aside_than_there_is_room_for(stage: Stage) {
    let stage = stage.with_limits(Limits { held_changes_max: 2, ..Limits::default() }).await;
    let nowhere = || update("person", &uuid(), vec![("gender", text("M"))]);
    let (fine, later) = (uuid(), uuid());
    stage.send(&[vec![person(&fine)]]).await;
    let report = stage.try_send(&[vec![nowhere(), nowhere()]]).await.unwrap();
    assert_eq!(report.parked, 2);
    // What sets nothing aside still flows; what does waits whole.
    stage.send(&[vec![update("person", &fine, vec![("gender", text("O"))])]]).await;
    let batch = [vec![person(&later), nowhere()]];
    let Err(Error::Stop(words)) = stage.try_send(&batch).await else { panic!("it was taken") };
    assert!(words.contains("apply.held_changes_max there is 2"), "{words}");
    assert!(!is_there(&stage, "person", &later).await);
    assert_eq!(stage.waiting(State::Parked).await.len(), 2);
    let first = stage.waiting(State::Parked).await[0].id;
    assert!(stage.applier.discard(first).await.unwrap());
    let report = stage.try_send(&batch).await.unwrap();
    assert_eq!(report.parked, 1);
    assert!(is_there(&stage, "person", &later).await);
}

async fn what_is_still_missing_is_known_after_a_restart(stage: Stage) {
    let ids: Vec<String> = (0..5).map(|_| uuid()).collect();
    let changes = ids.iter().map(|id| update("person", id, vec![("gender", text("M"))]));
    stage.try_send(&[changes.collect()]).await.unwrap();
    // Of this process nothing but the database is left.
    let Stage { flavor, peer, .. } = stage;
    let stage = Stage::on(flavor).await;
    let mut wanted: Vec<String> = Vec::new();
    for row in stage.applier.wanted(peer.node, 100).await.unwrap() {
        assert_eq!(&*row.table, "person");
        wanted.push(row.identity.to_string());
    }
    wanted.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(wanted, expected);
    assert_eq!(stage.applier.wanted(peer.node, 3).await.unwrap().len(), 3);
}

async fn what_an_older_headwater_set_aside_is_kept(stage: Stage) {
    let stage = stage.with_limits(Limits::default()).await;
    let id = uuid();
    stage.try_send(&[vec![update("person", &id, vec![("gender", text("M"))])]]).await.unwrap();
    let schema = &stage.schema;
    // The tables as version 1 had them.
    stage
        .sql(&format!(
            "ALTER TABLE {schema}.held DROP COLUMN awaits_table, DROP COLUMN awaits_identity, \
             MODIFY kind ENUM('insert', 'update', 'delete') NOT NULL; \
             ALTER TABLE {schema}.held DROP KEY node; \
             ALTER TABLE {schema}.watermark DROP COLUMN batch; \
             DROP TABLE {schema}.held_part; \
             UPDATE {schema}.version SET number = 1"
        ))
        .await;
    stage.applier.prepare().await.unwrap();
    stage.applier.prepare().await.unwrap();
    let keys = format!(
        "SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index) FROM information_schema.statistics \
         WHERE table_schema = '{schema}' AND table_name = 'held' AND index_name = 'node'"
    );
    assert_eq!(stage.ask(&keys).await.as_deref(), Some("node,state,sequence"));
    assert!(stage.applier.wanted(stage.peer.node, 9).await.unwrap().is_empty());
    stage.retry_parked().await;
    assert_eq!(stage.applier.wanted(stage.peer.node, 9).await.unwrap()[0].identity, one(&id));
    let report = stage.send(&[vec![person(&id)]]).await;
    assert!(stage.waiting(State::Parked).await.is_empty(), "{report:?}");
}

async fn all_rows_that_are_missing_are_asked_for_in_their_turn(stage: Stage) {
    let stage = stage.with_limits(Limits { wanted_max: 20, ..Limits::default() }).await;
    let ids: Vec<String> = (0..90).map(|_| uuid()).collect();
    let named = |id: &String| update("location", id, vec![("name", text(format!("new {id}")))]);
    let mut report = stage.try_send(&[ids.iter().map(named).collect()]).await.unwrap();
    assert_eq!((report.parked, report.wanted.len()), (90, 20));
    let mut rounds = 0;
    while !report.wanted.is_empty() {
        rounds += 1;
        assert!(rounds < 20, "{} still wait", stage.waiting(State::Parked).await.len());
        // The child answers with the rows as it has them now.
        let rows = report.wanted.iter().map(|wanted| {
            let headwater::change::Identity::One(Value::Text(id)) = &wanted.identity else {
                panic!("{wanted:?}")
            };
            place(id, &format!("new {id}"))
        });
        report = stage.try_send(&[rows.collect()]).await.unwrap();
    }
    assert!(stage.waiting(State::Parked).await.is_empty());
    let list = ids.join("','");
    let here = format!("SELECT COUNT(*) FROM location WHERE uuid IN ('{list}')");
    assert_eq!(stage.ask(&here).await.as_deref(), Some("90"));
}
