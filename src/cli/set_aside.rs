//! `headwater parked` and `headwater quarantine`: what could not be applied, and what to do with it.

use std::sync::Arc;

use super::arguments::{Discard, List, One, SetAside};
use super::{Error, Outcome, Output, asked};
use crate::apply::{self, Applier, Settings, Shown, ShownValue, State, Waiting};
use crate::change::NodeId;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::database;
use crate::database::schema::LiveSchema;
use crate::schema_map::{BoundMap, Direction, MapFile};
use crate::spool::{self, Link, Spool, State as LinkState};

/// How many are listed at once; the oldest come first.
const LISTED_MAX: u32 = 1_000;

pub(super) async fn run(
    config: &Config,
    state: State,
    command: &SetAside,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let children = Children::read(config)?;
    let applier = applier(config).await?;
    match command {
        SetAside::List(wanted) => list(&applier, &children, state, wanted, out).await,
        SetAside::Show(one) => show(&applier, state, one, out).await,
        SetAside::Retry(one) => retry(&applier, state, one, out).await,
        SetAside::Discard(Discard { node: Some(name), json, .. }) => {
            discard_all(&applier, &children, state, (name, *json), out).await
        }
        SetAside::Discard(Discard { id: Some(id), json, .. }) => {
            discard(&applier, state, &One { id: *id, json: *json }, out).await
        }
        SetAside::Discard(Discard { id: None, node: None, .. }) => {
            Err(Error::Usage("say which: a number, or --node NAME".to_owned()))
        }
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

async fn list(
    applier: &Applier,
    children: &Children,
    state: State,
    wanted: &List,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let node = wanted.node.as_ref().map(|name| children.node(name)).transpose()?;
    let waiting = applier.list(state, node, LISTED_MAX).await.map_err(sorted)?;
    if wanted.json {
        out.json(&waiting)?;
        return Ok(Outcome::Well);
    }
    for one in &waiting {
        let Waiting { id, kind, table, identity, reason, node, held_at, tries, .. } = one;
        let from = children.name(node);
        out.line(format!(
            "{id}  {kind} {table} {identity}: {reason} (from {from}, since {held_at}, tried {tries} times)"
        ))?;
    }
    let counted = match node {
        Some(node) => applier.set_aside(node).await.map(|sum| (sum.parked, sum.quarantined)),
        None => applier.counts().await,
    };
    let (parked, quarantined) = counted.map_err(sorted)?;
    let all = if state == State::Parked { parked } else { quarantined };
    let word = word(state);
    match waiting.len() {
        0 => out.line(format!("nothing is {word}"))?,
        1 => out.line(format!("1 change is {word}"))?,
        count if all > count as u64 => {
            out.line(format!("{all} changes are {word}; these are the oldest {count}"))?;
        }
        count => out.line(format!("{count} changes are {word}"))?,
    }
    Ok(Outcome::Well)
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

#[derive(serde::Serialize)]
struct AllDone {
    node: String,
    /// Changes that are gone.
    discarded: u64,
}

async fn discard_all(
    applier: &Applier,
    children: &Children,
    state: State,
    (name, json): (&str, bool),
    out: &mut Output,
) -> Result<Outcome, Error> {
    let node = children.node(name)?;
    children.has_ended(node)?;
    let discarded = applier.discard_all(state, node).await.map_err(sorted)?;
    let word = word(state);
    if json {
        out.json(&AllDone { node: node.to_string(), discarded })?;
    } else {
        out.line(match discarded {
            0 => format!("nothing of {name} is {word}"),
            1 => format!("given up: 1 {word} change of {name}"),
            count => format!("given up: {count} {word} changes of {name}"),
        })?;
    }
    Ok(Outcome::Well)
}

/// The children that changes came from, as this node's store knows them.
struct Children(Vec<Link>);

impl Children {
    fn read(config: &Config) -> Result<Children, Error> {
        match Spool::peek(&config.node.data_dir).and_then(|peek| peek.links()) {
            Ok(mut links) => {
                links.retain(|link| link.direction == spool::Direction::Down);
                Ok(Children(links))
            }
            Err(spool::Error::Missing { .. }) => Ok(Children(Vec::new())),
            Err(error) => Err(Error::Failed(error.to_string())),
        }
    }

    /// The node that joined under a name, or whose id it is.
    fn node(&self, name: &str) -> Result<NodeId, Error> {
        if let Ok(id) = uuid::Uuid::parse_str(name) {
            return Ok(NodeId(id));
        }
        let link = self.0.iter().find(|link| link.name == name).ok_or_else(|| {
            Error::Usage(format!(
                "there is no child named {name}: headwater status lists the links"
            ))
        })?;
        link.node.ok_or_else(|| {
            Error::Usage(format!(
                "{name} was invited and has not joined; a machine that had the name before is named \
                 by its id, which list shows"
            ))
        })
    }

    /// What a node is called; its id, if another has taken its name.
    fn name<'n>(&'n self, node: &'n str) -> &'n str {
        let is_it = |link: &&Link| link.node.is_some_and(|known| known.to_string() == node);
        self.0.iter().find(is_it).map_or(node, |link| &link.name)
    }

    /// Refuses a node that is let in: what of its changes waits may still be applied, and somebody
    /// who means the machine that had the name before would give up the wrong ones.
    fn has_ended(&self, node: NodeId) -> Result<(), Error> {
        let active =
            self.0.iter().find(|link| link.node == Some(node) && link.state == LinkState::Active);
        active.map_or(Ok(()), |link| {
            Err(Error::Usage(format!(
                "{0} is let in, and its changes may still be applied: discard them one by one, or \
                 headwater revoke {0} first; a machine that had the name before is named by its id, \
                 which list shows",
                link.name
            )))
        })
    }
}
