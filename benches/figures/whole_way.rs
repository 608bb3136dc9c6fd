//! (c) From the child's log to the parent's tables over HTTPS, beside native replication of the same
//! log to a server with the same settings; then both ends are compared, row by row.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use crate::process::{peak_memory_bytes, processor_time};
use crate::report::{Report, rate, tell};
use crate::site::{STATUS_PAUSE, Site};

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(c) from the child's log to the parent's tables");
    let server = site.parent_server.pid().context("the parent's server is gone")?;
    let server_before = processor_time(server)?;
    let started = Instant::now();
    site.parent.start()?;
    site.child.start()?;
    site.child.in_step(STATUS_PAUSE).await?;
    let ours = started.elapsed();
    let server_used = processor_time(server)?.saturating_sub(server_before);
    let (child, parent) = (site.child.process_id()?, site.parent.process_id()?);
    let used = [processor_time(child)?, processor_time(parent)?, server_used];
    let peaks = [peak_memory_bytes(child)?, peak_memory_bytes(parent)?];
    site.child.stop().await?;
    site.parent.stop().await?;
    tell("(c) comparing both ends");
    let with = site.parent.config.to_str().context("a path that is not text")?.to_owned();
    let compared = site.child.says(&["compare", "--subset", "--with", &with]).await?;
    let verdict = compared.lines().last().unwrap_or_default().to_owned();
    ensure!(verdict.ends_with(" 0 differences"), "the ends differ:\n{compared}");

    tell("(c) native replication of the same log");
    let replica = site.replica.server.pid().context("the replica is gone")?;
    let replica_before = processor_time(replica)?;
    let started = Instant::now();
    site.replica.start().await?;
    site.replica.caught_up(&site.child_server).await?;
    let native = started.elapsed();
    let replica_used = processor_time(replica)?.saturating_sub(replica_before);
    site.replica.stop().await?;

    let rows = site.load.rows;
    let seconds = |time: Duration| time.as_secs_f64();
    let mib = |bytes: u64| bytes / (1 << 20);
    let [child_used, parent_used, server_used] = used;
    let [child_peak, parent_peak] = peaks;
    let found = [
        format!(
            "headwater: {rows} rows in {:.1} s: {:.0} rows/s; peak memory {} MiB child, {} MiB parent",
            seconds(ours),
            rate(rows, ours),
            mib(child_peak),
            mib(parent_peak),
        ),
        format!(
            "processor time: child {:.1} s, parent {:.1} s, the parent's server {:.1} s",
            seconds(child_used),
            seconds(parent_used),
            seconds(server_used),
        ),
        format!("afterwards: {verdict}"),
        format!(
            "native replication, 2 workers, same durability: {:.1} s: {:.0} rows/s; \
             processor time of the replica {:.1} s",
            seconds(native),
            rate(rows, native),
            seconds(replica_used),
        ),
        format!(
            "{:.1} times native replication (goal: at least 4, better 8)",
            seconds(native) / seconds(ours)
        ),
    ];
    let bound_by = "the parent's server, which keeps 14 indexes of obs; then its log's syncs";
    report.figure('c', "end to end over HTTPS", &found, bound_by);
    Ok(())
}
