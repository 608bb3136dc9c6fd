//! One throwaway database server: started on a free port from a copied data folder, killed with
//! the value that stands for it, or with this process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tempfile::TempDir;

use crate::edge;
use crate::flavor::{Flavor, Installed};
use crate::keyring;
use crate::openmrs;
use crate::options::ServerOptions;
use crate::template;

/// How long a server may take to be ready. Recovery after a kill reads the whole redo log, and
/// the machine may be busy.
const READY_SECONDS_MAX: u64 = 180;

/// A running server, or one that was stopped and can be started again on the same data.
#[derive(Debug)]
pub struct Server {
    installed: Installed,
    options: ServerOptions,
    port: u16,
    child: Option<Child>,
    // Last, so that the process is gone before its files are.
    folder: TempDir,
}

impl Server {
    /// Starts a new server of this kind, and waits until it answers.
    pub async fn start(flavor: Flavor, options: ServerOptions) -> Result<Server> {
        let installed = flavor.installed()?;
        let folder = new_folder()?;
        let data = folder.path().join("data");
        let source = installed.clone();
        tokio::task::spawn_blocking(move || template::copy_to(&source, &data)).await??;
        Server::start_in(installed, folder, options).await
    }

    /// Starts a new server that has the empty OpenMRS tables already, in a database `openmrs`.
    /// Making those takes seconds, so this too is done once and copied; nothing of it is in the
    /// binary log.
    pub async fn start_with_openmrs(flavor: Flavor, options: ServerOptions) -> Result<Server> {
        let installed = flavor.installed()?;
        let template = openmrs_template(&installed).await?;
        let folder = new_folder()?;
        let data = folder.path().join("data");
        tokio::task::spawn_blocking(move || template::copy_template(&template, &data)).await??;
        Server::start_in(installed, folder, options).await
    }

    /// Starts a new server whose log is encrypted on the disk. `None` if this kind of server is
    /// installed without a plugin that keeps keys.
    pub async fn start_with_encrypted_log(
        flavor: Flavor,
        mut options: ServerOptions,
    ) -> Result<Option<Server>> {
        let installed = flavor.installed()?;
        let folder = new_folder()?;
        let data = folder.path().join("data");
        let source = installed.clone();
        tokio::task::spawn_blocking(move || template::copy_to(&source, &data)).await??;
        let Some(installed) = keyring::prepare(&installed, folder.path(), &mut options)? else {
            return Ok(None);
        };
        Server::start_in(installed, folder, options).await.map(Some)
    }

    async fn start_in(
        installed: Installed,
        folder: TempDir,
        options: ServerOptions,
    ) -> Result<Server> {
        let mut server =
            Server { installed, options, port: edge::free_port()?, child: None, folder };
        for attempt in 1.. {
            match server.launch().await {
                Ok(()) => break,
                // A stranger was quicker with that port.
                Err(_) if attempt < 5 && server.log().contains("Address already in use") => {
                    server.port = edge::free_port()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(server)
    }

    /// Its kind.
    pub fn flavor(&self) -> Flavor {
        self.installed.flavor
    }

    /// Where its programs are.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its server id.
    pub fn server_id(&self) -> u32 {
        self.options.server_id
    }

    /// The folder that holds `data/`, the socket and the log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("db.sock")
    }

    /// The server's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the server's process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        if ended {
            self.child = None;
        }
        ended
    }

