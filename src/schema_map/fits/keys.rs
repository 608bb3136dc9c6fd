//! What unique indexes and foreign keys refuse or do by themselves at one end only.

use super::{End, Found, Pair};
use crate::database::schema::{ForeignKey, LiveIndex, LiveTable};
use crate::database::server::Flavor;
use crate::schema_map::{BoundTable, Role};
use crate::value::Name;

/// What the keys of a table do at one end only.
pub(super) fn differences(pair: Pair<'_>) -> Vec<Found> {
    let (here, there) = (pair.here.schema, pair.there.schema);
    let (Some(ours), Some(theirs)) =
        (here.tables.get(&pair.ours.name), there.tables.get(&pair.theirs.name))
    else {
        return Vec::new();
    };
    let mut found: Vec<Found> = theirs
        .indexes
        .iter()
        .filter(|index| index.unique && refuses_more(pair, ours, index))
        .map(|index| {
            Found::note(format!(
                "its rows are unique in {} by the index {} at the other end, and by none here: a row \
                 that is equal in that to another is quarantined there",
                index.columns.join(", "),
                index.name
            ))
        })
        .collect();
    found.extend(foreign_keys(pair, ours, theirs));
    found
}

/// Whether a unique index of the other end may refuse what all those here let in.
fn refuses_more(pair: Pair<'_>, ours: &LiveTable, index: &LiveIndex) -> bool {
    // Numbers that are given there, and more than what names a row, are never there twice.
    let numbered =
        index.columns.iter().any(|name| role(pair.theirs, name) == Some(&Role::LocalKey));
    let mut identity = pair.theirs.identity_columns().into_iter();
    let named = identity.all(|column| {
        pair.theirs.columns.get(column).is_some_and(|column| index.columns.contains(&column.name))
    });
    // NULL is never there twice, either.
    let empty = pair.theirs.columns.iter().any(|column| {
        let unsent = !ours.columns.iter().any(|known| known.name == column.name);
        let null = column.live.nullable && column.live.default.is_none() && !column.live.generated;
        index.columns.contains(&column.name) && unsent && null
    });
    let guarded = ours
        .indexes
        .iter()
        .any(|known| known.unique && known.columns.iter().all(|name| index.columns.contains(name)));
    !(numbered || named || empty || guarded)
}

/// The foreign keys to mapped tables that are not the same at both ends.
fn foreign_keys(pair: Pair<'_>, ours: &LiveTable, theirs: &LiveTable) -> Vec<Found> {
    let mapped = |end: End<'_>, key: &ForeignKey| end.map.tables.contains_key(&key.table);
    let mut found = Vec::new();
    for key in ours.foreign_keys.iter().filter(|key| mapped(pair.here, key)) {
        let said = match fellow(key, theirs) {
            Some(other) if rules(pair, other) == rules(pair, key) => continue,
            Some(other) => format!("says {} at the other end", words(other)),
            // One that only refuses is not missed there.
            None if !acts(pair, key) => continue,
            None => "is not there at the other end".to_owned(),
        };
        let begun = format!(
            "its foreign key {} to {} says {} here and {said}",
            key.name,
            key.table,
            words(key)
        );
        found.push(if acts(pair, key) && !logs_cascades(pair.here) {
            Found::fatal(format!(
                "{begun}: the log here does not tell of the rows that it changes, so the other end keeps \
                 them as they were; have the same key there"
            ))
        } else {
            Found::note(format!("{begun}, which may refuse or change other rows than this end"))
        });
    }
    // What a key makes of a column is told of the column.
    let alike = |key: &ForeignKey| {
        key.columns.iter().all(|name| role(pair.ours, name) == role(pair.theirs, name))
    };
    for key in theirs.foreign_keys.iter().filter(|key| mapped(pair.there, key)) {
        if fellow(key, ours).is_none() && (acts(pair, key) || alike(key)) {
            found.push(Found::note(format!(
                "its foreign key {} to {} says {} at the other end and is not there here: the other end \
                 may refuse or change other rows than this one",
                key.name,
                key.table,
                words(key)
            )));
        }
    }
    found
}

fn role<'t>(table: &'t BoundTable, name: &Name) -> Option<&'t Role> {
    table.columns.iter().find(|column| column.name == *name).map(|column| &column.role)
}

/// The key of the other end that is of the same columns.
fn fellow<'t>(key: &ForeignKey, table: &'t LiveTable) -> Option<&'t ForeignKey> {
    let mut keys = table.foreign_keys.iter();
    keys.find(|other| other.columns == key.columns && other.table.eq_ignore_ascii_case(&key.table))
}

fn words(key: &ForeignKey) -> String {
    format!("ON DELETE {}, ON UPDATE {}", key.on_delete, key.on_update)
}

/// What a key does, in one word for what is the same.
fn rules(pair: Pair<'_>, key: &ForeignKey) -> (String, String) {
    let one = |rule: &str| if moves(rule) { rule.to_ascii_uppercase() } else { String::new() };
    // A local number is what it is to nobody else.
    let update = if is_known(pair, key) { one(&key.on_update) } else { String::new() };
    (one(&key.on_delete), update)
}

fn acts(pair: Pair<'_>, key: &ForeignKey) -> bool {
    moves(&key.on_delete) || (moves(&key.on_update) && is_known(pair, key))
}

fn moves(rule: &str) -> bool {
    ["CASCADE", "SET NULL", "SET DEFAULT"].iter().any(|action| rule.eq_ignore_ascii_case(action))
}

/// Whether the columns that a key refers to travel.
fn is_known(pair: Pair<'_>, key: &ForeignKey) -> bool {
    pair.here.map.tables.get(&key.table).is_some_and(|table| {
        let mut plain = table.columns.iter().filter(|column| column.role == Role::Plain);
        plain.any(|column| key.referenced.contains(&column.name))
    })
}

/// Whether a server writes to its log what its foreign keys do.
fn logs_cascades(end: End<'_>) -> bool {
    end.is_from(Flavor::Mysql, (9, 6, 0))
}
