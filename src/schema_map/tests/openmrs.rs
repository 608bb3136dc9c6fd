//! The map of OpenMRS, on the facts of its tables.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_openmrs_table_is_mapped_or_left_out_with_a_reason() {
    let (schema, map) = (openmrs(), openmrs_map());
    assert_eq!(schema.tables.len(), 117);
    let bound = BoundMap::bind(&map, &schema);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(bound.unmapped, Vec::<Name>::new());
    assert_eq!(bound.tables.len() + bound.left_out.len(), 117);
    assert!(bound.tables.values().all(|table| table.direction == Direction::Up));
    assert_eq!(bound.tables.len(), 104);
}

#[test]
fn every_openmrs_column_is_accounted_for() {
    let bound = BoundMap::bind(&openmrs_map(), &openmrs());
    let mut numbers = BTreeSet::new();
    let mut left_out = BTreeSet::new();
    for table in bound.tables.values() {
        for column in &table.columns {
            let name = format!("{}.{}", table.name, column.name);
            match &column.role {
                Role::LeftOut(_) => {
                    left_out.insert(name);
                }
                Role::Plain if column.live.data_type == "int" => {
                    numbers.insert(column.name.to_string());
                }
                Role::Plain | Role::LocalKey | Role::Reference(_) | Role::Generated => {}
            }
        }
    }
    assert_eq!(
        left_out.into_iter().collect::<Vec<_>>(),
        [
            "users.activation_key",
            "users.password",
            "users.salt",
            "users.secret_answer",
            "users.secret_question"
        ]
    );
    // Whatever is a number and not among these is a reference or a local key: a new id without a
    // foreign key would show here.
    assert_eq!(
        numbers.into_iter().collect::<Vec<_>>(),
        [
            "build",
            "display_precision",
            "duration",
            "dx_rank",
            "field_number",
            "max_occurs",
            "min_occurs",
            "num_refills",
            "number_of_repeats",
            "page_number",
            "priority",
            "sequence_number",
            "weight"
        ]
    );
}

#[test]
fn openmrs_identities_are_what_the_facts_say() {
    let schema = openmrs();
    let bound = BoundMap::bind(&openmrs_map(), &schema);
    let mut other = BTreeMap::new();
    for table in bound.tables.values() {
        let names = |columns: &[usize]| {
            let names = columns.iter().map(|column| &*table.columns[*column].name);
            names.collect::<Vec<_>>().join("+")
        };
        let identity = match &table.identity {
            BoundIdentity::Column(column) if names(&[*column]) == "uuid" => continue,
            BoundIdentity::Column(column) => names(&[*column]),
            BoundIdentity::Borrowed { table, .. } => format!("as {table}"),
            BoundIdentity::Composite(columns) => names(columns),
            BoundIdentity::WholeRow => "whole row".to_owned(),
        };
        other.insert(table.name.to_string(), identity);
    }
    let expected = [
        ("concept_complex", "as concept"),
        ("concept_name_tag_map", "whole row"),
        ("concept_numeric", "as concept"),
        ("concept_proposal_tag_map", "whole row"),
        ("drug_order", "as orders"),
        ("global_property", "property"),
        ("location_tag_map", "location_id+location_tag_id"),
        ("obs_reference_range", "obs_id"),
        ("order_type_class_map", "order_type_id+concept_class_id"),
        ("patient", "as person"),
        ("privilege", "privilege"),
        ("referral_order", "as orders"),
        ("role", "role"),
        ("role_privilege", "role+privilege"),
        ("role_role", "parent_role+child_role"),
        ("test_order", "as orders"),
        ("user_property", "user_id+property"),
        ("user_role", "user_id+role"),
    ];
    let expected = expected.map(|(table, identity)| (table.to_owned(), identity.to_owned()));
    assert_eq!(other, BTreeMap::from(expected));
}

