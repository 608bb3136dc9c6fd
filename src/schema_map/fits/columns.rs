//! What the columns of a table are at both ends: the same, of the same role, and as willing.

use super::values::{doubt, misfit};
use super::{End, Found, Pair};
use crate::database::schema::{LiveColumn, LiveSchema};
use crate::database::server::Flavor;
use crate::schema_map::{BoundColumn, BoundIdentity, BoundTable, ReferenceRule, Role};
use crate::value::Name;

/// What the values of each column would meet, and which columns get none.
pub(super) fn differences(pair: Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for ours in pair.ours.columns.iter().filter(|column| travels(column)) {
        match named(pair.theirs, &ours.name) {
            Some(theirs) => found.extend(column(pair, ours, theirs)),
            None => found.push(missing(ours)),
        }
    }
    let unsent = pair
        .theirs
        .columns
        .iter()
        .filter(|theirs| travels(theirs) && named(pair.ours, &theirs.name).is_none_or(is_own));
    found.extend(unsent.filter_map(|theirs| unfilled(pair.ours, theirs)));
    found
}

fn named<'t>(table: &'t BoundTable, name: &Name) -> Option<&'t BoundColumn> {
    table.columns.iter().find(|column| column.name == *name)
}

fn travels(column: &BoundColumn) -> bool {
    matches!(column.role, Role::Plain | Role::Reference(_))
}

/// Whether a column stays for what it is. What a map leaves out the other end's map leaves out, too.
fn is_own(column: &BoundColumn) -> bool {
    matches!(column.role, Role::LocalKey | Role::Generated)
}

fn missing(ours: &BoundColumn) -> Found {
    let name = &ours.name;
    let message = format!("its column {name} is not there at the other end");
    if ours.live.nullable {
        return Found::note(message);
    }
    Found::fatal(format!("{message}, where every row waits until it is added"))
}

/// What a column meets that gets no value from here.
fn unfilled(ours: &BoundTable, theirs: &BoundColumn) -> Option<Found> {
    let (name, live) = (&theirs.name, &theirs.live);
    // An ENUM's first member is its default if it has none.
    let filled = live.nullable
        || live.default.is_some()
        || ["auto_increment", "default_generated"].iter().any(|word| live.extra.contains(word))
        || live.data_type == "enum";
    let why = match named(ours, name).map(|column| &column.role) {
        None => "is not there here",
        Some(Role::Generated) => "is computed here, so it does not travel,",
        Some(Role::LocalKey | Role::Plain | Role::Reference(_) | Role::LeftOut(_)) => {
            "is a local number here, which does not travel,"
        }
    };
    if !filled {
        return Some(Found::fatal(format!(
            "its column {name} {why} and may not be NULL at the other end, where it has no default: no \
             row can be inserted there"
        )));
    }
    let computed = named(ours, name).is_some_and(|column| column.role == Role::Generated);
    computed.then(|| {
        Found::note(format!(
            "its column {name} {why} and is a plain column at the other end, which keeps its default"
        ))
    })
}

/// What the values of one column meet.
fn column(pair: Pair<'_>, ours: &BoundColumn, theirs: &BoundColumn) -> Vec<Found> {
    let mut found = Vec::new();
    if matches!(theirs.role, Role::LeftOut(_)) {
        return found;
    }
    found.extend(roles(ours, theirs));
    if ours.role == Role::Plain && theirs.role == Role::Plain {
        found.extend(values(pair, ours, theirs));
    }
    // A row without an identity does not travel.
    let named = matches!(pair.ours.identity, BoundIdentity::Column(column)
        if pair.ours.columns.get(column).is_some_and(|column| column.name == ours.name));
    if travels(theirs) && ours.live.nullable && !theirs.live.nullable && !named {
        found.push(Found::fatal(format!(
            "its column {} may be NULL here and not at the other end",
            ours.name
        )));
    }
    found
}

