//! One connection to the target, set up the way rows are written, with its statements counted. A
//! target that freezes, or forgets the connection, is noticed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Opts, OptsBuilder, Params, Row, Value as Param};
use tokio::time::timeout;

use super::error::{Error, Failure};
use crate::clock::SharedClock;
use crate::database::schema::LiveSchema;
use crate::value::Name;

/// Prepared statements kept open on a connection. Statement texts come in few sizes on purpose.
const STATEMENTS_KEPT: usize = 400;

/// Data is taken exactly as the source held it, zero and impossible dates included, and what a
/// column cannot hold is an error.
const SQL_MODE: &str =
    "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";

/// What an administrator may have set for all sessions and would be felt here. Nothing that is read
/// may be cut short, and nothing that is written goes unchecked or waits for a metadata lock longer
/// than for a row's.
const PINNED: &str = "autocommit = 1, foreign_key_checks = 0, unique_checks = 1, \
                      sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
                      sql_safe_updates = 0, completion_type = 0 \
                      /*!50708 , max_execution_time = 0 */ \
                      /*M!100201 , check_constraint_checks = 1, max_statement_time = 0 */";

/// Connecting takes no longer than this.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Reading what the tables are like takes no longer than this.
const SCHEMA_MAX: Duration = Duration::from_mins(2);

/// Asks for the limit that new sessions get.
const LIMIT_NOW: &str = "SELECT @@GLOBAL.max_allowed_packet";

/// What a write reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) affected: u64,
    pub(super) last_insert_id: Option<u64>,
}

/// A connection to the target.
pub(super) struct Session {
    conn: Conn,
    watch: Watch,
    clock: SharedClock,
    used_at: Duration,
    /// Statements executed so far.
    pub(super) statements: u64,
    /// The server's `max_allowed_packet`, as it was when the session began.
    pub(super) packet_bytes_max: usize,
    /// Whether foreign keys are being checked.
    checks: bool,
    lock_wait_seconds: u32,
}

impl Session {
    /// Connects and sets the session up.
    pub(super) async fn open(
        opts: &Opts,
        clock: SharedClock,
        lock_wait_seconds: u32,
        patience: Duration,
    ) -> Result<Session, Failure> {
        let most = CONNECT_MAX.min(patience);
        match timeout(most, Session::set_up(opts, clock, lock_wait_seconds, patience)).await {
            Ok(session) => session,
            Err(_elapsed) => Err(Failure::Whole(Error::Retry(format!(
                "the target database does not answer ({} s)",
                most.as_secs()
            )))),
        }
    }

