//! The binary log: whether it holds every change, whole, and for long enough.

use super::Verdict::{Bad, Doubtful, Unknown};
use super::{Check, DatabaseFacts, Duties, Facts};
use crate::database::server::{Flavor, Server};

/// Below this, a laptop in a drawer over the holidays comes back to a log with a hole.
const RETENTION_DAYS_MIN: u64 = 7;
/// What is advised in the place of less.
const RETENTION_DAYS: u64 = 30;
const DAY_SECONDS: u64 = 86_400;

pub(super) fn checks(facts: &Facts, database: &DatabaseFacts) -> Vec<Check> {
    let server = &database.server;
    if !server.is_on("log_bin") {
        return vec![Check::not_good(
            "binary log",
            Bad,
            "the server writes no binary log",
            "The binary log is where changes are captured from.",
            "in the server's configuration, then restart it:\n[mysqld]\nlog_bin = binlog\nserver_id = 1\nbinlog_format = ROW",
        )];
    }
    let mut checks = vec![present(facts, database)];
    checks.push(format(server));
    checks.push(row_image(server));
    checks.extend(partial_json(server));
    checks.extend(checksums(server));
    checks.extend(metadata(server));
    checks.extend(temporal(server));
    checks.extend(server_id(facts, database));
    checks.extend(replica(database));
    checks.push(retention(server));
    checks.extend(total_size(server));
    checks
}

/// A setting that outlives a restart, as this kind of server takes it.
fn lasting(server: &Server, name: &str, value: &str) -> String {
    if server.flavor == Flavor::Mysql && server.at_least(8, 0, 0) {
        format!("SET PERSIST {name} = {value};")
    } else {
        let plain = value.trim_matches('\'');
        format!(
            "SET GLOBAL {name} = {value};  -- and in the server's configuration, below [mysqld]: {name} = {plain}"
        )
    }
}

fn present(facts: &Facts, database: &DatabaseFacts) -> Check {
    const NAME: &str = "binary log";
    let log = match &database.binlog {
        Ok(log) => log,
        Err(problem) => {
            return Check::not_good(
                NAME,
                Bad,
                problem.clone(),
                "Capture has to know where the log ends.",
                "run the statements that headwater grants prints",
            );
        }
    };
    let schema = &facts.database_name;
    let named = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(schema));
    if named(&log.ignored) || (!log.only.is_empty() && !named(&log.only)) {
        return Check::not_good(
            NAME,
            Bad,
            format!("the server leaves {schema} out of its log"),
            "What is not in the log cannot be captured.",
            "take binlog_do_db and binlog_ignore_db out of the server's configuration, and restart it",
        );
    }
    match &log.end {
        Some((file, offset)) => Check::good(NAME, format!("on, now at {file}:{offset}")),
        None => Check::not_good(
            NAME,
            Bad,
            "the server has no log file",
            "The binary log is where changes are captured from.",
            "in the server's configuration, then restart it:\n[mysqld]\nlog_bin = binlog",
        ),
    }
}

fn format(server: &Server) -> Check {
    const NAME: &str = "binlog_format";
    match server.variable(NAME) {
        Some(value) if !value.eq_ignore_ascii_case("ROW") => Check::not_good(
            NAME,
            Bad,
            value,
            "Statements in the log say what was asked, not what became of which row; headwater stops at the first one that touches a mapped table.",
            format!("{}\nthen let every application connect anew", lasting(server, NAME, "'ROW'")),
        ),
        Some(value) => Check::good(NAME, value),
        None => Check::good(NAME, "ROW, the only one this server has"),
    }
}

fn row_image(server: &Server) -> Check {
    const NAME: &str = "binlog_row_image";
    match server.variable(NAME) {
        Some(value) if !value.eq_ignore_ascii_case("FULL") => Check::not_good(
            NAME,
            Bad,
            value,
            "Columns are missing from the log, and with them rows' identities; headwater stops rather than guess them.",
            format!("{}\nthen let every application connect anew", lasting(server, NAME, "'FULL'")),
        ),
        Some(value) => Check::good(NAME, value),
        None => Check::good(NAME, "full, the only one this server has"),
    }
}

fn partial_json(server: &Server) -> Option<Check> {
    const NAME: &str = "binlog_row_value_options";
    let value = server.variable(NAME)?;
    Some(if value.is_empty() {
        Check::good(NAME, "whole JSON values")
    } else {
        Check::not_good(
            NAME,
            Bad,
            value,
            "The log holds only parts of changed JSON values.",
            format!("{}\nthen let every application connect anew", lasting(server, NAME, "''")),
        )
    })
}

fn checksums(server: &Server) -> Option<Check> {
    const NAME: &str = "binlog_checksum";
    let value = server.variable(NAME)?;
    Some(if value.eq_ignore_ascii_case("NONE") {
        Check::not_good(
            NAME,
            Doubtful,
            value,
            "A bit that flips on the disk or in memory can be carried to the parent as it stands.",
            lasting(server, NAME, "'CRC32'"),
        )
    } else {
        Check::good(NAME, value)
    })
}

