//! (a) Our decoder alone: every event of the log in memory, every column of every row of a mapped
//! table made a value, beside the server's raw reader, which decodes nothing.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headwater::capture::decode::{
    Body, ColumnFacts, Decoder, MapColumn, RawColumn, Row, RowsEvent, TableMapEvent,
};
use headwater::database::schema::LiveSchema;
use headwater::schema_map::{BoundMap, MapFile};
use tokio::time::Instant;

use crate::peers;
use crate::report::{Report, median, rate, tell};
use crate::site::{DATABASE, Site};

const ROUNDS: usize = 5;
/// Limit for what a compressed event may take.
const INFLATED_BYTES_MAX: u64 = 1 << 30;

pub(crate) async fn measure(site: &Site, report: &mut Report) -> Result<()> {
    tell("(a) decoding the log in memory");
    let mut conn = site.child_server.conn(DATABASE).await?;
    let live = LiveSchema::read(&mut conn, DATABASE).await?;
    conn.disconnect().await?;
    let map = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
    let bound = BoundMap::bind(&MapFile::load(&[map])?, &live);
    let log = site.load.files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    let mut tally = Tally::default();
    for _ in 0..ROUNDS {
        let (taken, counted) = tokio::task::block_in_place(|| walk(&log, &bound))?;
        ours.push(taken);
        tally = counted;
        raw.push(
            peers::read_raw(&site.child_server, site.load.first_file()?, &site.scratch()).await?,
        );
    }
    ensure!(tally.rows * 10 > site.load.rows * 9, "only {} rows were decoded", tally.rows);
    let (mine, theirs) = (median(&ours), median(&raw));
    let found = [
        format!(
            "headwater: {} rows, {} values in {:.2} s: {:.0} rows/s, {:.0} MB/s",
            tally.rows,
            tally.values,
            mine.as_secs_f64(),
            rate(tally.rows, mine),
            rate(site.load.bytes, mine) / 1e6,
        ),
        format!(
            "mysqlbinlog --read-from-remote-server --raw: {:.2} s: {:.0} rows/s",
            theirs.as_secs_f64(),
            rate(tally.rows, theirs)
        ),
        format!(
            "{:.2} times the raw reader (goal: at least 1); medians of {ROUNDS}",
            theirs.as_secs_f64() / mine.as_secs_f64()
        ),
    ];
    let bound_by = "one core: checksums, finding where each value ends, checking text";
    report.figure('a', "decode alone", &found, bound_by);
    Ok(())
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rows: u64,
    values: u64,
}

/// How the rows of one table are read.
struct Plan {
    described: Vec<u8>,
    columns: Vec<MapColumn>,
    facts: Vec<ColumnFacts>,
}

struct Walk<'m> {
    bound: &'m BoundMap,
    plans: HashMap<String, Arc<Plan>>,
    /// What the table ids of the present statement mean; mapped tables only.
    open: HashMap<u64, Arc<Plan>>,
    tally: Tally,
}

fn walk(log: &[Vec<u8>], bound: &BoundMap) -> Result<(Duration, Tally)> {
    let started = Instant::now();
    let (plans, open) = (HashMap::new(), HashMap::new());
    let mut walk = Walk { bound, plans, open, tally: Tally::default() };
    for file in log {
        let mut decoder = Decoder::new(INFLATED_BYTES_MAX);
        let mut rest = file.get(4..).context("a log file without its magic number")?;
        while !rest.is_empty() {
            let size = rest.get(9..13).and_then(|bytes| bytes.try_into().ok());
            let size = u32::from_le_bytes(size.context("a torn event")?) as usize;
            let (event, after) = rest.split_at_checked(size).context("a torn event")?;
            rest = after;
            match decoder.event(event, false)?.body {
                Body::TableMap(map) => walk.table(&map)?,
                Body::Rows(rows) => walk.rows(&rows)?,
                other => drop(black_box(other)),
            }
        }
    }
    Ok((started.elapsed(), walk.tally))
}

impl Walk<'_> {
    fn table(&mut self, map: &TableMapEvent<'_>) -> Result<()> {
        let known = self.plans.get(map.table).filter(|plan| plan.described == map.body);
        if let Some(plan) = known {
            self.open.insert(map.table_id, Arc::clone(plan));
            return Ok(());
        }
        let bound = (map.schema == DATABASE).then(|| self.bound.tables.get(map.table)).flatten();
        let Some(bound) = bound else { return Ok(()) };
        let columns = map.columns()?;
        let facts = columns
            .iter()
            .zip(&bound.columns)
            .map(|(logged, live)| ColumnFacts::new(logged, &live.live))
            .collect::<Result<Vec<_>, _>>()?;
        let plan = Arc::new(Plan { described: map.body.to_vec(), columns, facts });
        self.plans.insert(map.table.to_owned(), Arc::clone(&plan));
        self.open.insert(map.table_id, plan);
        Ok(())
    }

    fn rows(&mut self, rows: &RowsEvent<'_>) -> Result<()> {
        if let Some(plan) = self.open.get(&rows.table_id) {
            let mut reader = rows.rows(&plan.columns)?;
            let mut row = Row::default();
            while reader.read(&mut row)? {
                self.tally.rows += 1;
                self.tally.values += plan.values(&row.before)? + plan.values(&row.after)?;
            }
        }
        if rows.statement_end {
            self.open.clear();
        }
        Ok(())
    }
}

impl Plan {
    fn values(&self, image: &[RawColumn<'_>]) -> Result<u64> {
        for ((raw, described), facts) in image.iter().zip(&self.columns).zip(&self.facts) {
            black_box(raw.value(described.column, facts)?);
        }
        Ok(image.len() as u64)
    }
}
