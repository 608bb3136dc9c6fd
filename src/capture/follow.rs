//! Follows the log event by event: what belongs to one transaction is gathered, rows of mapped
//! tables become changes, and whatever cannot be carried exactly is refused by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Error;
use super::assembly::Assembly;
use super::decode::{
    Body, DecodeError, Decoder, Event, Header, MapColumn, Query, RawColumn, Row, RowKind,
    RowsEvent, TableMapEvent, TransactionPayload,
};
use super::fetch::Fetcher;
use super::identities::Identities;
use super::place::{Begun, Place, Spot};
use super::plan::{Image, TablePlan};
use super::statement::{Statement, mentions};
use super::translate::{Decisions, Need, Pause, Translator, indexed_key, local_key};
use crate::change::{Change, Identity, Kind, NodeId};
use crate::clock::Timestamp;
use crate::position::Position;
use crate::record::fingerprint;
use crate::schema_map::BoundMap;
use crate::value::{Name, Value};

/// The name of the table in the state schema whose row every transaction of headwater's own
/// writes first.
const WATERMARK_TABLE: &str = "watermark";

/// What the log's reader knows.
pub(super) struct Follower {
    pub(super) map: Arc<BoundMap>,
    pub(super) place: Place,
    pub(super) assembly: Assembly,
    pub(super) identities: Identities,
    pub(super) fetcher: Fetcher,
    pub(super) told: Told,
    decoder: Decoder,
    decisions: Decisions,
    tables: HashMap<u64, Table>,
    plans: HashMap<Name, Arc<TablePlan>>,
    transaction: Option<Transaction>,
    /// The place before the open transaction.
    boundary: Option<Place>,
    settings: Settings,
    /// Tables were defined since the map was bound.
    redefined: bool,
}

/// What following a log has to know beforehand.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The database whose tables travel.
    pub(super) database: String,
    /// The schema of headwater's own tables.
    pub(super) state_schema: String,
    /// Places (`file:offset`) whose content an operator has looked at and given up.
    pub(super) accepted: Vec<String>,
    /// The most bytes that a compressed event may inflate to.
    pub(super) inflated_bytes_max: u64,
}

/// What there is to tell of the log so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) rows: u64,
    pub(super) transactions: u64,
    /// Rows that could not travel because their identity is NULL.
    pub(super) nameless: u64,
    /// The time of the last event, in seconds.
    pub(super) event_seconds: u32,
    /// The server had nothing more to send.
    pub(super) caught_up: bool,
    pub(super) logs_begun: u64,
}

enum Table {
    Mapped(Arc<TablePlan>),
    /// Headwater's own watermark: tells through which link a transaction came.
    Watermark(Vec<MapColumn>),
    Other,
}

#[derive(Default)]
struct Transaction {
    /// A statement alone, which commits itself.
    standalone: bool,
    began: bool,
    xa: bool,
    committed_micros: Option<i64>,
    origin: Option<NodeId>,
}

impl Follower {
    pub(super) fn new(
        map: Arc<BoundMap>,
        place: Place,
        assembly: Assembly,
        identities: Identities,
        fetcher: Fetcher,
        settings: Settings,
    ) -> Follower {
        Follower {
            map,
            place,
            assembly,
            identities,
            fetcher,
            told: Told::default(),
            decoder: Decoder::new(settings.inflated_bytes_max),
            decisions: Decisions::default(),
            tables: HashMap::new(),
            plans: HashMap::new(),
            transaction: None,
            boundary: None,
            settings,
            redefined: false,
        }
    }

    /// The end of the last transaction read.
    pub(super) fn position(&self) -> Position {
        self.boundary.as_ref().unwrap_or(&self.place).position()
    }

    /// Goes on with a map bound anew, after [`Outcome::Rebind`].
    pub(super) fn rebind(&mut self, map: Arc<BoundMap>) {
        self.map = map;
        self.plans.clear();
        self.tables.clear();
        self.redefined = false;
    }