/// Whether a power cut takes back what was committed: at either end of a link.
pub(super) fn durability(duties: Duties, server: &Server) -> Vec<Check> {
    let lost_here = "At a power cut, this server can lose transactions of its children that it has acknowledged; they send them again only within their grace period.";
    let sync = "At a power cut, transactions can be in the database but not in its log: they never reach the parent, and nobody is told.";
    let flush = "At a power cut, up to a second of transactions can be gone here that the parent already has.";
    // Without a log there is none to be synced.
    let logs = duties.capture || server.is_on("log_bin");
    let risks = [("sync_binlog", sync, logs), ("innodb_flush_log_at_trx_commit", flush, true)];
    let check = |(name, risk, _): (&'static str, &str, bool)| match server.variable(name) {
        Some("1") => Some(Check::good(name, "1")),
        Some(value) => {
            let risk = match (duties.capture, duties.apply) {
                (true, true) => format!("{risk} {lost_here}"),
                (false, true) => lost_here.to_owned(),
                (_, false) => risk.to_owned(),
            };
            Some(Check::not_good(name, Doubtful, value, risk, lasting(server, name, "1")))
        }
        None => None,
    };
    risks.into_iter().filter(|(_, _, concerns)| *concerns).filter_map(check).collect()
}

fn metadata(server: &Server) -> Option<Check> {
    const NAME: &str = "binlog_row_metadata";
    let value = server.variable(NAME)?;
    Some(if value.eq_ignore_ascii_case("FULL") {
        Check::good(NAME, value)
    } else {
        Check::not_good(
            NAME,
            Doubtful,
            value,
            "The log does not name its columns. A table altered more than once while headwater is off or behind can then not be read in between, and capture stops there.",
            lasting(server, NAME, "'FULL'"),
        )
    })
}

fn temporal(server: &Server) -> Option<Check> {
    const NAME: &str = "mysql56_temporal_format";
    server.variable(NAME)?;
    (!server.is_on(NAME)).then(|| {
        Check::not_good(
            NAME,
            Doubtful,
            "OFF",
            "Tables made or altered now get old temporal columns; those with fractions of a second cannot be read from the log, and their tables are refused.",
            format!("{}\nthen ALTER TABLE ... FORCE for each table with such columns", lasting(server, NAME, "ON")),
        )
    })
}

fn server_id(facts: &Facts, database: &DatabaseFacts) -> Vec<Check> {
    const NAME: &str = "server_id";
    let theirs = database.server.number(NAME).unwrap_or_default();
    let ours = facts.capture_server_id;
    if theirs == 0 {
        return vec![Check::not_good(
            NAME,
            Bad,
            "0",
            "A server without an id sends its log to nobody.",
            lasting(&database.server, NAME, "1"),
        )];
    }
    if theirs == u64::from(ours) {
        return vec![Check::not_good(
            NAME,
            Bad,
            format!("the server's own id is {theirs}, and so is capture.server_id"),
            "Every reader of a log needs an id of its own.",
            "take capture.server_id out of the configuration, or choose another number",
        )];
    }
    if database.readers.contains(&ours) {
        return vec![Check::not_good(
            NAME,
            Unknown,
            format!("somebody reads the log as {ours} already"),
            "If that is this node, running, all is well. If it is another, the two end each other's connection again and again.",
            "give one of them another capture.server_id",
        )];
    }
    vec![Check::good(NAME, format!("{theirs}; headwater reads as {ours}"))]
}

/// What a server executes for another it logs only if it is told to.
fn replica(database: &DatabaseFacts) -> Option<Check> {
    const NAMES: [&str; 2] = ["log_replica_updates", "log_slave_updates"];
    let server = &database.server;
    let name = NAMES.into_iter().find(|name| server.variable(name).is_some())?;
    (database.is_replica && !server.is_on(name)).then(|| {
        Check::not_good(
            name,
            Doubtful,
            "OFF, and this server replicates from another",
            "What comes from that server is not in this one's log: it does not travel, and nobody is told.",
            format!("in the server's configuration, then restart it:\n[mysqld]\n{name} = ON"),
        )
    })
}

/// Logs may also be purged for their size: by MariaDB from 11.4 on, and by some builds of MySQL.
fn total_size(server: &Server) -> Option<Check> {
    const NAMES: [&str; 2] = ["max_binlog_total_size", "binlog_space_limit"];
    let limit = |name| Some((name, server.number(name).filter(|bytes| *bytes > 0)?));
    let (name, bytes) = NAMES.into_iter().find_map(limit)?;
    Some(Check::not_good(
        "log retention",
        Doubtful,
        format!("{} MiB in all ({name})", bytes >> 20),
        "If more is written while headwater is off, the log it has to read is purged, and the databases have to be compared and repaired.",
        lasting(server, name, "0"),
    ))
}

fn retention(server: &Server) -> Check {
    const NAME: &str = "log retention";
    let seconds = server
        .number("binlog_expire_logs_seconds")
        .filter(|seconds| *seconds > 0)
        .or_else(|| server.number("expire_logs_days").map(|days| days.saturating_mul(DAY_SECONDS)));
    let days = match seconds {
        None | Some(0) => return Check::good(NAME, "logs are kept until somebody purges them"),
        Some(seconds) => seconds / DAY_SECONDS,
    };
    if days >= RETENTION_DAYS_MIN {
        return Check::good(NAME, format!("{days} days"));
    }
    let has_seconds = server.variable("binlog_expire_logs_seconds").is_some();
    let mend = if has_seconds {
        lasting(server, "binlog_expire_logs_seconds", &(RETENTION_DAYS * DAY_SECONDS).to_string())
    } else {
        lasting(server, "expire_logs_days", &RETENTION_DAYS.to_string())
    };
    Check::not_good(
        NAME,
        Doubtful,
        format!("{days} days"),
        "If headwater is off for longer, the log it has to read is purged, and the databases have to be compared and repaired.",
        mend,
    )
}
