//! Dates and times as the server prints them, out of all the forms it stores them in.

use super::cursor::{big, little};
use super::error::DecodeError;

const DAY_SECONDS: u32 = 86_400;

/// A date and a time of day, any of its parts possibly zero.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    micros: u64,
}

/// The last two digits. Dividing by a constant is what makes this fast.
fn push_two(text: &mut String, number: u64) {
    let number = (number % 100) as u8;
    text.push(char::from(b'0' + number / 10));
    text.push(char::from(b'0' + number % 10));
}

fn push_fraction(text: &mut String, micros: u64, digits: u8) {
    if digits > 0 {
        text.push('.');
        let start = text.len();
        push_two(text, micros / 10_000);
        push_two(text, micros / 100);
        push_two(text, micros);
        text.truncate(start + usize::from(digits));
    }
}

impl Moment {
    fn checked(self) -> Result<Moment, DecodeError> {
        let possible = self.year <= 9999
            && self.month <= 12
            && self.day <= 31
            && self.hour <= 23
            && self.minute <= 59
            && self.second <= 59
            && self.micros <= 999_999;
        if possible { Ok(self) } else { Err(DecodeError::malformed("an impossible date or time")) }
    }

    fn date(&self) -> String {
        let mut text = String::with_capacity(26);
        push_two(&mut text, self.year / 100);
        push_two(&mut text, self.year);
        text.push('-');
        push_two(&mut text, self.month);
        text.push('-');
        push_two(&mut text, self.day);
        text
    }

    fn date_time(&self, fraction: u8) -> String {
        let mut text = self.date();
        text.push(' ');
        push_two(&mut text, self.hour);
        text.push(':');
        push_two(&mut text, self.minute);
        text.push(':');
        push_two(&mut text, self.second);
        push_fraction(&mut text, self.micros, fraction);
        text
    }

    /// From the form that MySQL 5.6 and later compute with: year and month, day, hour, minute and
    /// second in 41 bits.
    fn unpack(whole: u64, micros: u64) -> Result<Moment, DecodeError> {
        let days = whole >> 17;
        Moment {
            year: (days >> 5) / 13,
            month: (days >> 5) % 13,
            day: days & 31,
            hour: (whole >> 12) & 31,
            minute: (whole >> 6) & 63,
            second: whole & 63,
            micros,
        }
        .checked()
    }
}

/// The microseconds of a fraction stored in the fewest bytes.
fn micros(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0 => 0,
        1 => big(bytes) * 10_000,
        2 => big(bytes) * 100,
        _ => big(bytes),
    }
}

fn split(content: &[u8], whole_bytes: usize) -> Result<(u64, &[u8]), DecodeError> {
    match content.split_at_checked(whole_bytes) {
        Some((whole, fraction)) => Ok((big(whole), fraction)),
        None => Err(DecodeError::malformed("a temporal value cut short")),
    }
}

/// `DATE`.
pub(super) fn date(content: &[u8]) -> Result<String, DecodeError> {
    let packed = little(content);
    let moment = Moment {
        year: packed >> 9,
        month: (packed >> 5) & 15,
        day: packed & 31,
        ..Moment::default()
    };
    Ok(moment.checked()?.date())
}

/// `DATETIME(fraction)`.
pub(super) fn date_time(content: &[u8], fraction: u8) -> Result<String, DecodeError> {
    let (whole, rest) = split(content, 5)?;
    let whole = whole
        .checked_sub(0x80_0000_0000)
        .ok_or_else(|| DecodeError::malformed("a negative date"))?;
    Ok(Moment::unpack(whole, micros(rest))?.date_time(fraction))
}

/// `TIMESTAMP(fraction)`, in UTC.
pub(super) fn timestamp(content: &[u8], fraction: u8) -> Result<String, DecodeError> {
    let (seconds, rest) = split(content, 4)?;
    from_seconds(seconds, micros(rest), fraction)
}

/// `TIMESTAMP` from before MySQL 5.6.
pub(super) fn old_timestamp(content: &[u8]) -> Result<String, DecodeError> {
    from_seconds(little(content), 0, 0)
}

fn from_seconds(seconds: u64, micros: u64, fraction: u8) -> Result<String, DecodeError> {
    if seconds == 0 && micros == 0 {
        return Ok(Moment::default().date_time(fraction));
    }
    let seconds = u32::try_from(seconds)
        .map_err(|_error| DecodeError::malformed("a timestamp after the year 2106"))?;
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let time = seconds % DAY_SECONDS;
    let moment = Moment {
        year,
        month,
        day,
        hour: u64::from(time / 3600),
        minute: u64::from(time / 60 % 60),
        second: u64::from(time % 60),
        micros,
    };
    Ok(moment.checked()?.date_time(fraction))
}

