//! The character sets of Chinese, Japanese and Korean, as the servers convert them to Unicode and
//! back. `encoding_rs` knows nearly the same ones; where it differs from the servers, or the
//! servers' own way back leads to other bytes, a list below says so. The lists are what MySQL 5.6
//! and 9.7 and `MariaDB` 10.11 and 11.8 answered for every code (they agree); a test on real
//! servers asks them again.

use std::borrow::Cow;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};

/// Codes from the first to the last of each pair.
type Ranges = &'static [(u32, u32)];
/// So many codes from the first number on are the characters from the second on.
type Moved = &'static [(u32, u32, u32)];

/// One of these character sets.
pub(super) struct Cjk {
    encoding: &'static Encoding,
    /// How many bytes the character takes whose first two bytes these are; `None` if none begins
    /// so. Not asked of ASCII.
    length: fn(u8, u8) -> Option<usize>,
    /// Codes that have no character, or whose character comes back as another code.
    unmapped: Ranges,
    /// Codes that are another character to the servers than to `encoding_rs`.
    moved: Moved,
    /// Whether a backslash comes back as another code.
    backslash_is_lost: bool,
}

impl Cjk {
    const fn of(
        encoding: &'static Encoding,
        length: fn(u8, u8) -> Option<usize>,
        unmapped: Ranges,
        moved: Moved,
    ) -> Cjk {
        Cjk { encoding, length, unmapped, moved, backslash_is_lost: false }
    }
}

pub(super) static SJIS: Cjk =
    Cjk { backslash_is_lost: true, ..Cjk::of(SHIFT_JIS, shift_jis, SJIS_UNMAPPED, SJIS_MOVED) };
pub(super) static CP932: Cjk = Cjk::of(SHIFT_JIS, shift_jis, CP932_UNMAPPED, &[]);
pub(super) static UJIS: Cjk = Cjk::of(EUC_JP, euc_jp, UJIS_UNMAPPED, UJIS_MOVED);
pub(super) static EUCJPMS: Cjk = Cjk::of(EUC_JP, euc_jp, EUCJPMS_UNMAPPED, EUCJPMS_MOVED);
pub(super) static CHINESE_GBK: Cjk = Cjk::of(GBK, two_bytes, GBK_UNMAPPED, &[]);
pub(super) static GB2312: Cjk = Cjk::of(GBK, gb_2312, GB2312_UNMAPPED, GB2312_MOVED);
pub(super) static CHINESE_GB18030: Cjk = Cjk::of(GB18030, gb_18030, &[], GB18030_MOVED);
pub(super) static CHINESE_BIG5: Cjk = Cjk::of(BIG5, two_bytes, BIG5_UNMAPPED, BIG5_MOVED);
pub(super) static EUCKR: Cjk = Cjk::of(EUC_KR, two_bytes, &[], &[]);

fn shift_jis(first: u8, second: u8) -> Option<usize> {
    match (first, second) {
        (0xa1..=0xdf, _) => Some(1),
        (0x81..=0x9f | 0xe0..=0xfc, 0x40..=0x7e | 0x80..=0xfc) => Some(2),
        _ => None,
    }
}

fn euc_jp(first: u8, second: u8) -> Option<usize> {
    match (first, second) {
        (0x8e, 0xa1..=0xdf) | (0xa1..=0xfe, 0xa1..=0xfe) => Some(2),
        (0x8f, 0xa1..=0xfe) => Some(3),
        _ => None,
    }
}

fn two_bytes(first: u8, second: u8) -> Option<usize> {
    matches!((first, second), (0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe)).then_some(2)
}

fn gb_2312(first: u8, second: u8) -> Option<usize> {
    matches!((first, second), (0xa1..=0xf7, 0xa1..=0xfe)).then_some(2)
}

fn gb_18030(first: u8, second: u8) -> Option<usize> {
    match (first, second) {
        (0x81..=0xfe, 0x30..=0x39) => Some(4),
        _ => two_bytes(first, second),
    }
}

