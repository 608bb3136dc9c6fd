//! Whether what one database holds fits into another: two ends need not be servers of one kind,
//! nor have the same columns. Pure; `map check --with` asks both databases and prints what comes out.

use std::sync::Arc;

use super::{BoundMap, BoundTable, Direction, Problem, Role};
use crate::database::schema::{LiveColumn, LiveSchema};
use crate::database::server::{Flavor, Server};
use crate::database::value::is_spatial;
use crate::value::Name;

/// One of the two databases.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Its tables, held against its map.
    pub map: &'a BoundMap,
    /// Its tables as they are.
    pub schema: &'a LiveSchema,
    /// The server that it is on.
    pub server: &'a Server,
}

/// What the tables that travel would meet at the other end, named by table and column.
pub fn disagreements(here: End<'_>, there: End<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tables: Vec<&Arc<BoundTable>> = here.map.tables.values().collect();
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    for table in tables.into_iter().filter(|table| table.direction != Direction::None) {
        let mut add = |fatal, message| problems.push(Problem::new(&table.name, fatal, message));
        let Some(other) = there.map.tables.get(&table.name) else {
            let reason = there.map.problems.iter().find(|problem| problem.table == table.name);
            let reason = reason.map_or("it is not there", |problem| problem.message.as_str());
            add(true, format!("it cannot be written at the other end: {reason}"));
            continue;
        };
        for column in table.columns.iter().filter(|column| column.role == Role::Plain) {
            let name = &column.name;
            let Some(other) = other.columns.iter().find(|other| other.name == *name) else {
                add(false, format!("its column {name} is not there at the other end"));
                continue;
            };
            if let Some(misfit) = misfit(&column.live, &other.live) {
                let (ours, theirs) = (shown(&column.live), shown(&other.live));
                add(
                    true,
                    format!(
                        "its column {name} is {ours} here and {theirs} at the other end, {misfit}"
                    ),
                );
            }
            if is_shorter_moment(here.server, &column.live, there.server, &other.live) {
                add(
                    false,
                    format!(
                        "its column {name} is {} here, up to 2106, and up to 2038 at the other end",
                        column.live.column_type
                    ),
                );
            }
            let unique = || is_unique(there.schema, &table.name, name);
            if let Some((ours, theirs)) = collations(&column.live, &other.live)
                && unique()
            {
                add(
                    false,
                    format!(
                        "its column {name} is in {ours} here and in {theirs} at the other end, where it \
                         is unique: what differs here may be the same there, and is quarantined then"
                    ),
                );
            }
        }
    }
    problems
}

/// Whether moments after 2038 fit into a column here and not there.
fn is_shorter_moment(
    here: &Server,
    ours: &LiveColumn,
    there: &Server,
    theirs: &LiveColumn,
) -> bool {
    let long = |server: &Server| server.flavor == Flavor::Mariadb && server.at_least(11, 5, 0);
    let moments = ours.data_type == "timestamp" && theirs.data_type == "timestamp";
    moments && long(here) && !long(there)
}

/// The collations of two columns, unless both tell the same apart.
fn collations<'c>(ours: &'c LiveColumn, theirs: &'c LiveColumn) -> Option<(&'c str, &'c str)> {
    let (ours, theirs) = (ours.collation.as_deref()?, theirs.collation.as_deref()?);
    // The first word is the character set.
    let rules = |name: &'c str| name.split_once('_').map_or(name, |(_, rules)| rules);
    let exact = rules(theirs) == "bin" || theirs == "binary";
    (!exact && rules(ours) != rules(theirs)).then_some((ours, theirs))
}

/// Whether a unique index of a table holds a column.
fn is_unique(schema: &LiveSchema, table: &Name, column: &Name) -> bool {
    schema.tables.get(table).is_some_and(|table| {
        table.indexes.iter().any(|index| index.unique && index.columns.contains(column))
    })
}

