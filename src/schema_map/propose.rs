//! Guesses what a map should say about one table, and says what it guessed from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Fill;
use super::file::{IdentityRule, MappedTable, TableRule};
use super::identity::is_integer;
use super::roles::primary_key;
use crate::database::schema::{ForeignKey, LiveColumn, LiveSchema, LiveTable};
use crate::value::Name;

/// Tables in which migration tools keep what this one database has had.
const UPGRADES: [&str; 8] = [
    "databasechangelog",
    "databasechangeloglock",
    "liquibasechangelog",
    "liquibasechangeloglock",
    "flyway_schema_history",
    "schema_migrations",
    "django_migrations",
    "shedlock",
];

/// Parts of names of columns that hold secrets.
const SECRETS: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "salt",
    "token",
    "api_key",
    "private_key",
    "activation_key",
    "passphrase",
];

/// A proposal, and remarks for whoever reads it.
pub(super) fn table(
    live: &LiveTable,
    schema: &LiveSchema,
    class: &Name,
) -> (TableRule, Vec<String>) {
    if UPGRADES.contains(&live.name.to_ascii_lowercase().as_str()) {
        let reason = "which upgrades this database has had".to_owned();
        return (TableRule::Excluded(reason), Vec::new());
    }
    let mut remarks = Vec::new();
    let Some(identity) = identity(live, schema, &mut remarks) else {
        let reason = "undecided: nothing in it tells one row from another in every database; add a \
                      uuid column, or name the columns that do as its identity";
        return (TableRule::Excluded(reason.to_owned()), remarks);
    };
    let left_out = secrets(live, &identity, &mut remarks);
    doubtful_references(live, schema, &mut remarks);
    let rule = MappedTable {
        class: Arc::clone(class),
        identity,
        local_key: None,
        references: BTreeMap::new(),
        plain: BTreeSet::new(),
        left_out,
        rows_left_out: Vec::new(),
        conflict: None,
        column_conflicts: BTreeMap::new(),
    };
    (TableRule::Mapped(Box::new(rule)), remarks)
}

fn identity(
    live: &LiveTable,
    schema: &LiveSchema,
    remarks: &mut Vec<String>,
) -> Option<IdentityRule> {
    let primary = primary_key(live).into_iter().filter_map(|index| live.columns.get(index));
    // The key that MySQL makes by itself for a table without one tells nothing.
    let made =
        |column: &LiveColumn| &*column.name == "my_row_id" && column.extra.contains("invisible");
    let primary: Vec<&LiveColumn> = primary.filter(|column| !made(column)).collect();
    if let [key] = primary.as_slice()
        && !is_integer(key)
        && foreign_key(live, &key.name).is_none()
        && is_referred_to(schema, live, key)
    {
        remarks
            .push(format!("{} names a row, in other tables too: it should never change", key.name));
        return Some(IdentityRule::Column(Arc::clone(&key.name)));
    }
    if let Some(column) = uuid_column(live) {
        if let [key] = primary_key(live).as_slice()
            && let Some(key) = live.columns.get(*key)
            && key.name != column.name
            && !is_integer(key)
        {
            remarks.push(format!(
                "its key {0} is no number: if rows of the same {0} are the same everywhere, whatever \
                 their {1}, say identity = \"{0}\"",
                key.name, column.name
            ));
        }
        return Some(IdentityRule::Column(Arc::clone(&column.name)));
    }
    match primary.as_slice() {
        [single] => {
            if let Some(key) = foreign_key(live, &single.name) {
                remarks.push(format!("its key {} is that of {}", single.name, key.table));
                return Some(IdentityRule::Borrowed(Arc::clone(&key.table)));
            }
            if !is_integer(single) {
                remarks.push(format!("{} names a row: it should never change", single.name));
                return Some(IdentityRule::Column(Arc::clone(&single.name)));
            }
            unique_columns(live, remarks)
        }
        [] => unique_columns(live, remarks).or_else(|| {
            remarks.push("no key at all: a row is called by all it holds".to_owned());
            Some(IdentityRule::WholeRow)
        }),
        several => {
            let local = several.iter().find(|column| {
                column.extra.contains("auto_increment")
                    || (is_integer(column) && foreign_key(live, &column.name).is_none())
            });
            let Some(column) = local else {
                let names = several.iter().map(|column| Arc::clone(&column.name)).collect();
                return Some(IdentityRule::Composite(names));
            };
            remarks.push(format!(
                "{} is part of its key, but a number of this database only, or so it looks; if it \
                 means the same everywhere, name the key's columns as its identity",
                column.name
            ));
            unique_columns(live, remarks)
        }
    }
}

/// A column that is a uuid by name or by type; one with a unique index before one without.
fn uuid_column(live: &LiveTable) -> Option<&LiveColumn> {
    let fits = |column: &&LiveColumn| {
        let named = ["uuid", "guid"].iter().any(|word| {
            let name = column.name.to_ascii_lowercase();
            name == *word || name.ends_with(&format!("_{word}")) && is_unique(live, &column.name)
        });
        let wide = matches!(column.data_type.as_str(), "char" | "varchar")
            && column.characters_max.is_some_and(|length| (32..=64).contains(&length));
        let binary = column.data_type == "binary" && column.characters_max == Some(16);
        let typed = column.data_type == "uuid";
        !column.generated
            && (named && (wide || binary || typed)
                || is_unique(live, &column.name) && (binary || typed))
    };
    let mut found: Vec<&LiveColumn> = live.columns.iter().filter(fits).collect();
    found.retain(|column| foreign_key(live, &column.name).is_none());
    found.sort_by_key(|column| {
        (!is_unique(live, &column.name), &*column.name != "uuid", column.nullable)
    });
    found.first().copied()
}

