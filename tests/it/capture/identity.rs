//! What rows and the rows they refer to are called.

use super::*;

async fn a_transaction_becomes_changes_in_identity_terms(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "BEGIN;
         INSERT INTO person_name (person_name_id, person_id, given_name, family_name, creator,
           date_created, uuid, preferred) VALUES (5, 41, 'Zo\u{eb}', '\u{1f600}', 7,
           '2026-01-02 03:04:05', 'ba5e0000-0000-4000-8000-000000000001', 1);
         UPDATE person SET gender = 'M', changed_by = 7 WHERE person_id = 41;
         COMMIT;
         DELETE FROM person_name WHERE person_name_id = 5;",
    )
    .await;
    let transactions = site.captured(2).await;
    let [name, person] = transactions[0].changes.as_slice() else { panic!("two changes") };
    assert_eq!(name.kind, Kind::Insert);
    assert_eq!(name.identity, one("ba5e0000-0000-4000-8000-000000000001"));
    assert_eq!(value(name, "given_name"), text("Zo\u{eb}"));
    assert_eq!(value(name, "family_name"), text("\u{1f600}"));
    assert_eq!(value(name, "person_id"), reference("person", PERSON));
    assert_eq!(value(name, "creator"), reference("users", DAEMON));
    assert_eq!(value(name, "date_created"), Value::Temporal("2026-01-02 03:04:05".into()));
    assert!(!travels(name, "person_name_id"));
    assert_eq!(person.kind, Kind::Update);
    let columns: Vec<_> = person.shape.columns.iter().map(|column| &**column).collect();
    assert_eq!(columns, ["gender", "changed_by"]);
    assert!(person.base.is_some());
    let [deleted] = transactions[1].changes.as_slice() else { panic!("one change") };
    assert_eq!((deleted.kind, &deleted.identity), (Kind::Delete, &name.identity));
    site.capturing.stop().await;
}

async fn a_patient_is_called_what_the_person_is_called(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "INSERT INTO patient (patient_id, creator, date_created) VALUES (41, 7, '2026-01-01');
         BEGIN; DELETE FROM patient WHERE patient_id = 41;
         SET foreign_key_checks = 0; DELETE FROM person WHERE person_id = 41; COMMIT;",
    )
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Insert patient", "Delete patient", "Delete person"]);
    for change in transactions.iter().flat_map(|transaction| &transaction.changes) {
        assert_eq!(change.identity, one(PERSON));
    }
    site.capturing.stop().await;
}

async fn a_row_deleted_before_anyone_asked_is_still_known_by_name(flavor: Flavor) {
    let site = Site::start(flavor).await.restart_capture().await;
    site.sql("SET foreign_key_checks = 0; INSERT INTO patient (patient_id, creator, date_created) VALUES (41, 7, '2026-01-01'); DELETE FROM patient WHERE patient_id = 41; DELETE FROM person WHERE person_id = 41;").await;
    let transactions = site.captured(3).await;
    assert_eq!(transactions[1].changes[0].identity, one(PERSON));
    site.capturing.stop().await;
}

async fn a_uuid_or_a_key_updated_in_place_is_followed(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "SET foreign_key_checks = 0;
         UPDATE location SET uuid = 'renamed0-0000-4000-8000-000000000001' WHERE location_id = 12;
         UPDATE location SET location_id = 99 WHERE location_id = 12;
         INSERT INTO location (location_id, name, creator, date_created, uuid, parent_location)
           VALUES (100, 'Bed', 7, '2026-01-01', 'child000-0000-4000-8000-000000000001', 99);",
    )
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Update location", "Insert location"]);
    let renamed = &transactions[0].changes[0];
    assert_eq!(renamed.previous, Some(one("7f65d926-57d6-4402-ae10-a5b3bcbf7986")));
    assert_eq!(renamed.identity, one("renamed0-0000-4000-8000-000000000001"));
    let child = &transactions[1].changes[0];
    assert_eq!(
        value(child, "parent_location"),
        reference("location", "renamed0-0000-4000-8000-000000000001")
    );
    site.capturing.stop().await;
}

async fn a_self_reference_inside_one_statement_is_known(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "INSERT INTO obs (obs_id, person_id, concept_id, obs_datetime, creator, date_created,
           voided, uuid, obs_group_id) VALUES
           (1, 41, 162552, '2026-01-01', 7, '2026-01-01', 0, 'group000-0000-4000-8000-000000000001', NULL),
           (2, 41, 162552, '2026-01-01', 7, '2026-01-01', 0, 'member00-0000-4000-8000-000000000001', 1);",
    )
    .await;
    let transactions = site.captured(1).await;
    let [_, member] = transactions[0].changes.as_slice() else { panic!("two changes") };
    assert_eq!(
        value(member, "obs_group_id"),
        reference("obs", "group000-0000-4000-8000-000000000001")
    );
    assert_eq!(value(member, "concept_id"), reference("concept", CONCEPT));
    site.capturing.stop().await;
}

