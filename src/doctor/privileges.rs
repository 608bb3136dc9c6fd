//! What the account may do, from what the server says it was granted.

use super::{Check, DatabaseFacts, Facts, Verdict};
use crate::database::name::Granting;
use crate::database::server::{Flavor, Server};

/// The rights of an account, as `SHOW GRANTS` lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileges {
    grants: Vec<Grant>,
    /// What of its rights on all schemas it does not have on some (MySQL's partial revokes).
    revoked: Vec<Grant>,
    names: Names,
}

/// How a server reads the names in grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Capital letters are the same as small ones.
    pub ignore_case: bool,
    /// What a schema's name may hold.
    pub granting: Granting,
}

impl Names {
    /// As this server does.
    pub fn of(server: &Server) -> Names {
        Names { ignore_case: server.ignores_case(), granting: Granting::of(server) }
    }

    fn read(self, name: &str) -> String {
        if self.ignore_case { name.to_lowercase() } else { name.to_owned() }
    }

    fn covers(self, pattern: &str, schema: &str) -> bool {
        let (pattern, schema) = (self.read(pattern), self.read(schema));
        match self.granting {
            Granting::Patterns => matches(&pattern, &schema),
            Granting::Names => pattern == schema,
        }
    }
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
    pub fn parse(lines: &[String], names: Names) -> Privileges {
        let read = |verb: &str| lines.iter().filter_map(|line| grant(line, verb)).collect();
        Privileges { grants: read("GRANT "), revoked: read("REVOKE "), names }
    }

    /// Whether the account has a right on everything.
    pub fn globally(&self, right: &str) -> bool {
        self.grants.iter().any(|grant| grant.schema.is_none() && grant.gives(right))
    }

    /// Whether the account has a right on every table of a schema.
    pub fn on_schema(&self, right: &str, schema: &str) -> bool {
        self.grants.iter().any(|grant| grant.table.is_none() && self.holds(grant, right, schema))
    }

    /// Whether the account has a right on one table.
    pub fn on_table(&self, right: &str, schema: &str, table: &str) -> bool {
        let names = self.names;
        let same = |only: &String| names.read(only) == names.read(table);
        self.grants
            .iter()
            .any(|grant| grant.table.as_ref().is_none_or(same) && self.holds(grant, right, schema))
    }

    /// Whether a grant gives a right on what it names in a schema.
    fn holds(&self, grant: &Grant, right: &str, schema: &str) -> bool {
        // A revoke takes nothing of what was granted on the schema itself, and names it as it is.
        let revoked = || {
            let here = |revoked: &Grant| {
                let named = revoked.schema.as_deref();
                named.is_some_and(|named| self.names.read(named) == self.names.read(schema))
            };
            self.revoked.iter().any(|revoked| here(revoked) && revoked.gives(right))
        };
        grant.gives(right)
            && match &grant.schema {
                Some(pattern) => self.names.covers(pattern, schema),
                None => !revoked(),
            }
    }
}

impl Grant {
    fn gives(&self, right: &str) -> bool {
        self.rights
            .iter()
            .any(|given| given == right || given == "ALL PRIVILEGES" || given == "ALL")
    }
}

/// ``GRANT SELECT, INSERT ON `open\_mrs`.* TO `u`@`%` ``
fn grant(line: &str, verb: &str) -> Option<Grant> {
    let rest = line.strip_prefix(verb)?;
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

/// The right to ask a server of this version where its log ends.
pub(crate) fn to_ask_for_positions(flavor: Flavor, version: (u16, u16, u16)) -> &'static str {
    match flavor {
        Flavor::Mariadb if version >= (10, 5, 2) => "BINLOG MONITOR",
        Flavor::Mysql | Flavor::Mariadb => "REPLICATION CLIENT",
    }
}

