//! Rows written straight into a segment are the rows that the long way makes changes of.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::capture::decode::TableMapEvent;
use crate::capture::row::Step;
use crate::capture::translate::{Decisions, Translator};
use crate::change::{Change, Identity, Sequence};
use crate::clock::SystemClock;
use crate::record::{Record, SegmentReader};
use crate::schema_map::MapFile;
use crate::schema_map::tests::schema;
use crate::spool::{Limits, Spool};

const MAP: &str = "version = 1\n[defaults]\nclass = 'all'\nidentity = 'uuid'\n\
    [classes.all]\ndirection = 'up'\n[tables]\nperson = {}\nrole = { identity = 'role' }\n\
    patient = { identity = { borrowed = 'person' } }\n\
    member = { identity = ['person_id', 'role'] }\nnote = {}\n";
const TABLES: &str = "
    person: person_id int auto, uuid char(38), pk person_id, unique uuid
    role: role varchar(50), pk role
    patient: patient_id int, note_id int null, pk patient_id, fk patient_id person person_id, fk note_id note note_id
    member: member_id int auto, person_id int, role varchar(50), pk member_id, unique person_id+role, fk person_id person person_id, fk role role role
    note: note_id int auto, uuid varchar(38) null, patient_id int null, role varchar(50) null, parent_id int null, member_id int null, size int, at datetime null, text varchar(50) null, pk note_id, unique uuid, fk patient_id patient patient_id, fk role role role, fk parent_id note note_id, fk member_id member member_id";
const INT: (u8, &[u8]) = (3, &[]);
const TEXT: (u8, &[u8]) = (15, &[200, 0]);
const DATETIME: (u8, &[u8]) = (18, &[0]);

/// The body of a table map, as a server without further metadata writes it.
fn described(columns: &[(u8, &[u8])]) -> Vec<u8> {
    let count = u8::try_from(columns.len()).unwrap();
    let metadata: Vec<u8> = columns.iter().flat_map(|(_, metadata)| metadata.to_vec()).collect();
    let mut body = vec![count];
    body.extend(columns.iter().map(|(kind, _)| kind));
    body.push(u8::try_from(metadata.len()).unwrap());
    body.extend(metadata);
    body.extend(std::iter::repeat_n(0xff, columns.len().div_ceil(8)));
    body
}

struct Bench {
    map: BoundMap,
    identities: Identities,
    spool: Spool,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Persons 1 to 3, notes 1 to 3 and members 1 to 3 are known.
    fn new() -> Bench {
        let mut live = schema(TABLES);
        let columns = live.tables.values_mut().flat_map(|table| &mut table.columns);
        for column in columns.filter(|column| column.data_type.ends_with("char")) {
            column.charset = Some("utf8mb4".to_owned());
        }
        let map = BoundMap::bind(&MapFile::parse(MAP, "insert.toml").unwrap(), &live);
        assert_eq!(map.tables.len(), 5, "{:?}", map.problems);
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), SystemClock::shared(), Limits::default()).unwrap();
        let mut bench = Bench { identities: fresh(&spool), map, spool, _folder: folder };
        bench.know();
        bench
    }

    fn know(&mut self) {
        self.identities = fresh(&self.spool);
        for local in 1..=3 {
            let uuid = |kind: &str| Value::Text(format!("{kind}-{local}").into());
            for table in ["person", "note"] {
                let number = self.identities.number(&table.into());
                let identity = IdentityBytes::new(&Identity::One(uuid(table)));
                self.identities.put(number, local, identity).unwrap();
            }
            let person = crate::value::Reference {
                table: "person".into(),
                identity: Identity::One(uuid("person")),
            };
            let parts = vec![Value::Reference(Box::new(person)), uuid("role")];
            let number = self.identities.number(&"member".into());
            self.identities.put(number, local, IdentityBytes::new(&Identity::Many(parts))).unwrap();
        }
        self.identities.hand_over();
    }

    fn plan(&mut self, table: &str, columns: &[(u8, &[u8])]) -> TablePlan {
        let body = described(columns);
        let event =
            TableMapEvent { table_id: 1, schema: "test", table, body: &body, mariadb: false };
        let bound = self.map.tables[table].clone();
        TablePlan::new(&event, &self.map, bound, &mut self.identities, 0).unwrap()
    }
}

