//! Small schemas, each made for one trap.

use super::*;

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
    assert!(all.contains("CREATE UNIQUE INDEX `headwater_uuid` ON `test`.`a` (`uuid`)"), "{all}");
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
fn a_reference_holds_a_local_number_or_what_the_row_is_called_by() {
    let tables = "
        country: code char(2), uuid char(38), pk code, unique uuid
        tag: id int auto, word varchar(9), pk id
        town: id int auto, uuid char(38), pk id, unique uuid, country char(2), fk country country code
        note: id int auto, uuid char(38), pk id, unique uuid, tag_id int, fk tag_id tag id";
    let map = |country: &str, tag: &str| {
        fatal(&bind(&format!("country = {country}\ntag = {tag}\ntown = {{}}\nnote = {{}}"), tables))
    };
    assert!(map("{ identity = 'code' }", "{ identity = 'word' }").is_empty());
    let problems = map("{}", "{ identity = { whole_row = true } }").join("\n");
    assert!(problems.contains("town: column country holds code of country"), "{problems}");
    assert!(problems.contains("say identity = \"code\" for country"), "{problems}");
    assert!(problems.contains("note: column tag_id refers to tag, whose rows"), "{problems}");
    // What is proposed binds, with all four tables.
    let proposed = generate(&schema(tables), &MapFile::default());
    assert!(proposed.contains("country = { identity = \"code\" }"), "{proposed}");
    assert!(!proposed.contains("town = { exclude"), "{proposed}");
}

#[test]
fn a_row_is_called_by_all_that_travels_in_the_order_of_names() {
    let entry = "a = { identity = { whole_row = true } }";
    let names = |table: &str| {
        let bound = bind(entry, table);
        assert_eq!(fatal(&bound), Vec::<String>::new());
        let table = &bound.tables["a"];
        let columns = table.identity_columns().into_iter();
        columns.map(|index| table.columns[index].name.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("a: z int, b int, c int"), "b c z");
    assert_eq!(names("a: c int, id bigint auto, z int, b int, pk id"), "b c z");
    // A number that nobody counts is one of the values.
    assert_eq!(names("a: z int, n int, pk n"), "n z");
}

#[test]
fn rows_are_left_out_by_what_a_list_can_hold_only() {
    let tables = "
        role: role varchar(9), pk role
        a: id int auto, uuid char(38), pk id, unique uuid, x varchar(9), doc json, f double, raw blob,
          role varchar(9), b_id int null, fk role role role, fk b_id b id
        b: id int auto, uuid char(38), pk id, unique uuid";
    let tables = tables.replace("raw blob,\n         ", "raw blob,");
    let one = |condition: &str| {
        let entry = format!(
            "a = {{ rows_left_out = [{condition}] }}\nb = {{}}\nrole = {{ identity = 'role' }}"
        );
        fatal(&bind(&entry, &tables)).join("\n")
    };
    for fine in [
        "{ column = 'x', not_in = ['1'] }",
        "{ column = 'doc', null = true }",
        "{ column = 'role', not_in = ['nurse'] }",
        "{ column = 'b_id', null = true }",
    ] {
        assert_eq!(one(fine), "", "{fine}");
    }
    for column in ["doc", "f", "raw"] {
        for test in ["in", "not_in", "like", "not_like"] {
            let problem = one(&format!("{{ column = '{column}', {test} = ['1'] }}"));
            assert!(problem.contains(&format!("tests its column {column}")), "{test}: {problem}");
        }
    }
    assert!(one("{ column = 'b_id', not_in = ['1'] }").contains("numbers of this database"));
}