/// The text, if every code in it has a character that leads back to that code.
pub(super) fn decode<'a>(content: &'a [u8], cjk: &Cjk) -> Option<Cow<'a, str>> {
    let mut out = String::with_capacity(content.len());
    // What `encoding_rs` and the servers read alike is read in runs.
    let (mut run, mut rest) = (content, content);
    while let Some((first, after)) = rest.split_first() {
        if first.is_ascii() {
            if *first == b'\\' && cjk.backslash_is_lost {
                return None;
            }
            rest = after;
            continue;
        }
        let length = (cjk.length)(*first, after.first().copied().unwrap_or(0))?;
        let (unit, after) = rest.split_at_checked(length)?;
        let code = unit.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
        if within(cjk.unmapped, code) {
            return None;
        }
        if let Some(character) = moved(cjk.moved, code) {
            let read = run.len().checked_sub(rest.len())?;
            push(&mut out, run.get(..read)?, cjk.encoding)?;
            out.push(character);
            run = after;
        }
        rest = after;
    }
    if out.is_empty() && run.len() == content.len() {
        return cjk.encoding.decode_without_bom_handling_and_without_replacement(content);
    }
    push(&mut out, run, cjk.encoding)?;
    Some(Cow::Owned(out))
}

fn push(out: &mut String, run: &[u8], encoding: &'static Encoding) -> Option<()> {
    out.push_str(&encoding.decode_without_bom_handling_and_without_replacement(run)?);
    Some(())
}

fn within(ranges: Ranges, code: u32) -> bool {
    let place = ranges.partition_point(|(_, last)| *last < code);
    ranges.get(place).is_some_and(|(first, _)| *first <= code)
}

fn moved(moved: Moved, code: u32) -> Option<char> {
    let place = moved.partition_point(|(first, _, count)| first + count <= code);
    let (first, character, _) = moved.get(place)?;
    char::from_u32(character + code.checked_sub(*first)?)
}

const SJIS_UNMAPPED: &[(u32, u32)] = &[(0x0080, 0x0080), (0x8740, 0x879c), (0xed40, 0xfc4b)];

const SJIS_MOVED: &[(u32, u32, u32)] = &[
    (0x815f, 0x005c, 1),
    (0x8160, 0x301c, 1),
    (0x8161, 0x2016, 1),
    (0x817c, 0x2212, 1),
    (0x8191, 0x00a2, 2),
    (0x81ca, 0x00ac, 1),
];

const CP932_UNMAPPED: &[(u32, u32)] = &[
    (0x0080, 0x0080),
    (0x8790, 0x8792),
    (0x8795, 0x8797),
    (0x879a, 0x879c),
    (0xed40, 0xeefc),
    (0xfa4a, 0xfa54),
    (0xfa58, 0xfa5b),
];

const GBK_UNMAPPED: &[(u32, u32)] = &[
    (0xa140, 0xa1a0),
    (0xa240, 0xa2a0),
    (0xa2ab, 0xa2b0),
    (0xa2e3, 0xa2e4),
    (0xa2ef, 0xa2f0),
    (0xa2fd, 0xa3a0),
    (0xa440, 0xa4a0),
    (0xa4f4, 0xa5a0),
    (0xa5f7, 0xa6a0),
    (0xa6b9, 0xa6c0),
    (0xa6d9, 0xa6df),
    (0xa6ec, 0xa6ed),
    (0xa6f3, 0xa6f3),
    (0xa6f6, 0xa7a0),
    (0xa7c2, 0xa7d0),
    (0xa7f2, 0xa7fe),
    (0xa896, 0xa8a0),
    (0xa8bc, 0xa8bc),
    (0xa8bf, 0xa8bf),
    (0xa8c1, 0xa8c4),
    (0xa8ea, 0xa8fe),
    (0xa958, 0xa958),
    (0xa95b, 0xa95b),
    (0xa95d, 0xa95f),
    (0xa989, 0xa995),
    (0xa997, 0xa9a3),
    (0xa9f0, 0xa9fe),
    (0xaaa1, 0xaafe),
    (0xaba1, 0xabfe),
    (0xaca1, 0xacfe),
    (0xada1, 0xadfe),
    (0xaea1, 0xaefe),
    (0xafa1, 0xaffe),
    (0xd7fa, 0xd7fe),
    (0xf8a1, 0xf8fe),
    (0xf9a1, 0xf9fe),
    (0xfaa1, 0xfafe),
    (0xfba1, 0xfbfe),
    (0xfca1, 0xfcfe),
    (0xfda1, 0xfdfe),
    (0xfe50, 0xfefe),
];

