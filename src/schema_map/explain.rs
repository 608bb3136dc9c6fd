//! Says in plain words what happens to a table and each of its columns.

use std::fmt::Write as _;

use super::file::{MapFile, TableRule};
use super::{
    BoundIdentity, BoundMap, BoundTable, Direction, Fill, ReferenceRule, Role, RowCondition,
    RowTest,
};
use crate::database::schema::LiveSchema;

/// Everything there is to say about a table; ends with a newline.
pub fn explain(map: &MapFile, bound: &BoundMap, schema: &LiveSchema, name: &str) -> String {
    let mut text = String::new();
    let mut outcome = match (bound.tables.get(name), map.tables.get(name)) {
        (Some(table), _) => describe(&mut text, table, bound),
        (None, Some(TableRule::Excluded(reason))) => {
            writeln!(text, "{name} stays: {reason}.")
        }
        (None, Some(TableRule::Mapped(_))) if !schema.tables.contains_key(name) => {
            writeln!(text, "{name} is in the map, but not in this database.")
        }
        (None, Some(TableRule::Mapped(rule))) => {
            let fatal =
                bound.problems.iter().any(|problem| problem.fatal && *problem.table == *name);
            if fatal {
                writeln!(text, "{name} cannot travel:")
            } else {
                writeln!(text, "{name} stays: its class {} goes no way.", rule.class)
            }
        }
        (None, None) if schema.tables.contains_key(name) => writeln!(
            text,
            "{name} stays, because the map does not mention it. `headwater map generate --unmapped` \
             prints an entry for it."
        ),
        (None, None) => {
            writeln!(text, "There is no table {name}, neither in the map nor in this database.")
        }
    };
    for problem in bound.problems.iter().filter(|problem| *problem.table == *name) {
        let kind = if problem.fatal { "problem" } else { "note" };
        outcome = outcome.and_then(|()| writeln!(text, "  {kind}: {}", problem.message));
    }
    debug_assert!(outcome.is_ok(), "writing into a String cannot fail");
    text
}

fn describe(text: &mut String, table: &BoundTable, bound: &BoundMap) -> std::fmt::Result {
    writeln!(text, "{}: class {}, {}", table.name, table.class, way(table.direction))?;
    writeln!(text, "  {}", identity(table))?;
    if table.level > 0 {
        writeln!(text, "  written after the tables it refers to (level {})", table.level)?;
    }
    for condition in &table.rows_left_out {
        writeln!(text, "  rows stay whose {}", condition_words(table, condition))?;
    }
    writeln!(text)?;
    let width = table.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in &table.columns {
        writeln!(text, "  {:width$}  {}", column.name, role(table, &column.role, bound))?;
    }
    Ok(())
}

/// Where rows of a direction go, in words.
pub(super) fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "goes up, from child to parent",
        Direction::Down => "goes down, from parent to child",
        Direction::Both => "goes both ways",
        Direction::None => "goes no way, but its rows are known to those that refer to them",
    }
}

fn identity(table: &BoundTable) -> String {
    let names = |columns: &[usize]| {
        let names = columns.iter().filter_map(|column| table.columns.get(*column));
        names.map(|column| &*column.name).collect::<Vec<_>>().join(" + ")
    };
    match &table.identity {
        BoundIdentity::Column(column) => format!("a row is called by its {}", names(&[*column])),
        BoundIdentity::Borrowed { column, table: lender } => format!(
            "a row is called what the row of {lender} is called that it shares {} with",
            names(&[*column])
        ),
        BoundIdentity::Composite(columns) => format!("a row is called by {}", names(columns)),
        BoundIdentity::WholeRow => "a row is called by all it holds".to_owned(),
    }
}

fn called(table: &str, bound: &BoundMap) -> String {
    match bound.tables.get(table).map(|table| (&table.identity, table)) {
        Some((BoundIdentity::Column(column), table)) => {
            table.columns.get(*column).map_or_else(String::new, |column| column.name.to_string())
        }
        Some((BoundIdentity::Borrowed { table, .. }, _)) => called(table, bound),
        Some((BoundIdentity::Composite(_) | BoundIdentity::WholeRow, _)) | None => {
            "identity".to_owned()
        }
    }
}

fn role(table: &BoundTable, role: &Role, bound: &BoundMap) -> String {
    match role {
        Role::Plain => "travels as it is".to_owned(),
        Role::LocalKey => "local number: does not travel, each database has its own".to_owned(),
        Role::Generated => "computed by the server: does not travel".to_owned(),
        Role::LeftOut(Fill::Default) => "does not travel; a new row gets the default".to_owned(),
        Role::LeftOut(Fill::Text(text)) => {
            format!("does not travel; a new row gets '{text}'")
        }
        Role::Reference(ReferenceRule::Always { table, deferred }) => {
            let later =
                if *deferred { "; filled in last where rows wait for each other" } else { "" };
            format!("refers to {table}: travels as that row's {}{later}", called(table, bound))
        }
        Role::Reference(ReferenceRule::Conditional(by_row)) => format!(
            "refers to another row if {} of its {} says so ({}); otherwise travels as it is",
            by_row.column,
            by_row.decider,
            kinds(&by_row.tables)
        ),
        Role::Reference(ReferenceRule::Polymorphic(by_kind)) => {
            let kind = table.columns.get(by_kind.kind).map_or("", |column| &column.name);
            format!(
                "refers to the table that {kind} names ({}); otherwise travels as it is",
                kinds(&by_kind.tables)
            )
        }
    }
}

fn kinds(tables: &[(String, crate::value::Name)]) -> String {
    tables.iter().map(|(kind, table)| format!("{kind} = {table}")).collect::<Vec<_>>().join(", ")
}

fn condition_words(table: &BoundTable, condition: &RowCondition) -> String {
    let column = table.columns.get(condition.column).map_or("", |column| &column.name);
    match &condition.test {
        RowTest::In(values) => format!("{column} is one of {}", values.join(", ")),
        RowTest::NotIn(values) => format!("{column} is none of {}", values.join(", ")),
        RowTest::Like(patterns) => format!("{column} looks like one of {}", patterns.join(", ")),
        RowTest::NotLike(patterns) => {
            format!("{column} looks like none of {}", patterns.join(", "))
        }
        RowTest::Null => format!("{column} is NULL"),
    }
}
