//! Tests of binding: on the facts of the OpenMRS tables, and on small schemas made for one trap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::database::schema::{ForeignKey, LiveIndex, LiveSchema, LiveTable};
use crate::schema_map::check::Report;
use crate::schema_map::explain::explain;
use crate::schema_map::generate::generate;

const OPENMRS: &str = include_str!("../../schema-maps/openmrs-2.x.toml");

/// A schema with one line a table: columns with their types, then `pk`, `unique`, `fk` clauses.
pub(crate) fn schema(tables: &str) -> LiveSchema {
    let mut schema = LiveSchema { database: "test".to_owned(), tables: BTreeMap::new() };
    for line in tables.lines().filter(|line| !line.trim().is_empty()) {
        let (name, rest) = line.trim().split_once(": ").unwrap();
        let mut table = empty_table(name);
        for clause in rest.split(", ") {
            let words: Vec<&str> = clause.split_whitespace().collect();
            let names = |list: &str| list.split('+').map(Arc::from).collect::<Vec<Name>>();
            match words.as_slice() {
                ["pk", list] => table.indexes.insert(0, index("PRIMARY", true, names(list))),
                ["unique", list] => table.indexes.push(index(list, true, names(list))),
                ["engine", engine] => (*engine).clone_into(&mut table.engine),
                ["fk", list, target, referenced] => table.foreign_keys.push(ForeignKey {
                    name: format!("fk_{name}_{list}"),
                    columns: names(list),
                    table: Arc::from(*target),
                    referenced: names(referenced),
                    on_delete: "RESTRICT".to_owned(),
                    on_update: "RESTRICT".to_owned(),
                }),
                [column, kind, flags @ ..] => table.columns.push(column_of(
                    column,
                    kind,
                    flags.contains(&"null"),
                    flags.contains(&"default").then(|| "0".to_owned()),
                    if flags.contains(&"auto") { "auto_increment" } else { "" },
                )),
                _ => panic!("{clause}"),
            }
        }
        schema.tables.insert(Arc::from(name), table);
    }
    schema
}

pub(super) fn empty_table(name: &str) -> LiveTable {
    LiveTable {
        name: Arc::from(name),
        engine: "InnoDB".to_owned(),
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimate: 0,
        triggers: Vec::new(),
        system_versioned: false,
    }
}

fn index(name: &str, unique: bool, columns: Vec<Name>) -> LiveIndex {
    LiveIndex { name: name.to_owned(), unique, columns }
}

fn column_of(
    name: &str,
    kind: &str,
    nullable: bool,
    default: Option<String>,
    extra: &str,
) -> LiveColumn {
    let (data_type, length) = kind.split_once('(').unwrap_or((kind, ")"));
    LiveColumn {
        name: Arc::from(name),
        data_type: data_type.to_owned(),
        column_type: kind.to_owned(),
        nullable,
        default,
        charset: None,
        collation: None,
        extra: extra.to_owned(),
        unsigned: false,
        generated: extra.contains("stored generated"),
        members: Vec::new(),
        characters_max: length.trim_end_matches(')').parse().ok(),
        precision: None,
        scale: None,
    }
}

/// The 117 core tables of OpenMRS 2.8, from the facts that the test database is made of.
fn openmrs() -> LiveSchema {
    let rows = |text: &'static str| text.lines().skip(1).map(|line| line.split('\t').collect());
    let mut tables: BTreeMap<Name, LiveTable> = BTreeMap::new();
    let columns: Vec<Vec<&str>> = rows(include_str!("../../rig/openmrs/columns-2.8.tsv")).collect();
    for row in &columns {
        let table = tables.entry(Arc::from(row[0])).or_insert_with(|| empty_table(row[0]));
        let default = (row[5] != "\\N").then(|| row[5].to_owned());
        table.columns.push(column_of(row[2], row[3], row[4] == "YES", default, row[6]));
    }
    let indexes: Vec<Vec<&str>> = rows(include_str!("../../rig/openmrs/indexes-2.8.tsv")).collect();
    for row in &indexes {
        let columns = row[3].split(',').map(|name| Arc::from(name.trim())).collect();
        let unique = row[2] == "unique" || row[1] == "PRIMARY";
        tables.get_mut(row[0]).unwrap().indexes.push(index(row[1], unique, columns));
    }
    let keys: Vec<Vec<&str>> =
        rows(include_str!("../../rig/openmrs/foreign-keys-2.8.tsv")).collect();
    for row in &keys {
        tables.get_mut(row[0]).unwrap().foreign_keys.push(ForeignKey {
            name: row[1].to_owned(),
            columns: vec![Arc::from(row[2])],
            table: Arc::from(row[3]),
            referenced: vec![Arc::from(row[4])],
            on_update: row[5].to_owned(),
            on_delete: row[6].to_owned(),
        });
    }
    LiveSchema { database: "openmrs".to_owned(), tables }
}

