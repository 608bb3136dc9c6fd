//! How a node stands, seen from outside: its store is read beside the process that runs on it,
//! its database is asked where its log ends and what is set aside.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use super::nameless::{NAMELESS, Nameless, nameless};
use super::target::Target;
use crate::capture::{READ_ALL, WAITS};
use crate::clock::{SharedClock, Timestamp};
use crate::config::Config;
use crate::database;
use crate::database::server::{Flavor, Server};
use crate::doctor::{BinlogFacts, Duties};
use crate::position::Position;
use crate::spool::{self, Direction, LinkUsage, Spool, State, Usage, free_bytes};
use crate::transport::SetAside;
use crate::transport::client::SET_ASIDE;

/// How a node stands.
#[derive(Debug, Clone, Serialize)]
pub struct NodeState {
    /// Its name.
    pub node: String,
    /// The epoch of its store; `None` before the first run.
    pub epoch: Option<String>,
    /// How far its database's log has been read.
    pub capture: CaptureState,
    /// What waits.
    pub spool: SpoolState,
    /// Its parent and its children.
    pub links: Vec<LinkState>,
    /// Changes that wait for a row they refer to; `None` if the database cannot be asked.
    pub parked: Option<u64>,
    /// Changes that wait for a person.
    pub quarantined: Option<u64>,
    /// Whether everything in the log, to its present end, is acknowledged by the parent; at a parent,
    /// whether nothing of its children is set aside or refused here.
    pub in_step: bool,
    /// Whether the database has answered.
    #[serde(skip)]
    pub answered: bool,
    /// What keeps it from being in step, or from being known, a sentence each.
    pub problems: Vec<String>,
}

/// How far the log has been read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CaptureState {
    /// Whether this node reads a log at all.
    pub wanted: bool,
    /// Where capture resumes, as `file:offset`.
    pub position: Option<String>,
    /// The transactions up to there, in the server's notation.
    pub gtids: Option<String>,
    /// Where the log ends now.
    pub log_end: Option<String>,
    /// 0 at the log's end, and only there; otherwise how long ago the last transaction that was
    /// captured was committed, or, if nothing was after that, how long ago the end was left.
    pub lag_seconds: Option<u64>,
    /// What capture waits for, if it does.
    pub waits_for: Option<String>,
    /// Rows that do not travel because they have no identity, once capture has seen such.
    pub without_identity: Vec<Nameless>,
}

/// What waits in the store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpoolState {
    /// The last transaction captured.
    pub head: u64,
    /// Transactions held, acknowledged ones in their grace period included.
    pub transactions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many there may be.
    pub bytes_max: u64,
}

/// One link.
#[derive(Debug, Clone, Serialize)]
pub struct LinkState {
    /// The other end's name.
    pub name: String,
    /// `up` to the parent, `down` to a child.
    pub direction: &'static str,
    /// `invited`, `active` or `revoked`.
    pub state: &'static str,
    /// The last transaction of ours that it has applied.
    pub acknowledged: u64,
    /// The last transaction of its own that was applied here.
    pub received: u64,
    /// Transactions of ours that it has not acknowledged; 0 where none are meant for it.
    pub waiting_transactions: u64,
    /// When the oldest of them was committed, in UTC.
    pub waiting_since: Option<String>,
    /// Changes of ours that it has set aside, as it said last; `None` before it said so.
    pub set_aside: Option<SetAside>,
    /// When it was last heard of, in UTC.
    pub last_contact: Option<String>,
    /// The same in seconds before now.
    pub last_contact_seconds: Option<u64>,
    /// What went wrong last, unless something has gone right since.
    pub last_error: Option<String>,
}

/// Why a node's state cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] spool::Error),
}

/// What the database says, asked before the store: what is acknowledged afterwards covers at least
/// the log as it was then.
struct Asked {
    server: Server,
    end: Option<(String, u64)>,
    gtids: Option<String>,
    /// What was applied here, or why that is not known.
    target: Result<Target, String>,
}

/// What the store says.
struct Stored {
    epoch: String,
    position: Option<Position>,
    read_to: Option<Timestamp>,
    usage: Usage,
    waits_for: Option<String>,
    set_aside: Option<SetAside>,
    nameless: bool,
}

