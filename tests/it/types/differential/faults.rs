//! What the two other decoders make of a value, and which of their faults it is when that is something else.

use std::net::{Ipv4Addr, Ipv6Addr};

use mysql_common::binlog::jsonb;
use mysql_common::io::ParseBuf;

use super::*;

/// How another decoder's value is to be understood.
pub(super) enum Theirs {
    /// The same as ours, as text.
    Same(String),
    /// Text in a character set, which it leaves to its user: the server says what it is.
    InSet(String, Vec<u8>),
    /// What it says is known to be wrong, and why.
    Fault(&'static str),
}

// ------------------------------------------------------------------------------------- reading

/// The first word of a definition.
pub(super) fn kind(definition: &str) -> &str {
    definition.split(['(', ' ']).next().unwrap()
}

/// Text in the column's character set, if its bytes are given.
pub(super) fn text(definition: &str, bytes: &[u8]) -> Theirs {
    let Some((_, set)) = definition.split_once("CHARACTER SET ") else {
        return Theirs::Same(hex(bytes));
    };
    match set.split(' ').next().unwrap() {
        "utf8mb4" | "utf8mb3" | "ascii" => Theirs::Same(String::from_utf8(bytes.to_vec()).unwrap()),
        set => Theirs::InSet(set.to_owned(), bytes.to_vec()),
    }
}

/// Bytes of a column that has as many in every row: without the zeros at the end they are ours.
fn fixed(definition: &str, ours: &Value<'_>, theirs: &[u8]) -> Option<Theirs> {
    let (size, fault) = match kind(definition) {
        "BINARY" => {
            let size = definition[7..definition.len() - 1].parse().unwrap();
            if theirs.len() == size {
                return None;
            }
            (size, "BINARY(n) loses its trailing zeros")
        }
        "UUID" | "INET6" => (16, "UUID, INET4 and INET6 are bytes to it"),
        "INET4" => (4, "UUID, INET4 and INET6 are bytes to it"),
        _ => return None,
    };
    let whole = [theirs, &vec![0; size - theirs.len()]].concat();
    let found = match kind(definition) {
        "UUID" => uuid::Uuid::from_slice(&whole).unwrap().to_string(),
        "INET4" => Ipv4Addr::from(<[u8; 4]>::try_from(whole).unwrap()).to_string(),
        // One address has many spellings.
        "INET6" => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(whole).unwrap());
            let same = printed(ours).parse() == Ok(address);
            if same { printed(ours) } else { address.to_string() }
        }
        _ => hex(&whole),
    };
    Some(if found == printed(ours) { Theirs::Fault(fault) } else { Theirs::Same(found) })
}

/// JSON as it is stored, read by the other library.
fn stored_json(bytes: &[u8]) -> Theirs {
    let json: jsonb::Value<'_> = ParseBuf(bytes).parse(()).unwrap();
    Theirs::Same(bits_of(serde_json::Value::try_from(json).unwrap()).to_string())
}

/// Temporal text with as many fractional digits as the column has.
pub(super) fn cut(definition: &str, whole: String, micros: u64) -> String {
    let digits = definition.split_once('(').and_then(|(_, rest)| rest.chars().next());
    let digits = digits.and_then(|digit| digit.to_digit(10)).unwrap_or(0) as usize;
    if digits == 0 { whole } else { format!("{whole}.{}", &format!("{micros:06}")[..digits]) }
}

