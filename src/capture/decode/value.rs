//! The bytes of one column to its value.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use crate::value::Value;

use super::charset::Charset;
use super::column::ColumnType;
use super::cursor::{Cursor, big, little};
use super::error::{DecodeError, Refusal};
use super::facts::{ColumnFacts, Special};
use super::rows::RawColumn;
use super::{decimal, json, payload, temporal, text};

/// The year that a stored 1 is.
const YEAR_BASE: u64 = 1900;
/// No value of a server is longer.
const VALUE_BYTES_MAX: u64 = 1 << 30;

impl<'a> RawColumn<'a> {
    /// The value, for the column's type in the table map and what else is known of it.
    #[inline]
    pub fn value(self, column: ColumnType, facts: &ColumnFacts) -> Result<Value<'a>, DecodeError> {
        match self {
            RawColumn::Absent => Err(Refusal::Absent.into()),
            RawColumn::Null => Ok(Value::Null),
            RawColumn::Bytes(content) => match column {
                // Most columns are integers: no call for them.
                ColumnType::Integer { bytes } => Ok(integer(content, bytes, facts.unsigned)),
                _ => value(content, column, facts),
            },
        }
    }
}

fn value<'a>(
    content: &'a [u8],
    column: ColumnType,
    facts: &ColumnFacts,
) -> Result<Value<'a>, DecodeError> {
    Ok(match column {
        ColumnType::Integer { bytes } => integer(content, bytes, facts.unsigned),
        ColumnType::Float => Value::Float(Cursor::new(content, "float").u32()?),
        ColumnType::Double => Value::Double(Cursor::new(content, "double").u64()?),
        ColumnType::Decimal { precision, scale } => {
            Value::Decimal(Cow::Owned(decimal::text(content, precision, scale)?))
        }
        ColumnType::Bit { .. } => Value::UInt(big(content)),
        ColumnType::Year => match little(content) {
            0 => Value::UInt(0),
            years => Value::UInt(years.saturating_add(YEAR_BASE)),
        },
        ColumnType::Date => printed(temporal::date(content)?),
        ColumnType::Time { fraction } => printed(temporal::time(content, fraction)?),
        ColumnType::DateTime { fraction } => printed(temporal::date_time(content, fraction)?),
        ColumnType::Timestamp { fraction } => printed(temporal::timestamp(content, fraction)?),
        ColumnType::OldTime => printed(temporal::old_time(content)?),
        ColumnType::OldDateTime => printed(temporal::old_date_time(content)?),
        ColumnType::OldTimestamp => printed(temporal::old_timestamp(content)?),
        ColumnType::Char { bytes_max } => fixed(content, bytes_max, facts)?,
        ColumnType::VarChar { .. } | ColumnType::Blob { .. } => text::value(content, facts.charset),
        ColumnType::Enum { .. } => member(little(content), facts)?,
        ColumnType::Set { .. } => members(little(content), facts)?,
        ColumnType::Json { .. } => Value::Json(Cow::Owned(json::text(content)?)),
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => {
            Value::Bytes(Cow::Borrowed(content))
        }
        ColumnType::CompressedVarChar { bytes_max } => {
            inflated(content, u64::from(bytes_max), facts)?
        }
        ColumnType::CompressedBlob { .. } => inflated(content, VALUE_BYTES_MAX, facts)?,
    })
}

fn printed<'a>(text: String) -> Value<'a> {
    Value::Temporal(Cow::Owned(text))
}

#[inline]
fn integer<'a>(content: &[u8], bytes: u8, unsigned: bool) -> Value<'a> {
    let number = little(content);
    if unsigned {
        return Value::UInt(number);
    }
    let unused = 64 - 8 * u32::from(bytes.clamp(1, 8));
    Value::Int((number << unused).cast_signed() >> unused)
}

/// `CHAR` and `BINARY`. The server doesn't log the zero bytes at the end of a `BINARY`.
fn fixed<'a>(
    content: &'a [u8],
    bytes_max: u16,
    facts: &ColumnFacts,
) -> Result<Value<'a>, DecodeError> {
    if let Some(special) = facts.special {
        return special_text(content, special).map(|text| Value::Text(Cow::Owned(text)));
    }
    if facts.charset != Charset::Binary || content.len() == usize::from(bytes_max) {
        return Ok(text::value(content, facts.charset));
    }
    if content.len() > usize::from(bytes_max) {
        return Err(DecodeError::malformed("a BINARY value longer than its column"));
    }
    let mut padded = content.to_vec();
    padded.resize(usize::from(bytes_max), 0);
    Ok(Value::Bytes(Cow::Owned(padded)))
}

