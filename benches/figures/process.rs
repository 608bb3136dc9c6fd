//! What the system tells of a process.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks per second in `/proc/PID/stat`: the same on every Linux that runs Rust's standard library.
const TICKS_PER_SECOND: u64 = 100;

/// The most memory it has had at once, in bytes.
pub(crate) fn peak_memory_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// The processor time it has used.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name may contain anything but ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |place: usize| -> Result<u64> {
        Ok(fields.get(place).context("a short stat")?.parse::<u64>()?)
    };
    let ticks = ticks(11)? + ticks(12)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
