//! The identifiers and keywords of a statement. Servers and sessions differ in what a quotation mark,
//! a backslash and a comment are; a statement whose reading matters is read in every way it could be.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// An identifier or a keyword, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: Cow<'a, str>,
    /// A quoted word is no keyword.
    pub(super) quoted: bool,
    /// It stands right behind another and a dot.
    pub(super) qualified: bool,
    /// It stands behind a dot, wherever the word before that ends: as in `db . table`, or `TABLE .t`.
    pub(super) dotted: bool,
}

impl Word<'_> {
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        // A server that ignores the case of names logs them as they were written.
        self.text.to_lowercase() == name.to_lowercase()
    }
}

/// A table's name in small letters; `None` if it is one of another database.
pub(super) type Here = Option<String>;

/// One way to read a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dialect {
    /// `"` quotes names (`sql_mode = ANSI_QUOTES`), not strings.
    quotes_names: bool,
    /// `\` escapes what follows it in a string (not so with `NO_BACKSLASH_ESCAPES`).
    escapes: bool,
    /// `/*!50000 ... */` is executed, which depends on the server and its version.
    executes_comments: bool,
}

const USUAL: Dialect = Dialect { quotes_names: false, escapes: true, executes_comments: true };

/// All ways in which a statement could be read otherwise, after the usual one.
fn dialects(sql: &str) -> Vec<Dialect> {
    let mut dialects = vec![USUAL];
    let mut fork = |applies: bool, change: fn(&mut Dialect)| {
        if applies {
            for mut dialect in dialects.clone() {
                change(&mut dialect);
                dialects.push(dialect);
            }
        }
    };
    fork(sql.contains('"'), |dialect| dialect.quotes_names = true);
    fork(sql.contains('\\'), |dialect| dialect.escapes = false);
    fork(sql.contains("/*!") || sql.contains("/*M!"), |dialect| dialect.executes_comments = false);
    dialects
}

/// The words of a statement as it is usually read.
pub(super) fn words(sql: &str) -> Words<'_> {
    Words { rest: sql, dialect: USUAL, after_word: false }
}

/// The words of a statement, read in every way it could be.
pub(super) fn readings(sql: &str) -> impl Iterator<Item = Words<'_>> {
    dialects(sql).into_iter().map(move |dialect| {
        let words = Words { rest: sql, dialect, after_word: false };
        // MariaDB: SET STATEMENT variable = value FOR statement.
        let mut inner = words.clone();
        let set = inner.next().is_some_and(|word| word.is("SET"))
            && inner.next().is_some_and(|word| word.is("STATEMENT"))
            && inner.any(|word| word.is("FOR"));
        if set { inner } else { words }
    })
}

/// The names in a statement that could be those of tables of one database.
#[derive(Debug)]
pub(super) struct Mentions {
    names: BTreeSet<String>,
    /// The statement was run in the database, or names it.
    pub(super) database: bool,
}

impl Mentions {
    /// Of a statement run with `schema` as its default database.
    pub(super) fn read(sql: &str, schema: &str, database: &str) -> Mentions {
        let (mut mentions, inside) = Mentions::none(schema, database);
        readings(sql).for_each(|words| mentions.add(words, inside, database));
        mentions
    }

    /// Of a statement that defines tables: without those that it only copies or refers to, and without
    /// the columns of those that it alters.
    pub(super) fn defined(sql: &str, schema: &str, database: &str) -> Mentions {
        let (mut mentions, inside) = Mentions::none(schema, database);
        for words in readings(sql) {
            match words.behind_alter_table() {
                Some(altered) => mentions.names.extend(altered.altered(inside, database)),
                None => mentions.add(made(&words, database).unwrap_or(words), inside, database),
            }
        }
        mentions
    }

    fn none(schema: &str, database: &str) -> (Mentions, bool) {
        let inside = schema.to_lowercase() == database.to_lowercase();
        (Mentions { names: BTreeSet::new(), database: inside }, inside)
    }

