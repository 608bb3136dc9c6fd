//! The mapped tables: whether they are there, can be told apart, and change only where the log
//! sees it; and what the server has to have to write them.

use super::Verdict::{Bad, Doubtful, Unknown};
use super::{Check, DatabaseFacts, Facts, MapFacts};
use crate::database::name::{quoted, table_of};
use crate::database::schema::{ForeignKey, LiveTable};
use crate::database::server::{Flavor, Server, parse_version};
use crate::schema_map::{BoundTable, Role, fits};
use crate::value::Name;

/// How many names a line lists before it says how many more there are.
const NAMES_SHOWN: usize = 8;
/// A row goes to the server in one packet.
const PACKET_BYTES_MIN: u64 = 64 << 20;

pub(super) fn checks(facts: &Facts, database: &DatabaseFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(found) = &database.map {
        checks.extend(map(facts, found));
        checks.extend(engines(facts, found));
        checks.extend(types(facts, found));
        if facts.duties.capture {
            checks.push(cascades(&database.server, found));
        }
        checks.push(triggers(facts, database, found));
    }
    if facts.duties.apply {
        checks.extend(writing(&database.server));
    }
    checks
}

/// What is wrong with the map's files themselves, for which no database need answer.
pub(super) fn map_files(facts: &Facts) -> Option<Check> {
    let problem = facts.map_files.as_ref().err()?;
    Some(Check::not_good(
        "schema map",
        Bad,
        problem.clone(),
        "Without a map nothing is known to travel.",
        "mend database.maps in the configuration, or the file it names",
    ))
}

fn map(facts: &Facts, found: &MapFacts) -> Vec<Check> {
    const NAME: &str = "schema map";
    let mut checks: Vec<Check> = found
        .map
        .problems
        .iter()
        .map(|problem| {
            let (verdict, meaning) = if problem.fatal {
                (Bad, "This table does not travel at all.")
            } else {
                (Doubtful, "Rows may be mistaken for each other, slow to find, or left behind.")
            };
            let found = format!("{}: {}", problem.table, problem.found());
            let mend = problem.mend.as_ref().map_or_else(
                || {
                    format!(
                        "mend what it names, in {} or in its entry in the map, then: headwater map check",
                        problem.table
                    )
                },
                |statement| format!("{statement};"),
            );
            Check::not_good(NAME, verdict, found, meaning, mend)
        })
        .collect();
    let count = found.map.tables.len();
    if count == 0 {
        checks.push(Check::not_good(
            NAME,
            Bad,
            format!("none of the map's tables is in {}", facts.database_name),
            "Nothing would travel.",
            "check the database's name in database.url, and database.maps",
        ));
    } else if checks.is_empty() {
        checks.push(Check::good(NAME, format!("{count} tables travel")));
    }
    if !found.map.unmapped.is_empty() {
        checks.push(Check::not_good(
            "unmapped tables",
            Unknown,
            some(found.map.unmapped.iter().map(AsRef::as_ref)),
            "The map does not mention these tables; they stay where they are.",
            "headwater map generate proposes entries for them",
        ));
    }
    checks
}

/// The mapped tables, with what the server says of them, by name.
fn mapped(found: &MapFacts) -> impl Iterator<Item = (&BoundTable, &LiveTable)> {
    found
        .schema
        .tables
        .iter()
        .filter_map(|(name, live)| Some((found.map.tables.get(name)?.as_ref(), live)))
}

fn engines(facts: &Facts, found: &MapFacts) -> Vec<Check> {
    const NAME: &str = "engines";
    // Those whose engine keeps them from travelling are among the problems.
    let wanted = |live: &LiveTable| {
        found.map.tables.contains_key(&live.name)
            || found.map.problems.iter().any(|problem| problem.table == live.name)
    };
    let tables = found.schema.tables.values().filter(|live| wanted(live));
    let checks: Vec<Check> = tables
        .filter(|live| !live.engine.eq_ignore_ascii_case("InnoDB"))
        .map(|live| {
            Check::not_good(
                NAME,
                if facts.duties.apply { Bad } else { Doubtful },
                format!("{} is {}", live.name, live.engine),
                "Without transactions, what is undone stays in the table, and a batch can be half applied.",
                format!("ALTER TABLE {} ENGINE = InnoDB;", table_of(&facts.database_name, &live.name)),
            )
        })
        .collect();
    if checks.is_empty() { vec![Check::good(NAME, "all InnoDB")] } else { checks }
}

/// Types that the server at the other end of a link does not have, or may not have while the parent has
/// not told which server it is.
fn types(facts: &Facts, found: &MapFacts) -> Option<Check> {
    let version = facts.machine.parent_database.as_deref().filter(|_| facts.parent.is_some());
    let parent = version.map(parse_version);
    let rare = mapped(found).flat_map(|(table, _)| {
        table.columns.iter().filter(|column| column.role == Role::Plain).filter_map(|column| {
            let rare = fits::rare(&column.live).filter(|rare| {
                parent.is_none_or(|(flavor, numbers)| !rare.is_on(flavor, numbers))
            })?;
            let (table, name, kind) = (&table.name, &column.name, &column.live.column_type);
            Some(format!("{table}.{name} is {kind}, which only {} have", rare.servers))
        })
    });
    let rare: Vec<String> = rare.collect();
    let list = some(rare.iter().map(String::as_str));
    let (verdict, list) = match version {
        _ if rare.is_empty() => return None,
        Some(version) => (Doubtful, format!("{list}; the parent's server is {version}")),
        None => (Unknown, list),
    };
    Some(Check::not_good(
        "types",
        verdict,
        list,
        "A server without the type needs a column that holds its values; what does not fit is \
         quarantined there.",
        "headwater map check --with FILE2, where both databases can be reached",
    ))
}

