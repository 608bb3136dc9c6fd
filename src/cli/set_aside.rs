//! `headwater parked` and `headwater quarantine`: what could not be applied, and what to do with it.

use std::sync::Arc;

use super::arguments::{One, SetAside};
use super::{Error, Outcome, Output, asked};
use crate::apply::{self, Applier, Settings, Shown, ShownValue, State, Waiting};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::database;
use crate::database::schema::LiveSchema;
use crate::schema_map::{BoundMap, Direction, MapFile};

/// How many are listed at once; the oldest come first.
const LISTED_MAX: u32 = 1_000;

pub(super) async fn run(
    config: &Config,
    state: State,
    command: &SetAside,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let applier = applier(config).await?;
    match command {
        SetAside::List(json) => {
            let waiting = applier.list(state, LISTED_MAX).await.map_err(sorted)?;
            if json.json {
                out.json(&waiting)?;
            } else {
                let (parked, quarantined) = applier.counts().await.map_err(sorted)?;
                let all = if state == State::Parked { parked } else { quarantined };
                list(&waiting, all, state, out)?;
            }
            Ok(Outcome::Well)
        }
        SetAside::Show(one) => show(&applier, state, one, out).await,
        SetAside::Retry(one) => retry(&applier, state, one, out).await,
        SetAside::Discard(one) => discard(&applier, state, one, out).await,
    }
}

/// Applies outside the running node; both may, because every batch and every retry locks its link.
async fn applier(config: &Config) -> Result<Applier, Error> {
    let map =
        MapFile::load(&config.database.maps).map_err(|error| Error::Usage(error.to_string()))?;
    let options = &config.database.options;
    let read = async {
        let mut connection = options.connect(&[]).await?;
        let schema = LiveSchema::read(&mut connection, &options.database).await?;
        // What was asked has been answered.
        connection.disconnect().await.ok();
        Ok::<_, database::Error>(schema)
    };
    let schema = read.await.map_err(|error| asked(&error))?;
    let settings = Settings {
        schema: config.database.state_schema.clone(),
        incoming: Direction::Up,
        limits: apply::Limits { connections_max: 1, ..apply::Limits::default() },
    };
    let bound = Arc::new(BoundMap::bind(&map, &schema));
    let applier =
        Applier::new(options.driver(&[]), Arc::new(map), bound, SystemClock::shared(), settings);
    applier.prepare().await.map_err(sorted)?;
    Ok(applier)
}

fn sorted(error: apply::Error) -> Error {
    match error {
        apply::Error::Retry(words) => Error::Unreachable(words),
        other @ (apply::Error::Gap { .. }
        | apply::Error::AnotherBatch { .. }
        | apply::Error::Refused(_)
        | apply::Error::Stop(_)
        | apply::Error::Changed(_)) => Error::Failed(other.to_string()),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Parked => "parked",
        State::Quarantined => "quarantined",
    }
}

fn list(waiting: &[Waiting], all: u64, state: State, out: &mut Output) -> Result<(), Error> {
    for one in waiting {
        out.line(format!(
            "{}  {} {} {}: {} (since {}, tried {} times)",
            one.id, one.kind, one.table, one.identity, one.reason, one.held_at, one.tries
        ))?;
    }
    let word = word(state);
    match waiting.len() {
        0 => out.line(format!("nothing is {word}"))?,
        1 => out.line(format!("1 change is {word}"))?,
        count if all > count as u64 => {
            out.line(format!("{all} changes are {word}; these are the oldest {count}"))?;
        }
        count => out.line(format!("{count} changes are {word}"))?,
    }
    Ok(())
}

/// The change, if there is one of that number that waits in that way.
async fn find(applier: &Applier, state: State, id: u64) -> Result<Shown, Error> {
    let found = applier.show(id).await.map_err(sorted)?;
    found.filter(|found| found.waiting.state == state).ok_or_else(|| {
        let command = match state {
            State::Parked => "parked",
            State::Quarantined => "quarantine",
        };
        Error::Usage(format!("no change {id} is {}: headwater {command} list", word(state)))
    })
}

async fn show(
    applier: &Applier,
    state: State,
    one: &One,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let found = find(applier, state, one.id).await?;
    if one.json {
        out.json(&found)?;
        return Ok(Outcome::Well);
    }
    let Waiting { kind, table, identity, node, sequence, reason, held_at, tried_at, tries, .. } =
        &found.waiting;
    out.line(format!("{kind} {table} {identity}"))?;
    out.line(format!("from node {node}, transaction {sequence}"))?;
    out.line(format!("why: {reason}"))?;
    out.line(format!("since {held_at}; tried {tries} times, last {tried_at}"))?;
    for ShownValue { column, value } in &found.values {
        out.line(format!("  {column}: {}", value.as_deref().unwrap_or("NULL")))?;
    }
    Ok(Outcome::Well)
}

#[derive(serde::Serialize)]
struct Done {
    id: u64,
    /// Changes applied, this one and what waited for it.
    released: u64,
    /// Whether the change is gone from where it waited.
    gone: bool,
}

async fn retry(
    applier: &Applier,
    state: State,
    one: &One,
    out: &mut Output,
) -> Result<Outcome, Error> {
    find(applier, state, one.id).await?;
    let released =
        applier.retry(one.id).await.map_err(sorted)?.map_or(0, |retried| retried.released);
    let left = applier.show(one.id).await.map_err(sorted)?;
    let done = Done { id: one.id, released, gone: left.is_none() };
    if one.json {
        out.json(&done)?;
    } else {
        match &left {
            None => out.line(format!("applied; {released} changes in all"))?,
            Some(left) => out.line(format!("not yet: {}", left.waiting.reason))?,
        }
    }
    Ok(if done.gone { Outcome::Well } else { Outcome::Found })
}

async fn discard(
    applier: &Applier,
    state: State,
    one: &One,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let found = find(applier, state, one.id).await?;
    let gone = applier.discard(one.id).await.map_err(sorted)?;
    if one.json {
        out.json(&Done { id: one.id, released: 0, gone })?;
    } else {
        let Waiting { kind, table, identity, .. } = &found.waiting;
        out.line(format!("given up: {kind} {table} {identity}"))?;
    }
    Ok(if gone { Outcome::Well } else { Outcome::Found })
}