fn fresh(spool: &Spool) -> Identities {
    Identities::new(spool.index_reader().unwrap(), NonZeroUsize::new(1000).unwrap())
}

/// What became of a row: its change and what the index was told, or why it has to wait.
type Outcome = (Result<Option<Change<'static>>, String>, Vec<crate::spool::IndexChange>);

fn told(pause: &Pause) -> String {
    format!("{pause:?}")
}

/// The row written straight; `None` if it is not usual.
fn straight(bench: &mut Bench, plan: &TablePlan, row: &[RawColumn<'_>]) -> Option<Outcome> {
    let inserts = plan.inserts.as_ref().unwrap();
    let image = Image { plan, columns: row };
    if !inserts.names(&image).unwrap() {
        return None;
    }
    let mut writer = SegmentWriter::new();
    writer.begin(Sequence(1));
    let begun = writer.len();
    let written = inserts.write(plan, &image, &mut bench.identities, &mut writer);
    let result = match written {
        Ok(true) => {
            let bytes = writer.finish();
            let mut reader = SegmentReader::new(&bytes);
            let mut change = None;
            while let Some(record) = reader.read().unwrap() {
                if let Record::Change(found) = record {
                    assert!(change.is_none(), "one row is one change");
                    change = Some(found.into_owned());
                }
            }
            Ok(change)
        }
        Ok(false) => return None,
        Err(pause) => Err(told(&pause)),
    };
    if result.is_err() {
        // Names and shapes may stay; nothing of the row does.
        let bytes = writer.finish();
        assert!(bytes.len() >= begun);
        let mut reader = SegmentReader::new(&bytes);
        while let Some(record) = reader.read().unwrap() {
            assert!(matches!(record, Record::Begin(_)), "{record:?}");
        }
    }
    Some((result, bench.identities.hand_over()))
}

fn long_way(bench: &mut Bench, plan: &TablePlan, row: &[RawColumn<'_>]) -> Outcome {
    let decisions = Decisions::default();
    let translator =
        Translator { map: &bench.map, identities: &mut bench.identities, decisions: &decisions };
    let mut step = Step { plan, translator, nameless: 0 };
    let change = step.insert(&Image { plan, columns: row });
    let result = change.map(|change| change.map(Change::into_owned)).map_err(|pause| told(&pause));
    (result, bench.identities.hand_over())
}

/// A column's bytes, if it is not NULL.
type Cell = Option<Vec<u8>>;

fn int(range: std::ops::Range<i32>) -> impl Strategy<Value = Cell> {
    range.prop_map(|number| Some(number.to_le_bytes().to_vec()))
}

fn text() -> impl Strategy<Value = Cell> {
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    prop_oneof![uuid, "[A-F0-9-]{36,38}", "\\PC{0,20}", Just("17".to_owned())]
        .prop_map(|text| Some(text.into_bytes()))
}

fn maybe(cell: impl Strategy<Value = Cell> + 'static) -> BoxedStrategy<Cell> {
    prop_oneof![3 => cell, 1 => Just(None)].boxed()
}

fn moment() -> impl Strategy<Value = Cell> {
    // Some dates, zero among them.
    prop::sample::select(vec![[0x80, 0, 0, 0, 0], [0x99, 0xb2, 0x5a, 0xa5, 0x6b]])
        .prop_map(|bytes| Some(bytes.to_vec()))
}

fn note() -> impl Strategy<Value = Vec<Cell>> {
    (
        int(1..9),
        maybe(text()),
        maybe(int(-1..5)),
        maybe(text()),
        maybe(int(0..5)),
        maybe(int(0..5)),
        int(i32::MIN..i32::MAX),
        maybe(moment()),
        maybe(text()),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| vec![a, b, c, d, e, f, g, h, i])
}

fn patient() -> impl Strategy<Value = Vec<Cell>> {
    (int(0..6), maybe(int(0..5))).prop_map(|(key, note)| vec![key, note])
}

/// Whether the row went straight.
fn both_ways_agree(table: &str, columns: &[(u8, &[u8])], cells: &[Cell]) -> bool {
    let mut bench = Bench::new();
    let plan = bench.plan(table, columns);
    let row: Vec<RawColumn<'_>> = cells
        .iter()
        .map(|cell| cell.as_ref().map_or(RawColumn::Null, |bytes| RawColumn::Bytes(bytes)))
        .collect();
    let Some(found) = straight(&mut bench, &plan, &row) else { return false };
    bench.know();
    assert_eq!(found, long_way(&mut bench, &plan, &row), "{cells:?}");
    true
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(headwater_rig::edge::seed().unwrap()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_row_with_references_is_the_same_both_ways(cells in note()) {
        let columns = [INT, TEXT, INT, TEXT, INT, INT, INT, DATETIME, TEXT];
        let straight = both_ways_agree("note", &columns, &cells);
        // A row that nobody can name and one that refers by several columns go the long way.
        let member = cells[5].as_ref().is_some_and(|key| (1..=3).contains(&key[0]));
        let certain = cells[1].is_some() && cells[5].is_none();
        prop_assert!(straight || !certain);
        prop_assert!(!straight || !member || cells[2].is_some() || cells[4].is_some());
    }

    #[test]
    fn a_row_with_a_borrowed_identity_is_the_same_both_ways(cells in patient()) {
        prop_assert!(both_ways_agree("patient", &[INT, INT], &cells));
    }
}

#[test]
fn a_row_in_an_identity_is_called_by_what_it_is_called_when_that_is_used() {
    let mut bench = Bench::new();
    let plan = bench.plan("note", &[INT, TEXT, INT, TEXT, INT, INT, INT, DATETIME, TEXT]);
    let (member, person) =
        (bench.identities.number(&"member".into()), bench.identities.number(&"person".into()));
    let of_person = |identity| {
        let person = crate::value::Reference { table: "person".into(), identity };
        Identity::Many(vec![Value::Reference(Box::new(person)), Value::Text("nurse".into())])
    };
    bench.identities.put(member, 1, IdentityBytes::new(&of_person(Identity::Lost(2)))).unwrap();
    let one = 1_i32.to_le_bytes();
    let number = RawColumn::Bytes(&one);
    let null = RawColumn::Null;
    let row = [number, RawColumn::Bytes(b"n"), null, null, null, number, number, null, null];
    for name in ["person-2", "renamed"] {
        let called = Identity::One(Value::Text(name.into()));
        bench.identities.put(person, 2, IdentityBytes::new(&called)).unwrap();
        let (change, _) = long_way(&mut bench, &plan, &row);
        let referred =
            crate::value::Reference { table: "member".into(), identity: of_person(called) };
        let referred = Value::Reference(Box::new(referred));
        assert!(change.unwrap().unwrap().values.contains(&referred), "{name}");
    }
    bench.identities.remove(person, 2);
    let (asks, _) = long_way(&mut bench, &plan, &row);
    assert!(asks.unwrap_err().contains("person"));
}

#[test]
fn the_shapes_of_updates_are_not_kept_without_end() {
    let mut bench = Bench::new();
    let plan = bench.plan("patient", &[INT, INT]);
    for columns in 0..5_000 {
        let changed = vec![1; columns % 2_500];
        assert_eq!(plan.update_shape(&changed).columns.len(), changed.len());
    }
    assert!(plan.update_shapes_kept() <= 1_000);
}
