//! (e) What two nodes cost that have nothing to do.

use std::time::Duration;

use anyhow::Result;
use headwater_rig::{Direction, edge};
use tokio::time::Instant;

use crate::process::processor_time;
use crate::report::{Report, tell};
use crate::site::Site;

/// Until what came before has settled.
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_mins(1);

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(e) watching idle nodes for a minute");
    site.in_step().await?;
    edge::sleep(SETTLE).await;
    let (child, parent) = (site.child.process_id()?, site.parent.process_id()?);
    let before = [processor_time(child)?, processor_time(parent)?];
    let passed = |site: &Site| [site.link.passed(Direction::Up), site.link.passed(Direction::Down)];
    let (bytes, connections) = (passed(site), site.link.connections());
    let started = Instant::now();
    edge::sleep(WATCH).await;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let [child_before, parent_before] = before;
    let child_used = processor_time(child)?.saturating_sub(child_before);
    let parent_used = processor_time(parent)?.saturating_sub(parent_before);
    let bytes: u64 = passed(site).iter().sum::<u64>() - bytes.iter().sum::<u64>();
    let connections = site.link.connections() - connections;
    let found = [
        format!(
            "processor time per minute: child {:.2} s, parent {:.2} s",
            child_used.as_secs_f64() / minutes,
            parent_used.as_secs_f64() / minutes
        ),
        format!(
            "on the wire: {bytes} bytes both ways and {connections} new connections in the minute, \
             {} bytes per hour at that rate",
            bytes * 60
        ),
    ];
    let bound_by = "heartbeats of the server, housekeeping every few seconds";
    report.figure('e', "idle", &found, bound_by);
    Ok(())
}
