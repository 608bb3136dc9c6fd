//! The data folder belongs to one process at a time: the lock on `data_dir/lock`, which the system
//! gives up by itself when its holder dies.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::error::Error;

/// Held for as long as the store is open.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How often, and with what pauses, a node's start asks for a folder that another process has:
/// `headwater invite` holds it for a moment, and so does a predecessor that is just ending.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

impl Lock {
    /// [`Lock::take`], waiting up to three seconds for its holder to be gone.
    pub(super) fn wait(folder: &Path) -> Result<Lock, Error> {
        for _ in 1..TRIES {
            match Lock::take(folder) {
                Err(Error::Locked { .. }) => std::thread::sleep(PAUSE),
                result => return result,
            }
        }
        Lock::take(folder)
    }

    /// Makes the folder if there is none, and takes it for this process.
    pub(super) fn take(folder: &Path) -> Result<Lock, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::folder(folder, error))?;
        let path = folder.join("lock");
        let failed = |error| Error::folder(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { folder: folder.to_path_buf(), pid: pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Told to whoever is refused; nothing depends on it, so it is not synced.
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
