//! The map file as typed: the shapes that TOML is read into, and what an entry means once the
//! defaults are filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::file::{ConflictPolicy, IdentityRule, MappedTable, TableRule};
use super::{Direction, Fill, RowTest};
use crate::value::Name;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedFile {
    pub(super) version: Spanned<u64>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    #[serde(default)]
    pub(super) classes: BTreeMap<String, Class>,
    #[serde(default)]
    pub(super) tables: BTreeMap<String, Spanned<Table>>,
}

/// What holds for a table that says nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    class: Option<String>,
    identity: Option<Identity>,
    conflict: Option<ConflictPolicy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Class {
    pub(super) direction: Direction,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    exclude: Option<String>,
    class: Option<String>,
    identity: Option<Identity>,
    local_key: Option<String>,
    #[serde(default)]
    references: BTreeMap<String, Entry>,
    #[serde(default)]
    plain: BTreeSet<String>,
    #[serde(default)]
    left_out: BTreeSet<String>,
    #[serde(default)]
    fill: BTreeMap<String, String>,
    #[serde(default)]
    rows_left_out: Vec<RowRule>,
    conflict: Option<ConflictPolicy>,
    #[serde(default)]
    column_conflicts: BTreeMap<String, ConflictPolicy>,
}

/// One condition; exactly one of the tests is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowRule {
    column: String,
    r#in: Option<Vec<String>>,
    not_in: Option<Vec<String>>,
    like: Option<Vec<String>>,
    not_like: Option<Vec<String>>,
    null: Option<bool>,
}

#[derive(Debug, Clone)]
enum Identity {
    Column(String),
    Borrowed(String),
    Composite(Vec<String>),
    WholeRow,
}

/// A reference as typed: a table's name, or one of two tables of keys.
#[derive(Debug)]
pub(super) enum Entry {
    Always(String),
    Conditional { through: String, column: String, tables: BTreeMap<String, String> },
    Polymorphic { kind: String, tables: BTreeMap<String, String> },
}

/// Fills in the defaults and refuses what contradicts itself.
pub(super) fn mean(table: Table, defaults: &Defaults) -> Result<TableRule, String> {
    if let Some(reason) = &table.exclude {
        if reason.trim().is_empty() {
            return Err("exclude wants the reason, in words".to_owned());
        }
        if !table.says_only_exclude() {
            return Err("exclude stands alone: a table that stays has no other keys".to_owned());
        }
        return Ok(TableRule::Excluded(reason.clone()));
    }
    let class = table.class.or_else(|| defaults.class.clone()).ok_or("it has no class")?;
    let identity = table.identity.or_else(|| defaults.identity.clone()).ok_or(
        "it has no identity: a column, { borrowed = TABLE }, [COLUMNS] or { whole_row = true }",
    )?;
    let identity = identity.mean()?;
    for column in table.fill.keys() {
        if !table.left_out.contains(column) {
            return Err(format!("fill names '{column}', which is not in left_out"));
        }
    }
    let statements = [
        table.plain.iter().collect::<Vec<_>>(),
        table.left_out.iter().collect(),
        table.references.keys().collect(),
    ];
    let mut seen = BTreeSet::new();
    for column in statements.into_iter().flatten() {
        if !seen.insert(column) {
            return Err(format!("'{column}' can be only one of: a reference, plain, or left out"));
        }
    }
    for column in identity_columns(&identity) {
        if table.left_out.contains(&**column) {
            return Err(format!("'{column}' is its identity and cannot be left out"));
        }
    }
    let fill = table.fill;
    Ok(TableRule::Mapped(Box::new(MappedTable {
        class: Arc::from(class),
        identity,
        local_key: table.local_key.map(Arc::from),
        references: keyed(table.references).map(|(name, entry)| (name, entry.into())).collect(),
        plain: table.plain.into_iter().map(Arc::from).collect(),
        left_out: table
            .left_out
            .into_iter()
            .map(|column| {
                let text = fill.get(&column).cloned();
                (Arc::from(column), text.map_or(Fill::Default, Fill::Text))
            })
            .collect(),
        rows_left_out: table
            .rows_left_out
            .into_iter()
            .map(RowRule::mean)
            .collect::<Result<_, _>>()?,
        conflict: table.conflict.or(defaults.conflict),
        column_conflicts: keyed(table.column_conflicts).collect(),
    })))
}