    fn add(&mut self, words: Words<'_>, inside: bool, database: &str) {
        let mut before: Option<Word<'_>> = None;
        for word in words {
            let owned = before.as_ref().is_some_and(|before| before.names(database));
            if owned || (inside && before.is_some() && !word.qualified) {
                self.names.insert(word.text.to_lowercase());
            }
            self.database |= word.names(database);
            before = Some(word);
        }
    }

    /// Whether a table is among them.
    pub(super) fn table(&self, table: &str) -> bool {
        self.names.contains(&table.to_lowercase())
    }
}

/// The words of a `CREATE TABLE` up to the name of the table that it makes. Whatever follows is of
/// that table, or names others that stay as they are (`LIKE`, `REFERENCES`, `SELECT`).
fn made<'a>(words: &Words<'a>, database: &str) -> Option<Words<'a>> {
    let mut rest = words.clone();
    if !rest.next()?.is("CREATE") {
        return None;
    }
    let mut word = rest.next()?;
    if word.is("OR") {
        rest.next().filter(|word| word.is("REPLACE"))?;
        word = rest.next()?;
    }
    if !word.is("TABLE") {
        return None;
    }
    word = rest.next()?;
    if word.is("IF") {
        rest.next().filter(|word| word.is("NOT"))?;
        rest.next().filter(|word| word.is("EXISTS"))?;
        word = rest.next()?;
    }
    let after_name = rest.clone();
    let qualified = rest.next().is_some_and(|next| next.qualified || word.names(database));
    let left = if qualified { rest.rest } else { after_name.rest };
    let end = words.rest.len().checked_sub(left.len())?;
    Some(Words { rest: words.rest.get(..end)?, ..*words })
}

/// Reads a statement word by word.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    rest: &'a str,
    dialect: Dialect,
    /// Nothing stands between the last word and what is left.
    after_word: bool,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let (mut qualified, mut dotted) = (false, false);
        loop {
            let first = self.rest.chars().next()?;
            let close = std::mem::take(&mut self.after_word);
            if first == '.' {
                qualified |= close;
                dotted = true;
            }
            if let Some(after) = self.comment() {
                self.rest = after;
                continue;
            }
            let after = self.rest.strip_prefix(first)?;
            match first {
                '`' => return Some(Word { qualified, dotted, ..self.name(after, first) }),
                '"' if self.dialect.quotes_names => {
                    return Some(Word { qualified, dotted, ..self.name(after, first) });
                }
                '\'' | '"' => self.rest = after_string(after, first, self.dialect.escapes),
                _ if is_word(first) => {
                    let end = self.rest.find(|letter| !is_word(letter)).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    self.after_word = true;
                    return Some(Word {
                        text: Cow::Borrowed(word),
                        quoted: false,
                        qualified,
                        dotted,
                    });
                }
                _ => self.rest = after,
            }
        }
    }
}

