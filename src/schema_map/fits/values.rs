//! Which types hold the values of which others.

use super::texts;
use crate::database::schema::LiveColumn;
use crate::database::value::is_spatial;

/// What a LONGTEXT or LONGBLOB holds, in bytes.
const LONG_BYTES: u64 = 4_294_967_295;
/// What a JSON document of some size takes: less is too short for ordinary ones.
const JSON_BYTES: u64 = 65_535;
/// A point as servers keep it: a number, the kind, and two doubles.
const POINT_BYTES: u64 = 25;

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

/// Why ordinary values of one column do not go into another.
pub(super) fn misfit(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let other_type = || Some("which does not hold its values".to_owned());
    let (Some(from), Some(into)) = (family(here), family(there)) else { return other_type() };
    match (from, into) {
        (Family::Integer | Family::Bit | Family::Year | Family::Decimal, Family::Integer) => {
            if here.data_type == "decimal" && here.scale.unwrap_or(0) > 0 {
                return Some("which holds fewer digits".to_owned());
            }
            within(here, there)
        }
        // Truth is written in either.
        (Family::Integer, Family::Bit) if here.data_type == "tinyint" => None,
        (Family::Integer, Family::Bit) => within(here, there),
        (Family::Integer | Family::Decimal, Family::Decimal) => digits(here, there),
        (Family::Integer, Family::Float) => whole(here, there),
        (Family::Float, Family::Float) => floats(here, there),
        (Family::Bit, Family::Bit) => {
            (here.precision > there.precision).then(|| "which holds fewer bits".to_owned())
        }
        (Family::Time, Family::Time) => fractions(here, there),
        (Family::Date | Family::DateTime, Family::DateTime) => {
            if here.data_type != "timestamp" && there.data_type == "timestamp" {
                return Some("which holds the years from 1970 to 2038 only".to_owned());
            }
            fractions(here, there)
        }
        (Family::Text, Family::Text) => {
            texts::lengths(here, there).or_else(|| texts::charsets(here, there))
        }
        (Family::Json, Family::Text) => json(there),
        (Family::Enum | Family::Set, Family::Text) => {
            texts::charsets(here, there).or_else(|| texts::members(here, there))
        }
        (Family::Enum, Family::Enum) | (Family::Set, Family::Set) => members(here, there),
        (Family::Bytes, Family::Bytes) => bytes(here, there),
        (Family::Address, Family::Address) if here.data_type != there.data_type => other_type(),
        (Family::Address, Family::Text) => address(here, there),
        (Family::Geometry, Family::Geometry) => shapes(here, there),
        (Family::Vector, Family::Vector) => {
            (here.column_type != there.column_type).then(|| "which is of another length".to_owned())
        }
        (Family::Vector | Family::Geometry, Family::Bytes) => packed(here, there),
        (Family::Year, Family::Year)
        | (Family::Date, Family::Date)
        | (Family::Text | Family::Json, Family::Json)
        | (Family::Address, Family::Address) => None,
        _ => other_type(),
    }
}

/// Why some values of a column do not go into another that holds the ordinary ones.
pub(super) fn doubt(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let room = there.characters_max.unwrap_or(LONG_BYTES);
    match (family(here)?, family(there)?) {
        (Family::Text, Family::Text) => texts::doubt(here, there),
        (Family::Integer, Family::Bit) => within(here, there),
        (Family::Json, Family::Text) => {
            (room < LONG_BYTES).then(|| format!("which holds {room} bytes, and JSON may be longer"))
        }
        (Family::Geometry, Family::Bytes) if here.data_type != "point" => {
            let longer = || format!("which holds {room} bytes, and a shape may be longer");
            (room < LONG_BYTES).then(longer)
        }
        _ => None,
    }
}

/// Whole numbers that are not within the range of another type of them.
fn within(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let ((lowest, highest), (low, high)) = (range(here), range(there));
    (low > lowest || high < highest).then(|| format!("which holds {low} to {high} only"))
}

