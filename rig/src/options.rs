//! How a throwaway server is set up, and the arguments that say so to each kind of server.

use std::ffi::OsString;
use std::path::Path;

use rand::RngExt as _;

use crate::flavor::Flavor;
use crate::template;

/// How a server is set up. The default is what the fine print asks of a clinic: row format, full
/// images, and nothing lost at a power cut.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Whether there is a binary log.
    pub binlog: bool,
    /// The server's id; every server of a test gets another one.
    pub server_id: u32,
    /// `sync_binlog`.
    pub sync_binlog: u32,
    /// `innodb_flush_log_at_trx_commit`.
    pub flush_log_at_trx_commit: u32,
    /// `binlog_row_metadata`, if not the server's default.
    pub row_metadata: Option<&'static str>,
    /// `gtid_mode` of MySQL.
    pub gtid: bool,
    /// `innodb_buffer_pool_size`, in MiB.
    pub buffer_pool_mib: u32,
    /// `innodb_redo_log_capacity` or `innodb_log_file_size`, in MiB.
    pub redo_log_mib: u32,
    /// More arguments for the server, which win over those above.
    pub extra: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            binlog: true,
            server_id: rand::rng().random_range(1000..4_000_000_000),
            sync_binlog: 1,
            flush_log_at_trx_commit: 1,
            row_metadata: None,
            gtid: true,
            buffer_pool_mib: 128,
            redo_log_mib: 48,
            extra: Vec::new(),
        }
    }
}

impl ServerOptions {
    /// Adds one argument for the server.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.extra.push(argument.to_owned());
        self
    }
}

impl ServerOptions {
    /// The server's arguments after those that every way of running it needs.
    pub(crate) fn arguments(&self, flavor: Flavor, folder: &Path, port: u16) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            template::option("--socket=", &folder.join("db.sock")),
            template::option("--pid-file=", &folder.join("db.pid")),
            template::option("--tmpdir=", folder),
        ];
        let mut add = |text: String| arguments.push(text.into());
        add(format!("--port={port}"));
        add(format!("--server-id={}", self.server_id));
        add(format!("--innodb-buffer-pool-size={}M", self.buffer_pool_mib));
        add(format!("--innodb-flush-log-at-trx-commit={}", self.flush_log_at_trx_commit));
        for fixed in [
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--max-allowed-packet=1G",
            "--max-connections=100",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            "--innodb-buffer-pool-load-at-startup=OFF",
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--table-open-cache=1000",
        ] {
            add(fixed.to_owned());
        }
        match flavor {
            Flavor::Mysql97 | Flavor::Mysql84 => {
                add("--mysqlx=OFF".to_owned());
                add(format!("--innodb-redo-log-capacity={}M", self.redo_log_mib));
                // The built-in default names a folder that only an installed package has.
                add("--secure-file-priv=".to_owned());
            }
            // 8.0 before 8.0.30 has no other name for it.
            Flavor::Mysql80 => {
                add("--mysqlx=OFF".to_owned());
                add(format!("--innodb-log-file-size={}M", self.redo_log_mib));
                add("--secure-file-priv=".to_owned());
            }
            Flavor::Mysql57 => {
                add(format!("--innodb-log-file-size={}M", self.redo_log_mib));
                add("--explicit-defaults-for-timestamp=ON".to_owned());
                add("--secure-file-priv=".to_owned());
            }
            Flavor::Mysql56 => {
                add(format!("--innodb-log-file-size={}M", self.redo_log_mib));
                // Long keys of four-byte characters, as later versions have them by default.
                add("--innodb-file-format=Barracuda".to_owned());
                add("--innodb-large-prefix=ON".to_owned());
                add("--explicit-defaults-for-timestamp=ON".to_owned());
            }
            Flavor::Mariadb1011 | Flavor::Mariadb118 => {
                add(format!("--innodb-log-file-size={}M", self.redo_log_mib));
            }
        }
        self.add_binlog_options(flavor, &mut arguments);
        arguments.extend(self.extra.iter().map(Into::into));
        arguments
    }

    fn add_binlog_options(&self, flavor: Flavor, arguments: &mut Vec<OsString>) {
        let mut add = |text: &str| arguments.push(text.into());
        if !self.binlog {
            add("--skip-log-bin");
            return;
        }
        add("--log-bin=binlog");
        add("--binlog-row-image=FULL");
        add(&format!("--sync-binlog={}", self.sync_binlog));
        if let Some(metadata) = self.row_metadata {
            add(&format!("--binlog-row-metadata={metadata}"));
        }
        // MySQL 9 knows no other format.
        if flavor != Flavor::Mysql97 {
            add("--binlog-format=ROW");
        }
        if !flavor.is_mariadb() {
            let switch = if self.gtid { "ON" } else { "OFF" };
            add(&format!("--gtid-mode={switch}"));
            add(&format!("--enforce-gtid-consistency={switch}"));
        }
        if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) && self.gtid {
            add("--log-slave-updates=ON");
        }
    }
}
