//! One headwater process, driven as a site drives it: by its configuration file, its command line
//! and signals.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use headwater_rig::{Server, edge, tail};
use serde_json::Value;
use tokio::time::Instant;

/// The program under test, built as it is shipped.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_headwater");
/// How long nothing may move before the bench gives up.
const STILL_MAX: Duration = Duration::from_mins(3);

pub(crate) struct Node {
    pub(crate) config: PathBuf,
    pub(crate) data: PathBuf,
    log: PathBuf,
    status_port: u16,
    process: Option<Child>,
}

impl Node {
    /// A node of this name on this server; `section` says whom it dials or where it listens.
    pub(crate) fn new(folder: &Path, name: &str, server: &Server, section: &str) -> Result<Node> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
        let (config, data) = (folder.join("headwater.toml"), folder.join("data"));
        let status_port = edge::free_port()?;
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n\n\
             [database]\nurl = \"{}\"\nmaps = [\"{}\"]\n\n\
             [status]\naddress = \"127.0.0.1:{status_port}\"\n\n{section}\n",
            data.display(),
            server.url("openmrs"),
            map.display()
        );
        fs::write(&config, text)?;
        Ok(Node { config, data, log: folder.join("log"), status_port, process: None })
    }

    /// Runs a command of this node to its end: whether it went well, and all it printed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<(bool, String, String)> {
        let output = tokio::process::Command::new(PROGRAM)
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }

    /// Runs a command that has to succeed; gives what it printed.
    pub(crate) async fn says(&self, arguments: &[&str]) -> Result<String> {
        let (well, out, err) = self.command(arguments).await?;
        ensure!(well, "headwater {}: {out}{err}\n{}", arguments.join(" "), self.log_tail());
        Ok(out)
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let config = self.config.clone();
        self.process = Some(edge::spawn_tied(PROGRAM.as_ref(), |command| {
            command.arg("--config").arg(config).arg("run");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        })?);
        Ok(())
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start_and_listen(&mut self) -> Result<()> {
        let before = self.log_text().len();
        self.start()?;
        let started = Instant::now();
        let listens =
            |log: &str| log.get(before..).is_some_and(|new| new.contains("listening for"));
        while !listens(&self.log_text()) {
            ensure!(started.elapsed() < STILL_MAX, "it does not listen\n{}", self.log_tail());
            edge::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        tokio::process::Command::new("kill").arg(process.id().to_string()).status().await?;
        for _ in 0..1200 {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            edge::sleep(Duration::from_millis(25)).await;
        }
        process.kill()?;
        process.wait()?;
        bail!("headwater did not end within 30 s of SIGTERM\n{}", self.log_tail())
    }

    pub(crate) fn process_id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("headwater does not run")?.id())
    }

    pub(crate) async fn status(&self) -> Result<Value> {
        // Its exit code says whether all is in step.
        let (_, said, _) = self.command(&["status", "--json"]).await?;
        serde_json::from_str(&said).with_context(|| format!("status --json says {said}"))
    }

    /// The figures at `/metrics`; none while the process isn't listening yet.
    pub(crate) fn metrics(&self) -> HashMap<String, f64> {
        self.scrape().map(|text| figures(&text)).unwrap_or_default()
    }

    fn scrape(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.status_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// One of the figures, 0 if it has not been counted yet.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metrics().get(name).copied().unwrap_or(0.0)
    }

    /// Waits until the status is as asked, as long as anything in it moves.
    pub(crate) async fn until(
        &self,
        pause: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = String::new();
        let mut moved = Instant::now();
        loop {
            // Before its first moments a node has no store that could be asked.
            let status = match self.status().await {
                Ok(status) => status,
                Err(error) if moved.elapsed() > STILL_MAX => return Err(error),
                Err(_) => Value::Null,
            };
            if wanted(&status) {
                return Ok(status);
            }
            let pointer = |path: &str| status.pointer(path).unwrap_or(&Value::Null).to_string();
            let now = format!("{}{}", pointer("/capture/position"), pointer("/links"));
            if now != last {
                last = now;
                moved = Instant::now();
            }
            ensure!(
                moved.elapsed() < STILL_MAX,
                "nothing moves any more: {status:#}\n{}",
                self.log_tail()
            );
            edge::sleep(pause).await;
        }
    }

    /// Waits until everything in the log is acknowledged.
    pub(crate) async fn in_step(&self, pause: Duration) -> Result<()> {
        let is = |status: &Value| status.pointer("/in_step") == Some(&Value::Bool(true));
        self.until(pause, is).await.map(|_| ())
    }

    /// Adds a line to the last section of its configuration, for its next start.
    pub(crate) fn configure(&self, line: &str) -> Result<()> {
        let text = fs::read_to_string(&self.config)?;
        Ok(fs::write(&self.config, format!("{text}{line}\n"))?)
    }

    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log_text(), 25)
    }
}

/// The figures of a scrape, by their names with labels.
fn figures(text: &str) -> HashMap<String, f64> {
    text.lines()
        .filter(|line| line.starts_with("headwater_"))
        .filter_map(|line| {
            let (name, value) = line.trim().rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
