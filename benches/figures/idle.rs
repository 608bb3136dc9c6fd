//! (e) What two nodes cost that have nothing to do.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use headwater_rig::{Direction, edge};
use tokio::time::Instant;

use crate::process::processor_time;
use crate::report::{Report, tell};
use crate::site::Site;

/// Until what came before has settled.
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_mins(1);
/// A child says hello a quarter of an hour after the last time, or up to a quarter of that sooner.
const HELLOS_PER_HOUR: f64 = 4.0 / (1.0 - 0.25 / 2.0);
/// So many hellos are weighed, said much more often than usual.
const HELLOS: u64 = 8;
const HELLO_EVERY: &str = "hello_every = \"4s\"";
/// Between two hellos nothing is said for longer than this, within one never.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(e) watching idle nodes for a minute");
    site.in_step().await?;
    edge::sleep(SETTLE).await;
    let (child, parent) = (site.child.process_id()?, site.parent.process_id()?);
    let before = [processor_time(child)?, processor_time(parent)?];
    let (bytes, connections) = (passed(site), site.link.connections());
    let started = Instant::now();
    edge::sleep(WATCH).await;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let [child_before, parent_before] = before;
    let child_used = processor_time(child)?.saturating_sub(child_before);
    let parent_used = processor_time(parent)?.saturating_sub(parent_before);
    let bytes = passed(site) - bytes;
    let connections = site.link.connections() - connections;

    let hello = hello_bytes(site).await?;
    #[expect(clippy::cast_precision_loss, reason = "thousands of bytes")]
    let hourly = bytes as f64 / minutes * 60.0 + hello * HELLOS_PER_HOUR;
    let found = [
        format!(
            "processor time per minute: child {:.2} s, parent {:.2} s",
            child_used.as_secs_f64() / minutes,
            parent_used.as_secs_f64() / minutes
        ),
        format!(
            "on the wire: {bytes} bytes both ways and {connections} new connections in a minute \
             without a hello; {hello:.0} bytes both ways for a hello, of which there are \
             {HELLOS_PER_HOUR:.1} an hour; {hourly:.0} bytes per hour in all (TLS, without the \
             headers of TCP and IP)"
        ),
    ];
    let bound_by = "heartbeats of the server, housekeeping every few seconds";
    report.figure('e', "idle", &found, bound_by);
    Ok(())
}

/// What has passed so far, both ways.
fn passed(site: &Site) -> u64 {
    site.link.passed(Direction::Up) + site.link.passed(Direction::Down)
}

/// What a hello on a connection that is kept takes, both ways: the mean of some.
async fn hello_bytes(site: &mut Site) -> Result<f64> {
    tell("(e) weighing hellos");
    let as_it_was = fs::read_to_string(&site.child.config)?;
    site.child.stop().await?;
    site.child.configure(HELLO_EVERY)?;
    site.in_step().await?;
    edge::sleep(PAUSE * 2).await;
    let connections = site.link.connections();
    let (before, started) = (passed(site), Instant::now());
    let (mut last, mut moved, mut hellos) = (before, started - PAUSE, 0);
    // The last one is over when nothing more comes.
    while hellos < HELLOS || moved.elapsed() < PAUSE {
        ensure!(started.elapsed() < Duration::from_mins(2), "{hellos} hellos in two minutes");
        edge::sleep(Duration::from_millis(10)).await;
        let now = passed(site);
        if now != last {
            hellos += u64::from(moved.elapsed() >= PAUSE);
            (last, moved) = (now, Instant::now());
        }
    }
    ensure!(site.link.connections() == connections, "the connection was not kept");
    site.child.stop().await?;
    fs::write(&site.child.config, as_it_was)?;
    site.in_step().await?;
    #[expect(clippy::cast_precision_loss, reason = "thousands of bytes")]
    let mean = (last - before) as f64 / hellos as f64;
    Ok(mean)
}