fn openmrs_map() -> MapFile {
    MapFile::parse(OPENMRS, "openmrs-2.x.toml").unwrap()
}

fn map(tables: &str) -> MapFile {
    let head = "version = 1\n[defaults]\nclass = 'all'\nidentity = 'uuid'\n\
                [classes.all]\ndirection = 'up'\n[classes.idle]\ndirection = 'none'\n[tables]\n";
    MapFile::parse(&format!("{head}{tables}"), "test.toml").unwrap()
}

fn bind(tables: &str, schema_text: &str) -> BoundMap {
    BoundMap::bind(&map(tables), &schema(schema_text))
}

fn fatal(bound: &BoundMap) -> Vec<String> {
    let problems = bound.problems.iter().filter(|problem| problem.fatal);
    problems.map(|problem| format!("{}: {}", problem.table, problem.message)).collect()
}

fn role<'a>(bound: &'a BoundMap, table: &str, column: &str) -> &'a Role {
    let table = &bound.tables[table];
    &table.columns[table.column(column).unwrap()].role
}

fn always(table: &str, deferred: bool) -> Role {
    Role::Reference(ReferenceRule::Always { table: Arc::from(table), deferred })
}

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

#[test]
fn a_class_that_goes_no_way_is_still_known_to_those_that_refer_to_it() {
    let tables = "
        a: id int auto, uuid char(38), pk id, unique uuid, b_id int, fk b_id b id
        b: id int auto, uuid char(38), pk id, unique uuid, c_id int, fk c_id c id
        c: id int auto, uuid char(38), pk id, unique uuid";
    let bound = bind("a = {}\nb = { class = 'idle' }\nc = { class = 'idle' }", tables);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(bound.tables["b"].direction, Direction::None);
    assert!(bound.tables["b"].referenced);
    assert!(!bound.tables.contains_key("c"));
    assert_eq!(bound.left_out, [(Arc::from("c"), "class idle goes no way".to_owned())]);
}

#[test]
fn a_reference_to_a_table_that_stays_wants_a_decision() {
    let tables = "
        a: id int auto, uuid char(38), pk id, unique uuid, b_id int, fk b_id b id
        b: id int auto, uuid char(38), pk id, unique uuid
        d: id int auto, uuid char(38), pk id, unique uuid, a_id int, fk a_id a id";
    for rest in ["b = { exclude = 'cache' }", ""] {
        let bound = bind(&format!("a = {{}}\nd = {{}}\n{rest}"), tables);
        let problems = fatal(&bound);
        assert!(problems[0].contains("a: column b_id refers to b"), "{problems:?}");
        assert!(problems[1].contains("d: it refers to a, which cannot travel"), "{problems:?}");
        assert!(bound.tables.is_empty());
    }
    let plain = bind("a = { plain = ['b_id'] }", tables);
    assert_eq!(role(&plain, "a", "b_id"), &Role::Plain);
    let without = bind("a = { left_out = ['b_id'], fill = { b_id = '1' } }", tables);
    assert_eq!(role(&without, "a", "b_id"), &Role::LeftOut(Fill::Text("1".to_owned())));
}

#[test]
fn what_cannot_travel_is_named_with_a_remedy() {
    let one = |entry: &str, table: &str| fatal(&bind(&format!("a = {entry}"), table)).join("\n");
    let plain = "a: id int auto, uuid char(38), pk id, unique uuid, x varchar(9)";
    assert_eq!(one("{}", plain), "");
    assert!(one("{}", &format!("{plain}, engine MyISAM")).contains("ENGINE=InnoDB"));
    assert!(one("{}", "a: id int auto, pk id").contains("identity column uuid"));
    assert!(one("{}", &format!("{plain}, y xmltype")).contains("left_out = [\"y\"]"));
    assert!(one("{ left_out = ['x'] }", plain).contains("fill = { x"));
    assert!(one("{ left_out = ['id'] }", plain).contains("primary key"));
    assert!(one("{ identity = 'x', references = { x = 'b' } }", plain).contains("not mapped"));
    assert!(one("{ identity = { borrowed = 'b' } }", plain).contains('b'));
    assert!(one("{ rows_left_out = [{ column = 'y', null = true }] }", plain).contains("column y"));
    assert!(one("{ local_key = 'y' }", plain).contains("local_key y"));
    assert!(one("{ identity = ['x', 'z'] }", plain).contains('z'));
    assert!(one("{ identity = 'f' }", "a: id int auto, f double, pk id").contains("double"));
}