    /// Reads one event. Stops before one that needs the map to be bound again: then nothing was
    /// read, and the same event has to be given again.
    pub(super) async fn read(&mut self, raw: &[u8]) -> Result<Outcome, Error> {
        let start = self.place.spot();
        let event = self.decoder.event(raw, false).map_err(|error| at(&start, &error))?;
        if self.redefined && matches!(event.body, Body::TableMap(_) | Body::TransactionPayload(_)) {
            return Ok(Outcome::Rebind);
        }
        self.told.event_seconds = event.header.timestamp_seconds.max(self.told.event_seconds);
        self.told.caught_up = false;
        if let Body::TransactionPayload(payload) = &event.body {
            self.payload(payload, &start).await?;
        } else {
            self.event(&event, &start).await?;
        }
        if !matches!(event.body, Body::Rotate { .. } | Body::Heartbeat) {
            self.place.passed(&event.header);
        }
        Ok(Outcome::Read)
    }

    async fn payload(
        &mut self,
        payload: &TransactionPayload<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        let bytes_max = self.settings.inflated_bytes_max;
        let mut reader = payload.reader(bytes_max).map_err(|error| at(start, &error))?;
        let mut raw = Vec::new();
        while reader.read(&mut raw).map_err(|error| at(start, &error))? {
            let event = self.decoder.event(&raw, true).map_err(|error| at(start, &error))?;
            self.event(&event, start).await?;
        }
        Ok(())
    }

    async fn event(&mut self, event: &Event<'_>, start: &Spot) -> Result<(), Error> {
        match &event.body {
            Body::FormatDescription { .. } => {
                self.told.logs_begun += 1;
                Ok(())
            }
            Body::Rotate { file, offset } => {
                self.place.rotated(file, *offset);
                self.tables.clear();
                Ok(())
            }
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
                    began: !gtid.is_standalone(),
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
            Body::XaPrepare(_) => self.prepared(start),
            Body::TableMap(map) => self.table_map(map, start),
            Body::Rows(rows) => self.rows(rows, start).await,
            Body::TransactionPayload(_) => {
                Err(refused(start, "a compressed transaction inside another", READ_AGAIN))
            }
            Body::StatementFormat(_) | Body::Incident(_) => self.rowless(&event.body, start),
            Body::StartEncryption => {
                Err(refused(start, "an encrypted log file", "A server sends its log in clear"))
            }
            Body::Unknown if !event.header.is_ignorable() => Err(unknown(start, &event.header)),
            Body::Unknown
            | Body::Stop
            | Body::PreviousGtids(_)
            | Body::MariadbGtidList(_)
            | Body::Informational(_) => Ok(()),
        }
    }

    fn begin(&mut self, begun: Option<Begun>, transaction: Transaction) -> Result<(), Error> {
        if self.transaction.is_some() {
            // The server was killed while it wrote, and its log goes on without the end.
            self.abandon()?;
        }
        self.boundary = Some(self.place.clone());
        self.place.begin(begun);
        self.transaction = Some(transaction);
        Ok(())
    }

    fn query(&mut self, query: &Query<'_>, header: &Header, start: &Spot) -> Result<(), Error> {
        let sql = query.text();
        let statement = Statement::read(&sql);
        match statement {
            Statement::Begin => {
                if self.transaction.is_none() {
                    self.begin(None, Transaction::default())?;
                }
                if let Some(transaction) = &mut self.transaction {
                    transaction.began = true;
                }
            }
            Statement::Commit => self.commit(header),
            Statement::Rollback => self.abandon()?,
            Statement::Savepoint => {}
            Statement::RollbackToSavepoint => {
                if self.assembly.is_open() && !self.is_accepted(start) {
                    return Err(refused(
                        start,
                        "a transaction rolled back to a savepoint after changes of a table whose \
                         engine cannot roll back",
                        &given_up(start),
                    ));
                }
            }
            Statement::Xa => {
                let ends = !sql.trim_start().get(2..).is_some_and(|rest| {
                    let rest = rest.trim_start().to_ascii_uppercase();
                    rest.starts_with("START")
                        || rest.starts_with("BEGIN")
                        || rest.starts_with("END")
                });
                if ends {
                    self.commit(header);
                } else if let Some(transaction) = &mut self.transaction {
                    transaction.xa = true;
                    transaction.began = true;
                }
            }
            Statement::Rowless => {
                if let Some(table) = self.mentioned(&sql, &query.schema)
                    && !self.is_accepted(start)
                {
                    return Err(refused(
                        start,
                        &format!(
                            "a statement changed table {table} without its rows being in the log \
                             (TRUNCATE, or a session in statement format)"
                        ),
                        &given_up(start),
                    ));
                }
                self.end_of_statement(header);
            }
            Statement::Definition => {
                self.redefined = self.redefined
                    || *query.schema == *self.settings.database
                    || sql.contains(&self.settings.database);
                self.end_of_statement(header);
            }
        }
        Ok(())
    }

