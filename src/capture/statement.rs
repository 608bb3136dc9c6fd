//! What a statement in the log means to capture. Rows come as rows; a statement either marks a
//! transaction, changes the schema, or is a change whose rows are not there.

use super::words::{Here, Mentions, Word, Words, readings, words};

/// The kinds of statement that a log in row format holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// A transaction begins.
    Begin,
    /// It is committed.
    Commit,
    /// It is rolled back.
    Rollback,
    /// A savepoint is set, or given up.
    Savepoint,
    /// A part of the transaction is rolled back.
    RollbackToSavepoint,
    /// `XA START`, `XA END`, `XA COMMIT`, `XA ROLLBACK`.
    Xa,
    /// Rows of the tables it names may have come or gone without being in the log: `TRUNCATE`, tables
    /// dropped, replaced or renamed, partitions and tablespaces put in or taken out, `ALTER IGNORE`.
    Rowless,
    /// Rows changed, and the log has the statement in their place. What it changed beside the tables
    /// it names is not known: triggers, functions and views do not show.
    InPlaceOfRows,
    /// Anything else: definitions of tables, users, and so on.
    Definition,
}

impl Statement {
    /// Reads as much of a statement as tells its kind. One that could be read in several ways is of
    /// the kind that could lose the most.
    pub fn read(sql: &str) -> Statement {
        let kinds: Vec<Statement> = readings(sql).map(kind).collect();
        let usual = kinds.first().copied().unwrap_or(Statement::Definition);
        [Statement::Rowless, Statement::InPlaceOfRows]
            .into_iter()
            .find(|worst| kinds.contains(worst))
            .unwrap_or(usual)
    }
}

fn kind(words: Words<'_>) -> Statement {
    let mut head = words.clone();
    let mut keyword = || match head.next() {
        Some(word) if !word.quoted => word.text.to_ascii_uppercase(),
        Some(_) | None => String::new(),
    };
    let (first, second) = (keyword(), keyword());
    let behind_verb: Vec<_> = words.clone().skip(1).take(3).collect();
    match (first.as_str(), second.as_str()) {
        ("BEGIN", _) | ("START", "TRANSACTION") => Statement::Begin,
        ("COMMIT", _) => Statement::Commit,
        ("ROLLBACK", "TO") => Statement::RollbackToSavepoint,
        ("ROLLBACK", _) => Statement::Rollback,
        ("SAVEPOINT" | "RELEASE", _) => Statement::Savepoint,
        ("XA", _) => Statement::Xa,
        ("TRUNCATE", _) | ("RENAME", "TABLE" | "TABLES") => Statement::Rowless,
        ("DROP", _) if is_of_lasting(&behind_verb, &["TABLE", "TABLES", "DATABASE", "SCHEMA"]) => {
            Statement::Rowless
        }
        ("ALTER", _)
            if words.behind_alter_table().is_some()
                && (takes_rows(words.clone())
                    || !renamed_by(words.clone(), true, "").is_empty()) =>
        {
            Statement::Rowless
        }
        ("CREATE", _) if fills(words) => Statement::InPlaceOfRows,
        ("CREATE", "OR") if is_of_lasting(&behind_verb, &["TABLE"]) => Statement::Rowless,
        // A function that a query or an assignment calls is logged as a query.
        (
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "SELECT" | "DO" | "CALL",
            _,
        ) => Statement::InPlaceOfRows,
        // MariaDB: ANALYZE UPDATE ... does what it analyses.
        ("ANALYZE", "FORMAT" | "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" | "SELECT") => {
            Statement::InPlaceOfRows
        }
        _ => Statement::Definition,
    }
}