fn keyed<T>(named: BTreeMap<String, T>) -> impl Iterator<Item = (Name, T)> {
    named.into_iter().map(|(name, value)| (Arc::from(name), value))
}

fn identity_columns(identity: &IdentityRule) -> &[Name] {
    match identity {
        IdentityRule::Column(column) => std::slice::from_ref(column),
        IdentityRule::Composite(columns) => columns,
        IdentityRule::Borrowed(_) | IdentityRule::WholeRow => &[],
    }
}

impl Table {
    fn says_only_exclude(&self) -> bool {
        self.class.is_none()
            && self.identity.is_none()
            && self.local_key.is_none()
            && self.references.is_empty()
            && self.plain.is_empty()
            && self.left_out.is_empty()
            && self.fill.is_empty()
            && self.rows_left_out.is_empty()
            && self.conflict.is_none()
            && self.column_conflicts.is_empty()
    }
}

impl Identity {
    fn mean(self) -> Result<IdentityRule, String> {
        Ok(match self {
            Identity::Column(column) => IdentityRule::Column(Arc::from(column)),
            Identity::Borrowed(table) => IdentityRule::Borrowed(Arc::from(table)),
            Identity::WholeRow => IdentityRule::WholeRow,
            Identity::Composite(columns) => {
                let distinct: BTreeSet<_> = columns.iter().collect();
                if columns.is_empty() || distinct.len() != columns.len() {
                    return Err("a composite identity is a list of different columns".to_owned());
                }
                IdentityRule::Composite(columns.into_iter().map(Arc::from).collect())
            }
        })
    }
}

impl RowRule {
    fn mean(self) -> Result<(Name, RowTest), String> {
        let tests = [
            self.r#in.map(RowTest::In),
            self.not_in.map(RowTest::NotIn),
            self.like.map(RowTest::Like),
            self.not_like.map(RowTest::NotLike),
            self.null.filter(|null| *null).map(|_| RowTest::Null),
        ];
        let mut tests = tests.into_iter().flatten();
        match (tests.next(), tests.next()) {
            (Some(test), None) => Ok((Arc::from(self.column), test)),
            _ => Err(format!(
                "rows_left_out on '{}' wants one of in, not_in, like, not_like, null = true",
                self.column
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Identity, D::Error> {
        deserializer.deserialize_any(IdentityVisitor)
    }
}

struct IdentityVisitor;

impl<'de> Visitor<'de> for IdentityVisitor {
    type Value = Identity;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a column, a list of columns, { borrowed = TABLE } or { whole_row = true }")
    }

    fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<Identity, E> {
        Ok(Identity::Column(column.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, columns: A) -> Result<Identity, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(columns)).map(Identity::Composite)
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Identity, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            borrowed: Option<String>,
            whole_row: Option<bool>,
        }
        match Keys::deserialize(MapAccessDeserializer::new(keys))? {
            Keys { borrowed: Some(table), whole_row: None } => Ok(Identity::Borrowed(table)),
            Keys { borrowed: None, whole_row: Some(true) } => Ok(Identity::WholeRow),
            Keys { .. } => Err(A::Error::custom("expected borrowed = TABLE or whole_row = true")),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table, { through, column, tables } or { kind, tables }")
    }

    fn visit_str<E: serde::de::Error>(self, table: &str) -> Result<Entry, E> {
        Ok(Entry::Always(table.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Entry, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            through: Option<String>,
            column: Option<String>,
            kind: Option<String>,
            tables: BTreeMap<String, String>,
        }
        match Keys::deserialize(MapAccessDeserializer::new(keys))? {
            Keys { through: Some(through), column: Some(column), kind: None, tables } => {
                Ok(Entry::Conditional { through, column, tables })
            }
            Keys { through: None, column: None, kind: Some(kind), tables } => {
                Ok(Entry::Polymorphic { kind, tables })
            }
            Keys { .. } => Err(A::Error::custom(
                "expected { through, column, tables } (another row decides) or { kind, tables } \
                 (a column of the same row decides)",
            )),
        }
    }
}
