//! Everything the checks look at, read once.

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::{Names, Privileges};
use crate::clock::{SharedClock, Timestamp};
use crate::config::Config;
use crate::database::Error;
use crate::database::connect::Options;
use crate::database::dump::Dump;
use crate::database::schema::LiveSchema;
use crate::database::server::{Flavor, Server};
use crate::schema_map::BoundMap;
use crate::schema_map::file::MapFile;
use crate::spool::{Direction, Spool, free_bytes};
use crate::transport::authority::{AUTHORITY_REMEDY, SERVER_REMEDY, authority_file, server_file};
use crate::transport::client::PARENT_DATABASE;
use crate::transport::credentials::{self, REJOIN, Validity, child_file};

/// How long the parent may take to answer a knock.
const KNOCK_SECONDS: u64 = 5;

/// What this node has to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duties {
    /// It reads its database's binary log.
    pub capture: bool,
    /// It writes into its database.
    pub apply: bool,
}

impl Duties {
    /// A child captures, a parent applies, a middle tier does both.
    pub fn of(config: &Config) -> Duties {
        Duties { capture: config.parent.is_some(), apply: config.listen.is_some() }
    }
}

/// Everything the checks look at.
#[derive(Debug)]
pub struct Facts {
    /// What this node has to be able to do.
    pub duties: Duties,
    /// The id it reads the log under.
    pub capture_server_id: u32,
    /// The database that is kept in step.
    pub database_name: String,
    /// The schema of headwater's own tables.
    pub state_schema: String,
    /// The node's name, under which its parent knows it.
    pub node: String,
    /// What is wrong with the map's files, whether the database answers or not.
    pub map_files: Result<(), String>,
    /// The database server, or why it cannot be asked.
    pub database: Result<DatabaseFacts, Error>,
    /// This machine.
    pub machine: MachineFacts,
    /// The way to the parent, for a child.
    pub parent: Option<ParentFacts>,
}

/// What the database server says.
#[derive(Debug)]
pub struct DatabaseFacts {
    /// Which server, and its variables.
    pub server: Server,
    /// The account, as the server itself names it in SQL.
    pub account: String,
    /// What the account may do; `None` if the server does not tell.
    pub privileges: Option<Privileges>,
    /// The state of its log, or the refusal to tell.
    pub binlog: Result<BinlogFacts, String>,
    /// Whether it replicates from another server, as far as this account may know.
    pub is_replica: bool,
    /// Server ids of the readers the server knows of.
    pub readers: Vec<u32>,
    /// The server's clock less ours, in milliseconds.
    pub ahead_milliseconds: i64,
    /// The map, held against the tables there are; `None` if its files cannot be used.
    pub map: Option<MapFacts>,
    /// Free bytes where the server keeps its data, if that can be seen from here.
    pub free_bytes: Option<u64>,
}

/// The binary log as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogFacts {
    /// The file written at present; `None` if there is no log.
    pub end: Option<(String, u64)>,
    /// `binlog_do_db`: only these databases are logged, if any.
    pub only: Vec<String>,
    /// `binlog_ignore_db`: these are not.
    pub ignored: Vec<String>,
}

/// The map and the tables it is about.
#[derive(Debug)]
pub struct MapFacts {
    /// The tables there are.
    pub schema: LiveSchema,
    /// What becomes of them.
    pub map: BoundMap,
}

/// The machine headwater runs on.
#[derive(Debug, Clone, Default)]
pub struct MachineFacts {
    /// The data folder, as configured.
    pub data_dir: String,
    /// Its permission bits; `None` if it is not there.
    pub mode: Option<u32>,
    /// Whether it can be written to.
    pub writable: bool,
    /// Free bytes on its disk.
    pub free_bytes: Option<u64>,
    /// How much has to stay free.
    pub free_bytes_min: u64,
    /// The certificates of its own that are there.
    pub certificates: Vec<CertificateFacts>,
    /// What the parent, or the way to it, said last, if it was not well.
    pub link_error: Option<String>,
    /// The version of the parent's database server, as that prints it, if the parent has told it.
    pub parent_database: Option<String>,
    /// Now, to judge them by.
    pub now: Timestamp,
    /// What the configuration's reader warned of.
    pub warnings: Vec<String>,
}

/// Whose a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This node's as a child, by which its parent knows it.
    Child,
    /// This node's as a parent, by which its children know it.
    Server,
    /// This node's as the authority that signs the others.
    Authority,
}

