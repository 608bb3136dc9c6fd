//! Whether a row's value meets a condition of the map.

use super::{BoundColumn, Role, RowCondition, RowTest};
use crate::change::Identity;
use crate::value::{Name, Value};

/// Types whose values are no text that a list could hold.
const UNREADABLE: [&str; 12] = [
    "float",
    "double",
    "json",
    "vector",
    "binary",
    "varbinary",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "geometry",
    "point",
];

impl RowTest {
    /// Whether it says what may travel, and so leaves out all else: also what cannot be read.
    fn is_allow_list(&self) -> bool {
        matches!(self, RowTest::NotIn(_) | RowTest::NotLike(_))
    }
}

/// Whether a column's values can be held against a test; the error says why not and what to do.
pub(super) fn can_test(
    column: &BoundColumn,
    test: &RowTest,
    is_natural: impl Fn(&Name) -> bool,
) -> Result<(), String> {
    if matches!(test, RowTest::Null) {
        return Ok(());
    }
    let name = &column.name;
    let kind = column.live.data_type.as_str();
    if UNREADABLE.contains(&kind) || kind.contains("polygon") || kind.contains("string") {
        return Err(format!(
            "rows_left_out tests its column {name}, which is {}: no list holds such values; test \
             another column, or null = true",
            column.live.column_type
        ));
    }
    if let Role::Reference(rule) = &column.role
        && test.is_allow_list()
        && !rule.targets().into_iter().all(is_natural)
    {
        return Err(format!(
            "rows_left_out allows values of its column {name}, which holds numbers of this database \
             only; test another column"
        ));
    }
    Ok(())
}

impl RowCondition {
    /// Whether a value of the condition's column meets it. Text is compared exactly, numbers by
    /// their decimal text, and a reference by what the row is called; what is none of these, or
    /// NULL, no list of what may travel allows, and no other list names.
    pub fn matches(&self, value: &Value<'_>) -> bool {
        let text = match value {
            Value::Null => return matches!(self.test, RowTest::Null) || self.test.is_allow_list(),
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Text(text) | Value::Decimal(text) | Value::Temporal(text) => text.to_string(),
            Value::Float(_)
            | Value::Double(_)
            | Value::Encoded { .. }
            | Value::Bytes(_)
            | Value::Json(_) => return self.test.is_allow_list(),
            Value::Reference(reference) => {
                return match &reference.identity {
                    Identity::One(value) => self.matches(value),
                    Identity::Many(_) | Identity::Lost(_) => self.test.is_allow_list(),
                };
            }
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
    use crate::value::Reference;

    #[test]
    fn what_no_list_can_hold_is_not_allowed_by_one() {
        let list = || vec!["a".to_owned()];
        let reference = |identity| {
            Value::Reference(Box::new(Reference { table: Name::from("role"), identity }))
        };
        let unreadable = [
            Value::Null,
            Value::Bytes(b"a".as_slice().into()),
            Value::Encoded { charset: "utf8mb4".into(), bytes: b"a".as_slice().into() },
            Value::Float(1),
            Value::Double(1),
            Value::Json("a".into()),
            reference(Identity::Lost(1)),
        ];
        let matches = |test, value: &Value<'_>| RowCondition { column: 0, test }.matches(value);
        for value in &unreadable {
            assert!(matches(RowTest::NotIn(list()), value), "{value:?}");
            assert!(matches(RowTest::NotLike(list()), value), "{value:?}");
            assert!(!matches(RowTest::In(list()), value), "{value:?}");
            assert!(!matches(RowTest::Like(list()), value), "{value:?}");
            assert_eq!(matches(RowTest::Null, value), value.is_null());
        }
        let role = reference(Identity::One(Value::Text("a".into())));
        for value in [Value::Text("a".into()), role] {
            assert!(!matches(RowTest::NotIn(list()), &value));
            assert!(matches(RowTest::In(list()), &value));
        }
    }

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