impl NodeState {
    /// Looks at a node's database and its store. Neither is changed, and either may be missing.
    pub async fn read(config: &Config, clock: &SharedClock) -> Result<NodeState, StateError> {
        let duties = Duties::of(config);
        let mut problems = Vec::new();
        let mut connected = match config.database.options.connect(&[]).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        let asked = match &mut connected {
            Some(connection) => match ask(connection, config, duties).await {
                Ok(asked) => Some(asked),
                Err(error) => {
                    problems.push(error.to_string());
                    None
                }
            },
            None => None,
        };
        let stored = match stored(config) {
            Ok(stored) => Some(stored),
            Err(spool::Error::Missing { .. }) => {
                problems.push("this node has not run yet: headwater run".to_owned());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let at_end =
            match (&mut connected, &asked, stored.as_ref().and_then(|s| s.position.as_ref())) {
                (Some(connection), Some(asked), Some(position)) => {
                    at_end(connection, asked, position).await
                }
                (_, _, _) => false,
            };
        let mut without_identity = Vec::new();
        if let (Some(connection), Some(stored)) = (&mut connected, &stored)
            && stored.nameless
            && duties.capture
        {
            match nameless(connection, config).await {
                Ok(found) => without_identity = found,
                Err(error) => problems.push(error.to_string()),
            }
        }
        if let Some(connection) = connected {
            // What was asked has been answered.
            connection.disconnect().await.ok();
        }
        let now = clock.now();
        let look = Look { config, duties, asked, stored, at_end, without_identity, now };
        Ok(look.state(problems))
    }
}

fn stored(config: &Config) -> Result<Stored, spool::Error> {
    let peek = Spool::peek(&config.node.data_dir)?;
    // The position first: what was captured up to there is in the usage read after it.
    let position = peek.position()?;
    let waits_for = peek.note(WAITS)?.filter(|words| !words.is_empty());
    let read_all = peek.note(READ_ALL)?.and_then(|bytes| bytes.try_into().ok());
    let read_all = read_all.map(|bytes| Timestamp(i64::from_le_bytes(bytes)));
    let set_aside = peek.note(SET_ASIDE)?;
    Ok(Stored {
        nameless: peek.note(NAMELESS)?.is_some(),
        set_aside: set_aside.and_then(|noted| serde_json::from_slice(&noted).ok()),
        waits_for: waits_for.map(|words| String::from_utf8_lossy(&words).into_owned()),
        epoch: peek.epoch()?.to_string(),
        position,
        // A log that ended there then was captured up to then.
        read_to: peek.read_to()?.max(read_all),
        usage: peek.usage()?,
    })
}

async fn ask(
    connection: &mut Conn,
    config: &Config,
    duties: Duties,
) -> Result<Asked, database::Error> {
    let server = Server::read(connection).await?;
    let (mut end, mut gtids) = (None, None);
    if duties.capture {
        gtids = match server.flavor {
            Flavor::Mysql => connection.query_first("SELECT @@GLOBAL.gtid_executed").await?,
            Flavor::Mariadb => connection.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await?,
        };
        end = BinlogFacts::read(connection, &server).await?.end;
    }
    // A node that applies nothing need not have the tables, nor the right to look at them.
    let target = if duties.apply {
        Target::read(connection, &config.database.state_schema).await?
    } else {
        Ok(Target::default())
    };
    Ok(Asked { server, end, gtids, target })
}

/// Whether everything in the log was read. The offsets agree only if nothing was logged since that
/// is no transaction, such as the head of a new file; the transaction ids know better.
async fn at_end(connection: &mut Conn, asked: &Asked, position: &Position) -> bool {
    if position.server != asked.server.identity {
        return false;
    }
    if asked
        .end
        .as_ref()
        .is_some_and(|(file, offset)| *file == position.file && position.offset >= *offset)
    {
        return true;
    }
    let Some(all) = &asked.gtids else { return false };
    let (question, with) = match asked.server.flavor {
        Flavor::Mysql => match &position.gtids {
            Some(read) if !all.is_empty() => {
                ("SELECT GTID_SUBSET(?, ?)", (all.clone(), read.clone()))
            }
            Some(_) | None => return false,
        },
        Flavor::Mariadb if position.gtids.as_ref() == Some(all) => return true,
        Flavor::Mariadb => (
            "SELECT BINLOG_GTID_POS(?, ?) = @@GLOBAL.gtid_binlog_pos",
            (position.file.clone(), position.offset.to_string()),
        ),
    };
    let answer: Result<Option<Option<u8>>, _> = connection.exec_first(question, with).await;
    matches!(answer, Ok(Some(Some(1))))
}

/// Everything that was looked at.
struct Look<'c> {
    config: &'c Config,
    duties: Duties,
    asked: Option<Asked>,
    stored: Option<Stored>,
    at_end: bool,
    without_identity: Vec<Nameless>,
    now: Timestamp,
}

impl Look<'_> {
    fn state(&self, mut problems: Vec<String>) -> NodeState {
        let usage = self.stored.as_ref().map(|stored| &stored.usage);
        let links: Vec<LinkState> =
            usage.into_iter().flat_map(|usage| &usage.links).map(|link| self.link(link)).collect();
        problems.extend(self.behind(&links));
        problems.extend(self.not_applied(&links));
        let known = self.asked.is_some() && self.stored.is_some();
        let held = self.held();
        NodeState {
            node: self.config.node.name.clone(),
            epoch: self.stored.as_ref().map(|stored| stored.epoch.clone()),
            capture: self.capture(),
            spool: SpoolState {
                head: usage.map_or(0, |usage| usage.head.0),
                transactions: usage.map_or(0, |usage| usage.transactions),
                bytes: usage.map_or(0, |usage| usage.bytes),
                bytes_max: self.config.spool.bytes_max,
            },
            links,
            parked: held.map(|held| held.0),
            quarantined: held.map(|held| held.1),
            in_step: known && problems.is_empty(),
            answered: self.asked.is_some(),
            problems,
        }
    }

