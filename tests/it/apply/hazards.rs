//! The traps of the OpenMRS data model.

use headwater::apply::State;
use headwater::change::{Change, Identity, Kind};
use headwater::schema_map::MapFile;
use headwater::value::Value;

use super::on_both;
use super::stage::*;

on_both!(
    a_subclass_row_may_come_long_after_its_parent_row,
    a_row_may_refer_to_another_row_of_the_same_statement,
    rows_may_refer_to_each_other_in_a_ring,
    a_person_and_the_user_who_made_it_may_need_each_other,
    rows_with_composite_keys_are_made_and_removed,
    rows_of_a_table_without_a_key_are_counted,
    padded_and_upper_case_uuids_survive_as_sent,
    a_person_attribute_is_translated_when_its_type_says_so,
    a_row_deleted_and_made_again_loses_what_hung_on_it,
    a_row_that_none_refers_to_is_deleted_and_made_again_in_one_batch,
    a_row_found_by_a_changing_key_is_found_again_in_the_same_batch,
    a_uuid_may_change_in_place,
    a_composite_key_may_change_in_place,
    keys_that_the_server_does_not_make_are_chosen,
    a_reference_in_another_case_finds_its_row,
    an_insert_of_a_row_that_is_here_updates_it,
    a_delete_that_a_row_of_the_parent_s_own_forbids_is_set_aside,
    an_update_writes_only_what_changed,
    many_updates_hit_their_own_rows_only,
);

