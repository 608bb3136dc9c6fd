//! Holds a map against a live database and names every disagreement, with what to do about it.
//!
//! Binding finds what the schema shows; here the rest is added: what foreign keys, triggers and
//! the rows themselves make doubtful.

use std::fmt;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::file::{MapFile, TableRule};
use super::fits;
use super::identity::{give_uuids, is_integer};
use super::propose;
use super::{BoundColumn, BoundIdentity, BoundMap, BoundTable, Direction, Problem, Role};
use crate::database::Error;
use crate::database::name::{quoted, table_of};
use crate::database::schema::{LiveSchema, LiveTable};
use crate::value::Name;

/// What `headwater map check` found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What keeps tables from travelling, and what is doubtful about them.
    pub problems: Vec<Problem>,
    /// How many tables travel.
    pub travelling: usize,
    /// Tables known by identity only, because others refer to them.
    pub known: Vec<Name>,
    /// Tables that stay because the map says so.
    pub left_out: usize,
    /// Tables of the database that the map does not mention.
    pub unmapped: Vec<Name>,
    /// Tables of the map that the database does not have.
    pub absent: Vec<Name>,
}

impl Report {
    /// What the schema alone shows.
    pub fn of(map: &MapFile, bound: &BoundMap, schema: &LiveSchema) -> Report {
        let mut report = Report {
            problems: bound.problems.clone(),
            left_out: bound.left_out.len(),
            unmapped: bound.unmapped.clone(),
            absent: map
                .tables
                .iter()
                .filter(|(name, rule)| {
                    matches!(rule, TableRule::Mapped(_)) && !schema.tables.contains_key(*name)
                })
                .map(|(name, _)| Arc::clone(name))
                .collect(),
            ..Report::default()
        };
        for table in sorted(bound) {
            if table.direction == Direction::None {
                report.known.push(Arc::clone(&table.name));
                continue;
            }
            report.travelling += 1;
            if let Some(live) = schema.tables.get(&table.name) {
                report.doubts(table, live);
                report.doubtful_numbers(map, bound, schema, table);
            }
        }
        report.sort();
        report
    }

    /// Adds what only the rows show: identities that are NULL or there twice.
    pub async fn read_rows(
        &mut self,
        bound: &BoundMap,
        schema: &LiveSchema,
        connection: &mut Conn,
    ) -> Result<(), Error> {
        for table in sorted(bound) {
            let columns: Vec<&BoundColumn> = table
                .identity_columns()
                .into_iter()
                .filter_map(|index| table.columns.get(index))
                .collect();
            let from = table_of(&schema.database, &table.name);
            if let (BoundIdentity::Column(_), [column]) = (&table.identity, columns.as_slice())
                && column.live.nullable
            {
                let name = quoted(&column.name);
                let query = format!("SELECT COUNT(*) FROM {from} WHERE {name} IS NULL");
                let missing = count(connection, &query).await?;
                if missing > 0 {
                    let mend = give_uuids(&schema.database, &table.name, &column.name);
                    let found = format!("{missing} of its rows have no {}: {mend}", column.name);
                    self.add(table, true, found);
                }
            }
            let unique = schema.tables.get(&table.name).is_some_and(|live| {
                live.indexes.iter().any(|index| {
                    index.unique
                        && index
                            .columns
                            .iter()
                            .all(|name| columns.iter().any(|part| part.name == *name))
                })
            });
            if !unique && !columns.is_empty() {
                self.read_doubles(table, &columns, &from, connection).await?;
            }
        }
        self.sort();
        Ok(())
    }