/// What a column is at one end and not at the other.
fn roles(ours: &BoundColumn, theirs: &BoundColumn) -> Option<Found> {
    let name = &ours.name;
    let stated = |table: &Name, end: &str| {
        format!("add the key {end}, or state references = {{ {name} = \"{table}\" }} in the map")
    };
    let told = |message: String| Some(Found::fatal(format!("its column {name} {message}")));
    match (&ours.role, &theirs.role) {
        (Role::Reference(ReferenceRule::Always { table, .. }), Role::Plain) => told(format!(
            "is a reference to {table} here and has no foreign key at the other end: {}",
            stated(table, "there")
        )),
        (Role::Plain, Role::Reference(ReferenceRule::Always { table, .. })) => told(format!(
            "has no foreign key here and is a reference to {table} at the other end: {}",
            stated(table, "here")
        )),
        (
            Role::Reference(ReferenceRule::Always { table, .. }),
            Role::Reference(ReferenceRule::Always { table: other, .. }),
        ) => {
            if table == other {
                return None;
            }
            told(format!(
                "is a reference to {table} here and to {other} at the other end: have the same foreign \
                 key at both ends"
            ))
        }
        (_, Role::Generated) => told(
            "is computed at the other end, which takes no value from here: leave it out in the map, or \
             make it a plain column there"
                .to_owned(),
        ),
        (_, Role::LocalKey) => told(
            "travels from here and is a local number at the other end, which takes none from here: have \
             the same keys at both ends"
                .to_owned(),
        ),
        (Role::Reference(ours), Role::Reference(theirs)) => {
            let theirs = theirs.targets();
            let lacking = ours.targets().into_iter().find(|table| !theirs.contains(table))?;
            Some(Found::note(format!(
                "its column {name} may refer to {lacking} here and not at the other end, where a row \
                 that does is set aside"
            )))
        }
        (Role::Plain, Role::Plain) => None,
        (_, _) => told("is a reference at one end and none at the other".to_owned()),
    }
}

fn values(pair: Pair<'_>, ours: &BoundColumn, theirs: &BoundColumn) -> Vec<Found> {
    let mut found = Vec::new();
    let (name, here, there) = (&ours.name, &ours.live, &theirs.live);
    let is = || {
        format!("its column {name} is {} here and {} at the other end", shown(here), shown(there))
    };
    if let Some(misfit) = misfit(here, there) {
        found.push(Found::fatal(format!("{}, {misfit}", is())));
    } else if let Some(doubt) = doubt(here, there) {
        found.push(Found::note(format!("{}, {doubt}", is())));
    }
    if is_shorter_moment(pair, here, there) {
        found.push(Found::note(format!(
            "its column {name} is {} here, up to 2106, and up to 2038 at the other end",
            here.column_type
        )));
    }
    if let Some((one, other)) = collations(here, there)
        && is_unique(pair.there.schema, &pair.ours.name, name)
    {
        found.push(Found::note(format!(
            "its column {name} is in {one} here and in {other} at the other end, where it is unique: \
             what differs here may be the same there, and is quarantined then"
        )));
    }
    found
}

fn shown(column: &LiveColumn) -> String {
    match &column.charset {
        Some(charset) => format!("{} in {charset}", column.column_type),
        None => column.column_type.clone(),
    }
}

/// Whether moments after 2038 fit into a column here and not there.
fn is_shorter_moment(pair: Pair<'_>, ours: &LiveColumn, theirs: &LiveColumn) -> bool {
    let long = |end: End<'_>| end.is_from(Flavor::Mariadb, (11, 5, 0));
    let moments = ours.data_type == "timestamp" && theirs.data_type == "timestamp";
    moments && long(pair.here) && !long(pair.there)
}

/// The collations of two columns, unless both tell the same apart.
fn collations<'c>(ours: &'c LiveColumn, theirs: &'c LiveColumn) -> Option<(&'c str, &'c str)> {
    let (ours, theirs) = (ours.collation.as_deref()?, theirs.collation.as_deref()?);
    // The first word is the character set.
    let rules = |name: &'c str| name.split_once('_').map_or(name, |(_, rules)| rules);
    let exact = rules(theirs) == "bin" || theirs == "binary";
    (!exact && rules(ours) != rules(theirs)).then_some((ours, theirs))
}

/// Whether a unique index of a table holds a column.
fn is_unique(schema: &LiveSchema, table: &Name, column: &Name) -> bool {
    schema.tables.get(table).is_some_and(|table| {
        table.indexes.iter().any(|index| index.unique && index.columns.contains(column))
    })
}
