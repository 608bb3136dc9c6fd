//! Planning without a database.

use std::collections::HashMap;

use super::*;
use crate::apply::State;
use crate::apply::admit::shut_out;
use crate::database::schema::LiveColumn;
use crate::schema_map::{BoundColumn, ReferenceRule, RowCondition, RowTest};

fn column(name: &str, data_type: &str, role: Role) -> BoundColumn {
    let name = Name::from(name);
    let live = LiveColumn {
        name: Arc::clone(&name),
        data_type: data_type.to_owned(),
        column_type: data_type.to_owned(),
        nullable: true,
        default: None,
        charset: None,
        collation: None,
        extra: String::new(),
        unsigned: false,
        generated: false,
        members: Vec::new(),
        characters_max: None,
        precision: None,
        scale: None,
    };
    BoundColumn { name, live, role }
}

fn refers(table: &str) -> Role {
    Role::Reference(ReferenceRule::Always { table: Name::from(table), deferred: false })
}

fn table(name: &str, level: u32, more: Vec<BoundColumn>) -> (Name, Arc<BoundTable>) {
    let mut columns =
        vec![column("id", "int", Role::LocalKey), column("uuid", "char", Role::Plain)];
    columns.extend(more);
    let table = BoundTable {
        name: Name::from(name),
        class: Name::from("clinical"),
        direction: Direction::Up,
        level,
        columns,
        identity: BoundIdentity::Column(1),
        local_key: Some(0),
        primary_key: vec![0],
        auto_increment: Some(0),
        referenced: name == "person",
        delete_reaches: false,
        has_triggers: false,
        followed: Vec::new(),
        has_hashes: false,
        rows_left_out: Vec::new(),
    };
    (Arc::clone(&table.name), Arc::new(table))
}

