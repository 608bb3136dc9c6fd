//! Character data to UTF-8, only where the way back leads to the same bytes.

use std::borrow::Cow;

use crate::value::Value;

use super::charset::Charset;
use super::single_byte::{Form, UNMAPPED, form};

/// The value of character data: text, bytes for `binary`, or, where the bytes cannot become UTF-8
/// and come back, those bytes with their character set's name.
pub(super) fn value(content: &[u8], charset: Charset) -> Value<'_> {
    if charset == Charset::Binary {
        return Value::Bytes(Cow::Borrowed(content));
    }
    match decode(content, charset) {
        Some(text) => Value::Text(text),
        None => {
            Value::Encoded { charset: Cow::Borrowed(charset.name()), bytes: Cow::Borrowed(content) }
        }
    }
}

/// The text, if it is surely the one the server means.
pub(super) fn decode(content: &[u8], charset: Charset) -> Option<Cow<'_, str>> {
    match form(charset) {
        Form::Utf8 => std::str::from_utf8(content).ok().map(Cow::Borrowed),
        Form::Ucs2 => units(content, u16::from_be_bytes)
            .and_then(|units| units.map(|unit| char::from_u32(u32::from(unit))).collect())
            .map(Cow::Owned),
        Form::Utf16 => units(content, u16::from_be_bytes).and_then(utf16),
        Form::Utf16le => units(content, u16::from_le_bytes).and_then(utf16),
        Form::Utf32 => utf32(content),
        Form::SingleByte(upper) => ascii(content).or_else(|| single_byte(content, upper)),
        Form::Cjk(cjk) => super::cjk::decode(content, cjk),
        Form::AsciiOnly => ascii(content),
        Form::Bytes => None,
    }
}

fn ascii(content: &[u8]) -> Option<Cow<'_, str>> {
    std::str::from_utf8(content).ok().filter(|text| text.is_ascii()).map(Cow::Borrowed)
}

fn units(content: &[u8], unit: fn([u8; 2]) -> u16) -> Option<impl Iterator<Item = u16> + use<'_>> {
    let (pairs, rest) = content.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(move |pair| unit(*pair)))
}

fn utf16<'a>(units: impl Iterator<Item = u16>) -> Option<Cow<'a, str>> {
    char::decode_utf16(units).collect::<Result<String, _>>().ok().map(Cow::Owned)
}

fn utf32<'a>(content: &[u8]) -> Option<Cow<'a, str>> {
    let (units, rest) = content.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let letters = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
    letters.collect::<Option<String>>().map(Cow::Owned)
}

fn single_byte<'a>(content: &[u8], upper: &[u16; 128]) -> Option<Cow<'a, str>> {
    let letter = |byte: &u8| match byte.checked_sub(0x80) {
        None => Some(char::from(*byte)),
        Some(place) => upper
            .get(usize::from(place))
            .filter(|unit| **unit != UNMAPPED)
            .and_then(|unit| char::from_u32(u32::from(*unit))),
    };
    content.iter().map(letter).collect::<Option<String>>().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &[u8], charset: Charset) -> Option<String> {
        decode(content, charset).map(Cow::into_owned)
    }

    #[test]
    fn latin1_is_the_servers_own() {
        assert_eq!(text(&[0x80, 0xe9, 0x81], Charset::Latin1).unwrap(), "\u{20ac}\u{e9}\u{81}");
    }

    #[test]
    fn what_has_no_way_back_stays_bytes() {
        assert_eq!(text(&[0xff], Charset::Utf8mb4), None);
        assert_eq!(text(&[0x80], Charset::Ascii), None);
        assert_eq!(text(b"[", Charset::Swe7), None);
        assert_eq!(text(&[0xd8, 0x00], Charset::Ucs2), None);
        assert_eq!(text(&[0xd8, 0x00], Charset::Utf16), None);
        assert_eq!(text(&[0x00], Charset::Utf16), None);
        let value = value(&[b'a', 0xff], Charset::Utf8mb4);
        let Value::Encoded { charset, bytes } = value else { panic!("{value:?}") };
        assert_eq!((charset.as_ref(), bytes.as_ref()), ("utf8mb4", &[b'a', 0xff][..]));
    }

    #[test]
    fn wide_character_sets() {
        assert_eq!(text(&[0x04, 0x16], Charset::Ucs2).unwrap(), "\u{416}");
        assert_eq!(text(&[0xd8, 0x3d, 0xde, 0x00], Charset::Utf16).unwrap(), "\u{1f600}");
        assert_eq!(text(&[0x3d, 0xd8, 0x00, 0xde], Charset::Utf16le).unwrap(), "\u{1f600}");
        assert_eq!(text(&[0, 1, 0xf6, 0], Charset::Utf32).unwrap(), "\u{1f600}");
    }
}