fn padded<const N: usize>(content: &[u8]) -> Result<[u8; N], DecodeError> {
    let mut padded = [0; N];
    let target = padded
        .get_mut(..content.len())
        .ok_or_else(|| DecodeError::malformed("an address or UUID of too many bytes"))?;
    target.copy_from_slice(content);
    Ok(padded)
}

fn special_text(content: &[u8], special: Special) -> Result<String, DecodeError> {
    Ok(match special {
        Special::Uuid => Uuid::from_bytes(padded(content)?).hyphenated().to_string(),
        Special::Inet4 => Ipv4Addr::from(padded::<4>(content)?).to_string(),
        Special::Inet6 => inet6(Ipv6Addr::from(padded::<16>(content)?)),
    })
}

/// As the server prints it: the longest run of zeros left out, even a run of one, and the last four
/// bytes as an IPv4 address where they are one.
fn inet6(address: Ipv6Addr) -> String {
    let groups = address.segments();
    let (mut gap_start, mut gap_length) = (0, 0);
    let mut run = 0;
    for (place, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > gap_length {
            (gap_start, gap_length) = (place + 1 - run, run);
        }
    }
    let [.., mapped, _, _] = groups;
    let ends_in_ipv4 = gap_start == 0 && (gap_length == 6 || (gap_length == 5 && mapped == 0xffff));
    let mut text = String::with_capacity(39);
    for (place, group) in groups.iter().enumerate() {
        if (gap_start..gap_start + gap_length).contains(&place) {
            if place == gap_start {
                text.push_str("::");
            }
        } else if ends_in_ipv4 && place == 6 {
            let [.., a, b, c, d] = address.octets();
            text.push_str(&separated(&text, &Ipv4Addr::new(a, b, c, d).to_string()));
            break;
        } else {
            text.push_str(&separated(&text, &format!("{group:x}")));
        }
    }
    text
}

fn separated(before: &str, part: &str) -> String {
    let colon = if before.is_empty() || before.ends_with(':') { "" } else { ":" };
    format!("{colon}{part}")
}

fn member<'a>(index: u64, facts: &ColumnFacts) -> Result<Value<'a>, DecodeError> {
    // The server stores 0 for a value that was no member, and shows it as ''.
    let Some(place) = index.checked_sub(1) else {
        let is_member = facts.members.iter().any(String::is_empty);
        return Ok(if is_member { no_text() } else { Value::Text(Cow::Borrowed("")) });
    };
    let member = usize::try_from(place).ok().and_then(|place| facts.members.get(place));
    match member {
        Some(member) if is_one_of_two(member, facts) => Err(two_members(member)),
        Some(member) => Ok(Value::Text(Cow::Owned(member.clone()))),
        None => Err(strange_member(facts, place + 1)),
    }
}

fn members<'a>(bits: u64, facts: &ColumnFacts) -> Result<Value<'a>, DecodeError> {
    let known = 64_u32.saturating_sub(bits.leading_zeros()) as usize;
    if known > facts.members.len() {
        return Err(strange_member(facts, known as u64));
    }
    let mut text = String::new();
    let chosen =
        facts.members.iter().enumerate().filter(|(place, _)| *place < 64 && bits >> place & 1 == 1);
    for (count, (_, member)) in chosen.enumerate() {
        if is_one_of_two(member, facts) {
            return Err(two_members(member));
        }
        if count > 0 {
            text.push(',');
        }
        text.push_str(member);
    }
    // Written anew, it would be the empty set.
    if bits != 0 && text.is_empty() {
        return Ok(no_text());
    }
    Ok(Value::Text(Cow::Owned(text)))
}

/// What no text stands for: servers show it as one that means something else to them. As bytes in no
/// character set that a column has, it is quarantined by whoever applies it.
fn no_text<'a>() -> Value<'a> {
    Value::Encoded { charset: Cow::Borrowed("as a member"), bytes: Cow::Borrowed(b"") }
}

