//! One bad row stops one row.

use headwater::apply::State;
use headwater::value::Value;

use super::on_both;
use super::stage::*;

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
    assert!(shown.values.contains(&("name".to_owned(), name.clone())));

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
    stage.applier.retry_parked(std::time::Duration::ZERO).await.unwrap();
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
