//! What the account may do, from what the server says it was granted.

use super::{Check, DatabaseFacts, Facts, Verdict};
use crate::database::name::all_of;
use crate::database::server::Flavor;

/// The rights of an account, as `SHOW GRANTS` lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    grants: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    rights: Vec<String>,
    /// A pattern for the schema; `None` for all.
    schema: Option<String>,
    /// One table; `None` for all.
    table: Option<String>,
}

impl Privileges {
    /// Reads the lines of `SHOW GRANTS`; lines that grant a role say nothing by themselves.
    pub fn parse(lines: &[String]) -> Privileges {
        Privileges { grants: lines.iter().filter_map(|line| grant(line)).collect() }
    }

    /// Whether the account has a right on everything.
    pub fn globally(&self, right: &str) -> bool {
        self.grants.iter().any(|grant| grant.schema.is_none() && grant.gives(right))
    }

    /// Whether the account has a right on every table of a schema.
    pub fn on_schema(&self, right: &str, schema: &str) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.table.is_none() && grant.covers(schema) && grant.gives(right))
    }

    /// Whether the account has a right on one table.
    pub fn on_table(&self, right: &str, schema: &str, table: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.covers(schema)
                && grant.table.as_ref().is_none_or(|only| only == table)
                && grant.gives(right)
        })
    }
}

impl Grant {
    fn gives(&self, right: &str) -> bool {
        self.rights
            .iter()
            .any(|given| given == right || given == "ALL PRIVILEGES" || given == "ALL")
    }

    fn covers(&self, schema: &str) -> bool {
        self.schema.as_deref().is_none_or(|pattern| matches(pattern, schema))
    }
}

/// ``GRANT SELECT, INSERT ON `open\_mrs`.* TO `u`@`%` ``
fn grant(line: &str) -> Option<Grant> {
    let rest = line.strip_prefix("GRANT ")?;
    let (rights, rest) = rest.split_once(" ON ")?;
    let (schema, rest) = granted(rest)?;
    let (table, _) = granted(rest.strip_prefix('.')?)?;
    Some(Grant {
        rights: rights.split(',').map(|right| right.trim().to_ascii_uppercase()).collect(),
        schema,
        table,
    })
}

/// A name in backticks, which may hold anything, or `*` for all; and what follows it.
fn granted(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((None, rest));
    }
    let mut name = String::new();
    let mut rest = text.strip_prefix('`')?;
    loop {
        let (some, after) = rest.split_once('`')?;
        name.push_str(some);
        let Some(more) = after.strip_prefix('`') else { return Some((Some(name), after)) };
        name.push('`');
        rest = more;
    }
}

/// A schema against a pattern in which `%` and `_` are wildcards unless escaped.
fn matches(pattern: &str, schema: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => schema.is_empty(),
        Some('%') => {
            let rest = letters.as_str();
            schema
                .char_indices()
                .any(|(at, _)| schema.get(at..).is_some_and(|tail| matches(rest, tail)))
                || matches(rest, "")
        }
        Some(letter) => {
            let (wanted, rest, any) = match letter {
                '\\' => {
                    let escaped = letters.next();
                    (escaped.unwrap_or('\\'), letters.as_str(), false)
                }
                plain => (plain, letters.as_str(), plain == '_'),
            };
            let mut subject = schema.chars();
            subject.next().is_some_and(|found| any || found == wanted)
                && matches(rest, subject.as_str())
        }
    }
}

pub(super) fn checks(facts: &Facts, database: &DatabaseFacts) -> Vec<Check> {
    const NAME: &str = "privileges";
    let Some(privileges) = &database.privileges else {
        return vec![Check::not_good(
            NAME,
            Verdict::Unknown,
            "the server does not tell what this account may do",
            "Missing rights will show when they are needed.",
            "compare with: headwater grants",
        )];
    };
    let lacking = lacking(facts, database, privileges);
    if lacking.is_empty() {
        return vec![Check::good(NAME, format!("{} may do all it needs", database.account))];
    }
    lacking
        .into_iter()
        .map(|(rights, on, why)| {
            Check::not_good(
                NAME,
                Verdict::Bad,
                format!("{} lacks {rights} on {on}", database.account),
                why,
                format!("GRANT {rights} ON {on} TO {};", database.account),
            )
        })
        .collect()
}

