//! How the rows of one table are identified, and what is worth a remark about it.

use std::sync::Arc;

use super::file::{IdentityRule, MappedTable};
use super::roles::{place, primary_key};
use super::{BoundColumn, BoundIdentity, Problem, Role};
use crate::database::name::{quoted, table_of};
use crate::database::schema::{LiveColumn, LiveTable};
use crate::value::Name;

/// Types whose values can be equal without being the same, or that no index holds whole.
const NO_IDENTITY: [&str; 4] = ["float", "double", "json", "vector"];
/// How long a name may be that a server takes.
const NAME_LETTERS_MAX: usize = 64;

/// Finds the identity's columns; the error says what is wrong and what to do.
pub(super) fn bind(
    rule: &MappedTable,
    live: &LiveTable,
    columns: &[BoundColumn],
) -> Result<BoundIdentity, String> {
    match &rule.identity {
        IdentityRule::Column(name) => {
            let index = part(live, columns, name)?;
            let reference =
                columns.get(index).is_some_and(|column| matches!(column.role, Role::Reference(_)));
            // A row that is called by what it refers to has a composite identity of one part.
            Ok(if reference {
                BoundIdentity::Composite(vec![index])
            } else {
                BoundIdentity::Column(index)
            })
        }
        IdentityRule::Composite(names) => {
            let parts = names.iter().map(|name| part(live, columns, name));
            parts.collect::<Result<_, _>>().map(BoundIdentity::Composite)
        }
        IdentityRule::Borrowed(table) => match primary_key(live).as_slice() {
            [column] if *table != live.name => {
                Ok(BoundIdentity::Borrowed { column: *column, table: Arc::clone(table) })
            }
            _ => Err(format!(
                "an identity borrowed from {table} needs a primary key of one column, shared with {table}"
            )),
        },
        IdentityRule::WholeRow => Ok(BoundIdentity::WholeRow),
    }
}

fn part(live: &LiveTable, columns: &[BoundColumn], name: &Name) -> Result<usize, String> {
    let index = place(live, name).ok_or_else(|| {
        format!(
            "its identity column {name} is not there; say in the map how its rows are identified"
        )
    })?;
    let column = columns.get(index).ok_or_else(|| format!("column {name} is not there"))?;
    match column.role {
        Role::Plain | Role::Reference(_) => {}
        Role::Generated => {
            return Err(format!("its identity column {name} is computed by the server"));
        }
        Role::LocalKey | Role::LeftOut(_) => {
            return Err(format!("its identity column {name} does not travel"));
        }
    }
    if NO_IDENTITY.contains(&column.live.data_type.as_str()) {
        return Err(format!(
            "its identity column {name} is of the type {}, whose values cannot name a row",
            column.live.data_type
        ));
    }
    Ok(index)
}

/// What does not stop the table, but somebody should know.
pub(super) fn remarks(identity: &BoundIdentity, database: &str, live: &LiveTable) -> Vec<Problem> {
    match identity {
        BoundIdentity::Column(index) => {
            let column = live.columns.get(*index);
            column.map(|column| column_remarks(column, database, live)).unwrap_or_default()
        }
        BoundIdentity::Composite(indexes) => {
            let names: Vec<&Name> = indexes
                .iter()
                .filter_map(|index| live.columns.get(*index))
                .map(|column| &column.name)
                .collect();
            let unique = live.indexes.iter().any(|index| {
                index.unique && index.columns.iter().all(|column| names.contains(&column))
            });
            let remark = || Problem::new(&live.name, false, not_unique(&names, live));
            if unique { Vec::new() } else { vec![remark()] }
        }
        BoundIdentity::Borrowed { .. } | BoundIdentity::WholeRow => Vec::new(),
    }
}

fn column_remarks(column: &LiveColumn, database: &str, live: &LiveTable) -> Vec<Problem> {
    let mut remarks = Vec::new();
    let name = &column.name;
    let unique =
        live.indexes.iter().any(|index| index.unique && index.columns == [Arc::clone(name)]);
    let indexed = live.indexes.iter().any(|index| index.columns.first() == Some(name));
    if !unique {
        let slow = if indexed { "" } else { ", and finding a row reads the whole table" };
        let found = format!("{}{slow}", not_unique(&[name], live));
        let index = unique_index(name, &table_of(database, &live.name));
        remarks.push(Problem::mended_by(&live.name, false, &found, index));
    }
    if column.nullable {
        let found = format!(
            "its identity column {name} may be NULL, and a row without it cannot travel; this \
             mends such rows"
        );
        let rows = give_uuids(database, &live.name, name);
        remarks.push(Problem::mended_by(&live.name, false, &found, rows));
    }
    if column.extra.contains("auto_increment") {
        let message = format!(
            "its identity {name} is AUTO_INCREMENT: two databases give the same number to \
             different rows, unless only one of them makes rows"
        );
        remarks.push(Problem::new(&live.name, false, message));
    }
    remarks
}

/// The statement that gives an identity to the rows without one.
pub(super) fn give_uuids(database: &str, table: &str, column: &str) -> String {
    let (table, column) = (table_of(database, table), quoted(column));
    format!("UPDATE {table} SET {column} = UUID() WHERE {column} IS NULL")
}

/// The statement that makes an index of its own for a column of a table, named as SQL takes it.
fn unique_index(column: &Name, table: &str) -> String {
    let index: String = format!("headwater_{column}").chars().take(NAME_LETTERS_MAX).collect();
    let (index, column) = (quoted(&index), quoted(column));
    format!("CREATE UNIQUE INDEX {index} ON {table} ({column})")
}

fn not_unique(names: &[&Name], live: &LiveTable) -> String {
    let names = names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    format!(
        "no unique index of {} keeps two rows from having the same identity ({names})",
        live.name
    )
}

pub(super) fn is_integer(column: &LiveColumn) -> bool {
    matches!(
        column.data_type.as_str(),
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_advised_has_a_name_that_servers_take() {
        let column: Name = Arc::from("c`".repeat(30).as_str());
        let statement = unique_index(&column, &table_of("o`p", "weird`table"));
        let index =
            statement.split(" ON ").next().unwrap().trim_start_matches("CREATE UNIQUE INDEX ");
        assert_eq!(index.replace("``", "`").len(), NAME_LETTERS_MAX + 2, "{statement}");
        assert!(statement.contains(" ON `o``p`.`weird``table` (`c``c``"), "{statement}");
        let rows = give_uuids("o`p", "weird`table", "c`d");
        let expected = "UPDATE `o``p`.`weird``table` SET `c``d` = UUID() WHERE `c``d` IS NULL";
        assert_eq!(rows, expected);
    }
}
