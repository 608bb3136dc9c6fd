//! Whether a row's value meets a condition of the map.

use super::{RowCondition, RowTest};
use crate::value::Value;

impl RowCondition {
    /// Whether a value of the condition's column meets it. Text is compared exactly, numbers by
    /// their decimal text; what is neither meets no condition.
    pub fn matches(&self, value: &Value<'_>) -> bool {
        let text = match value {
            Value::Null => return matches!(self.test, RowTest::Null),
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Text(text) | Value::Decimal(text) | Value::Temporal(text) => text.to_string(),
            Value::Float(_)
            | Value::Double(_)
            | Value::Encoded { .. }
            | Value::Bytes(_)
            | Value::Json(_)
            | Value::Reference(_) => return false,
        };
        match &self.test {
            RowTest::In(list) => list.contains(&text),
            RowTest::NotIn(list) => !list.contains(&text),
            RowTest::Like(patterns) => patterns.iter().any(|pattern| like(pattern, &text)),
            RowTest::NotLike(patterns) => !patterns.iter().any(|pattern| like(pattern, &text)),
            RowTest::Null => false,
        }
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters.
fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some((_, last)) = pattern.rsplit_once('*') else { return rest.is_empty() };
    let middle: Vec<&str> = pieces.collect();
    for piece in middle.iter().take(middle.len().saturating_sub(1)) {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("ab*b", "ab", false),
        ] {
            let condition =
                RowCondition { column: 0, test: RowTest::Like(vec![pattern.to_owned()]) };
            assert_eq!(condition.matches(&Value::Text(text.into())), expected, "{pattern} {text}");
        }
    }
}
