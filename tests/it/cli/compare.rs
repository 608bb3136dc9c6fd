//! The comparison of two databases: what is the same under other ids, and each way not to be.

use std::process::Output;

use headwater_rig::{Flavor, Server, ServerOptions, openmrs};

use super::{Desk, complaint, headwater, printed};
use crate::support::on_all;

on_all!(equal_databases_with_other_ids_are_in_step_and_each_difference_is_named);

/// A clinic's rows, with local ids from `first`.
fn rows(first: u32) -> String {
    let id = |number: u32| first + number;
    let (one, two, three) = (id(1), id(2), id(3));
    format!(
        "SET foreign_key_checks = 0, sql_mode = '';
INSERT INTO person (person_id, uuid, creator, date_created, gender, birthdate) VALUES
  ({one}, 'person-1', {one}, '2020-01-01', 'M', '0000-00-00'), ({two}, 'person-2', NULL, '2020-01-02', 'F', NULL);
INSERT INTO users (user_id, person_id, uuid, creator, date_created, username, system_id) VALUES
  ({one}, {one}, 'user-1', {one}, '2020-01-01', 'admin', 'admin');
INSERT INTO patient (patient_id, creator, date_created) VALUES ({two}, {one}, '2020-01-02');
INSERT INTO role (role, description, uuid) VALUES ('Nurse', 'Schwester 😀', 'role-1'), ('Doc', '', 'role-2');
INSERT INTO user_role (user_id, role) VALUES ({one}, 'Nurse'), ({one}, 'Doc');
INSERT INTO location (location_id, name, uuid, creator, date_created, parent_location) VALUES
  ({three}, 'Ward', 'location-1', {one}, '2020-01-01', {two}), ({two}, 'House', 'location-2', {one}, '2020-01-01', NULL);
INSERT INTO person_attribute_type (person_attribute_type_id, name, format, uuid, creator, date_created) VALUES
  ({three}, 'where', 'org.openmrs.Location', 'type-1', {one}, '2020-01-01'), ({one}, 'text', 'java.lang.String', 'type-2', {one}, '2020-01-01');
INSERT INTO person_attribute (person_id, person_attribute_type_id, value, uuid, creator, date_created) VALUES
  ({two}, {three}, {three}, 'attribute-1', {one}, '2020-01-01'), ({two}, {one}, '12', 'attribute-2', {one}, '2020-01-01');
INSERT INTO obs (obs_id, person_id, concept_id, obs_datetime, value_numeric, value_text, uuid, creator, date_created, obs_group_id) VALUES
  ({one}, {two}, {one}, '2020-01-03 10:00:00', 0.1, 'a\\nb', 'obs-1', {one}, '2020-01-03', NULL),
  ({two}, {two}, {one}, '2020-01-03 10:00:00', 1e-300, NULL, 'obs-2', {one}, '2020-01-03', {one});
INSERT INTO concept (concept_id, uuid, creator, date_created, datatype_id, class_id) VALUES ({one}, '1AAAAA', {one}, '2020-01-01', {one}, {one});
INSERT INTO concept_class (concept_class_id, name, uuid, creator, date_created) VALUES ({one}, 'c', 'class-1', {one}, '2020-01-01');
INSERT INTO concept_datatype (concept_datatype_id, name, uuid, creator, date_created) VALUES ({one}, 'd', 'datatype-1', {one}, '2020-01-01');
"
    )
}

