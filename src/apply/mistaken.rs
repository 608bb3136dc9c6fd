//! What a column of another type would take for something else, without an error: a text of `007`
//! for the number 7, the number 101 for a date, a text for the number of an ENUM's member. What
//! arrives as it was goes on, and what the server refuses it refuses in its own words.

use super::error::Hold;
use crate::change::Identity;
use crate::schema_map::BoundColumn;
use crate::value::Value;

/// How much of a value is shown.
const SHOWN_LETTERS_MAX: usize = 60;
/// Bytes of `2024-01-31`.
const DATE_BYTES: usize = 10;
/// Years that a YEAR holds under their own number; 1 to 99 stand for others.
const YEARS: std::ops::RangeInclusive<i128> = 100..=i128::MAX;

/// What a column takes, as far as it matters for what it is mistaken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Integer,
    /// DECIMAL, FLOAT and DOUBLE.
    Fraction,
    Year,
    Bits,
    Date,
    /// DATETIME and TIMESTAMP.
    Moment,
    Time,
    Enum,
    Set,
    /// Bytes of one length.
    Padded,
    Other,
}

fn family(bound: &BoundColumn) -> Family {
    match bound.live.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Family::Integer,
        "decimal" | "numeric" | "float" | "double" | "real" => Family::Fraction,
        "year" => Family::Year,
        "bit" => Family::Bits,
        "date" => Family::Date,
        "datetime" | "timestamp" => Family::Moment,
        "time" => Family::Time,
        "enum" => Family::Enum,
        "set" => Family::Set,
        "binary" => Family::Padded,
        _ => Family::Other,
    }
}

/// Whether a column takes a value for what it is.
pub(super) fn taken(bound: &BoundColumn, value: &Value<'_>) -> Result<(), Hold> {
    let right = match value {
        Value::Null => return null(bound),
        Value::Text(content) => text(bound, content),
        Value::Json(content) | Value::Temporal(content) => match family(bound) {
            Family::Integer | Family::Fraction | Family::Year | Family::Bits => false,
            Family::Enum | Family::Set | Family::Padded => text(bound, content),
            Family::Date | Family::Moment | Family::Time => matches!(value, Value::Temporal(_)),
            Family::Other => true,
        },
        Value::Int(number) => whole(family(bound), i128::from(*number)),
        Value::UInt(number) => whole(family(bound), i128::from(*number)),
        Value::Decimal(_) | Value::Float(_) | Value::Double(_) => {
            matches!(family(bound), Family::Integer | Family::Fraction | Family::Other)
        }
        Value::Bytes(bytes) => match family(bound) {
            Family::Padded => fills(bound, bytes.len()),
            Family::Integer | Family::Fraction => {
                std::str::from_utf8(bytes).map_or(true, |content| text(bound, content))
            }
            Family::Year | Family::Bits | Family::Date | Family::Moment | Family::Time => false,
            // Which refuse bytes wherever they come from.
            Family::Enum | Family::Set | Family::Other => true,
        },
        Value::Encoded { .. } | Value::Reference(_) => true,
    };
    if right {
        return Ok(());
    }
    let shown: String =
        Identity::One(value.clone()).to_string().chars().take(SHOWN_LETTERS_MAX).collect();
    let shown = if shown.is_empty() { "''" } else { &shown };
    Err(Hold::quarantine(format!(
        "column {} is {} here, which would take {shown} for something else",
        bound.name, bound.live.column_type
    )))
}

/// A column that may not be NULL gets the present moment, or the next number, for it.
fn null(bound: &BoundColumn) -> Result<(), Hold> {
    let live = &bound.live;
    let filled = live.data_type == "timestamp" || live.extra.contains("auto_increment");
    if live.nullable || !filled {
        return Ok(());
    }
    Err(Hold::quarantine(format!(
        "column {} is {} here and may not be NULL, for which the server would write a value of its \
         own: let it be NULL here too",
        bound.name, live.column_type
    )))
}