/// What is missing: the rights, on what, and what for.
fn lacking(
    facts: &Facts,
    database: &DatabaseFacts,
    privileges: &Privileges,
) -> Vec<(String, String, &'static str)> {
    let schema = &facts.database_name;
    let mut lacking = Vec::new();
    if facts.duties.capture {
        let (positions, also) = match database.server.flavor {
            Flavor::Mysql => ("REPLICATION CLIENT", "SUPER"),
            Flavor::Mariadb => ("BINLOG MONITOR", "REPLICATION CLIENT"),
        };
        if !privileges.globally("REPLICATION SLAVE") {
            lacking.push((
                "REPLICATION SLAVE".to_owned(),
                "*.*".to_owned(),
                "Without it the server does not send its binary log.",
            ));
        }
        if !privileges.globally(positions) && !privileges.globally(also) {
            lacking.push((
                positions.to_owned(),
                "*.*".to_owned(),
                "Without it nobody can ask where the binary log ends.",
            ));
        }
    }
    let tables = |right: &str| {
        privileges.on_schema(right, schema)
            || database.map.as_ref().is_some_and(|facts| {
                !facts.map.tables.is_empty()
                    && facts
                        .map
                        .tables
                        .keys()
                        .all(|table| privileges.on_table(right, schema, table))
            })
    };
    let rights: &[&str] =
        if facts.duties.apply { &["SELECT", "INSERT", "UPDATE", "DELETE"] } else { &["SELECT"] };
    let missing: Vec<&str> = rights.iter().copied().filter(|right| !tables(right)).collect();
    if !missing.is_empty() {
        let why = "Without it rows cannot be looked up, or written.";
        lacking.push((missing.join(", "), all_of(schema), why));
    }
    if facts.duties.apply {
        let state = &facts.state_schema;
        let missing: Vec<&str> = ["CREATE", "ALTER", "SELECT", "INSERT", "UPDATE", "DELETE"]
            .into_iter()
            .filter(|right| !privileges.on_schema(right, state))
            .collect();
        if !missing.is_empty() {
            let why = "Without it watermarks and what is set aside cannot be kept.";
            lacking.push((missing.join(", "), all_of(state), why));
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_servers_print_them() {
        let privileges = Privileges::parse(&[
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `h`@`%` IDENTIFIED BY PASSWORD '*A'"
                .to_owned(),
            "GRANT SELECT ON `open\\_mrs`.* TO `h`@`%`".to_owned(),
            "GRANT INSERT ON `open\\_mrs`.`obs` TO `h`@`%`".to_owned(),
            "GRANT ALL PRIVILEGES ON `head%`.* TO `h`@`%` WITH GRANT OPTION".to_owned(),
            "GRANT `r`@`%` TO `h`@`%`".to_owned(),
            "GRANT UPDATE ON `a.b`.` TO ``c` TO `h`@`%`".to_owned(),
        ]);
        assert!(privileges.globally("REPLICATION SLAVE"));
        assert!(!privileges.globally("SELECT"));
        assert!(privileges.on_schema("SELECT", "open_mrs"));
        assert!(!privileges.on_schema("SELECT", "openXmrs"));
        assert!(privileges.on_table("INSERT", "open_mrs", "obs"));
        assert!(!privileges.on_table("INSERT", "open_mrs", "orders"));
        assert!(!privileges.on_schema("INSERT", "open_mrs"));
        assert!(privileges.on_schema("CREATE", "headwater"));
        assert!(!privileges.on_schema("CREATE", "other"));
        assert!(privileges.on_table("UPDATE", "a.b", " TO `c"));
    }
}
