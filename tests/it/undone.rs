//! What a transaction did to identities holds from its end on, and not at all if it has none: rows
//! read again after a stop or a power cut are named by what they were called then.

use std::sync::Arc;
use std::time::Duration;

use headwater::capture::Doing;
use headwater::change::{Identity, Kind, Sequence};
use headwater::record::IdentityBytes;
use headwater::schema_map::MapFile;
use headwater::transport::Wanted;
use headwater::value::{Name, Value};
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::{Capturing, capture_options, on, on_all, on_both};

const DATABASE: &str = "clinic";
const MAP: &str = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
    [tables]\nperson = { class = \"all\" }\n\
    patient = { class = \"all\", identity = { borrowed = \"person\" } }\n";
const TABLES: &str = "
    CREATE TABLE person (person_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,
      text VARCHAR(200)) ENGINE = InnoDB;
    CREATE TABLE patient (patient_id INT PRIMARY KEY,
      FOREIGN KEY (patient_id) REFERENCES person (person_id)) ENGINE = InnoDB;
    INSERT INTO person (uuid) VALUES ('p-1'), ('p-2');
    INSERT INTO patient VALUES (1), (2);";

async fn server(flavor: Flavor) -> (Server, Arc<MapFile>) {
    // With GTIDs these refuse what their log would have to roll back.
    let gtid = !matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57);
    let options = ServerOptions { gtid, ..ServerOptions::default() };
    let server = Server::start(flavor, options).await.unwrap();
    server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
    server.sql_in(DATABASE, TABLES).await.unwrap();
    (server, Arc::new(MapFile::parse(MAP, "undone.toml").unwrap()))
}

/// What the index says persons are called.
fn persons(capturing: &Capturing, locals: &[i64]) -> Vec<Option<Vec<u8>>> {
    capturing.spool.index_reader().unwrap().get_many(&Name::from("person"), locals).unwrap()
}

fn called(uuid: &str) -> Vec<u8> {
    let identity = Identity::One(Value::Text(uuid.to_owned().into()));
    IdentityBytes::new(&identity).as_slice().to_vec()
}

async fn a_transaction_that_is_refused_has_done_nothing_to_identities(flavor: Flavor) {
    let (server, map) = server(flavor).await;
    let folder = TempDir::new().unwrap();
    let mut options = capture_options(&server, DATABASE, map);
    let capturing = Capturing::start(options.clone(), &folder).await;
    // Its rows are read before the refusal, and there is time to store what they did.
    let refused = "INSERT INTO person (uuid) VALUES ('p-3');
        XA START 'x'; DELETE FROM patient WHERE patient_id = 1; DELETE FROM person WHERE person_id = 1;
        UPDATE person SET uuid = 'p-0' WHERE person_id = 2; INSERT INTO person (uuid) VALUES ('p-4');
        XA END 'x'; XA PREPARE 'x'";
    server.sql_in(DATABASE, refused).await.unwrap();
    let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    capturing.until_head(1).await;
    assert_eq!(persons(&capturing, &[1, 3, 4]), [Some(called("p-1")), Some(called("p-3")), None]);
    assert_ne!(persons(&capturing, &[2]), [Some(called("p-0"))]);
    capturing.stop().await;

    // Rolled back by the operator, given up, and gone on after it with the names that hold.
    server
        .sql_in(DATABASE, "XA ROLLBACK 'x'; DELETE FROM patient WHERE patient_id = 1;")
        .await
        .unwrap();
    let Doing::Stopped(words) = state.doing else { unreachable!() };
    let place = words.split("accept = [\"").nth(1).and_then(|rest| rest.split('"').next());
    options.accepted = vec![place.unwrap().to_owned()];
    let capturing = Capturing::start_only(options, &folder);
    let last = capturing.transactions(2).await.pop().unwrap();
    let [change] = last.changes.as_slice() else { panic!("{:?}", last.changes) };
    assert_eq!(change.kind, Kind::Delete);
    assert_eq!(change.identity, Identity::One(Value::Text("p-1".into())));
    assert_eq!(persons(&capturing, &[1, 4]), [Some(called("p-1")), None]);
    capturing.stop().await;
}

