//! Statements, and the events that end a transaction.

use std::borrow::Cow;

use super::charset::Charset;
use super::cursor::Cursor;
use super::error::DecodeError;
use super::event::until_zero;
use super::{payload, text};

/// A statement and what of its session matters for reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// The session's default schema; empty if it had none.
    pub schema: Cow<'a, str>,
    /// The statement, in the session's character set.
    pub sql: Cow<'a, [u8]>,
    /// The error the statement ended with; 0 if none.
    pub error: u16,
    /// The collation id of `character_set_client`: what `sql` is written in. `None` if the
    /// server left it out.
    pub client_collation: Option<u16>,
    /// The session's `sql_mode`, if the server sent it.
    pub sql_mode: Option<u64>,
    /// The thread of the session, which temporary tables belong to.
    pub thread: u32,
    databases: Databases<'a>,
}

/// The databases that a statement changed, as the server tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Databases<'a> {
    /// It does not tell.
    #[default]
    Untold,
    /// Whether it does cannot be told: something before that is not known here.
    Unread,
    /// Each name with a zero after it.
    Named(&'a [u8]),
    /// They are too many to be listed.
    Many,
}

/// The number of the storage engine's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xid(pub u64);

/// An XA transaction was prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare<'a> {
    /// Committed at once, in one phase.
    pub one_phase: bool,
    /// The format id.
    pub format: u32,
    /// The global part of the id.
    pub global: &'a [u8],
    /// The branch qualifier.
    pub branch: &'a [u8],
}

#[derive(Default)]
struct Session<'a> {
    client_collation: Option<u16>,
    sql_mode: Option<u64>,
    databases: Databases<'a>,
}

/// What stands between a `LOAD DATA`'s fixed part and its session's variables: where in the statement
/// its file's name is, and the like.
const LOAD_BYTES: usize = 13;
/// Stands for a number of databases that is too large to list them.
const TOO_MANY_DATABASES: u8 = 254;

impl<'a> Query<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Query<'a>, DecodeError> {
        Query::read_after(body, 0)
    }

    /// A `LOAD DATA` in statement format.
    pub(super) fn read_load(body: &'a [u8]) -> Result<Query<'a>, DecodeError> {
        Query::read_after(body, LOAD_BYTES)
    }

    fn read_after(body: &'a [u8], more: usize) -> Result<Query<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "statement");
        let thread = cursor.u32()?;
        cursor.take(4)?;
        let schema_bytes = usize::from(cursor.u8()?);
        let error = cursor.u16()?;
        let status_bytes = usize::from(cursor.u16()?);
        cursor.take(more)?;
        let session = status(cursor.take(status_bytes)?);
        let schema = String::from_utf8_lossy(cursor.take(schema_bytes)?);
        cursor.take(1)?;
        Ok(Query {
            schema,
            sql: Cow::Borrowed(cursor.rest()),
            error,
            client_collation: session.client_collation,
            sql_mode: session.sql_mode,
            thread,
            databases: session.databases,
        })
    }

    pub(super) fn read_compressed(body: &'a [u8], max: u64) -> Result<Query<'a>, DecodeError> {
        let mut query = Query::read(body)?;
        query.sql = Cow::Owned(payload::inflate_tail(&query.sql, "statement", max)?);
        Ok(query)
    }

    /// Whether a statement in the place of rows may have changed a database, also through triggers
    /// and functions. `None` if the server does not tell (`MariaDB`).
    pub fn may_change(&self, database: &str) -> Option<bool> {
        let names = match self.databases {
            Databases::Untold | Databases::Unread => return None,
            Databases::Many => return Some(true),
            Databases::Named(names) => names.split_inclusive(|byte| *byte == 0),
        };
        let mut names = names.map(|name| String::from_utf8_lossy(until_zero(name)));
        Some(names.any(|name| name.to_lowercase() == database.to_lowercase()))
    }

    /// Whether a `MySQL` before 8.0 made it up: after a restart it empties each in-memory table when that is
    /// first used, quoting as the session does that uses it. A session's own statement names the databases that
    /// it changed; on `MariaDB` none does.
    pub fn empties_memory(&self) -> bool {
        let rest = self.sql.strip_prefix(b"DELETE FROM ").and_then(after_name);
        let rest = rest.and_then(|rest| rest.strip_prefix(b".")).and_then(after_name);
        self.databases == Databases::Untold && rest.is_some_and(<[u8]>::is_empty)
    }

    /// The statement as text, for telling BEGIN from COMMIT from DDL. What is not UTF-8, as servers
    /// log what they write themselves, is in the session's character set; what is not that either is
    /// replaced.
    pub fn text(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.sql) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => self.in_session().unwrap_or_else(|| String::from_utf8_lossy(&self.sql)),
        }
    }

    /// Every text that the statement could be: what a session in another character set wrote may
    /// look like UTF-8.
    pub fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let first = self.text();
        let other = (!self.sql.is_ascii()).then(|| self.in_session()).flatten();
        let other = other.filter(|other| *other != first);
        std::iter::once(first).chain(other)
    }

    fn in_session(&self) -> Option<Cow<'_, str>> {
        // Whose log it is does not matter: one reading more is taken for what it could be, no more.
        let charset = Charset::of_collation(self.client_collation?.into(), true).ok()?;
        text::decode(&self.sql, charset)
    }
}

