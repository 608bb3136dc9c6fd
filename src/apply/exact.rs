//! What a server would cut or round without an error, in strict mode too: blanks at the end of a
//! text, digits of a number, the part of a time that a column does not have. Such a value is set
//! aside, as one is that the server refuses.

use super::error::Hold;
use super::mistaken::{is_number, taken};
use crate::schema_map::BoundColumn;
use crate::value::Value;

/// Digits that a FLOAT gives back as they were written.
const DIGITS_OF_FLOAT: usize = 6;
/// The same of a DOUBLE.
const DIGITS_OF_DOUBLE: usize = 15;

/// How far from what a FLOAT prints the number is that it holds.
const NOISE_OF_FLOAT: f64 = 1e-7;
/// The same of a DOUBLE.
const NOISE_OF_DOUBLE: f64 = 4e-15;

/// Whether a column keeps the whole of a value that the server would take, and for what it is.
pub(super) fn kept(bound: &BoundColumn, value: &Value<'_>) -> Result<(), Hold> {
    taken(bound, value)?;
    match value {
        Value::Text(content) => {
            text(bound, content)?;
            if numbers(bound) == Numbers::None {
                temporal(bound, content)
            } else if is_number(content) {
                decimal(bound, content)
            } else {
                Ok(())
            }
        }
        Value::Float(bits) => {
            let number = f32::from_bits(*bits);
            short(bound, number)?;
            floating(bound, f64::from(number), NOISE_OF_FLOAT, || number.to_string())
        }
        Value::Double(bits) => {
            let number = f64::from_bits(*bits);
            floating(bound, number, NOISE_OF_DOUBLE, || number.to_string())
        }
        Value::Int(number) => whole(bound, i128::from(*number)),
        Value::UInt(number) => whole(bound, i128::from(*number)),
        Value::Decimal(digits) => decimal(bound, digits),
        Value::Temporal(content) => temporal(bound, content),
        Value::Null
        | Value::Json(_)
        | Value::Bytes(_)
        | Value::Encoded { .. }
        | Value::Reference(_) => Ok(()),
    }
}

/// How a column holds numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Float,
    Double,
    /// To a number of digits after the point, which may be none.
    Exact,
    None,
}

fn numbers(bound: &BoundColumn) -> Numbers {
    match bound.live.data_type.as_str() {
        "float" => Numbers::Float,
        "double" | "real" => Numbers::Double,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "numeric" => {
            Numbers::Exact
        }
        _ => Numbers::None,
    }
}

fn rounded(bound: &BoundColumn, shown: &str) -> Hold {
    Hold::quarantine(format!(
        "column {} is {} here, which would round {shown}",
        bound.name, bound.live.column_type
    ))
}

/// An exact column gets a FLOAT as the double that it is, of more digits than it prints.
fn short(bound: &BoundColumn, number: f32) -> Result<(), Hold> {
    if numbers(bound) != Numbers::Exact || number.fract() == 0.0 {
        return Ok(());
    }
    let scale = bound.live.scale.and_then(|scale| usize::try_from(scale).ok()).unwrap_or(0);
    let (stored, shown) = (format!("{:.scale$}", f64::from(number)), number.to_string());
    if stored.trim_end_matches('0') == shown.trim_end_matches('0') {
        return Ok(());
    }
    Err(rounded(bound, &shown))
}

fn floating(
    bound: &BoundColumn,
    number: f64,
    noise: f64,
    shown: impl FnOnce() -> String,
) -> Result<(), Hold> {
    let kind = numbers(bound);
    match kind {
        Numbers::Exact => return fits_scale(bound, &shown()),
        Numbers::None => return Ok(()),
        Numbers::Float | Numbers::Double => {}
    }
    #[expect(clippy::cast_possible_truncation, reason = "what the column would keep")]
    let short = f64::from(number as f32);
    if kind == Numbers::Float && short.to_bits() != number.to_bits() {
        return Err(rounded(bound, &shown()));
    }
    let Some(scale) = bound.live.scale.and_then(|scale| i32::try_from(scale).ok()) else {
        return Ok(());
    };
    // FLOAT(7,3): what was such a number is one still, but for the last bits of its binary form.
    let power = 10_f64.powi(scale);
    let stored = (number * power).round() / power;
    if (stored - number).abs() <= number.abs() * noise || !(number * power).is_finite() {
        return Ok(());
    }
    Err(rounded(bound, &shown()))
}

fn whole(bound: &BoundColumn, number: i128) -> Result<(), Hold> {
    let bits = match numbers(bound) {
        Numbers::Float => 24,
        Numbers::Double => 53,
        Numbers::Exact | Numbers::None => return Ok(()),
    };
    let size = number.unsigned_abs();
    // Zeros at the end take no room in a binary fraction.
    if size == 0 || size >> size.trailing_zeros() < 1 << bits {
        return Ok(());
    }
    Err(rounded(bound, &number.to_string()))
}

