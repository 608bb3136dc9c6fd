//! Durations, sizes, schedules and the like, as people write them in the file.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// When the parent is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// As soon as there is something, and to hear whether there is.
    Continuous,
    /// Once in every such span.
    Every(Duration),
}

/// A duration with its unit, such as `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A number of bytes, plain or with its unit, such as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A schedule as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls(pub(super) Schedule);

/// Milliseconds of each unit of time.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of each unit of size.
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

fn span(text: &str) -> Result<Duration, String> {
    measured(text, &TIMES)
        .filter(|milliseconds| *milliseconds > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("`{text}` is not a duration: write a number and a unit, such as 500ms, 30s, 5m, 2h or 7d")
        })
}

fn size(text: &str) -> Result<u64, String> {
    measured(text, &SIZES).ok_or_else(|| {
        format!("`{text}` is not a size: write a number and a unit, such as 256KiB, 64MiB or 10GiB")
    })
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match text.trim() {
        "continuous" => Ok(Schedule::Continuous),
        other => other
            .strip_prefix("every ")
            .ok_or_else(|| {
                format!("`{text}` is not a schedule: write \"continuous\" or \"every 5m\"")
            })
            .and_then(span)
            .map(Schedule::Every),
    }
}

/// A number times its unit; `None` if either is missing, unknown or too large.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads a text, or a bare number where that has a meaning, through one of the functions above.
struct Through<T> {
    expected: &'static str,
    text: fn(&str) -> Result<T, String>,
    number: fn(u64) -> Option<T>,
}

impl<T> Visitor<'_> for Through<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number)
            .ok()
            .and_then(self.number)
            .ok_or_else(|| E::custom(format!("`{number}` has no unit: expected {}", self.expected)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        let expected = "a duration with its unit, such as \"30s\"";
        from.deserialize_any(Through { expected, text: span, number: |_| None }).map(Span)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Size, D::Error> {
        let expected = "a size, such as \"64MiB\", or a number of bytes";
        from.deserialize_any(Through { expected, text: size, number: Some }).map(Size)
    }
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Calls, D::Error> {
        let expected = "a schedule: \"continuous\" or \"every 5m\"";
        from.deserialize_any(Through { expected, text: schedule, number: |_| None }).map(Calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("7d"), Ok(Duration::from_hours(168)));
        for wrong in ["", "30", "s", "-5s", "5 weeks", "0s", "99999999999999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_exact() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        for wrong in ["64", "MiB", "1TiB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn schedules_are_continuous_or_every_so_often() {
        assert_eq!(schedule("continuous"), Ok(Schedule::Continuous));
        assert_eq!(schedule("every 5m"), Ok(Schedule::Every(Duration::from_mins(5))));
        assert!(schedule("every").is_err());
        assert!(schedule("sometimes").is_err());
    }
}