/// The columns of a unique index that means something beyond this database.
fn unique_columns(live: &LiveTable, remarks: &mut Vec<String>) -> Option<IdentityRule> {
    let usable = |name: &Name| {
        live.columns.iter().any(|column| {
            column.name == *name
                && !column.nullable
                && !column.generated
                && (!is_integer(column) || foreign_key(live, name).is_some())
        })
    };
    let index = live
        .indexes
        .iter()
        .filter(|index| index.unique && index.columns.iter().all(usable))
        .min_by_key(|index| index.columns.len())?;
    remarks.push(format!(
        "called by its unique key {}: right only if it never changes and is the same everywhere",
        index.name
    ));
    Some(match index.columns.as_slice() {
        [single] => IdentityRule::Column(Arc::clone(single)),
        several => IdentityRule::Composite(several.to_vec()),
    })
}

fn secrets(
    live: &LiveTable,
    identity: &IdentityRule,
    remarks: &mut Vec<String>,
) -> BTreeMap<Name, Fill> {
    let mut found = BTreeMap::new();
    for column in &live.columns {
        let name = column.name.to_ascii_lowercase();
        let text = matches!(
            column.data_type.as_str(),
            "char"
                | "varchar"
                | "tinytext"
                | "text"
                | "mediumtext"
                | "longtext"
                | "binary"
                | "varbinary"
                | "tinyblob"
                | "blob"
        );
        let named = match identity {
            IdentityRule::Column(identity) => *identity == column.name,
            IdentityRule::Composite(identity) => identity.contains(&column.name),
            IdentityRule::Borrowed(_) | IdentityRule::WholeRow => false,
        };
        if text && !named && SECRETS.iter().any(|secret| name.contains(secret)) {
            let needs = !column.nullable && column.default.is_none();
            let fill = if needs { Fill::Text(String::new()) } else { Fill::Default };
            found.insert(Arc::clone(&column.name), fill);
        }
    }
    if !found.is_empty() {
        remarks.push("left out because of their names: they look like secrets".to_owned());
    }
    found
}

/// Numbers that may be local ids although no foreign key says so.
fn doubtful_references(live: &LiveTable, schema: &LiveSchema, remarks: &mut Vec<String>) {
    let primary = primary_key(live);
    for (index, column) in live.columns.iter().enumerate() {
        let name = &column.name;
        if primary == [index] || foreign_key(live, name).is_some() {
            continue;
        }
        if let Some(target) = usual_target(schema, column) {
            remarks.push(format!(
                "{name} has no foreign key, but refers to {target} in other tables: if here too, say \
                 references = {{ {name} = \"{target}\" }}; if not, plain = [\"{name}\"]"
            ));
            continue;
        }
        let Some(stem) = name.strip_suffix("_id") else { continue };
        let kind = [format!("{stem}_type"), format!("{stem}_class"), format!("{stem}_table")];
        if live.columns.iter().any(|other| kind.iter().any(|kind| **kind == *other.name)) {
            remarks.push(format!(
                "{name} may be a number whose table {stem}_type names: if so, say references = {{ {name} = \
                 {{ kind = \"{stem}_type\", tables = {{ KIND = \"TABLE\" }} }} }}"
            ));
        } else if is_integer(column) {
            let target = [stem.to_owned(), format!("{stem}s")];
            let target = target.iter().find(|table| schema.tables.contains_key(table.as_str()));
            remarks.push(format!(
                "{name} may be a number of a row of {0} without a foreign key: if so, say \
                 references = {{ {name} = \"{0}\" }}; if not, plain = [\"{name}\"]",
                target.map_or("TABLE", String::as_str)
            ));
        }
    }
}

/// The table that integer columns of this name refer to by foreign keys of other tables.
pub(super) fn usual_target<'a>(schema: &'a LiveSchema, column: &LiveColumn) -> Option<&'a Name> {
    if !is_integer(column) {
        return None;
    }
    let mut counts: BTreeMap<&Name, usize> = BTreeMap::new();
    for table in schema.tables.values() {
        if let Some(key) = foreign_key(table, &column.name) {
            *counts.entry(&key.table).or_default() += 1;
        }
    }
    let (target, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count > 1).then_some(target)
}

fn foreign_key<'a>(live: &'a LiveTable, column: &Name) -> Option<&'a ForeignKey> {
    live.foreign_keys.iter().find(|key| key.columns == [Arc::clone(column)])
}

/// Whether a foreign key of some table refers to a column.
fn is_referred_to(schema: &LiveSchema, live: &LiveTable, column: &LiveColumn) -> bool {
    let mut keys = schema.tables.values().flat_map(|table| &table.foreign_keys);
    keys.any(|key| key.table == live.name && key.referenced == [Arc::clone(&column.name)])
}

fn is_unique(live: &LiveTable, column: &Name) -> bool {
    live.indexes.iter().any(|index| index.unique && index.columns == [Arc::clone(column)])
}