impl<'a> Words<'a> {
    /// The words behind `ALTER TABLE`, if it is one, as in `ALTER ONLINE IGNORE TABLE IF EXISTS`.
    pub(super) fn behind_alter_table(&self) -> Option<Words<'a>> {
        let mut rest = self.clone();
        rest.next().filter(|word| word.is("ALTER"))?;
        let is_option =
            |word: &Word<'_>| ["ONLINE", "OFFLINE", "IGNORE"].iter().any(|option| word.is(option));
        rest.by_ref().find(|word| !is_option(word)).filter(|word| word.is("TABLE"))?;
        let mut behind = rest.clone();
        let asks = behind.next().is_some_and(|word| word.is("IF"))
            && behind.next().is_some_and(|word| word.is("EXISTS"));
        Some(if asks { behind } else { rest })
    }

    /// The tables of `database` that what follows `ALTER TABLE` is about: the one that is altered, what
    /// it is called then, and those that become a part of it or were one.
    fn altered(mut self, inside: bool, database: &str) -> BTreeSet<String> {
        let mut names: BTreeSet<String> =
            self.table(inside, database).flatten().into_iter().collect();
        while let Some(word) = self.next() {
            let mut behind = self.clone();
            match behind.next() {
                Some(next) if word.is("RENAME") && (next.is("TO") || next.is("AS")) => {
                    self = behind;
                }
                // Of a column or an index, this is no table.
                Some(_) if word.is("RENAME") || word.is("TABLE") => {}
                Some(_) | None => continue,
            }
            names.extend(self.table(inside, database).flatten());
        }
        names
    }

    /// The table's name that comes next, if any word does.
    pub(super) fn table(&mut self, inside: bool, database: &str) -> Option<Here> {
        let word = self.next()?;
        let mut behind = self.clone();
        match behind.next().filter(|next| next.dotted) {
            Some(next) => {
                *self = behind;
                Some(word.names(database).then(|| next.text.to_lowercase()))
            }
            None => Some(inside.then(|| word.text.to_lowercase())),
        }
    }

    /// The text behind the last word.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// What follows the comment that stands here, or the opening of one that is executed.
    fn comment(&self) -> Option<&'a str> {
        let rest = self.rest;
        let line = rest.strip_prefix('#').or_else(|| {
            let after = rest.strip_prefix("--")?;
            after.chars().next().is_none_or(|next| next <= ' ').then_some(after)
        });
        if let Some(line) = line {
            return Some(line.split_once('\n').map_or("", |(_, after)| after));
        }
        let inside = rest.strip_prefix("/*")?;
        let executed = inside.strip_prefix('!').or_else(|| inside.strip_prefix("M!"));
        match executed {
            Some(executed) if self.dialect.executes_comments || runs_everywhere(executed) => {
                Some(executed.trim_start_matches(|letter: char| letter.is_ascii_digit()))
            }
            Some(_) | None => Some(inside.split_once("*/").map_or("", |(_, after)| after)),
        }
    }

    /// The quoted name that begins here; the quote twice stands for itself.
    fn name(&mut self, after: &'a str, quote: char) -> Word<'a> {
        let (mut text, mut rest) = after.split_once(quote).unwrap_or((after, ""));
        let mut whole = Cow::Borrowed(text);
        while let Some(more) = rest.strip_prefix(quote) {
            (text, rest) = more.split_once(quote).unwrap_or((more, ""));
            let whole = whole.to_mut();
            whole.push(quote);
            whole.push_str(text);
        }
        self.rest = rest;
        self.after_word = true;
        Word { text: whole, quoted: true, qualified: false, dotted: false }
    }
}

/// Whether what follows `/*!` is for every server that there is, such as the `/*!40005 TEMPORARY */` of
/// MySQL 5.6.
fn runs_everywhere(executed: &str) -> bool {
    let digits = executed.bytes().take_while(u8::is_ascii_digit).count();
    digits == 5
        && executed
            .get(..5)
            .and_then(|version| version.parse().ok())
            .is_some_and(|it: u32| it < 50_600)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$') || !letter.is_ascii()
}

