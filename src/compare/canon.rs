//! One form for values that are the same, whichever server printed them; and their hashes.

use std::fmt::Write as _;

use mysql_async::Value;
use xxhash_rust::xxh3::Xxh3Default;

use super::project::{Field, Form, Projection};
use crate::database::value::from_server;

/// One row as both databases would print it.
pub(super) struct Canonical {
    /// The 128-bit hash of what it is called.
    pub(super) identity: u128,
    /// The 64-bit hash of its values.
    pub(super) values: u64,
    /// The row itself.
    pub(super) row: Vec<Value>,
}

/// Reads a row of the projection's statement; `None` if it is one that does not travel.
pub(super) fn canonical(projection: &Projection, row: Vec<Value>) -> Option<Canonical> {
    let mut columns = row.iter();
    let mut identity = Xxh3Default::new();
    for field in &projection.identity {
        hash(field, columns.by_ref(), &mut identity);
    }
    let mut values = Xxh3Default::new();
    for field in &projection.values {
        hash(field, columns.by_ref(), &mut values);
    }
    for field in &projection.alone {
        let parts: Vec<&Value> = columns.by_ref().take(field.width()).collect();
        if !is_null(&parts) {
            values.update(field.name.as_bytes());
            hash(field, parts.into_iter(), &mut values);
        }
    }
    let left_out =
        projection.left_out.iter().zip(columns).any(|((condition, column), value)| {
            condition.matches(&from_server(column, value.clone()))
        });
    if left_out {
        return None;
    }
    Some(Canonical { identity: identity.digest128(), values: values.digest(), row })
}

fn hash<'v>(field: &Field, columns: impl Iterator<Item = &'v Value>, into: &mut Xxh3Default) {
    // The forms come first, so that no column is taken in vain.
    for (form, value) in field.forms.iter().zip(columns) {
        let text = text(value, *form);
        match &text {
            None => into.update(&[0]),
            Some(bytes) => {
                into.update(&[1]);
                into.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
                into.update(bytes);
            }
        }
    }
}

/// Whether a column is NULL, by its parts; the first of several says so.
pub(super) fn is_null(parts: &[&Value]) -> bool {
    match parts {
        [] => true,
        [only] => **only == Value::NULL,
        [first, ..] => text(first, Form::AsIs).is_some_and(|none| none == b"1"),
    }
}

/// The columns of one field, of the many of a row; for people.
pub(super) fn shown(fields: &[Field], before: usize, row: &[Value]) -> Vec<(String, String)> {
    let mut columns = row.iter().skip(before);
    fields
        .iter()
        .map(|field| {
            let parts: Vec<String> = field
                .forms
                .iter()
                .zip(columns.by_ref())
                .filter_map(|(form, value)| text(value, *form))
                .map(|bytes| match String::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(bytes) => hex(bytes.as_bytes()),
                })
                .collect();
            // The first part of a reference says whether there is none.
            let told = if field.width() > 1 { parts.get(1..).unwrap_or_default() } else { &parts };
            let text = if told.is_empty() {
                let dangling = field.width() > 1 && parts.first().is_some_and(|none| none == "0");
                if dangling { "a row that is not there".to_owned() } else { "NULL".to_owned() }
            } else {
                told.join(" + ")
            };
            (field.name.to_string(), text)
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _written = write!(text, "{byte:02X}");
        text
    })
}

/// The bytes that stand for a value; `None` for NULL.
fn text(value: &Value, form: Form) -> Option<Vec<u8>> {
    Some(match value {
        Value::NULL => return None,
        Value::Bytes(bytes) => match form {
            Form::AsIs => bytes.clone(),
            Form::Json => document(bytes),
            Form::Decimal => digits(bytes).to_vec(),
            Form::Bits => number(bytes),
            Form::Set => {
                let mut members: Vec<&[u8]> = bytes.split(|byte| *byte == b',').collect();
                members.sort_unstable();
                members.join(&b',')
            }
        },
        Value::Int(number) => number.to_string().into_bytes(),
        Value::UInt(number) => number.to_string().into_bytes(),
        // The shortest text that reads back as the same bits.
        Value::Float(number) => format!("{:?}", f64::from(*number)).into_bytes(),
        Value::Double(number) => format!("{number:?}").into_bytes(),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
                .into_bytes()
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = u64::from(*days).saturating_mul(24).saturating_add(u64::from(*hours));
            format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}").into_bytes()
        }
    })
}

