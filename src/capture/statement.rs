//! What a statement in the log means to capture. Rows come as rows; a statement either marks a
//! transaction, changes the schema, or is a change whose rows are not there.

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
    /// Rows changed without being in the log: statement format, or `TRUNCATE`.
    Rowless,
    /// Anything else: definitions of tables, users, and so on.
    Definition,
}

impl Statement {
    /// Reads as much of a statement as tells its kind.
    pub fn read(sql: &str) -> Statement {
        let mut words = words(sql);
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let second = words.next().unwrap_or_default().to_ascii_uppercase();
        match (first.as_str(), second.as_str()) {
            ("BEGIN", _) | ("START", "TRANSACTION") => Statement::Begin,
            ("COMMIT", _) => Statement::Commit,
            ("ROLLBACK", "TO") => Statement::RollbackToSavepoint,
            ("ROLLBACK", _) => Statement::Rollback,
            ("SAVEPOINT" | "RELEASE", _) => Statement::Savepoint,
            ("XA", _) => Statement::Xa,
            ("INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "TRUNCATE" | "WITH", _) => {
                Statement::Rowless
            }
            ("ALTER", _) if takes_rows(words) => Statement::Rowless,
            _ => Statement::Definition,
        }
    }
}

/// Whether what follows `ALTER TABLE` takes rows out of the table, or puts others in.
fn takes_rows<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut before = String::new();
    for word in words.map(str::to_ascii_uppercase) {
        let verb =
            matches!(before.as_str(), "TRUNCATE" | "DROP" | "EXCHANGE" | "IMPORT" | "DISCARD");
        if verb && matches!(word.as_str(), "PARTITION" | "TABLESPACE") {
            return true;
        }
        before = word;
    }
    false
}

/// Whether a statement mentions a table of `database`, by itself or as `database.table`.
pub fn mentions(sql: &str, schema: &str, database: &str, table: &str) -> bool {
    // A server that ignores the case of names logs them as they were written.
    let mut previous = "";
    for name in words(sql) {
        if name.eq_ignore_ascii_case(table) {
            let qualified = previous.eq_ignore_ascii_case(database);
            if qualified || (!previous.is_empty() && schema.eq_ignore_ascii_case(database)) {
                return true;
            }
        }
        previous = name;
    }
    false
}

/// Whether a statement is of the kinds that define tables, of whatever name.
pub(super) fn defines_tables(sql: &str) -> bool {
    let mut words = words(sql).map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    let what = ["TABLE", "TABLES", "DATABASE", "SCHEMA"];
    // As in CREATE OR REPLACE TABLE, or ALTER ONLINE IGNORE TABLE.
    matches!(first.as_str(), "ALTER" | "CREATE" | "DROP" | "RENAME")
        && words.take(3).any(|word| what.contains(&word.as_str()))
}

/// Whether a statement takes all tables of a database away.
pub(super) fn drops_database(sql: &str, database: &str) -> bool {
    let mut words = words(sql);
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    first.eq_ignore_ascii_case("DROP")
        && (second.eq_ignore_ascii_case("DATABASE") || second.eq_ignore_ascii_case("SCHEMA"))
        && words.any(|word| word.eq_ignore_ascii_case(database))
}

/// Whether a statement's rows follow it in the same transaction, as those of MySQL's
/// `CREATE TABLE ... SELECT` do.
pub(super) fn starts_transaction(sql: &str) -> bool {
    let end: Vec<&str> = sql.split_ascii_whitespace().rev().take(2).collect();
    matches!(end.as_slice(), [last, before] if last.eq_ignore_ascii_case("TRANSACTION")
        && before.eq_ignore_ascii_case("START"))
}

/// The identifiers and keywords of a statement, without quotes, strings or comments.
pub(super) fn words(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches(|letter: char| !starts_word(letter));
            let first = rest.chars().next()?;
            if let Some(after) = rest.strip_prefix("/*") {
                // `/*!40000 ... */` is executed: its words count, its number does not.
                rest = match after.strip_prefix('!') {
                    Some(executed) => {
                        executed.trim_start_matches(|letter: char| letter.is_ascii_digit())
                    }
                    None => after.split_once("*/").map_or("", |(_, after)| after),
                };
                continue;
            }
            if first == '/' {
                rest = rest.strip_prefix('/')?;
                continue;
            }
            if first == '\'' || first == '"' {
                rest = after_string(rest.strip_prefix(first)?, first);
                continue;
            }
            if let Some(after) = rest.strip_prefix('`') {
                let (name, after) = after.split_once('`').unwrap_or((after, ""));
                rest = after;
                return Some(name);
            }
            let end = rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end)?;
            rest = after;
            return Some(word);
        }
    })
}

fn starts_word(letter: char) -> bool {
    is_word(letter) || matches!(letter, '/' | '\'' | '"' | '`')
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (index, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return text.get(index + letter.len_utf8()..).unwrap_or_default();
        }
    }
    ""
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
            ("insert into obs values (1)", Statement::Rowless),
            ("ALTER TABLE obs ADD x INT", Statement::Definition),
            ("ALTER TABLE obs TRUNCATE PARTITION p1", Statement::Rowless),
            ("alter table obs drop partition p1", Statement::Rowless),
            ("ALTER TABLE obs DROP COLUMN `partition`", Statement::Definition),
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
            "ALTER ONLINE IGNORE TABLE obs FORCE",
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
        ] {
            assert!(!defines_tables(sql), "{sql}");
        }
    }

    #[test]
    fn a_database_dropped_takes_its_tables_along() {
        assert!(drops_database("DROP DATABASE IF EXISTS `openmrs`", "openmrs"));
        assert!(drops_database("/* x */ drop schema openmrs", "openmrs"));
        assert!(!drops_database("DROP TABLE openmrs.obs", "openmrs"));
        assert!(!drops_database("DROP DATABASE other", "openmrs"));
    }

    #[test]
    fn rows_follow_a_table_created_from_a_query() {
        assert!(starts_transaction("CREATE TABLE `a` (\n `b` int\n) START TRANSACTION"));
        assert!(!starts_transaction("CREATE TABLE a (b int)"));
    }
}
