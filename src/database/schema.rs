//! The tables of a live database, as `information_schema` describes them.

use crate::value::Name;

/// The base tables of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveSchema {
    /// The database's name.
    pub database: String,
    /// Its tables, by name.
    pub tables: std::collections::BTreeMap<Name, LiveTable>,
}

/// One base table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveTable {
    /// Its name.
    pub name: Name,
    /// Its engine, such as `InnoDB`.
    pub engine: String,
    /// Its columns in order.
    pub columns: Vec<LiveColumn>,
    /// Its indexes, the primary key first.
    pub indexes: Vec<LiveIndex>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// The server's estimate of its rows.
    pub rows_estimate: u64,
    /// Names of triggers on it.
    pub triggers: Vec<String>,
    /// Whether it is system-versioned (`MariaDB`).
    pub system_versioned: bool,
    /// How many unique keys are longer than the engine's keys may be (`MariaDB`): of each, the server
    /// keeps a hash in a column of its own, which only the log shows.
    #[serde(default)]
    pub hashed_keys: usize,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveColumn {
    /// Its name.
    pub name: Name,
    /// `DATA_TYPE` in lower case, such as `varchar`, `int`, `uuid`.
    pub data_type: String,
    /// `COLUMN_TYPE`, such as `int(11) unsigned` or `enum('a','b')`.
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its default as `information_schema` prints it; `None` for no default or NULL.
    pub default: Option<String>,
    /// Its character set, for character types.
    pub charset: Option<String>,
    /// Its collation, for character types.
    pub collation: Option<String>,
    /// `EXTRA` in lower case: `auto_increment`, `virtual generated`, ...
    pub extra: String,
    /// Whether its type is unsigned.
    pub unsigned: bool,
    /// Whether the server computes it (generated columns, versioning columns).
    pub generated: bool,
    /// The members of an `ENUM` or `SET`, in order.
    pub members: Vec<String>,
    /// `CHARACTER_MAXIMUM_LENGTH`.
    pub characters_max: Option<u64>,
    /// `NUMERIC_PRECISION`, `NUMERIC_SCALE`, or the fractional digits of a temporal type in scale.
    pub precision: Option<u32>,
    /// See [`LiveColumn::precision`].
    pub scale: Option<u32>,
}

impl LiveColumn {
    /// Its character set by one name: older servers call `utf8mb3` by its former name.
    pub fn charset_now(&self) -> Option<&str> {
        self.charset.as_deref().map(|charset| if charset == "utf8" { "utf8mb3" } else { charset })
    }
}

/// One index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveIndex {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// Whether it is unique.
    pub unique: bool,
    /// Its columns in order.
    pub columns: Vec<Name>,
}

/// One foreign key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// The columns that refer.
    pub columns: Vec<Name>,
    /// The table referred to.
    pub table: Name,
    /// The columns referred to.
    pub referenced: Vec<Name>,
    /// `DELETE_RULE`, such as `CASCADE`.
    pub on_delete: String,
    /// `UPDATE_RULE`.
    pub on_update: String,
}

impl ForeignKey {
    /// Whether the server writes the rows that refer to a row when its key changes.
    pub fn follows_updates(&self) -> bool {
        !["RESTRICT", "NO ACTION"].iter().any(|rule| self.on_update.eq_ignore_ascii_case(rule))
    }

    /// Whether the server does no more than refuse to delete a row that this key refers to.
    pub fn only_refuses_deletes(&self) -> bool {
        ["RESTRICT", "NO ACTION"].iter().any(|rule| self.on_delete.eq_ignore_ascii_case(rule))
    }
}