fn document(bytes: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(mut parsed) => {
            with_whole_numbers(&mut parsed);
            parsed.to_string().into_bytes()
        }
        Err(_) => bytes.to_vec(),
    }
}

/// The digits of a decimal number, without zeros that say nothing. A number that the server fills up
/// with zeros at its start has no sign.
fn digits(decimal: &[u8]) -> &[u8] {
    let mut digits = decimal;
    if digits.contains(&b'.') {
        while let Some(shorter) = digits.strip_suffix(b"0") {
            digits = shorter;
        }
        digits = digits.strip_suffix(b".").unwrap_or(digits);
    }
    while let Some(shorter) =
        digits.strip_prefix(b"0").filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))
    {
        digits = shorter;
    }
    digits
}

/// Bits as the number that they are.
fn number(bits: &[u8]) -> Vec<u8> {
    let number = bits.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    number.to_string().into_bytes()
}

/// A double without a fraction is the integer of that value: `MySQL` 5.7 prints it so, and `-0` is 0 to
/// the others, which the reader takes for the double -0.0.
fn with_whole_numbers(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|double| double.fract() == 0.0);
            let digits = whole.map(|double| format!("{double:.0}")).unwrap_or_default();
            if let Ok(number) = digits.parse::<i64>() {
                *json = number.into();
            } else if let Ok(number) = digits.parse::<u64>() {
                *json = number.into();
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(with_whole_numbers),
        serde_json::Value::Object(members) => {
            members.values_mut().for_each(with_whole_numbers);
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_the_same_have_one_form() {
        let same =
            |left: &Value, right: &Value, form| assert_eq!(text(left, form), text(right, form));
        same(&Value::Int(5), &Value::UInt(5), Form::AsIs);
        same(&Value::Int(5), &Value::Bytes(b"5".to_vec()), Form::AsIs);
        for (one, other) in [("1.50", "1.5000"), ("0.00", "0"), ("-2.10", "-2.1"), ("007.0", "7")] {
            same(&Value::from(one), &Value::from(other), Form::Decimal);
        }
        same(&Value::from("100"), &Value::Int(100), Form::Decimal);
        assert_ne!(
            text(&Value::from("100"), Form::Decimal),
            text(&Value::from("1"), Form::Decimal)
        );
        same(&Value::Bytes(vec![5]), &Value::Bytes(vec![0, 5]), Form::Bits);
        same(&Value::Bytes(vec![255; 8]), &Value::UInt(u64::MAX), Form::Bits);
        same(&Value::from("b,a"), &Value::from("a,b"), Form::Set);
        let json = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        same(&json(r#"{"b":1,"a":[2, 3]}"#), &json(r#"{"a": [2,3], "b": 1}"#), Form::Json);
        let whole = r#"[1, 0, 1000000000000000, 10000000000000000000, {"w": -70}]"#;
        same(&json(r#"[1.0, -0.0, 1e15, 1e19, {"w": -70.0}]"#), &json(whole), Form::Json);
        same(
            &json(r#"[1E5, 1.50, "\u00e9", -0]"#),
            &json(r#"[100000.0, 1.5, "é", 0]"#),
            Form::Json,
        );
        assert_ne!(text(&Value::Double(0.0), Form::AsIs), text(&Value::Double(-0.0), Form::AsIs));
        assert_ne!(text(&Value::Float(0.1), Form::AsIs), text(&Value::Double(0.1), Form::AsIs));
        for (parts, expected) in [
            (&[Value::NULL][..], true),
            (&[Value::Int(0)], false),
            (&[Value::Bytes(Vec::new())], false),
            (&[Value::Int(1), Value::NULL], true),
            (&[Value::Int(0), Value::NULL], false),
        ] {
            assert_eq!(is_null(&parts.iter().collect::<Vec<_>>()), expected, "{parts:?}");
        }
        same(&Value::Time(true, 1, 2, 3, 4, 0), &Value::Time(true, 0, 26, 3, 4, 0), Form::AsIs);
    }
}
