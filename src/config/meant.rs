//! From the file as typed to what it means: defaults, checks that need more than one key, paths
//! relative to the file, the password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::text::{Schedule, Size, Span};
use super::{
    Apply, Capture, Compression, Config, ConfigError, Database, Listen, Node, Parent, Spool,
    Status, file,
};
use crate::database::connect::{Options, Tls, password_in};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A parent takes no larger piece.
const PIECE_BYTES_LIMIT: u64 = MIB;

pub(super) fn config(
    path: &Path,
    typed: file::File,
    password: Option<String>,
) -> Result<Config, ConfigError> {
    let whole = |problem: String| ConfigError::Whole { path: path.to_owned(), problem };
    let mut warnings = Vec::new();
    let beside = Beside(path);
    let node = node(&beside, typed.node).map_err(whole)?;
    let capture = capture(&node.name, &typed.capture).map_err(whole)?;
    let database = database(&beside, typed.database, password, &mut warnings).map_err(whole)?;
    Ok(Config {
        path: path.to_owned(),
        capture,
        database,
        spool: spool(&typed.spool),
        apply: apply(&typed.apply).map_err(whole)?,
        parent: typed.parent.as_ref().map(parent).transpose().map_err(whole)?,
        listen: typed.listen.map(listen).transpose().map_err(whole)?,
        status: typed.status.map(|status| Status { address: status.address }),
        node,
        warnings,
    })
}

/// Resolves paths against the folder of the configuration file.
struct Beside<'p>(&'p Path);

impl Beside<'_> {
    fn resolve(&self, path: PathBuf) -> PathBuf {
        match self.0.parent() {
            Some(folder) if path.is_relative() => folder.join(path),
            Some(_) | None => path,
        }
    }
}

fn node(beside: &Beside<'_>, typed: file::Node) -> Result<Node, String> {
    named("node.name", &typed.name)?;
    Ok(Node { name: typed.name, data_dir: beside.resolve(typed.data_dir) })
}

/// A node's name goes into certificates, file names and metrics.
fn named(key: &str, name: &str) -> Result<(), String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        return Err(format!(
            "{key} = {name:?} is no name: use 1 to 64 letters, digits, `-`, `_` and `.`, such as \"clinic-12\""
        ));
    }
    Ok(())
}

fn database(
    beside: &Beside<'_>,
    typed: file::Database,
    environment: Option<String>,
    warnings: &mut Vec<String>,
) -> Result<Database, String> {
    let mut options = Options::parse(&typed.url).map_err(|error| match error {
        crate::database::Error::Url { problem } => format!(
            "database.url is wrong: {problem}. It looks like mysql://USER@HOST:3306/DATABASE"
        ),
        other => other.to_string(),
    })?;
    if typed.maps.is_empty() {
        return Err("database.maps is empty: name at least one schema map, such as maps = [\"schema-maps/openmrs-2.x.toml\"]".to_owned());
    }
    let state_schema = typed.state_schema.unwrap_or_else(|| "headwater".to_owned());
    identifier("database.state_schema", &state_schema)?;
    if state_schema.eq_ignore_ascii_case(&options.database) {
        return Err(format!(
            "database.state_schema is {state_schema}, the database that is kept in step: headwater's own tables need a schema of their own"
        ));
    }
    if options.password.is_some() {
        warnings.push("the database password stands in database.url: anybody who may read the configuration has it; use password_file or HEADWATER_DATABASE_PASSWORD".to_owned());
    }
    if let Tls::Required { ca: Some(authority) } = &mut options.tls {
        *authority = beside.resolve(std::mem::take(authority));
    }
    if options.tls == Tls::Unverified {
        warnings.push("database.url says tls=unverified: anybody on the way to the database can pretend to be it".to_owned());
    }
    options.connect_timeout = time(typed.connect_timeout, 20);
    options.password_file = typed.password_file.map(|file| beside.resolve(file));
    let password = password(options.password_file.as_deref(), environment, warnings)?;
    Ok(Database {
        options: options.with_password(password),
        maps: typed.maps.into_iter().map(|map| beside.resolve(map)).collect(),
        state_schema,
        connections_max: usize::from(positive(
            "database.connections_max",
            typed.connections_max,
            8,
        )?),
    })
}

