//! A table map and rows that follow it: the byte that says what the log is like, the type of the
//! rows event, the length of the table map in two bytes, what follows the names in the table map,
//! and what follows the table's number in the rows event.

use super::raw::{self, Tables};

pub fn run(bytes: &[u8]) {
    let Some((&[flags, kind, low, high], rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (map, images) = rest.split_at(length);
    let mut decoder = raw::decoder(flags & 1 != 0, false);
    let mut tables = Tables::default();
    let head: &[u8] = &[1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0];
    tables.exhaust(&mut decoder, &raw::event(19, &[head, map].concat(), false), false);
    let head: &[u8] = &[1, 0, 0, 0, 0, 0];
    tables.exhaust(&mut decoder, &raw::event(kind, &[head, images].concat(), false), false);
}
