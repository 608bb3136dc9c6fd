//! How much room the disk of a folder has left.

use std::path::Path;

/// Free bytes for this user on the disk that a folder is on; `None` if the system does not tell.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
