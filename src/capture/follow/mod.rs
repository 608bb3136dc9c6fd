//! Follows the log event by event: what belongs to one transaction is gathered, rows of mapped
//! tables become changes, and whatever cannot be carried exactly is refused by name.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use self::refuse::{READ_AGAIN, cannot_read, given_up, refused, remedy};
use self::replaced::Kept;
use self::savepoint::Savepoints;
use self::unlogged::Unchecked;
use self::xa::Prepared;
use super::Error;
use super::assembly::Assembly;
use super::decode::{
    Body, DecodeError, Decoder, Event, Header, Incident, MapColumn, Row, TransactionPayload,
};
use super::fetch::Fetcher;
use super::identities::Identities;
use super::place::{Begun, Place, Spot};
use super::plan::TablePlan;
use super::tables::Tables;
use super::translate::Decisions;
use crate::change::NodeId;
use crate::clock::Timestamp;
use crate::database::schema::LiveSchema;
use crate::position::Position;
use crate::schema_map::BoundMap;
use crate::value::Name;

mod ask;
mod define;
mod query;
pub(in crate::capture) mod refuse;
mod replaced;
mod rows;
mod savepoint;
mod unlogged;
pub(in crate::capture) mod xa;

/// The name of the table in the state schema whose row every transaction of headwater's own
/// writes first.
const WATERMARK_TABLE: &str = "watermark";

/// What the log's reader knows.
pub(in crate::capture) struct Follower {
    /// The map, bound to the tables as they are defined at this place in the log.
    pub(in crate::capture) map: Arc<BoundMap>,
    /// `None` until there is something to ask.
    live: Option<Live>,
    pub(in crate::capture) definitions: Tables,
    /// What is to be held against the database yet.
    unchecked: Option<Unchecked>,
    /// How often the map has been bound anew: plans made before are made anew too.
    bindings: u32,
    pub(in crate::capture) place: Place,
    pub(in crate::capture) assembly: Assembly,
    pub(in crate::capture) identities: Identities,
    pub(in crate::capture) fetcher: Fetcher,
    pub(in crate::capture) told: Told,
    decoder: Decoder,
    decisions: Decisions,
    tables: HashMap<u64, Table, RandomState>,
    plans: HashMap<Name, Arc<TablePlan>>,
    /// XA transactions that were prepared and are known to have nothing to carry.
    pub(in crate::capture) prepared: Prepared,
    /// An empty row, for its memory.
    row: Row<'static>,
    /// Tables of which the index was told to forget what it knows.
    unfilled: BTreeSet<Name>,
    /// Something read of a transaction that was rolled back has to be undone.
    rolled_back: bool,
    transaction: Option<Transaction>,
    /// Where the open transaction begins.
    boundary: Option<Spot>,
    settings: Settings,
}

/// The tables as they are now: for questions to the database.
struct Live {
    schema: LiveSchema,
    map: Arc<BoundMap>,
}

impl Live {
    fn new(definitions: &Tables, schema: LiveSchema) -> Live {
        Live { map: Arc::new(definitions.bind_to(&schema)), schema }
    }
}

/// What following a log has to know beforehand.
#[derive(Debug, Clone)]
pub(in crate::capture) struct Settings {
    /// The database whose tables travel.
    pub(in crate::capture) database: String,
    /// The server may log the database's name in other letters than it is called by.
    pub(in crate::capture) ignores_case: bool,
    /// The schema of headwater's own tables.
    pub(in crate::capture) state_schema: String,
    /// Places (`file:offset`) whose content an operator has looked at and given up.
    pub(in crate::capture) accepted: Vec<String>,
    /// Other databases whose statements are known to change nothing of this one.
    pub(in crate::capture) harmless_databases: Vec<String>,
    /// The most bytes that a compressed event may inflate to.
    pub(in crate::capture) inflated_bytes_max: u64,
}

