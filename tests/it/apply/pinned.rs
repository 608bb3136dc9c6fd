//! A target whose administrator has set it up in ways of his own, that is short of room for
//! packets, or that freezes. Each on a server of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::apply::{Applier, Error, Limits, Settings, State};
use headwater::clock::SystemClock;
use headwater::database::connect;
use headwater::database::schema::LiveSchema;
use headwater::schema_map::MapFile;
use headwater::value::Value;
use headwater_rig::{Flavor, Link, edge};
use mysql_async::OptsBuilder;
use mysql_async::prelude::Queryable as _;

use super::stage::*;
use crate::support::is_there;

const TABLES: &str = "
CREATE TABLE note (
  note_id INT PRIMARY KEY AUTO_INCREMENT, body LONGTEXT, size INT CHECK (size < 100),
  uuid CHAR(36) NOT NULL UNIQUE) DEFAULT CHARACTER SET utf8mb4;
CREATE TABLE label (
  label_id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(700) NOT NULL UNIQUE)
  DEFAULT CHARACTER SET utf8mb4";

fn map() -> MapFile {
    let text = "version = 1\n[defaults]\nidentity = \"uuid\"\nclass = \"all\"\n\
                [classes.all]\ndirection = \"up\"\n[tables]\nnote = {}\n\
                label = { identity = \"name\" }\n";
    MapFile::parse(text, "notes.toml").unwrap()
}

/// On a server that no other test uses.
async fn alone(flavor: Flavor) -> Option<Stage> {
    if !is_there(flavor, module_path!()) {
        return None;
    }
    let server = server_to_set_up(flavor);
    server.sql("CREATE DATABASE notes").await.unwrap();
    server.sql_in("notes", TABLES).await.unwrap();
    Some(Stage::with_map_alone(flavor, server, "notes", map()).await)
}

async fn ask(stage: &Stage, query: &str) -> String {
    stage.server.ask("notes", query).await.unwrap().unwrap_or_default()
}

fn note(id: &str, size: i64) -> Row {
    insert("note", id, vec![("body", text("b")), ("size", Value::Int(size))])
}

/// What an administrator sets for everybody is not felt.
async fn what_is_set_for_everybody_is_not_felt(stage: Stage) -> Stage {
    let stage = stage.anew(Limits::default(), map()).await;
    let mut globals = "SET GLOBAL sql_select_limit = 1; SET GLOBAL sql_safe_updates = 1; \
                       SET GLOBAL unique_checks = 0; SET GLOBAL completion_type = 'CHAIN'; \
                       SET GLOBAL sql_big_selects = 0; SET GLOBAL TRANSACTION READ ONLY"
        .to_owned();
    let maria = matches!(stage.flavor, Flavor::Mariadb1011 | Flavor::Mariadb118);
    if maria {
        globals.push_str("; SET GLOBAL check_constraint_checks = 0");
    }
    // The connection that made headwater's tables is one of before: a batch that fails ends it.
    let (gap, _) = batch(headwater::change::Sequence(9), &[vec![note(&uuid(), 1)]]);
    assert!(stage.applier.apply(&stage.peer, gap).await.is_err());
    stage.server.sql(&globals).await.unwrap();

    let ids: Vec<String> = (0..50).map(|_| uuid()).collect();
    stage.send(&[ids.iter().map(|id| note(id, 1)).collect()]).await;
    let sized = ids.iter().map(|id| update("note", id, vec![("size", Value::Int(2))]));
    stage.send(&[sized.collect()]).await;
    stage.send(&[ids[10..].iter().map(|id| delete("note", id)).collect()]).await;
    let all = "SELECT CONCAT(COUNT(*), ' ', SUM(size)) FROM note";
    assert_eq!(ask(&stage, all).await, "10 20");
    let report = stage.try_send(&[vec![note(&uuid(), 100)]]).await.unwrap();
    assert_eq!(report.quarantined, 1, "{report:?}");
    let back = globals
        .replace("limit = 1", "limit = 18446744073709551615")
        .replace("updates = 1", "updates = 0")
        .replace("unique_checks = 0", "unique_checks = 1")
        .replace("'CHAIN'", "'NO_CHAIN'")
        .replace("selects = 0", "selects = 1")
        .replace("READ ONLY", "READ WRITE");
    // Nor is it by those who only ask.
    let options = connect::Options::parse(&stage.server.url("notes")).unwrap();
    let mut conn = options.connect(&[]).await.unwrap();
    let schema = LiveSchema::read(&mut conn, "notes").await.unwrap();
    assert_eq!(schema.tables.keys().map(|name| &**name).collect::<Vec<_>>(), ["label", "note"]);
    assert_eq!(schema.tables["note"].columns.len(), 4);
    conn.disconnect().await.unwrap();
    stage.server.sql(&back).await.unwrap();
    stage
}