/// The name of a schema that headwater makes itself: one that needs no thought about quoting.
fn identifier(key: &str, name: &str) -> Result<(), String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        return Err(format!("{key} = {name:?} is no schema name: use letters, digits and `_`"));
    }
    Ok(())
}

/// From the file, else from the environment; the url's counts only if there is neither.
fn password(
    file: Option<&Path>,
    environment: Option<String>,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, String> {
    let Some(path) = file else {
        return Ok(environment);
    };
    let password = password_in(path).map_err(|error| {
        format!(
            "cannot read database.password_file {}: {error}\n  remedy: let the user that runs headwater read it",
            path.display()
        )
    })?;
    if let Some(mode) = open_to_others(path) {
        warnings.push(format!(
            "{} can be read by other users (mode {mode:o}): chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    Ok(Some(password))
}

/// The permission bits, if others than the owner and its group may read the file.
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o037 != 0).then_some(mode)
}

fn capture(name: &str, typed: &file::Capture) -> Result<Capture, String> {
    let server_id = typed.server_id.unwrap_or_else(|| derived_server_id(name));
    if server_id == 0 {
        return Err("capture.server_id is 0: choose a number no other reader of this server has, or leave it out".to_owned());
    }
    let (backoff_min, backoff_max) = waits("capture", typed.backoff_min, typed.backoff_max)?;
    Ok(Capture {
        server_id,
        heartbeat: time(typed.heartbeat, 10),
        inflated_bytes_max: bytes(typed.inflated_bytes_max, GIB),
        accept: accept(typed.accept.as_deref().unwrap_or_default())?,
        harmless_databases: typed.harmless_databases.clone().unwrap_or_default(),
        identity_cache_rows_max: rows(typed.identity_cache_rows_max, 100_000),
        backoff_min,
        backoff_max,
    })
}

/// Places as the log's errors name them.
fn accept(typed: &[String]) -> Result<Vec<String>, String> {
    let place = |text: &String| {
        text.rsplit_once(':')
            .is_some_and(|(file, at)| !file.is_empty() && at.parse::<u64>().is_ok())
    };
    match typed.iter().find(|text| !place(text)) {
        Some(wrong) => Err(format!(
            "capture.accept has {wrong:?}, which is no place in a log: write it as the message did, such as \"binlog.000012:4711\""
        )),
        None => Ok(typed.to_vec()),
    }
}

/// A number in the upper half of the range, where hand-given ids are rare, from the node's name.
fn derived_server_id(name: &str) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    0x8000_0000 | u32::try_from(hash & 0x7FFF_FFFF).unwrap_or_default() | 1
}

fn spool(typed: &file::Spool) -> Spool {
    Spool {
        bytes_max: bytes(typed.bytes_max, 10 * GIB),
        grace: time(typed.grace, 7 * 86_400),
        disk_free_bytes_min: bytes(typed.disk_free_bytes_min, 256 * MIB),
    }
}

fn apply(typed: &file::Apply) -> Result<Apply, String> {
    let changes = positive("apply.chunk_changes_max", typed.chunk_changes_max, 8_192)?;
    Ok(Apply {
        chunk_changes_max: usize::from(changes),
        chunk_bytes_max: within(
            "apply.chunk_bytes_max",
            typed.chunk_bytes_max,
            16 * MIB,
            64 * KIB,
            GIB,
        )?,
        lock_wait: time(typed.lock_wait, 20),
        tries_max: u32::from(positive("apply.tries_max", typed.tries_max, 3)?),
        parked_retry: time(typed.parked_retry, 60),
        held_changes_max: typed.held_changes_max.unwrap_or(100_000),
    })
}

fn parent(typed: &file::Parent) -> Result<Parent, String> {
    let host = typed.url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    let whole = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '@', ' ', '?']));
    if !whole {
        return Err(format!(
            "parent.url = {:?} is not understood: write https://HOST:8443, without a path",
            typed.url
        ));
    }
    let (backoff_min, backoff_max) = waits("parent", typed.backoff_min, typed.backoff_max)?;
    Ok(Parent {
        url: typed.url.trim_end_matches('/').to_owned(),
        schedule: typed.schedule.map_or(Schedule::Continuous, |calls| calls.0),
        compression: match typed.compression {
            Some(file::Compression::None) => Compression::None,
            Some(file::Compression::Lz4) => Compression::Lz4,
            Some(file::Compression::Auto) | None => Compression::Auto,
        },
        timeout: time(typed.timeout, 30),
        hello_every: seconds("parent.hello_every", typed.hello_every, 15 * 60)?,
        backoff_min,
        backoff_max,
        batch_bytes_max: within(
            "parent.batch_bytes_max",
            typed.batch_bytes_max,
            8 * MIB,
            64 * KIB,
            GIB,
        )?,
        piece_bytes_max: within(
            "parent.piece_bytes_max",
            typed.piece_bytes_max,
            MIB,
            KIB,
            PIECE_BYTES_LIMIT,
        )?,
    })
}

