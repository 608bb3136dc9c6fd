//! (b) From the server's log into the spool, with nobody at the other end: the whole of capture,
//! identities looked up, segments compressed and on disk.

use std::time::Duration;

use anyhow::{Result, ensure};
use headwater_rig::edge;
use serde_json::Value;
use tokio::time::Instant;

use crate::peers;
use crate::process::{peak_memory_bytes, processor_time};
use crate::report::{Report, mebibytes, median, rate, tell};
use crate::site::Site;

const ROUNDS: usize = 3;
/// How often the counters are looked at.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the counter of rows has to stand still before the status is asked whether that was all.
const STILL: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_mins(20);

struct Round {
    took: Duration,
    rows: u64,
    commits: u64,
    peak_bytes: u64,
    processor: Duration,
}

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(b) capturing into the spool");
    site.link.refuse();
    let (mut rounds, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rounds.push(round(site).await?);
        raw.push(
            peers::read_raw(&site.child_server, site.load.first_file()?, &site.scratch()).await?,
        );
    }
    site.forget_load()?;
    site.link.allow();
    rounds.sort_by_key(|round| round.took);
    let Some(middle) = rounds.get(ROUNDS / 2) else { return Ok(()) };
    let peak = rounds.iter().map(|round| round.peak_bytes).max().unwrap_or(0);
    let theirs = median(&raw);
    let found = [
        format!(
            "headwater: {} rows in {:.2} s: {:.0} rows/s; {:.1} commits to disk per second; \
             {:.2} s of processor time",
            middle.rows,
            middle.took.as_secs_f64(),
            rate(middle.rows, middle.took),
            rate(middle.commits, middle.took),
            middle.processor.as_secs_f64(),
        ),
        format!("peak memory: {} (goal: at most 64)", mebibytes(peak)),
        format!(
            "mysqlbinlog --read-from-remote-server --raw: {:.2} s: {:.0} rows/s",
            theirs.as_secs_f64(),
            rate(middle.rows, theirs)
        ),
        format!(
            "{:.2} of the raw reader's rate (goal: at least 0.5); medians of {ROUNDS}",
            theirs.as_secs_f64() / middle.took.as_secs_f64()
        ),
    ];
    let bound_by = "both cores: translating rows, and the identity index; the disk waits";
    report.figure('b', "capture into the spool", &found, bound_by);
    Ok(())
}

/// Captures the load once.
async fn round(site: &mut Site) -> Result<Round> {
    site.forget_load()?;
    let child = &mut site.child;
    let started = Instant::now();
    child.start()?;
    let (mut rows, mut moved) = (0.0, Instant::now());
    loop {
        edge::sleep(PAUSE).await;
        let now = child.metric("headwater_capture_rows_total");
        if now > rows {
            rows = now;
            moved = Instant::now();
        }
        if moved.elapsed() > STILL && rows > 0.0 && at_end(&child.status().await?) {
            break;
        }
        ensure!(moved.elapsed() < PATIENCE, "capture stands still\n{}", child.log_tail());
    }
    let process = child.process_id()?;
    let round = Round {
        took: moved - started,
        rows: whole(rows),
        commits: whole(child.metric("headwater_store_commits_total")),
        peak_bytes: peak_memory_bytes(process)?,
        processor: processor_time(process)?,
    };
    child.stop().await?;
    Ok(round)
}

/// Whether capture has read all of the log.
fn at_end(status: &Value) -> bool {
    status.pointer("/capture/lag_seconds") == Some(&Value::from(0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole")]
fn whole(counter: f64) -> u64 {
    counter as u64
}