/// Reads the session's variables up to the first that is not known; what matters comes early.
fn status(bytes: &[u8]) -> Session<'_> {
    let mut session = Session::default();
    let mut cursor = Cursor::new(bytes, "status variables");
    while let Ok(code) = cursor.u8() {
        let passed = match code {
            0 | 3 | 10 => cursor.take(4).map(|_| ()),
            1 => cursor.u64().map(|mode| session.sql_mode = Some(mode)),
            2 => counted(&mut cursor).and_then(|()| cursor.take(1).map(|_| ())),
            4 => cursor.array::<6>().map(|[low, high, ..]| {
                session.client_collation = Some(u16::from_le_bytes([low, high]));
            }),
            5 | 6 => counted(&mut cursor),
            7 | 8 | 18 => cursor.take(2).map(|_| ()),
            9 | 14 | 15 | 17 => cursor.take(8).map(|_| ()),
            13 | 128 => cursor.take(3).map(|_| ()),
            16 | 19 | 20 => cursor.take(1).map(|_| ()),
            11 => counted(&mut cursor).and_then(|()| counted(&mut cursor)),
            12 => databases(&mut cursor).map(|found| session.databases = found),
            _ => return session.broken_off(),
        };
        if passed.is_err() {
            return session.broken_off();
        }
    }
    session
}

impl Session<'_> {
    /// As far as it could be read.
    fn broken_off(mut self) -> Self {
        if self.databases == Databases::Untold {
            self.databases = Databases::Unread;
        }
        self
    }
}

/// What follows the name of a database or a table, quoted or not, that a statement goes on with.
fn after_name(sql: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = sql.split_first()?;
    if matches!(first, b'`' | b'"') {
        loop {
            let end = rest.iter().position(|byte| byte == first)?;
            rest = rest.get(end + 1..)?;
            match rest.strip_prefix(&[*first]) {
                Some(doubled) => rest = doubled,
                None => return Some(rest),
            }
        }
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    let end = sql.iter().position(|byte| !is_plain(byte)).unwrap_or(sql.len());
    sql.get(end..).filter(|_| end > 0)
}

/// Their number, and each name with a zero after it. Every BEGIN has them, so they are only passed.
fn databases<'a>(cursor: &mut Cursor<'a>) -> Result<Databases<'a>, DecodeError> {
    let count = cursor.u8()?;
    if count == TOO_MANY_DATABASES {
        return Ok(Databases::Many);
    }
    let start = cursor.rest();
    for _ in 0..count {
        cursor.take(until_zero(cursor.rest()).len() + 1)?;
    }
    Ok(start.get(..start.len() - cursor.rest().len()).map_or(Databases::Many, Databases::Named))
}

fn counted(cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    let count = usize::from(cursor.u8()?);
    cursor.take(count).map(|_| ())
}

