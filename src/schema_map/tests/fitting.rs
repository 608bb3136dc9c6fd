//! Two ends whose tables are not the same: what rows would meet at the other one is named.

use super::*;
use crate::database::server::Flavor;
use crate::schema_map::fits::{End, disagreements};

const B: &str = "b: id int auto, uuid char(38), pk id, unique uuid";
const C: &str = "c: id int auto, uuid char(38), pk id, unique uuid";

/// What `map check --with` says; what is fatal begins with `!`.
fn found_by(rules: &str, here: &LiveSchema, there: &LiveSchema, flavor: Flavor) -> Vec<String> {
    let map = map(rules);
    let (ours, theirs) = (BoundMap::bind(&map, here), BoundMap::bind(&map, there));
    let version = (9, 7, 0);
    let here = End { map: &ours, schema: here, flavor, version };
    let there = End { map: &theirs, schema: there, flavor, version };
    let problems = disagreements(here, there).into_iter();
    let mark = |fatal| if fatal { "!" } else { "" };
    problems.map(|it| format!("{}{}: {}", mark(it.fatal), it.table, it.message)).collect()
}

/// The same for a table `a` that says more at each end, with `b` and `c` at both.
fn found(here: &str, there: &str) -> Vec<String> {
    let table = |more: &str| {
        let comma = if more.is_empty() { "" } else { ", " };
        schema(&format!("a: id int auto, uuid char(38), pk id, unique uuid{comma}{more}\n{B}\n{C}"))
    };
    found_by("a = {}\nb = {}\nc = {}", &table(here), &table(there), Flavor::Mysql)
}

fn told(here: &str, there: &str, words: &str) {
    let found = found(here, there);
    assert_eq!(found.len(), 1, "{here} / {there}: {found:?}");
    assert!(found[0].starts_with(words), "{here} / {there}: {found:?}");
}

fn silent(here: &str, there: &str) {
    assert_eq!(found(here, there), Vec::<String>::new(), "{here} / {there}");
}

#[test]
fn a_column_is_a_reference_at_both_ends_or_at_none() {
    let key = "b_id int null, fk b_id b id";
    silent(key, key);
    silent("b_id int null", "b_id int null");
    told(
        key,
        "b_id int null",
        "!a: its column b_id is a reference to b here and has no foreign key at the other end: add the key \
         there, or state references = { b_id = \"b\" } in the map",
    );
    told(
        "b_id int null",
        key,
        "!a: its column b_id has no foreign key here and is a reference to b at the other end: add the key \
         here, or state",
    );
    told(
        key,
        "b_id int null, fk b_id c id",
        "!a: its column b_id is a reference to b here and to c at the other end",
    );
    // What the map states needs no key.
    let rules = "a = { references = { b_id = 'b' } }\nb = {}\nc = {}";
    let table = |more: &str| {
        schema(&format!("a: id int auto, uuid char(38), pk id, unique uuid, {more}\n{B}\n{C}"))
    };
    let both = found_by(rules, &table(key), &table("b_id int null"), Flavor::Mysql);
    assert_eq!(both, Vec::<String>::new());
}

#[test]
fn a_key_that_is_shared_at_one_end_and_local_at_the_other_is_named() {
    let shared = "a: id int, uuid char(38), pk id, unique uuid, fk id b id";
    let own = "a: id int, uuid char(38), pk id, unique uuid";
    let with = |table: &str| schema(&format!("{table}\n{B}\n{C}"));
    let rules = "a = {}\nb = {}\nc = {}";
    let found = found_by(rules, &with(shared), &with(own), Flavor::Mysql);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("!a: its column id travels from here and is a local"),
        "{found:?}"
    );
    let found = found_by(rules, &with(own), &with(shared), Flavor::Mysql);
    assert!(found[0].starts_with("!a: its column id is a local number here, which"), "{found:?}");
}

#[test]
fn a_column_of_one_end_is_named_by_what_it_does_to_rows() {
    told("x int null", "", "a: its column x is not there at the other end");
    told("x int", "", "!a: its column x is not there at the other end, where every row waits");
    told("x int null, fk x b id", "", "a: its column x is not there at the other end");
    told("", "x int", "!a: its column x is not there here and may not be NULL at the other end");
    for fine in ["x int null", "x int default", "x enum"] {
        silent("", fine);
    }
    told("x int null", "x int", "!a: its column x may be NULL here and not at the other end");
    silent("x int", "x int null");
}

