//! What the C library may keep of the memory that it is done with. It is told by environment variables
//! only, which have to be there when the process starts.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Measured in docs/figures.md. The driver's buffers are left as they are: fewer or smaller ones make
/// apply slower by a tenth.
const LIMITS: [(&str, &str); 1] = [
    // The C library keeps a pool for every thread; one for all does the same work in less.
    ("MALLOC_ARENA_MAX", "1"),
];

/// Starts this program again in its place, with the limits, unless the environment names them. It
/// stays the same process for whoever started it.
pub(super) fn limit() {
    let missing: Vec<_> =
        LIMITS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "headwater".into());
    let again =
        |program| Command::new::<PathBuf>(program).arg0(name).args(arguments).envs(missing).exec();
    let (Ok(error) | Err(error)) = std::env::current_exe().map(again);
    tracing::warn!(%error, "runs without a limit on pooled memory, and may take 20 MiB more");
}