pub(super) fn common_says(
    definition: &str,
    ours: &Value<'_>,
    signs: bool,
    theirs: &BinlogValue<'_>,
) -> Theirs {
    let value = match theirs {
        BinlogValue::Value(value) => value,
        BinlogValue::Jsonb(json) => {
            let json = serde_json::Value::try_from(json.clone()).unwrap();
            return Theirs::Same(bits_of(json).to_string());
        }
        BinlogValue::JsonDiff(_) => panic!("a partial update"),
    };
    let kind = kind(definition);
    let printed = match (kind, value) {
        ("ENUM", Common::Int(number)) => member(number.cast_unsigned()),
        ("SET", Common::Bytes(bytes)) => {
            set(bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
        }
        ("BIT", Common::Bytes(bytes)) => {
            bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)).to_string()
        }
        ("YEAR", Common::Bytes(year)) if year == b"1900" && printed(ours) == "0" => {
            return Theirs::Fault("YEAR 0 is 1900 to it");
        }
        ("YEAR" | "DECIMAL", Common::Bytes(text)) => String::from_utf8(text.clone()).unwrap(),
        ("TIMESTAMP", Common::Bytes(text)) => {
            let text = String::from_utf8(text.clone()).unwrap();
            let (seconds, micros) = text.split_once('.').unwrap_or((&text, "0"));
            cut(definition, moment(seconds.parse().unwrap()), micros.parse().unwrap())
        }
        (_, Common::Bytes(bytes)) => {
            return fixed(definition, ours, bytes).unwrap_or_else(|| text(definition, bytes));
        }
        (_, Common::Int(number)) => {
            let wraps =
                |ours: u64| number.cast_unsigned() & (u64::MAX >> (64 - bits(kind))) == ours;
            if matches!(ours, Value::UInt(ours) if wraps(*ours)) && *number < 0 && !signs {
                return Theirs::Fault("without metadata unsigned numbers come out negative");
            }
            let lifted = number.wrapping_sub(1 << 24);
            if kind == "MEDIUMINT" && matches!(ours, Value::Int(ours) if *ours == lifted) {
                return Theirs::Fault("a negative MEDIUMINT comes out positive");
            }
            number.to_string()
        }
        (_, Common::UInt(number)) => number.to_string(),
        (_, Common::Float(number)) => format!("{:08x}", number.to_bits()),
        (_, Common::Double(number)) => format!("{:016x}", number.to_bits()),
        ("DATE", Common::Date(year, month, day, ..)) => format!("{year:04}-{month:02}-{day:02}"),
        (_, Common::Date(year, month, day, h, m, s, micros)) => {
            let whole = format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}");
            cut(definition, whole, u64::from(*micros))
        }
        (_, Common::Time(negative, days, hours, m, s, micros)) => {
            let sign = if *negative { "-" } else { "" };
            let hours = days * 24 + u32::from(*hours);
            cut(definition, format!("{sign}{hours:02}:{m:02}:{s:02}"), u64::from(*micros))
        }
        (_, Common::NULL) => panic!("NULL was told apart"),
    };
    Theirs::Same(printed)
}

pub(super) fn cdc_says(definition: &str, ours: &Value<'_>, theirs: &MySqlValue) -> Theirs {
    let signed = matches!(ours, Value::Int(_));
    let number = |number: u64, bits: u32| {
        let unused = 64 - bits;
        if signed {
            ((number << unused).cast_signed() >> unused).to_string()
        } else {
            number.to_string()
        }
    };
    Theirs::Same(match theirs {
        MySqlValue::TinyInt(value) => number(u64::from(*value), 8),
        MySqlValue::SmallInt(value) => number(u64::from(*value), 16),
        MySqlValue::MediumInt(value) => number(u64::from(*value), 24),
        MySqlValue::Int(value) => number(u64::from(*value), 32),
        MySqlValue::BigInt(value) => number(*value, 64),
        MySqlValue::Float(value) => format!("{:08x}", value.to_bits()),
        MySqlValue::Double(value) => format!("{:016x}", value.to_bits()),
        MySqlValue::Decimal(text) => text.clone(),
        MySqlValue::Bit(bits) => {
            bits.iter().fold(0_u64, |all, bit| all << 1 | u64::from(*bit)).to_string()
        }
        MySqlValue::Enum(index) => member(u64::from(*index)),
        MySqlValue::Set(bits) => set(*bits),
        MySqlValue::Year(1900) if printed(ours) == "0" => {
            return Theirs::Fault("YEAR 0 is 1900 to it");
        }
        MySqlValue::Year(year) => year.to_string(),
        MySqlValue::Date(date) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        MySqlValue::Blob(bytes) if kind(definition) == "JSON" => return stored_json(bytes),
        MySqlValue::Blob(bytes) => return text(definition, bytes),
        MySqlValue::String(text) => {
            let bytes = text.as_bytes();
            return fixed(definition, ours, bytes).unwrap_or_else(|| self::text(definition, bytes));
        }
        MySqlValue::Time(_) | MySqlValue::DateTime(_) | MySqlValue::Timestamp(_) => {
            return cdc_moment(definition, ours, theirs);
        }
    })
}