/// What there is to tell of the log so far.
#[derive(Debug, Clone, Default)]
pub(in crate::capture) struct Told {
    pub(in crate::capture) rows: u64,
    /// Events of the log.
    pub(in crate::capture) events: u64,
    pub(in crate::capture) transactions: u64,
    /// When the last transaction that was read to its end was committed, by the server's clock.
    pub(in crate::capture) committed_at: Option<Timestamp>,
    /// Rows that could not travel because their identity is NULL.
    pub(in crate::capture) nameless: u64,
    /// The server had nothing more to send.
    pub(in crate::capture) caught_up: bool,
    pub(in crate::capture) logs_begun: u64,
    /// The log file read last, and when it began, in seconds.
    pub(in crate::capture) began: Option<(String, u32)>,
}

enum Table {
    Mapped(Arc<TablePlan>),
    /// Headwater's own watermark: tells through which link a transaction came.
    Watermark(Vec<MapColumn>),
    Other,
}

/// What has been read of a transaction's beginning: it is over only with its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Beginning {
    /// Nothing but its number, if anything.
    #[default]
    Unread,
    Read,
    /// A BEGIN, which no transaction has two of.
    Statement,
}

#[derive(Default)]
struct Transaction {
    /// A statement alone, which commits itself.
    standalone: bool,
    beginning: Beginning,
    xa: bool,
    committed_micros: Option<i64>,
    origin: Option<NodeId>,
    /// The mapped tables that it changed, in order.
    tables: Vec<Name>,
    savepoints: Savepoints,
    /// Rows of the open statement, in order, while it is open what of them comes back.
    kept: VecDeque<Kept>,
}

impl Transaction {
    fn has_begun(&self) -> bool {
        self.beginning != Beginning::Unread
    }

    fn touches(&mut self, table: &Name) {
        if !self.tables.contains(table) {
            self.tables.push(table.clone());
        }
    }
}

impl Follower {
    pub(in crate::capture) fn new(
        definitions: Tables,
        place: Place,
        assembly: Assembly,
        identities: Identities,
        fetcher: Fetcher,
        prepared: Prepared,
        settings: Settings,
    ) -> Follower {
        Follower {
            map: Arc::new(bound(definitions.bind())),
            live: None,
            definitions,
            unchecked: Some(Unchecked::All),
            bindings: 0,
            place,
            assembly,
            identities,
            fetcher,
            told: Told::default(),
            decoder: Decoder::new(settings.inflated_bytes_max),
            decisions: Decisions::default(),
            tables: HashMap::default(),
            plans: HashMap::new(),
            prepared,
            row: Row::default(),
            unfilled: BTreeSet::new(),
            rolled_back: false,
            transaction: None,
            boundary: None,
            settings,
        }
    }

    /// The end of the last transaction read.
    pub(in crate::capture) fn position(&self) -> Position {
        match &self.boundary {
            Some(spot) => self.place.position_at(spot),
            None => self.place.position(),
        }
    }

    /// Whether nothing has been read of a transaction whose end has not: neither changes nor what it
    /// did to identities.
    pub(in crate::capture) fn is_between(&self) -> bool {
        self.transaction.is_none()
            && !self.assembly.is_open()
            && self.identities.gathered() == self.identities.settled()
    }

    /// Whether a transaction was rolled back since this was last asked that has left traces in the
    /// store or in what is known of identities.
    pub(in crate::capture) fn take_rolled_back(&mut self) -> bool {
        std::mem::take(&mut self.rolled_back)
    }

    /// Reads one event.
    pub(in crate::capture) async fn read(&mut self, raw: &[u8]) -> Result<(), Error> {
        let start = self.place.spot();
        let event = self.decoder.event(raw, false).map_err(|error| self.at(&start, &error))?;
        self.told.caught_up = false;
        if let Body::TransactionPayload(payload) = &event.body {
            self.payload(payload, &start).await?;
        } else {
            self.event(&event, &start).await?;
        }
        if !matches!(event.body, Body::Heartbeat) {
            self.told.events += 1;
        }
        if !matches!(event.body, Body::Rotate { .. } | Body::Heartbeat) {
            self.place.passed(&event.header);
        }
        Ok(())
    }

