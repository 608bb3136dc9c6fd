//! `DECIMAL`: groups of nine decimal digits in four bytes, the sign in the highest bit.

use super::cursor::{Cursor, big};
use super::error::DecodeError;

/// Bytes of a group of so many digits.
const GROUP_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn group_bytes(digits: u8) -> usize {
    usize::from(GROUP_BYTES.get(usize::from(digits)).copied().unwrap_or(4))
}

/// How many bytes a value takes.
pub(super) fn bytes(precision: u8, scale: u8) -> usize {
    let whole = precision.saturating_sub(scale);
    let groups = usize::from(whole / 9) + usize::from(scale / 9);
    groups * 4 + group_bytes(whole % 9) + group_bytes(scale % 9)
}

/// The digits as the server prints them: without leading zeros, with all of the scale.
pub(super) fn text(content: &[u8], precision: u8, scale: u8) -> Result<String, DecodeError> {
    let whole = precision.saturating_sub(scale);
    let first = content.first().copied().unwrap_or(0);
    let mask = if first & 0x80 == 0 { 0xff } else { 0 };
    let mut groups = Groups { rest: Cursor::new(content, "decimal"), first: true, mask };
    let mut text = String::with_capacity(usize::from(precision) + 3);
    if mask != 0 {
        text.push('-');
    }
    let sign = text.len();
    groups.push(&mut text, whole % 9)?;
    for _ in 0..whole / 9 {
        groups.push(&mut text, 9)?;
    }
    let zeros = text.bytes().skip(sign).take_while(|digit| *digit == b'0').count();
    text.drain(sign..sign + zeros);
    if text.len() == sign {
        text.push('0');
    }
    if scale > 0 {
        text.push('.');
        for _ in 0..scale / 9 {
            groups.push(&mut text, 9)?;
        }
        groups.push(&mut text, scale % 9)?;
    }
    if sign == 1 && text.bytes().all(|letter| matches!(letter, b'-' | b'.' | b'0')) {
        text.remove(0);
    }
    Ok(text)
}

struct Groups<'a> {
    rest: Cursor<'a>,
    first: bool,
    mask: u8,
}

impl Groups<'_> {
    /// Appends a group of so many digits.
    fn push(&mut self, text: &mut String, digits: u8) -> Result<(), DecodeError> {
        if digits == 0 {
            return Ok(());
        }
        let taken = self.rest.take(group_bytes(digits))?;
        let mut group = [0_u8; 4];
        for (place, byte) in group.iter_mut().zip(taken) {
            *place = byte ^ self.mask;
        }
        if std::mem::take(&mut self.first)
            && let Some(first) = group.first_mut()
        {
            *first ^= 0x80;
        }
        let mut number = big(group.get(..taken.len()).unwrap_or_default());
        let mut printed = [b'0'; 9];
        let wanted = printed.iter_mut().rev().take(usize::from(digits));
        for place in wanted {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        if number > 0 {
            return Err(DecodeError::malformed("a decimal with more digits than its group holds"));
        }
        let printed = printed.iter().skip(9 - usize::from(digits));
        text.extend(printed.map(|digit| char::from(*digit)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_they_were() {
        // 1234567890.1234 of the MySQL manual, DECIMAL(14,4).
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(text(&bytes, 14, 4).unwrap(), "1234567890.1234");
        let negative: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        assert_eq!(text(&negative, 14, 4).unwrap(), "-1234567890.1234");
        assert_eq!(super::bytes(14, 4), bytes.len());
    }

    #[test]
    fn zero_has_no_sign_and_keeps_its_scale() {
        assert_eq!(text(&[0x80, 0x00], 4, 2).unwrap(), "0.00");
        assert_eq!(text(&[0x7f, 0xff], 4, 2).unwrap(), "0.00");
        assert_eq!(text(&[0x80], 2, 2).unwrap(), "0.00");
    }

    #[test]
    fn a_group_too_large_is_damage() {
        assert!(text(&[0xff], 2, 0).is_err());
        assert!(text(&[0x80], 9, 0).is_err());
    }
}