/// A type that many servers do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rare {
    /// Those that have it, in words.
    pub servers: &'static str,
    mysql: Option<(u16, u16, u16)>,
    mariadb: Option<(u16, u16, u16)>,
}

impl Rare {
    /// Whether a server has it.
    pub fn is_on(&self, flavor: Flavor, version: (u16, u16, u16)) -> bool {
        let first = match flavor {
            Flavor::Mysql => self.mysql,
            Flavor::Mariadb => self.mariadb,
        };
        first.is_some_and(|first| version >= first)
    }
}

/// Which servers have a column's type, if many do not.
pub fn rare(column: &LiveColumn) -> Option<Rare> {
    let rare = |servers, mysql, mariadb| Some(Rare { servers, mysql, mariadb });
    match column.data_type.as_str() {
        "vector" => rare("MySQL from 9.0 and MariaDB from 11.7", Some((9, 0, 0)), Some((11, 7, 0))),
        "uuid" => rare("MariaDB from 10.7", None, Some((10, 7, 0))),
        "inet4" => rare("MariaDB from 10.10", None, Some((10, 10, 0))),
        "inet6" => rare("MariaDB from 10.5", None, Some((10, 5, 0))),
        "json" => rare("MySQL from 5.7 and, as text, MariaDB", Some((5, 7, 0)), Some((10, 2, 0))),
        _ if column.column_type.to_ascii_lowercase().contains("compressed") => {
            rare("MariaDB from 10.3", None, Some((10, 3, 0)))
        }
        "decimal" if column.scale.is_some_and(|scale| scale > 30) => {
            rare("MariaDB", None, Some((10, 2, 0)))
        }
        _ if column.charset.as_deref() == Some("gb18030") => {
            rare("MySQL from 5.7", Some((5, 7, 0)), None)
        }
        _ => None,
    }
}

fn shown(column: &LiveColumn) -> String {
    match &column.charset {
        Some(charset) => format!("{} in {charset}", column.column_type),
        None => column.column_type.clone(),
    }
}

/// The kinds of types that hold each other's values, if they are large enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Integer,
    Decimal,
    Float,
    Bit,
    Year,
    Date,
    Time,
    DateTime,
    Text,
    Bytes,
    Enum,
    Set,
    Json,
    Address,
    Geometry,
    Vector,
}

fn family(column: &LiveColumn) -> Option<Family> {
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Family::Integer,
        "decimal" => Family::Decimal,
        "float" | "double" => Family::Float,
        "bit" => Family::Bit,
        "year" => Family::Year,
        "date" => Family::Date,
        "time" => Family::Time,
        "datetime" | "timestamp" => Family::DateTime,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Bytes,
        "enum" => Family::Enum,
        "set" => Family::Set,
        "json" => Family::Json,
        "uuid" | "inet4" | "inet6" => Family::Address,
        "vector" => Family::Vector,
        kind if is_spatial(kind) => Family::Geometry,
        _ => return None,
    })
}

