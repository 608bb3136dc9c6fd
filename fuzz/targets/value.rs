//! One value: its column's type, how many bytes say more about the type, those two bytes, its
//! collation, and whether it is unsigned or of one of `MariaDB`'s own types; the rest is the value.

use headwater::capture::decode::{Body, Charset, ColumnFacts, MapColumn, RawColumn, Special};

use super::raw;

pub fn run(bytes: &[u8]) {
    let Some((&[kind, more, first, second, collation, facts], content)) =
        bytes.split_first_chunk::<6>()
    else {
        return;
    };
    let metadata = &[first, second][..usize::from(more % 3)];
    let Some(column) = column(kind, metadata) else { return };
    let facts = ColumnFacts {
        unsigned: facts & 1 != 0,
        charset: Charset::of_collation(u64::from(collation), false).unwrap_or(Charset::Utf8mb4),
        members: (0..facts).map(|member| format!("m{member}")).collect(),
        special: match facts >> 5 {
            1 => Some(Special::Uuid),
            2 => Some(Special::Inet4),
            3 => Some(Special::Inet6),
            _ => None,
        },
    };
    raw::value(RawColumn::Bytes(content), column.column, &facts);
}

/// A column as a table map of one column gives it.
fn column(kind: u8, metadata: &[u8]) -> Option<MapColumn> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, kind];
    body.push(u8::try_from(metadata.len()).ok()?);
    body.extend_from_slice(metadata);
    body.push(0);
    let raw = raw::event(19, &body, false);
    let mut decoder = raw::decoder(true, false);
    let event = decoder.event(&raw, false).ok()?;
    let Body::TableMap(map) = event.body else { panic!("a table map") };
    map.columns().ok()?.pop()
}