/// Persons, and observations that refer to them.
fn map() -> BoundMap {
    let mut secret = column("secret", "varchar", Role::LeftOut(crate::schema_map::Fill::Default));
    secret.live.nullable = false;
    let person = vec![column("gender", "varchar", Role::Plain), secret];
    let obs =
        vec![column("person_id", "int", refers("person")), column("value", "varchar", Role::Plain)];
    let mut tables: HashMap<_, _> =
        [table("person", 0, person), table("obs", 1, obs)].into_iter().collect();
    let (name, down) = table("drug", 0, Vec::new());
    let down = BoundTable { direction: Direction::Down, ..(*down).clone() };
    tables.insert(name, Arc::new(down));
    let (name, property) = table("property", 0, Vec::new());
    let left = RowCondition { column: 1, test: RowTest::Like(vec!["secret.*".to_owned()]) };
    let property = BoundTable { rows_left_out: vec![left], ..(*property).clone() };
    tables.insert(name, Arc::new(property));
    let name = Name::from("tag_map");
    let (_, whole) = table("tag_map", 1, Vec::new());
    let whole = BoundTable {
        identity: BoundIdentity::WholeRow,
        primary_key: Vec::new(),
        local_key: None,
        auto_increment: None,
        columns: vec![column("person_id", "int", refers("person"))],
        ..(*whole).clone()
    };
    tables.insert(name, Arc::new(whole));
    BoundMap {
        tables,
        digest: [0; 32],
        unmapped: vec![Name::from("audit")],
        left_out: vec![(Name::from("cache"), "a cache".to_owned())],
        problems: Vec::new(),
    }
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn item(kind: Kind, table: &str, uuid: &str, values: &[(&str, Value<'static>)]) -> Item<'static> {
    let columns = values.iter().map(|(column, _)| Name::from(*column)).collect();
    Item {
        change: Change {
            shape: Arc::new(Shape { table: Name::from(table), columns }),
            kind,
            identity: Identity::One(text(uuid)),
            previous: None,
            values: values.iter().map(|(_, value)| value.clone()).collect(),
            base: None,
        },
        source: Source::Fresh { sequence: Sequence(1), place: 1 },
    }
}

fn person(kind: Kind, uuid: &str) -> Item<'static> {
    item(kind, "person", uuid, &[])
}

fn obs(kind: Kind, uuid: &str, value: &str) -> Item<'static> {
    let reference = Reference { table: Name::from("person"), identity: Identity::One(text("p")) };
    let reference = Value::Reference(Box::new(reference));
    match kind {
        Kind::Insert => {
            item(kind, "obs", uuid, &[("person_id", reference), ("value", text(value))])
        }
        Kind::Update => item(kind, "obs", uuid, &[("value", text(value))]),
        Kind::Delete => item(kind, "obs", uuid, &[]),
    }
}

/// The same, where the server takes the rows along that refer to a person it deletes.
fn cascading() -> BoundMap {
    let mut map = map();
    if let Some(person) = map.tables.get_mut("person") {
        *person = Arc::new(BoundTable { delete_reaches: true, ..(**person).clone() });
    }
    map
}

/// What is planned, as `table uuid net changes`, and how many changes it took.
fn planned(items: &[Item<'static>]) -> (Vec<String>, usize) {
    planned_with(&map(), items)
}

fn planned_with(map: &BoundMap, items: &[Item<'static>]) -> (Vec<String>, usize) {
    let plan = plan(map, Direction::Up, items);
    let shown = plan
        .rows
        .iter()
        .map(|row| format!("{} {} {:?} {}", row.table.name, row.identity, row.net, row.items.len()))
        .collect();
    (shown, plan.taken)
}

#[test]
fn changes_of_a_row_become_one() {
    let items =
        [obs(Kind::Insert, "o", "1"), obs(Kind::Update, "o", "2"), obs(Kind::Update, "o", "3")];
    assert_eq!(planned(&items), (vec!["obs o Insert 3".to_owned()], 3));
    let map = map();
    let plan = plan(&map, Direction::Up, &items);
    let value = plan.rows[0].values.iter().find(|(column, _)| *column == 3).unwrap().1;
    assert_eq!(*value, text("3"));
}

#[test]
fn rows_are_written_by_level_whatever_their_order() {
    let items = [obs(Kind::Insert, "o", "1"), person(Kind::Insert, "p")];
    let (rows, taken) = planned(&items);
    assert_eq!((rows[0].as_str(), taken), ("person p Insert 1", 2));
}

#[test]
fn a_row_made_again_after_its_delete_waits_for_the_next_run() {
    let items = [obs(Kind::Delete, "o", ""), obs(Kind::Insert, "o", "1")];
    assert_eq!(planned(&items), (vec!["obs o Delete 1".to_owned()], 1));
}

#[test]
fn a_row_that_nobody_refers_to_may_come_and_go_in_one_run() {
    let items = [obs(Kind::Insert, "o", "1"), obs(Kind::Delete, "o", "")];
    assert_eq!(planned(&items), (vec!["obs o Delete 2".to_owned()], 2));
}

#[test]
fn a_row_that_others_refer_to_comes_before_it_goes() {
    let items = [person(Kind::Insert, "p"), person(Kind::Delete, "p")];
    assert_eq!(planned_with(&cascading(), &items).1, 1);
    assert_eq!(planned(&items), (vec!["person p Delete 2".to_owned()], 2));

    let stays = [person(Kind::Insert, "p"), obs(Kind::Insert, "o", ""), person(Kind::Delete, "p")];
    assert_eq!(planned(&stays).1, 2, "o keeps what it holds, as it does at the source");
    let goes = [
        person(Kind::Insert, "p"),
        obs(Kind::Insert, "o", ""),
        obs(Kind::Delete, "o", ""),
        person(Kind::Delete, "p"),
    ];
    assert_eq!(planned(&goes).1, 4);
}

#[test]
fn who_refers_to_rows_that_come_and_go_is_asked_so_often_only() {
    let uuids: Vec<String> = (0..=COME_AND_GO_MAX).map(|number| format!("p{number}")).collect();
    let mut items: Vec<_> = uuids.iter().map(|uuid| person(Kind::Insert, uuid)).collect();
    items.extend(uuids.iter().map(|uuid| person(Kind::Delete, uuid)));
    assert_eq!(planned(&items).1, items.len() - 1);
}

#[test]
fn nothing_is_written_before_a_delete_that_may_cascade_over_it() {
    let items = [
        obs(Kind::Delete, "a", ""),
        obs(Kind::Insert, "b", ""),
        person(Kind::Delete, "p"),
        obs(Kind::Update, "c", ""),
    ];
    assert_eq!(planned_with(&cascading(), &items).1, 3);
    assert_eq!(planned(&items).1, 4, "a delete that can only be refused takes nothing along");
}

#[test]
fn what_refers_to_a_row_that_went_is_written_after_it_went() {
    let items = [person(Kind::Delete, "p"), person(Kind::Update, "q"), obs(Kind::Insert, "c", "")];
    assert_eq!(planned(&items).1, 2);
}

#[test]
fn a_row_renamed_is_alone_in_its_run() {
    let mut renamed = person(Kind::Update, "q");
    renamed.change.previous = Some(Identity::One(text("p")));
    let items = [person(Kind::Insert, "p"), renamed, person(Kind::Update, "q")];
    assert_eq!(planned(&items).1, 1);
    assert_eq!(planned(&items[1..]).1, 1);
}

#[test]
fn equal_rows_without_a_key_are_rows_of_their_own() {
    let reference = Reference { table: Name::from("person"), identity: Identity::One(text("p")) };
    let mut tag = item(Kind::Insert, "tag_map", "x", &[("person_id", Value::Null)]);
    tag.change.identity = Identity::Many(vec![Value::Reference(Box::new(reference))]);
    let again = Item { change: tag.change.clone(), source: tag.source };
    assert_eq!(planned(&[tag, again]).0.len(), 2);
}

#[test]
fn what_the_map_does_not_let_in_is_told_from_what_has_to_be_made() {
    for table in ["drug", "cache", "audit"] {
        let reason = shut_out(&map(), Direction::Up, &Name::from(table)).unwrap();
        assert!(reason.contains(table), "{reason}");
    }
    for table in ["person", "unheard_of"] {
        assert_eq!(shut_out(&map(), Direction::Up, &Name::from(table)), None);
    }
}

#[test]
fn what_was_set_aside_before_the_map_left_its_table_out_needs_a_person() {
    let held = Item { source: Source::Held { id: 1 }, ..item(Kind::Update, "cache", "x", &[]) };
    let items = [person(Kind::Insert, "p"), held, person(Kind::Insert, "q")];
    let map = map();
    let plan = plan(&map, Direction::Up, &items);
    assert_eq!((plan.rows.len(), plan.taken), (2, 3));
    let [(1, hold)] = plan.aside.as_slice() else { panic!("{:?}", plan.aside) };
    assert_eq!(hold.state, State::Quarantined);
    assert!(hold.reason.contains("a cache") && hold.reason.contains("discard"), "{}", hold.reason);
}

fn aside(item: Item<'static>) -> (State, String) {
    let map = map();
    let items = [item];
    let mut plan = plan(&map, Direction::Up, &items);
    assert!(plan.rows.is_empty());
    let (_, hold) = plan.aside.pop().unwrap();
    (hold.state, hold.reason)
}

#[test]
fn what_cannot_stand_where_it_is_sent_is_set_aside() {
    let (state, reason) = aside(item(Kind::Insert, "person", "p", &[("shoe", text("42"))]));
    assert_eq!(state, State::Parked);
    assert!(reason.contains("shoe"), "{reason}");
    let (state, _) = aside(item(Kind::Insert, "person", "p", &[("id", Value::Int(1))]));
    assert_eq!(state, State::Quarantined);
    let (state, _) = aside(item(Kind::Insert, "person", "p", &[("uuid", text("q"))]));
    assert_eq!(state, State::Quarantined);
    let (state, _) = aside(item(Kind::Update, "obs", "o", &[("person_id", Value::Int(7))]));
    assert_eq!(state, State::Quarantined);
    let drug = Reference { table: Name::from("drug"), identity: Identity::One(text("d")) };
    let wrong = Value::Reference(Box::new(drug));
    let (state, _) = aside(item(Kind::Update, "obs", "o", &[("person_id", wrong.clone())]));
    assert_eq!(state, State::Quarantined);
    let (state, _) = aside(item(Kind::Update, "obs", "o", &[("value", wrong)]));
    assert_eq!(state, State::Quarantined);
    let (state, _) = aside(item(Kind::Insert, "property", "secret.key", &[]));
    assert_eq!(state, State::Quarantined);
    let (state, _) = aside(item(Kind::Insert, "unheard_of", "x", &[]));
    assert_eq!(state, State::Parked);
}

#[test]
fn a_left_out_column_that_is_sent_is_not_written() {
    let items =
        [item(Kind::Insert, "person", "p", &[("secret", text("x")), ("gender", text("F"))])];
    let map = map();
    let plan = plan(&map, Direction::Up, &items);
    assert_eq!(plan.rows[0].values.len(), 1);
}

#[test]
fn later_changes_join_the_one_that_is_set_aside() {
    let items = [
        item(Kind::Insert, "person", "p", &[("shoe", text("42"))]),
        item(Kind::Update, "person", "p", &[("gender", text("F"))]),
    ];
    let map = map();
    let plan = plan(&map, Direction::Up, &items);
    assert_eq!((plan.rows.len(), plan.aside.len(), plan.taken), (0, 2, 2));
}