/// Why the values of one column do not all go into another.
fn misfit(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let other_type = || Some("which does not hold its values".to_owned());
    let (Some(from), Some(into)) = (family(here), family(there)) else { return other_type() };
    match (from, into) {
        (Family::Integer, Family::Integer) => integers(here, there),
        (Family::Decimal, Family::Decimal) => digits(here, there),
        (Family::Float, Family::Float) => {
            let narrower = here.data_type == "double" && there.data_type == "float";
            narrower.then(|| "which holds fewer digits".to_owned())
        }
        (Family::Bit, Family::Bit) => {
            (here.precision > there.precision).then(|| "which holds fewer bits".to_owned())
        }
        (Family::Time, Family::Time) => fractions(here, there),
        (Family::DateTime, Family::DateTime) => {
            if here.data_type == "datetime" && there.data_type == "timestamp" {
                return Some("which holds the years from 1970 to 2038 only".to_owned());
            }
            fractions(here, there)
        }
        (Family::Text, Family::Text) => lengths(here, there).or_else(|| charsets(here, there)),
        (Family::Json, Family::Text) if !holds_unicode(there) => Some(charset_words(there)),
        (Family::Enum | Family::Set, Family::Text) => charsets(here, there),
        (Family::Enum, Family::Enum) | (Family::Set, Family::Set) => members(here, there),
        (Family::Bytes, Family::Bytes) => bytes(here, there),
        (Family::Address, Family::Address) if here.data_type != there.data_type => other_type(),
        (Family::Address, Family::Text) => address(here, there),
        (Family::Geometry, Family::Geometry) => shapes(here, there),
        (Family::Vector, Family::Vector) => {
            (here.column_type != there.column_type).then(|| "which is of another length".to_owned())
        }
        (Family::Year, Family::Year)
        | (Family::Date, Family::Date)
        | (Family::Text | Family::Json, Family::Json)
        | (Family::Json, Family::Text)
        | (Family::Address, Family::Address)
        | (Family::Vector | Family::Geometry, Family::Bytes) => None,
        _ => other_type(),
    }
}

fn integers(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let ((lowest, highest), (low, high)) = (range(here), range(there));
    (low > lowest || high < highest).then(|| format!("which holds {low} to {high} only"))
}

fn digits(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let digits = |column: &LiveColumn| {
        let scale = column.scale.unwrap_or(0);
        (column.precision.unwrap_or(0).saturating_sub(scale), scale)
    };
    let ((whole, fraction), (room, places)) = (digits(here), digits(there));
    (whole > room || fraction > places).then(|| "which holds fewer digits".to_owned())
}

fn bytes(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let fixed = [here, there].iter().any(|column| column.data_type == "binary");
    let alike = here.data_type == there.data_type && here.characters_max == there.characters_max;
    if fixed && !alike {
        return Some("which differs in the zero bytes at the end".to_owned());
    }
    lengths(here, there)
}

/// Text that holds a UUID or an address.
fn address(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let needed = match here.data_type.as_str() {
        "uuid" => 36,
        "inet4" => 15,
        _ => 45,
    };
    (there.characters_max.unwrap_or(0) < needed)
        .then(|| format!("which is shorter than {needed} characters"))
}

fn shapes(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let any = there.data_type == "geometry";
    // MySQL 8 gave the collection another name.
    let collections = [here, there].iter().all(|column| column.data_type.starts_with("geom"));
    (!any && !collections && here.data_type != there.data_type)
        .then(|| "which is another shape".to_owned())
}

/// The lowest and the highest number of an integer type.
fn range(column: &LiveColumn) -> (i128, i128) {
    let bits: u32 = match column.data_type.as_str() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => 64,
    };
    let all = 1_i128 << bits;
    if column.unsigned { (0, all - 1) } else { (-all / 2, all / 2 - 1) }
}

fn fractions(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    (here.scale.unwrap_or(0) > there.scale.unwrap_or(0))
        .then(|| "which holds fewer fractional digits".to_owned())
}

fn lengths(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    (here.characters_max.unwrap_or(0) > there.characters_max.unwrap_or(u64::MAX))
        .then(|| "which is shorter".to_owned())
}

fn holds_unicode(column: &LiveColumn) -> bool {
    let charset = column.charset.as_deref();
    charset.is_some_and(|name| ["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"].contains(&name))
}

/// Two names for one character set.
fn same_charset(one: Option<&str>, other: Option<&str>) -> bool {
    let current = |name| if name == Some("utf8") { Some("utf8mb3") } else { name };
    current(one) == current(other)
}

fn charsets(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let (from, into) = (here.charset.as_deref(), there.charset.as_deref());
    let narrow = from.is_some_and(|name| name == "ascii");
    // What lies outside of the basic plane is in neither.
    let basic = |name: Option<&str>| matches!(name, Some("utf8" | "utf8mb3" | "ucs2"));
    if same_charset(from, into) || narrow || holds_unicode(there) || (basic(from) && basic(into)) {
        return None;
    }
    Some(charset_words(there))
}

