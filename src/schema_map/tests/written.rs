//! Maps that are generated, explained and checked.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn what_is_generated_loads_and_agrees_with_the_map_written_by_hand() {
    let schema = openmrs();
    let text = generate(&schema, &MapFile::default());
    let proposed = MapFile::parse(&text, "generated").unwrap();
    let bound = BoundMap::bind(&proposed, &schema);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(bound.unmapped, Vec::<Name>::new());
    let ours = BoundMap::bind(&openmrs_map(), &schema);
    let differ: Vec<_> = ours
        .tables
        .values()
        .filter(|table| {
            bound.tables.get(&table.name).is_none_or(|found| found.identity != table.identity)
        })
        .map(|table| table.name.to_string())
        .collect();
    let by_hand = ["global_property", "obs_reference_range"];
    assert_eq!(differ.iter().map(String::as_str).collect::<BTreeSet<_>>(), by_hand.into());
    assert!(text.contains("they look like secrets"));
    for stated in ["concept_id = \"concept\"", "changed_by = \"users\"", "voided_by = \"users\""] {
        assert!(text.contains(&format!("references = {{ {stated} }}")), "{stated}");
    }
    assert!(text.contains("\nrole = { identity = \"role\""), "{text}");
    assert!(text.contains("\nvisit = {}\n"), "{text}");
}

#[test]
fn what_a_map_does_not_mention_can_be_generated_beside_it() {
    let mut schema = openmrs();
    let module = self::schema(
        "idgen_pool: id int auto, uuid char(38), pk id, unique uuid, location_id int null, fk location_id location location_id
         idgen_log: id int auto, pk id, note text
         idgen_use: log_id int, pool_id int, pk log_id+pool_id, fk log_id idgen_log id, fk pool_id idgen_pool id",
    );
    schema.tables.extend(module.tables);
    let known = openmrs_map();
    let text = generate(&schema, &known);
    let mut both = known;
    both.merge(MapFile::parse(&text, "modules").unwrap(), "modules").unwrap();
    let bound = BoundMap::bind(&both, &schema);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(role(&bound, "idgen_pool", "location_id"), &always("location", false));
    let stays: Vec<_> = bound.left_out.iter().map(|(name, _)| &**name).collect();
    assert!(stays.contains(&"idgen_log") && stays.contains(&"idgen_use"), "{text}");
    assert!(text.contains("undecided"));
}

#[test]
fn tables_of_any_name_can_be_generated() {
    let mut schema = LiveSchema { database: "test".to_owned(), tables: BTreeMap::new() };
    for name in ["we ird`t%a.b\"'", "back\\slash", "dél😀", "\u{7f}", "a\nb"] {
        let [mut table] = <[LiveTable; 1]>::try_from(
            self::schema("x: id int auto, uuid char(38), pk id, unique uuid")
                .tables
                .into_values()
                .collect::<Vec<_>>(),
        )
        .unwrap();
        table.name = Name::from(name);
        schema.tables.insert(Name::from(name), table);
    }
    let text = generate(&schema, &MapFile::default());
    let map = MapFile::parse(&text, "generated").unwrap();
    let bound = BoundMap::bind(&map, &schema);
    assert_eq!(bound.unmapped, [Name::from("a\nb")], "a line's end in a name is no name for a map");
    assert_eq!(bound.tables.len(), 4, "{text}");
}

#[test]
fn every_column_is_explained_in_plain_words() {
    let (schema, map) = (openmrs(), openmrs_map());
    let bound = BoundMap::bind(&map, &schema);
    let words = |table: &str| explain(&map, &bound, &schema, table);
    let users = words("users");
    assert!(users.starts_with("users: class users, goes up"), "{users}");
    assert!(users.contains("password         does not travel; a new row gets ''"), "{users}");
    assert!(
        users.contains("person_id        refers to person: travels as that row's uuid\n"),
        "{users}"
    );
    assert!(users.contains("note: no unique index"), "{users}");
    for column in &schema.tables["users"].columns {
        assert!(users.contains(&format!("  {} ", column.name)), "{}", column.name);
    }
    assert!(words("patient").contains("called what the row of person is called"));
    assert!(words("person_attribute").contains("org.openmrs.Location = location"));
    assert!(words("global_property").contains("rows stay whose property looks like none of"));
    assert!(words("hl7_in_queue").contains("stays: queue of one server"));
    assert!(words("concept_word").contains("stays"));
    assert!(words("nothing").contains("no table nothing"));
}

#[test]
fn check_finds_numbers_that_look_like_ids_and_rows_that_move_by_themselves() {
    let (mut schema, map) = (openmrs(), openmrs_map());
    let bound = BoundMap::bind(&map, &schema);
    let quiet = Report::of(&map, &bound, &schema);
    let ids: Vec<_> =
        quiet.problems.iter().filter(|problem| problem.message.contains("looks like")).collect();
    assert!(ids.is_empty(), "{ids:?}");
    assert!(quiet.problems.iter().any(|problem| {
        &*problem.table == "users" && problem.message.contains("ON DELETE CASCADE")
    }));
    let visit = schema.tables.get_mut("visit").unwrap();
    visit.columns.push(column_of("obs_id", "int", true, None, ""));
    visit.triggers.push("visit_log".to_owned());
    let bound = BoundMap::bind(&map, &schema);
    let text = Report::of(&map, &bound, &schema).to_string();
    assert!(
        text.contains("visit: its column obs_id looks like a number of a row of obs"),
        "{text}"
    );
    assert!(text.contains("visit: it has triggers (visit_log)"), "{text}");
}