/// Whether an `ALTER TABLE` takes rows out of the table, or puts others in.
fn takes_rows(words: Words<'_>) -> bool {
    // With IGNORE, rows that a new key or type does not allow are dropped.
    let ignores = words.clone().skip(1).take(2).any(|word| word.is("IGNORE"));
    let mut before: Option<Word<'_>> = None;
    let mut moves = words.into_iter().filter(|word| {
        let after = |verbs: &[&str]| {
            before.as_ref().is_some_and(|verb| verbs.iter().any(|name| verb.is(name)))
        };
        let verbs = ["TRUNCATE", "DROP", "EXCHANGE", "IMPORT", "DISCARD", "CONVERT"];
        let found = (after(&verbs) && (word.is("PARTITION") || word.is("TABLESPACE")))
            // MariaDB: a table becomes a partition.
            || (after(&["CONVERT"]) && word.is("TABLE"));
        before = Some(word.clone());
        found
    });
    ignores || moves.next().is_some()
}

/// Whether a `CREATE TABLE` also fills the table. A log of rows has the definition alone.
fn fills(words: Words<'_>) -> bool {
    let head: Vec<_> = words.clone().skip(1).take(3).collect();
    if !is_of_lasting(&head, &["TABLE"]) {
        return false;
    }
    let mut before_is_values = false;
    for word in words.skip_while(|word| !word.is("TABLE")).skip(1) {
        // As in VALUES ROW(1), but not in VALUES LESS THAN (1), nor in VALUES IN (1).
        let rows = before_is_values && !word.is("LESS") && !word.is("IN");
        if rows || word.is("SELECT") || word.is("TABLE") {
            return true;
        }
        before_is_values = word.is("VALUES");
    }
    before_is_values
}

/// Whether a statement mentions a table of `database`, by itself or as `database.table`.
pub fn mentions(sql: &str, schema: &str, database: &str, table: &str) -> bool {
    Mentions::read(sql, schema, database).table(table)
}

/// Whether a statement is of the kinds that define tables, of whatever name. Temporary ones are not
/// the tables that they are named like.
pub(super) fn defines_tables(sql: &str) -> bool {
    readings(sql).any(|mut words| {
        let first = words.next();
        // As in CREATE OR REPLACE TABLE, or ALTER ONLINE IGNORE TABLE.
        let head: Vec<_> = words.take(3).collect();
        first.is_some_and(|first| is_one_of(&first, &["ALTER", "CREATE", "DROP", "RENAME"]))
            && is_of_lasting(&head, &["TABLE", "TABLES", "DATABASE", "SCHEMA"])
    })
}

fn is_one_of(word: &Word<'_>, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| word.is(keyword))
}

