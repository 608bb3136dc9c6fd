//! Whether what one database holds fits into another: two ends need not be servers of one kind,
//! nor have the same columns and keys. Pure; `map check --with` asks both databases and prints what
//! comes out.

mod columns;
mod keys;
mod rare;
mod texts;
mod values;

use std::sync::Arc;

use super::{BoundIdentity, BoundMap, BoundTable, Direction, Problem};
use crate::database::schema::LiveSchema;
use crate::database::server::Flavor;

pub use rare::{Rare, rare};

/// One of the two databases.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Its tables, held against its map.
    pub map: &'a BoundMap,
    /// Its tables as they are.
    pub schema: &'a LiveSchema,
    /// Whose server it is on.
    pub flavor: Flavor,
    /// That server's version.
    pub version: (u16, u16, u16),
}

impl End<'_> {
    fn is_from(self, flavor: Flavor, version: (u16, u16, u16)) -> bool {
        self.flavor == flavor && self.version >= version
    }
}

/// A table at both ends.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    here: End<'a>,
    there: End<'a>,
    ours: &'a BoundTable,
    theirs: &'a BoundTable,
}

/// What a table would meet at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// Whether rows cannot arrive, or not as they are, rather than some values only.
    fatal: bool,
    message: String,
}

impl Found {
    fn fatal(message: String) -> Found {
        Found { fatal: true, message }
    }

    fn note(message: String) -> Found {
        Found { fatal: false, message }
    }
}

/// What the tables that travel would meet at the other end, named by table and column.
pub fn disagreements(here: End<'_>, there: End<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tables: Vec<&Arc<BoundTable>> = here.map.tables.values().collect();
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    for ours in tables.into_iter().filter(|table| table.direction != Direction::None) {
        let found = if let Some(theirs) = there.map.tables.get(&ours.name) {
            differences(Pair { here, there, ours, theirs })
        } else {
            let reason = there.map.problems.iter().find(|problem| problem.table == ours.name);
            let reason = reason.map_or("it is not there", |problem| problem.message.as_str());
            vec![Found::fatal(format!("it cannot be written at the other end: {reason}"))]
        };
        let found = found.into_iter();
        problems.extend(found.map(|it| Problem::new(&ours.name, it.fatal, it.message)));
    }
    problems
}

fn differences(pair: Pair<'_>) -> Vec<Found> {
    let mut found = columns::differences(pair);
    found.extend(whole_rows(pair));
    found.extend(keys::differences(pair));
    found
}

/// Rows that are called by all they hold are so by the same columns, in whatever order.
fn whole_rows(pair: Pair<'_>) -> Option<Found> {
    let names = |table: &BoundTable| {
        let columns = table.identity_columns().into_iter();
        let columns = columns.filter_map(|index| table.columns.get(index));
        columns.map(|column| column.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    if pair.ours.identity != BoundIdentity::WholeRow {
        return None;
    }
    let (ours, theirs) = (names(pair.ours), names(pair.theirs));
    (ours != theirs).then(|| {
        Found::fatal(format!(
            "its rows are called by all they hold, which is {ours} here and {theirs} at the other end: \
             give both the same columns, or leave out what only one has in the maps of both"
        ))
    })
}
