//! A parent's database with some rows of its own, a link into it, and short ways to write changes.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use headwater::apply::{Applier, Error, Limits, Report, Retried, Settings};
use headwater::change::{Change, Epoch, Identity, Kind, NodeId, Sequence, Shape};
use headwater::clock::{SystemClock, Timestamp};
use headwater::database::schema::LiveSchema;
use headwater::record::{End, SegmentError, SegmentSource, SegmentWriter};
use headwater::schema_map::{BoundMap, MapFile};
use headwater::transport::{Peer, ReceivedBatch};
use headwater::value::{Name, Reference, Value};
use headwater_rig::{Flavor, Server, ServerOptions, openmrs};

pub(super) type Row = Change<'static>;

/// Uuids of the rows that every parent starts with.
pub(super) const DAEMON: &str = "A4F30A1B-5EB9-11DF-A648-37A07F9C90FB";
pub(super) const WEIGHT: &str = "5089AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(super) const YES: &str = "1065AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(super) const CLINIC: &str = "8d6c993e-c2cc-11de-8d13-0010c6dffd0f";
pub(super) const CHECKUP: &str = "ca3aed11-1aa4-42a1-b85c-8332fc8001fc";
pub(super) const OUTPATIENT: &str = "7b0f5697-27e3-40c4-8bae-f4049abfb4ed";
pub(super) const HEALTH_CENTER: &str = "8d87236c-c2cc-11de-8d13-0010c6dffd0f";
pub(super) const CITIZENSHIP: &str = "8d871afc-c2cc-11de-8d13-0010c6dffd0f";
pub(super) const CIVIL_STATUS: &str = "8d871f2a-c2cc-11de-8d13-0010c6dffd0f";

/// How many kinds of server there are.
const KINDS: usize = Flavor::ALL.len();

/// One server of each kind, shared by all tests of this process.
static SERVERS: [OnceLock<Server>; KINDS] = [const { OnceLock::new() }; KINDS];
/// The same, for the one test that makes itself at home on it.
static SET_UP: [OnceLock<Server>; KINDS] = [const { OnceLock::new() }; KINDS];
static DATABASES: [tokio::sync::OnceCell<()>; KINDS] =
    [const { tokio::sync::OnceCell::const_new() }; KINDS];

fn number(flavor: Flavor) -> usize {
    Flavor::ALL.iter().position(|known| *known == flavor).unwrap()
}

/// The shared server.
pub(super) fn server(flavor: Flavor) -> &'static Server {
    started(&SERVERS[number(flavor)], flavor)
}

/// A server whose global settings may be changed.
pub(super) fn server_to_set_up(flavor: Flavor) -> &'static Server {
    started(&SET_UP[number(flavor)], flavor)
}

/// Statics are never dropped, so the server's folder is removed by a watcher that outlives this
/// process.
fn started(place: &'static OnceLock<Server>, flavor: Flavor) -> &'static Server {
    place.get_or_init(|| {
        let start = move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let server = runtime.block_on(Server::start(flavor, ServerOptions::default())).unwrap();
            let script = "while kill -0 \"$1\"; do sleep 1; done; sleep 2; rm -rf \"$2\"";
            std::process::Command::new("sh")
                .args(["-c", script, "sh", &std::process::id().to_string()])
                .arg(server.folder())
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Kept, so that the thread the server is tied to lives as long as the process.
            std::mem::forget(runtime);
            server
        };
        std::thread::spawn(start).join().unwrap()
    })
}

/// A link into a parent's database.
pub(super) struct Stage {
    pub(super) flavor: Flavor,
    pub(super) server: &'static Server,
    pub(super) applier: Applier,
    pub(super) peer: Peer,
    pub(super) map: Arc<BoundMap>,
    pub(super) database: String,
    /// Where headwater keeps its own tables.
    pub(super) schema: String,
    sequence: AtomicU64,
}