/// Whether the words behind a verb speak of one of these things, and not of a temporary one.
fn is_of_lasting(head: &[Word<'_>], things: &[&str]) -> bool {
    // A table may be called TEMPORARY too.
    let mut before = head.iter().take_while(|word| !is_one_of(word, things));
    head.iter().any(|word| is_one_of(word, things)) && !before.any(|word| word.is("TEMPORARY"))
}

/// No server has longer names of tables.
const NAME_BYTES_MAX: usize = 64;

/// What a table is called before and after a statement.
type Renamed = (Here, Here);

/// The tables that a statement gives other names.
fn renamed(sql: &str, schema: &str, database: &str) -> Vec<Renamed> {
    let inside = schema.to_lowercase() == database.to_lowercase();
    readings(sql).flat_map(|words| renamed_by(words, inside, database)).collect()
}

/// The same, of a statement run in the database (`inside`) or in another.
fn renamed_by(mut words: Words<'_>, inside: bool, database: &str) -> Vec<Renamed> {
    let verb = words.next();
    let is_verb = |keyword| verb.as_ref().is_some_and(|verb| verb.is(keyword));
    // As in ALTER ONLINE IGNORE TABLE.
    if !(is_verb("RENAME") || is_verb("ALTER"))
        || !words.by_ref().take(3).any(|word| is_one_of(&word, &["TABLE", "TABLES"]))
    {
        return Vec::new();
    }
    let mut behind = words.clone();
    if behind.next().is_some_and(|word| word.is("IF"))
        && behind.next().is_some_and(|word| word.is("EXISTS"))
    {
        words = behind;
    }
    let mut renamed = Vec::new();
    if is_verb("RENAME") {
        while let Some(from) = words.table(inside, database) {
            words.any(|word| word.is("TO"));
            renamed.extend(words.table(inside, database).map(|to| (from, to)));
        }
        return renamed;
    }
    let from = words.table(inside, database).flatten();
    while words.any(|word| word.is("RENAME")) {
        let mut behind = words.clone();
        match behind.next() {
            Some(word) if is_one_of(&word, &["COLUMN", "INDEX", "KEY"]) => continue,
            Some(word) if is_one_of(&word, &["TO", "AS"]) => words = behind,
            Some(_) | None => {}
        }
        renamed.extend(words.table(inside, database).map(|to| (from.clone(), to)));
    }
    renamed
}

/// Whether a statement that is [`Statement::Rowless`] brings rows to a table of `database` or takes
/// them away. A copy that one of the tools for changing tables puts in the place of the original has
/// the same rows, which the log has as rows of the original.
pub(super) fn moves_rows(sql: &str, schema: &str, database: &str, table: &str) -> bool {
    if drops_database(sql, database) {
        return true;
    }
    let renamed = renamed(sql, schema, database);
    if renamed.is_empty() {
        return Mentions::defined(sql, schema, database).table(table);
    }
    let table = table.to_lowercase();
    let is_it = |name: &Here| name.as_deref() == Some(table.as_str());
    let gone = renamed.iter().any(|(from, _)| is_it(from));
    match renamed.iter().find(|(_, to)| is_it(to)) {
        Some((Some(from), _)) => !is_copy_of(from, &table),
        Some((None, _)) => true,
        None => {
            gone || (takes_rows(words(sql)) && Mentions::read(sql, schema, database).table(&table))
        }
    }
}

/// Whether a table is called as gh-ost (`_obs_gho`), pt-online-schema-change (`_obs_new`, or more of
/// `_`) and others (`lhmn_obs`) call the copy that they make of another. They shorten long names.
fn is_copy_of(copy: &str, table: &str) -> bool {
    let behind = copy.strip_prefix('_').map(|rest| rest.trim_start_matches('_'));
    let marked =
        behind.and_then(|rest| rest.strip_suffix("_gho").or_else(|| rest.strip_suffix("_new")));
    let original = copy.strip_prefix("lhmn_").or(marked);
    original.is_some_and(|original| {
        original == table || (copy.len() == NAME_BYTES_MAX && table.starts_with(original))
    })
}

/// Whether a statement takes all tables of a database away.
pub(super) fn drops_database(sql: &str, database: &str) -> bool {
    readings(sql).any(|mut words| {
        words.next().is_some_and(|word| word.is("DROP"))
            && words.next().is_some_and(|word| word.is("DATABASE") || word.is("SCHEMA"))
            && words.any(|word| word.names(database))
    })
}

/// Which transaction an `XA COMMIT` or an `XA ROLLBACK` (`verb`) ends, as [`xid`] writes it.
pub(super) fn xa_ended(sql: &str, verb: &str) -> Option<String> {
    let mut head = words(sql);
    let ends = head.next().is_some_and(|word| word.is("XA"))
        && head.next().is_some_and(|word| word.is(verb));
    let at = sql.find("X'").filter(|_| ends)?;
    let id = sql.get(at..)?.split_ascii_whitespace().next()?;
    Some(id.to_ascii_lowercase())
}

/// The name of an XA transaction, as servers log it in small letters.
pub(super) fn xid(format: u32, global: &[u8], branch: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    format!("x'{}',x'{}',{format}", hex(global).concat(), hex(branch).concat())
}

/// Whether a statement's rows follow it in the same transaction, as those of MySQL's
/// `CREATE TABLE ... SELECT` do.
pub(super) fn starts_transaction(sql: &str) -> bool {
    readings(sql).any(|words| {
        let mut head = words.clone();
        let creates = head.next().is_some_and(|word| word.is("CREATE"));
        let head: Vec<_> = head.take(3).collect();
        let end = words.fold([false; 2], |[_, start], word| {
            [start && word.is("TRANSACTION"), word.is("START")]
        });
        creates && is_of_lasting(&head, &["TABLE"]) && end == [true, false]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        for (sql, expected) in [
            ("BEGIN", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK", Statement::Rollback),
            ("ROLLBACK TO `a`", Statement::RollbackToSavepoint),
            ("SAVEPOINT `a`", Statement::Savepoint),
            ("XA COMMIT X'01',X'',1", Statement::Xa),
            ("/* ours */ truncate table obs", Statement::Rowless),
            ("insert into obs values (1)", Statement::InPlaceOfRows),
            ("ALTER TABLE obs ADD x INT", Statement::Definition),
            ("ALTER TABLE obs TRUNCATE PARTITION p1", Statement::Rowless),
            ("alter table obs drop partition p1", Statement::Rowless),
            ("ALTER TABLE obs DROP COLUMN `partition`", Statement::Definition),
            ("ALTER TABLE obs DROP `partition`", Statement::Definition),
            ("ALTER TABLE obs CONVERT TO CHARACTER SET utf8mb4", Statement::Definition),
            ("ALTER TABLE obs CONVERT PARTITION p TO TABLE o", Statement::Rowless),
            (
                "ALTER TABLE obs CONVERT TABLE o TO PARTITION p VALUES LESS THAN (9)",
                Statement::Rowless,
            ),
            ("ALTER TABLE obs EXCHANGE PARTITION p WITH TABLE o", Statement::Rowless),
            ("ALTER TABLE obs DISCARD PARTITION p TABLESPACE", Statement::Rowless),
            ("ALTER TABLE obs IMPORT TABLESPACE", Statement::Rowless),
            ("ALTER ONLINE IGNORE TABLE obs ADD UNIQUE (a)", Statement::Rowless),
            ("DROP TABLE IF EXISTS `obs` /* generated by server */", Statement::Rowless),
            ("DROP TEMPORARY TABLE obs", Statement::Definition),
            ("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `obs`", Statement::Definition),
            ("DROP TABLE temporary", Statement::Rowless),
            ("DROP DATABASE openmrs", Statement::Rowless),
            ("DROP VIEW obs", Statement::Definition),
            ("CREATE OR REPLACE TABLE obs (a INT)", Statement::Rowless),
            ("CREATE OR REPLACE TEMPORARY TABLE obs (a INT)", Statement::Definition),
            ("CREATE OR REPLACE VIEW obs AS SELECT 1", Statement::Definition),
            ("RENAME TABLE a TO b", Statement::Rowless),
            ("RENAME USER a TO b", Statement::Definition),
            ("ALTER TABLE obs RENAME TO b", Statement::Rowless),
            ("ALTER EVENT e DO ALTER TABLE obs DROP PARTITION p", Statement::Definition),
            ("ALTER DEFINER=`a`@`b` EVENT e DO TRUNCATE obs", Statement::Definition),
            ("ALTER EVENT e RENAME TO f", Statement::Definition),
            ("ALTER TABLE obs RENAME COLUMN a TO b", Statement::Definition),
            ("-- don't\nTRUNCATE obs", Statement::Rowless),
            ("# don't\nTRUNCATE obs", Statement::Rowless),
            ("/*M!100100 TRUNCATE obs */", Statement::Rowless),
            ("/*!99999 ANALYZE TABLE x */ TRUNCATE obs", Statement::Rowless),
            ("SET STATEMENT max_statement_time = 0 FOR TRUNCATE obs", Statement::Rowless),
            ("SET PASSWORD FOR a = 'b'", Statement::Definition),
            ("SELECT `openmrs`.`f`()", Statement::InPlaceOfRows),
            ("LOAD DATA INFILE 'x' INTO TABLE obs", Statement::InPlaceOfRows),
            ("ANALYZE UPDATE obs SET a = 1", Statement::InPlaceOfRows),
            ("CREATE TABLE a SELECT * FROM obs", Statement::InPlaceOfRows),
            ("create or replace table a (b int) as select 1", Statement::InPlaceOfRows),
            ("CREATE TABLE a (`select` INT) VALUES ROW(1)", Statement::InPlaceOfRows),
            ("CREATE TABLE a AS VALUES (1)", Statement::InPlaceOfRows),
            ("CREATE TABLE temporary SELECT * FROM obs", Statement::InPlaceOfRows),
            ("CREATE TABLE a AS TABLE obs", Statement::InPlaceOfRows),
            ("CREATE TABLE `a` (\n  `select` int\n) START TRANSACTION", Statement::Definition),
            ("CREATE TABLE a LIKE obs", Statement::Definition),
            (
                "CREATE TABLE a (b INT) PARTITION BY RANGE (b) (PARTITION p VALUES LESS THAN (1))",
                Statement::Definition,
            ),
            ("CREATE TEMPORARY TABLE a SELECT * FROM obs", Statement::Definition),
            ("CREATE VIEW v AS SELECT * FROM obs", Statement::Definition),
            ("ANALYZE TABLE obs", Statement::Definition),
            ("/*!40000 ALTER TABLE obs */", Statement::Definition),
            ("", Statement::Definition),
        ] {
            assert_eq!(Statement::read(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_table_is_found_by_name_and_not_in_strings() {
        let found = |sql| mentions(sql, "openmrs", "openmrs", "obs");
        assert!(found("TRUNCATE TABLE obs"));
        assert!(found("TRUNCATE TABLE `openmrs`.`obs`"));
        assert!(!found("INSERT INTO x VALUES ('obs')"));
        assert!(!found("TRUNCATE TABLE obs_group"));
        assert!(mentions("TRUNCATE `openmrs`.obs", "mysql", "openmrs", "obs"));
        assert!(!mentions("TRUNCATE obs", "mysql", "openmrs", "obs"));
        assert!(mentions("ALTER TABLE `my-table` ADD x INT", "openmrs", "openmrs", "my-table"));
        assert!(mentions("alter table OBS add x int", "openmrs", "openmrs", "obs"));
        assert!(mentions("RENAME TABLE a TO b, `_obs_gho` TO `obs`", "openmrs", "openmrs", "obs"));
    }

    #[test]
    fn what_only_mentions_a_table_does_not_define_it() {
        for sql in [
            "ALTER TABLE obs ADD x INT",
            "CREATE OR REPLACE TABLE obs (x INT)",
            "rename table a to obs",
            "DROP DATABASE openmrs",
            "ALTER TABLE temporary RENAME TO obs",
            "ALTER ONLINE IGNORE TABLE obs FORCE",
            "SET STATEMENT lock_wait_timeout = 1 FOR ALTER TABLE obs ADD a INT",
            "-- a note\nALTER TABLE obs ADD a INT",
        ] {
            assert!(defines_tables(sql), "{sql}");
        }
        for sql in [
            "ANALYZE TABLE obs",
            "OPTIMIZE TABLE obs",
            "GRANT SELECT ON obs TO a",
            "CREATE INDEX i ON obs (x)",
            "CREATE DEFINER=`a`@`b` TRIGGER t AFTER INSERT ON obs FOR EACH ROW SET @a = 1",
            "CREATE VIEW v AS SELECT * FROM obs",
            "DROP TRIGGER t",
            "DROP TEMPORARY TABLE IF EXISTS `openmrs`.`obs` /* generated by server */",
            "CREATE OR REPLACE TEMPORARY TABLE obs (a INT)",
        ] {
            assert!(!defines_tables(sql), "{sql}");
        }
    }

    #[test]
    fn what_brings_rows_or_takes_them_is_told_from_what_renames() {
        let moves = |sql| moves_rows(sql, "openmrs", "openmrs", "obs");
        for sql in [
            "TRUNCATE obs",
            "DROP TABLE x, `openmrs`.`OBS`",
            "DROP SCHEMA openmrs",
            "CREATE OR REPLACE TABLE obs (a INT)",
            "RENAME TABLE obs TO obs_old",
            "RENAME TABLE IF EXISTS obs WAIT 5 TO obs_old",
            "RENAME TABLE obs TO other.obs",
            "RENAME TABLE other._obs_new TO obs",
            "RENAME TABLE obs TO obs_old, obs_new TO obs",
            "RENAME TABLE obs TO t, person TO obs, t TO person",
            "ALTER TABLE obs ADD x INT, RENAME AS obs_old",
            "ALTER TABLE obs RENAME COLUMN a TO b, RENAME openmrs.obs_old",
            "ALTER TABLE _obs_old RENAME obs_old, DROP PARTITION obs",
            "alter table obs rename `to`",
            "RENAME TABLE obs TO _obs_bad, _obs_old TO obs",
            "RENAME TABLE obs TO x, _obs_group_new TO obs",
            "RENAME TABLE obs TO x, obs_new TO obs",
            "RENAME TABLE `openmrs` . `obs` TO `openmrs` . `x`",
            "RENAME TABLE .obs TO .x",
            "ALTER TABLE openmrs /* ours */ . obs RENAME x",
        ] {
            assert!(moves(sql), "{sql}");
        }
        for sql in [
            "DROP TABLE _obs_old, obs_group",
            "DROP TABLE other.obs",
            "DROP DATABASE other",
            "CREATE OR REPLACE TABLE note (obs INT, FOREIGN KEY (obs) REFERENCES obs (obs_id))",
            "RENAME TABLE obs TO _obs_del, _obs_gho TO obs",
            "RENAME TABLE `openmrs`.`obs` TO `openmrs`.`_obs_old`, `openmrs`.`_obs_new` TO `openmrs`.`obs`",
            "RENAME TABLE obs TO lhma_2026_obs, lhmn_obs TO obs",
            "RENAME TABLE other.obs TO other.obs_old",
            "ALTER TABLE obs_group RENAME INDEX obs TO x, RENAME TO obs_groups",
        ] {
            assert!(!moves(sql), "{sql}");
        }
        let long = "a_name_that_is_rather_long_and_needs_to_be_made_shorter_by_tools";
        let known: String = long.chars().take(59).collect();
        let shorter = format!("_{known}_gho");
        assert_eq!((long.len(), shorter.len()), (64, 64));
        let swap = format!("RENAME TABLE {long} TO x, {shorter} TO {long}");
        assert!(!moves_rows(&swap, "openmrs", "openmrs", long));
        assert!(moves_rows("RENAME TABLE openmrs.obs TO x", "mysql", "openmrs", "obs"));
        assert!(!moves_rows("RENAME TABLE obs TO x", "mysql", "openmrs", "obs"));
    }

    #[test]
    fn an_xa_transaction_is_known_by_its_name() {
        let name = xid(1, b"p1", b"");
        assert_eq!(xa_ended("XA COMMIT X'7031',X'',1", "COMMIT").as_deref(), Some(name.as_str()));
        assert_eq!(
            xa_ended("XA ROLLBACK X'7031',X'',1", "ROLLBACK").as_deref(),
            Some(name.as_str())
        );
        assert_eq!(xa_ended("XA COMMIT X'7031',X'',1 ONE PHASE", "COMMIT"), Some(name));
        assert_eq!(xa_ended("XA ROLLBACK X'7031',X'',1", "COMMIT"), None);
        assert_eq!(xa_ended("XA COMMIT", "COMMIT"), None);
    }

    #[test]
    fn a_database_dropped_takes_its_tables_along() {
        assert!(drops_database("DROP DATABASE IF EXISTS `openmrs`", "openmrs"));
        assert!(drops_database("/* x */ drop schema openmrs", "openmrs"));
        assert!(!drops_database("DROP TABLE openmrs.obs", "openmrs"));
        assert!(drops_database("DROP DATABASE \"openmrs\"", "openmrs"));
        assert!(!drops_database("DROP DATABASE other", "openmrs"));
    }

    #[test]
    fn rows_follow_a_table_created_from_a_query() {
        assert!(starts_transaction("CREATE TABLE `a` (\n `b` int\n) START TRANSACTION"));
        // With NO_BACKSLASH_ESCAPES.
        assert!(starts_transaction(r"CREATE TABLE a (b int) COMMENT 'C:\' START TRANSACTION"));
        assert!(!starts_transaction("CREATE TABLE a (b int)"));
        assert!(!starts_transaction("CREATE TABLE a (b int) -- START TRANSACTION"));
        assert!(!starts_transaction("CREATE PROCEDURE p() START TRANSACTION"));
        assert!(!starts_transaction("CREATE DEFINER=`a`@`b` PROCEDURE p() START TRANSACTION"));
    }
}