    /// A statement outside of BEGIN and COMMIT commits itself.
    fn end_of_statement(&mut self, header: &Header) {
        let commits = self.transaction.as_ref().is_none_or(|open| open.standalone || !open.began);
        if commits {
            self.commit(header);
        }
    }

    fn prepared(&mut self, start: &Spot) -> Result<(), Error> {
        if self.assembly.is_open() {
            if !self.is_accepted(start) {
                return Err(refused(
                    start,
                    "an XA transaction changed mapped tables; whether it was committed is told \
                     elsewhere in the log, which this version does not follow",
                    &given_up(start),
                ));
            }
            return self.abandon();
        }
        self.transaction = None;
        self.boundary = None;
        self.place.done();
        Ok(())
    }

    fn rowless(&mut self, body: &Body<'_>, start: &Spot) -> Result<(), Error> {
        if self.is_accepted(start) {
            return Ok(());
        }
        match body {
            Body::Incident(incident) => Err(refused(
                start,
                &format!("the server lost changes before they reached its log: {}", incident.words),
                &given_up(start),
            )),
            // What follows it is a statement, which is refused if it concerns a mapped table.
            _ => Ok(()),
        }
    }

    fn commit(&mut self, header: &Header) {
        let transaction = self.transaction.take().unwrap_or_default();
        let seconds = i64::from(header.timestamp_seconds).saturating_mul(1_000_000);
        let committed_at = Timestamp(transaction.committed_micros.unwrap_or(seconds));
        if self.assembly.commit(committed_at, transaction.origin).is_some() {
            self.told.transactions += 1;
        }
        self.place.done();
        self.boundary = None;
    }

    /// Drops the open transaction, which was rolled back.
    fn abandon(&mut self) -> Result<(), Error> {
        if self.assembly.abandon()? {
            // Parts are in the store; starting over from the last position discards them.
            return Err(Error::Lost { reason: "a large transaction was rolled back".to_owned() });
        }
        self.transaction = None;
        self.place.done();
        self.boundary = None;
        Ok(())
    }

    fn is_accepted(&self, start: &Spot) -> bool {
        self.settings.accepted.contains(&start.to_string())
    }

    fn mentioned(&self, sql: &str, schema: &str) -> Option<Name> {
        let database = &self.settings.database;
        self.map.tables.keys().find(|table| mentions(sql, schema, database, table)).cloned()
    }

    fn table_map(&mut self, event: &TableMapEvent<'_>, start: &Spot) -> Result<(), Error> {
        let found = if *event.schema == *self.settings.database {
            match self.map.tables.get(event.table) {
                Some(bound) => Table::Mapped(self.plan(event, bound.clone(), start)?),
                None => Table::Other,
            }
        } else if *event.schema == *self.settings.state_schema && event.table == WATERMARK_TABLE {
            Table::Watermark(event.columns().map_err(|error| at(start, &error))?)
        } else {
            Table::Other
        };
        self.tables.insert(event.table_id, found);
        Ok(())
    }