#[test]
fn what_is_doubtful_is_a_remark_and_travels() {
    let bound = bind(
        "a = { left_out = ['pasword'] }",
        "a: id int, uuid char(38) null, pk id, password varchar(9) null",
    );
    assert_eq!(fatal(&bound), Vec::<String>::new());
    let remarks: Vec<_> = bound.problems.iter().map(|problem| problem.message.as_str()).collect();
    let all = remarks.join("\n");
    assert!(all.contains("column pasword, which it does not have"), "{all}");
    assert!(all.contains("CREATE UNIQUE INDEX `headwater_uuid` ON `a` (`uuid`)"), "{all}");
    assert!(all.contains("may be NULL"), "{all}");
    assert!(all.contains("not AUTO_INCREMENT"), "{all}");
}

#[test]
fn a_cycle_is_broken_where_null_is_allowed() {
    let bound = bind(
        "a = {}\nb = {}",
        "a: id int auto, uuid char(38), pk id, unique uuid, b_id int, fk b_id b id
         b: id int auto, uuid char(38), pk id, unique uuid, a_id int null, fk a_id a id",
    );
    assert_eq!(role(&bound, "b", "a_id"), &always("a", true));
    assert_eq!(role(&bound, "a", "b_id"), &always("b", false));
    assert_eq!((bound.tables["b"].level, bound.tables["a"].level), (0, 1));
}

#[test]
fn a_cycle_without_any_null_is_broken_the_same_way_everywhere() {
    let bound = bind(
        "a = {}\nb = {}\nc = {}",
        "a: id int auto, uuid char(38), pk id, unique uuid, b_id int, fk b_id b id
         b: id int auto, uuid char(38), pk id, unique uuid, c_id int, fk c_id c id
         c: id int auto, uuid char(38), pk id, unique uuid, a_id int, fk a_id a id",
    );
    assert_eq!(role(&bound, "a", "b_id"), &always("b", true));
    assert_eq!(role(&bound, "b", "c_id"), &always("c", false));
    assert_eq!(role(&bound, "c", "a_id"), &always("a", false));
}

#[test]
fn identities_that_depend_on_each_other_in_a_circle_are_refused() {
    let bound = bind(
        "a = { identity = ['b_id'] }\nb = { identity = ['a_id'] }\n\
         s = { identity = ['parent', 'n'] }",
        "a: id int auto, pk id, b_id int, fk b_id b id
         b: id int auto, pk id, a_id int, fk a_id a id
         s: id int auto, pk id, parent int, n int, fk parent s id",
    );
    let problems = fatal(&bound).join("\n");
    assert!(problems.contains("identities of a, b depend on each other"), "{problems}");
    assert!(problems.contains("s: its identity includes parent"), "{problems}");
    assert!(bound.tables.is_empty());
}

#[test]
fn a_key_that_means_the_same_everywhere_travels_as_it_is() {
    let bound = bind(
        "a = {}\nb = { identity = 'code' }\nc = {}",
        "a: id int auto, uuid char(38), pk id, unique uuid
         b: code varchar(9), name varchar(9), a_uuid char(38), pk code, fk a_uuid a uuid
         c: id int auto, uuid char(38), pk id, unique uuid, b varchar(9), fk b b code",
    );
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(role(&bound, "b", "a_uuid"), &Role::Plain);
    assert_eq!(role(&bound, "b", "code"), &Role::Plain);
    assert_eq!(role(&bound, "c", "b"), &always("b", false));
    assert_eq!(bound.tables["b"].local_key, Some(0));
}

#[test]
fn a_foreign_key_of_several_columns_wants_a_statement() {
    let tables = "
        a: x int auto, y int, uuid char(38), pk x+y, unique uuid
        b: id int auto, uuid char(38), pk id, unique uuid, ax int, ay int, fk ax+ay a x+y";
    let problems = fatal(&bind("a = {}\nb = {}", tables)).join("\n");
    assert!(problems.contains("b: column ax is part of the foreign key"), "{problems}");
    let bound = bind("a = {}\nb = { references = { ax = 'a' } }", tables);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!(role(&bound, "b", "ax"), &always("a", false));
    assert_eq!(role(&bound, "b", "ay"), &Role::Plain);
}

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
    let by_hand = ["global_property", "obs_reference_range", "privilege", "role"];
    assert_eq!(differ.iter().map(String::as_str).collect::<BTreeSet<_>>(), by_hand.into());
    assert!(text.contains("they look like secrets"));
    for stated in ["concept_id = \"concept\"", "changed_by = \"users\"", "voided_by = \"users\""] {
        assert!(text.contains(&format!("references = {{ {stated} }}")), "{stated}");
    }
    assert!(text.contains("say identity = \"role\""));
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
