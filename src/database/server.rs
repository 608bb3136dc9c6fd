//! Which server this is: MySQL or MariaDB, its version, its identity, and the variables that matter.

use std::collections::BTreeMap;
use std::fmt;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Error;
use super::read::text;
use crate::position::ServerIdentity;

/// The variables that are read; those a server does not have are absent.
const VARIABLES: [&str; 49] = [
    "binlog_annotate_row_events",
    "binlog_checksum",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_legacy_event_pos",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_space_limit",
    "binlog_transaction_compression",
    "character_set_server",
    "datadir",
    "enforce_gtid_consistency",
    "expire_logs_days",
    "foreign_key_checks",
    "gtid_domain_id",
    "gtid_mode",
    "gtid_strict_mode",
    "have_ssl",
    "innodb_flush_log_at_trx_commit",
    "innodb_lock_wait_timeout",
    "innodb_native_foreign_keys",
    "innodb_strict_mode",
    "innodb_version",
    "log_bin",
    "log_bin_basename",
    "log_bin_compress",
    "log_slave_updates",
    "log_replica_updates",
    "lower_case_table_names",
    "max_allowed_packet",
    "max_binlog_size",
    "max_binlog_total_size",
    "mysql56_temporal_format",
    "net_read_timeout",
    "net_write_timeout",
    "partial_revokes",
    "port",
    "read_only",
    "server_id",
    "server_uuid",
    "sql_mode",
    "super_read_only",
    "sync_binlog",
    "system_time_zone",
    "time_zone",
    "transaction_isolation",
    "tx_isolation",
    "wait_timeout",
];

/// The oldest that can work: the first of each kind whose log and whose GTIDs are as they are today.
const OLDEST: [(Flavor, (u16, u16, u16)); 2] =
    [(Flavor::Mysql, (5, 6, 0)), (Flavor::Mariadb, (10, 0, 10))];

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL, and what behaves like it.
    Mysql,
    /// `MariaDB`.
    Mariadb,
}

/// A server, as it describes itself.
#[derive(Debug, Clone)]
pub struct Server {
    /// Whose server it is.
    pub flavor: Flavor,
    /// Its version's three numbers.
    pub version: (u16, u16, u16),
    /// Its version as it prints it.
    pub version_text: String,
    /// What tells it from every other server.
    pub identity: ServerIdentity,
    variables: BTreeMap<String, String>,
}

impl Server {
    /// Asks a server what it is: two statements.
    pub async fn read(connection: &mut Conn) -> Result<Server, Error> {
        let row: Option<mysql_async::Row> = connection.query_first("SELECT VERSION()").await?;
        let version_text = row.as_ref().and_then(|row| text(row, 0)).unwrap_or_default();
        let (flavor, version) = parse_version(&version_text);
        if is_too_old(flavor, version) {
            return Err(Error::TooOld { version: version_text });
        }
        let list = VARIABLES.map(|name| format!("'{name}'")).join(",");
        let rows: Vec<mysql_async::Row> = connection
            .query(format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({list})"))
            .await?;
        let variables = rows
            .iter()
            .filter_map(|row| Some((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?)))
            .collect::<BTreeMap<_, _>>();
        let identity = match flavor {
            Flavor::Mysql => ServerIdentity::Mysql {
                server_uuid: variables.get("server_uuid").cloned().ok_or_else(|| {
                    Error::Answer { reason: "the server tells no server_uuid".to_owned() }
                })?,
            },
            Flavor::Mariadb => ServerIdentity::Mariadb {
                server_id: id_of(&variables, "server_id"),
                domain_id: id_of(&variables, "gtid_domain_id"),
            },
        };
        Ok(Server { flavor, version, version_text, identity, variables })
    }

    /// Whether it takes names of schemas and tables for the same in capital and in small letters.
    pub fn ignores_case(&self) -> bool {
        self.number("lower_case_table_names").is_some_and(|value| value > 0)
    }

    /// A global variable's value as the server prints it; `None` if this server has none such.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("on"))
    }

    /// A variable that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.variable(name)?.parse().ok()
    }

    /// Whether its version is this one or later.
    pub fn at_least(&self, major: u16, minor: u16, patch: u16) -> bool {
        self.version >= (major, minor, patch)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavor {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let (major, minor, patch) = self.version;
        write!(out, "{name} {major}.{minor}.{patch}")
    }
}

fn id_of(variables: &BTreeMap<String, String>, name: &str) -> u32 {
    variables.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn is_too_old(flavor: Flavor, version: (u16, u16, u16)) -> bool {
    OLDEST.iter().any(|(of, oldest)| *of == flavor && version < *oldest)
}

/// `10.11.19-MariaDB-log`, `5.5.5-10.11.19-MariaDB` (as replicas are told), `9.7.4`, `8.0.36-28`.
pub(crate) fn parse_version(text: &str) -> (Flavor, (u16, u16, u16)) {
    let flavor =
        if text.to_ascii_lowercase().contains("mariadb") { Flavor::Mariadb } else { Flavor::Mysql };
    let numbers = match flavor {
        Flavor::Mariadb => text.strip_prefix("5.5.5-").unwrap_or(text),
        Flavor::Mysql => text,
    };
    let mut numbers = numbers
        .split(|character: char| !character.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (flavor, (next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_from_before_their_logs_were_as_today_are_too_old() {
        let is_too_old = |text| {
            let (flavor, version) = parse_version(text);
            is_too_old(flavor, version)
        };
        for text in ["5.5.62-log", "5.1.73", "5.5.68-MariaDB", "5.5.5-10.0.9-MariaDB"] {
            assert!(is_too_old(text), "{text}");
        }
        for text in ["5.6.10", "5.7.44-log", "9.7.4", "5.5.5-10.3.39-MariaDB", "10.0.38-MariaDB"] {
            assert!(!is_too_old(text), "{text}");
        }
    }

    #[test]
    fn versions_as_servers_print_them() {
        assert_eq!(parse_version("9.7.4"), (Flavor::Mysql, (9, 7, 4)));
        assert_eq!(parse_version("8.0.36-28"), (Flavor::Mysql, (8, 0, 36)));
        assert_eq!(parse_version("5.6.24-log"), (Flavor::Mysql, (5, 6, 24)));
        assert_eq!(parse_version("10.11.19-MariaDB-0+deb12u1"), (Flavor::Mariadb, (10, 11, 19)));
        assert_eq!(parse_version("5.5.5-10.11.19-MariaDB"), (Flavor::Mariadb, (10, 11, 19)));
        assert_eq!(parse_version(""), (Flavor::Mysql, (0, 0, 0)));
    }
}
