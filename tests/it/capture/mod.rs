//! Capture on real servers: what is committed comes out, in identity terms, once; what cannot be
//! carried exactly is refused by name.

mod cuts;
mod identity;

use std::time::Duration;

use headwater::capture::Doing;
use headwater::change::{Change, Identity, Kind};
use headwater::transport::Wanted;
use headwater::value::{Reference, Value};
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::{Captured, Capturing, capture_options, on_both, openmrs_map};

pub(crate) const PERSON: &str = "5f87c042-6814-11e8-923f-e9a88dcb533f";
const CONCEPT: &str = "162552AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const DAEMON: &str = "A4F30A1B-5EB9-11DF-A648-37A07F9C90FB";

/// Rows that were there before capture began: a person, her user account, a concept, a location.
const BEFORE: &str = "SET foreign_key_checks = 0;
    INSERT INTO person (person_id, uuid, gender, date_created) VALUES
      (41, '5f87c042-6814-11e8-923f-e9a88dcb533f', 'F', '2026-01-02 03:04:05');
    INSERT INTO users (user_id, uuid, system_id, username, password, salt, person_id, creator,
      date_created) VALUES
      (7, 'A4F30A1B-5EB9-11DF-A648-37A07F9C90FB', 'daemon', 'daemon', 'x', 'y', 41, 7, '2026-01-01');
    INSERT INTO concept_class (concept_class_id, name, creator, date_created, uuid) VALUES
      (3, 'Test', 7, '2026-01-01', '8d4907b2-c2cc-11de-8d13-0010c6dffd0f');
    INSERT INTO concept_datatype (concept_datatype_id, name, creator, date_created, uuid) VALUES
      (3, 'Text', 7, '2026-01-01', '8d4a4ab4-c2cc-11de-8d13-0010c6dffd0f');
    INSERT INTO concept (concept_id, datatype_id, class_id, creator, date_created, uuid) VALUES
      (162552, 3, 3, 7, '2026-01-01', '162552AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA');
    INSERT INTO location (location_id, name, creator, date_created, uuid) VALUES
      (12, 'Ward', 7, '2026-01-01', '7f65d926-57d6-4402-ae10-a5b3bcbf7986');";

/// A server with those rows, and capture following it.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
    pub(crate) capturing: Capturing,
}

impl Site {
    async fn start(flavor: Flavor) -> Site {
        Site::start_with(flavor, ServerOptions::default()).await
    }

    pub(crate) async fn start_with(flavor: Flavor, options: ServerOptions) -> Site {
        let server = Server::start_with_openmrs(flavor, options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        server.sql_in("openmrs", BEFORE).await.unwrap();
        let options = capture_options(&server, "openmrs", openmrs_map());
        let capturing = Capturing::start(options, &folder).await;
        Site { server, folder, capturing }
    }

    pub(crate) async fn sql(&self, statements: &str) {
        self.server.sql_in("openmrs", statements).await.unwrap();
    }

    pub(crate) async fn captured(&self, transactions: u64) -> Vec<Captured> {
        self.capturing.transactions(transactions).await
    }

    /// Stops capture and starts it again on the same store.
    async fn restart_capture(self) -> Site {
        let Site { server, folder, capturing } = self;
        capturing.stop().await;
        let options = capture_options(&server, "openmrs", openmrs_map());
        let capturing = Capturing::start(options, &folder).await;
        Site { server, folder, capturing }
    }
}

pub(crate) fn text(value: &str) -> Value<'static> {
    Value::Text(value.to_owned().into())
}

pub(crate) fn one(value: &str) -> Identity<'static> {
    Identity::One(text(value))
}

pub(crate) fn reference(table: &str, uuid: &str) -> Value<'static> {
    Value::Reference(Box::new(Reference { table: table.into(), identity: one(uuid) }))
}