    /// What headwater's configuration takes as `database.url`; root needs no password.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// What the server wrote into its error log.
    pub fn log(&self) -> String {
        fs::read(self.folder.path().join("error.log"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// How to connect to one of its databases; an empty name stands for none.
    pub fn opts(&self, database: &str) -> Opts {
        client_opts(self.port, database).into()
    }

    /// A connection as root.
    pub async fn conn(&self, database: &str) -> Result<Conn> {
        connect(self.port, database).await
    }

    /// A pool of at most `connections_max` connections as root.
    pub fn pool(&self, database: &str, connections_max: usize) -> Result<Pool> {
        let constraints =
            PoolConstraints::new(0, connections_max.max(1)).context("a pool of no connections")?;
        Ok(Pool::new(
            client_opts(self.port, database)
                .pool_opts(PoolOpts::default().with_constraints(constraints)),
        ))
    }

    /// Runs any number of statements, separated by semicolons, outside any database.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        self.sql_in("", statements).await
    }

    /// Runs any number of statements, separated by semicolons, in this database.
    pub async fn sql_in(&self, database: &str, statements: &str) -> Result<()> {
        let mut conn = self.conn(database).await?;
        let outcome = conn.query_drop(statements).await;
        drop(conn.disconnect().await);
        outcome.with_context(|| {
            let start: String = statements.chars().take(300).collect();
            format!("{} said no to: {start}", self.installed.flavor)
        })
    }

    /// The first column of the first row of a query, as text; `None` if there is no row or it is NULL.
    pub async fn ask(&self, database: &str, query: &str) -> Result<Option<String>> {
        let mut conn = self.conn(database).await?;
        let row: Option<Option<String>> =
            conn.query_first(query).await.with_context(|| query.to_owned())?;
        drop(conn.disconnect().await);
        Ok(row.flatten())
    }

    /// Takes the server's power away: SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Stops the server as an administrator does, and waits until it is gone.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if self.flavor() == Flavor::Mysql56 {
            // It has no such statement.
            signal(child.id(), "-TERM")?;
        } else if let Ok(mut conn) = self.conn("").await {
            // The server may hang up before it answers.
            drop(conn.query_drop("SHUTDOWN").await);
        }
        for _ in 0..READY_SECONDS_MAX * 20 {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            edge::sleep(Duration::from_millis(50)).await;
        }
        drop(child.kill());
        drop(child.wait());
        bail!("{} on port {} did not stop", self.installed.flavor, self.port)
    }

    /// Starts the server again on the same data and the same port. One that still runs is stopped first.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Starts the server again with other options, on the same data and the same port.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut ServerOptions)) -> Result<()> {
        self.stop().await?;
        change(&mut self.options);
        self.launch().await
    }

    /// Starts another kind of server on the same data, as an upgrade in place does.
    pub async fn upgrade_to(&mut self, flavor: Flavor) -> Result<()> {
        self.stop().await?;
        self.installed = flavor.installed()?;
        self.launch().await?;
        match flavor {
            Flavor::Mysql57 => self.upgrade_tables(),
            // Its next release does without the former kind of password, and the one after has none.
            Flavor::Mysql80 => {
                let sql = "ALTER USER root@'%' IDENTIFIED WITH caching_sha2_password BY ''";
                self.sql(sql).await
            }
            _ => Ok(()),
        }
    }

    /// Has MySQL 5.7 upgrade the tables of its own, as later ones do by themselves.
    fn upgrade_tables(&self) -> Result<()> {
        let (program, first) =
            self.installed.tool("mysql_upgrade").context("there is no mysql_upgrade")?;
        let sets = self.installed.share().join("charsets");
        let output = std::process::Command::new(program)
            .args(first)
            .args(["--no-defaults", "--user=root", "--host=127.0.0.1", "--force"])
            .args(["--upgrade-system-tables", "--skip-write-binlog"])
            .arg(template::option("--character-sets-dir=", &sets))
            .arg(format!("--port={}", self.port))
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mysql_upgrade ended with {}: {told}", output.status);
        Ok(())
    }

    /// Stops the server's process where it is, as a machine that hangs does; see [`Server::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        signal(self.pid().context("the server does not run")?, name)
    }

    async fn launch(&mut self) -> Result<()> {
        let log =
            File::options().create(true).append(true).open(self.folder.path().join("error.log"))?;
        let (program, first) = self.installed.server();
        let data = self.data();
        let arguments = self.options.arguments(self.flavor(), self.folder.path(), self.port);
        let (installed, errors) = (self.installed.clone(), log.try_clone()?);
        self.child = Some(edge::spawn_tied(&program, |command| {
            command.args(first);
            template::add_common_options(command, &installed, &data);
            command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        })?);
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        for _ in 0..READY_SECONDS_MAX * 20 {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                bail!("{} ended with {status}:\n{}", self.installed.version, tail(&self.log(), 30));
            }
            let trial = tokio::time::timeout(Duration::from_secs(5), self.answers()).await;
            if let Ok(Ok(true)) = trial {
                return Ok(());
            }
            edge::sleep(Duration::from_millis(50)).await;
        }
        self.kill9();
        bail!(
            "{} was not ready after {READY_SECONDS_MAX} s:\n{}",
            self.installed.version,
            tail(&self.log(), 30)
        )
    }

    /// Whether it is this server that answers on its port, not one that was there before it.
    async fn answers(&self) -> Result<bool> {
        let socket = self.ask("", "SELECT @@socket").await?;
        Ok(socket.is_some_and(|socket| Path::new(&socket) == self.socket()))
    }
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status()?;
    anyhow::ensure!(status.success(), "cannot send {name} to {pid}");
    Ok(())
}

