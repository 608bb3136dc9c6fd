//! One event. The first byte says what the log is like, the second is the event's type, the rest
//! its body, which gets a right header; the same bytes are also tried as a whole event, and as the
//! first of a log.

use headwater::capture::decode::Decoder;

use super::raw::{self, INFLATED_BYTES_MAX, Tables};

pub fn run(bytes: &[u8]) {
    let Some((&[flags, kind], body)) = bytes.split_first_chunk::<2>() else { return };
    let (mariadb, checksums, inside) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let mut tables = Tables::default();
    let mut decoder = raw::decoder(mariadb, checksums);
    let made = raw::event(kind, body, checksums && !inside);
    tables.exhaust(&mut decoder, &made, inside);
    tables.exhaust(&mut decoder, bytes, inside);
    let mut fresh = Decoder::new(INFLATED_BYTES_MAX);
    tables.exhaust(&mut fresh, bytes, false);
    tables.exhaust(&mut fresh, &made, false);
}