/// Rows that the server itself deletes or alters through a foreign key are not in the log, except
/// on MySQL from 9.6 that does not leave it to InnoDB.
fn cascades(server: &Server, found: &MapFacts) -> Check {
    const NAME: &str = "cascades";
    let by_innodb = server.is_on("innodb_native_foreign_keys");
    if server.flavor == Flavor::Mysql && server.at_least(9, 6, 0) && !by_innodb {
        return Check::good(NAME, "this server logs them");
    }
    let silent: Vec<(&LiveTable, &ForeignKey)> = mapped(found)
        .flat_map(|(_, live)| live.foreign_keys.iter().map(move |key| (live, key)))
        .filter(|(_, key)| acts(&key.on_delete) || (acts(&key.on_update) && travels(found, key)))
        .collect();
    if silent.is_empty() {
        return Check::good(NAME, "no mapped table has any");
    }
    let names: Vec<String> = silent.iter().map(|(live, key)| described(live, key)).collect();
    let restrict: String =
        silent.iter().map(|(live, key)| restricted(&found.schema.database, live, key)).collect();
    Check::not_good(
        NAME,
        Doubtful,
        some(names.iter().map(String::as_str)),
        "Rows that the server changes by itself through these foreign keys are not in its log. The parent does the same when it applies the change that caused it, if it has the same foreign keys; headwater cannot see whether it has.",
        format!("have the same foreign keys at the parent, or make them RESTRICT here:{restrict}"),
    )
}

/// The statements that make a foreign key refuse what it would do by itself.
fn restricted(database: &str, live: &LiveTable, key: &ForeignKey) -> String {
    let list =
        |names: &[Name]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let (table, target) = (table_of(database, &live.name), table_of(database, &key.table));
    let name = quoted(&key.name);
    let (columns, referenced) = (list(&key.columns), list(&key.referenced));
    format!(
        "\nALTER TABLE {table} DROP FOREIGN KEY {name};\n\
         ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({columns}) \
         REFERENCES {target} ({referenced});"
    )
}

fn acts(rule: &str) -> bool {
    ["CASCADE", "SET NULL", "SET DEFAULT"].iter().any(|action| rule.eq_ignore_ascii_case(action))
}

/// Whether the key referred to is one that other nodes know. A local number is not: what refers to
/// it says the same after as before it was changed.
fn travels(found: &MapFacts, key: &ForeignKey) -> bool {
    found.map.tables.get(&key.table).is_some_and(|table| {
        key.referenced.iter().any(|name| {
            table
                .columns
                .iter()
                .any(|column| column.name == *name && matches!(column.role, Role::Plain))
        })
    })
}

fn described(live: &LiveTable, key: &ForeignKey) -> String {
    let rule = if acts(&key.on_delete) {
        format!("ON DELETE {}", key.on_delete)
    } else {
        format!("ON UPDATE {}", key.on_update)
    };
    format!("{}.{} -> {} {rule}", live.name, key.columns.join(","), key.table)
}

fn triggers(facts: &Facts, database: &DatabaseFacts, found: &MapFacts) -> Check {
    const NAME: &str = "triggers";
    let there: Vec<(&Name, &String)> = mapped(found)
        .flat_map(|(_, live)| live.triggers.iter().map(move |name| (&live.name, name)))
        .collect();
    if let Some((_, first)) = there.first() {
        let names: Vec<String> =
            there.iter().map(|(table, name)| format!("{name} on {table}")).collect();
        let (meaning, mend) = if facts.duties.apply {
            let trigger = table_of(&facts.database_name, first);
            (
                "They fire when headwater writes what they already did at the child, so their effects come twice.",
                format!(
                    "DROP TRIGGER {trigger};  -- if it may not fire for what comes from children"
                ),
            )
        } else {
            (
                "What they write here travels; the same triggers at the parent would write it again there.",
                format!("at the parent, if it has the same: DROP TRIGGER {};", quoted(first)),
            )
        };
        return Check::not_good(
            NAME,
            Doubtful,
            some(names.iter().map(String::as_str)),
            meaning,
            mend,
        );
    }
    let seen = database
        .privileges
        .as_ref()
        .is_some_and(|privileges| privileges.on_schema("TRIGGER", &facts.database_name));
    if seen {
        Check::good(NAME, "no mapped table has any")
    } else {
        Check::not_good(
            NAME,
            Unknown,
            "this account cannot see triggers",
            "A trigger that a mapped table has at the child and at the parent does its work twice there.",
            format!(
                "as an administrator: SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{}';",
                facts.database_name.replace('\\', "\\\\").replace('\'', "''")
            ),
        )
    }
}

fn writing(server: &Server) -> Vec<Check> {
    let mut checks = Vec::new();
    if server.is_on("read_only") || server.is_on("super_read_only") {
        checks.push(Check::not_good(
            "read_only",
            Bad,
            "ON",
            "What comes from children cannot be written.",
            "SET GLOBAL read_only = OFF;",
        ));
    }
    if let Some(bytes) = server.number("max_allowed_packet")
        && bytes < PACKET_BYTES_MIN
    {
        checks.push(Check::not_good(
            "max_allowed_packet",
            Doubtful,
            format!("{} MiB", bytes >> 20),
            "A row larger than this cannot be written: it is quarantined, to be retried once this is raised.",
            "SET GLOBAL max_allowed_packet = 1073741824;  -- and in the server's configuration",
        ));
    }
    checks
}

/// A few names, and how many more.
fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let shown = all.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
