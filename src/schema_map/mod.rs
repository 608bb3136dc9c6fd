//! Schema maps: which tables and columns travel, how rows are identified, which way they go.
//!
//! A map is a TOML file (`file.rs`); held against a live database it becomes a [`BoundMap`]
//! (`bind.rs`), which is what capture, apply and compare work with.

mod bind;
pub mod check;
mod condition;
pub mod explain;
pub mod file;
pub mod fits;
pub mod generate;
mod identity;
mod levels;
mod propose;
mod roles;
mod typed;

use std::collections::HashMap;
use std::sync::Arc;

use crate::database::schema::LiveColumn;
use crate::value::Name;

pub use file::{MapFile, TableRule};

#[cfg(test)]
pub(crate) mod tests;

/// A schema map held against the tables of one live database.
#[derive(Debug, Clone)]
pub struct BoundMap {
    /// The mapped tables that this database has and that travel in some direction, by name; also
    /// those of [`Direction::None`] that one of them refers to: their rows stay, but are known by
    /// identity.
    pub tables: HashMap<Name, Arc<BoundTable>>,
    /// SHA-256 over the meaning of the map files (not their comments): both ends compare it.
    pub digest: [u8; 32],
    /// Tables that the database has and the map does not mention.
    pub unmapped: Vec<Name>,
    /// Tables that the map leaves out on purpose, with the reason the map states.
    pub left_out: Vec<(Name, String)>,
    /// What keeps a table from travelling exactly; each names its table and the remedy.
    pub problems: Vec<Problem>,
}

/// A disagreement between map and database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The table it concerns.
    pub table: Name,
    /// Whether the table cannot travel at all (it is then not in [`BoundMap::tables`]).
    pub fatal: bool,
    /// What is wrong and what to do, in a sentence or two.
    pub message: String,
    /// The statement in it that mends it, where one does.
    pub mend: Option<String>,
}

impl Problem {
    fn new(table: &Name, fatal: bool, message: String) -> Problem {
        Problem { table: Arc::clone(table), fatal, message, mend: None }
    }

    /// What is wrong, followed by the statement that mends it.
    fn mended_by(table: &Name, fatal: bool, found: &str, mend: String) -> Problem {
        let message = format!("{found}: {mend}");
        Problem { table: Arc::clone(table), fatal, message, mend: Some(mend) }
    }

    /// What is wrong, without the statement that mends it.
    pub fn found(&self) -> &str {
        let mend = self.mend.as_deref().unwrap_or_default();
        self.message.strip_suffix(mend).unwrap_or(&self.message).trim_end_matches([':', ' '])
    }
}

/// Which way a table's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From child to parent.
    Up,
    /// From parent to child.
    Down,
    /// Both ways.
    Both,
    /// Not at all.
    None,
}

/// One mapped table as this database has it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the table")]
pub struct BoundTable {
    /// Its name, in the map, on the wire and in the database.
    pub name: Name,
    /// The group of tables it belongs to.
    pub class: Name,
    /// Which way its rows go.
    pub direction: Direction,
    /// 0 for a table that refers to no mapped table, otherwise one more than the highest table it
    /// refers to. References that close a cycle, and self references, do not count.
    pub level: u32,
    /// All columns of the live table, mapped or not, in its order.
    pub columns: Vec<BoundColumn>,
    /// How its rows are identified.
    pub identity: BoundIdentity,
    /// The column (an index into [`BoundTable::columns`]) whose value other tables hold when they
    /// refer to a row of this one: usually the single-column primary key. A surrogate integer, or
    /// the natural key itself (`role.role`), or a shared key (`patient.patient_id`). `None` for a
    /// table that nothing can refer to.
    pub local_key: Option<usize>,
    /// The primary key's columns; empty for a table without one.
    pub primary_key: Vec<usize>,
    /// The auto-increment column, where its numbers are local (its role is [`Role::LocalKey`]).
    pub auto_increment: Option<usize>,
    /// Whether a mapped column of any mapped table refers to this table (or borrows from it): its
    /// rows are then kept in the identity index.
    pub referenced: bool,
    /// Whether the server may write other rows when it deletes one of this table: by a foreign key
    /// that cascades or sets NULL, or by a trigger.
    pub delete_reaches: bool,
    /// Columns that are no part of the identity and that foreign keys of some tables follow when
    /// they are updated: the server then writes other rows too.
    pub followed: Vec<usize>,
    /// Whether it has triggers.
    pub has_triggers: bool,
    /// Whether it has a unique key that is kept by hashes. `MariaDB` looks at those before the
    /// primary key.
    pub has_hashes: bool,
    /// Rows that match do not travel.
    pub rows_left_out: Vec<RowCondition>,
}