async fn equal_databases_with_other_ids_are_in_step_and_each_difference_is_named(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let desk = Desk::new();
    let mut configs = Vec::new();
    for (name, first) in [("clinic", 100), ("centre", 7_000)] {
        openmrs::create(&server, name).await.unwrap();
        server.sql_in(name, &rows(first)).await.unwrap();
        configs.push(desk.configuration(name, &server.url(name), ""));
    }
    let centre = configs[1].display().to_string();
    let compare = |more: &[&str]| {
        headwater(&configs[0], &[&["compare", "--with", &centre][..], more].concat())
    };
    let equal = compare(&[]);
    assert_eq!(equal.status.code(), Some(0), "{}", printed(&equal));
    let last = printed(&equal).lines().last().unwrap().to_owned();
    assert!(last.starts_with("in step: 19 rows in "), "{}", printed(&equal));
    assert!(last.ends_with(" tables, 0 differences"), "{last}");

    for (change, expected, undo) in [
        (
            "UPDATE obs SET value_numeric = 0.1000000000000001 WHERE uuid = 'obs-1'",
            "obs-1 differs: value_numeric: \"0.1\" here, \"0.1000000000000001\" there",
            "UPDATE obs SET value_numeric = 0.1 WHERE uuid = 'obs-1'",
        ),
        (
            "UPDATE obs SET obs_group_id = NULL WHERE uuid = 'obs-2'",
            "obs-2 differs: obs_group_id: \"obs-1\" here, \"NULL\" there",
            "UPDATE obs SET obs_group_id = 7001 WHERE uuid = 'obs-2'",
        ),
        (
            "UPDATE person_attribute SET value = '7002' WHERE uuid = 'attribute-1'",
            "attribute-1 differs: value: \"location-1\" here, \"location-2\" there",
            "UPDATE person_attribute SET value = '7003' WHERE uuid = 'attribute-1'",
        ),
        (
            "UPDATE person_attribute SET value = '112' WHERE uuid = 'attribute-2'",
            "attribute-2 differs: value: \"12\" here, \"112\" there",
            "UPDATE person_attribute SET value = '12' WHERE uuid = 'attribute-2'",
        ),
        (
            "UPDATE role SET description = 'Schwester' WHERE role = 'Nurse'",
            "Nurse differs: description: \"Schwester 😀\" here, \"Schwester\" there",
            "UPDATE role SET description = 'Schwester 😀' WHERE role = 'Nurse'",
        ),
        (
            "DELETE FROM user_role WHERE role = 'Doc'",
            "user-1 + Doc is missing there",
            "INSERT INTO user_role (user_id, role) VALUES (7001, 'Doc')",
        ),
        (
            "DELETE FROM patient",
            "person-2 is missing there",
            "INSERT INTO patient (patient_id, creator, date_created) VALUES (7002, 7001, '2020-01-02')",
        ),
        (
            "UPDATE users SET creator = 1 WHERE uuid = 'user-1'",
            "creator: \"user-1\" here, \"a row that is not there\" there",
            "UPDATE users SET creator = 7001 WHERE uuid = 'user-1'",
        ),
    ] {
        let unchecked = |statement| format!("SET foreign_key_checks = 0; {statement}");
        server.sql_in("centre", &unchecked(change)).await.unwrap();
        let output = compare(&["--subset"]);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{change}: {text}");
        assert!(text.contains(expected), "{change}: {text}");
        assert!(text.contains("not in step: 1 differences in 1 of "), "{text}");
        server.sql_in("centre", &unchecked(undo)).await.unwrap();
    }
    let mended = compare(&[]);
    assert_eq!(mended.status.code(), Some(0), "{}", printed(&mended));

    tables_and_columns_of_one_end_are_named(&server, &compare).await;
    tables_that_cannot_be_compared_are_named(&server, &compare).await;
    json_is_compared_by_its_meaning(&server, &compare).await;
    values_are_compared_whatever_the_size_of_their_columns(&server, &compare).await;
    what_may_refer_to_a_table_of_one_end_is_compared(&server, &compare).await;
    a_table_that_cannot_be_read_is_named(&server, &compare).await;
    nothing_to_compare_is_no_success(&server, &desk).await;
    rows_without_a_key_are_counted(&server, &compare).await;

    // What only the parent has is a difference, unless the child is to be a part of it.
    let more = "INSERT INTO location (name, uuid, creator, date_created) VALUES ('Else', 'location-9', 7001, '2020-01-01')";
    server.sql_in("centre", &format!("SET sql_mode = ''; {more}")).await.unwrap();
    let strict = compare(&["--table", "location"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(printed(&strict).contains("location-9 is missing here"), "{}", printed(&strict));
    let subset = compare(&["--subset", "--json"]);
    assert_eq!(subset.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&subset.stdout).unwrap();
    assert_eq!((&report["differences"], &report["beyond"]), (&0.into(), &1.into()), "{report}");
}

async fn tables_and_columns_of_one_end_are_named(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    let run = async |database: &str, statement: &str| {
        let statement = format!("SET foreign_key_checks = 0; {statement}");
        server.sql_in(database, &statement).await.unwrap();
    };
    for (lacks, table, strict, subset, expected) in [
        // Nothing is missing of a table without rows.
        ("centre", "role_role", 0, 0, "role_role: there is no such mapped table there"),
        (
            "centre",
            "user_role",
            1,
            1,
            "user_role: there is no such mapped table there, 2 missing there\n  user-1 + ",
        ),
        ("clinic", "user_role", 1, 0, "user_role: there is no such mapped table here, 2 "),
    ] {
        run(lacks, &format!("RENAME TABLE {table} TO away")).await;
        for (more, code) in [(&[][..], strict), (&["--subset"][..], subset)] {
            let output = compare(more);
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(code), "{lacks} lacks {table}: {text}");
            assert!(text.contains(expected), "{expected}\nin {text}");
        }
        run(lacks, &format!("RENAME TABLE away TO {table}")).await;
    }
    run("centre", "ALTER TABLE location ADD COLUMN bed INT").await;
    run("clinic", "ALTER TABLE location ADD COLUMN cot INT").await;
    let output = compare(&[]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "location: 2 rows equal (only here, compared with NULL: cot) \
                    (not compared, only there: bed)";
    assert!(printed(&output).contains(expected), "{}", printed(&output));
    // What the other end has no room for is a difference; the other way round it is none.
    run("centre", "UPDATE location SET bed = 7").await;
    run("clinic", "UPDATE location SET cot = 5 WHERE uuid = 'location-2'").await;
    let output = compare(&["--subset"]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = "location-2 differs: cot: \"5\" here, \"no such column\" there";
    assert!(text.contains(expected) && text.contains("not in step: 1 differences"), "{text}");
    run("centre", "ALTER TABLE location DROP COLUMN bed").await;
    run("clinic", "ALTER TABLE location DROP COLUMN cot").await;
}

async fn tables_that_cannot_be_compared_are_named(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    const TABLE: &str = "clob_datatype_storage";
    let asked = |more: &[&str], code: i32, words: &str| {
        let output = compare(more);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {text}");
        assert!(text.contains(words), "{words}\nin {text}");
    };
    // In both, so that neither capture nor a comparison by the same map would miss it.
    for database in ["clinic", "centre"] {
        server.sql_in(database, &format!("ALTER TABLE {TABLE} ENGINE = MyISAM")).await.unwrap();
        for more in [&[][..], &["--subset"], &["--table", TABLE]] {
            asked(more, 1, &format!("{TABLE}: not compared, because here its engine MyISAM"));
            asked(more, 1, "tables, 0 differences, 1 tables not compared");
        }
    }
    asked(&[], 1, &format!("{TABLE}: not compared, because there its engine MyISAM"));
    asked(&["--table", "location"], 0, "in step: 2 rows in 1 tables");
    for database in ["clinic", "centre"] {
        server.sql_in(database, &format!("ALTER TABLE {TABLE} ENGINE = InnoDB")).await.unwrap();
    }
    asked(&[], 0, "in step: 19 rows in 104 tables, 0 differences");
}

/// One end keeps JSON as it was written, the other what it means.
async fn json_is_compared_by_its_meaning(server: &Server, compare: &impl Fn(&[&str]) -> Output) {
    if !server.flavor().is_new_mysql() {
        return;
    }
    for (database, kind) in [("clinic", "JSON"), ("centre", "LONGTEXT")] {
        let column = format!("ALTER TABLE location ADD COLUMN doc {kind}");
        server.sql_in(database, &column).await.unwrap();
    }
    let written = async |document: &str| {
        let document = document.replace('\\', "\\\\");
        for database in ["clinic", "centre"] {
            let sql = format!("UPDATE location SET doc = '{document}' WHERE uuid = 'location-1'");
            server.sql_in(database, &sql).await.unwrap();
        }
        compare(&["--table", "location"])
    };
    for document in
        [r#"{"b":1,   "aa": [1.50, 1E5, "\u00e9", -0]}"#, r#"{"a": 1e300}"#, r#""x""#, "[]"]
    {
        let output = written(document).await;
        assert_eq!(output.status.code(), Some(0), "{document}: {}", printed(&output));
    }
    let other = r#"UPDATE location SET doc = '{"a": 2}' WHERE uuid = 'location-1'"#;
    server.sql_in("centre", other).await.unwrap();
    let text = printed(&compare(&["--table", "location"]));
    assert!(text.contains("location-1 differs: doc: "), "{text}");
    for database in ["clinic", "centre"] {
        server.sql_in(database, "ALTER TABLE location DROP COLUMN doc").await.unwrap();
    }
}

async fn values_are_compared_whatever_the_size_of_their_columns(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    const VALUES: &str = "price = 1.5, bits = b'101', days = 'a,c', moment = '2026-11-22 01:02:03'";
    for (database, price, bits, days, moment) in [
        ("clinic", "DECIMAL(5,2)", "BIT(8)", "SET('a','b','c')", "DATETIME"),
        ("centre", "DECIMAL(9,4)", "BIT(16)", "SET('c','b','a')", "DATETIME(3)"),
    ] {
        let columns = format!(
            "SET sql_mode = ''; ALTER TABLE location ADD COLUMN price {price}, ADD COLUMN bits {bits}, \
             ADD COLUMN days {days}, ADD COLUMN moment {moment}; UPDATE location SET {VALUES}"
        );
        server.sql_in(database, &columns).await.unwrap();
    }
    let said = |code: i32, words: &str| {
        let output = compare(&["--table", "location"]);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{words}: {text}");
        assert!(text.contains(words), "{words}\nin {text}");
    };
    said(0, "location: 2 rows equal");
    for (change, words) in [
        ("price = 1.5001", "price: \"1.5\" here, \"1.5001\" there"),
        ("bits = b'100000101'", "bits: \"5\" here, \"261\" there"),
        ("days = 'a,b'", "days: \"a,c\" here, \"a,b\" there"),
        ("moment = '2026-11-22 01:02:03.001'", "location-1 differs: moment: "),
    ] {
        let of = |values: &str| {
            format!("SET sql_mode = ''; UPDATE location SET {values} WHERE uuid = 'location-1'")
        };
        server.sql_in("centre", &of(change)).await.unwrap();
        said(1, words);
        server.sql_in("centre", &of(VALUES)).await.unwrap();
    }
    for database in ["clinic", "centre"] {
        let columns = "SET sql_mode = ''; ALTER TABLE location DROP COLUMN price, DROP COLUMN bits, \
                       DROP COLUMN days, DROP COLUMN moment";
        server.sql_in(database, columns).await.unwrap();
    }
}

/// Attributes are of many kinds, and an application's version need not have the tables of all.
async fn what_may_refer_to_a_table_of_one_end_is_compared(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    let rename = async |statement: &str| {
        let statement = format!("SET foreign_key_checks = 0; RENAME TABLE {statement}");
        server.sql_in("centre", &statement).await.unwrap();
    };
    rename("cohort TO away").await;
    let output = compare(&["--table", "person_attribute"]);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let equal = "person_attribute: 2 rows equal";
    assert!(printed(&output).contains(equal), "{}", printed(&output));
    rename("away TO cohort").await;
}

/// No server joins more than 61 tables.
async fn a_table_that_cannot_be_read_is_named(
    server: &Server,
    compare: &impl Fn(&[&str]) -> Output,
) {
    const TABLE: &str = "clob_datatype_storage";
    let columns: Vec<String> = (0..61).map(|place| format!("ADD COLUMN r{place} INT")).collect();
    let keys: Vec<String> = (0..61)
        .map(|place| format!("ADD FOREIGN KEY (r{place}) REFERENCES location (location_id)"))
        .collect();
    let altered = format!(
        "SET foreign_key_checks = 0; CREATE TABLE kept LIKE {TABLE}; \
         ALTER TABLE {TABLE} {}, {}",
        columns.join(", "),
        keys.join(", ")
    );
    server.sql_in("clinic", &altered).await.unwrap();
    for more in [&[][..], &["--subset"], &["--table", TABLE]] {
        let output = compare(more);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let words = format!(
            "{TABLE}: not compared, because here its rows refer to those of more tables than the server \
             joins in one statement"
        );
        assert!(text.contains(&words) && text.contains("error 1116"), "{text}");
        assert!(text.contains("tables, 0 differences, 1 tables not compared"), "{text}");
    }
    // The tables after it in the alphabet are compared.
    assert!(printed(&compare(&[])).contains("user_role: 2 rows equal"));
    let undone =
        format!("SET foreign_key_checks = 0; DROP TABLE {TABLE}; RENAME TABLE kept TO {TABLE}");
    server.sql_in("clinic", &undone).await.unwrap();
}

async fn nothing_to_compare_is_no_success(server: &Server, desk: &Desk) {
    server.sql("CREATE DATABASE vacant; CREATE DATABASE bare").await.unwrap();
    let vacant = desk.configuration("vacant", &server.url("vacant"), "");
    let bare = desk.configuration("bare", &server.url("bare"), "").display().to_string();
    let text = complaint(&headwater(&vacant, &["compare", "--with", &bare]), 2);
    assert!(text.contains("none of the maps' tables is in vacant at "), "{text}");
    assert!(text.contains(", nor in bare at ") && text.contains("database.url"), "{text}");
}

async fn rows_without_a_key_are_counted(server: &Server, compare: &impl Fn(&[&str]) -> Output) {
    for (database, id) in [("clinic", 100), ("centre", 7_000)] {
        let rows = format!(
            "SET foreign_key_checks = 0, sql_mode = '';
             INSERT INTO concept_name_tag (concept_name_tag_id, tag, uuid, date_created)
               VALUES ({id}, 'preferred', 'tag-1', '2020-01-01');
             INSERT INTO concept_proposal (concept_proposal_id, original_text, locale, uuid, date_created)
               VALUES ({id}, 'toux', 'fr', 'proposal-1', '2020-01-01');
             INSERT INTO concept_proposal_tag_map VALUES ({id}, {id}), ({id}, {id})"
        );
        server.sql_in(database, &rows).await.unwrap();
    }
    let said = |output: &Output, code: i32, words: &str| {
        let text = printed(output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{words}\nin {text}");
    };
    said(&compare(&[]), 0, "concept_proposal_tag_map: 2 rows equal");
    let once = "INSERT INTO concept_proposal_tag_map VALUES (7000, 7000)";
    server.sql_in("centre", once).await.unwrap();
    said(&compare(&[]), 1, "tag-1 + proposal-1 is missing here");
    let twice = "DELETE FROM concept_proposal_tag_map LIMIT 2";
    server.sql_in("centre", twice).await.unwrap();
    said(&compare(&["--subset"]), 1, "concept_proposal_tag_map: 1 rows equal, 1 missing there");
    server.sql_in("centre", once).await.unwrap();
    said(&compare(&[]), 0, "concept_proposal_tag_map: 2 rows equal");
}