fn whole(family: Family, number: i128) -> bool {
    match family {
        Family::Integer | Family::Fraction | Family::Other => true,
        Family::Year => number == 0 || YEARS.contains(&number),
        Family::Bits => number >= 0,
        Family::Date
        | Family::Moment
        | Family::Time
        | Family::Enum
        | Family::Set
        | Family::Padded => false,
    }
}

fn text(bound: &BoundColumn, content: &str) -> bool {
    match family(bound) {
        Family::Integer => !is_number(content) || is_plain(content) && !content.contains('.'),
        Family::Fraction => !is_number(content) || is_plain(content),
        Family::Year => content.len() == 4 && content.bytes().all(|it| it.is_ascii_digit()),
        Family::Bits => false,
        Family::Date => is_date(content),
        Family::Moment => {
            is_date(content)
                || content.split_once(' ').is_some_and(|(date, time)| {
                    is_date(date) && is_time(time) && !time.starts_with('-')
                })
        }
        Family::Time => is_time(content),
        Family::Enum => is_member(bound, content),
        Family::Set => content.is_empty() || content.split(',').all(|it| is_member(bound, it)),
        Family::Padded => fills(bound, content.len()),
        Family::Other => true,
    }
}

/// Whether a server would read a text as a number.
pub(super) fn is_number(content: &str) -> bool {
    content.trim().parse::<f64>().is_ok()
}

/// Whether a text is a number the way that servers print one.
fn is_plain(content: &str) -> bool {
    let digits = content.strip_prefix('-').unwrap_or(content);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_nothing = digits.bytes().all(|it| matches!(it, b'0' | b'.'));
    are_digits(whole)
        && are_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && !(is_nothing && content.starts_with('-'))
}

/// Whether a text is digits with these between them, as `0000-00-00`.
fn is_like(content: &str, pattern: &str) -> bool {
    content.len() == pattern.len()
        && content
            .bytes()
            .zip(pattern.bytes())
            .all(|(one, like)| if like == b'0' { one.is_ascii_digit() } else { one == like })
}

fn is_date(content: &str) -> bool {
    content.len() == DATE_BYTES && is_like(content, "0000-00-00")
}

fn is_time(content: &str) -> bool {
    let (time, fraction) = content.split_once('.').unwrap_or((content, "0"));
    let time = time.strip_prefix('-').unwrap_or(time);
    (is_like(time, "00:00:00") || is_like(time, "000:00:00"))
        && !fraction.is_empty()
        && fraction.bytes().all(|it| it.is_ascii_digit())
}

/// Whether an ENUM or a SET has exactly this member. Servers compare members by their collation, and
/// take digits for a member's number. Of members beyond the first 65,536 characters of Unicode
/// `information_schema` shows question marks, so that the server has to know.
fn is_member(bound: &BoundColumn, content: &str) -> bool {
    let members = &bound.live.members;
    let hidden = || {
        content.chars().any(|one| one > '\u{ffff}')
            && members.iter().any(|member| member.contains(['?', '\\']))
    };
    members.is_empty() || members.iter().any(|member| member == content) || hidden()
}

/// Whether bytes are as many as the column holds: more the server refuses, and fewer it fills up.
fn fills(bound: &BoundColumn, length: usize) -> bool {
    bound.live.characters_max.is_none_or(|most| length as u64 >= most)
}

#[cfg(test)]
mod tests {
    use super::super::exact::tests::column;
    use super::*;

    fn takes(kind: &str, value: &Value<'_>) -> bool {
        taken(&column(kind, None, None), value).is_ok()
    }

    fn takes_text(kind: &str, content: &str) -> bool {
        takes(kind, &Value::Text(content.to_owned().into()))
    }