async fn a_subclass_row_may_come_long_after_its_parent_row(stage: Stage) {
    let id = uuid();
    stage.send(&[vec![person(&id)]]).await;
    stage.send(&[vec![person(&uuid())]]).await;
    stage.send(&[vec![patient(&id)]]).await;
    let query = format!(
        "SELECT COUNT(*) FROM patient JOIN person ON person_id = patient_id WHERE uuid = '{id}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
    // And both at once.
    let id = uuid();
    stage.send(&[vec![person(&id), patient(&id)]]).await;
}

async fn a_row_may_refer_to_another_row_of_the_same_statement(stage: Stage) {
    let (person_id, enc, group) = (uuid(), uuid(), uuid());
    let mut rows = vec![person(&person_id), patient(&person_id), encounter(&enc, &person_id, None)];
    let members: Vec<String> = (0..5).map(|_| uuid()).collect();
    // The members come first: the group's row is not there yet when they are read.
    for member in &members {
        let row = obs(member, &person_id, &enc);
        rows.push(with(&row, vec![("obs_group_id", refer("obs", &group))]));
    }
    rows.push(obs(&group, &person_id, &enc));
    stage.send(&[rows]).await;
    let query = format!(
        "SELECT COUNT(*) FROM obs m JOIN obs g ON m.obs_group_id = g.obs_id WHERE g.uuid = '{group}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("5"));
    // A chain longer than the rounds of inserts.
    let chain: Vec<String> = (0..12).map(|_| uuid()).collect();
    let rows = chain.iter().enumerate().rev().map(|(number, id)| {
        let row = obs(id, &person_id, &enc);
        match number.checked_sub(1) {
            None => row,
            Some(before) => with(&row, vec![("previous_version", refer("obs", &chain[before]))]),
        }
    });
    stage.send(&[rows.collect()]).await;
    for pair in chain.windows(2) {
        let query = format!(
            "SELECT p.uuid FROM obs o JOIN obs p ON p.obs_id = o.previous_version \
             WHERE o.uuid = '{}'",
            pair[1]
        );
        assert_eq!(stage.ask(&query).await.as_deref(), Some(pair[0].as_str()));
    }
}

async fn rows_may_refer_to_each_other_in_a_ring(stage: Stage) {
    let (person_id, enc, a, b) = (uuid(), uuid(), uuid(), uuid());
    stage
        .send(&[vec![
            person(&person_id),
            patient(&person_id),
            encounter(&enc, &person_id, None),
            with(&obs(&a, &person_id, &enc), vec![("previous_version", refer("obs", &b))]),
            with(&obs(&b, &person_id, &enc), vec![("previous_version", refer("obs", &a))]),
        ]])
        .await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let query = format!(
            "SELECT p.uuid FROM obs o JOIN obs p ON p.obs_id = o.previous_version \
             WHERE o.uuid = '{from}'"
        );
        assert_eq!(stage.ask(&query).await.as_deref(), Some(to.as_str()));
    }
}

async fn a_person_and_the_user_who_made_it_may_need_each_other(stage: Stage) {
    let (person_id, user_id) = (uuid(), uuid());
    let made_by_itself = with(&person(&person_id), vec![("creator", refer("users", &user_id))]);
    stage.send(&[vec![made_by_itself, user(&user_id, &person_id, &user_id)]]).await;
    let query = format!(
        "SELECT u.creator = u.user_id AND p.creator = u.user_id AND p.person_id = u.person_id \
         FROM users u JOIN person p ON p.uuid = '{person_id}' WHERE u.uuid = '{user_id}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
}

fn user_role(kind: Kind, user: &str, role: &str) -> Row {
    let identity =
        Identity::Many(vec![refer("users", user), refer_to("role", Identity::One(text(role)))]);
    change(kind, "user_role", identity, Vec::new())
}

async fn rows_with_composite_keys_are_made_and_removed(stage: Stage) {
    let (person_id, user_id) = (uuid(), uuid());
    stage
        .send(&[vec![
            person(&person_id),
            user(&user_id, &person_id, DAEMON),
            user_role(Kind::Insert, &user_id, "Provider"),
            user_role(Kind::Insert, &user_id, "Data Manager"),
        ]])
        .await;
    let query = format!(
        "SELECT GROUP_CONCAT(role ORDER BY role) FROM user_role NATURAL JOIN users \
         WHERE uuid = '{user_id}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("Data Manager,Provider"));
    // What is there already stays one row.
    stage.send(&[vec![user_role(Kind::Insert, &user_id, "Provider")]]).await;
    stage.send(&[vec![user_role(Kind::Delete, &user_id, "Data Manager")]]).await;
    assert_eq!(stage.ask(&query).await.as_deref(), Some("Provider"));
}

async fn a_composite_key_may_change_in_place(stage: Stage) {
    let (person_id, user_id) = (uuid(), uuid());
    stage
        .send(&[vec![
            person(&person_id),
            user(&user_id, &person_id, DAEMON),
            user_role(Kind::Insert, &user_id, "Provider"),
        ]])
        .await;
    let moved = Change {
        previous: Some(user_role(Kind::Update, &user_id, "Provider").identity),
        ..user_role(Kind::Update, &user_id, "Data Manager")
    };
    stage.send(&[vec![moved]]).await;
    let query = format!(
        "SELECT GROUP_CONCAT(role) FROM user_role NATURAL JOIN users WHERE uuid = '{user_id}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("Data Manager"));
}

async fn rows_of_a_table_without_a_key_are_counted(stage: Stage) {
    let name = uuid();
    let tag = |kind, tag: &str| {
        let identity =
            Identity::Many(vec![refer("concept_name", &name), refer("concept_name_tag", tag)]);
        let parts = ["concept_name_id", "concept_name_tag_id"];
        change(kind, "concept_name_tag_map", identity, naming(&parts))
    };
    let (first, second) =
        ("0f0e8b7a-0000-4000-8000-000000000071", "0f0e8b7a-0000-4000-8000-000000000072");
    let named = insert(
        "concept_name",
        &name,
        vec![
            ("concept_id", refer("concept", WEIGHT)),
            ("name", text("Poids")),
            ("locale", text("fr")),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    );
    // Two equal rows are two rows.
    let rows = vec![named.clone(), tag(Kind::Insert, first), tag(Kind::Insert, first)];
    stage.send(&[rows]).await;
    let query = format!(
        "SELECT GROUP_CONCAT(concept_name_tag_id ORDER BY 1) FROM concept_name_tag_map \
         JOIN concept_name USING (concept_name_id) WHERE uuid = '{name}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("71,71"));
    stage.send(&[vec![tag(Kind::Delete, first)]]).await;
    assert_eq!(stage.ask(&query).await.as_deref(), Some("71"));
    let changed =
        Change { previous: Some(tag(Kind::Update, first).identity), ..tag(Kind::Update, second) };
    stage.send(&[vec![changed]]).await;
    assert_eq!(stage.ask(&query).await.as_deref(), Some("72"));
    // Nor does the second take the place of the first while both wait.
    let name = uuid();
    let tag = |tag: &str| {
        let identity =
            Identity::Many(vec![refer("concept_name", &name), refer("concept_name_tag", tag)]);
        let parts = ["concept_name_id", "concept_name_tag_id"];
        change(Kind::Insert, "concept_name_tag_map", identity, naming(&parts))
    };
    for _ in 0..2 {
        assert_eq!(stage.try_send(&[vec![tag(first)]]).await.unwrap().parked, 1);
    }
    stage.try_send(&[vec![Change { identity: one(&name), ..named }]]).await.unwrap();
    let query = format!(
        "SELECT COUNT(*) FROM concept_name_tag_map JOIN concept_name USING (concept_name_id) \
         WHERE uuid = '{name}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("2"));
}

async fn padded_and_upper_case_uuids_survive_as_sent(stage: Stage) {
    let padded = format!("16{:04}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", rand_digits());
    let upper = uuid().to_uppercase();
    let concept = |id: &str| {
        insert(
            "concept",
            id,
            vec![
                ("datatype_id", refer("concept_datatype", "8d4a4488-c2cc-11de-8d13-0010c6dffd0f")),
                ("class_id", refer("concept_class", "8d491a9a-c2cc-11de-8d13-0010c6dffd0f")),
                ("creator", refer("users", DAEMON)),
                ("date_created", time("2024-01-01 00:00:00")),
            ],
        )
    };
    stage.send(&[vec![concept(&padded), concept(&upper)]]).await;
    for id in [&padded, &upper] {
        let query = format!("SELECT uuid FROM concept WHERE uuid = '{id}'");
        assert_eq!(stage.ask(&query).await.as_deref(), Some(id.as_str()));
    }
}

fn rand_digits() -> u32 {
    uuid::Uuid::new_v4().as_u128() as u32 % 10_000
}

async fn a_reference_in_another_case_finds_its_row(stage: Stage) {
    let id = uuid();
    let row = with(&person(&id), vec![("creator", refer("users", &DAEMON.to_lowercase()))]);
    stage.send(&[vec![row]]).await;
    let query = format!("SELECT creator FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("77"));
}

async fn a_person_attribute_is_translated_when_its_type_says_so(stage: Stage) {
    let id = uuid();
    let attribute = |kind: &str, value: Value<'static>| {
        let own = uuid();
        let row = insert(
            "person_attribute",
            &own,
            vec![
                ("person_id", refer("person", &id)),
                ("person_attribute_type_id", refer("person_attribute_type", kind)),
                ("value", value),
                ("creator", refer("users", DAEMON)),
                ("date_created", time("2024-01-01 00:00:00")),
            ],
        );
        (own, row)
    };
    let (center, center_row) = attribute(HEALTH_CENTER, refer("location", CLINIC));
    let (plain, plain_row) = attribute(CITIZENSHIP, text("611"));
    let (concept, concept_row) = attribute(CIVIL_STATUS, refer("concept", YES));
    let (mapped, mapped_row) = attribute(CIVIL_STATUS, text(YES));
    // Its format is no concern here: the value says itself what it refers to.
    let (patient_of, patient_row) = attribute(CITIZENSHIP, refer("patient", &id));
    let (user_of, user_row) = attribute(CITIZENSHIP, refer("users", DAEMON));
    let rows = vec![center_row, plain_row, concept_row, mapped_row, patient_row, user_row];
    stage.send(&[vec![person(&id), patient(&id)], rows]).await;
    let local = format!(
        "SELECT patient_id FROM patient JOIN person ON person_id = patient_id WHERE person.uuid = '{id}'"
    );
    let local = stage.ask(&local).await.unwrap();
    for (own, value) in [
        (center, "611"),
        (plain, "611"),
        (concept, "1165"),
        (mapped, YES),
        (patient_of, &*local),
        (user_of, "77"),
    ] {
        let query = format!("SELECT value FROM person_attribute WHERE uuid = '{own}'");
        assert_eq!(stage.ask(&query).await.as_deref(), Some(value));
    }
}

async fn a_row_deleted_and_made_again_loses_what_hung_on_it(stage: Stage) {
    let (person_id, enc, ob) = (uuid(), uuid(), uuid());
    let base = vec![person(&person_id), patient(&person_id), encounter(&enc, &person_id, None)];
    stage.send(&[base, vec![obs(&ob, &person_id, &enc)]]).await;
    // What only the parent knows of it goes with it: the new row is another.
    stage.sql(&format!("UPDATE obs SET comments = 'by hand' WHERE uuid = '{ob}'")).await;
    let again = with(&obs(&ob, &person_id, &enc), vec![("status", text("AMENDED"))]);
    stage.send(&[vec![delete("obs", &ob)], vec![again]]).await;
    let query = format!("SELECT CONCAT(COUNT(*), MAX(status)) FROM obs WHERE uuid = '{ob}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1AMENDED"));
    let query = format!("SELECT comments IS NULL FROM obs WHERE uuid = '{ob}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
    // Made and removed in one batch leaves nothing.
    let gone = uuid();
    stage.send(&[vec![obs(&gone, &person_id, &enc)], vec![delete("obs", &gone)]]).await;
    let query = format!("SELECT COUNT(*) FROM obs WHERE uuid = '{gone}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("0"));
}

async fn a_row_that_none_refers_to_is_deleted_and_made_again_in_one_batch(stage: Stage) {
    let (person_id, user_id, name_id) = (uuid(), uuid(), uuid());
    let role = Identity::Many(vec![refer("users", &user_id), refer_to("role", one("Provider"))]);
    let link = |kind| change(kind, "user_role", role.clone(), Vec::new());
    let called = insert(
        "person_name",
        &name_id,
        vec![
            ("person_id", refer("person", &person_id)),
            ("given_name", text("Aline")),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    );
    let base = vec![person(&person_id), user(&user_id, &person_id, DAEMON)];
    stage.send(&[base, vec![link(Kind::Insert), called.clone()]]).await;
    let renamed = with(&called, vec![("given_name", text("Alice"))]);
    stage.sql(&format!("UPDATE person_name SET degree = 'by hand' WHERE uuid = '{name_id}'")).await;
    stage
        .send(&[
            vec![link(Kind::Delete), delete("person_name", &name_id)],
            vec![link(Kind::Insert), renamed],
        ])
        .await;
    let query = format!(
        "SELECT COUNT(*) FROM user_role JOIN users USING (user_id) WHERE users.uuid = '{user_id}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
    let query = format!("SELECT given_name FROM person_name WHERE uuid = '{name_id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("Alice"));
    let query = format!("SELECT degree IS NULL FROM person_name WHERE uuid = '{name_id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
}

/// The key may be made of plain columns beside the uuid.
async fn a_row_found_by_a_changing_key_is_found_again_in_the_same_batch(stage: Stage) {
    let database = format!("keyed_{}", uuid().replace('-', "_"));
    stage
        .sql(&format!(
            "CREATE DATABASE {database}; USE {database}; \
             CREATE TABLE bed (ward INT NOT NULL, place INT NOT NULL, sheet INT NOT NULL, \
             uuid CHAR(36) NOT NULL UNIQUE, PRIMARY KEY (ward, place))"
        ))
        .await;
    let map = "version = 1\n[tables]\nbed = { class = \"ward\", identity = \"uuid\" }\n[classes.ward]\ndirection = \"up\"\n";
    let map = MapFile::parse(map, "bed.toml").unwrap();
    let stage = Stage::with_map(stage.flavor, stage.server, &database, map).await;
    let (id, other) = (uuid(), uuid());
    let number = |column, number| (column, Value::Int(number));
    let bed = |id: &str, ward| {
        insert("bed", id, vec![number("ward", ward), number("place", 1), number("sheet", 0)])
    };
    stage.send(&[vec![bed(&id, 1), bed(&other, 2)]]).await;
    // A row made again after its delete begins a new run.
    let moved = update("bed", &id, vec![number("ward", 7)]);
    let made = update("bed", &id, vec![number("sheet", 9)]);
    stage.send(&[vec![moved, delete("bed", &other)], vec![bed(&other, 2), made]]).await;
    let query = format!("SELECT CONCAT(ward, '/', sheet) FROM {database}.bed WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("7/9"));
}

async fn a_uuid_may_change_in_place(stage: Stage) {
    let (old, new) = (uuid(), uuid());
    stage.send(&[vec![person(&old)]]).await;
    let query = format!("SELECT person_id FROM person WHERE uuid IN ('{old}', '{new}')");
    let before = stage.ask(&query).await;
    let renamed =
        Change { previous: Some(one(&old)), ..update("person", &new, vec![("gender", text("M"))]) };
    let follow = update("person", &new, vec![("dead", Value::Int(1))]);
    stage.send(&[vec![renamed], vec![follow, patient(&new)]]).await;
    assert_eq!(stage.ask(&query).await, before);
    let query = format!("SELECT CONCAT(gender, dead) FROM person WHERE uuid = '{new}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("M1"));
}

async fn keys_that_the_server_does_not_make_are_chosen(stage: Stage) {
    let (first, second) = (uuid(), uuid());
    let note = |id: &str| {
        insert(
            "note",
            id,
            vec![
                ("text", text("seen")),
                ("creator", refer("users", DAEMON)),
                ("date_created", time("2024-01-01 00:00:00")),
            ],
        )
    };
    let reply = with(&note(&second), vec![("parent", refer("note", &first))]);
    stage.send(&[vec![reply, note(&first)]]).await;
    let query = format!(
        "SELECT p.note_id > 33 AND n.note_id > 33 AND n.note_id <> p.note_id FROM note n \
         JOIN note p ON p.note_id = n.parent WHERE n.uuid = '{second}' AND p.uuid = '{first}'"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
}

async fn an_insert_of_a_row_that_is_here_updates_it(stage: Stage) {
    let id = uuid();
    stage.send(&[vec![person(&id)]]).await;
    stage.send(&[vec![with(&person(&id), vec![("gender", text("O"))])]]).await;
    let query = format!("SELECT CONCAT(COUNT(*), MAX(gender)) FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1O"));
}

async fn an_update_writes_only_what_changed(stage: Stage) {
    let id = uuid();
    stage.send(&[vec![person(&id)]]).await;
    stage.sql(&format!("UPDATE person SET birthtime = '07:08:09' WHERE uuid = '{id}'")).await;
    stage.send(&[vec![update("person", &id, vec![("gender", text("X"))])]]).await;
    let query =
        format!("SELECT CONCAT(gender, birthtime, birthdate) FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("X07:08:091987-11-02"));
}

async fn many_updates_hit_their_own_rows_only(stage: Stage) {
    let ids: Vec<String> = (0..300).map(|_| uuid()).collect();
    stage.send(&[ids.iter().map(|id| person(id)).collect()]).await;
    let updates = ids.iter().enumerate().map(|(number, id)| {
        update(
            "person",
            id,
            vec![
                ("cause_of_death_non_coded", text(id.clone())),
                ("dead", Value::Int(i64::from(number % 2 == 1))),
            ],
        )
    });
    let report = stage.send(&[updates.collect()]).await;
    assert!(report.statements < 20, "{report:?}");
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let query = format!(
        "SELECT CONCAT_WS(' ', COUNT(*), SUM(cause_of_death_non_coded = uuid), SUM(dead), \
         SUM(date_created = '2024-03-05 10:20:30'), SUM(gender = 'F')) \
         FROM person WHERE uuid IN ({list})"
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("300 300 150 300 300"));
}

async fn a_delete_that_a_row_of_the_parent_s_own_forbids_is_set_aside(stage: Stage) {
    // A row that only the parent has and that restricts the delete keeps it from happening, and
    // only it.
    let (person_id, enc, ob) = (uuid(), uuid(), uuid());
    let base = vec![person(&person_id), patient(&person_id), encounter(&enc, &person_id, None)];
    stage.send(&[base]).await;
    stage
        .sql(&format!(
            "INSERT INTO obs (person_id, concept_id, encounter_id, obs_datetime, creator, \
             date_created, uuid) SELECT patient_id, 5189, encounter_id, NOW(), 77, NOW(), '{ob}' \
             FROM encounter WHERE uuid = '{enc}'"
        ))
        .await;
    let other = uuid();
    let report =
        stage.try_send(&[vec![delete("encounter", &enc)], vec![person(&other)]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 1));
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("1451"), "{}", waiting[0].reason);
    let query = format!("SELECT COUNT(*) FROM person WHERE uuid = '{other}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
    // Mended by hand, then retried.
    stage.sql(&format!("DELETE FROM obs WHERE uuid = '{ob}'")).await;
    assert_eq!(stage.applier.retry(waiting[0].id).await.unwrap().unwrap().released, 1);
    let query = format!("SELECT COUNT(*) FROM encounter WHERE uuid = '{enc}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("0"));
}
