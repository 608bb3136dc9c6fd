//! The TOML file as typed: every key there is, nothing filled in. What a key means and what it is
//! when left out stands in [`super::template`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use super::text::{Calls, Size, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) node: Node,
    pub(super) database: Database,
    #[serde(default)]
    pub(super) capture: Capture,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) apply: Apply,
    pub(super) parent: Option<Parent>,
    pub(super) listen: Option<Listen>,
    pub(super) status: Option<Status>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) data_dir: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    pub(super) url: String,
    pub(super) password_file: Option<PathBuf>,
    pub(super) maps: Vec<PathBuf>,
    pub(super) state_schema: Option<String>,
    pub(super) connections_max: Option<u16>,
    pub(super) connect_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    pub(super) server_id: Option<u32>,
    pub(super) heartbeat: Option<Span>,
    pub(super) inflated_bytes_max: Option<Size>,
    pub(super) accept: Option<Vec<String>>,
    pub(super) harmless_databases: Option<Vec<String>>,
    pub(super) identity_cache_rows_max: Option<u32>,
    pub(super) backoff_min: Option<Span>,
    pub(super) backoff_max: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) bytes_max: Option<Size>,
    pub(super) grace: Option<Span>,
    pub(super) disk_free_bytes_min: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    pub(super) chunk_changes_max: Option<u16>,
    pub(super) chunk_bytes_max: Option<Size>,
    pub(super) lock_wait: Option<Span>,
    pub(super) tries_max: Option<u16>,
    pub(super) parked_retry: Option<Span>,
    pub(super) held_changes_max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parent {
    pub(super) url: String,
    pub(super) schedule: Option<Calls>,
    pub(super) compression: Option<Compression>,
    pub(super) timeout: Option<Span>,
    pub(super) hello_every: Option<Span>,
    pub(super) backoff_min: Option<Span>,
    pub(super) backoff_max: Option<Span>,
    pub(super) batch_bytes_max: Option<Size>,
    pub(super) piece_bytes_max: Option<Size>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    Auto,
    None,
    Lz4,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) names: Vec<String>,
    pub(super) connections_max: Option<u16>,
    pub(super) strangers_max: Option<u16>,
    pub(super) hello_within: Option<Span>,
    pub(super) timeout: Option<Span>,
    pub(super) batch_bytes_max: Option<Size>,
    pub(super) token_expiry: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    pub(super) address: SocketAddr,
}

/// Reads the text of the file at `path`; an error names line, column and, for an unknown key, the
/// nearest key there is.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let problem = problem(error.message());
        match error.span() {
            Some(span) => {
                let (line, column) = place(text, span.start);
                ConfigError::At { path: path.to_owned(), line, column, problem }
            }
            None => ConfigError::Whole { path: path.to_owned(), problem },
        }
    })
}

/// Line and column, both from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(start..).unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// The parser's words, in ours where it matters: an unknown key gets the nearest known one.
fn problem(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(unknown)) => {
            let known: Vec<&str> = quoted.collect();
            match nearest(unknown, &known) {
                Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
                None => {
                    format!("unknown key `{unknown}`; the keys here are: {}", known.join(", "))
                }
            }
        }
        (false, _) | (true, None) => {
            message.replace("missing field", "missing key").replace('\n', " ")
        }
    }
}

/// The known key that is a few letters away from the unknown one.
fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (distance(unknown, key), *key))
        .min()
        .filter(|(letters, key)| *letters <= key.len().max(3) / 3 + 1)
        .map(|(_, key)| key)
}

/// How many letters have to be changed, added or taken away (Levenshtein's distance).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (other, cell) in right.chars().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(letter != other));
            diagonal = *cell;
            before = replaced.min(before.saturating_add(1)).min(diagonal.saturating_add(1));
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}