impl Stage {
    pub(super) async fn on(flavor: Flavor) -> Stage {
        let server = server(flavor);
        DATABASES[number(flavor)]
            .get_or_init(|| async {
                openmrs::create(server, "openmrs").await.unwrap();
                server.sql_in("openmrs", SEED).await.unwrap();
            })
            .await;
        Stage::with_map(flavor, server, "openmrs", openmrs_map()).await
    }

    /// The same with other limits.
    pub(super) async fn with_limits(self, limits: Limits) -> Stage {
        let settings = Settings { limits, ..alone() };
        Stage::with(self.flavor, self.server, "openmrs", openmrs_map(), settings).await
    }

    /// A link into another database, whose changes set aside are not mixed with other tests'.
    pub(super) async fn with_map_alone(
        flavor: Flavor,
        server: &'static Server,
        database: &str,
        map: MapFile,
    ) -> Stage {
        Stage::with(flavor, server, database, map, alone()).await
    }

    pub(super) async fn with_map(
        flavor: Flavor,
        server: &'static Server,
        database: &str,
        map: MapFile,
    ) -> Stage {
        Stage::with(flavor, server, database, map, Settings::default()).await
    }

    /// The same link with new connections, limits and another map, or the same as before.
    pub(super) async fn anew(self, limits: Limits, file: MapFile) -> Stage {
        let settings = Settings { schema: self.schema.clone(), limits, ..Settings::default() };
        let stage = Stage::with(self.flavor, self.server, &self.database, file, settings).await;
        Stage { peer: self.peer, sequence: self.sequence, ..stage }
    }

    /// The same link, of which others have sent transactions through this one.
    pub(super) fn after(self, through: Sequence) -> Stage {
        self.sequence.store(through.0, Ordering::SeqCst);
        self
    }

    /// The same target, and another node that sends to it.
    pub(super) async fn beside(&self, file: MapFile) -> Stage {
        let settings = Settings { schema: self.schema.clone(), ..Settings::default() };
        Stage::with(self.flavor, self.server, &self.database, file, settings).await
    }

    /// Tries again what this link has parked.
    pub(super) async fn retry_parked(&self) -> Retried {
        let nodes = [self.peer.node];
        self.applier.retry_parked(Duration::ZERO, &nodes).await.unwrap()
    }

    async fn with(
        flavor: Flavor,
        server: &'static Server,
        database: &str,
        file: MapFile,
        settings: Settings,
    ) -> Stage {
        let mut conn = server.conn(database).await.unwrap();
        let schema = LiveSchema::read(&mut conn, database).await.unwrap();
        conn.disconnect().await.unwrap();
        let map = Arc::new(BoundMap::bind(&file, &schema));
        let state_schema = settings.schema.clone();
        let applier = Applier::new(
            server.opts(database),
            Arc::new(file),
            Arc::clone(&map),
            SystemClock::shared(),
            settings,
        );
        applier.prepare().await.unwrap();
        let peer = Peer {
            name: "clinic-12".to_owned(),
            node: NodeId(uuid::Uuid::new_v4()),
            epoch: Epoch(uuid::Uuid::new_v4()),
        };
        let database = database.to_owned();
        Stage {
            flavor,
            server,
            applier,
            peer,
            map,
            database,
            schema: state_schema,
            sequence: AtomicU64::new(0),
        }
    }

    /// Applies transactions as one batch.
    pub(super) async fn try_send(&self, transactions: &[Vec<Row>]) -> Result<Report, Error> {
        let from = Sequence(self.sequence.load(Ordering::SeqCst));
        let (batch, through) = batch(from, transactions);
        let report = self.applier.apply_counted(&self.peer, &batch).await?;
        self.sequence.store(through.0, Ordering::SeqCst);
        Ok(report)
    }

    /// Applies transactions of which nothing may be set aside.
    pub(super) async fn send(&self, transactions: &[Vec<Row>]) -> Report {
        let report = self.try_send(transactions).await.unwrap();
        if report.held > 0 {
            for state in [headwater::apply::State::Parked, headwater::apply::State::Quarantined] {
                for waiting in self.applier.list(state, None, 20).await.unwrap() {
                    eprintln!("{waiting:?}");
                }
            }
        }
        assert_eq!((report.parked, report.quarantined), (0, 0), "{report:?}");
        report
    }