pub(crate) fn value(change: &Change<'static>, column: &str) -> Value<'static> {
    let place = change.shape.columns.iter().position(|name| &**name == column);
    change.values[place.unwrap_or_else(|| panic!("{column} does not travel"))].clone()
}

fn travels(change: &Change<'_>, column: &str) -> bool {
    change.shape.columns.iter().any(|name| &**name == column)
}

/// All changes in the order they were captured, as `kind table`.
pub(crate) fn told(transactions: &[Captured]) -> Vec<String> {
    transactions
        .iter()
        .flat_map(|transaction| &transaction.changes)
        .map(|change| format!("{:?} {}", change.kind, change.shape.table))
        .collect()
}

async fn capture_resumes_where_it_stopped(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    for round in 0..4_u64 {
        site.sql(&format!("UPDATE location SET name = 'round {round}' WHERE location_id = 12"))
            .await;
        if round % 2 == 0 {
            site.captured(round + 1).await;
        }
        site = site.restart_capture().await;
    }
    let transactions = site.captured(4).await;
    let names: Vec<_> =
        transactions.iter().map(|transaction| value(&transaction.changes[0], "name")).collect();
    assert_eq!(names, ["round 0", "round 1", "round 2", "round 3"].map(text));
    site.capturing.stop().await;
}

async fn a_log_without_gtids_is_resumed_by_file_and_offset(flavor: Flavor) {
    let options = ServerOptions { gtid: false, ..ServerOptions::default() };
    let mut site = Site::start_with(flavor, options).await;
    for round in 0..4_u64 {
        site.sql(&format!("UPDATE location SET name = 'round {round}' WHERE location_id = 12"))
            .await;
        if round == 1 {
            site.captured(2).await;
            site.server.kill9();
            site.server.restart().await.unwrap();
        }
        if round == 2 {
            site.sql("FLUSH LOGS").await;
        }
        site = site.restart_capture().await;
    }
    let transactions = site.captured(4).await;
    let names: Vec<_> =
        transactions.iter().map(|transaction| value(&transaction.changes[0], "name")).collect();
    assert_eq!(names, ["round 0", "round 1", "round 2", "round 3"].map(text));
    assert!(site.capturing.spool.position().await.unwrap().unwrap().gtids.is_none());
    site.capturing.stop().await;
}

async fn a_killed_server_is_followed_again_by_itself(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.sql("UPDATE location SET name = 'before' WHERE location_id = 12").await;
    site.captured(1).await;
    site.server.kill9();
    site.capturing.until(|state| matches!(state.doing, Doing::Retrying(_))).await;
    site.server.restart().await.unwrap();
    site.sql("UPDATE location SET name = 'after' WHERE location_id = 12").await;
    let transactions = site.captured(2).await;
    assert_eq!(transactions.len(), 2);
    assert_eq!(value(&transactions[1].changes[0], "name"), text("after"));
    site.capturing.stop().await;
}

async fn a_frozen_server_is_noticed(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.server.freeze().unwrap();
    let state = site.capturing.until(|state| matches!(state.doing, Doing::Retrying(_))).await;
    let Doing::Retrying(words) = state.doing else { unreachable!("waited for it") };
    assert!(words.contains("silent for 6 s"), "{words}");
    site.server.thaw().unwrap();
    site.capturing.until(|state| state.doing == Doing::Following).await;
    site.sql("UPDATE location SET name = 'after' WHERE location_id = 12").await;
    site.captured(1).await;
    site.capturing.stop().await;
}

async fn a_transaction_of_300_000_rows_is_one_transaction(flavor: Flavor) {
    let site = Site::start(flavor).await;
    // Ten rows doubled, and again, until there are enough; all in one transaction.
    site.sql(
        "SET foreign_key_checks = 0;
         CREATE TABLE digits (d INT NOT NULL PRIMARY KEY);
         INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
         INSERT INTO obs (person_id, concept_id, obs_datetime, creator, date_created, voided, uuid,
             value_text)
           SELECT 41, 162552, '2026-01-01', 7, '2026-01-01', 0,
             CONCAT('0b5', a.d, b.d, c.d, d.d, e.d, '-0000-4000-8000-00000000000', f.d), 'text'
           FROM digits a, digits b, digits c, digits d, digits e, digits f WHERE f.d < 3;",
    )
    .await;
    let mut head = site.capturing.spool.head_changes();
    let reached = head.wait_for(|head| head.0 >= 1);
    tokio::time::timeout(Duration::from_mins(5), reached).await.unwrap().unwrap();
    let transactions = site.captured(1).await;
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].changes.len(), 300_000);
    assert_eq!(transactions[0].end.changes, 300_000);
    site.capturing.stop().await;
}

async fn a_rolled_back_transaction_leaves_nothing(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "BEGIN; UPDATE location SET name = 'never' WHERE location_id = 12; ROLLBACK;
         BEGIN; UPDATE location SET name = 'kept' WHERE location_id = 12; SAVEPOINT a;
         UPDATE location SET name = 'undone' WHERE location_id = 12; ROLLBACK TO a; COMMIT;",
    )
    .await;
    let transactions = site.captured(1).await;
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].changes.len(), 1);
    assert_eq!(value(&transactions[0].changes[0], "name"), text("kept"));
    site.capturing.stop().await;
}

