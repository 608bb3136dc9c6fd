//! The map file as its writer means it: several files read, checked and merged into one
//! [`MapFile`], independent of any database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::typed::{self, Entry, TypedFile};
use super::{Direction, Fill, RowTest};
use crate::value::Name;

/// The version of the format that this program reads.
const VERSION: u64 = 1;
/// A map larger than this is not one.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One or several map files, merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MapFile {
    /// Classes of tables and the way their rows go.
    pub classes: BTreeMap<Name, Direction>,
    /// What is said about each table.
    pub tables: BTreeMap<Name, TableRule>,
}

/// What a map says about a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum TableRule {
    /// It travels.
    Mapped(Box<MappedTable>),
    /// It stays, for this reason.
    Excluded(String),
}

/// What a map says about a table that travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedTable {
    /// The class it belongs to.
    pub class: Name,
    /// How its rows are identified.
    pub identity: IdentityRule,
    /// The column other tables refer to, where it isn't the primary key.
    pub local_key: Option<Name>,
    /// References that are stated; those of foreign keys need not be.
    pub references: BTreeMap<Name, ReferenceEntry>,
    /// Columns that travel as they are although a foreign key says otherwise.
    pub plain: BTreeSet<Name>,
    /// Columns that do not travel, and what a new row gets in their place.
    pub left_out: BTreeMap<Name, Fill>,
    /// Rows that do not travel.
    pub rows_left_out: Vec<(Name, RowTest)>,
    /// What settles a conflict in this table, kept for when both directions are on.
    pub conflict: Option<ConflictPolicy>,
    /// The same for single columns.
    pub column_conflicts: BTreeMap<Name, ConflictPolicy>,
}

/// How a map says rows are identified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum IdentityRule {
    /// By one column: a uuid or a natural key.
    Column(Name),
    /// By the row of another table that shares the primary key.
    Borrowed(Name),
    /// By several columns, plain or references.
    Composite(Vec<Name>),
    /// By everything it holds.
    WholeRow,
}

/// A reference that a map states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ReferenceEntry {
    /// Always to this table.
    Always(Name),
    /// Only if a column of the row that another reference leads to says so.
    Conditional {
        /// The reference column that leads to the deciding row.
        through: Name,
        /// The deciding column there.
        column: Name,
        /// Its values and the tables they stand for.
        tables: BTreeMap<String, Name>,
    },
    /// To the table that another column of the same row names.
    Polymorphic {
        /// The column that names the kind.
        kind: Name,
        /// Kinds and the tables they stand for.
        tables: BTreeMap<String, Name>,
    },
}

/// What settles a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictPolicy {
    /// Changes to different columns are both kept; otherwise the latest wins.
    Merge,
    /// The latest change wins.
    Latest,
    /// The parent's change wins.
    Parent,
    /// The child's change wins.
    Child,
    /// A person decides.
    Hold,
}

/// A map file that cannot be used: for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the schema map {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// As the system puts it.
        reason: String,
    },
    /// The file is not TOML, or has a key that means nothing.
    #[error("{path}, line {line}, column {column}: {problem}")]
    Wrong {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong and how it should look.
        problem: String,
    },
    /// Two files contradict each other.
    #[error("{path}: {problem}")]
    Merge {
        /// The later file.
        path: String,
        /// Where they disagree.
        problem: String,
    },
    /// No file was given.
    #[error("no schema map is configured: name at least one file in [database] maps")]
    None,
}

impl MapFile {
    /// Reads files and merges them; a table may stand in only one of them.
    pub fn load(paths: &[PathBuf]) -> Result<MapFile, Error> {
        if paths.is_empty() {
            return Err(Error::None);
        }
        let mut merged = MapFile::default();
        for path in paths {
            let origin = path.display().to_string();
            merged.merge(MapFile::parse(&read(path)?, &origin)?, &origin)?;
        }
        Ok(merged)
    }

