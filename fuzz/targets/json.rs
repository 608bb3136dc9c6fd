//! A document of binary JSON.

use headwater::capture::decode::{Charset, ColumnFacts, ColumnType, RawColumn};
use headwater::value::Value;

/// The text of a document is never longer than 16 times the document, and its last part.
const GROWTH_MAX: usize = 16 + 6;

pub fn run(bytes: &[u8]) {
    let facts = ColumnFacts {
        unsigned: false,
        charset: Charset::Utf8mb4,
        members: Vec::new(),
        special: None,
    };
    let column = ColumnType::Json { length_bytes: 4 };
    let Ok(value) = RawColumn::Bytes(bytes).value(column, &facts) else { return };
    let Value::Json(text) = value else { panic!("{value:?}") };
    serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("JSON that can be read");
    assert!(text.len() <= bytes.len() * GROWTH_MAX + 128, "{} bytes of text", text.len());
}