/// Thousandths of a second are all that it keeps.
pub(super) fn cdc_moment(definition: &str, ours: &Value<'_>, theirs: &MySqlValue) -> Theirs {
    let digits = definition.split_once('(').and_then(|(_, rest)| rest.chars().next());
    let (whole, millis) = match theirs {
        MySqlValue::Time(time) => (
            format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second),
            u64::from(time.millis),
        ),
        MySqlValue::DateTime(at) => {
            let date = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
            (
                format!("{date} {:02}:{:02}:{:02}", at.hour, at.minute, at.second),
                u64::from(at.millis),
            )
        }
        MySqlValue::Timestamp(millis) => (moment((millis / 1000).cast_signed()), millis % 1000),
        other => panic!("{other:?}"),
    };
    if digits.is_some_and(|digit| digit > '3') {
        let kept = cut("(3)", whole, millis * 1000);
        return if printed(ours).starts_with(&kept) {
            Theirs::Fault("it keeps milliseconds only")
        } else {
            Theirs::Same(kept)
        };
    }
    Theirs::Same(cut(definition, whole, millis * 1000))
}

/// How many bits an integer type has.
pub(super) fn bits(kind: &str) -> u32 {
    match kind {
        "TINYINT" => 8,
        "SMALLINT" => 16,
        "MEDIUMINT" => 24,
        "INT" => 32,
        _ => 64,
    }
}

/// Why another decoder may fail on a whole event: one of the event's values is what it fails on.
pub(super) fn event_fault(
    columns: &[Column],
    images: &[Vec<Option<Value<'_>>>],
    error: &str,
) -> Option<&'static str> {
    let has = |wanted: &dyn Fn(&str, &Value<'_>) -> bool| {
        let cells = images.iter().flat_map(|image| columns.iter().zip(&image[1..]));
        cells
            .filter_map(|(column, value)| Some((column.definition.as_str(), value.as_ref()?)))
            .any(|(definition, value)| wanted(definition, value))
    };
    let is_negative_time = |definition: &str, value: &Value<'_>| {
        kind(definition) == "TIME" && printed(value).starts_with('-')
    };
    if error.contains("negative TIME") && has(&is_negative_time) {
        return Some("it refuses negative TIME");
    }
    // In binlog/misc.rs, where builds without overflow checks go on with another time.
    let overflows = |definition: &str, value: &Value<'_>| {
        let fraction =
            printed(value).rsplit_once('.').is_some_and(|(_, it)| !it.trim_matches('0').is_empty());
        ["TIME(1)", "TIME(2)"].contains(&definition)
            && is_negative_time(definition, value)
            && fraction
    };
    if error.contains("panics") && has(&overflows) {
        return Some("a negative TIME with one or two digits of a fraction overflows in it");
    }
    if error.contains("Utf8") && has(&is_not_utf8) {
        return Some("it takes every string for UTF-8");
    }
    let is_vector = columns.iter().any(|column| kind(&column.definition) == "VECTOR");
    // It could not read the table's description.
    if error.contains("No preceding TableMapEvent") && is_vector {
        return Some("it does not know VECTOR");
    }
    None
}

/// Whether a value is no UTF-8 as it is stored.
fn is_not_utf8(definition: &str, value: &Value<'_>) -> bool {
    match (kind(definition), value) {
        ("BINARY" | "VARBINARY" | "VECTOR", Value::Bytes(bytes)) => {
            std::str::from_utf8(bytes).is_err()
        }
        ("UUID", Value::Text(text)) => {
            std::str::from_utf8(uuid::Uuid::parse_str(text).unwrap().as_bytes()).is_err()
        }
        ("INET4", Value::Text(text)) => {
            std::str::from_utf8(&text.parse::<Ipv4Addr>().unwrap().octets()).is_err()
        }
        ("INET6", Value::Text(text)) => {
            std::str::from_utf8(&text.parse::<Ipv6Addr>().unwrap().octets()).is_err()
        }
        (_, Value::Text(text)) => {
            let set = definition.split_once("CHARACTER SET ").map_or("utf8", |(_, set)| set);
            !set.starts_with("utf8") && !text.is_ascii()
        }
        (_, _) => false,
    }
}