fn decimal(bound: &BoundColumn, digits: &str) -> Result<(), Hold> {
    let most = match numbers(bound) {
        Numbers::Float => DIGITS_OF_FLOAT,
        Numbers::Double => DIGITS_OF_DOUBLE,
        Numbers::Exact => return fits_scale(bound, digits),
        Numbers::None => return Ok(()),
    };
    if bound.live.scale.is_some() {
        fits_scale(bound, digits)?;
    }
    let mut significant: String = digits.chars().filter(char::is_ascii_digit).collect();
    if !digits.contains('.') {
        significant.truncate(significant.trim_end_matches('0').len());
    }
    let significant = significant.trim_start_matches('0').trim_end_matches('0');
    if significant.len() <= most { Ok(()) } else { Err(rounded(bound, digits)) }
}

fn temporal(bound: &BoundColumn, content: &str) -> Result<(), Hold> {
    let (date, time) = content.split_once(' ').unwrap_or((content, ""));
    let cut = match bound.live.data_type.as_str() {
        // Servers read a time of day as a date: 10:11:12 as 2010-11-12.
        "date" | "datetime" | "timestamp" if date.contains(':') => {
            return Err(Hold::quarantine(format!(
                "column {} is {} here, which would take the time {content} for a date",
                bound.name, bound.live.column_type
            )));
        }
        "datetime" | "timestamp" => return fits_scale(bound, content),
        "date" => time.chars().any(|it| it.is_ascii_digit() && it != '0'),
        "time" if !date.get(1..).is_some_and(|date| date.contains('-')) => {
            return fits_scale(bound, content);
        }
        "time" => true,
        _ => false,
    };
    if !cut {
        return Ok(());
    }
    Err(Hold::quarantine(format!(
        "column {} is {} here, which would cut {content}",
        bound.name, bound.live.column_type
    )))
}

fn fits_scale(bound: &BoundColumn, number: &str) -> Result<(), Hold> {
    let scale = bound.live.scale.and_then(|scale| usize::try_from(scale).ok()).unwrap_or(0);
    let digits = number.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    if digits.trim_end_matches('0').len() <= scale {
        return Ok(());
    }
    Err(Hold::quarantine(format!(
        "column {} has {scale} digits after the point here, and {number} has more",
        bound.name
    )))
}

/// Blanks beyond a column's end are cut with a note at most, and all of them at the end of a CHAR.
fn text(bound: &BoundColumn, content: &str) -> Result<(), Hold> {
    let cut = match (bound.live.data_type.as_str(), bound.live.characters_max) {
        ("char", _) => content.ends_with(' '),
        ("varchar", Some(most)) => is_blank_from(content, most, |_| 1),
        ("tinytext" | "text" | "mediumtext" | "longtext", Some(most)) => {
            let charset = bound.live.charset.as_deref().unwrap_or_default();
            let multibyte = charset.starts_with("utf8");
            is_blank_from(content, most, |one| if multibyte { one.len_utf8() as u64 } else { 1 })
        }
        _ => false,
    };
    if !cut {
        return Ok(());
    }
    Err(Hold::quarantine(format!(
        "column {} is {} here, which would cut the blanks at the end of the text",
        bound.name, bound.live.column_type
    )))
}