    async fn read_doubles(
        &mut self,
        table: &BoundTable,
        columns: &[&BoundColumn],
        from: &str,
        connection: &mut Conn,
    ) -> Result<(), Error> {
        let list = |before: &str| {
            let names = columns.iter().map(|column| format!("{before}{}", quoted(&column.name)));
            names.collect::<Vec<_>>().join(", ")
        };
        // Upper and lower case are different identities, whatever the column's collation says.
        let (names, exact) = (list(""), list("BINARY "));
        let present = match (&table.identity, columns) {
            (BoundIdentity::Column(_), [column]) => {
                format!(" WHERE {} IS NOT NULL", quoted(&column.name))
            }
            _ => String::new(),
        };
        let query = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {from}{present} GROUP BY {exact} \
             HAVING COUNT(*) > 1) AS twice"
        );
        let doubles = count(connection, &query).await?;
        if doubles > 0 && table.identity == BoundIdentity::WholeRow {
            self.add(
                table,
                false,
                format!("{doubles} rows are there more than once, and count as one: it has no key"),
            );
        } else if doubles > 0 {
            let list = format!(
                "SELECT {names}, COUNT(*) FROM {from} GROUP BY {names} HAVING COUNT(*) > 1"
            );
            self.add(
                table,
                true,
                format!(
                    "{doubles} of its identities are there more than once, so rows cannot be told \
                 apart; {list} lists them"
                ),
            );
        }
        Ok(())
    }

    /// Whether some table that should travel cannot, or not exactly.
    pub fn is_fatal(&self) -> bool {
        self.problems.iter().any(|problem| problem.fatal)
    }

    fn add(&mut self, table: &BoundTable, fatal: bool, message: String) {
        self.problems.push(Problem::new(&table.name, fatal, message));
    }

    fn sort(&mut self) {
        self.problems.sort_by(|one, other| {
            other.fatal.cmp(&one.fatal).then_with(|| one.table.cmp(&other.table))
        });
    }

    /// Adds what the tables would meet at the other end of a link.
    pub fn add_disagreements(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
        self.sort();
    }

    fn doubts(&mut self, table: &BoundTable, live: &LiveTable) {
        for column in table.columns.iter().filter(|column| column.role == Role::Plain) {
            if let Some(rare) = fits::rare(&column.live) {
                self.add(
                    table,
                    false,
                    format!(
                        "its column {} is {}, which only {} have: headwater map check --with FILE2 \
                     says whether what another server has in its place holds it",
                        column.name, column.live.column_type, rare.servers
                    ),
                );
            }
        }
        for key in &live.foreign_keys {
            let moves = |rule: &str| ["CASCADE", "SET NULL", "SET DEFAULT"].contains(&rule);
            if moves(&key.on_delete) || moves(&key.on_update) {
                self.add(table, false, format!(
                    "its foreign key {} changes rows by itself (ON DELETE {}, ON UPDATE {}), which most \
                     servers do not write to the log: the other end needs the same foreign key, and \
                     headwater map check --with FILE2 says whether it has it",
                    key.name, key.on_delete, key.on_update
                ));
            }
        }
        if !live.triggers.is_empty() {
            self.add(table, false, format!(
                "it has triggers ({}): what they write travels, and the same triggers at the other end \
                 would write it again; drop them there, or exclude the tables they write",
                live.triggers.join(", ")
            ));
        }
    }

    /// Numbers that may be local ids although neither a foreign key nor the map says so.
    fn doubtful_numbers(
        &mut self,
        map: &MapFile,
        bound: &BoundMap,
        schema: &LiveSchema,
        table: &BoundTable,
    ) {
        let identity = table.identity_columns();
        for (index, column) in table.columns.iter().enumerate() {
            let stated = matches!(
                map.tables.get(&table.name),
                Some(TableRule::Mapped(rule)) if rule.plain.contains(&column.name)
            );
            let plain = column.role == Role::Plain && is_integer(&column.live);
            if stated || !plain || identity.contains(&index) {
                continue;
            }
            let usual = propose::usual_target(schema, &column.live);
            if let Some(target) = looks_like(&column.name, bound).or(usual) {
                self.add(table, false, format!(
                    "its column {0} looks like a number of a row of {target}, without a foreign key: say \
                     references = {{ {0} = \"{target}\" }} if it is, plain = [\"{0}\"] if not",
                    column.name
                ));
            }
        }
    }
}

fn sorted(bound: &BoundMap) -> Vec<&Arc<BoundTable>> {
    let mut tables: Vec<_> = bound.tables.values().collect();
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    tables
}

/// The table whose surrogate key has this column's name.
fn looks_like<'a>(column: &str, bound: &'a BoundMap) -> Option<&'a Name> {
    let keyed = sorted(bound).into_iter().find(|table| {
        let key = table.local_key.and_then(|key| table.columns.get(key));
        key.is_some_and(|key| key.role == Role::LocalKey && &*key.name == column && column != "id")
    });
    let named = || {
        let stem = column.strip_suffix("_id")?;
        bound.tables.get(stem).or_else(|| bound.tables.get(format!("{stem}s").as_str()))
    };
    keyed.or_else(named).map(|table| &table.name)
}

async fn count(connection: &mut Conn, query: &str) -> Result<u64, Error> {
    let row: Option<Row> = connection.query_first(query).await?;
    Ok(row.and_then(|row| row.get_opt::<u64, _>(0)?.ok()).unwrap_or(0))
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stay = self.left_out;
        write!(out, "{} tables travel, {stay} stay because the map says so", self.travelling)?;
        writeln!(out, ", {} are not mentioned.", self.unmapped.len())?;
        let (fatal, notes): (Vec<_>, Vec<_>) =
            self.problems.iter().partition(|problem| problem.fatal);
        for (title, problems) in [("Cannot travel", fatal), ("Good to know", notes)] {
            if !problems.is_empty() {
                writeln!(out, "\n{title}:")?;
            }
            for problem in problems {
                writeln!(out, "  {}: {}", problem.table, problem.message)?;
            }
        }
        list(out, "Known by identity only, because their class goes no way", &self.known)?;
        list(
            out,
            "Not mentioned, so they stay (`headwater map generate --unmapped` prints entries for them)",
            &self.unmapped,
        )?;
        list(
            out,
            "In the map but not in this database, which is fine for another version",
            &self.absent,
        )
    }
}

fn list(out: &mut fmt::Formatter<'_>, title: &str, names: &[Name]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    names.iter().try_for_each(|name| writeln!(out, "  {name}"))
}