fn after_string(text: &str, quote: char, escapes: bool) -> &str {
    let mut escaped = false;
    for (index, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' && escapes {
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

    fn read(sql: &str) -> Vec<String> {
        words(sql).map(|word| word.text.into_owned()).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        for sql in [
            "-- it's\nTRUNCATE obs",
            "# it's\nTRUNCATE obs",
            "/* it's */ TRUNCATE /* -- */ obs",
            "/*!50000 TRUNCATE */ obs 'a \\' b'",
            "/*M!100100 TRUNCATE obs */",
            "TRUNCATE--\nobs",
        ] {
            assert_eq!(read(sql), ["TRUNCATE", "obs"], "{sql}");
        }
        assert_eq!(read("a--b"), ["a", "b"], "two signs, no comment");
    }

    #[test]
    fn a_quote_twice_in_a_name_is_part_of_it() {
        assert_eq!(read("TRUNCATE `a``b`.`c`"), ["TRUNCATE", "a`b", "c"]);
    }

    #[test]
    fn a_table_that_is_made_leaves_those_alone_that_it_names() {
        for sql in [
            "CREATE TABLE _obs_gho LIKE obs",
            "create table if not exists `openmrs`.`_obs_new` like `openmrs`.`obs`",
            "CREATE OR REPLACE TABLE x (obs INT, FOREIGN KEY (obs) REFERENCES obs (obs_id))",
            "CREATE TABLE openmrs . x SELECT * FROM obs",
        ] {
            assert!(!Mentions::defined(sql, "openmrs", "openmrs").table("obs"), "{sql}");
            assert!(Mentions::read(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
        for sql in [
            "CREATE TABLE obs LIKE x",
            "CREATE TABLE IF NOT EXISTS obs (a INT)",
            "CREATE OR REPLACE TABLE openmrs . `obs` (a INT)",
            "CREATE TABLE /*! IF NOT EXISTS */ openmrs.obs (a INT)",
            "CREATE TABLE \"obs\" (a INT)",
            "RENAME TABLE obs TO _obs_old, _obs_new TO obs",
            "DROP TABLE x, obs",
            "ALTER TABLE x RENAME TO obs",
        ] {
            assert!(Mentions::defined(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
        assert!(Mentions::defined("CREATE TABLE openmrs.obs (a INT)", "x", "openmrs").table("obs"));
    }

    #[test]
    fn a_table_that_is_altered_leaves_those_alone_that_are_called_like_its_columns() {
        for sql in [
            "ALTER TABLE orders ADD COLUMN obs INT",
            "ALTER TABLE orders DROP `obs`, RENAME COLUMN a TO obs",
            "ALTER TABLE orders RENAME INDEX obs TO b, RENAME KEY a TO obs",
            "ALTER TABLE openmrs.orders ADD FOREIGN KEY (obs) REFERENCES openmrs.obs (obs_id)",
            "ALTER TABLE orders DROP PARTITION obs",
            "ALTER TABLE other.obs ADD a INT",
            "ALTER TABLE orders RENAME other.obs",
        ] {
            assert!(!Mentions::defined(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
        for sql in [
            "ALTER TABLE OBS ADD obs INT",
            "ALTER ONLINE IGNORE TABLE IF EXISTS openmrs . `obs` FORCE",
            "ALTER TABLE .obs FORCE",
            "ALTER TABLE a ADD b INT, RENAME AS obs",
            "ALTER TABLE a RENAME openmrs.obs",
            "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE obs",
            "ALTER TABLE a CONVERT TABLE obs TO PARTITION p VALUES LESS THAN (9)",
            "ALTER TABLE a CONVERT PARTITION p TO TABLE openmrs.obs",
            "ALTER TABLE \"obs\" ADD b INT",
            "ALTER TABLE a COMMENT 'a\\', RENAME TO obs",
            "SET STATEMENT lock_wait_timeout = 1 FOR ALTER TABLE obs ADD a INT",
            "/*!50000 ALTER TABLE obs ADD a INT */",
        ] {
            assert!(Mentions::defined(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
    }

    #[test]
    fn names_are_found_in_whatever_dialect() {
        for sql in [
            "TRUNCATE \"obs\"",
            "TRUNCATE .obs",
            "TRUNCATE openmrs.obs",
            "TRUNCATE openmrs . `OBS`",
            "SET STATEMENT max_statement_time = 0 FOR TRUNCATE obs",
            "/*M!100000 TRUNCATE obs */",
            "ALTER TABLE x COMMENT 'a\\', RENAME TO obs",
        ] {
            assert!(Mentions::read(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
        for sql in ["TRUNCATE other.obs", "TRUNCATE obs_group", "TRUNCATE x -- obs"] {
            assert!(!Mentions::read(sql, "openmrs", "openmrs").table("obs"), "{sql}");
        }
        assert!(!Mentions::read("TRUNCATE obs", "other", "openmrs").table("obs"));
        assert!(!Mentions::read("TRUNCATE obs", "other", "openmrs").database);
        assert!(Mentions::read("TRUNCATE openmrs.x", "other", "openmrs").database);
    }
}
