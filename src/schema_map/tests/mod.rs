//! Tests of binding: on the facts of the OpenMRS tables, and on small schemas made for one trap.

mod binding;
mod fitting;
mod openmrs;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::database::schema::{ForeignKey, LiveIndex, LiveSchema, LiveTable};
use crate::schema_map::check::Report;
use crate::schema_map::explain::explain;
use crate::schema_map::generate::generate;

const OPENMRS: &str = include_str!("../../../schema-maps/openmrs-2.x.toml");

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

fn empty_table(name: &str) -> LiveTable {
    LiveTable {
        name: Arc::from(name),
        engine: "InnoDB".to_owned(),
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimate: 0,
        triggers: Vec::new(),
        system_versioned: false,
        hashed_keys: 0,
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
    let columns: Vec<Vec<&str>> =
        rows(include_str!("../../../rig/openmrs/columns-2.8.tsv")).collect();
    for row in &columns {
        let table = tables.entry(Arc::from(row[0])).or_insert_with(|| empty_table(row[0]));
        let default = (row[5] != "\\N").then(|| row[5].to_owned());
        table.columns.push(column_of(row[2], row[3], row[4] == "YES", default, row[6]));
    }
    let indexes: Vec<Vec<&str>> =
        rows(include_str!("../../../rig/openmrs/indexes-2.8.tsv")).collect();
    for row in &indexes {
        let columns = row[3].split(',').map(|name| Arc::from(name.trim())).collect();
        let unique = row[2] == "unique" || row[1] == "PRIMARY";
        tables.get_mut(row[0]).unwrap().indexes.push(index(row[1], unique, columns));
    }
    let keys: Vec<Vec<&str>> =
        rows(include_str!("../../../rig/openmrs/foreign-keys-2.8.tsv")).collect();
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