    #[test]
    fn a_text_is_a_number_where_it_prints_the_same() {
        for same in ["0", "7", "-7", "9223372036854775807", "no number", "10.0.0.1", ""] {
            assert!(takes_text("int", same) && takes_text("decimal", same), "{same}");
        }
        for other in ["007", " 5", "5 ", "+5", "1e3", "-0", "00", ".5", "5."] {
            assert!(!takes_text("int", other) && !takes_text("double", other), "{other}");
        }
        assert!(!takes_text("int", "1.5") && takes_text("decimal", "1.5"));
        assert!(!takes_text("bit", "a") && !takes_text("bit", "1"));
        assert!(takes_text("year", "1987") && !takes_text("year", "87"));
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec().into());
        assert!(!takes("int", &bytes(b"007")) && takes("int", &bytes(&[0, 0, 128, 63])));
    }

    #[test]
    fn no_number_is_a_date_and_no_time_of_day_either() {
        for kind in ["date", "datetime", "timestamp", "time"] {
            assert!(!takes(kind, &Value::Int(101)) && !takes_text(kind, "101"), "{kind}");
            assert!(!takes(kind, &Value::Double(1.5_f64.to_bits())), "{kind}");
            assert!(takes(kind, &Value::Temporal("2024-01-31".into())), "{kind}");
        }
        assert!(takes_text("date", "2024-01-31") && takes_text("datetime", "2024-01-31"));
        assert!(!takes_text("date", "10:11:12") && !takes_text("datetime", "24-1-31"));
        assert!(takes_text("datetime", "2024-01-31 10:11:12.5"));
        assert!(takes_text("time", "-838:59:59") && takes_text("time", "10:11:12.000001"));
        assert!(!takes_text("time", "10:11") && !takes_text("time", "1 10:11:12"));
        assert!(!takes("int", &Value::Temporal("10:11:12".into())));
        assert!(takes("varchar", &Value::Temporal("10:11:12".into())));
        assert!(takes("year", &Value::UInt(0)) && takes("year", &Value::Int(1901)));
        assert!(!takes("year", &Value::Int(5)) && !takes("bit", &Value::Int(-1)));
    }

    #[test]
    fn members_are_those_that_are_spelt_so() {
        let of = |kind: &str, members: &[&str], content: &str| {
            let mut column = column(kind, None, None);
            column.live.members = members.iter().map(|&member| member.to_owned()).collect();
            taken(&column, &Value::Text(content.to_owned().into())).is_ok()
        };
        assert!(of("enum", &["x", "y"], "y") && of("enum", &["x", ""], ""));
        for other in ["2", "X", "x ", "0", "", "x,y"] {
            assert!(!of("enum", &["x", "y"], other), "{other}");
        }
        assert!(of("set", &["x", "y"], "x,y") && of("set", &["x", "y"], ""));
        assert!(!of("set", &["x", "y"], "3") && !of("set", &["x", "y"], "x,Y"));
        assert!(of("enum", &["?", "y"], "😀") && !of("enum", &["?", "y"], "2"));
        assert!(!of("enum", &["x", "y"], "😀"));
        assert!(!takes("enum", &Value::Int(1)) && !takes("set", &Value::Decimal("1".into())));
    }

    #[test]
    fn bytes_are_not_filled_up() {
        let fixed = column("binary", Some(4), None);
        let of = |value: Value<'static>| taken(&fixed, &value).is_ok();
        assert!(of(Value::Bytes(vec![1, 2, 0, 0].into())));
        assert!(!of(Value::Bytes(vec![1, 2].into())));
        assert!(!of(Value::Text("ab".into())) && of(Value::Text("abcd".into())));
        assert!(!of(Value::Int(1)));
    }

    #[test]
    fn no_moment_or_number_is_made_up_for_null() {
        let mut stamp = column("timestamp", None, None);
        assert!(taken(&stamp, &Value::Null).is_ok());
        stamp.live.nullable = false;
        assert!(taken(&stamp, &Value::Null).is_err());
        let mut counted = column("int", None, None);
        counted.live.nullable = false;
        assert!(taken(&counted, &Value::Null).is_ok(), "the server refuses it");
        counted.live.extra = "auto_increment".to_owned();
        assert!(taken(&counted, &Value::Null).is_err());
    }
}
