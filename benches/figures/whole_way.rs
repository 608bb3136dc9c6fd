//! (c) From the child's log to the parent's tables over HTTPS, beside native replication of the
//! same log to a server with the same settings; then both ends are compared, row by row.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use crate::process::{peak_memory_bytes, processor_time};
use crate::report::{Report, mebibytes, rate, tell};
use crate::site::{DATABASE, Site};

/// Each look at the status starts a program on the machine that is being measured: not too often.
const STATUS_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    let (ours, mut found) = headwater(site).await?;
    let (native, line) = native(site).await?;
    found.push(line);
    found.push(format!(
        "{:.1} times native replication (goal: at least 4, better 8)",
        native.as_secs_f64() / ours.as_secs_f64()
    ));
    let bound_by = "the parent's server, which keeps 14 indexes of obs; then its log's syncs";
    report.figure('c', "end to end over HTTPS", &found, bound_by);
    Ok(())
}

async fn headwater(site: &mut Site) -> Result<(Duration, Vec<String>)> {
    tell("(c) from the child's log to the parent's tables");
    let server = site.parent_server.pid().context("the parent's server is gone")?;
    let server_before = processor_time(server)?;
    site.parent.start_and_listen().await?;
    let started = Instant::now();
    site.child.start()?;
    site.child.in_step(STATUS_PAUSE).await?;
    let took = started.elapsed();
    let server_used = processor_time(server)?.saturating_sub(server_before);
    let (child, parent) = (site.child.process_id()?, site.parent.process_id()?);
    let mut found = vec![
        format!(
            "headwater: {} rows in {:.1} s: {:.0} rows/s; peak memory: child {}, parent {}",
            site.load.rows,
            took.as_secs_f64(),
            rate(site.load.rows, took),
            mebibytes(peak_memory_bytes(child)?),
            mebibytes(peak_memory_bytes(parent)?),
        ),
        format!(
            "processor time: child {:.1} s, parent {:.1} s, the parent's server {:.1} s",
            processor_time(child)?.as_secs_f64(),
            processor_time(parent)?.as_secs_f64(),
            server_used.as_secs_f64(),
        ),
    ];
    site.child.stop().await?;
    site.parent.stop().await?;
    tell("(c) comparing both ends");
    let untouched = site.others.untouched(&site.parent_server, DATABASE).await?;
    ensure!(untouched, "rows of the other clinic at the parent have changed");
    site.others.remove(&site.parent_server, DATABASE).await?;
    let with = site.parent.config.to_str().context("a path that is not text")?.to_owned();
    let compared = site.child.says(&["compare", "--with", &with]).await?;
    let verdict = compared.lines().last().unwrap_or_default();
    ensure!(
        verdict.starts_with("in step: ") && verdict.ends_with(" 0 differences"),
        "the ends differ:\n{compared}"
    );
    found.push(format!("afterwards: {verdict}"));
    Ok((took, found))
}

async fn native(site: &Site) -> Result<(Duration, String)> {
    tell("(c) native replication of the same log");
    let server = site.replica.server.pid().context("the replica is gone")?;
    let before = processor_time(server)?;
    let started = Instant::now();
    site.replica.start().await?;
    site.replica.caught_up(&site.child_server).await?;
    let took = started.elapsed();
    let used = processor_time(server)?.saturating_sub(before);
    site.replica.stop().await?;
    let line = format!(
        "native replication, 2 workers, same durability: {:.1} s: {:.0} rows/s; processor time of \
         the replica {:.1} s",
        took.as_secs_f64(),
        rate(site.load.rows, took),
        used.as_secs_f64(),
    );
    Ok((took, line))
}