/// One live column and what becomes of it.
#[derive(Debug, Clone)]
pub struct BoundColumn {
    /// Its name.
    pub name: Name,
    /// Its live definition.
    pub live: LiveColumn,
    /// What becomes of it.
    pub role: Role,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Its value travels as it is.
    Plain,
    /// A local surrogate key: it does not travel, each node has its own.
    LocalKey,
    /// It refers to a row of a mapped table; the row's identity travels.
    Reference(ReferenceRule),
    /// It does not travel.
    LeftOut(Fill),
    /// The server computes it: it does not travel.
    Generated,
}

/// What a left-out column gets in a row that is new at the other end. Existing rows keep theirs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fill {
    /// The column's default (NULL where it has none and may be NULL).
    Default,
    /// This text, as the server converts it to the column's type.
    Text(String),
}

/// How a column refers to other rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceRule {
    /// The value is the local key of a row of this table.
    Always {
        /// The table referred to.
        table: Name,
        /// The reference cannot be part of the first insert: it closes a cycle between tables or
        /// points into its own table. It is filled in a second step when it cannot be resolved yet.
        deferred: bool,
    },
    /// The value is the local key of a row of a mapped table only if another table says so:
    /// `person_attribute.value` is a local id in text form if the attribute type's format is one
    /// of the classes listed. Otherwise, and when it is not all digits, it is plain.
    Conditional(Arc<ConditionalRule>),
    /// Another column of the same row names the kind of row this one's id belongs to.
    Polymorphic(Arc<PolymorphicRule>),
}

/// See [`ReferenceRule::Conditional`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionalRule {
    /// The reference column of the same row that leads to the deciding row
    /// (`person_attribute_type_id`); an index into the columns of the table.
    pub through: usize,
    /// The deciding table (`person_attribute_type`).
    pub decider: Name,
    /// The deciding column in it (`format`).
    pub column: Name,
    /// Deciding values and the tables they stand for (`org.openmrs.Location` -> `location`).
    pub tables: Vec<(String, Name)>,
}

/// See [`ReferenceRule::Polymorphic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolymorphicRule {
    /// The column of the same row that names the kind.
    pub kind: usize,
    /// Kinds and the tables they stand for; any other kind leaves the value plain.
    pub tables: Vec<(String, Name)>,
}

/// How rows of a table are identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundIdentity {
    /// One column: a uuid or a natural key. `Identity::One(value)`.
    Column(usize),
    /// The row shares its primary key with a row of another table and is called what that row is
    /// called: `patient` from `person`. The identity is that row's identity.
    Borrowed {
        /// The shared key column.
        column: usize,
        /// The table borrowed from.
        table: Name,
    },
    /// Several columns, plain or references: `Identity::Many` in this order, where a reference
    /// part is a [`crate::value::Value::Reference`].
    Composite(Vec<usize>),
    /// All columns that travel, for a table without a key or with one that only this database
    /// numbers by: `Identity::Many` in the order of the columns' names, which two ends share
    /// although their tables may have the columns in another order.
    WholeRow,
}

/// A condition on one column's value; a row is left out if any condition of its table matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCondition {
    /// The column, an index into the columns of the table.
    pub column: usize,
    /// How it is compared.
    pub test: RowTest,
}

/// How a row condition compares; text is compared exactly, numbers by their decimal text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum RowTest {
    /// The value is one of these.
    In(Vec<String>),
    /// The value is none of these (an allow list).
    NotIn(Vec<String>),
    /// The value matches one of these patterns, in which `*` stands for any characters.
    Like(Vec<String>),
    /// The value matches none of these patterns (an allow list).
    NotLike(Vec<String>),
    /// The value is NULL.
    Null,
}

impl BoundTable {
    /// The index of a column by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// The columns that make up the identity.
    pub fn identity_columns(&self) -> Vec<usize> {
        match &self.identity {
            BoundIdentity::Column(column) | BoundIdentity::Borrowed { column, .. } => vec![*column],
            BoundIdentity::Composite(columns) => columns.clone(),
            BoundIdentity::WholeRow => {
                let name = |index: &usize| self.columns.get(*index).map(|column| &column.name);
                let mut columns: Vec<usize> = self.travelling_columns().collect();
                columns.sort_by(|one, other| name(one).cmp(&name(other)));
                columns
            }
        }
    }

    /// Whether its rows are called by all they hold. A primary key that it may have all the same
    /// is this database's own, and finds none of them.
    pub fn is_whole_row(&self) -> bool {
        matches!(self.identity, BoundIdentity::WholeRow)
    }

    /// The columns whose values travel beside the identity, in table order: the shape of an insert.
    pub fn value_columns(&self) -> Vec<usize> {
        let identity = self.identity_columns();
        self.travelling_columns().filter(|column| !identity.contains(column)).collect()
    }

    fn travelling_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().enumerate().filter_map(|(index, column)| match column.role {
            Role::Plain | Role::Reference(_) => Some(index),
            Role::LocalKey | Role::LeftOut(_) | Role::Generated => None,
        })
    }
}