    /// How many changes are parked and quarantined, if that is known.
    fn held(&self) -> Option<(u64, u64)> {
        self.target().map(|target| target.held)
    }

    fn target(&self) -> Option<&Target> {
        self.asked.as_ref().and_then(|asked| asked.target.as_ref().ok())
    }

    /// What the parent has not got yet, in words.
    fn behind(&self, links: &[LinkState]) -> Vec<String> {
        let mut behind = Vec::new();
        if !self.duties.capture || self.stored.is_none() {
            return behind;
        }
        if self.asked.is_some() && !self.at_end {
            behind.push("the log has not been read to its end".to_owned());
        }
        behind.extend(self.waits_for().map(|words| format!("capture waits: {words}")));
        let up: Vec<&LinkState> = links.iter().filter(|link| link.direction == "up").collect();
        if up.is_empty() {
            behind.push("this node has not joined its parent: headwater join TOKEN".to_owned());
        }
        for link in up {
            if link.state == "revoked" {
                behind.push(format!("{} has ended the link", link.name));
            }
            if link.waiting_transactions > 0 {
                behind.push(format!(
                    "{} transactions wait for {}",
                    link.waiting_transactions, link.name
                ));
            }
        }
        behind
    }

    /// What children sent and this node's database has not, in words.
    fn not_applied(&self, links: &[LinkState]) -> Vec<String> {
        if !self.duties.apply {
            return Vec::new();
        }
        let (parked, quarantined) = self.held().unwrap_or_default();
        let aside = |count: u64, how: &str, list: &str| {
            (count > 0).then(|| format!("{how} here: {count} (headwater {list} list)"))
        };
        let quarantined = aside(quarantined, "quarantined", "quarantine");
        let parked = aside(parked, "parked", "parked");
        let children =
            links.iter().filter(|link| link.direction == "down" && link.state == "active");
        let refused = children
            .filter_map(|link| Some(format!("{}: {}", link.name, link.last_error.as_ref()?)));
        // Before its first run a node has no tables of its own.
        let unknown = self.asked.as_ref().and_then(|asked| asked.target.as_ref().err().cloned());
        let unknown = unknown.filter(|_| self.stored.is_some());
        quarantined.into_iter().chain(parked).chain(refused).chain(unknown).collect()
    }

    /// What capture waits for: as it noted itself, or, when it had no room to note it, as the disk
    /// says.
    fn waits_for(&self) -> Option<String> {
        let noted = self.stored.as_ref().and_then(|stored| stored.waits_for.clone());
        let limit = self.config.spool.disk_free_bytes_min;
        let folder = &self.config.node.data_dir;
        let low = || {
            let free = free_bytes(folder).filter(|free| *free < limit && !self.at_end)?;
            Some(spool::Error::DiskLow { folder: folder.clone(), free, limit }.to_string())
        };
        noted.or_else(low)
    }

    fn capture(&self) -> CaptureState {
        let position = self.stored.as_ref().and_then(|stored| stored.position.as_ref());
        let read_to = self.stored.as_ref().and_then(|stored| stored.read_to);
        let lag = match (self.at_end, &self.asked, read_to) {
            (true, _, _) => Some(0),
            (false, Some(_), Some(read_to)) => Some(self.now.since(read_to).as_secs().max(1)),
            (false, _, _) => None,
        };
        let end = self.asked.as_ref().and_then(|asked| asked.end.as_ref());
        CaptureState {
            wanted: self.duties.capture,
            position: position.map(|position| format!("{}:{}", position.file, position.offset)),
            gtids: position.and_then(|position| position.gtids.clone()),
            log_end: end.map(|(file, offset)| format!("{file}:{offset}")),
            lag_seconds: lag.filter(|_| self.duties.capture),
            waits_for: self.waits_for().filter(|_| self.duties.capture && self.stored.is_some()),
            without_identity: self.without_identity.clone(),
        }
    }

    fn link(&self, usage: &LinkUsage) -> LinkState {
        let link = &usage.link;
        LinkState {
            name: link.name.clone(),
            direction: match link.direction {
                Direction::Up => "up",
                Direction::Down => "down",
            },
            state: match link.state {
                State::Invited => "invited",
                State::Active => "active",
                State::Revoked => "revoked",
            },
            acknowledged: link.acknowledged.0,
            received: self.target().map_or(link.received.0, |target| target.received(link)),
            waiting_transactions: usage.waiting_transactions,
            waiting_since: usage.waiting_since.map(|at| at.to_string()),
            set_aside: self
                .stored
                .as_ref()
                .and_then(|stored| stored.set_aside)
                .filter(|_| link.direction == Direction::Up),
            last_contact: link.last_contact.map(|at| at.to_string()),
            last_contact_seconds: link.last_contact.map(|at| self.now.since(at).as_secs()),
            last_error: link.last_error.clone(),
        }
    }
}