impl<'a> XaPrepare<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<XaPrepare<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "XA prepare");
        let one_phase = cursor.u8()? != 0;
        let format = cursor.u32()?;
        let global_bytes = u64::from(cursor.u32()?);
        let branch_bytes = u64::from(cursor.u32()?);
        let global = cursor.take_u64(global_bytes)?;
        let branch = cursor.take_u64(branch_bytes)?;
        Ok(XaPrepare { one_phase, format, global, branch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement run by a client with this collation.
    fn body(collation: u8, sql: &[u8]) -> Vec<u8> {
        let fixed = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 4, collation, 0, 33, 0, 33, 0, 0];
        [&fixed, sql].concat()
    }

    #[test]
    fn a_name_is_read_in_the_session_s_character_set() {
        let latin1 = body(8, b"TRUNCATE m\xE9dicament");
        assert_eq!(Query::read(&latin1).unwrap().text(), "TRUNCATE m\u{e9}dicament");
        let utf8 = body(8, "TRUNCATE m\u{e9}dicament".as_bytes());
        assert_eq!(Query::read(&utf8).unwrap().text(), "TRUNCATE m\u{e9}dicament");
        let neither = body(45, b"TRUNCATE m\xE9dicament");
        assert_eq!(Query::read(&neither).unwrap().text(), "TRUNCATE m\u{fffd}dicament");
        let either = Query::read(&utf8).unwrap();
        let texts: Vec<_> = either.texts().collect();
        assert_eq!(texts, ["TRUNCATE m\u{e9}dicament", "TRUNCATE m\u{c3}\u{a9}dicament"]);
        assert_eq!(Query::read(&body(8, b"TRUNCATE obs")).unwrap().texts().count(), 1);
        let utf8 = body(45, "TRUNCATE m\u{e9}dicament".as_bytes());
        assert_eq!(Query::read(&utf8).unwrap().texts().count(), 1);
    }

    #[test]
    fn what_empties_an_in_memory_table_is_told_from_what_sessions_delete() {
        let query = |databases: &[u8], sql: &str| {
            let mut body = vec![1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0];
            body.extend(u16::try_from(databases.len()).unwrap().to_le_bytes());
            body.extend([databases, b"clinic\0", sql.as_bytes()].concat());
            Query::read(&body).unwrap().empties_memory()
        };
        let made_up = "DELETE FROM `clinic`.`fleeting`";
        assert!(query(b"", made_up));
        for sql in [
            "DELETE FROM \"clinic\".\"fleeting\"",
            "DELETE FROM clinic.fleeting$2",
            "DELETE FROM `cli``nic`.`\u{e9}`",
        ] {
            assert!(query(b"", sql), "{sql}");
        }
        // What is not known may stand before what would name a database.
        assert!(!query(&[99], made_up) && !query(&[12, 1, b'c'], made_up));
        assert!(!query(b"\x0c\x01clinic\0", made_up));
        assert!(!query(&[12, TOO_MANY_DATABASES], made_up));
        for sql in [
            "DELETE FROM `clinic`.`fleeting` WHERE `id` = 1",
            "DELETE FROM `clinic`.`fleeting` ",
            "DELETE FROM `fleeting`",
            "DELETE FROM .`fleeting`",
            "DELETE FROM `clinic`.`fleeting",
            "DELETE FROM clinic.fleeting,clinic.note",
            "DELETE FROM `a`.`b` USING `a`.`b` JOIN `a`.`c`",
            "UPDATE `clinic`.`fleeting`",
        ] {
            assert!(!query(b"", sql), "{sql}");
        }
    }

    #[test]
    fn a_statement_that_changed_too_many_databases_may_have_changed_any() {
        let query = |databases: &[u8]| {
            let mut body = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            body.extend(u16::try_from(databases.len()).unwrap().to_le_bytes());
            [&body, databases, b"\0UPDATE t SET a = 1"].concat()
        };
        let may = |databases: &[u8]| Query::read(&query(databases)).unwrap().may_change("openmrs");
        assert_eq!(may(b""), None);
        assert_eq!(may(b"\x0c\x01other\0"), Some(false));
        assert_eq!(may(b"\x0c\x02other\0OpenMRS\0"), Some(true));
        assert_eq!(may(&[12, TOO_MANY_DATABASES]), Some(true));
    }
}
