//! The text of a schema map, held against a small database.

use std::sync::LazyLock;

use headwater::database::schema::{ForeignKey, LiveColumn, LiveIndex, LiveSchema, LiveTable};
use headwater::schema_map::check::Report;
use headwater::schema_map::{BoundMap, MapFile, explain, generate};

static SCHEMA: LazyLock<LiveSchema> = LazyLock::new(schema);

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let map = match MapFile::parse(text, "map.toml") {
        Ok(map) => map,
        Err(error) => return drop(error.to_string()),
    };
    assert_eq!(map.digest(), map.digest());
    let bound = BoundMap::bind(&map, &SCHEMA);
    for table in bound.tables.values() {
        let count = table.columns.len();
        assert!(table.identity_columns().iter().all(|column| *column < count));
        assert!(table.value_columns().iter().all(|column| *column < count));
        drop(explain::explain(&map, &bound, &SCHEMA, &table.name));
    }
    drop(format!("{:?}", Report::of(&map, &bound, &SCHEMA)));
    // What is proposed beside a map is one itself.
    let proposed = generate::generate(&SCHEMA, &map);
    let proposed = MapFile::parse(&proposed, "proposed.toml").expect("a map of our own");
    drop(BoundMap::bind(&proposed, &SCHEMA));
}

fn column(name: &str, data_type: &str, extra: &str) -> LiveColumn {
    let text = matches!(data_type, "char" | "varchar" | "text");
    LiveColumn {
        name: name.into(),
        data_type: data_type.to_owned(),
        column_type: data_type.to_owned(),
        nullable: false,
        default: None,
        charset: text.then(|| "utf8mb4".to_owned()),
        collation: text.then(|| "utf8mb4_general_ci".to_owned()),
        extra: extra.to_owned(),
        unsigned: false,
        generated: extra.contains("generated"),
        members: Vec::new(),
        characters_max: text.then_some(38),
        precision: None,
        scale: None,
    }
}

fn index(name: &str, columns: &[&str]) -> LiveIndex {
    let columns = columns.iter().map(|column| (*column).into()).collect();
    LiveIndex { name: name.to_owned(), unique: true, columns }
}

fn key(column: &str, table: &str, referenced: &str) -> ForeignKey {
    ForeignKey {
        name: format!("{column}_of_{table}"),
        columns: vec![column.into()],
        table: table.into(),
        referenced: vec![referenced.into()],
        on_delete: "RESTRICT".to_owned(),
        on_update: "RESTRICT".to_owned(),
    }
}

/// A few tables with every kind of identity and reference.
fn schema() -> LiveSchema {
    let mut schema = LiveSchema { database: "openmrs".to_owned(), ..LiveSchema::default() };
    let mut add = |name: &str, columns: Vec<LiveColumn>, indexes, foreign_keys| {
        let name: headwater::value::Name = name.into();
        let table = LiveTable {
            name: name.clone(),
            engine: "InnoDB".to_owned(),
            columns,
            indexes,
            foreign_keys,
            rows_estimate: 10,
            triggers: Vec::new(),
            system_versioned: false,
            hashed_keys: 0,
        };
        schema.tables.insert(name, table);
    };
    let id = |name: &str| column(name, "int", "auto_increment");
    let int = |name: &str| column(name, "int", "");
    let uuid = || column("uuid", "char", "");
    add(
        "person",
        vec![id("person_id"), uuid(), int("creator"), column("born", "date", "")],
        vec![index("PRIMARY", &["person_id"]), index("uuid", &["uuid"])],
        vec![key("creator", "users", "user_id")],
    );
    add(
        "users",
        vec![id("user_id"), uuid(), int("person_id"), column("secret", "varchar", "")],
        vec![index("PRIMARY", &["user_id"]), index("uuid", &["uuid"])],
        vec![key("person_id", "person", "person_id")],
    );
    add(
        "patient",
        vec![int("patient_id"), column("note", "text", "virtual generated")],
        vec![index("PRIMARY", &["patient_id"])],
        vec![key("patient_id", "person", "person_id")],
    );
    add("role", vec![column("role", "varchar", "")], vec![index("PRIMARY", &["role"])], vec![]);
    add(
        "user_role",
        vec![int("user_id"), column("role", "varchar", "")],
        vec![index("PRIMARY", &["user_id", "role"])],
        vec![key("user_id", "users", "user_id"), key("role", "role", "role")],
    );
    add("heap", vec![int("number"), column("word", "varchar", "")], vec![], vec![]);
    add(
        "attribute",
        vec![id("attribute_id"), uuid(), int("kind_id"), column("value", "varchar", "")],
        vec![index("PRIMARY", &["attribute_id"]), index("uuid", &["uuid"])],
        vec![key("kind_id", "kind", "kind_id")],
    );
    add(
        "kind",
        vec![id("kind_id"), uuid(), column("format", "varchar", "")],
        vec![index("PRIMARY", &["kind_id"]), index("uuid", &["uuid"])],
        vec![],
    );
    schema
}
