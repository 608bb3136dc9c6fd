//! What the C library and the database driver may keep of the memory that they are done with. Both
//! are told by environment variables only, which have to be there when the process starts.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Measured in docs/figures.md.
const LIMITS: [(&str, &str); 3] = [
    // The C library keeps a pool for every thread; one for all does the same work in less.
    ("MALLOC_ARENA_MAX", "1"),
    // The driver keeps 128 buffers, each as large as the largest packet it held, up to 4 MiB. Large
    // ones are worth keeping, for each statement fills one; a few of them do.
    ("MYSQL_ASYNC_BUFFER_POOL_CAP", "8"),
    ("MYSQL_ASYNC_BUFFER_SIZE_CAP", "2097152"),
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
    tracing::warn!(%error, "runs without limits on pooled memory, and may take 20 MiB more");
}
