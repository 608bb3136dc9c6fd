//! A log file, with or without its first four bytes. Sizes that lead beyond its end and wrong
//! checksums are mended, so that what follows them is reached.

use headwater::capture::decode::Decoder;

use super::raw::{self, INFLATED_BYTES_MAX, Tables};

const HEADER_BYTES: usize = 19;

pub fn run(bytes: &[u8]) {
    let mut rest = bytes.strip_prefix(b"\xfebin").unwrap_or(bytes);
    let mut decoder = Decoder::new(INFLATED_BYTES_MAX);
    let mut tables = Tables::default();
    while let Some(size) = rest.get(9..13) {
        let stated = size.iter().rev().fold(0, |size, byte| (size << 8) | usize::from(*byte));
        let size = stated.max(HEADER_BYTES).min(rest.len());
        let (raw, after) = rest.split_at(size);
        rest = after;
        let mut mended = raw.to_vec();
        for checksum in [false, true] {
            raw::mend(&mut mended, checksum);
            if decoder.clone().event(&mended, false).is_ok() {
                break;
            }
        }
        tables.exhaust(&mut decoder, &mended, false);
    }
}