    /// The first column of the first row, as text.
    pub(super) async fn ask(&self, query: &str) -> Option<String> {
        self.server.ask("openmrs", query).await.unwrap()
    }

    pub(super) async fn sql(&self, statements: &str) {
        self.server.sql_in("openmrs", statements).await.unwrap();
    }

    /// This link's waiting changes.
    pub(super) async fn waiting(
        &self,
        state: headwater::apply::State,
    ) -> Vec<headwater::apply::Waiting> {
        let node = self.peer.node.to_string();
        let all = self.applier.list(state, None, 10_000).await.unwrap();
        all.into_iter().filter(|waiting| waiting.node == node).collect()
    }
}

fn alone() -> Settings {
    let schema = format!("headwater_{}", uuid().replace('-', ""));
    Settings { schema, ..Settings::default() }
}

pub(super) fn openmrs_map() -> MapFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema-maps/openmrs-2.x.toml");
    MapFile::load(&[path]).unwrap()
}

/// A batch of transactions after `from`, and where it ends.
pub(super) fn batch(from: Sequence, transactions: &[Vec<Row>]) -> (ReceivedBatch, Sequence) {
    let mut writer = SegmentWriter::new();
    let mut segments = Vec::new();
    let mut sequence = from;
    for changes in transactions {
        sequence = sequence.next();
        writer.begin(sequence);
        for change in changes {
            writer.change(change);
            if writer.len() > 1 << 20 {
                segments.push(writer.finish());
            }
        }
        let committed_at = Timestamp(1_700_000_000_000_000);
        let changes = changes.len() as u64;
        writer.end(End { sequence, changes, committed_at, origin: None });
    }
    segments.push(writer.finish());
    let segments = Box::new(Memory(segments));
    let batch = ReceivedBatch { from, through: sequence, checksum: [0; 8], segments };
    (batch, sequence)
}

pub(super) struct Memory(pub(super) Vec<Vec<u8>>);

impl SegmentSource for Memory {
    fn segments(&self) -> Box<dyn Iterator<Item = Result<Vec<u8>, SegmentError>> + Send + '_> {
        Box::new(self.0.iter().cloned().map(Ok))
    }
}

// ------------------------------------------------------------------------------ writing changes

pub(super) fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(super) fn text(text: impl Into<String>) -> Value<'static> {
    Value::Text(Cow::Owned(text.into()))
}

pub(super) fn time(text: &str) -> Value<'static> {
    Value::Temporal(Cow::Owned(text.to_owned()))
}

pub(super) fn one(uuid: &str) -> Identity<'static> {
    Identity::One(text(uuid))
}

pub(super) fn refer(table: &str, uuid: &str) -> Value<'static> {
    refer_to(table, one(uuid))
}