/// Whether a text is longer than a column, and what is too much of it is nothing but blanks. What
/// else is too long the server refuses.
fn is_blank_from(content: &str, most: u64, size: impl Fn(char) -> u64) -> bool {
    if content.len() as u64 <= most {
        return false;
    }
    let mut room = most;
    let beyond = content.chars().skip_while(|one| {
        let fits = room >= size(*one);
        room = room.saturating_sub(size(*one));
        fits
    });
    let mut beyond = beyond.peekable();
    beyond.peek().is_some() && beyond.all(char::is_whitespace)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::database::schema::LiveColumn;
    use crate::schema_map::Role;
    use crate::value::Name;

    pub(in crate::apply) fn column(
        kind: &str,
        characters_max: Option<u64>,
        scale: Option<u32>,
    ) -> BoundColumn {
        let name = Name::from("c");
        let live = LiveColumn {
            name: Name::clone(&name),
            data_type: kind.to_owned(),
            column_type: kind.to_owned(),
            nullable: true,
            default: None,
            charset: Some("utf8mb4".to_owned()),
            collation: None,
            extra: String::new(),
            unsigned: false,
            generated: false,
            members: Vec::new(),
            characters_max,
            precision: None,
            scale,
        };
        BoundColumn { name, live, role: Role::Plain }
    }

    fn keeps(column: &BoundColumn, value: &Value<'_>) -> bool {
        kept(column, value).is_ok()
    }

    #[test]
    fn blanks_that_would_be_cut_are_seen() {
        let text = |text: &str| Value::Text(text.to_owned().into());
        let short = column("varchar", Some(4), None);
        assert!(keeps(&short, &text("ab  ")) && keeps(&short, &text("éé  ")));
        assert!(!keeps(&short, &text("ab   ")) && !keeps(&short, &text("abcd\n")));
        // What is no blank the server refuses with its own words.
        assert!(keeps(&short, &text("abcde")));
        assert!(!keeps(&column("char", Some(4), None), &text("ab ")));
        let tiny = column("tinytext", Some(255), None);
        assert!(keeps(&tiny, &text(&"é".repeat(127))));
        assert!(!keeps(&tiny, &text(&format!("{}  ", "é".repeat(127)))));
    }

    #[test]
    fn digits_that_would_be_rounded_are_seen() {
        let double = |number: f64| Value::Double(number.to_bits());
        let float = |number: f32| Value::Float(number.to_bits());
        let decimal = |digits: &str| Value::Decimal(digits.to_owned().into());
        let narrow = column("float", None, None);
        assert!(keeps(&narrow, &double(61.5)) && !keeps(&narrow, &double(61.3)));
        assert!(keeps(&narrow, &float(61.3)) && keeps(&narrow, &double(0.0)));
        assert!(keeps(&narrow, &Value::Int(1 << 30)) && !keeps(&narrow, &Value::Int(16_777_217)));
        assert!(keeps(&narrow, &decimal("61.3")) && !keeps(&narrow, &decimal("61.34567")));
        let three = column("float", None, Some(3));
        assert!(keeps(&three, &float(1234.567)) && keeps(&three, &float(-0.001)));
        assert!(!keeps(&three, &float(0.0625)));
        let five = column("double", None, Some(5));
        assert!(keeps(&five, &double(1_234_567_890.123_45)) && keeps(&five, &double(-0.0)));
        assert!(!keeps(&five, &double(0.123_456)) && !keeps(&five, &decimal("0.123456")));
        let wide = column("double", None, None);
        assert!(keeps(&wide, &double(f64::MAX)) && keeps(&wide, &double(5e-324)));
        assert!(keeps(&wide, &Value::UInt(1 << 63)) && !keeps(&wide, &Value::UInt(u64::MAX)));
        let int = column("int", None, Some(0));
        assert!(keeps(&int, &double(3.0)) && !keeps(&int, &double(3.5)));
        assert!(keeps(&int, &decimal("3.00")) && !keeps(&int, &decimal("3.4")));
        let money = column("decimal", None, Some(2));
        assert!(keeps(&money, &double(0.25)) && !keeps(&money, &double(0.125)));
        assert!(keeps(&money, &float(0.1)) && !keeps(&money, &float(0.125)));
        let long = column("decimal", None, Some(15));
        assert!(keeps(&long, &double(0.1)) && keeps(&long, &float(0.5)));
        assert!(!keeps(&long, &float(0.1)), "it is 0.100000001490116");
        // What happens to be a FLOAT's number as well is one of a DOUBLE all the same.
        assert!(!keeps(&column("double", None, Some(2)), &double(1_000_000.125)));
    }

    #[test]
    fn digits_of_a_text_that_would_be_rounded_are_seen() {
        let text = |text: &str| Value::Text(text.to_owned().into());
        let int = column("int", None, Some(0));
        assert!(keeps(&int, &text("5")) && !keeps(&int, &text("5.5")) && !keeps(&int, &text("05")));
        let money = column("decimal", None, Some(2));
        assert!(keeps(&money, &text("1.5")) && !keeps(&money, &text("1.505")));
        let wide = column("double", None, None);
        assert!(keeps(&wide, &text("0.1")) && !keeps(&wide, &text("0.12345678901234567")));
        // What is no number the server refuses with its own words.
        assert!(keeps(&int, &text("10.0.0.1")) && keeps(&int, &text("word")));
        let date = column("date", None, None);
        assert!(keeps(&date, &text("2024-01-31")) && !keeps(&date, &text("10:11:12")));
        assert!(!keeps(&date, &text("2024-01-31 00:00:01")));
        let seconds = column("datetime", None, Some(0));
        assert!(!keeps(&seconds, &text("2024-01-31 10:00:00.5")));
    }

    #[test]
    fn the_part_of_a_time_that_would_be_cut_is_seen() {
        let time = |text: &str| Value::Temporal(text.to_owned().into());
        let date = column("date", None, None);
        assert!(keeps(&date, &time("2024-01-31")) && keeps(&date, &time("2024-01-31 00:00:00")));
        assert!(!keeps(&date, &time("2024-01-31 00:00:01")));
        for kind in ["date", "datetime", "timestamp"] {
            let column = column(kind, None, None);
            assert!(!keeps(&column, &time("10:11:12")) && !keeps(&column, &time("-838:59:59")));
            assert!(keeps(&column, &time("0000-00-00")), "{kind}");
        }
        let seconds = column("datetime", None, Some(0));
        assert!(keeps(&seconds, &time("2024-01-31 10:00:00.000")));
        assert!(!keeps(&seconds, &time("2024-01-31 10:00:00.001")));
        let span = column("time", None, Some(0));
        assert!(!keeps(&span, &time("10:00:00.5")) && keeps(&span, &time("10:00:00.0")));
        assert!(keeps(&span, &time("-838:59:59")));
        assert!(!keeps(&span, &time("2024-01-31 10:00:00")) && !keeps(&span, &time("2024-01-31")));
    }
}
