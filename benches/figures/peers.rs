//! What others do with the same log on the same machine: the server's own raw reader, and the
//! server's own replication.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use headwater_rig::{Server, edge};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Row, Value};
use tokio::time::Instant;

/// How long a replica may stand still.
const STILL_MAX: Duration = Duration::from_mins(3);

/// Reads a server's log from this file to its end, without decoding it, and writes it to a folder.
pub(crate) async fn read_raw(server: &Server, first_file: &str, folder: &Path) -> Result<Duration> {
    let name = match server.flavor() {
        flavor if !flavor.is_mariadb() => "mysqlbinlog",
        _ => "mariadb-binlog",
    };
    let (program, first) = server
        .installed()
        .tool(name)
        .or_else(|| server.installed().tool("mysqlbinlog"))
        .with_context(|| format!("no {name} on this machine"))?;
    fs::create_dir_all(folder)?;
    let started = Instant::now();
    let output = tokio::process::Command::new(program)
        .args(first)
        .args(["--no-defaults", "--read-from-remote-server", "--raw", "--to-last-log"])
        .args(["--host=127.0.0.1", "--user=root"])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--result-file={}/", folder.display()))
        .arg(first_file)
        .stdin(Stdio::null())
        .output()
        .await?;
    let took = started.elapsed();
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(folder)?;
    Ok(took)
}

/// A replica of the child's server, as a DBA would set one up.
pub(crate) struct Replica {
    pub(crate) server: Server,
}

impl Replica {
    /// Points the server at its source; nothing moves before [`Replica::start`].
    pub(crate) async fn of(source: &Server, server: Server) -> Result<Replica> {
        let port = source.port();
        let words = match server.flavor() {
            flavor if !flavor.is_mariadb() => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, \
                 SOURCE_USER='root', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            ),
            _ => format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, \
                 MASTER_USER='root', MASTER_PASSWORD='', MASTER_USE_GTID=slave_pos"
            ),
        };
        server.sql(&words).await?;
        Ok(Replica { server })
    }

    pub(crate) async fn start(&self) -> Result<()> {
        self.server.sql("START REPLICA").await
    }

    pub(crate) async fn stop(&self) -> Result<()> {
        self.server.sql("STOP REPLICA").await
    }

    /// Waits until it has all that the source has.
    pub(crate) async fn caught_up(&self, source: &Server) -> Result<()> {
        let (executed, reached) = match source.flavor() {
            flavor if !flavor.is_mariadb() => {
                ("SELECT @@gtid_executed", "SELECT GTID_SUBSET(?, @@gtid_executed)")
            }
            _ => ("SELECT @@gtid_binlog_pos", "SELECT ? = @@gtid_slave_pos"),
        };
        let wanted = source.ask("", executed).await?.context("the source has no transactions")?;
        let progress = match source.flavor() {
            flavor if !flavor.is_mariadb() => "SELECT @@gtid_executed",
            _ => "SELECT @@gtid_slave_pos",
        };
        let mut conn = self.server.conn("").await?;
        let (mut last, mut moved) = (String::new(), Instant::now());
        loop {
            let there: Option<Option<u8>> = conn.exec_first(reached, (&wanted,)).await?;
            if there.flatten() == Some(1) {
                conn.disconnect().await?;
                return Ok(());
            }
            let now: Option<String> = conn.query_first(progress).await?;
            if now.as_ref() != Some(&last) {
                last = now.unwrap_or_default();
                moved = Instant::now();
            }
            if moved.elapsed() > STILL_MAX {
                bail!("the replica stands still: {}", self.complaint().await?);
            }
            edge::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last error that replication tells of.
    async fn complaint(&self) -> Result<String> {
        let mut conn = self.server.conn("").await?;
        let row: Option<Row> = conn.query_first("SHOW REPLICA STATUS").await?;
        conn.disconnect().await?;
        let row = row.context("it is no replica")?;
        let mut words = Vec::new();
        for column in row.columns_ref() {
            let name = column.name_str();
            if name.starts_with("Last_") && name.ends_with("Error") {
                let value: Option<Value> = row.get(&*name);
                words.push(format!("{name}: {}", value.unwrap_or(Value::NULL).as_sql(true)));
            }
        }
        Ok(words.join(", "))
    }
}