async fn composite_natural_and_keyless_rows_have_identities(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "INSERT INTO role (role, description, uuid) VALUES ('Nurse', 'n', 'role0000-0000-4000-8000-000000000001');
         INSERT INTO user_role (user_id, role) VALUES (7, 'Nurse');
         SET foreign_key_checks = 0;
         INSERT INTO concept_name (concept_name_id, concept_id, name, locale, creator, date_created, uuid)
           VALUES (1, 162552, 'A', 'en', 7, '2026-01-01', 'name0000-0000-4000-8000-000000000001');
         INSERT INTO concept_name_tag (concept_name_tag_id, tag, description, creator, date_created, uuid)
           VALUES (1, 't', 'd', 7, '2026-01-01', 'tag00000-0000-4000-8000-000000000001');
         INSERT INTO concept_name_tag_map (concept_name_id, concept_name_tag_id) VALUES (1, 1);
         UPDATE concept_name_tag_map SET concept_name_tag_id = 2;
         UPDATE concept_name_tag_map SET concept_name_tag_id = 1;",
    )
    .await;
    let transactions = site.captured(7).await;
    assert_eq!(transactions[0].changes[0].identity, one("Nurse"));
    let nurse =
        Value::Reference(Box::new(Reference { table: "role".into(), identity: one("Nurse") }));
    assert_eq!(
        transactions[1].changes[0].identity,
        Identity::Many(vec![reference("users", DAEMON), nurse])
    );
    let map = &transactions[4].changes[0];
    assert_eq!(
        map.identity,
        Identity::Many(vec![
            reference("concept_name", "name0000-0000-4000-8000-000000000001"),
            reference("concept_name_tag", "tag00000-0000-4000-8000-000000000001"),
        ])
    );
    let back = &transactions[6].changes[0];
    assert_eq!(back.identity, map.identity);
    let lost = Value::Reference(Box::new(Reference {
        table: "concept_name_tag".into(),
        identity: Identity::Lost(2),
    }));
    let Some(Identity::Many(previous)) = &back.previous else { panic!("a former identity") };
    assert_eq!(previous[1], lost);
    site.capturing.stop().await;
}

async fn an_attribute_s_value_is_translated_as_its_type_says(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "INSERT INTO person_attribute_type (person_attribute_type_id, name, format, creator,
           date_created, uuid) VALUES
           (1, 'Ward', 'org.openmrs.Location', 7, '2026-01-01', 'type0000-0000-4000-8000-000000000001'),
           (2, 'Phone', 'java.lang.String', 7, '2026-01-01', 'type0000-0000-4000-8000-000000000002'),
           (3, 'Cause', 'org.openmrs.Concept', 7, '2026-01-01', 'type0000-0000-4000-8000-000000000003');
         INSERT INTO person_attribute (person_attribute_id, person_id, value,
           person_attribute_type_id, creator, date_created, uuid) VALUES
           (1, 41, '12', 1, 7, '2026-01-01', 'attr0000-0000-4000-8000-000000000001'),
           (2, 41, '12', 2, 7, '2026-01-01', 'attr0000-0000-4000-8000-000000000002'),
           (3, 41, '162552', 3, 7, '2026-01-01', 'attr0000-0000-4000-8000-000000000003'),
           (4, 41, 'CIEL:1', 3, 7, '2026-01-01', 'attr0000-0000-4000-8000-000000000004');
         UPDATE person_attribute SET person_attribute_type_id = 2 WHERE person_attribute_id = 1;",
    )
    .await;
    let transactions = site.captured(3).await;
    let values: Vec<_> =
        transactions[1].changes.iter().map(|change| value(change, "value")).collect();
    let ward = reference("location", "7f65d926-57d6-4402-ae10-a5b3bcbf7986");
    assert_eq!(values, [ward, text("12"), reference("concept", CONCEPT), text("CIEL:1")]);
    let retyped = &transactions[2].changes[0];
    assert_eq!(value(retyped, "value"), text("12"), "the same digits mean something else now");
    site.capturing.stop().await;
}

/// What an attribute's value may be the number of, by its type's format, as OpenMRS 2.8 has it.
const KINDS: &[(&str, &str)] = &[
    ("Cohort", "cohort"),
    ("Concept", "concept"),
    ("Drug", "drug"),
    ("Encounter", "encounter"),
    ("EncounterType", "encounter_type"),
    ("Form", "form"),
    ("Location", "location"),
    ("Patient", "patient"),
    ("PatientIdentifierType", "patient_identifier_type"),
    ("Person", "person"),
    ("Program", "program"),
    ("ProgramWorkflow", "program_workflow"),
    ("ProgramWorkflowState", "program_workflow_state"),
    ("Provider", "provider"),
    ("RelationshipType", "relationship_type"),
    ("User", "users"),
    ("Visit", "visit"),
    ("VisitType", "visit_type"),
];