    async fn payload(
        &mut self,
        payload: &TransactionPayload<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        let bytes_max = self.settings.inflated_bytes_max;
        let mut reader = payload.reader(bytes_max).map_err(|error| self.at(start, &error))?;
        let mut raw = Vec::new();
        while reader.read(&mut raw).map_err(|error| self.at(start, &error))? {
            let event = self.decoder.event(&raw, true).map_err(|error| self.at(start, &error))?;
            self.event(&event, start).await?;
        }
        Ok(())
    }

    async fn event(&mut self, event: &Event<'_>, start: &Spot) -> Result<(), Error> {
        if !matches!(event.body, Body::TableMap(_) | Body::Rows(_) | Body::Heartbeat) {
            self.settle_kept().await?;
        }
        match &event.body {
            Body::FormatDescription { .. } => {
                self.told.logs_begun += 1;
                self.told.began = Some((self.place.file(), event.header.timestamp_seconds));
                Ok(())
            }
            Body::Rotate { file, offset } => self.rotated(file, *offset),
            Body::Heartbeat => {
                self.told.caught_up = true;
                Ok(())
            }
            Body::Gtid(gtid) => {
                let begun = (!gtid.is_anonymous()).then(|| Begun::Mysql {
                    source: gtid.sid,
                    tag: gtid.tag.to_owned(),
                    number: gtid.gno,
                });
                let committed = gtid.committed_micros.and_then(|micros| i64::try_from(micros).ok());
                self.begin(
                    begun,
                    Transaction { committed_micros: committed, ..Transaction::default() },
                )
            }
            Body::MariadbGtid(gtid) => self.begin(
                Some(Begun::Mariadb {
                    domain: gtid.domain,
                    server: event.header.server_id,
                    number: gtid.sequence,
                }),
                Transaction {
                    standalone: gtid.is_standalone(),
                    beginning: if gtid.is_standalone() { Beginning::Unread } else { Beginning::Read },
                    xa: gtid.is_prepared_xa(),
                    ..Transaction::default()
                },
            ),
            Body::Query(query) => self.query(query, &event.header, start),
            Body::Xid(_) => {
                self.commit(&event.header);
                Ok(())
            }
            Body::XaPrepare(prepare) if prepare.one_phase => {
                self.commit(&event.header);
                Ok(())
            }
            Body::XaPrepare(prepare) => self.prepared(prepare, start),
            Body::TableMap(map) => self.table_map(map, start).await,
            Body::Rows(rows) => self.rows(rows, start).await,
            Body::PartialRows(table_id) => self.partial_rows(*table_id, start),
            Body::TransactionPayload(_) => {
                Err(refused(start, "a compressed transaction inside another", READ_AGAIN))
            }
            Body::Incident(incident) => self.incident(incident, &event.header, start),
            Body::Unknown if !event.header.is_ignorable() => {
                Err(self.unknown(event.header.kind, start))
            }
            // What follows it is a statement, which is refused if it may concern a mapped table.
            Body::StatementFormat(_)
            | Body::Unknown
            // MariaDB sends it from an encrypted file, and what follows in clear.
            | Body::StartEncryption
            | Body::Stop
            | Body::PreviousGtids(_)
            | Body::MariadbGtidList(_)
            | Body::Informational(_) => Ok(()),
        }
    }

    fn rotated(&mut self, file: &str, offset: u64) -> Result<(), Error> {
        if *file != *self.place.file() && self.transaction.is_some() {
            self.cut_off()?;
        }
        self.tables.clear();
        self.place.rotated(file, offset);
        Ok(())
    }

    fn begin(&mut self, begun: Option<Begun>, transaction: Transaction) -> Result<(), Error> {
        if self.transaction.is_some() {
            self.cut_off()?;
        }
        let start = self.place.spot();
        if let Some(committed) = self.place.begin(begun)
            && !self.is_accepted(&start)
        {
            let what = format!(
                "the log goes on without the end of transaction {committed}, whose number is not \
                 given again: it was committed, and its end is lost"
            );
            return Err(refused(&start, &what, &given_up(&start)));
        }
        self.boundary = Some(start);
        self.transaction = Some(transaction);
        Ok(())
    }

