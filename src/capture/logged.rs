//! What the log says of a table's columns, held against a definition. Pure.

use super::decode::{Charset, ColumnFacts, ColumnType, MapColumn};
use crate::database::schema::LiveTable;

/// Whether the log may show one type for another: `MariaDB`'s `UUID`, `INET4` and `INET6` are
/// `BINARY` there, whatever else it says of its columns.
pub(super) fn is_disguised(logged: &MapColumn) -> bool {
    matches!(logged.column, ColumnType::Char { bytes_max: 4 | 16 })
        && matches!(logged.charset, None | Some(Charset::Binary))
}

/// Whether rows that the log describes so can be those of a table defined like this.
pub(super) fn fits(logged: &[MapColumn], table: &LiveTable) -> bool {
    let Some((own, more)) = logged.split_at_checked(table.columns.len()) else { return false };
    are_hashes(more, table)
        && own.iter().zip(&table.columns).all(|(logged, live)| {
            logged.name.as_ref().is_none_or(|name| **name == *live.name)
                && ColumnFacts::new(logged, live).is_ok()
        })
}

/// The first column whose character set is another in the log than in the table's definition, where both
/// say one: told as an operator is.
pub(super) fn other_charset(logged: &[MapColumn], table: &LiveTable) -> Option<String> {
    logged.iter().zip(&table.columns).find_map(|(logged, live)| {
        let (logged, known) = (logged.charset?, live.charset_now()?);
        let differs = logged.name() != known;
        let (name, logged) = (&live.name, logged.name());
        differs.then(|| format!("column {name} is {logged} in the log and {known} in the schema"))
    })
}

/// Whether what the log shows beyond a table's own columns are only hashes of its keys: where they
/// have no names, at most one for each such key, of which some may have been made later.
fn are_hashes(more: &[MapColumn], table: &LiveTable) -> bool {
    let named = more.iter().all(|column| column.name.is_some());
    more.iter().all(|column| column.may_be_hash) && (named || more.len() <= table.hashed_keys)
}

/// The columns that the log names without the hashes of keys at their end, which no definition has.
pub(super) fn without_hashes<'l>(logged: &'l [MapColumn], known: &[&LiveTable]) -> &'l [MapColumn] {
    let is_own = |column: &MapColumn| {
        let mut known = known.iter().flat_map(|table| &table.columns);
        !column.may_be_hash || known.any(|known| column.name.as_deref() == Some(&*known.name))
    };
    let own = logged.iter().rposition(is_own).map_or(0, |last| last + 1);
    logged.get(..own).unwrap_or(logged)
}