/// Numbers that a type with digits after the point holds.
fn digits(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let digits = |column: &LiveColumn| {
        if matches!(family(column), Some(Family::Integer)) {
            let (_, highest) = range(column);
            return (highest.checked_ilog10().map_or(1, |power| power.saturating_add(1)), 0);
        }
        let scale = column.scale.unwrap_or(0);
        (column.precision.unwrap_or(0).saturating_sub(scale), scale)
    };
    let ((whole, fraction), (room, places)) = (digits(here), digits(there));
    if whole > room || fraction > places {
        return Some("which holds fewer digits".to_owned());
    }
    signs(here, there)
}

fn signs(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    (there.unsigned && !here.unsigned).then(|| "which holds no negative numbers".to_owned())
}

/// Whole numbers as binary fractions.
fn whole(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let bits = if there.data_type == "float" { 24 } else { 53 };
    let (lowest, highest) = range(here);
    let most = 1_i128 << bits;
    if there.scale.is_some() || highest > most || lowest < -most {
        return Some("which holds fewer digits".to_owned());
    }
    signs(here, there)
}

fn floats(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let narrower = here.data_type == "double" && there.data_type == "float";
    // FLOAT(7,3): some digits, and no more.
    let limited = there.scale.is_some_and(|places| {
        let room = there.precision.unwrap_or(0).saturating_sub(places);
        here.scale.is_none_or(|scale| {
            scale > places || here.precision.unwrap_or(0).saturating_sub(scale) > room
        })
    });
    if narrower || limited {
        return Some("which holds fewer digits".to_owned());
    }
    signs(here, there)
}

fn bytes(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let alike = here.data_type == there.data_type && here.characters_max == there.characters_max;
    if there.data_type == "binary" && !alike {
        return Some("which differs in the zero bytes at the end".to_owned());
    }
    shorter(here.characters_max.unwrap_or(0), there)
}

/// What has a form of its own, as bytes.
fn packed(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let floats = || here.column_type.split(['(', ')']).nth(1)?.trim().parse::<u64>().ok();
    let (needed, fixed) = match here.data_type.as_str() {
        "vector" => (floats().unwrap_or(0).saturating_mul(4), true),
        "point" => (POINT_BYTES, true),
        _ => (POINT_BYTES, false),
    };
    let alike = fixed && there.characters_max == Some(needed);
    if there.data_type == "binary" && !alike {
        return Some("which differs in the zero bytes at the end".to_owned());
    }
    shorter(needed, there)
}

fn shorter(needed: u64, there: &LiveColumn) -> Option<String> {
    (needed > there.characters_max.unwrap_or(u64::MAX)).then(|| "which is shorter".to_owned())
}

fn json(there: &LiveColumn) -> Option<String> {
    if !texts::holds_unicode(there) {
        return Some(texts::charset_words(there));
    }
    shorter(JSON_BYTES, there)
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

/// The lowest and the highest number of a type of whole numbers.
fn range(column: &LiveColumn) -> (i128, i128) {
    let signed = |bits: u32| {
        let all = 1_i128 << bits;
        if column.unsigned { (0, all - 1) } else { (-all / 2, all / 2 - 1) }
    };
    match column.data_type.as_str() {
        "tinyint" => signed(8),
        "smallint" => signed(16),
        "mediumint" => signed(24),
        "int" => signed(32),
        "bit" => (0, (1_i128 << column.precision.unwrap_or(1).min(64)) - 1),
        "year" => (0, 2155),
        "decimal" => {
            let highest = 10_i128.saturating_pow(column.precision.unwrap_or(0)).saturating_sub(1);
            (if column.unsigned { 0 } else { highest.saturating_neg() }, highest)
        }
        _ => signed(64),
    }
}

fn fractions(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    (here.scale.unwrap_or(0) > there.scale.unwrap_or(0))
        .then(|| "which holds fewer fractional digits".to_owned())
}

fn members(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let lacking = here.members.iter().find(|member| !there.members.contains(member))?;
    Some(format!("which has no member '{lacking}'"))
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
