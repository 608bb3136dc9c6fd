//! What the figures are measured on: a child and a parent with their servers, a replica of the
//! child's server, a link that counts, and half a million row changes in the child's log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headwater_rig::{Clinic, Flavor, Link, Server, ServerOptions, edge, openmrs};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::Wanted;
use crate::node::Node;
use crate::peers::Replica;
use crate::report::tell;

/// The database on all servers.
pub(crate) const DATABASE: &str = "openmrs";
/// Row changes of the clinic's work.
const ROWS: u64 = 500_000;
/// How often a status is asked for while time is taken; an answer takes some 20 ms itself.
pub(crate) const STATUS_PAUSE: Duration = Duration::from_millis(200);

/// The clinic's work, in the child's log.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) rows: u64,
    pub(crate) transactions: u64,
    pub(crate) bytes: u64,
    /// The log's files that hold it, and nothing before it.
    pub(crate) files: Vec<PathBuf>,
}

impl Load {
    /// The name of the first file.
    pub(crate) fn first_file(&self) -> Result<&str> {
        let first = self.files.first().context("no log")?;
        first.file_name().and_then(|name| name.to_str()).context("a file without a name")
    }
}

pub(crate) struct Site {
    pub(crate) child: Node,
    pub(crate) parent: Node,
    pub(crate) child_server: Server,
    pub(crate) parent_server: Server,
    pub(crate) replica: Replica,
    pub(crate) link: Link,
    pub(crate) load: Load,
    /// What the parent has of another clinic.
    pub(crate) others: openmrs::OtherRows,
    /// Where the child's store is kept as it was before the load.
    before: PathBuf,
    folder: TempDir,
}

/// All servers alike: nothing is lost at a power cut.
pub(crate) fn options() -> ServerOptions {
    ServerOptions { buffer_pool_mib: 512, redo_log_mib: 512, ..ServerOptions::default() }
}

fn replica_options(flavor: Flavor) -> ServerOptions {
    if flavor.is_mariadb() {
        options().with("--slave-parallel-threads=2")
    } else {
        options().with("--replica-parallel-workers=2")
    }
}

impl Site {
    /// Makes it: nodes enrolled, in step and stopped, replica caught up and stopped, then the load.
    pub(crate) async fn set_up(wanted: &Wanted) -> Result<Site> {
        let flavor = wanted.flavor;
        tell(&format!("starting three {flavor} servers"));
        let child_server = Server::start_with_openmrs(flavor, options()).await?;
        let parent_server = Server::start_with_openmrs(flavor, options()).await?;
        let replica = Server::start_with_openmrs(flavor, replica_options(flavor)).await?;
        let replica = Replica::of(&child_server, replica).await?;
        openmrs::seed(&child_server, DATABASE, 0).await?;
        openmrs::seed(&parent_server, DATABASE, 5000).await?;
        let others = openmrs::other_patients(&parent_server, DATABASE, 99, 300).await?;
        replica.start().await?;
        replica.caught_up(&child_server).await?;
        replica.stop().await?;

        let folder = tempfile::Builder::new().prefix("headwater-figures-").tempdir()?;
        let port = edge::free_port()?;
        let link = Link::to_port(port).await?;
        let dials = format!("[parent]\nurl = \"https://127.0.0.1:{}\"", link.port());
        let listens = format!("[listen]\naddress = \"127.0.0.1:{port}\"\nnames = [\"127.0.0.1\"]");
        let mut child = Node::new(folder.path(), "clinic-12", &child_server, &dials)?;
        let mut parent = Node::new(folder.path(), "parent", &parent_server, &listens)?;
        enrol(&child, &mut parent).await?;
        child.start()?;
        child.in_step(STATUS_PAUSE).await?;
        child.stop().await?;
        parent.stop().await?;
        let before = folder.path().join("before");
        copy(&child.data, &before)?;
        let load = make_load(&child_server, wanted.rows.unwrap_or(ROWS)).await?;
        Ok(Site {
            child,
            parent,
            child_server,
            parent_server,
            replica,
            link,
            load,
            others,
            before,
            folder,
        })
    }

    /// A folder for what a figure writes.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// Gives the child its store from before the load, so that all of it is still to be read.
    pub(crate) fn forget_load(&self) -> Result<()> {
        fs::remove_dir_all(&self.child.data)?;
        copy(&self.before, &self.child.data)
    }

    /// Both nodes running, everything acknowledged.
    pub(crate) async fn in_step(&mut self) -> Result<()> {
        self.link.allow();
        if self.parent.process_id().is_err() {
            self.parent.start_and_listen().await?;
        }
        if self.child.process_id().is_err() {
            self.child.start()?;
        }
        self.child.in_step(STATUS_PAUSE).await
    }
}

/// Invites and joins the child; the parent runs afterwards.
pub(crate) async fn enrol(child: &Node, parent: &mut Node) -> Result<()> {
    let said = parent.says(&["invite", "clinic-12"]).await?;
    let token = said.lines().last().context("invite printed nothing")?.to_owned();
    parent.start()?;
    let started = Instant::now();
    loop {
        let (well, out, err) = child.command(&["join", &token]).await?;
        if well {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(90), "join: {out}{err}");
        edge::sleep(Duration::from_millis(200)).await;
    }
}

/// Lets the clinic work, without waiting for the disk: only what its log holds matters.
async fn make_load(server: &Server, rows: u64) -> Result<Load> {
    tell(&format!("a clinic makes {rows} row changes"));
    let relaxed = "SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0;";
    let durable = "SET GLOBAL sync_binlog = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1;";
    server.sql(&format!("{relaxed} FLUSH BINARY LOGS")).await?;
    let first = log_files(server)?.pop().context("the server has no log")?;
    let started = Instant::now();
    let mut clinic = Clinic::new(2026);
    let mut conn = server.conn(DATABASE).await?;
    let mut told = Instant::now();
    clinic
        .until_rows(&mut conn, rows, |done| {
            if told.elapsed() > Duration::from_secs(20) {
                told = Instant::now();
                tell(&format!("{done} row changes after {} s", started.elapsed().as_secs()));
            }
        })
        .await?;
    conn.disconnect().await?;
    server.sql(&format!("{durable} FLUSH BINARY LOGS")).await?;
    let files: Vec<PathBuf> =
        log_files(server)?.into_iter().filter(|file| *file >= first).collect();
    let mut bytes = 0;
    for file in &files {
        bytes += fs::metadata(file)?.len();
    }
    Ok(Load { rows: clinic.rows(), transactions: clinic.transactions(), bytes, files })
}

/// The files of the server's log, the oldest first.
fn log_files(server: &Server) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(server.data())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("binlog.").unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
