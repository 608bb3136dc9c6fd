//! One headwater process of the demo, driven as anybody would drive it: by its configuration file, its
//! command line and signals.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use headwater_rig::{edge, tail};
use serde_json::Value;

pub(crate) struct Node {
    pub(crate) name: &'static str,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub(crate) fn new(
        name: &'static str,
        program: &Path,
        folder: &Path,
        configuration: &str,
    ) -> Result<Node> {
        let config = folder.join(format!("{name}.toml"));
        fs::write(&config, configuration)?;
        Ok(Node {
            name,
            program: program.to_owned(),
            config,
            log: folder.join(format!("{name}.log")),
            child: None,
        })
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Runs one subcommand to its end; returns what it printed on standard output.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<String> {
        let (success, stdout, stderr) = self.try_command(arguments).await?;
        if !success {
            bail!(
                "headwater {} at the {} failed:\n{stdout}{stderr}",
                arguments.join(" "),
                self.name
            );
        }
        Ok(stdout)
    }

    /// The same, for those that may say no: whether it succeeded, standard output, standard error.
    pub(crate) async fn try_command(&self, arguments: &[&str]) -> Result<(bool, String, String)> {
        let output = tokio::process::Command::new(&self.program)
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_mins(5), output)
            .await
            .with_context(|| format!("headwater {} took over 5 minutes", arguments.join(" ")))?
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }

    /// Starts `headwater run` in the background.
    pub(crate) fn run(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let errors = log.try_clone()?;
        let config = self.config.clone();
        self.child = Some(edge::spawn_tied(self.program.as_os_str(), move |command| {
            command.arg("--config").arg(config).arg("run");
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
        })?);
        Ok(())
    }

    /// Takes its power away.
    pub(crate) fn kill9(&mut self) -> Result<()> {
        self.ensure_running()?;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end, which has to be a good one.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.ensure_running()?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        tokio::process::Command::new("kill").arg(child.id().to_string()).status().await?;
        for _ in 0..600 {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the {} ended with {status} on SIGTERM", self.name);
            }
            edge::sleep(Duration::from_millis(50)).await;
        }
        child.kill()?;
        child.wait()?;
        bail!("the {} did not end within 30 s of SIGTERM", self.name)
    }

    /// An error if it should be running and is not.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.child = None;
            bail!("headwater at the {} ended by itself with {status}", self.name);
        }
        Ok(())
    }

    /// What `status --json` says, once it can say anything.
    pub(crate) async fn status(&self) -> Result<Value> {
        let (success, stdout, stderr) = self.try_command(&["status", "--json"]).await?;
        serde_json::from_str(&stdout).with_context(|| {
            format!(
                "status --json of the {} (success: {success}) printed {stdout}{stderr}",
                self.name
            )
        })
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&log), 40)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