pub(super) fn refer_to(table: &str, identity: Identity<'static>) -> Value<'static> {
    Value::Reference(Box::new(Reference { table: name(table), identity }))
}

pub(super) fn name(name: &str) -> Name {
    static NAMES: Mutex<Vec<Name>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap();
    if let Some(known) = names.iter().find(|known| &***known == name) {
        return Arc::clone(known);
    }
    names.push(Arc::from(name));
    Arc::from(name)
}

fn shape(table: &str, columns: &[&str]) -> Arc<Shape> {
    static SHAPES: Mutex<Vec<Arc<Shape>>> = Mutex::new(Vec::new());
    let wanted =
        Shape { table: name(table), columns: columns.iter().map(|column| name(column)).collect() };
    let mut shapes = SHAPES.lock().unwrap();
    if let Some(known) = shapes.iter().find(|known| ***known == wanted) {
        return Arc::clone(known);
    }
    let shape = Arc::new(wanted);
    shapes.push(Arc::clone(&shape));
    shape
}

pub(super) fn change(
    kind: Kind,
    table: &str,
    identity: Identity<'static>,
    values: Vec<(&str, Value<'static>)>,
) -> Row {
    let columns: Vec<&str> = values.iter().map(|(column, _)| *column).collect();
    Change {
        shape: shape(table, &columns),
        kind,
        identity,
        previous: None,
        values: values.into_iter().map(|(_, value)| value).collect(),
        base: None,
    }
}

pub(super) fn insert(table: &str, uuid: &str, values: Vec<(&str, Value<'static>)>) -> Row {
    change(Kind::Insert, table, one(uuid), values)
}

pub(super) fn update(table: &str, uuid: &str, values: Vec<(&str, Value<'static>)>) -> Row {
    change(Kind::Update, table, one(uuid), values)
}

pub(super) fn delete(table: &str, uuid: &str) -> Row {
    change(Kind::Delete, table, one(uuid), Vec::new())
}

/// What stands in the shape of a row that is called by all it holds.
pub(super) fn naming<'n>(parts: &[&'n str]) -> Vec<(&'n str, Value<'static>)> {
    parts.iter().map(|part| (*part, Value::Null)).collect()
}

/// The same change with some values replaced or added.
pub(super) fn with(row: &Row, more: Vec<(&str, Value<'static>)>) -> Row {
    let mut columns: Vec<(Name, Value<'static>)> =
        row.shape.columns.iter().cloned().zip(row.values.iter().cloned()).collect();
    for (column, value) in more {
        columns.retain(|(known, _)| **known != *column);
        columns.push((name(column), value));
    }
    let values = columns.iter().map(|(column, value)| (&**column, value.clone())).collect();
    change(row.kind, &row.shape.table, row.identity.clone(), values)
}

const MOMENT: &str = "2024-03-05 10:20:30";

fn made(mut values: Vec<(&'static str, Value<'static>)>) -> Vec<(&'static str, Value<'static>)> {
    values.push(("creator", refer("users", DAEMON)));
    values.push(("date_created", time(MOMENT)));
    values
}

pub(super) fn person(uuid: &str) -> Row {
    insert("person", uuid, made(vec![("gender", text("F")), ("birthdate", time("1987-11-02"))]))
}

pub(super) fn patient(person: &str) -> Row {
    insert("patient", person, made(vec![("allergy_status", text("Unknown"))]))
}

pub(super) fn visit(uuid: &str, person: &str) -> Row {
    insert(
        "visit",
        uuid,
        made(vec![
            ("patient_id", refer("patient", person)),
            ("visit_type_id", refer("visit_type", OUTPATIENT)),
            ("date_started", time(MOMENT)),
            ("location_id", refer("location", CLINIC)),
        ]),
    )
}

pub(super) fn encounter(uuid: &str, person: &str, visit: Option<&str>) -> Row {
    insert(
        "encounter",
        uuid,
        made(vec![
            ("patient_id", refer("patient", person)),
            ("encounter_type", refer("encounter_type", CHECKUP)),
            ("encounter_datetime", time(MOMENT)),
            ("location_id", refer("location", CLINIC)),
            ("visit_id", visit.map_or(Value::Null, |visit| refer("visit", visit))),
        ]),
    )
}

pub(super) fn obs(uuid: &str, person: &str, encounter: &str) -> Row {
    insert(
        "obs",
        uuid,
        made(vec![
            ("person_id", refer("person", person)),
            ("concept_id", refer("concept", WEIGHT)),
            ("encounter_id", refer("encounter", encounter)),
            ("obs_datetime", time(MOMENT)),
            ("location_id", refer("location", CLINIC)),
            ("value_numeric", Value::Double(61.5_f64.to_bits())),
            ("obs_group_id", Value::Null),
            ("previous_version", Value::Null),
            ("voided", Value::Int(0)),
            ("status", text("FINAL")),
        ]),
    )
}

pub(super) fn user(uuid: &str, person: &str, creator: &str) -> Row {
    insert(
        "users",
        uuid,
        vec![
            ("system_id", text(&uuid[..8])),
            ("username", text(format!("user-{}", &uuid[..8]))),
            ("person_id", refer("person", person)),
            ("creator", refer("users", creator)),
            ("date_created", time(MOMENT)),
            ("retired", Value::Int(0)),
        ],
    )
}

/// Local ids are nothing like those of a fresh child.
const SEED: &str = "
SET foreign_key_checks = 0;
INSERT INTO person (person_id, gender, date_created, uuid) VALUES
  (901, 'M', '2020-01-01', '0f0e8b7a-0000-4000-8000-000000000901');
INSERT INTO users (user_id, system_id, username, creator, date_created, person_id, uuid) VALUES
  (77, 'daemon', 'daemon', 77, '2020-01-01', 901, 'A4F30A1B-5EB9-11DF-A648-37A07F9C90FB');
INSERT INTO concept_class (concept_class_id, name, creator, date_created, uuid) VALUES
  (31, 'Finding', 77, '2020-01-01', '8d491a9a-c2cc-11de-8d13-0010c6dffd0f');
INSERT INTO concept_datatype (concept_datatype_id, name, creator, date_created, uuid) VALUES
  (41, 'Numeric', 77, '2020-01-01', '8d4a4488-c2cc-11de-8d13-0010c6dffd0f');
INSERT INTO concept (concept_id, datatype_id, class_id, creator, date_created, uuid) VALUES
  (5189, 41, 31, 77, '2020-01-01', '5089AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'),
  (1165, 41, 31, 77, '2020-01-01', '1065AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA');
INSERT INTO location (location_id, name, creator, date_created, uuid) VALUES
  (611, 'Clinic 12', 77, '2020-01-01', '8d6c993e-c2cc-11de-8d13-0010c6dffd0f');
INSERT INTO encounter_type (encounter_type_id, name, creator, date_created, uuid) VALUES
  (21, 'Checkup', 77, '2020-01-01', 'ca3aed11-1aa4-42a1-b85c-8332fc8001fc');
INSERT INTO visit_type (visit_type_id, name, creator, date_created, uuid) VALUES
  (51, 'Outpatient', 77, '2020-01-01', '7b0f5697-27e3-40c4-8bae-f4049abfb4ed');
INSERT INTO role (role, uuid) VALUES
  ('Provider', '8d94f280-c2cc-11de-8d13-0010c6dffd0f'),
  ('Data Manager', '8d94f852-c2cc-11de-8d13-0010c6dffd0f');
INSERT INTO person_attribute_type
  (person_attribute_type_id, name, format, creator, date_created, uuid) VALUES
  (81, 'Health Center', 'org.openmrs.Location', 77, '2020-01-01',
   '8d87236c-c2cc-11de-8d13-0010c6dffd0f'),
  (82, 'Citizenship', 'java.lang.String', 77, '2020-01-01', '8d871afc-c2cc-11de-8d13-0010c6dffd0f'),
  (83, 'Civil Status', 'org.openmrs.Concept', 77, '2020-01-01',
   '8d871f2a-c2cc-11de-8d13-0010c6dffd0f');
INSERT INTO concept_name (concept_name_id, concept_id, name, locale, creator, date_created, uuid)
  VALUES (7001, 5189, 'Weight', 'en', 77, '2020-01-01', '0f0e8b7a-0000-4000-8000-000000007001');
INSERT INTO concept_name_tag
  (concept_name_tag_id, tag, description, creator, date_created, uuid) VALUES
  (71, 'preferred', 'p', 77, '2020-01-01', '0f0e8b7a-0000-4000-8000-000000000071'),
  (72, 'short', 's', 77, '2020-01-01', '0f0e8b7a-0000-4000-8000-000000000072');
INSERT INTO note (note_id, text, creator, date_created, uuid) VALUES
  (33, 'kept', 77, '2020-01-01', '0f0e8b7a-0000-4000-8000-000000000033');
";