/// One of this node's own certificates.
#[derive(Debug, Clone)]
pub struct CertificateFacts {
    /// Whose it is.
    pub owner: Owner,
    /// When it ends, or why it cannot be used.
    pub ends: Result<Timestamp, String>,
}

/// The way to the parent.
#[derive(Debug, Clone)]
pub struct ParentFacts {
    /// Its url.
    pub url: String,
    /// Whether its port answered.
    pub answer: Result<(), String>,
}

impl Facts {
    /// Asks the database, this machine, and the parent's port. Only reads.
    pub async fn read(config: &Config, clock: &SharedClock) -> Facts {
        let options = &config.database.options;
        let map = MapFile::load(&config.database.maps).map_err(|error| error.to_string());
        let database = match options.connect(&[]).await {
            Ok(mut connection) => {
                let file = map.as_ref().ok();
                let facts = DatabaseFacts::read(&mut connection, config, file, clock).await;
                connection.disconnect().await.ok();
                facts
            }
            Err(error) => Err(error),
        };
        let parent = match &config.parent {
            Some(parent) => {
                Some(ParentFacts { url: parent.url.clone(), answer: knock(&parent.url).await })
            }
            None => None,
        };
        Facts {
            duties: Duties::of(config),
            capture_server_id: config.capture.server_id,
            database_name: options.database.clone(),
            state_schema: config.database.state_schema.clone(),
            node: config.node.name.clone(),
            map_files: map.map(drop),
            database,
            machine: MachineFacts::read(config, clock.now()),
            parent,
        }
    }
}

impl DatabaseFacts {
    async fn read(
        connection: &mut Conn,
        config: &Config,
        file: Option<&MapFile>,
        clock: &SharedClock,
    ) -> Result<DatabaseFacts, Error> {
        let server = Server::read(connection).await?;
        let asked: Option<String> = connection
            .query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")
            .await?;
        let now = clock.now();
        let theirs = asked.and_then(|text| text.parse::<i64>().ok()).unwrap_or(now.0);
        let account: Option<String> = connection.query_first("SELECT CURRENT_USER()").await?;
        // Named, MariaDB's account is shown without what its role gives it.
        let grants: Result<Vec<String>, _> = connection.query("SHOW GRANTS").await;
        let binlog = BinlogFacts::read(connection, &server).await;
        let is_replica = is_replica(connection, &server).await;
        let readers = readers(&config.database.options, &server).await;
        let map = match file {
            Some(file) => {
                let schema =
                    LiveSchema::read(connection, &config.database.options.database).await?;
                let map = BoundMap::bind(file, &schema);
                Some(MapFacts { schema, map })
            }
            None => None,
        };
        let here = is_here(&config.database.options.host);
        let free_bytes = server
            .variable("datadir")
            .filter(|_| here)
            .and_then(|folder| free_bytes(Path::new(folder)));
        Ok(DatabaseFacts {
            account: in_sql(&account.unwrap_or_default()),
            privileges: grants.ok().map(|lines| Privileges::parse(&lines, Names::of(&server))),
            binlog: binlog.map_err(|error| error.to_string()),
            is_replica,
            readers,
            ahead_milliseconds: theirs.saturating_sub(now.0) / 1_000,
            map,
            free_bytes,
            server,
        })
    }
}

/// `user@host`, as `CURRENT_USER()` prints it, with the quotes that GRANT wants.
fn in_sql(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''"))
}