const GB2312_UNMAPPED: &[(u32, u32)] = &[
    (0xa2a1, 0xa2b0),
    (0xa2e3, 0xa2e4),
    (0xa2ef, 0xa2f0),
    (0xa2fd, 0xa2fe),
    (0xa4f4, 0xa4fe),
    (0xa5f7, 0xa5fe),
    (0xa6b9, 0xa6c0),
    (0xa6d9, 0xa6fe),
    (0xa7c2, 0xa7d0),
    (0xa7f2, 0xa7fe),
    (0xa8bb, 0xa8c4),
    (0xa8ea, 0xa9a3),
    (0xa9f0, 0xaffe),
    (0xd7fa, 0xd7fe),
];

const GB2312_MOVED: &[(u32, u32, u32)] = &[(0xa1a4, 0x30fb, 1), (0xa1aa, 0x2015, 1)];

const BIG5_UNMAPPED: &[(u32, u32)] = &[
    (0x8740, 0xa0fe),
    (0xa15a, 0xa15a),
    (0xa1c3, 0xa1c3),
    (0xa1c5, 0xa1c5),
    (0xa1fe, 0xa240),
    (0xa2cc, 0xa2cc),
    (0xa2ce, 0xa2ce),
    (0xa3c0, 0xa3e1),
    (0xc7fd, 0xc8fe),
    (0xf9dd, 0xfefe),
];

const BIG5_MOVED: &[(u32, u32, u32)] = &[
    (0xa145, 0x2022, 1),
    (0xa14e, 0xff64, 1),
    (0xa1c2, 0x203e, 1),
    (0xa1e3, 0x223c, 1),
    (0xa1f2, 0x2641, 1),
    (0xa1f3, 0x2609, 1),
    (0xa241, 0xff0f, 1),
    (0xa242, 0xff3c, 1),
    (0xa244, 0x00a5, 1),
    (0xa246, 0x00a2, 2),
    (0xc6a1, 0x30fe, 1),
    (0xc6a2, 0x309d, 2),
    (0xc6a4, 0x3005, 1),
    (0xc6a5, 0x3041, 83),
    (0xc6f8, 0x30a1, 7),
    (0xc740, 0x30a8, 63),
    (0xc7a1, 0x30e7, 16),
    (0xc7b1, 0x0414, 2),
    (0xc7b3, 0x0401, 1),
    (0xc7b4, 0x0416, 7),
    (0xc7bb, 0x0423, 19),
    (0xc7ce, 0x0451, 1),
    (0xc7cf, 0x0436, 26),
    (0xc7e9, 0x2460, 10),
    (0xc7f3, 0x2474, 10),
];

const UJIS_UNMAPPED: &[(u32, u32)] = &[(0xa1c0, 0xa1c0), (0xada1, 0xadfc), (0x8fa2b7, 0x8fa2b7)];

const UJIS_MOVED: &[(u32, u32, u32)] = &[
    (0xa1c1, 0x301c, 1),
    (0xa1c2, 0x2016, 1),
    (0xa1dd, 0x2212, 1),
    (0xa1f1, 0x00a2, 2),
    (0xa2cc, 0x00ac, 1),
    (0xf5a1, 0xe000, 94),
    (0xf6a1, 0xe05e, 94),
    (0xf7a1, 0xe0bc, 94),
    (0xf8a1, 0xe11a, 94),
    (0xf9a1, 0xe178, 94),
    (0xfaa1, 0xe1d6, 94),
    (0xfba1, 0xe234, 94),
    (0xfca1, 0xe292, 94),
    (0xfda1, 0xe2f0, 94),
    (0xfea1, 0xe34e, 94),
    (0x8ff5a1, 0xe3ac, 94),
    (0x8ff6a1, 0xe40a, 94),
    (0x8ff7a1, 0xe468, 94),
    (0x8ff8a1, 0xe4c6, 94),
    (0x8ff9a1, 0xe524, 94),
    (0x8ffaa1, 0xe582, 94),
    (0x8ffba1, 0xe5e0, 94),
    (0x8ffca1, 0xe63e, 94),
    (0x8ffda1, 0xe69c, 94),
    (0x8ffea1, 0xe6fa, 94),
];