    async fn set_up(
        opts: &Opts,
        clock: SharedClock,
        lock_wait_seconds: u32,
        patience: Duration,
    ) -> Result<Session, Failure> {
        let with_cache = OptsBuilder::from_opts(opts.clone()).stmt_cache_size(STATEMENTS_KEPT);
        let mut conn = Conn::new(with_cache).await?;
        conn.query_drop("SET NAMES utf8mb4").await?;
        // READ COMMITTED: a row another session committed a moment ago is seen and locked, and
        // looking for a row that is not there yet locks no gap that the application inserts into.
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
            .await?;
        conn.query_drop(format!(
            "SET SESSION time_zone = '+00:00', sql_mode = '{SQL_MODE}', \
             innodb_lock_wait_timeout = {lock_wait_seconds}, \
             lock_wait_timeout = {lock_wait_seconds}, {PINNED}"
        ))
        .await?;
        let asked = "SELECT @@max_allowed_packet, CONNECTION_ID()";
        let (packet, id): (u64, u64) = conn.query_first(asked).await?.unwrap_or((1 << 24, 0));
        let asked = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";
        let host = match conn.query_first(asked).await {
            Ok(host) => host,
            // MySQL shows none while the text of any other's statement cannot be converted.
            Err(mysql_async::Error::Server(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let used_at = clock.monotonic();
        Ok(Session {
            conn,
            watch: Watch { opts: opts.clone(), id, host, patience, given_up: false },
            clock,
            used_at,
            statements: 0,
            packet_bytes_max: usize::try_from(packet).unwrap_or(1 << 24),
            checks: false,
            lock_wait_seconds,
        })
    }

    /// Whether the connection still works, asked of the server only after a long silence.
    pub(super) async fn is_alive(&mut self) -> bool {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.used_at) < Duration::from_secs(20) {
            return true;
        }
        self.used_at = now;
        matches!(timeout(CONNECT_MAX, self.conn.ping()).await, Ok(Ok(())))
    }

    /// Takes back what was begun, unless the server is gone and does so by itself.
    pub(super) async fn give_up(&mut self) {
        if !self.watch.given_up {
            drop(self.run("ROLLBACK").await);
        }
    }

    /// Runs a statement without parameters.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.count(sql, 0);
        self.watch.over(self.conn.query_drop(sql)).await
    }

    /// Runs a prepared statement that returns no rows.
    pub(super) async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<Done, Failure> {
        self.fits(&params).await?;
        self.count(sql, params.len());
        self.watch.over(self.conn.exec_drop(sql, positional(params))).await?;
        Ok(Done { affected: self.conn.affected_rows(), last_insert_id: self.conn.last_insert_id() })
    }

    /// Runs a prepared statement and gathers its rows. The caller bounds how many there can be.
    pub(super) async fn rows(
        &mut self,
        sql: &str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, Failure> {
        self.fits(&params).await?;
        self.count(sql, params.len());
        self.watch.over(self.conn.exec(sql, positional(params))).await
    }

    /// The columns of a query's result.
    pub(super) async fn columns(&mut self, sql: &str) -> Result<Arc<[Column]>, Failure> {
        self.count(sql, 0);
        let conn = &mut self.conn;
        let asked = async move {
            let result = conn.query_iter(sql).await?;
            let columns = result.columns();
            result.drop_result().await?;
            Ok(columns.unwrap_or_default())
        };
        self.watch.over(asked).await
    }

    /// All of the target's tables as they are now.
    pub(super) async fn schema(&mut self, database: &str) -> Result<LiveSchema, Failure> {
        self.tables(database, &[]).await
    }

    /// The named tables of the target as they are now; all, if none is named.
    pub(super) async fn tables(
        &mut self,
        database: &str,
        names: &[Name],
    ) -> Result<LiveSchema, Failure> {
        self.used_at = self.clock.monotonic();
        let read = async {
            if names.is_empty() {
                LiveSchema::read(&mut self.conn, database).await
            } else {
                LiveSchema::read_tables(&mut self.conn, database, names).await
            }
        };
        let read = timeout(SCHEMA_MAX, read).await;
        let Ok(read) = read else {
            self.watch.given_up = true;
            let words = format!("the target's tables were not read in {} s", SCHEMA_MAX.as_secs());
            return Err(Failure::Whole(Error::Retry(words)));
        };
        read.map_err(|error| {
            Failure::Whole(if error.is_transient() {
                Error::Retry(error.to_string())
            } else {
                Error::Stop(error.to_string())
            })
        })
    }

    /// Switches the checking of foreign keys, if it is not as wanted already.
    pub(super) async fn check_foreign_keys(&mut self, on: bool) -> Result<(), Failure> {
        if self.checks == on {
            return Ok(());
        }
        self.run(if on { "SET foreign_key_checks = 1" } else { "SET foreign_key_checks = 0" })
            .await?;
        self.checks = on;
        Ok(())
    }

    /// Sets how long a statement waits for another session's lock, if it is not set so already.
    pub(super) async fn wait_for_locks(&mut self, seconds: u32) -> Result<(), Failure> {
        if self.lock_wait_seconds != seconds {
            let sql =
                format!("SET innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}");
            self.run(&sql).await?;
            self.lock_wait_seconds = seconds;
        }
        Ok(())
    }

    fn count(&mut self, sql: &str, params: usize) {
        self.statements += 1;
        self.used_at = self.clock.monotonic();
        tracing::trace!(params, sql, "statement");
    }

    /// A packet above the server's limit would end the connection, and the retry after it, for
    /// ever. Statements for several rows stay far below it.
    async fn fits(&mut self, params: &[Param]) -> Result<(), Failure> {
        let bytes: usize = params.iter().map(super::cell::param_bytes).sum();
        // Beside its value a parameter has two bytes for its type, and a bit.
        if bytes.saturating_add(1024 + 3 * params.len()) <= self.packet_bytes_max {
            return Ok(());
        }
        // A session keeps the limit that it began with.
        self.count(LIMIT_NOW, 0);
        let now: Option<u64> = self.watch.over(self.conn.query_first(LIMIT_NOW)).await?;
        if now.is_some_and(|now| now > self.packet_bytes_max as u64) {
            let words = "max_allowed_packet was raised: a new connection takes it up".to_owned();
            return Err(Failure::Whole(Error::Changed(words)));
        }
        Err(Failure::Row(format!(
            "a row of {bytes} bytes is larger than the target's max_allowed_packet ({}): raise \
             it, then retry",
            self.packet_bytes_max
        )))
    }
}

/// Tells a statement that takes long from a server that does not answer any more.
struct Watch {
    opts: Opts,
    /// The connection's, by the server's own count.
    id: u64,
    /// Where the server sees it come from, with the port: no other connection has both. If it is
    /// not known, the connection is not ended there.
    host: Option<String>,
    patience: Duration,
    given_up: bool,
}

impl Watch {
    /// Waits for an answer as long as the server works on it. Who is said to do nothing has lost
    /// the answer on its way, unless that comes just now: it is asked twice.
    async fn over<T>(
        &mut self,
        answer: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, Failure> {
        let mut answer = pin!(answer);
        let mut was_idle = false;
        loop {
            match timeout(self.patience, &mut answer).await {
                Ok(result) => return Ok(result?),
                Err(_elapsed) => match self.other_end().await {
                    OtherEnd::AtWork => was_idle = false,
                    OtherEnd::Idle if !was_idle => was_idle = true,
                    OtherEnd::Idle => {
                        self.end().await;
                        break;
                    }
                    OtherEnd::Silent => break,
                },
            }
        }
        self.given_up = true;
        Err(Failure::Whole(Error::Retry(format!(
            "the target database has not answered for {} s",
            self.patience.as_secs()
        ))))
    }

    /// Has the server end this connection, which holds the link's watermark and what else it has
    /// locked until then.
    async fn end(&self) {
        let ended = async {
            let mut conn = Conn::new(self.opts.clone()).await?;
            let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND \
                       host = ? AND command = 'Sleep'";
            let found: Option<u64> = conn.exec_first(sql, (self.id, &self.host)).await?;
            if found == Some(1) {
                conn.query_drop(format!("KILL {}", self.id)).await?;
            }
            conn.disconnect().await
        };
        match timeout(CONNECT_MAX.min(self.patience), ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a lost connection could not be ended"),
            Err(_elapsed) => tracing::debug!("a lost connection could not be ended in time"),
        }
    }

    /// What the server, asked through another connection, says of this one. A refusal is an answer,
    /// too.
    async fn other_end(&self) -> OtherEnd {
        let asked = async {
            let mut conn = Conn::new(self.opts.clone()).await?;
            let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND \
                       host = COALESCE(?, host) AND command <> 'Sleep'";
            let found: Option<u64> = conn.exec_first(sql, (self.id, &self.host)).await?;
            conn.disconnect().await?;
            let at_work = found != Some(0);
            Ok::<_, mysql_async::Error>(if at_work { OtherEnd::AtWork } else { OtherEnd::Idle })
        };
        match timeout(CONNECT_MAX.min(self.patience), asked).await {
            Ok(Ok(found)) => found,
            Ok(Err(mysql_async::Error::Server(_))) => OtherEnd::AtWork,
            Ok(Err(_)) | Err(_) => OtherEnd::Silent,
        }
    }
}

/// What a server makes of a connection that hears nothing from it.
enum OtherEnd {
    /// It works on the statement.
    AtWork,
    /// It has answered, or never got the statement, or does not know the connection any more.
    Idle,
    /// It does not say.
    Silent,
}

fn positional(params: Vec<Param>) -> Params {
    if params.is_empty() { Params::Empty } else { Params::Positional(params) }
}