/// Whether a server of this version lets only those read rows behind locks (`LOCK IN SHARE MODE`) who may
/// also lock tables, or change them.
pub(crate) fn locks_to_read(flavor: Flavor, version: (u16, u16, u16)) -> bool {
    flavor == Flavor::Mysql && ((8, 0, 0)..(8, 0, 22)).contains(&version)
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
    let granting = Granting::of(&database.server);
    let mut lacking = Vec::new();
    if facts.duties.capture {
        let server = &database.server;
        let positions = to_ask_for_positions(server.flavor, server.version);
        // As it was called before, or what comprises it.
        let also = if positions == "BINLOG MONITOR" { "REPLICATION CLIENT" } else { "SUPER" };
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
        lacking.push((missing.join(", "), granting.all_of(schema), why));
    }
    let locks = ["LOCK TABLES", "UPDATE", "DELETE"];
    let server = &database.server;
    if facts.duties.capture
        && locks_to_read(server.flavor, server.version)
        && !locks.into_iter().any(tables)
    {
        let why = "Without it rows that the parent asks for cannot be read: before 8.0.22 this server \
                   wants it of those who read behind locks.";
        lacking.push(("LOCK TABLES".to_owned(), granting.all_of(schema), why));
    }
    if facts.duties.apply {
        let state = &facts.state_schema;
        let missing: Vec<&str> = ["CREATE", "ALTER", "SELECT", "INSERT", "UPDATE", "DELETE"]
            .into_iter()
            .filter(|right| !privileges.on_schema(right, state))
            .collect();
        if !missing.is_empty() {
            let why = "Without it watermarks and what is set aside cannot be kept.";
            lacking.push((missing.join(", "), granting.all_of(state), why));
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Names = Names { ignore_case: false, granting: Granting::Patterns };

    fn parsed(lines: &[&str], names: Names) -> Privileges {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Privileges::parse(&lines, names)
    }

    #[test]
    fn a_server_that_ignores_case_prints_names_in_other_letters_than_ours() {
        let lines =
            ["GRANT SELECT ON `openmrs`.* TO `h`@`%`", "GRANT INSERT ON `open`.`obs` TO `h`"];
        let privileges = parsed(&lines, Names { ignore_case: true, ..USUAL });
        assert!(privileges.on_schema("SELECT", "OpenMRS"));
        assert!(privileges.on_table("INSERT", "Open", "Obs"));
        let privileges = parsed(&lines, USUAL);
        assert!(!privileges.on_schema("SELECT", "OpenMRS"));
        assert!(!privileges.on_table("INSERT", "open", "Obs"));
    }

    /// As MySQL 9.7 prints and takes them.
    #[test]
    fn what_was_revoked_in_part_is_not_there() {
        let literal = Names { granting: Granting::Names, ..USUAL };
        let lines = [
            "GRANT SELECT, INSERT, UPDATE ON *.* TO `h`@`%`",
            "GRANT UPDATE ON `open_mrs`.* TO `h`@`%`",
            "GRANT DELETE ON `open\\_mrs`.* TO `h`@`%`",
            "REVOKE INSERT, UPDATE ON `open_mrs`.* FROM `h`@`%`",
        ];
        let privileges = parsed(&lines, literal);
        for (right, has) in
            [("SELECT", true), ("INSERT", false), ("UPDATE", true), ("DELETE", false)]
        {
            assert_eq!(privileges.on_schema(right, "open_mrs"), has, "{right}");
            assert_eq!(privileges.on_table(right, "open_mrs", "obs"), has, "{right}");
        }
        assert!(privileges.on_schema("INSERT", "openXmrs"));
        assert!(!privileges.on_schema("DELETE", "openXmrs"));
    }

    #[test]
    fn some_servers_let_only_those_read_behind_locks_who_may_lock() {
        for (version, expected) in
            [((5, 7, 44), false), ((8, 0, 11), true), ((8, 0, 21), true), ((8, 0, 22), false)]
        {
            assert_eq!(locks_to_read(Flavor::Mysql, version), expected, "{version:?}");
        }
        assert!(!locks_to_read(Flavor::Mariadb, (8, 0, 11)));
    }

    #[test]
    fn rights_are_read_as_servers_print_them() {
        let lines = [
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `h`@`%` IDENTIFIED BY PASSWORD '*A'"
                .to_owned(),
            "GRANT SELECT ON `open\\_mrs`.* TO `h`@`%`".to_owned(),
            "GRANT INSERT ON `open\\_mrs`.`obs` TO `h`@`%`".to_owned(),
            "GRANT ALL PRIVILEGES ON `head%`.* TO `h`@`%` WITH GRANT OPTION".to_owned(),
            "GRANT `r`@`%` TO `h`@`%`".to_owned(),
            "GRANT UPDATE ON `a.b`.` TO ``c` TO `h`@`%`".to_owned(),
        ];
        let privileges = Privileges::parse(&lines, USUAL);
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