const EUCJPMS_UNMAPPED: &[(u32, u32)] = &[
    (0xadf0, 0xadf2),
    (0xadf5, 0xadf7),
    (0xadfa, 0xadfc),
    (0x8fa2b7, 0x8fa2b7),
    (0x8fa2f1, 0x8fa2f1),
];

const EUCJPMS_MOVED: &[(u32, u32, u32)] = &[
    (0xf5a1, 0xe000, 94),
    (0xf6a1, 0xe05e, 94),
    (0xf7a1, 0xe0bc, 94),
    (0xf8a1, 0xe11a, 94),
    (0xf9a1, 0xe178, 94),
    (0xfaa1, 0xe1d6, 94),
    (0xfba1, 0xe234, 94),
    (0xfca1, 0xe292, 94),
    (0xfda1, 0xe2f0, 94),
    (0xfea1, 0xe34e, 94),
    (0x8fa2c3, 0xffe4, 1),
    (0x8ff3f3, 0x2170, 10),
    (0x8ff4a9, 0xff07, 1),
    (0x8ff4aa, 0xff02, 1),
    (0x8ff4ae, 0x70bb, 1),
    (0x8ff4af, 0x4efc, 1),
    (0x8ff4b0, 0x50f4, 1),
    (0x8ff4b1, 0x51ec, 1),
    (0x8ff4b2, 0x5307, 1),
    (0x8ff4b3, 0x5324, 1),
    (0x8ff4b4, 0xfa0e, 1),
    (0x8ff4b5, 0x548a, 1),
    (0x8ff4b6, 0x5759, 1),
    (0x8ff4b7, 0xfa0f, 2),
    (0x8ff4b9, 0x589e, 1),
    (0x8ff4ba, 0x5bec, 1),
    (0x8ff4bb, 0x5cf5, 1),
    (0x8ff4bc, 0x5d53, 1),
    (0x8ff4bd, 0xfa11, 1),
    (0x8ff4be, 0x5fb7, 1),
    (0x8ff4bf, 0x6085, 1),
    (0x8ff4c0, 0x6120, 1),
    (0x8ff4c1, 0x654e, 1),
    (0x8ff4c2, 0x663b, 1),
    (0x8ff4c3, 0x6665, 1),
    (0x8ff4c4, 0xfa12, 1),
    (0x8ff4c5, 0xf929, 1),
    (0x8ff4c6, 0x6801, 1),
    (0x8ff4c7, 0xfa13, 2),
    (0x8ff4c9, 0x6a6b, 1),
    (0x8ff4ca, 0x6ae2, 1),
    (0x8ff4cb, 0x6df8, 1),
    (0x8ff4cc, 0x6df2, 1),
    (0x8ff4cd, 0x7028, 1),
    (0x8ff4ce, 0xfa15, 2),
    (0x8ff4d0, 0x7501, 1),
    (0x8ff4d1, 0x7682, 1),
    (0x8ff4d2, 0x769e, 1),
    (0x8ff4d3, 0xfa17, 1),
    (0x8ff4d4, 0x7930, 1),
    (0x8ff4d5, 0xfa18, 4),
    (0x8ff4d9, 0x7ae7, 1),
    (0x8ff4da, 0xfa1c, 2),
    (0x8ff4dc, 0x7da0, 1),
    (0x8ff4dd, 0x7dd6, 1),
    (0x8ff4de, 0xfa1e, 1),
    (0x8ff4df, 0x8362, 1),
    (0x8ff4e0, 0xfa1f, 1),
    (0x8ff4e1, 0x85b0, 1),
    (0x8ff4e2, 0xfa20, 2),
    (0x8ff4e4, 0x8807, 1),
    (0x8ff4e5, 0xfa22, 1),
    (0x8ff4e6, 0x8b7f, 1),
    (0x8ff4e7, 0x8cf4, 1),
    (0x8ff4e8, 0x8d76, 1),
    (0x8ff4e9, 0xfa23, 3),
    (0x8ff4ec, 0x90de, 1),
    (0x8ff4ed, 0xfa26, 1),
    (0x8ff4ee, 0x9115, 1),
    (0x8ff4ef, 0xfa27, 2),
    (0x8ff4f1, 0x9592, 1),
    (0x8ff4f2, 0xf9dc, 1),
    (0x8ff4f3, 0xfa29, 1),
    (0x8ff4f4, 0x973b, 1),
    (0x8ff4f5, 0x974d, 1),
    (0x8ff4f6, 0x9751, 1),
    (0x8ff4f7, 0xfa2a, 3),
    (0x8ff4fa, 0x999e, 1),
    (0x8ff4fb, 0x9ad9, 1),
    (0x8ff4fc, 0x9b72, 1),
    (0x8ff4fd, 0xfa2d, 1),
    (0x8ff4fe, 0x9ed1, 1),
    (0x8ff5a1, 0xe3ac, 94),
    (0x8ff6a1, 0xe40a, 94),
    (0x8ff7a1, 0xe468, 94),
    (0x8ff8a1, 0xe4c6, 94),
    (0x8ff9a1, 0xe524, 94),
    (0x8ffaa1, 0xe582, 94),
    (0x8ffba1, 0xe5e0, 94),
    (0x8ffca1, 0xe63e, 94),
    (0x8ffda1, 0xe69c, 94),
    (0x8ffea1, 0xe6fa, 94),
];