#[test]
fn openmrs_references_are_found_with_and_without_foreign_keys() {
    let bound = BoundMap::bind(&openmrs_map(), &openmrs());
    for (table, column, target) in [
        ("orders", "concept_id", "concept"),
        ("concept_set", "concept_id", "concept"),
        ("concept_set", "concept_set", "concept"),
        ("person_name", "changed_by", "users"),
        ("provider_role", "retired_by", "users"),
        ("cohort_member", "voided_by", "users"),
        ("concept_name_tag", "creator", "users"),
        ("medication_dispense", "drug_order_id", "drug_order"),
        ("concept_reference_range", "concept_id", "concept_numeric"),
        ("test_order", "location", "concept"),
        ("user_role", "role", "role"),
        ("encounter_type", "edit_privilege", "privilege"),
        ("patient", "patient_id", "person"),
        ("referral_order", "order_id", "orders"),
    ] {
        assert_eq!(role(&bound, table, column), &always(target, false), "{table}.{column}");
    }
    let Role::Reference(ReferenceRule::Conditional(value)) =
        role(&bound, "person_attribute", "value")
    else {
        panic!()
    };
    assert_eq!((&*value.decider, &*value.column), ("person_attribute_type", "format"));
    let attribute = &bound.tables["person_attribute"];
    assert_eq!(&*attribute.columns[value.through].name, "person_attribute_type_id");
    assert!(value.tables.contains(&("org.openmrs.User".to_owned(), Arc::from("users"))));
    assert_eq!(value.tables.len(), 18);
    assert!(matches!(
        role(&bound, "person_attribute_type", "foreign_key"),
        Role::Reference(ReferenceRule::Polymorphic(_))
    ));
    assert_eq!(bound.tables["patient"].local_key, bound.tables["patient"].column("patient_id"));
    assert_eq!(bound.tables["referral_order"].auto_increment, None);
    assert_eq!(role(&bound, "note", "note_id"), &Role::LocalKey);
    assert!(bound.tables["note"].referenced && !bound.tables["visit_attribute"].referenced);
}

#[test]
fn only_what_closes_a_cycle_in_openmrs_is_deferred() {
    let bound = BoundMap::bind(&openmrs_map(), &openmrs());
    let mut deferred = BTreeSet::new();
    for table in bound.tables.values() {
        for column in &table.columns {
            if let Role::Reference(ReferenceRule::Always { deferred: true, .. }) = &column.role {
                deferred.insert(format!("{}.{}", table.name, column.name));
            }
        }
    }
    assert_eq!(
        deferred.into_iter().collect::<Vec<_>>(),
        [
            "conditions.previous_version",
            "form_field.parent_form_field",
            "location.parent_location",
            "note.parent",
            "obs.obs_group_id",
            "obs.previous_version",
            "obs.value_group_id",
            "order_group.parent_order_group",
            "order_group.previous_order_group",
            "order_type.parent",
            "orders.previous_order_id",
            "person.cause_of_death",
            "person.changed_by",
            "person.creator",
            "person.voided_by",
            "users.changed_by",
            "users.creator",
            "users.retired_by",
        ]
    );
    let level = |table: &str| bound.tables[table].level;
    assert_eq!(level("person"), 0);
    for (later, earlier) in [
        ("users", "person"),
        ("concept_class", "users"),
        ("concept", "concept_class"),
        ("patient", "person"),
        ("encounter", "visit"),
        ("orders", "encounter"),
        ("obs", "orders"),
        ("drug_order", "orders"),
        ("medication_dispense", "drug_order"),
        ("person_attribute", "location"),
        ("concept_proposal_tag_map", "concept_proposal"),
    ] {
        assert!(level(later) > level(earlier), "{later} after {earlier}");
    }
    for table in bound.tables.values() {
        for column in &table.columns {
            if let Role::Reference(ReferenceRule::Always { table: target, deferred: false }) =
                &column.role
            {
                assert!(table.level > level(target), "{}.{}", table.name, column.name);
            }
        }
    }
}

#[test]
fn an_older_openmrs_with_modules_binds_all_the_same() {
    let mut schema = openmrs();
    // What came after 2.1, with 2.2, 2.5, 2.6, 2.7 and later.
    let since = [
        "conditions",
        "encounter_diagnosis",
        "diagnosis_attribute",
        "diagnosis_attribute_type",
        "referral_order",
        "medication_dispense",
        "obs_reference_range",
        "concept_reference_range",
    ];
    for gone in since {
        schema.tables.remove(gone);
        for table in schema.tables.values_mut() {
            table.foreign_keys.retain(|key| &*key.table != gone);
        }
    }
    schema
        .tables
        .get_mut("users")
        .unwrap()
        .columns
        .retain(|column| !["email", "activation_key"].contains(&&*column.name));
    schema.tables.insert(Arc::from("idgen_pool"), empty_table("idgen_pool"));
    let (map, bound) = (openmrs_map(), BoundMap::bind(&openmrs_map(), &schema));
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(bound.unmapped, [Arc::from("idgen_pool")]);
    let report = Report::of(&map, &bound, &schema);
    assert!(!report.is_fatal());
    assert_eq!(report.absent.len(), since.len());
    let text = report.to_string();
    assert!(text.contains("idgen_pool") && text.contains("obs_reference_range"), "{text}");
}