/// Whether another member has the same name. `information_schema` shows a letter beyond the basic
/// plane as '?', so that two that differ there cannot be told apart.
fn is_one_of_two(member: &str, facts: &ColumnFacts) -> bool {
    member.contains('?') && facts.members.iter().filter(|other| **other == *member).count() > 1
}

fn two_members(member: &str) -> DecodeError {
    Refusal::Mismatch {
        expected: "an ENUM or SET of members whose names differ".to_owned(),
        found: format!("one with two members that are shown as {member}"),
    }
    .into()
}

fn strange_member(facts: &ColumnFacts, number: u64) -> DecodeError {
    Refusal::Mismatch {
        expected: format!("an ENUM or SET of {} members", facts.members.len()),
        found: format!("one with a member {number}"),
    }
    .into()
}

/// A column with `COMPRESSED` of `MariaDB`: plain after a zero byte, else the size and a zlib or
/// raw deflate stream.
fn inflated<'a>(
    content: &'a [u8],
    bytes_max: u64,
    facts: &ColumnFacts,
) -> Result<Value<'a>, DecodeError> {
    let what = "compressed column";
    let mut cursor = Cursor::new(content, what);
    if cursor.is_empty() {
        return Ok(text::value(content, facts.charset));
    }
    let head = cursor.u8()?;
    if head == 0 {
        return Ok(text::value(cursor.rest(), facts.charset));
    }
    if head >> 4 != 8 {
        return Err(Refusal::CompressionMethod { what, method: u64::from(head >> 4) }.into());
    }
    let size = big(cursor.take(usize::from(head & 0x07))?);
    let plain = payload::inflate(cursor.rest(), size, head & 0x08 == 0, what, bytes_max)?;
    Ok(text::value(&plain, facts.charset).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ColumnFacts {
        ColumnFacts {
            unsigned: false,
            charset: Charset::Binary,
            members: Vec::new(),
            special: None,
        }
    }

    #[test]
    fn integers_keep_their_sign_at_every_width() {
        for bytes in [1, 2, 3, 4, 8_u8] {
            let low = vec![0xff; usize::from(bytes)];
            let column = ColumnType::Integer { bytes };
            let signed = RawColumn::Bytes(&low).value(column, &facts()).unwrap();
            assert_eq!(signed, Value::Int(-1), "{bytes} bytes");
            let unsigned = ColumnFacts { unsigned: true, ..facts() };
            let most = u64::MAX >> (64 - 8 * u32::from(bytes));
            let found = RawColumn::Bytes(&low).value(column, &unsigned).unwrap();
            assert_eq!(found, Value::UInt(most), "{bytes} bytes");
        }
    }

    #[test]
    fn binary_gets_its_trailing_zeros_back() {
        let column = ColumnType::Char { bytes_max: 4 };
        let found = RawColumn::Bytes(&[1, 2]).value(column, &facts()).unwrap();
        assert_eq!(found, Value::Bytes(Cow::Borrowed(&[1, 2, 0, 0])));
        // Nor is one cut that is longer than the column can be.
        assert!(RawColumn::Bytes(&[1, 2, 3, 4, 5]).value(column, &facts()).is_err());
    }

    #[test]
    fn year_zero_is_zero() {
        let found = RawColumn::Bytes(&[0]).value(ColumnType::Year, &facts()).unwrap();
        assert_eq!(found, Value::UInt(0));
        let found = RawColumn::Bytes(&[99]).value(ColumnType::Year, &facts()).unwrap();
        assert_eq!(found, Value::UInt(1999));
    }

    #[test]
    fn an_absent_column_is_not_null() {
        let column = ColumnType::Integer { bytes: 4 };
        assert_eq!(RawColumn::Null.value(column, &facts()).unwrap(), Value::Null);
        let error = RawColumn::Absent.value(column, &facts()).unwrap_err();
        assert_eq!(error, DecodeError::Refused(Refusal::Absent));
    }

    #[test]
    fn enums_and_sets_by_name() {
        let many: Vec<String> = (1..=300).map(|number| format!("m{number}")).collect();
        let facts = ColumnFacts { members: many, ..facts() };
        let of = |bytes: &'static [u8], column| {
            RawColumn::Bytes(bytes).value(column, &facts).map(|value| match value {
                Value::Text(text) => text.into_owned(),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(of(&[0, 0], ColumnType::Enum { bytes: 2 }).unwrap(), "");
        assert_eq!(of(&[200, 0], ColumnType::Enum { bytes: 2 }).unwrap(), "m200");
        assert_eq!(of(&[44, 1], ColumnType::Enum { bytes: 2 }).unwrap(), "m300");
        assert!(of(&[45, 1], ColumnType::Enum { bytes: 2 }).is_err());
        let set = ColumnType::Set { bytes: 8 };
        assert_eq!(of(&[5, 0, 0, 0, 0, 0, 0, 0x80], set).unwrap(), "m1,m3,m64");
        assert_eq!(of(&[0; 8], set).unwrap(), "");
    }

    #[test]
    fn members_that_are_shown_alike_are_not_told_apart() {
        let members = ["?", "?", "Why?"].map(ToOwned::to_owned).to_vec();
        let facts = ColumnFacts { members, ..facts() };
        let column = ColumnType::Enum { bytes: 1 };
        assert!(RawColumn::Bytes(&[1]).value(column, &facts).is_err());
        assert!(RawColumn::Bytes(&[3]).value(column, &facts).is_ok());
        let column = ColumnType::Set { bytes: 1 };
        assert!(RawColumn::Bytes(&[6]).value(column, &facts).is_err());
        assert!(RawColumn::Bytes(&[4]).value(column, &facts).is_ok());
    }

    #[test]
    fn no_member_is_not_the_member_without_letters() {
        let members = vec!["a".to_owned(), String::new()];
        let facts = ColumnFacts { members, ..facts() };
        let of = |number: u8, column| {
            RawColumn::Bytes(&[number]).value(column, &facts).unwrap().into_owned()
        };
        let (text, none) = (|text: &'static str| Value::Text(Cow::Borrowed(text)), no_text());
        let column = ColumnType::Enum { bytes: 1 };
        assert_eq!(
            [of(0, column), of(1, column), of(2, column)],
            [none.clone(), text("a"), text("")]
        );
        let column = ColumnType::Set { bytes: 1 };
        assert_eq!([of(0, column), of(1, column), of(2, column)], [text(""), text("a"), none]);
    }

    #[test]
    fn inet6_as_the_server_prints_it() {
        for printed in [
            "1::2:3:4:5:6:7",
            "::1:2:3:4:5:6:7",
            "1::2:0:0:3:4",
            "::0.1.0.0",
            "::ffff:0.1.0.2",
            "::ffff:0.0.0.1",
            "1:2:3:4:5:6:7::",
            "::1:2:3",
            "::1",
            "::",
            "0:2::",
            "1:0:0:2::3",
        ] {
            assert_eq!(inet6(printed.parse().unwrap()), printed);
        }
    }

    #[test]
    fn a_compressed_column_may_be_plain_raw_or_wrapped() {
        let facts = ColumnFacts { charset: Charset::Utf8mb4, ..facts() };
        let column = ColumnType::CompressedBlob { length_bytes: 2 };
        // Fifteen hundred times 'a', as MariaDB 10.11 wrote it.
        let raw = [
            0x8a, 0x05, 0xdc, 0x4b, 0x4c, 0x1c, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x82, 0x51, 0x30,
            0xdc, 0x00, 0x00,
        ];
        let found = RawColumn::Bytes(&raw).value(column, &facts).unwrap();
        assert_eq!(found, Value::Text(Cow::Owned("a".repeat(1500))));
        let plain = RawColumn::Bytes(b"\0x").value(column, &facts).unwrap();
        assert_eq!(plain, Value::Text(Cow::Borrowed("x")));
        let mut lying = raw;
        lying[1] = 0xff;
        assert!(RawColumn::Bytes(&lying).value(column, &facts).is_err());
        let short = ColumnType::CompressedVarChar { bytes_max: 100 };
        assert!(matches!(
            RawColumn::Bytes(&raw).value(short, &facts),
            Err(DecodeError::Refused(Refusal::TooLarge { .. }))
        ));
    }
}