const GB18030_MOVED: &[(u32, u32, u32)] = &[
    (0xa3a0, 0xe5e5, 1),
    (0xa6d9, 0xe78d, 7),
    (0xa6ec, 0xe794, 2),
    (0xa6f3, 0xe796, 1),
    (0xfe59, 0xe81e, 1),
    (0xfe61, 0xe826, 1),
    (0xfe66, 0xe82b, 2),
    (0xfe6d, 0xe832, 1),
    (0xfe7e, 0xe843, 1),
    (0xfe90, 0xe854, 1),
    (0xfea0, 0xe864, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &[u8], cjk: &Cjk) -> Option<String> {
        decode(content, cjk).map(Cow::into_owned)
    }

    #[test]
    fn what_the_servers_read_otherwise_is_read_as_they_do() {
        assert_eq!(text(&[0x81, 0x60], &SJIS).unwrap(), "\u{301c}");
        assert_eq!(text(&[0x81, 0x60], &CP932).unwrap(), "\u{ff5e}");
        assert_eq!(text(b"a\x81\x60b\x82\xa0", &SJIS).unwrap(), "a\u{301c}b\u{3042}");
        assert_eq!(text(&[0xa1, 0xa4], &GB2312).unwrap(), "\u{30fb}");
        assert_eq!(text(&[0xa1, 0xa4], &CHINESE_GBK).unwrap(), "\u{b7}");
    }

    #[test]
    fn what_has_no_way_back_has_no_text() {
        assert_eq!(text(b"\\", &SJIS), None);
        assert_eq!(text(&[0x81, 0x5f], &SJIS).unwrap(), "\\");
        assert_eq!(text(b"\\", &CP932).unwrap(), "\\");
        assert_eq!(text(&[0xed, 0x40], &CP932), None);
        assert_eq!(text(&[0x80], &CHINESE_GBK), None);
        assert_eq!(text(&[0x81], &EUCKR), None);
        assert_eq!(text(&[0x8f, 0xa2], &UJIS), None);
    }
}