/// A server that takes packets of 4 MiB, as MySQL 5.6 does, is sent none larger.
async fn small_packets_are_enough(stage: Stage) -> Stage {
    let before = ask(&stage, "SELECT @@GLOBAL.max_allowed_packet").await;
    stage.server.sql("SET GLOBAL max_allowed_packet = 4194304").await.unwrap();
    let stage = stage.anew(Limits::default(), map()).await;
    let held = stage.waiting(State::Parked).await.len();
    let body = "0123456789".repeat(35_000);
    let nowhere = (0..30).map(|_| update("note", &uuid(), vec![("body", text(body.clone()))]));
    let report = stage.try_send(&[nowhere.collect()]).await.unwrap();
    assert_eq!(report.held, 30, "{report:?}");
    assert_eq!(stage.waiting(State::Parked).await.len(), held + 30);
    // And what was set aside is read back and applied in as small ones.
    for waiting in stage.waiting(State::Parked).await {
        let sql = format!("INSERT INTO note (uuid) VALUES ('{}')", waiting.identity);
        stage.server.sql_in("notes", &sql).await.unwrap();
    }
    assert_eq!(stage.retry_parked().await.released, 30);
    // The list of what was touched is longer than a packet.
    let long = "n".repeat(690);
    let labels = (0..6_500).map(|number| {
        let name = text(format!("{number:06} {long}"));
        change(
            headwater::change::Kind::Insert,
            "label",
            headwater::change::Identity::One(name),
            Vec::new(),
        )
    });
    assert_eq!(stage.send(&[labels.collect()]).await.rows, 6_500);
    let listed = format!(
        "SELECT SUM(LENGTH(identities) - LENGTH(REPLACE(identities, '\\n', ''))) FROM {}.touched \
         WHERE row_table = 'label'",
        stage.schema
    );
    assert_eq!(ask(&stage, &listed).await, "6500");
    // A row that no packet can bring waits for a larger one, in parts, and nothing else does.
    let (long, other) = (uuid(), uuid());
    let body = "a long story ".repeat(800_000);
    let row = insert("note", &long, vec![("body", text(body.clone()))]);
    let report = stage.try_send(&[vec![row], vec![note(&other, 1)]]).await.unwrap();
    assert_eq!((report.rows, report.quarantined), (1, 1), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    let waiting = waiting.iter().find(|it| it.identity == long).unwrap();
    for part in ["max_allowed_packet (4194304)", "raise it, then retry"] {
        assert!(waiting.reason.contains(part), "{}", waiting.reason);
    }
    let shown = stage.applier.show(waiting.id).await.unwrap().unwrap();
    assert!(
        shown
            .values
            .iter()
            .any(|it| it.value.as_ref().is_some_and(|it| it.contains("a long story")))
    );
    let parts = format!("SELECT COUNT(*) FROM {}.held_part", stage.schema);
    assert_eq!(ask(&stage, &parts).await, "5");
    assert!(stage.applier.retry(waiting.id).await.unwrap().unwrap().released == 0);
    let sized = update("note", &long, vec![("size", Value::Int(3))]);
    let report = stage.try_send(&[vec![sized]]).await;
    assert_eq!(report.unwrap().held, 1, "it waits behind the first");
    let back = format!("SET GLOBAL max_allowed_packet = {before}");
    stage.server.sql(&back).await.unwrap();
    assert_eq!(stage.applier.retry(waiting.id).await.unwrap().unwrap().released, 2);
    let sql = format!("SELECT CONCAT(LENGTH(body), ' ', size) FROM note WHERE uuid = '{long}'");
    assert_eq!(ask(&stage, &sql).await, format!("{} 3", body.len()));
    assert_eq!(ask(&stage, &parts).await, "0");
    stage
}

/// A server that stands still is told from one that takes its time.
async fn a_frozen_target_is_noticed(stage: Stage) {
    let limits = Limits { patience: Duration::from_secs(6), ..Limits::default() };
    let stage = stage.anew(limits, map()).await;
    let slow = "CREATE TRIGGER slow BEFORE INSERT ON note FOR EACH ROW SET @slept = SLEEP(8)";
    let mut conn = stage.server.conn("notes").await.unwrap();
    conn.query_drop(slow).await.unwrap();
    let begun = Instant::now();
    stage.send(&[vec![note(&uuid(), 1)]]).await;
    assert!(begun.elapsed() >= Duration::from_secs(8));
    conn.query_drop("DROP TRIGGER slow").await.unwrap();
    conn.disconnect().await.unwrap();

    stage.server.freeze().unwrap();
    let begun = Instant::now();
    let id = uuid();
    let result = stage.try_send(&[vec![note(&id, 1)]]).await;
    stage.server.thaw().unwrap();
    let Err(Error::Retry(words)) = &result else { panic!("{result:?}") };
    assert!(words.contains("answer"), "{words}");
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    stage.send(&[vec![note(&id, 1)]]).await;
    let count = format!("SELECT COUNT(*) FROM note WHERE uuid = '{id}'");
    assert_eq!(ask(&stage, &count).await, "1");
}

/// A firewall forgets the connection while a statement is at work: its answer is lost, and the server
/// keeps the connection, with what it has locked.
async fn an_answer_that_was_lost_is_not_waited_for(stage: Stage) -> Stage {
    let link = Link::to_port(stage.server.port()).await.unwrap();
    let opts = OptsBuilder::from_opts(stage.server.opts("notes")).tcp_port(link.port());
    let limits = Limits { patience: Duration::from_secs(3), ..Limits::default() };
    let settings = Settings { schema: stage.schema.clone(), limits, ..Settings::default() };
    let (file, bound) = (Arc::new(map()), Arc::clone(&stage.map));
    let applier = Applier::new(opts.into(), file, bound, SystemClock::shared(), settings);
    let mut conn = stage.server.conn("notes").await.unwrap();
    let slow = "CREATE TRIGGER slow BEFORE INSERT ON note FOR EACH ROW SET @slept = SLEEP(5)";
    conn.query_drop(slow).await.unwrap();
    let id = uuid();
    let begun = Instant::now();
    let from = loop {
        match applier.watermark(stage.peer.node, stage.peer.epoch).await {
            Ok(watermark) => break watermark.sequence,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
    };
    let (lost, through) = batch(from, &[vec![note(&id, 1)]]);
    let forgets = async {
        let asleep = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'notes' AND \
                      state = 'User sleep'";
        let begun = Instant::now();
        while conn.query_first::<u64, _>(asleep).await.unwrap() == Some(0) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the trigger does not sleep");
            edge::sleep(Duration::from_millis(20)).await;
        }
        link.forget();
    };
    let applied = async {
        let applied = applier.apply_counted(&stage.peer, &lost);
        tokio::time::timeout(Duration::from_secs(90), applied).await
    };
    let (applied, ()) = tokio::join!(applied, forgets);
    let report = applied.expect("the lost answer is waited for").unwrap();
    assert_eq!((report.through, report.rows), (through, 1), "{report:?}");
    let count = format!("SELECT COUNT(*) FROM note WHERE uuid = '{id}'");
    assert_eq!(ask(&stage, &count).await, "1");
    conn.query_drop("DROP TRIGGER slow").await.unwrap();
    conn.disconnect().await.unwrap();
    // The numbers of this link's transactions go on.
    stage.anew(Limits::default(), map()).await.after(through)
}

async fn all(flavor: Flavor) {
    let Some(stage) = alone(flavor).await else { return };
    let stage = what_is_set_for_everybody_is_not_felt(stage).await;
    let stage = small_packets_are_enough(stage).await;
    let stage = an_answer_that_was_lost_is_not_waited_for(stage).await;
    a_frozen_target_is_noticed(stage).await;
}

#[tokio::test]
async fn a_target_set_up_strangely_is_written_all_the_same_on_mysql() {
    all(Flavor::Mysql97).await;
}

#[tokio::test]
async fn a_target_set_up_strangely_is_written_all_the_same_on_mariadb() {
    all(Flavor::Mariadb1011).await;
}