#[test]
fn what_one_end_computes_is_named() {
    let plain =
        schema(&format!("a: id int auto, uuid char(38), pk id, unique uuid, x int null\n{B}"));
    let mut computed = plain.clone();
    let column = computed.tables.get_mut("a").unwrap().columns.last_mut().unwrap();
    column.generated = true;
    let there = found_by("a = {}\nb = {}", &plain, &computed, Flavor::Mysql);
    assert!(there[0].starts_with("!a: its column x is computed at the other end"), "{there:?}");
    let here = found_by("a = {}\nb = {}", &computed, &plain, Flavor::Mysql);
    assert_eq!(here.len(), 1, "{here:?}");
    assert!(here[0].starts_with("a: its column x is computed here, so it does not"), "{here:?}");
    assert_eq!(found_by("a = {}\nb = {}", &computed, &computed, Flavor::Mysql), [""; 0]);
}

#[test]
fn a_unique_index_of_the_other_end_is_named_if_it_may_refuse_rows() {
    let two = "x int, y int";
    let with = |index: &str| format!("{two}, unique {index}");
    told(two, &with("x+y"), "a: its rows are unique in x, y by the index x+y at the other end");
    silent(&with("x"), &with("x+y"));
    silent(&with("x+y"), two);
    for never in ["id+x", "uuid+x"] {
        silent(two, &with(never));
    }
    silent(two, &format!("{two}, z int null, unique x+z"));
}

#[test]
fn rows_called_by_all_they_hold_need_the_same_columns() {
    let with = |columns: &str| schema(&format!("a: {columns}"));
    let found = |here: &str, there: &str| {
        found_by(
            "a = { identity = { whole_row = true } }",
            &with(here),
            &with(there),
            Flavor::Mysql,
        )
    };
    for other in ["x int null, y int null", "y int null, x int null"] {
        assert_eq!(found("x int null, y int null", other), [""; 0]);
    }
    let found = found("x int null, y int null", "x int null, y int null, z int null");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("!a: its rows are called by all they hold"), "{found:?}");
}

#[test]
fn foreign_keys_that_change_rows_are_the_same_at_both_ends() {
    let rules = "a = { references = { b_id = 'b' } }\nb = {}";
    let table = |delete: &str, update: &str| {
        let mut found = schema(&format!(
            "a: id int auto, uuid char(38), pk id, unique uuid, b_id int null, fk b_id b id\n{B}"
        ));
        let key = &mut found.tables.get_mut("a").unwrap().foreign_keys[0];
        delete.clone_into(&mut key.on_delete);
        update.clone_into(&mut key.on_update);
        found
    };
    let mut without = table("RESTRICT", "RESTRICT");
    without.tables.get_mut("a").unwrap().foreign_keys.clear();
    let (cascade, restrict) = (table("CASCADE", "RESTRICT"), table("RESTRICT", "NO ACTION"));
    let found =
        |here: &LiveSchema, there: &LiveSchema, flavor| found_by(rules, here, there, flavor);
    for there in [&restrict, &without] {
        let told = found(&cascade, there, Flavor::Mariadb);
        assert_eq!(told.len(), 1, "{told:?}");
        let begun = "!a: its foreign key fk_a_b_id to b says ON DELETE CASCADE, ON UPDATE RESTRICT here \
                     and ";
        assert!(told[0].starts_with(begun), "{told:?}");
        // MySQL from 9.6 logs what it does.
        assert!(found(&cascade, there, Flavor::Mysql)[0].starts_with("a: its foreign key"));
    }
    let told = found(&restrict, &cascade, Flavor::Mariadb);
    assert!(
        told[0].contains("says ON DELETE CASCADE, ON UPDATE RESTRICT at the other"),
        "{told:?}"
    );
    assert!(found(&without, &restrict, Flavor::Mariadb)[0].contains("is not there here"));
    let even = [(&cascade, &cascade), (&restrict, &table("NO ACTION", "RESTRICT"))];
    for (here, there) in even {
        assert_eq!(found(here, there, Flavor::Mariadb), [""; 0]);
    }
    // A local number is changed for nobody else, and a key that only refuses here is not missed there.
    assert_eq!(found(&table("RESTRICT", "CASCADE"), &restrict, Flavor::Mariadb), [""; 0]);
    assert_eq!(found(&restrict, &without, Flavor::Mariadb), [""; 0]);
}

#[test]
fn a_member_is_no_type_that_only_some_servers_have() {
    let mut column = column_of("c", "enum", true, None, "");
    "enum('none','compressed')".clone_into(&mut column.column_type);
    column.members = vec!["none".to_owned(), "compressed".to_owned()];
    assert_eq!(fits::rare(&column), None);
    let mut column = column_of("c", "varchar", true, None, "");
    "varchar(20) /*M!100301 COMPRESSED*/".clone_into(&mut column.column_type);
    assert!(fits::rare(&column).is_some());
}