impl BinlogFacts {
    /// Asks for the present end of the log. What MySQL 8.2 renamed, others still call by the old
    /// name.
    pub async fn read(connection: &mut Conn, server: &Server) -> Result<BinlogFacts, Error> {
        let renamed = server.flavor == Flavor::Mysql && server.at_least(8, 2, 0);
        let question = if renamed { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        let row: Option<Row> = connection.query_first(question).await?;
        let Some(row) = row else {
            return Ok(BinlogFacts { end: None, only: Vec::new(), ignored: Vec::new() });
        };
        let column = |index: usize| match row.as_ref(index) {
            Some(mysql_async::Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(mysql_async::Value::UInt(number)) => number.to_string(),
            Some(mysql_async::Value::Int(number)) => number.to_string(),
            Some(_) | None => String::new(),
        };
        let list = |text: String| {
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Ok(BinlogFacts {
            end: Some((column(0), column(1).parse().unwrap_or_default())),
            only: list(column(2)),
            ignored: list(column(3)),
        })
    }
}

/// Whether the server replicates from another. To be told how, MariaDB from 10.5 on wants a right that
/// a child's account does not have; whether it runs it tells everybody.
async fn is_replica(connection: &mut Conn, server: &Server) -> bool {
    let question = match server.flavor {
        Flavor::Mariadb => "SHOW ALL SLAVES STATUS",
        Flavor::Mysql if server.at_least(8, 0, 22) => "SHOW REPLICA STATUS",
        Flavor::Mysql => "SHOW SLAVE STATUS",
    };
    let told: Result<Option<Row>, _> = connection.query_first(question).await;
    if let Ok(told) = told {
        return told.is_some();
    }
    let running = "SHOW GLOBAL STATUS LIKE 'Slaves_running'";
    let running: Result<Option<(String, String)>, _> = connection.query_first(running).await;
    running.is_ok_and(|running| running.is_some_and(|(_, count)| count != "0"))
}

/// Who reads the log already. Asking needs a right that capture itself does not need everywhere,
/// so no answer means nothing.
async fn readers(options: &Options, server: &Server) -> Vec<u32> {
    let renamed = server.flavor == Flavor::Mysql && server.at_least(8, 0, 22);
    let question = if renamed { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
    let Ok(mut connection) = Dump::connect(options, options.connect_timeout).await else {
        return Vec::new();
    };
    connection.readers(question).await.unwrap_or_default()
}

impl MachineFacts {
    fn read(config: &Config, now: Timestamp) -> MachineFacts {
        use std::os::unix::fs::PermissionsExt;
        let folder = &config.node.data_dir;
        let found = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir);
        MachineFacts {
            data_dir: folder.display().to_string(),
            mode: found.as_ref().map(|found| found.permissions().mode() & 0o777),
            writable: rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok(),
            free_bytes: free_bytes(folder),
            free_bytes_min: config.spool.disk_free_bytes_min,
            certificates: CertificateFacts::read(folder),
            link_error: link_error(folder),
            parent_database: parent_database(folder),
            now,
            warnings: config.warnings.clone(),
        }
    }
}

/// As a node that runs, or ran, noted it.
fn link_error(data_dir: &Path) -> Option<String> {
    let usage = Spool::peek(data_dir).and_then(|store| store.usage()).ok()?;
    let up = usage.links.into_iter().find(|usage| usage.link.direction == Direction::Up)?;
    up.link.last_error
}

fn parent_database(data_dir: &Path) -> Option<String> {
    let noted = Spool::peek(data_dir).and_then(|store| store.note(PARENT_DATABASE)).ok()??;
    String::from_utf8(noted).ok()
}

impl CertificateFacts {
    /// Those that lie in `data_dir`.
    fn read(data_dir: &Path) -> Vec<CertificateFacts> {
        // What is wrong with the folder itself, another check says.
        if !data_dir.is_dir() {
            return Vec::new();
        }
        let files = [
            (Owner::Child, child_file(data_dir), REJOIN),
            (Owner::Server, server_file(data_dir), SERVER_REMEDY),
            (Owner::Authority, authority_file(data_dir), AUTHORITY_REMEDY),
        ];
        let there = files.into_iter().filter_map(|(owner, path, remedy)| {
            let found = match credentials::read(&path, remedy) {
                Ok(found) => found?.chain.first().map(Validity::of),
                Err(error) => {
                    return Some(CertificateFacts { owner, ends: Err(error.to_string()) });
                }
            };
            let ends = found.map_or_else(
                || Err(format!("{} has no certificate in it", path.display())),
                |validity| validity.map(|validity| validity.ends),
            );
            Some(CertificateFacts { owner, ends })
        });
        there.collect()
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether somebody answers at the parent's port; who it is only the link itself can tell.
async fn knock(url: &str) -> Result<(), String> {
    let place = url.trim_start_matches("https://");
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let place = if has_port { place.to_owned() } else { format!("{place}:443") };
    let knock = tokio::net::TcpStream::connect(&place);
    match tokio::time::timeout(Duration::from_secs(KNOCK_SECONDS), knock).await {
        Ok(Ok(_stream)) => Ok(()),
        Ok(Err(error)) => Err(format!("{place} does not answer: {error}")),
        Err(_elapsed) => Err(format!("{place} does not answer within {KNOCK_SECONDS} s")),
    }
}