async fn work_in_other_tables_moves_the_position(flavor: Flavor) {
    let site = Site::start(flavor).await;
    let before = site.capturing.spool.position().await.unwrap().unwrap();
    site.sql("CREATE TABLE other (a INT PRIMARY KEY); INSERT INTO other VALUES (1); FLUSH LOGS")
        .await;
    let moved = site
        .capturing
        .until(|state| state.position.as_ref().is_some_and(|now| now.file != before.file))
        .await;
    assert_ne!(moved.position.unwrap().gtids, before.gtids);
    assert_eq!(site.capturing.spool.head().0, 0);
    site.capturing.stop().await;
}

async fn a_column_added_while_following_travels(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql(
        "UPDATE location SET name = 'a' WHERE location_id = 12;
         ALTER TABLE location ADD COLUMN ours VARCHAR(20) NULL;
         UPDATE location SET name = 'b', ours = 'new' WHERE location_id = 12;",
    )
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(value(&transactions[1].changes[0], "ours"), text("new"));
    site.capturing.stop().await;
}

async fn rows_lost_to_a_truncate_stop_capture_until_they_are_given_up(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql("SET foreign_key_checks = 0; TRUNCATE TABLE cohort_member;").await;
    let state = site.capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    assert!(words.contains("cohort_member") && words.contains("accept = [\""), "{words}");
    let place = words.split("accept = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    let mut options = capture_options(&server, "openmrs", openmrs_map());
    options.accepted = vec![place];
    let capturing = Capturing::start(options, &folder).await;
    let site = Site { server, folder, capturing };
    site.sql("UPDATE location SET name = 'after' WHERE location_id = 12").await;
    site.captured(1).await;
    site.capturing.stop().await;
}

async fn rows_without_all_their_columns_are_refused(flavor: Flavor) {
    let site = Site::start(flavor).await;
    site.sql("SET SESSION binlog_row_image = 'MINIMAL'; UPDATE location SET name = 'x' WHERE location_id = 12").await;
    let state = site.capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    assert!(words.contains("location") && words.contains("binlog_row_image"), "{words}");
    site.capturing.stop().await;
}

async fn a_compressed_log_reads_like_any_other(flavor: Flavor) {
    if flavor == Flavor::Mysql57 {
        // It has none.
        return;
    }
    let options = if flavor.is_mariadb() {
        ServerOptions::default().with("--log-bin-compress=ON").with("--log-bin-compress-min-len=10")
    } else {
        ServerOptions::default().with("--binlog-transaction-compression=ON")
    };
    let site = Site::start_with(flavor, options).await;
    let long = "long ".repeat(50);
    site.sql(&format!(
        "BEGIN; UPDATE location SET description = '{long}' WHERE location_id = 12;
         UPDATE person SET gender = 'M' WHERE person_id = 41; COMMIT;
         UPDATE location SET description = 'short' WHERE location_id = 12;"
    ))
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Update location", "Update person", "Update location"]);
    assert_eq!(value(&transactions[0].changes[0], "description"), text(&long));
    let site = site.restart_capture().await;
    site.sql("UPDATE location SET description = 'again' WHERE location_id = 12").await;
    assert_eq!(site.captured(3).await.len(), 3);
    site.capturing.stop().await;
}

async fn a_row_the_other_end_lacks_is_sent_whole(flavor: Flavor) {
    let site = Site::start(flavor).await;
    let wanted = |table: &str, identity| Wanted { table: table.into(), identity };
    site.sql(
        "INSERT INTO patient (patient_id, creator, date_created) VALUES (41, 7, '2026-01-01')",
    )
    .await;
    site.captured(1).await;
    site.capturing
        .wanted
        .send(vec![
            wanted("location", one("7f65d926-57d6-4402-ae10-a5b3bcbf7986")),
            wanted("patient", one(PERSON)),
            wanted("location", one("not-here")),
        ])
        .await
        .unwrap();
    let transactions = site.captured(2).await;
    let [location, patient] = transactions[1].changes.as_slice() else { panic!("two rows") };
    assert_eq!(value(location, "name"), text("Ward"));
    assert_eq!(value(location, "date_created"), Value::Temporal("2026-01-01 00:00:00".into()));
    assert_eq!((patient.kind, &patient.identity), (Kind::Insert, &one(PERSON)));
    site.capturing.stop().await;
}

async fn headwater_s_own_transactions_tell_where_they_came_from(flavor: Flavor) {
    let site = Site::start(flavor).await;
    let node = "0a1b2c3d-0000-4000-8000-00000000000f";
    site.sql(&format!(
        "CREATE DATABASE headwater;
         CREATE TABLE headwater.watermark (node CHAR(36) PRIMARY KEY, sequence BIGINT UNSIGNED);
         BEGIN; INSERT INTO headwater.watermark VALUES ('{node}', 1);
         UPDATE location SET name = 'from elsewhere' WHERE location_id = 12; COMMIT;
         UPDATE location SET name = 'from here' WHERE location_id = 12;"
    ))
    .await;
    let transactions = site.captured(2).await;
    assert_eq!(transactions[0].end.origin.unwrap().to_string(), node);
    assert_eq!(transactions[1].end.origin, None);
    site.capturing.stop().await;
}

async fn another_server_or_a_purged_log_is_told_apart_from_a_failed_link(flavor: Flavor) {
    let site = Site::start(flavor).await;
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    let purge = "FLUSH LOGS; FLUSH LOGS; DO SLEEP(0.1)";
    server.sql_in("openmrs", purge).await.unwrap();
    server
        .sql_in("openmrs", "UPDATE location SET name = 'lost' WHERE location_id = 12; FLUSH LOGS")
        .await
        .unwrap();
    let last =
        if flavor.is_mysql_from(8, 4) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let mut connection = server.conn("openmrs").await.unwrap();
    let row: mysql_async::Row = connection.query_first(last).await.unwrap().unwrap();
    let last: String = row.get(0).unwrap();
    // A server keeps what a reader that has just left was reading, until it has noticed.
    for _ in 0..200 {
        server.sql_in("openmrs", &format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        let first: Option<mysql_async::Row> =
            connection.query_first("SHOW BINARY LOGS").await.unwrap();
        if first.unwrap().get::<String, _>(0).as_ref() == Some(&last) {
            break;
        }
        headwater_rig::edge::sleep(Duration::from_millis(100)).await;
    }
    let options = capture_options(&server, "openmrs", openmrs_map());
    let capturing = Capturing::start_only(options, &folder);
    let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    assert!(words.contains("purged its binary log"), "{words}");
    capturing.stop().await;
    let other = Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    let capturing =
        Capturing::start_only(capture_options(&other, "openmrs", openmrs_map()), &folder);
    let state = capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    assert!(words.contains("answers now"), "{words}");
    capturing.stop().await;
}

on_both!(a_transaction_of_300_000_rows_is_one_transaction, a_compressed_log_reads_like_any_other,);

/// How each server's log is followed and resumed.
mod followed {
    use super::{
        a_column_added_while_following_travels, a_frozen_server_is_noticed,
        a_killed_server_is_followed_again_by_itself, a_rolled_back_transaction_leaves_nothing,
        a_row_the_other_end_lacks_is_sent_whole,
        another_server_or_a_purged_log_is_told_apart_from_a_failed_link,
        capture_resumes_where_it_stopped, headwater_s_own_transactions_tell_where_they_came_from,
        rows_lost_to_a_truncate_stop_capture_until_they_are_given_up,
        rows_without_all_their_columns_are_refused, work_in_other_tables_moves_the_position,
    };

    crate::support::on_all!(
        capture_resumes_where_it_stopped,
        a_killed_server_is_followed_again_by_itself,
        a_frozen_server_is_noticed,
        a_rolled_back_transaction_leaves_nothing,
        work_in_other_tables_moves_the_position,
        a_column_added_while_following_travels,
        rows_lost_to_a_truncate_stop_capture_until_they_are_given_up,
        rows_without_all_their_columns_are_refused,
        a_row_the_other_end_lacks_is_sent_whole,
        headwater_s_own_transactions_tell_where_they_came_from,
        another_server_or_a_purged_log_is_told_apart_from_a_failed_link,
    );
}

/// A MySQL that gives its transactions no names is resumed by file and offset.
mod without_gtids {
    use super::a_log_without_gtids_is_resumed_by_file_and_offset;

    crate::support::on!(mysql, Mysql97, a_log_without_gtids_is_resumed_by_file_and_offset);
    crate::support::on!(mysql_56, Mysql56, a_log_without_gtids_is_resumed_by_file_and_offset);
}