fn listen(typed: file::Listen) -> Result<Listen, String> {
    if typed.names.is_empty() || typed.names.iter().any(|name| name.trim().is_empty()) {
        return Err("listen.names is empty: name what children call this node, such as names = [\"parent.example.org\"]".to_owned());
    }
    Ok(Listen {
        address: typed.address,
        names: typed.names,
        connections_max: usize::from(positive(
            "listen.connections_max",
            typed.connections_max,
            1_000,
        )?),
        strangers_max: usize::from(positive("listen.strangers_max", typed.strangers_max, 64)?),
        hello_within: seconds("listen.hello_within", typed.hello_within, 5 * 60)?,
        timeout: time(typed.timeout, 30),
        batch_bytes_max: within(
            "listen.batch_bytes_max",
            typed.batch_bytes_max,
            GIB,
            64 * KIB,
            64 * GIB,
        )?,
        token_expiry: time(typed.token_expiry, 7 * 86_400),
    })
}

fn time(typed: Option<Span>, seconds: u64) -> Duration {
    typed.map_or(Duration::from_secs(seconds), |span| span.0)
}

/// A time of a second at least.
fn seconds(key: &str, typed: Option<Span>, default: u64) -> Result<Duration, String> {
    let meant = time(typed, default);
    if meant < Duration::from_secs(1) {
        return Err(format!("{key} is {} ms: it must be at least 1s", meant.as_millis()));
    }
    Ok(meant)
}

fn bytes(typed: Option<Size>, default: u64) -> u64 {
    typed.map_or(default, |size| size.0)
}

fn rows(typed: Option<u32>, default: usize) -> usize {
    typed.map_or(default, |rows| usize::try_from(rows).unwrap_or(usize::MAX))
}

fn positive(key: &str, typed: Option<u16>, default: u16) -> Result<u16, String> {
    match typed {
        Some(0) => Err(format!("{key} is 0: it must be at least 1")),
        Some(number) => Ok(number),
        None => Ok(default),
    }
}

fn within(
    key: &str,
    typed: Option<Size>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, String> {
    let size = bytes(typed, default);
    if (least..=most).contains(&size) {
        return Ok(size);
    }
    Err(format!("{key} is {size} bytes: it must be between {least} and {most}"))
}

fn waits(
    section: &str,
    min: Option<Span>,
    max: Option<Span>,
) -> Result<(Duration, Duration), String> {
    let (min, max) = (time(min, 1), time(max, 300));
    if min > max {
        return Err(format!(
            "{section}.backoff_min is longer than {section}.backoff_max: swap them, or leave both out (1s and 5m)"
        ));
    }
    Ok((min, max))
}
