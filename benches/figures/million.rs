//! (g) One transaction of a million rows, from the child's tables to the parent's: how long it takes,
//! and how much memory each end needs for it. It has to be far less than the transaction.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headwater_rig::{Direction, Link, Server, edge, openmrs};
use tokio::time::Instant;

use crate::Wanted;
use crate::node::Node;
use crate::process::peak_memory_bytes;
use crate::report::{Report, mebibytes, rate, tell};
use crate::site::{self, DATABASE, STATUS_PAUSE};

/// Rows of the one transaction.
const ROWS: u64 = 1_000_000;
/// A status starts a program on the machine that is being measured: not too often.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_mins(20);

struct Ends {
    child: Node,
    parent: Node,
    child_server: Server,
    parent_server: Server,
    link: Link,
    _folder: tempfile::TempDir,
}

pub(crate) async fn measure(wanted: &Wanted, report: &mut Report) -> Result<()> {
    let rows = wanted.rows.unwrap_or(ROWS);
    let mut ends = set_up(wanted).await?;
    let mut found = vec![format!("server: {}", ends.child_server.installed().version)];
    found.push(capture(&mut ends, rows).await?);
    found.push(send(&mut ends, rows).await?);
    found.push(compare(&mut ends, rows).await?);
    let bound_by = "the parent's server: the indexes of obs, and its undo and redo logs";
    report.figure('g', &format!("one transaction of {rows} rows"), &found, bound_by);
    Ok(())
}

async fn set_up(wanted: &Wanted) -> Result<Ends> {
    tell(&format!("starting two {} servers", wanted.flavor));
    let child_server = Server::start_with_openmrs(wanted.flavor, site::options()).await?;
    let parent_server = Server::start_with_openmrs(wanted.flavor, site::options()).await?;
    openmrs::seed(&child_server, DATABASE, 0).await?;
    openmrs::seed(&parent_server, DATABASE, 5000).await?;
    let folder = tempfile::Builder::new().prefix("headwater-figures-").tempdir()?;
    let port = edge::free_port()?;
    let link = Link::to_port(port).await?;
    let dials = format!("[parent]\nurl = \"https://127.0.0.1:{}\"", link.port());
    let listens = format!("[listen]\naddress = \"127.0.0.1:{port}\"\nnames = [\"127.0.0.1\"]");
    let mut child = Node::new(folder.path(), "clinic-12", &child_server, &dials)?;
    let mut parent = Node::new(folder.path(), "parent", &parent_server, &listens)?;
    site::enrol(&child, &mut parent).await?;
    child.start()?;
    child.in_step(STATUS_PAUSE).await?;
    Ok(Ends { child, parent, child_server, parent_server, link, _folder: folder })
}

/// The transaction is made and captured while there is no link.
async fn capture(ends: &mut Ends, rows: u64) -> Result<String> {
    ends.link.refuse();
    let before = peak_memory_bytes(ends.child.process_id()?)?;
    tell(&format!("(g) the child's database makes {rows} rows"));
    ends.child_server.sql_in(DATABASE, &transaction(rows)).await?;
    tell("(g) capturing them");
    let started = Instant::now();
    let captured = |status: &serde_json::Value| {
        status.pointer("/capture/lag_seconds") == Some(&serde_json::Value::from(0))
    };
    while !captured(&ends.child.status().await?) {
        ensure!(started.elapsed() < PATIENCE, "it is not captured\n{}", ends.child.log_tail());
        edge::sleep(PAUSE).await;
    }
    let status = ends.child.status().await?;
    let spooled = status.pointer("/spool/bytes").and_then(serde_json::Value::as_u64);
    Ok(format!(
        "captured within {:.0} s of the commit, {} in the spool; peak memory of the child: {}, \
         before {} (goal: at most 64)",
        started.elapsed().as_secs_f64(),
        mebibytes(spooled.context("no spool in the status")?),
        mebibytes(peak_memory_bytes(ends.child.process_id()?)?),
        mebibytes(before),
    ))
}

/// It is cut into a batch, sent and applied.
async fn send(ends: &mut Ends, rows: u64) -> Result<String> {
    tell("(g) sending and applying them");
    let before = peak_memory_bytes(ends.parent.process_id()?)?;
    ends.link.allow();
    let started = Instant::now();
    ends.child.in_step(PAUSE).await?;
    let took = started.elapsed();
    Ok(format!(
        "sent and applied in {:.0} s: {:.0} rows/s, {} on the wire; peak memory: child {}, parent \
         {}, before {}",
        took.as_secs_f64(),
        rate(rows, took),
        mebibytes(ends.link.passed(Direction::Up)),
        mebibytes(peak_memory_bytes(ends.child.process_id()?)?),
        mebibytes(peak_memory_bytes(ends.parent.process_id()?)?),
        mebibytes(before),
    ))
}

async fn compare(ends: &mut Ends, rows: u64) -> Result<String> {
    ends.child.stop().await?;
    ends.parent.stop().await?;
    tell("(g) comparing both ends");
    let arrived = ends.parent_server.ask(DATABASE, "SELECT COUNT(*) FROM obs").await?;
    ensure!(arrived == Some(rows.to_string()), "the parent has {arrived:?} rows of {rows}");
    let with = ends.parent.config.to_str().context("a path that is not text")?.to_owned();
    let compared = ends.child.says(&["compare", "--with", &with]).await?;
    let verdict = compared.lines().last().unwrap_or_default();
    ensure!(verdict.ends_with(" 0 differences"), "the ends differ:\n{compared}");
    Ok(format!("afterwards: {verdict}"))
}

/// So many observations, made by one statement.
fn transaction(rows: u64) -> String {
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL \
                  SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL \
                  SELECT 8 UNION ALL SELECT 9)";
    let numbers: Vec<String> = (0..7).map(|place| format!("{digits} t{place}")).collect();
    // What UUID() gives follows on from the last one, and would compress as no application's do.
    let hex = |count: u32| format!("LEFT(SHA2(UUID(), 256), {count})");
    let uuid = format!(
        "CONCAT_WS('-', {}, {}, CONCAT('4', {}), CONCAT('a', {}), {})",
        hex(8),
        hex(4),
        hex(3),
        hex(3),
        hex(12)
    );
    format!(
        "INSERT INTO obs (person_id, concept_id, obs_datetime, location_id, value_numeric, comments, \
         creator, date_created, uuid, status) \
         SELECT p.id, c.id, '2026-03-04 05:06:07', l.id, t0.d + 10 * t1.d + t2.d / 10, \
         CONCAT('taken ', t3.d, t4.d, t5.d, t6.d), u.id, '2026-03-04 05:06:07', {uuid}, 'FINAL' \
         FROM (SELECT MIN(person_id) AS id FROM person) p, \
         (SELECT MIN(concept_id) AS id FROM concept) c, \
         (SELECT MIN(location_id) AS id FROM location) l, \
         (SELECT MIN(user_id) AS id FROM users) u, {} LIMIT {rows}",
        numbers.join(", ")
    )
}