    fn incident(
        &mut self,
        incident: &Incident,
        header: &Header,
        start: &Spot,
    ) -> Result<(), Error> {
        if self.is_accepted(start) {
            self.forget_all();
            // It may have a GTID of its own.
            self.end_of_statement(header);
            return Ok(());
        }
        let what =
            format!("the server lost changes before they reached its log: {}", incident.words);
        Err(refused(start, &what, &given_up(start)))
    }

    fn commit(&mut self, header: &Header) {
        let transaction = self.transaction.take().unwrap_or_default();
        let seconds = i64::from(header.timestamp_seconds).saturating_mul(1_000_000);
        let committed_at = Timestamp(transaction.committed_micros.unwrap_or(seconds));
        // What the server makes up itself has no time.
        if committed_at.0 > 0 {
            self.told.committed_at = Some(committed_at);
        }
        if self.assembly.commit(committed_at, transaction.origin).is_some() {
            self.told.transactions += 1;
        }
        self.identities.settle();
        self.place.done();
        self.boundary = None;
    }

    /// Drops the open transaction, which was rolled back.
    fn abandon(&mut self) -> Result<(), Error> {
        self.drop_open()?;
        self.place.done();
        self.boundary = None;
        Ok(())
    }

    /// Drops the open transaction, of which the log has no end: the server was killed while it wrote.
    /// The position stays before it until the next one begins, whose number tells whether it was
    /// committed all the same.
    fn cut_off(&mut self) -> Result<(), Error> {
        if let Some(begun) = &self.boundary {
            tracing::warn!(%begun, "the log goes on without the end of the transaction there");
        }
        self.drop_open()?;
        self.place.cut_off();
        Ok(())
    }

    fn drop_open(&mut self) -> Result<(), Error> {
        let in_store = self.assembly.abandon()?;
        self.rolled_back |= in_store || self.identities.gathered() > self.identities.settled();
        self.transaction = None;
        Ok(())
    }

    fn changed_table(&self) -> &str {
        self.transaction.as_ref().and_then(|open| open.tables.first()).map_or("?", |table| table)
    }

    fn is_accepted(&self, start: &Spot) -> bool {
        self.settings.accepted.contains(&start.to_string())
    }

    /// An event that cannot be read, in the transaction that it was found in.
    fn at(&self, start: &Spot, error: &DecodeError) -> Error {
        refused(start, &self.within(&error.to_string()), &remedy(error, start))
    }

    /// A row whose identity, or that of one that it refers to, is too long to be kept.
    fn refuse_long(&self, error: Error, start: &Spot) -> Error {
        match error {
            Error::LongIdentity { .. } => {
                refused(start, &self.within(&error.to_string()), &given_up(start))
            }
            other => other,
        }
    }

    /// What was found, with the transaction and the table that it was found in. From MariaDB 11.4 on
    /// only the transaction's own place is exact: the server leaves out texts that count in the file.
    fn within(&self, what: &str) -> String {
        match (&self.boundary, self.transaction.as_ref().and_then(|open| open.tables.first())) {
            (Some(begun), Some(table)) => {
                format!("{what}, in the transaction at {begun}, which changes table {table}")
            }
            (Some(begun), None) => format!("{what}, in the transaction at {begun}"),
            (None, _) => what.to_owned(),
        }
    }

    fn unknown(&self, kind: u8, start: &Spot) -> Error {
        let what = format!("an event of type {kind}, which this version does not know");
        refused(start, &self.within(&what), "Install a newer headwater")
    }

    /// The server cannot read on.
    pub(in crate::capture) fn unreadable(&self, server: &str) -> Error {
        refused(&self.place.spot(), &self.within(&cannot_read(server)), READ_AGAIN)
    }
}

/// Tells what of a newly bound map cannot travel.
fn bound(map: BoundMap) -> BoundMap {
    for problem in map.problems.iter().filter(|problem| problem.fatal) {
        tracing::error!(table = %problem.table, "does not travel: {}", problem.message);
    }
    map
}