/// Statements that log what they rolled back: something in the transaction cannot be.
fn rolled_back(rows: u32) -> String {
    // Counted by digits: not every server has recursive queries.
    let digits = (0..10).map(|digit| format!("SELECT {digit} AS n")).collect::<Vec<_>>();
    let digits = digits.join(" UNION ALL ");
    let places: Vec<String> = (0..5).map(|place| format!("({digits}) AS d{place}")).collect();
    let number = "1 + d0.n + 10 * d1.n + 100 * d2.n + 1000 * d3.n + 10000 * d4.n";
    format!(
        "BEGIN; INSERT INTO person (uuid, text)
           SELECT CONCAT('r-', {number}), REPEAT('x', 150) FROM {} WHERE {number} <= {rows};
         DROP TEMPORARY TABLE IF EXISTS x; ROLLBACK;
         INSERT INTO person (uuid) VALUES ('after {rows}')",
        places.join(", ")
    )
}

async fn a_transaction_rolled_back_in_the_log_leaves_no_trace(flavor: Flavor) {
    let (server, map) = server(flavor).await;
    let folder = TempDir::new().unwrap();
    let capturing = Capturing::start(capture_options(&server, DATABASE, map), &folder).await;
    // Few rows; and so many that parts of the transaction are stored before its end is read.
    for (count, rows) in [(1, 5), (2, 60_000)] {
        server.sql_in(DATABASE, &rolled_back(rows)).await.unwrap();
        let last = capturing.transactions(count).await.pop().unwrap();
        let [change] = last.changes.as_slice() else { panic!("{} changes", last.changes.len()) };
        assert_eq!(change.identity, Identity::One(Value::Text(format!("after {rows}").into())));
    }
    assert_eq!(persons(&capturing, &[3, 4, 5, 20_000]), [None, None, None, None]);
    assert_eq!(capturing.state.borrow().doing, Doing::Following);
    if flavor == Flavor::Mariadb1011 {
        let files = std::fs::read_dir(server.data()).unwrap().map(Result::unwrap);
        let log = files.filter(|file| file.file_name().to_string_lossy().starts_with("binlog.0"));
        let bytes: u64 = log.map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes > 5_000_000, "what was rolled back is not in the log of {bytes} bytes");
    }
    capturing.stop().await;
}

async fn a_whole_row_is_not_older_than_what_is_being_committed(flavor: Flavor) {
    let (server, map) = server(flavor).await;
    let folder = TempDir::new().unwrap();
    let capturing = Capturing::start(capture_options(&server, DATABASE, map), &folder).await;
    let mut conn = server.conn(DATABASE).await.unwrap();
    conn.query_drop("BEGIN; UPDATE person SET text = 'new' WHERE person_id = 1").await.unwrap();
    let identity = Identity::One(Value::Text("p-1".into()));
    let wanted = Wanted { table: Name::from("person"), identity };
    capturing.wanted.send(vec![wanted]).await.unwrap();
    // Long enough for a reader that does not wait.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(capturing.spool.head() < Sequence(2));
    conn.query_drop("COMMIT").await.unwrap();
    let changes = capturing.transactions(2).await;
    let whole = changes.iter().flat_map(|transaction| &transaction.changes);
    let whole = whole.filter(|change| change.kind == Kind::Insert).collect::<Vec<_>>();
    assert_eq!(whole.len(), 1);
    assert!(whole[0].values.contains(&Value::Text("new".into())), "{whole:?}");
    conn.disconnect().await.unwrap();
    capturing.stop().await;
}

on_all!(
    a_whole_row_is_not_older_than_what_is_being_committed,
    a_transaction_rolled_back_in_the_log_leaves_no_trace,
);
/// On MySQL 5.6 an XA transaction is logged when it is committed, and like any other.
mod prepared {
    use super::*;
    on_both!(a_transaction_that_is_refused_has_done_nothing_to_identities);
    on!(mariadb_11_8, Mariadb118, a_transaction_that_is_refused_has_done_nothing_to_identities);
}