async fn a_value_of_every_kind_is_translated(flavor: Flavor) {
    let Site { server, folder, capturing } = Site::start(flavor).await;
    capturing.stop().await;
    drop(folder);
    let mut work = String::new();
    let mut expected = Vec::new();
    for (number, (format, table)) in KINDS.iter().enumerate() {
        let (key, id) = (
            if *table == "users" { "user_id".to_owned() } else { format!("{table}_id") },
            900 + number,
        );
        let (id, uuid) = if *table == "patient" {
            (41, PERSON.to_owned())
        } else {
            let uuid = format!("kind0000-0000-4000-8000-0000000000{number:02}");
            let row = format!(
                "SET SESSION sql_mode = '', foreign_key_checks = 0;
                 INSERT INTO {table} ({key}, uuid) VALUES ({id}, '{uuid}')"
            );
            server.sql_in("openmrs", &row).await.unwrap();
            (id, uuid)
        };
        work.push_str(&format!(
            "INSERT INTO person_attribute_type (person_attribute_type_id, name, format, creator,
               date_created, uuid) VALUES ({number} + 100, '{format}', 'org.openmrs.{format}', 7,
               '2026-01-01', 'type0000-0000-4000-8000-0000000000{number:02}');
             INSERT INTO person_attribute (person_attribute_id, person_id, value,
               person_attribute_type_id, creator, date_created, uuid) VALUES ({number} + 100, 41, '{id}',
               {number} + 100, 7, '2026-01-01', 'attr0000-0000-4000-8000-0000000000{number:02}');"
        ));
        expected.push(reference(table, &uuid));
    }
    let patient = "SET SESSION sql_mode = '', foreign_key_checks = 0;
                   INSERT IGNORE INTO patient (patient_id) VALUES (41)";
    server.sql_in("openmrs", patient).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let capturing =
        Capturing::start(capture_options(&server, "openmrs", openmrs_map()), &folder).await;
    let site = Site { server, folder, capturing };
    work.push_str(
        "UPDATE person_attribute_type SET foreign_key = 901 WHERE person_attribute_type_id = 101;
         INSERT INTO user_property (user_id, property, property_value) VALUES
           (7, 'defaultLocation', '906');",
    );
    site.sql(&work).await;
    let count = 2 * KINDS.len() + 2;
    let transactions = site.captured(u64::try_from(count).unwrap()).await;
    let changes: Vec<_> = transactions.iter().flat_map(|it| &it.changes).collect();
    let found: Vec<_> = changes
        .iter()
        .filter(|change| &*change.shape.table == "person_attribute")
        .map(|change| value(change, "value"))
        .collect();
    assert_eq!(found, expected);
    let [.., key, property] = &changes[..] else { panic!("{count} changes") };
    assert_eq!(value(key, "foreign_key"), expected[1]);
    assert_eq!(value(property, "property_value"), expected[6]);
    site.capturing.stop().await;
}

async fn secrets_and_counters_stay_at_home(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "UPDATE users SET password = 'new', salt = 'new' WHERE user_id = 7;
         UPDATE users SET username = 'd', password = 'newer' WHERE user_id = 7;
         INSERT INTO user_property (user_id, property, property_value) VALUES
           (7, 'lastLoginTimestamp', '1'), (7, 'defaultLocale', 'fr');",
    )
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Update users", "Insert user_property"]);
    let columns: Vec<_> =
        transactions[0].changes[0].shape.columns.iter().map(|column| &**column).collect();
    assert_eq!(columns, ["username"]);
    site.capturing.stop().await;
}

async fn text_of_any_character_set_and_zero_dates_come_out_exactly(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "ALTER TABLE location MODIFY name VARCHAR(255) CHARACTER SET latin1 NOT NULL;
         SET SESSION sql_mode = '';
         INSERT INTO location (location_id, name, description, creator, date_created, uuid) VALUES
           (20, 'Caf\u{e9} \u{20ac}', '\u{1f3e5}', 7, '0000-00-00 00:00:00',
            'latin100-0000-4000-8000-000000000001');",
    )
    .await;
    let transactions = site.captured(1).await;
    let location = &transactions[0].changes[0];
    assert_eq!(value(location, "name"), text("Caf\u{e9} \u{20ac}"));
    assert_eq!(value(location, "description"), text("\u{1f3e5}"));
    assert_eq!(value(location, "date_created"), Value::Temporal("0000-00-00 00:00:00".into()));
    site.capturing.stop().await;
}

on_both!(
    a_transaction_becomes_changes_in_identity_terms,
    a_patient_is_called_what_the_person_is_called,
    a_row_deleted_before_anyone_asked_is_still_known_by_name,
    a_uuid_or_a_key_updated_in_place_is_followed,
    a_self_reference_inside_one_statement_is_known,
    composite_natural_and_keyless_rows_have_identities,
    an_attribute_s_value_is_translated_as_its_type_says,
    a_value_of_every_kind_is_translated,
    secrets_and_counters_stay_at_home,
);

/// Servers read text and dates each in its own way.
mod everywhere {
    use super::text_of_any_character_set_and_zero_dates_come_out_exactly;

    crate::support::on_all!(text_of_any_character_set_and_zero_dates_come_out_exactly);
}