    fn plan(
        &mut self,
        event: &TableMapEvent<'_>,
        bound: Arc<crate::schema_map::BoundTable>,
        start: &Spot,
    ) -> Result<Arc<TablePlan>, Error> {
        if let Some(plan) = self.plans.get(&bound.name)
            && plan.fits(event)
        {
            return Ok(plan.clone());
        }
        let number = self.identities.number(&bound.name);
        let name = bound.name.clone();
        let plan = TablePlan::new(event, bound, number).map_err(|mismatch| {
            refused(
                start,
                &format!("table {name} was written with other columns than it has now: {mismatch}"),
                "Its definition changed while capture was behind; copy the table again",
            )
        })?;
        let plan = Arc::new(plan);
        self.plans.insert(name, plan.clone());
        Ok(plan)
    }

    async fn rows(&mut self, event: &RowsEvent<'_>, start: &Spot) -> Result<(), Error> {
        let plan = match self.tables.get(&event.table_id) {
            Some(Table::Other) => return Ok(()),
            Some(Table::Mapped(plan)) => plan.clone(),
            Some(Table::Watermark(columns)) => {
                if let (Some(node), Some(open)) = (
                    origin(columns, event).map_err(|error| at(start, &error))?,
                    &mut self.transaction,
                ) {
                    open.origin = Some(node);
                }
                return Ok(());
            }
            None if event.is_dummy() => return Ok(()),
            None => return Err(refused(start, "rows without a table map before them", READ_AGAIN)),
        };
        if !event.is_full() {
            return Err(refused(
                start,
                &format!(
                    "rows of table {} are logged without all their columns (binlog_row_image of \
                     the session was not FULL)",
                    plan.bound.name
                ),
                "Set binlog_row_image = FULL for every session, then copy the table again",
            ));
        }
        self.decisions.forget(&plan.bound.name);
        let mut reader = event.rows(&plan.columns).map_err(|error| at(start, &error))?;
        let mut row = Row::default();
        while reader.read(&mut row).map_err(|error| at(start, &error))? {
            self.told.rows += 1;
            loop {
                match self.row(&plan, event.kind, &row) {
                    Ok(()) => break,
                    Err(Pause::Need(need)) => self.fetch(&need).await?,
                    Err(Pause::Failed(error)) => return Err(placed(start, error)),
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, plan: &TablePlan, kind: RowKind, row: &Row<'_>) -> Result<(), Pause> {
        let before = Image { plan, columns: &row.before };
        let after = Image { plan, columns: &row.after };
        let mut step = Step {
            plan,
            translator: Translator {
                map: &self.map,
                identities: &mut self.identities,
                decisions: &self.decisions,
            },
            nameless: 0,
        };
        let change = match kind {
            RowKind::Insert => step.insert(&after),
            RowKind::Update => step.update(&before, &after),
            RowKind::Delete => step.delete(&before),
        }?;
        let nameless = step.nameless;
        if nameless > 0 && plan.travels {
            self.told.nameless += nameless;
            tracing::warn!(table = %plan.bound.name, "a row without a uuid cannot travel yet");
        }
        if let Some(change) = change
            && plan.travels
        {
            self.assembly.change(&change).map_err(Error::from)?;
        }
        Ok(())
    }

    async fn fetch(&mut self, need: &Need) -> Result<(), Error> {
        match need {
            Need::Decision { rule, local } => {
                let text = self.fetcher.decision(&self.map, rule, *local).await?;
                self.decisions.put(rule, *local, text);
            }
            Need::Identity { table, local } => self.identity(table, *local).await?,
        }
        Ok(())
    }

    /// Asks the database for the identity of a row, and of its neighbours while at it.
    async fn identity(&mut self, table: &Name, local: i64) -> Result<(), Error> {
        let number = self.identities.number(table);
        if let Some(bound) = self.map.tables.get(table).cloned()
            && let Some(key) = bound.local_key
        {
            use super::translate::RowValues;
            for row in self.fetcher.near(&bound, local).await? {
                let Some(found) = local_key(&row.value(key)?) else { continue };
                if found != local && self.identities.get(number, found)?.is_some() {
                    continue;
                }
                let mut identity = None;
                // What an identity is made of may itself have to be asked for, level by level.
                for _ in 0..16 {
                    let mut translator = Translator {
                        map: &self.map,
                        identities: &mut self.identities,
                        decisions: &self.decisions,
                    };
                    match translator.identity(&bound, &row) {
                        Ok(known) => {
                            identity = known;
                            break;
                        }
                        Err(Pause::Need(need)) if found == local => {
                            Box::pin(self.fetch(&need)).await?;
                        }
                        Err(Pause::Need(_)) => break,
                        Err(Pause::Failed(error)) => return Err(error),
                    }
                }
                if let Some(identity) = identity {
                    self.identities.put(number, found, identity);
                }
            }
        }
        if self.identities.get(number, local)?.is_none() {
            self.identities.lost(number, local);
        }
        Ok(())
    }

    /// A row that the other end lacks, whole, as the database has it now.
    pub(super) async fn whole_row(
        &mut self,
        table: &Name,
        identity: &Identity<'static>,
    ) -> Result<(), Error> {
        let Some(bound) = self.map.tables.get(table).cloned() else { return Ok(()) };
        if !TablePlan::is_sent(&bound) {
            return Ok(());
        }
        let Some(row) = self.fetcher.whole_row(&self.map, &bound, identity).await? else {
            return Ok(());
        };
        let shape = TablePlan::insert_shape(&bound);
        let columns = bound.value_columns();
        for _ in 0..64 {
            let mut translator = Translator {
                map: &self.map,
                identities: &mut self.identities,
                decisions: &self.decisions,
            };
            if Translator::left_out(&bound, &row)? {
                return Ok(());
            }
            let values: Result<Vec<_>, Pause> =
                columns.iter().map(|column| translator.value(&bound, *column, &row)).collect();
            match values {
                Ok(values) => {
                    self.assembly.change(&Change {
                        shape,
                        kind: Kind::Insert,
                        identity: identity.clone(),
                        previous: None,
                        values,
                        base: None,
                    })?;
                    return Ok(());
                }
                Err(Pause::Need(need)) => self.fetch(&need).await?,
                Err(Pause::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether an event was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Read,
    /// The map has to be bound again first.
    Rebind,
}

/// One row on its way to a change. Nothing but the identity index changes before everything the
/// row needs is known, and what is noted there holds however often the row is tried.
struct Step<'t, 'p> {
    plan: &'p TablePlan,
    translator: Translator<'t>,
    nameless: u64,
}

impl Step<'_, '_> {
    fn insert<'a>(&mut self, row: &Image<'a, '_>) -> Result<Option<Change<'a>>, Pause> {
        let identity = self.translator.identity(&self.plan.bound, row)?;
        self.note(None, Some((row, identity.as_ref())))?;
        if Translator::left_out(&self.plan.bound, row)? {
            return Ok(None);
        }
        let Some(identity) = identity else {
            self.nameless += 1;
            return Ok(None);
        };
        self.whole(identity, row).map(Some)
    }

    fn whole<'a>(
        &mut self,
        identity: Identity<'a>,
        row: &Image<'a, '_>,
    ) -> Result<Change<'a>, Pause> {
        let values = self.values(&self.plan.value_columns, row)?;
        Ok(Change {
            shape: self.plan.insert.clone(),
            kind: Kind::Insert,
            identity,
            previous: None,
            values,
            base: None,
        })
    }

    fn update<'a>(
        &mut self,
        before: &Image<'a, '_>,
        after: &Image<'a, '_>,
    ) -> Result<Option<Change<'a>>, Pause> {
        let plan = self.plan;
        let renamed = plan.identity_columns.iter().any(|column| before.differs(after, *column));
        let rekeyed = plan.bound.local_key.is_some_and(|key| before.differs(after, key));
        let changed = plan.changed(before, after);
        if changed.is_empty() && !renamed && !rekeyed && plan.bound.rows_left_out.is_empty() {
            return Ok(None);
        }
        // The old name is asked for before the new one is noted under the same key.
        let old = if renamed { self.translator.identity(&plan.bound, before)? } else { None };
        let identity = self.translator.identity(&plan.bound, after)?;
        let was_out = Translator::left_out(&plan.bound, before)?;
        let is_out = Translator::left_out(&plan.bound, after)?;
        let old_values = self.values(&changed, before)?;
        if renamed || rekeyed {
            self.note(rekeyed.then_some(before), Some((after, identity.as_ref())))?;
        }
        let Some(identity) = identity else {
            self.nameless += 1;
            return Ok(None);
        };
        let was_nameless = renamed && old.is_none();
        if is_out {
            let gone = old.unwrap_or(identity);
            return Ok((!was_out).then(|| Change {
                shape: plan.delete.clone(),
                kind: Kind::Delete,
                identity: gone,
                previous: None,
                values: Vec::new(),
                base: None,
            }));
        }
        if was_out || was_nameless {
            return self.whole(identity, after).map(Some);
        }
        let previous = old.filter(|old| *old != identity);
        if changed.is_empty() && previous.is_none() {
            return Ok(None);
        }
        let values = self.values(&changed, after)?;
        Ok(Some(Change {
            shape: plan.update_shape(&changed),
            kind: Kind::Update,
            identity,
            previous,
            values,
            base: Some(fingerprint(&old_values)),
        }))
    }

    fn delete<'a>(&mut self, row: &Image<'a, '_>) -> Result<Option<Change<'a>>, Pause> {
        let identity = self.translator.identity(&self.plan.bound, row)?;
        let out = Translator::left_out(&self.plan.bound, row)?;
        let values = self.values(&self.plan.value_columns, row)?;
        self.note(Some(row), None)?;
        let Some(identity) = identity else { return Ok(None) };
        if out {
            return Ok(None);
        }
        Ok(Some(Change {
            shape: self.plan.delete.clone(),
            kind: Kind::Delete,
            identity,
            previous: None,
            values: Vec::new(),
            base: Some(fingerprint(&values)),
        }))
    }

    fn values<'a>(
        &mut self,
        columns: &[usize],
        row: &Image<'a, '_>,
    ) -> Result<Vec<Value<'a>>, Pause> {
        columns.iter().map(|column| self.translator.value(&self.plan.bound, *column, row)).collect()
    }

    /// Keeps the identity index as the log says.
    fn note(
        &mut self,
        gone: Option<&Image<'_, '_>>,
        here: Option<(&Image<'_, '_>, Option<&Identity<'_>>)>,
    ) -> Result<(), Error> {
        let plan = self.plan;
        if let Some(row) = gone
            && let Some((number, local)) = indexed_key(&plan.bound, plan.number, row)?
        {
            self.translator.identities.remove(number, local);
        }
        if let Some((row, Some(identity))) = here
            && let Some((number, local)) = indexed_key(&plan.bound, plan.number, row)?
        {
            self.translator.identities.put(number, local, identity.clone().into_owned());
        }
        Ok(())
    }
}

/// The node that a transaction of headwater's own came from: the first column of its watermark.
fn origin(columns: &[MapColumn], event: &RowsEvent<'_>) -> Result<Option<NodeId>, DecodeError> {
    let mut reader = event.rows(columns)?;
    let mut row = Row::default();
    let mut node = None;
    while reader.read(&mut row)? {
        if let Some(RawColumn::Bytes(bytes)) = row.after.first() {
            node = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).map(NodeId);
        }
    }
    Ok(node)
}

fn unknown(start: &Spot, header: &Header) -> Error {
    let what = format!("an event of type {}, which this version does not know", header.kind);
    refused(start, &what, "Install a newer headwater")
}

const READ_AGAIN: &str = "The log is damaged there; check the server's disk";

fn given_up(start: &Spot) -> String {
    format!(
        "Copy the rows it concerns by other means, then go on with [capture] accept = [\"{start}\"]"
    )
}

fn refused(start: &Spot, what: &str, remedy: &str) -> Error {
    Error::Refused { place: start.to_string(), what: what.to_owned(), remedy: remedy.to_owned() }
}

fn at(start: &Spot, error: &DecodeError) -> Error {
    refused(start, &error.to_string(), READ_AGAIN)
}

fn placed(start: &Spot, error: Error) -> Error {
    match error {
        Error::Value { .. } => refused(
            start,
            &error.to_string(),
            "Leave the column out in the schema map, or change its type",
        ),
        other => other,
    }
}
