//! One connection to the target, set up the way rows are written, with its statements counted.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, Value as Param};

use super::error::{Error, Failure};
use crate::clock::SharedClock;
use crate::database::schema::LiveSchema;

/// Prepared statements kept open on a connection. Statement texts come in few sizes on purpose.
const STATEMENTS_KEPT: usize = 400;

/// Data is taken exactly as the source held it, zero and impossible dates included, and what a
/// column cannot hold is an error.
const SQL_MODE: &str =
    "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";

/// What a write reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) affected: u64,
    pub(super) last_insert_id: Option<u64>,
}

/// A connection to the target.
pub(super) struct Session {
    conn: Conn,
    clock: SharedClock,
    used_at: Duration,
    /// Statements executed so far.
    pub(super) statements: u64,
    /// The server's `max_allowed_packet`.
    pub(super) packet_bytes_max: usize,
    /// Whether foreign keys are being checked.
    checks: bool,
}

impl Session {
    /// Connects and sets the session up.
    pub(super) async fn open(
        opts: &Opts,
        clock: SharedClock,
        lock_wait_seconds: u32,
    ) -> Result<Session, Failure> {
        let opts = OptsBuilder::from_opts(opts.clone()).stmt_cache_size(STATEMENTS_KEPT);
        let mut conn = Conn::new(opts).await?;
        conn.query_drop("SET NAMES utf8mb4").await?;
        // READ COMMITTED: a row another session committed a moment ago is seen and locked, and
        // looking for a row that is not there yet locks no gap that the application inserts into.
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        conn.query_drop(format!(
            "SET SESSION time_zone = '+00:00', sql_mode = '{SQL_MODE}', foreign_key_checks = 0, \
             autocommit = 1, innodb_lock_wait_timeout = {lock_wait_seconds}"
        ))
        .await?;
        let packet: Option<u64> = conn.query_first("SELECT @@max_allowed_packet").await?;
        let packet = packet.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(1 << 24);
        let used_at = clock.monotonic();
        Ok(Session { conn, clock, used_at, statements: 0, packet_bytes_max: packet, checks: false })
    }

    /// Whether the connection still works, asked of the server only after a long silence.
    pub(super) async fn is_alive(&mut self) -> bool {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.used_at) < Duration::from_secs(20) {
            return true;
        }
        self.used_at = now;
        self.conn.ping().await.is_ok()
    }

    /// Runs a statement without parameters.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.count(sql, 0);
        Ok(self.conn.query_drop(sql).await?)
    }

    /// Runs a prepared statement that returns no rows.
    pub(super) async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<Done, Failure> {
        self.fits(&params)?;
        self.count(sql, params.len());
        self.conn.exec_drop(sql, positional(params)).await?;
        Ok(Done { affected: self.conn.affected_rows(), last_insert_id: self.conn.last_insert_id() })
    }

    /// Runs a prepared statement and gathers its rows. The caller bounds how many there can be.
    pub(super) async fn rows(
        &mut self,
        sql: &str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, Failure> {
        self.fits(&params)?;
        self.count(sql, params.len());
        Ok(self.conn.exec(sql, positional(params)).await?)
    }

    /// The target's tables as they are now.
    pub(super) async fn schema(&mut self, database: &str) -> Result<LiveSchema, Failure> {
        self.used_at = self.clock.monotonic();
        LiveSchema::read(&mut self.conn, database).await.map_err(|error| {
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

    fn count(&mut self, sql: &str, params: usize) {
        self.statements += 1;
        self.used_at = self.clock.monotonic();
        tracing::trace!(params, sql, "statement");
    }

    /// A packet above the server's limit would end the connection, and the retry after it, for
    /// ever.
    fn fits(&self, params: &[Param]) -> Result<(), Failure> {
        let bytes: usize = params.iter().map(super::cell::param_bytes).sum();
        if bytes.saturating_add(1024) <= self.packet_bytes_max {
            return Ok(());
        }
        Err(Failure::Whole(Error::Stop(format!(
            "a row of {bytes} bytes is larger than the target's max_allowed_packet ({}): raise it",
            self.packet_bytes_max
        ))))
    }
}

fn positional(params: Vec<Param>) -> Params {
    if params.is_empty() { Params::Empty } else { Params::Positional(params) }
}
