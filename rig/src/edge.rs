//! The machine around the rig: its environment, its time, its free ports, and how a child process
//! is started so that it never outlives us.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;

/// An environment variable, if set and not empty.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|v| !v.is_empty())
}

/// The seed of a random test, told on standard error: the same in each run unless `HEADWATER_SEED` has
/// another number, or says `random`.
#[expect(clippy::print_stderr, reason = "a test that failed is run again with it")]
pub fn seed() -> Result<u64> {
    const USUAL: u64 = 1;
    let seed = match environment("HEADWATER_SEED").as_deref() {
        None => USUAL,
        Some("random") => rand::rng().random(),
        Some(number) => {
            number.parse::<u64>().with_context(|| format!("HEADWATER_SEED={number} is no seed"))?
        }
    };
    eprintln!("HEADWATER_SEED={seed}");
    Ok(seed)
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

/// Below the range from which the system takes ports for outgoing connections, so that a server that is
/// restarted finds its own free again.
const PORTS: Range<u16> = 20_000..32_000;

/// A process takes so many of them at a time.
const BLOCK: u16 = 50;

/// A TCP port of 127.0.0.1 that is free, and that no other caller is given while this process lives, here
/// or in another process: what listens there may stop and start again.
pub fn free_port() -> Result<u16> {
    static OURS: Mutex<Ports> = Mutex::new(Ports { left: 0..0, locks: Vec::new() });
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match ours.left.next() {
            Some(port) if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() => {
                return Ok(port);
            }
            Some(_) => {}
            None => ours.take_block()?,
        }
    }
}

/// The ports of this process.
struct Ports {
    /// Those of the last block that were not given away.
    left: Range<u16>,
    /// A file for each block, locked until this process ends.
    locks: Vec<File>,
}

impl Ports {
    fn take_block(&mut self) -> Result<()> {
        let folder = std::env::temp_dir().join("headwater-ports");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // For the tests of all users; whose folder it is has seen to that.
        drop(fs::set_permissions(&folder, Permissions::from_mode(0o777)));
        for _ in 0..1000 {
            let first = rand::rng().random_range(PORTS.start / BLOCK..PORTS.end / BLOCK) * BLOCK;
            let path = folder.join(first.to_string());
            let Ok(file) = File::create_new(&path).or_else(|_| File::open(&path)) else { continue };
            if file.try_lock().is_ok() {
                self.left = first..first + BLOCK;
                self.locks.push(file);
                return Ok(());
            }
        }
        bail!("no ports are left: other processes hold all files of {}", folder.display())
    }
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{BLOCK, free_port};

    #[test]
    fn no_port_is_given_away_twice() {
        let ports = 3 * usize::from(BLOCK);
        let given: HashSet<u16> = (0..ports).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.len(), ports);
    }
}