/// The date so many days after 1970-01-01, counted in years that begin in March.
fn civil(days: u32) -> (u64, u64, u64) {
    let days = u64::from(days) + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// `TIME(fraction)`: a number that sorts, so negative ones count down to their fraction.
pub(super) fn time(content: &[u8], fraction: u8) -> Result<String, DecodeError> {
    let bits = content.len() * 8;
    if !(24..=48).contains(&bits) {
        return Err(DecodeError::malformed("a temporal value cut short"));
    }
    let stored = big(content).cast_signed() - (1_i64 << (bits - 1));
    let magnitude = stored.unsigned_abs();
    let fraction_bits = bits - 24;
    let whole = magnitude >> fraction_bits;
    let part = magnitude & ((1 << fraction_bits) - 1);
    let micros = match fraction_bits {
        8 => part * 10_000,
        16 => part * 100,
        _ => part,
    };
    clock(stored < 0, [(whole >> 12) & 0x3ff, (whole >> 6) & 63, whole & 63], micros, fraction)
}

/// `TIME` from before MySQL 5.6: the digits of hours, minutes and seconds as one number.
pub(super) fn old_time(content: &[u8]) -> Result<String, DecodeError> {
    let signed = (little(content) << 40).cast_signed() >> 40;
    let number = signed.unsigned_abs();
    clock(signed < 0, [number / 10_000, number / 100 % 100, number % 100], 0, 0)
}

/// `DATETIME` from before MySQL 5.6: all its digits as one number.
pub(super) fn old_date_time(content: &[u8]) -> Result<String, DecodeError> {
    let number = little(content);
    let (date, time) = (number / 1_000_000, number % 1_000_000);
    let moment = Moment {
        year: date / 10_000,
        month: date / 100 % 100,
        day: date % 100,
        hour: time / 10_000,
        minute: time / 100 % 100,
        second: time % 100,
        micros: 0,
    };
    Ok(moment.checked()?.date_time(0))
}

fn clock(
    negative: bool,
    [hour, minute, second]: [u64; 3],
    micros: u64,
    fraction: u8,
) -> Result<String, DecodeError> {
    if hour > 838 || minute > 59 || second > 59 || micros > 999_999 {
        return Err(DecodeError::malformed("an impossible time"));
    }
    let mut text = String::with_capacity(17);
    if negative {
        text.push('-');
    }
    if hour > 99 {
        text.push(char::from(b'0' + (hour / 100 % 10) as u8));
    }
    push_two(&mut text, hour);
    text.push(':');
    push_two(&mut text, minute);
    text.push(':');
    push_two(&mut text, second);
    push_fraction(&mut text, micros, fraction);
    Ok(text)
}

/// The 64-bit form in which JSON holds a date (`DATE`), a date and time, or a time, with all six
/// fractional digits.
pub(super) fn packed(content: &[u8], kind: Packed) -> Result<String, DecodeError> {
    let content: [u8; 8] = content.try_into().map_err(|_error| {
        DecodeError::malformed("a temporal value in JSON that is not 8 bytes long")
    })?;
    let stored = i64::from_le_bytes(content);
    let magnitude = stored.unsigned_abs();
    let (whole, micros) = (magnitude >> 24, magnitude & 0x00ff_ffff);
    match kind {
        Packed::Time => {
            let parts = [(whole >> 12) & 0x3ff, (whole >> 6) & 63, whole & 63];
            clock(stored < 0, parts, micros, 6)
        }
        Packed::Date => Ok(Moment::unpack(whole, micros)?.date()),
        Packed::DateTime => Ok(Moment::unpack(whole, micros)?.date_time(6)),
    }
}

/// Which temporal value JSON holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packed {
    /// A date.
    Date,
    /// A date and time.
    DateTime,
    /// A time.
    Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_times_with_fractions() {
        // -00:00:01.10, TIME(2): 0x800000 - 1 - a tenth.
        let stored = (0x8000_0000_u64 - 0x10A).to_be_bytes();
        assert_eq!(time(&stored[4..], 2).unwrap(), "-00:00:01.10");
        let stored = (0x8000_0000_0000_u64 - 1).to_be_bytes();
        assert_eq!(time(&stored[2..], 6).unwrap(), "-00:00:00.000001");
        // 838 hours, 59 minutes, 59 seconds, at bits 12, 6 and 0.
        let hours = 0x34_6EFB_u64;
        let stored = (0x80_0000_u64 + hours).to_be_bytes();
        assert_eq!(time(&stored[5..], 0).unwrap(), "838:59:59");
    }

    #[test]
    fn zero_and_partly_zero_dates() {
        assert_eq!(date(&[0, 0, 0]).unwrap(), "0000-00-00");
        let packed = (2026_u32 << 9).to_le_bytes();
        assert_eq!(date(&packed[..3]).unwrap(), "2026-00-00");
        assert_eq!(timestamp(&[0, 0, 0, 0, 0], 1).unwrap(), "0000-00-00 00:00:00.0");
        assert_eq!(date_time(&[0x80, 0, 0, 0, 0], 0).unwrap(), "0000-00-00 00:00:00");
    }

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(timestamp(&[0, 0, 0, 1], 0).unwrap(), "1970-01-01 00:00:01");
        let last = 0x7fff_ffff_u32.to_be_bytes();
        assert_eq!(timestamp(&last, 0).unwrap(), "2038-01-19 03:14:07");
        let leap = 951_782_400_u32.to_be_bytes();
        assert_eq!(timestamp(&leap, 0).unwrap(), "2000-02-29 00:00:00");
        assert_eq!(timestamp(&[0x7f, 0xff, 0xff, 0xff, 0x27, 0x0f], 4).unwrap().len(), 24);
    }

    #[test]
    fn old_formats() {
        assert_eq!(old_time(&(-8_385_959_i32).to_le_bytes()[..3]).unwrap(), "-838:59:59");
        let number = 20_261_122_012_003_u64.to_le_bytes();
        assert_eq!(old_date_time(&number).unwrap(), "2026-11-22 01:20:03");
        assert!(old_date_time(&u64::MAX.to_le_bytes()).is_err());
    }
}
