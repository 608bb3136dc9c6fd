//! Numbers in JSON text that a server would round: it reads a fraction as a double, and keeps no
//! digit that the double does not have.

/// How the numbers of a document came to be spelt as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As the source printed what it holds: doubles by the fewest digits that tell them from others.
    Printed,
    /// As somebody wrote them: a double may also have all 17 digits.
    Written,
}

/// The first number that would not come out of a double as it went in.
pub(super) fn rounded(json: &str, spelling: Spelling) -> Option<&str> {
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (_, from) = rest.split_at_checked(start)?;
        if let Some(string) = from.strip_prefix('"') {
            rest = after_string(string);
            continue;
        }
        let end = from
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E')))
            .unwrap_or(from.len());
        let (number, after) = from.split_at_checked(end)?;
        if !is_kept(number, spelling) {
            return Some(number);
        }
        rest = after;
    }
    None
}

/// What follows the quote that closes a string.
fn after_string(mut string: &str) -> &str {
    while let Some(place) = string.find(['"', '\\']) {
        let (_, from) = string.split_at_checked(place).unwrap_or(("", ""));
        let mut characters = from.chars();
        if characters.next() == Some('"') {
            return characters.as_str();
        }
        characters.next();
        string = characters.as_str();
    }
    ""
}

fn is_kept(number: &str, spelling: Spelling) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let Some(digits) = normal(number) else { return false };
    let prints_so = |printed: String| normal(&printed).as_ref() == Some(&digits);
    number.parse::<f64>().is_ok_and(|double| {
        double.is_finite()
            && (prints_so(format!("{double:e}"))
                || spelling == Spelling::Written && prints_so(format!("{double:.16e}")))
    })
}

/// The digits without zeros around them, and the power of ten of the first.
fn normal(number: &str) -> Option<(bool, String, i64)> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let leading = i64::try_from(all.len() - digits.len()).ok()?;
    let power = exponent + i64::try_from(whole.len()).ok()? - leading;
    let digits = digits.trim_end_matches('0').to_owned();
    let power = if digits.is_empty() { 0 } else { power };
    Some((negative, digits, power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_integers_stay() {
        for kept in [
            r#"{"a": [1, -1, 65536, 18446744073709551615, -9223372036854775808, 1.0, 0.1, null]}"#,
            "5e-324",
            "1.7976931348623157e308",
            "-0.0",
            "1e22",
            "0.30000000000000004",
            "[-1.50, 1.000000000000000000000000000000]",
            r#""12345678901234567890.123456789 \" 0.1234567890123456789""#,
        ] {
            assert_eq!(rounded(kept, Spelling::Printed), None, "{kept}");
        }
    }

    #[test]
    fn a_longer_decimal_is_found_wherever_it_is() {
        let long = "12345678901234567890.123456789";
        for document in [
            long.to_owned(),
            format!(r#"{{"a\\": "x", "b": [1, {{"c": {long}}}]}}"#),
            format!("[0.5, {long}]"),
        ] {
            assert_eq!(rounded(&document, Spelling::Printed), Some(long), "{document}");
        }
        let found = |number: &str, spelling| rounded(number, spelling).is_some();
        for number in [
            "[0.1234567890123456789]",
            "18446744073709551617",
            "1e999",
            "1234567890123456.7",
            "0.12345678901234567",
            "9007199254740993.0",
            "99999999999999999.0",
            "12345678901234567e1",
            "4.94e-324",
        ] {
            assert!(found(number, Spelling::Written), "{number}");
            assert!(found(number, Spelling::Printed), "{number}");
        }
        for number in ["0.10000000000000001", "0.30000000000000004", "1.7976931348623157e308"] {
            assert!(!found(number, Spelling::Written), "{number}");
        }
        assert!(found("0.10000000000000001", Spelling::Printed));
    }
}