#[test]
fn what_a_newer_openmrs_adds_stays_where_it_is() {
    let mut schema = openmrs();
    for new in ["outbox_event", "shedlock"] {
        schema.tables.insert(Arc::from(new), empty_table(new));
    }
    let before = BoundMap::bind(&openmrs_map(), &openmrs());
    let bound = BoundMap::bind(&openmrs_map(), &schema);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(bound.unmapped, Vec::<Name>::new());
    assert_eq!(bound.tables.len(), before.tables.len());
    assert_eq!(bound.left_out.len(), before.left_out.len() + 2);
}

/// The tables without one of them, and without whatever speaks of it.
fn without_table(gone: &str) -> LiveSchema {
    let mut schema = openmrs();
    schema.tables.remove(gone);
    for table in schema.tables.values_mut() {
        table.foreign_keys.retain(|key| &*key.table != gone);
    }
    schema
}

#[test]
fn whatever_table_but_five_a_version_lacks_all_others_travel() {
    let map = openmrs_map();
    let mut needed = Vec::new();
    for gone in openmrs().tables.into_keys() {
        let bound = BoundMap::bind(&map, &without_table(&gone));
        if !fatal(&bound).is_empty() {
            needed.push(gone.to_string());
        }
    }
    assert_eq!(needed, ["concept", "orders", "person", "person_attribute_type", "users"]);
}

/// The tables without one column of each, the one at this place; not without those that name rows. And
/// which it was.
fn without_column(place: usize) -> (LiveSchema, BTreeMap<Name, Name>) {
    let (mut schema, mut gone) = (openmrs(), BTreeMap::new());
    for table in schema.tables.values_mut() {
        let primary = table.indexes.iter().find(|index| index.name == "PRIMARY");
        let names = |column: &Name| {
            &**column == "uuid" || primary.is_some_and(|index| index.columns.contains(column))
        };
        let Some(column) = table.columns.get(place).map(|column| Arc::clone(&column.name)) else {
            continue;
        };
        if !names(&column) {
            table.columns.remove(place);
            table.indexes.retain(|index| !index.columns.contains(&column));
            table.foreign_keys.retain(|key| !key.columns.contains(&column));
            gone.insert(Arc::clone(&table.name), column);
        }
    }
    (schema, gone)
}

#[test]
fn whatever_column_but_three_a_version_lacks_all_tables_travel() {
    let map = openmrs_map();
    let most = openmrs().tables.values().map(|table| table.columns.len()).max().unwrap();
    let (mut needed, mut tried) = (BTreeSet::new(), 0);
    for place in 0..most {
        let (schema, gone) = without_column(place);
        tried += gone.len();
        let bound = BoundMap::bind(&map, &schema);
        for problem in bound.problems.iter().filter(|problem| problem.fatal) {
            // Nor do those that refer to a table that cannot.
            if !problem.message.contains("which cannot travel") {
                needed.insert(format!("{}.{}", problem.table, gone[&problem.table]));
            }
        }
    }
    assert!(tried > 1_200, "{tried}");
    assert_eq!(
        needed.into_iter().collect::<Vec<_>>(),
        [
            "obs_reference_range.obs_id",
            "person_attribute.person_attribute_type_id",
            "person_attribute_type.format",
        ]
    );
}

#[test]
fn whatever_may_be_null_in_a_version_all_tables_travel() {
    for nullable in [true, false] {
        let mut schema = openmrs();
        for table in schema.tables.values_mut() {
            // What is left out of these needs NULL or a default.
            for column in table.columns.iter_mut().filter(|_| nullable || &*table.name != "users") {
                column.nullable = nullable;
                column.default = None;
            }
        }
        let bound = BoundMap::bind(&openmrs_map(), &schema);
        assert_eq!(fatal(&bound), Vec::<String>::new(), "nullable: {nullable}");
    }
}
