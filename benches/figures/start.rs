//! (f) From starting `headwater run` to the first change in its spool, and the program's size.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headwater_rig::edge;
use tokio::time::Instant;
use uuid::Uuid;

use crate::encounter::encounter;
use crate::node::PROGRAM;
use crate::report::{Report, median, milliseconds, tell};
use crate::site::{DATABASE, Site};

const ROUNDS: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn measure(site: &mut Site, report: &mut Report) -> Result<()> {
    tell("(f) starting");
    site.in_step().await?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        site.child.stop().await?;
        site.child_server.sql_in(DATABASE, &encounter(Uuid::new_v4())).await?;
        let started = Instant::now();
        site.child.start()?;
        while site.child.metric("headwater_capture_rows_total") < 1.0 {
            ensure!(started.elapsed() < PATIENCE, "nothing captured\n{}", site.child.log_tail());
            edge::sleep(PAUSE).await;
        }
        times.push(started.elapsed());
        site.in_step().await?;
    }
    let bytes = std::fs::metadata(PROGRAM).context("no program")?.len();
    let found = [
        format!(
            "start to the first change in the spool: {} (median of {ROUNDS})",
            milliseconds(median(&times))
        ),
        format!("the program: {bytes} bytes ({} MiB)", bytes / (1 << 20)),
    ];
    let bound_by = "reading the tables' definitions from information_schema";
    report.figure('f', "start and size", &found, bound_by);
    Ok(())
}
