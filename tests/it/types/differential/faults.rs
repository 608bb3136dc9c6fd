//! What the two other decoders make of a value, and which of their faults it is when that is something else.

use super::*;

/// How another decoder's value is to be understood.
pub(super) enum Theirs {
    /// The same as ours, as text.
    Same(String),
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
        _ => Theirs::Fault("it hands out the bytes and leaves the character set to its user"),
    }
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
            return match serde_json::Value::try_from(json.clone()) {
                Ok(json) => Theirs::Same(bits_of(json).to_string()),
                Err(_) => {
                    Theirs::Fault("JSON with what serde_json has not fails in its conversion")
                }
            };
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
        ("YEAR", Common::Bytes(year)) if year == b"1900" => {
            return Theirs::Fault("YEAR 0 is 1900 to it");
        }
        ("YEAR" | "DECIMAL", Common::Bytes(text)) => String::from_utf8(text.clone()).unwrap(),
        ("TIMESTAMP", Common::Bytes(text)) => {
            let text = String::from_utf8(text.clone()).unwrap();
            let (seconds, micros) = text.split_once('.').unwrap_or((&text, "0"));
            cut(definition, moment(seconds.parse().unwrap()), micros.parse().unwrap())
        }
        ("BINARY", Common::Bytes(bytes)) => {
            let size: usize = definition[7..definition.len() - 1].parse().unwrap();
            if is_without_zeros(ours, bytes, size) {
                return Theirs::Fault("BINARY(n) loses its trailing zeros");
            }
            hex(bytes)
        }
        (_, Common::Bytes(bytes)) => return text(definition, bytes),
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
        MySqlValue::Year(1900) => return Theirs::Fault("YEAR 0 is 1900 to it"),
        MySqlValue::Year(year) => year.to_string(),
        MySqlValue::Date(date) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        MySqlValue::Blob(_) if kind(definition) == "JSON" => {
            return Theirs::Fault("JSON is handed out as it is stored");
        }
        MySqlValue::Blob(bytes) => return text(definition, bytes),
        MySqlValue::String(text) => {
            if kind(definition) == "BINARY" {
                let size: usize = definition[7..definition.len() - 1].parse().unwrap();
                if is_without_zeros(ours, text.as_bytes(), size) {
                    return Theirs::Fault("BINARY(n) loses its trailing zeros");
                }
            }
            return self::text(definition, text.as_bytes());
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

/// Whether bytes are ours without the zeros at their end.
pub(super) fn is_without_zeros(ours: &Value<'_>, theirs: &[u8], size: usize) -> bool {
    let whole = [theirs, &vec![0; size.saturating_sub(theirs.len())]].concat();
    theirs.len() < size && printed(ours) == hex(&whole)
}

/// Why another decoder may fail on a whole event.
pub(super) fn event_fault(columns: &[Column], error: &str) -> Option<&'static str> {
    let has =
        |wanted: &dyn Fn(&str) -> bool| columns.iter().any(|column| wanted(&column.definition));
    if error.contains("negative TIME") {
        return Some("it refuses negative TIME");
    }
    // In binlog/misc.rs, where builds without overflow checks go on with another time.
    if error.contains("panics") && has(&|definition| definition.starts_with("TIME(")) {
        return Some("a negative TIME with a fraction overflows in it");
    }
    if error.contains("Utf8")
        && has(&|definition| {
            let bytes = definition.starts_with("BINARY") || definition.starts_with("VARBINARY");
            bytes || (definition.contains("CHARACTER SET") && !definition.contains("utf8"))
        })
    {
        return Some("it takes every string for UTF-8");
    }
    None
}