/// The names of all servers' folders start so, followed by the process that they belong to.
const FOLDER_PREFIX: &str = "headwater-db-";

/// A folder for one server. A process that was killed could not remove its own, some 200 MB
/// each, so that is done here.
fn new_folder() -> Result<TempDir> {
    static SWEPT: std::sync::Once = std::sync::Once::new();
    SWEPT.call_once(|| {
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if is_abandoned(&entry) {
                // Another process may be at it as well.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    });
    let prefix = format!("{FOLDER_PREFIX}{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir()?)
}

fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let owner = name
        .to_str()
        .and_then(|name| name.strip_prefix(FOLDER_PREFIX))
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    let Some(owner) = owner else { return false };
    // Young ones may belong to a container that shares this folder but not our process numbers.
    let old = entry
        .metadata()
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_mins(30)));
    old && Path::new("/proc/self").exists()
        && !Path::new("/proc").join(owner.to_string()).exists()
        && !entry.path().join(KEPT).exists()
}

/// The file that marks a folder kept for somebody to look into.
const KEPT: &str = "kept";

/// A data folder with the OpenMRS tables in it, named after what they are made from.
async fn openmrs_template(installed: &Installed) -> Result<PathBuf> {
    let (folder, name) = template::place(installed)?;
    let mut digest = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(openmrs::SCHEMA, &mut digest);
    let digest = std::hash::Hasher::finish(&digest);
    let ready = folder.join(format!("{name}-openmrs-{digest:016x}"));
    if ready.is_dir() {
        return Ok(ready);
    }
    let lock = File::create(folder.join(format!("{name}-openmrs.lock")))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    if ready.is_dir() {
        return Ok(ready);
    }
    let options =
        ServerOptions { binlog: false, flush_log_at_trx_commit: 0, ..ServerOptions::default() };
    let mut server = Server::start(installed.flavor, options).await?;
    openmrs::create(&server, "openmrs").await?;
    server.stop().await?;
    let (data, target) = (server.data(), ready.clone());
    let making = folder.join(format!("{name}-openmrs.making"));
    tokio::task::spawn_blocking(move || -> Result<()> {
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        template::copy_template(&data, &making)?;
        // Two servers must not have one uuid; MariaDB has no such file.
        drop(fs::remove_file(making.join("auto.cnf")));
        fs::rename(&making, &target)?;
        Ok(())
    })
    .await??;
    drop(lock);
    Ok(ready)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if edge::environment("HEADWATER_KEEP").is_some() {
            drop(File::create(self.folder.path().join(KEPT)));
            self.folder.disable_cleanup(true);
        }
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).copied().collect::<Vec<_>>().join("\n")
}

/// Never by socket: the crate would follow the path that the server names, which may be another
/// server's.
fn client_opts(port: u16, database: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("root"))
        .db_name(Some(database).filter(|name| !name.is_empty()))
        .prefer_socket(false)
        .max_allowed_packet(Some(1_073_741_824))
}

/// A connection as root to a server on this port.
pub async fn connect(port: u16, database: &str) -> Result<Conn> {
    Conn::new(client_opts(port, database))
        .await
        .with_context(|| format!("cannot connect to 127.0.0.1:{port}"))
}