fn charset_words(there: &LiveColumn) -> String {
    let charset = there.charset.as_deref().unwrap_or("binary");
    format!("and {charset} does not hold every character of it")
}

fn members(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let lacking = here.members.iter().find(|member| !there.members.contains(member))?;
    Some(format!("which has no member '{lacking}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str, more: impl FnOnce(&mut LiveColumn)) -> LiveColumn {
        let mut column = LiveColumn {
            name: "c".into(),
            data_type: kind.split(['(', ' ']).next().unwrap().to_owned(),
            column_type: kind.to_owned(),
            nullable: true,
            default: None,
            charset: None,
            collation: None,
            extra: String::new(),
            unsigned: kind.contains("unsigned"),
            generated: false,
            members: Vec::new(),
            characters_max: None,
            precision: None,
            scale: None,
        };
        more(&mut column);
        column
    }

    fn plain(kind: &str) -> LiveColumn {
        column(kind, |_| {})
    }

    fn text(length: u64, charset: &str) -> LiveColumn {
        column("varchar", |column| {
            column.characters_max = Some(length);
            column.charset = Some(charset.to_owned());
        })
    }

    #[test]
    fn wider_integers_hold_narrower_ones() {
        assert_eq!(misfit(&plain("int"), &plain("bigint")), None);
        assert_eq!(misfit(&plain("tinyint unsigned"), &plain("smallint")), None);
        assert!(misfit(&plain("int unsigned"), &plain("int")).is_some());
        assert!(misfit(&plain("int"), &plain("int unsigned")).is_some());
    }

    #[test]
    fn a_character_set_holds_itself_and_unicode_holds_all() {
        assert_eq!(misfit(&text(20, "sjis"), &text(20, "utf8mb4")), None);
        assert_eq!(misfit(&text(20, "utf8"), &text(20, "utf8mb3")), None);
        assert_eq!(misfit(&text(20, "ascii"), &text(30, "latin1")), None);
        let words = misfit(&text(20, "utf8mb4"), &text(20, "latin1")).unwrap();
        assert_eq!(words, "and latin1 does not hold every character of it");
        assert!(misfit(&text(21, "latin1"), &text(20, "latin1")).is_some());
    }

    #[test]
    fn a_type_that_one_end_lacks_needs_one_that_holds_it() {
        let vector = plain("vector(3)");
        assert_eq!(misfit(&vector, &plain("varbinary(12)")), None);
        assert!(misfit(&vector, &plain("int")).is_some());
        assert!(misfit(&vector, &plain("vector(4)")).is_some());
        assert_eq!(misfit(&plain("uuid"), &text(36, "ascii")), None);
        assert!(misfit(&plain("uuid"), &text(32, "ascii")).is_some());
        assert_eq!(misfit(&plain("json"), &text(1 << 32, "utf8mb4")), None);
        assert!(misfit(&plain("json"), &text(1 << 32, "latin1")).is_some());
    }

    #[test]
    fn members_fractions_and_years_that_are_not_there_are_named() {
        let with = |members: &[&str]| {
            column("enum", |column| {
                column.members = members.iter().map(|member| (*member).to_owned()).collect();
            })
        };
        assert_eq!(misfit(&with(&["a"]), &with(&["b", "a"])), None);
        let words = misfit(&with(&["a", "c"]), &with(&["a", "b"])).unwrap();
        assert!(words.contains("'c'"), "{words}");
        let fine = column("datetime", |column| column.scale = Some(6));
        assert!(misfit(&fine, &plain("datetime")).is_some());
        assert!(misfit(&plain("datetime"), &plain("timestamp")).is_some());
        assert_eq!(misfit(&plain("timestamp"), &plain("datetime")), None);
    }
}
