//! The machine around the rig: its environment, its time, its free ports, and how a child process
//! is started so that it never outlives us.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::RngExt as _;

/// An environment variable, if set and not empty.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|v| !v.is_empty())
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the rig waits for real servers")]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The folder in which the servers and their templates are kept:
/// `HEADWATER_SERVERS`, else `headwater` in the user's cache.
pub fn cache_folder() -> PathBuf {
    if let Some(folder) = environment("HEADWATER_SERVERS") {
        return PathBuf::from(folder);
    }
    let cache = environment("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(environment("HOME").unwrap_or_else(|| "/tmp".to_owned())).join(".cache"),
        PathBuf::from,
    );
    cache.join("headwater")
}

/// A program of this name on the path, or where Debian puts servers.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A TCP port of 127.0.0.1 that was free a moment ago, below the range from which the system
/// takes ports for outgoing connections, so that a server that is restarted finds it free again.
pub fn free_port() -> Result<u16> {
    for _ in 0..200 {
        let port = rand::rng().random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port between 20000 and 32000 on 127.0.0.1")
}

type Order = (Command, SyncSender<io::Result<Child>>);

/// Starts `command` so that the system kills it when this process dies, however it dies.
///
/// The system ties that to the *thread* that started the child, so all children are started by one thread
/// that lives as long as the process.
pub fn spawn_tied(program: &std::ffi::OsStr, prepare: impl FnOnce(&mut Command)) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<SyncSender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = sync_channel::<Order>(0);
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The one who ordered may be gone; then nobody wants the child, and dropping the
                // answer would leave it running.
                if let Err(unwanted) = answer.send(command.spawn())
                    && let Ok(mut child) = unwanted.0
                {
                    drop(child.kill());
                    drop(child.wait());
                }
            }
        });
        Mutex::new(orders)
    });
    let mut command = match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    prepare(&mut command);
    let (answer, child) = sync_channel(1);
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .context("the thread that starts processes is gone")?;
    child
        .recv()
        .context("the thread that starts processes is gone")?
        .with_context(|| format!("cannot start {}", program.display()))
}
