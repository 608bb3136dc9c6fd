//! `headwater status`: how the node stands, in plain words or as JSON.

use super::arguments::Json;
use super::{Error, Outcome, Output};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::operate::{LinkState, Nameless, NodeState};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) async fn run(
    config: &Config,
    arguments: &Json,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let state = NodeState::read(config, &SystemClock::shared())
        .await
        .map_err(|error| Error::Failed(error.to_string()))?;
    if arguments.json {
        out.json(&state)?;
    } else {
        out.line(words(&state))?;
    }
    Ok(if !state.answered {
        Outcome::Unanswered
    } else if state.in_step && elsewhere(&state).next().is_none() && nameless(&state) == 0 {
        Outcome::Well
    } else {
        Outcome::Found
    })
}

/// Changes of this node that another has set aside, and that node's name.
fn elsewhere(state: &NodeState) -> impl Iterator<Item = (u64, &str)> {
    state.links.iter().filter_map(|link| {
        let aside = link.set_aside.filter(|aside| !aside.is_none())?;
        Some((aside.parked.saturating_add(aside.quarantined), link.name.as_str()))
    })
}

/// Rows here that do not travel for want of an identity.
fn nameless(state: &NodeState) -> u64 {
    state.capture.without_identity.iter().map(|table| table.rows).sum()
}

fn words(state: &NodeState) -> String {
    let mut lines = vec![match &state.epoch {
        Some(epoch) => format!("{} (epoch {epoch})", state.node),
        None => state.node.clone(),
    }];
    let capture = &state.capture;
    if capture.wanted {
        let position = capture.position.as_deref().unwrap_or("nothing yet");
        let end = capture.log_end.as_deref().unwrap_or("unknown");
        lines.push(match capture.lag_seconds {
            Some(0) => format!("captured: all of the log, up to {position}"),
            Some(lag) => {
                format!("captured: up to {position} {} ago; the log ends at {end}", ago(lag))
            }
            None => format!("captured: up to {position}; the log ends at {end}"),
        });
        let spool = &state.spool;
        lines.push(format!(
            "spool: {} transactions, {} of at most {}",
            spool.transactions,
            size(spool.bytes),
            size(spool.bytes_max)
        ));
    }
    lines.extend(state.links.iter().map(link));
    if let (Some(parked), Some(quarantined)) = (state.parked, state.quarantined) {
        lines.push(format!("set aside here: {parked} parked, {quarantined} quarantined"));
    }
    for Nameless { table, column, rows } in &capture.without_identity {
        lines.push(format!(
            "! {rows} rows of {table} stay here, because their {column} is NULL (headwater map check says what mends that)"
        ));
    }
    lines.extend(state.problems.iter().map(|problem| format!("! {problem}")));
    let mut verdict = if state.in_step { "in step: yes" } else { "in step: no" }.to_owned();
    for (count, name) in elsewhere(state) {
        verdict.push_str(&format!(", but set aside at {name}: {count}"));
    }
    match nameless(state) {
        0 => {}
        rows => verdict.push_str(&format!(", but without an identity here: {rows}")),
    }
    lines.push(verdict);
    lines.join("\n")
}

fn link(link: &LinkState) -> String {
    let whom = if link.direction == "up" { "parent" } else { "child" };
    let mut text = format!("{whom} {}", link.name);
    if link.state != "active" {
        text.push_str(&format!(" ({})", link.state));
    }
    if link.direction == "up" {
        text.push_str(&format!(": acknowledged up to {}", link.acknowledged));
        if link.waiting_transactions > 0 {
            text.push_str(&format!(", {} wait", link.waiting_transactions));
        }
        if let Some(since) = &link.waiting_since {
            text.push_str(&format!(", the oldest from {since}"));
        }
    } else {
        text.push_str(&format!(": applied up to {}", link.received));
    }
    match link.last_contact_seconds {
        Some(seconds) => text.push_str(&format!("; last heard {} ago", ago(seconds))),
        None => text.push_str("; never heard"),
    }
    if let Some(aside) = link.set_aside.filter(|aside| !aside.is_none()) {
        let (parked, quarantined) = (aside.parked, aside.quarantined);
        text.push_str(&format!("\n  set aside there: {parked} parked, {quarantined} quarantined"));
    }
    if let Some(error) = &link.last_error {
        text.push_str(&format!("\n  last error: {error}"));
    }
    text
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY.. => format!("{} d", seconds / DAY),
    }
}

fn size(bytes: u64) -> String {
    let tenth = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", tenth(1 << 10)),
        0x10_0000..0x4000_0000 => format!("{} MiB", tenth(1 << 20)),
        0x4000_0000.. => format!("{} GiB", tenth(1 << 30)),
    }
}