    /// Reads the text of one file; `origin` is what errors call it.
    pub fn parse(text: &str, origin: &str) -> Result<MapFile, Error> {
        let typed: TypedFile = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(text, origin, at, error.message().to_owned())
        })?;
        if *typed.version.get_ref() != VERSION {
            let problem = format!("this program reads version {VERSION} of the map format");
            return Err(wrong(text, origin, typed.version.span().start, problem));
        }
        let mut map = MapFile::default();
        for (name, class) in &typed.classes {
            map.classes.insert(Arc::from(name.as_str()), class.direction);
        }
        for (name, entry) in typed.tables {
            let at = entry.span().start;
            let rule = typed::mean(entry.into_inner(), &typed.defaults)
                .and_then(|rule| check_class(rule, &map.classes))
                .map_err(|problem| wrong(text, origin, at, format!("table {name}: {problem}")))?;
            map.tables.insert(Arc::from(name.as_str()), rule);
        }
        Ok(map)
    }

    /// Adds another file's classes and tables.
    pub fn merge(&mut self, other: MapFile, origin: &str) -> Result<(), Error> {
        let disagree = |problem: String| Error::Merge { path: origin.to_owned(), problem };
        for (name, direction) in other.classes {
            match self.classes.get(&name) {
                Some(known) if *known != direction => {
                    return Err(disagree(format!("class {name} goes another way in another file")));
                }
                _ => drop(self.classes.insert(name, direction)),
            }
        }
        for (name, rule) in other.tables {
            if self.tables.insert(Arc::clone(&name), rule).is_some() {
                return Err(disagree(format!("table {name} stands in another file too")));
            }
        }
        Ok(())
    }

    /// SHA-256 over what the files mean: comments, order and spelling of defaults do not count.
    pub fn digest(&self) -> [u8; 32] {
        // Every part is an owned plain value, so encoding into memory cannot fail; if it could,
        // an empty encoding would differ from every real map's.
        let encoded = postcard::to_stdvec(self).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, &encoded);
        digest.as_ref().try_into().unwrap_or([0; 32])
    }

    /// Which way a class goes.
    pub fn direction(&self, class: &str) -> Direction {
        self.classes.get(class).copied().unwrap_or(Direction::None)
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let failed = |reason: String| Error::Read { path: path.display().to_string(), reason };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

fn check_class(rule: TableRule, classes: &BTreeMap<Name, Direction>) -> Result<TableRule, String> {
    match &rule {
        TableRule::Mapped(table) if !classes.contains_key(&table.class) => Err(format!(
            "its class '{class}' is not defined; add [classes.{class}] with a direction",
            class = table.class
        )),
        TableRule::Mapped(_) | TableRule::Excluded(_) => Ok(rule),
    }
}

/// An error at a byte of the text.
fn wrong(text: &str, origin: &str, at: usize, problem: String) -> Error {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Error::Wrong {
        path: origin.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        problem,
    }
}

impl From<Entry> for ReferenceEntry {
    fn from(entry: Entry) -> ReferenceEntry {
        match entry {
            Entry::Always(table) => ReferenceEntry::Always(Arc::from(table)),
            Entry::Conditional { through, column, tables } => ReferenceEntry::Conditional {
                through: Arc::from(through),
                column: Arc::from(column),
                tables: named(tables),
            },
            Entry::Polymorphic { kind, tables } => {
                ReferenceEntry::Polymorphic { kind: Arc::from(kind), tables: named(tables) }
            }
        }
    }
}

fn named(tables: BTreeMap<String, String>) -> BTreeMap<String, Name> {
    tables.into_iter().map(|(kind, table)| (kind, Arc::from(table))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "version = 1\n[defaults]\nidentity = 'uuid'\n[classes.all]\ndirection = 'up'\n[tables]\n";

    fn parse(tables: &str) -> Result<MapFile, Error> {
        MapFile::parse(&format!("{HEAD}{tables}"), "test.toml")
    }

    fn problem(tables: &str) -> String {
        parse(tables).unwrap_err().to_string()
    }

    #[test]
    fn a_table_needs_one_line() {
        let map = parse("person = { class = 'all' }").unwrap();
        let TableRule::Mapped(table) = &map.tables["person"] else { panic!() };
        assert_eq!(table.identity, IdentityRule::Column(Arc::from("uuid")));
        assert_eq!(map.direction("all"), Direction::Up);
    }

    #[test]
    fn every_kind_of_identity_and_reference_is_read() {
        let map = parse(
            "patient = { class = 'all', identity = { borrowed = 'person' } }\n\
             user_role = { class = 'all', identity = ['user_id', 'role'] }\n\
             tags = { class = 'all', identity = { whole_row = true } }\n\
             [tables.attribute]\nclass = 'all'\nreferences.a = 'concept'\n\
             references.b = { through = 't', column = 'format', tables = { X = 'concept' } }\n\
             references.c = { kind = 'k', tables = { X = 'concept' } }\n\
             left_out = ['secret', 'salt']\nfill = { salt = '' }\n\
             rows_left_out = [{ column = 'k', not_like = ['a.*'] }, { column = 'b', null = true }]\n",
        )
        .unwrap();
        let rule = |name: &str| match &map.tables[name] {
            TableRule::Mapped(table) => (**table).clone(),
            TableRule::Excluded(_) => panic!(),
        };
        assert_eq!(rule("patient").identity, IdentityRule::Borrowed(Arc::from("person")));
        assert_eq!(rule("tags").identity, IdentityRule::WholeRow);
        assert_eq!(
            rule("user_role").identity,
            IdentityRule::Composite(vec![Arc::from("user_id"), Arc::from("role")])
        );
        let attribute = rule("attribute");
        assert_eq!(attribute.references.len(), 3);
        assert!(matches!(attribute.references["b"], ReferenceEntry::Conditional { .. }));
        assert!(matches!(attribute.references["c"], ReferenceEntry::Polymorphic { .. }));
        assert_eq!(attribute.left_out["secret"], Fill::Default);
        assert_eq!(attribute.left_out["salt"], Fill::Text(String::new()));
        assert_eq!(attribute.rows_left_out.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let error = problem("person = { class = 'all', identitty = 'uuid' }");
        assert!(error.starts_with("test.toml, line 7, column 27: "), "{error}");
        assert!(error.contains("identitty"), "{error}");
        let error = problem("person = { class = 'none' }");
        assert!(error.starts_with("test.toml, line 7, column 10: "), "{error}");
        assert!(error.contains("[classes.none]"), "{error}");
        let error = problem("p = { class = 'all', references = { a = { tabel = 'x' } } }");
        assert!(error.contains("tabel") && error.contains("line 7"), "{error}");
        let error = MapFile::parse("version = 2\n", "m").unwrap_err().to_string();
        assert!(error.starts_with("m, line 1, column 11: "), "{error}");
        let error = MapFile::parse("version = ", "m").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(problem("p = { exclude = 'cache', class = 'all' }").contains("exclude"));
        assert!(problem("p = { exclude = '' }").contains("reason"));
        assert!(problem("p = { class = 'all', fill = { a = '' } }").contains("left_out"));
        assert!(problem("p = { class = 'all', left_out = ['uuid'] }").contains("identity"));
        assert!(
            problem("p = { class = 'all', plain = ['a'], references = { a = 'b' } }")
                .contains("'a'")
        );
        assert!(problem("p = { class = 'all', identity = [] }").contains("identity"));
        assert!(problem("p = { class = 'all', conflict = 'coin' }").contains("coin"));
        assert!(
            problem("p = { class = 'all', rows_left_out = [{ column = 'a' }] }").contains("in,")
        );
        assert!(problem("p = { }").contains("class"));
    }

    #[test]
    fn the_digest_is_of_the_meaning() {
        let digest = |tables| parse(tables).unwrap().digest();
        let one = digest("a = { class = 'all' }\nb = { class = 'all' }");
        let same = digest("# a comment\nb = { class = 'all', identity = 'uuid' }\na.class = 'all'");
        assert_eq!(one, same);
        assert_ne!(one, digest("a = { class = 'all' }"));
        assert_ne!(one, digest("a = { class = 'all', left_out = ['x'] }\nb = { class = 'all' }"));
    }

    #[test]
    fn a_table_in_two_files_is_an_error_and_others_are_joined() {
        let mut map = parse("a = { class = 'all' }").unwrap();
        map.merge(parse("b = { class = 'all' }").unwrap(), "b.toml").unwrap();
        assert_eq!(map.tables.len(), 2);
        let error = map.merge(parse("b = { exclude = 'no' }").unwrap(), "c.toml").unwrap_err();
        assert_eq!(error.to_string(), "c.toml: table b stands in another file too");
    }
}
