//! What rows are called where others refer to them: as the log says at that place, and asked anew
//! where it does not say.

use std::sync::Arc;
use std::time::Duration;

use headwater::capture::{Doing, Options};
use headwater::change::{Change, Identity, Kind};
use headwater::schema_map::MapFile;
use headwater::transport::Wanted;
use headwater::value::{Name, Reference, Value};
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::ledger::EXACT;
use crate::support::{Capturing, capture_options, on, on_all};
use crate::surprises::SURPRISES;

const DATABASE: &str = "clinic";
const MAP: &str = "version = 1\n[defaults]\nclass = \"all\"\nidentity = \"uuid\"\n\
    [classes.all]\ndirection = \"up\"\n[classes.here]\ndirection = \"none\"\n[tables]\n\
    person = {}\npatient = { identity = { borrowed = \"person\" } }\n\
    zone = {}\nannex = { identity = { borrowed = \"zone\" } }\n\
    role = { identity = \"role\" }\nmember = { identity = [\"person_id\", \"role\"] }\n\
    users = { class = \"here\" }\nward = {}\nnote = {}\n";
const TABLES: &str = "
    CREATE TABLE person (person_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE) ENGINE = InnoDB;
    CREATE TABLE patient (patient_id INT PRIMARY KEY,
      FOREIGN KEY (patient_id) REFERENCES person (person_id)) ENGINE = InnoDB;
    CREATE TABLE zone (zone_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE) ENGINE = InnoDB;
    CREATE TABLE annex (annex_id INT PRIMARY KEY,
      FOREIGN KEY (annex_id) REFERENCES zone (zone_id)) ENGINE = InnoDB;
    CREATE TABLE role (role VARCHAR(50) PRIMARY KEY, text VARCHAR(50)) ENGINE = InnoDB;
    CREATE TABLE member (member_id INT AUTO_INCREMENT PRIMARY KEY, person_id INT NOT NULL,
      role VARCHAR(50) NOT NULL, UNIQUE (person_id, role),
      FOREIGN KEY (person_id) REFERENCES person (person_id),
      FOREIGN KEY (role) REFERENCES role (role)) ENGINE = InnoDB;
    CREATE TABLE users (user_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE) ENGINE = InnoDB;
    CREATE TABLE ward (ward_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE) ENGINE = InnoDB;
    CREATE TABLE note (note_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE, text VARCHAR(50),
      ward_id INT, member_id INT, creator INT, FOREIGN KEY (ward_id) REFERENCES ward (ward_id),
      FOREIGN KEY (member_id) REFERENCES member (member_id),
      FOREIGN KEY (creator) REFERENCES users (user_id)) ENGINE = InnoDB;
    CREATE TABLE loose (text VARCHAR(50)) ENGINE = MyISAM;
    INSERT INTO person (uuid) VALUES ('A'), ('B'), ('C');
    INSERT INTO patient VALUES (3);
    INSERT INTO role VALUES ('Nurse', 'nurses'), ('Clerk', 'writes');
    INSERT INTO member (person_id, role) VALUES (1, 'Nurse'), (2, 'Nurse');
    INSERT INTO users (uuid) VALUES ('u-1');
    INSERT INTO ward (uuid) VALUES ('w-1'), ('w-2');";

/// A clinic's database, and its capture.
struct Clinic {
    server: Server,
    folder: TempDir,
    options: Options,
    capturing: Option<Capturing>,
    seen: u64,
}

impl Clinic {
    async fn new(flavor: Flavor) -> Clinic {
        let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
        server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
        server.sql_in(DATABASE, TABLES).await.unwrap();
        let map = Arc::new(MapFile::parse(MAP, "identities.toml").unwrap());
        let options = capture_options(&server, DATABASE, map);
        let folder = TempDir::new().unwrap();
        Clinic { server, folder, options, capturing: None, seen: 0 }
    }

    async fn start(flavor: Flavor) -> Clinic {
        let mut clinic = Clinic::new(flavor).await;
        clinic.capture().await;
        clinic
    }

    async fn capture(&mut self) {
        self.capturing = Some(Capturing::start(self.options.clone(), &self.folder).await);
    }

    fn capturing(&self) -> &Capturing {
        self.capturing.as_ref().unwrap()
    }

    async fn stop(&mut self) {
        self.capturing.take().unwrap().stop().await;
    }

    /// What is kept in memory is lost.
    async fn again(&mut self) {
        self.stop().await;
        self.capture().await;
    }

    async fn sql(&self, statements: &str) {
        self.server.sql_in(DATABASE, statements).await.unwrap();
    }

    /// The changes of the next transaction.
    async fn next(&mut self) -> Vec<Change<'static>> {
        self.seen += 1;
        let mut all = self.capturing().transactions(self.seen).await;
        assert_eq!(all.len() as u64, self.seen, "{:?}", all.last().map(|last| &last.changes));
        all.pop().unwrap().changes
    }

    async fn only(&mut self) -> Change<'static> {
        let changes = self.next().await;
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        change.clone()
    }

    /// What a new note says of a row that it refers to.
    async fn referred(&mut self, column: &str, local: u32) -> Identity<'static> {
        self.sql(&format!("INSERT INTO note (uuid, {column}) VALUES (UUID(), {local})")).await;
        let note = self.only().await;
        reference(&note, column)
    }

    /// A person and who borrows its name are deleted while capture is off: both are called so.
    async fn deletes_as(&mut self, name: &str) {
        self.stop().await;
        self.sql("BEGIN; DELETE FROM patient; DELETE FROM person WHERE person_id = 3; COMMIT")
            .await;
        self.capture().await;
        let changes = self.next().await;
        let told: Vec<_> = changes.iter().map(|change| (change.kind, &change.identity)).collect();
        assert_eq!(told, [(Kind::Delete, &named(name)), (Kind::Delete, &named(name))]);
        self.stop().await;
    }

    /// Where capture refuses to go on is given up, as often as it refuses.
    async fn accept(&mut self, places: usize) {
        for _ in 0..places {
            let stopped =
                |state: &headwater::capture::State| matches!(state.doing, Doing::Stopped(_));
            let state = self.capturing().until(stopped).await;
            let Doing::Stopped(words) = state.doing else { unreachable!() };
            let place = words.split("accept = [\"").nth(1).and_then(|rest| rest.split('"').next());
            self.options.accepted.push(place.unwrap_or_else(|| panic!("{words}")).to_owned());
            self.again().await;
        }
    }
}

fn reference(change: &Change<'static>, column: &str) -> Identity<'static> {
    let place = change.shape.columns.iter().position(|name| **name == *column).unwrap();
    match &change.values[place] {
        Value::Reference(reference) => reference.identity.clone(),
        other => panic!("{column} is {other:?}"),
    }
}

fn named(uuid: &str) -> Identity<'static> {
    Identity::One(Value::Text(uuid.to_owned().into()))
}

fn member(person: &str, role: &str) -> Identity<'static> {
    let part = |table: &str, name| {
        Value::Reference(Box::new(Reference { table: table.into(), identity: named(name) }))
    };
    Identity::Many(vec![part("person", person), part("role", role)])
}

async fn rows_that_get_a_uuid_and_rows_that_refer_in_one_transaction(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    clinic
        .sql(
            "INSERT INTO note (text) VALUES ('a'); BEGIN;
             UPDATE note SET uuid = 'n-1' WHERE uuid IS NULL;
             INSERT INTO note (uuid, text, ward_id) VALUES ('n-2', 'b', 1); COMMIT",
        )
        .await;
    let changes = clinic.next().await;
    let told: Vec<_> = changes.iter().map(|change| (change.kind, &change.identity)).collect();
    assert_eq!(told, [(Kind::Insert, &named("n-1")), (Kind::Insert, &named("n-2"))]);
    assert_eq!(reference(&changes[1], "ward_id"), named("w-1"));
    clinic.stop().await;
}

async fn a_row_whose_uuid_is_taken_away_is_still_called_so_until_it_has_another(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    clinic.sql("INSERT INTO note (uuid, text) VALUES ('n-1', 'x')").await;
    assert_eq!(clinic.only().await.kind, Kind::Insert);
    for text in ["uuid = NULL, text = 'y'", "text = 'z'"] {
        clinic.sql(&format!("UPDATE note SET {text}")).await;
        let change = clinic.only().await;
        assert_eq!((change.kind, &change.identity), (Kind::Update, &named("n-1")), "{text}");
        assert_eq!((change.previous, change.values.len()), (None, 1));
        clinic.again().await;
    }
    // It gets another; loses it, and is deleted without one.
    clinic.sql("UPDATE note SET uuid = 'n-2', text = 'w'").await;
    let change = clinic.only().await;
    assert_eq!((change.kind, &change.identity), (Kind::Update, &named("n-2")));
    assert_eq!(change.previous, Some(named("n-1")));
    clinic.sql("UPDATE note SET uuid = NULL; DELETE FROM note").await;
    let change = clinic.only().await;
    assert_eq!((change.kind, &change.identity), (Kind::Delete, &named("n-2")));
    // One that never had any does not travel before it has.
    clinic.sql("INSERT INTO note (text) VALUES ('v'); UPDATE note SET uuid = 'n-3'").await;
    let change = clinic.only().await;
    assert_eq!((change.kind, &change.identity), (Kind::Insert, &named("n-3")));
    // Those that others refer to.
    clinic.sql("UPDATE ward SET uuid = NULL WHERE ward_id = 1").await;
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-1"));
    clinic.again().await;
    clinic.sql("UPDATE ward SET uuid = 'w-9' WHERE ward_id = 1").await;
    let change = clinic.only().await;
    assert_eq!((change.kind, &change.identity), (Kind::Update, &named("w-9")));
    assert_eq!(change.previous, Some(named("w-1")));
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-9"));
    clinic.stop().await;
}

async fn an_identity_with_another_row_in_it_follows_that_row_s_name(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    // Member 3 is known from the log, the others are asked for.
    clinic.sql("INSERT INTO member (person_id, role) VALUES (1, 'Clerk')").await;
    assert_eq!(clinic.only().await.identity, member("A", "Clerk"));
    assert_eq!(clinic.referred("member_id", 1).await, member("A", "Nurse"));
    assert_eq!(clinic.referred("member_id", 3).await, member("A", "Clerk"));
    // The names of persons 1 and 2 are exchanged.
    for (uuid, local) in [("X", 1), ("A", 2), ("B", 1)] {
        clinic.sql(&format!("UPDATE person SET uuid = '{uuid}' WHERE person_id = {local}")).await;
        assert_eq!(clinic.only().await.identity, named(uuid));
    }
    for _ in 0..2 {
        assert_eq!(clinic.referred("member_id", 1).await, member("B", "Nurse"));
        assert_eq!(clinic.referred("member_id", 2).await, member("A", "Nurse"));
        assert_eq!(clinic.referred("member_id", 3).await, member("B", "Clerk"));
        clinic.again().await;
    }
    // A row asked for in other letters than it is called by has one name all the same.
    let wanted = Wanted { table: Name::from("role"), identity: named("nurse") };
    clinic.capturing().wanted.send(vec![wanted]).await.unwrap();
    let role = clinic.only().await;
    assert_eq!((role.kind, role.identity), (Kind::Insert, named("Nurse")));
    clinic.stop().await;
}

async fn what_rows_are_called_is_asked_anew_after_rows_were_given_up(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-1"));
    clinic
        .sql(
            "SET SESSION binlog_row_image = 'MINIMAL'; BEGIN;
             UPDATE ward SET uuid = 'w-9' WHERE ward_id = 1;
             UPDATE person SET uuid = 'P' WHERE person_id = 3; COMMIT",
        )
        .await;
    clinic.accept(2).await;
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-9"));
    assert_eq!(clinic.referred("ward_id", 2).await, named("w-2"));
    // Whose names are lent is known again before they can go together with who borrows.
    clinic.deletes_as("P").await;
}

/// Nothing in the log tells of the numbers that rows get with a new key column.
async fn rows_numbered_anew_are_called_what_they_are_from_then_on(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    clinic.sql("INSERT INTO ward (uuid) VALUES ('w-3')").await;
    assert_eq!(clinic.only().await.kind, Kind::Insert);
    clinic.sql("DELETE FROM ward WHERE uuid = 'w-1'").await;
    assert_eq!(clinic.only().await.kind, Kind::Delete);
    assert_eq!(clinic.referred("ward_id", 2).await, named("w-2"));
    assert_eq!(clinic.referred("ward_id", 3).await, named("w-3"));
    clinic.sql("UPDATE note SET ward_id = NULL").await;
    assert_eq!(clinic.next().await.len(), 2);
    clinic
        .sql(
            "ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE ward DROP PRIMARY KEY, DROP COLUMN ward_id,
               ADD COLUMN ward_id INT AUTO_INCREMENT PRIMARY KEY FIRST;
             ALTER TABLE note ADD FOREIGN KEY (ward_id) REFERENCES ward (ward_id)",
        )
        .await;
    for local in [1, 2] {
        let uuid = format!("SELECT uuid FROM ward WHERE ward_id = {local}");
        let uuid = clinic.server.ask(DATABASE, &uuid).await.unwrap().unwrap();
        assert_ne!(uuid, format!("w-{local}"), "it has another number now");
        assert_eq!(clinic.referred("ward_id", local).await, named(&uuid));
        clinic.again().await;
    }
    clinic.stop().await;
    SURPRISES.settle("rows numbered anew by a new key column", flavor, EXACT);
}

async fn what_was_not_committed_of_rows_that_stay_here_is_not_known(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-1"));
    let xa = |name: &str| {
        format!(
            "XA START '{name}'; UPDATE users SET uuid = '{name}' WHERE user_id = 1;
             XA END '{name}'; XA PREPARE '{name}'"
        )
    };
    clinic.sql(&format!("{}; XA ROLLBACK 'u-2'", xa("u-2"))).await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-1"));
    clinic.again().await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-1"));
    clinic.sql(&format!("{}; XA COMMIT 'u-3'", xa("u-3"))).await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-3"));
    // Rolled back in part, and in the log because a table that cannot be rolled back was written.
    clinic
        .sql(
            "BEGIN; SAVEPOINT here; INSERT INTO loose VALUES ('stays');
             UPDATE users SET uuid = 'u-4' WHERE user_id = 1; ROLLBACK TO here; COMMIT",
        )
        .await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-3"));
    clinic.again().await;
    assert_eq!(clinic.referred("creator", 1).await, named("u-3"));
    clinic.stop().await;
}

async fn questions_leave_no_locks_and_no_spaces_whatever_the_server_s_settings(flavor: Flavor) {
    let mut clinic = Clinic::new(flavor).await;
    clinic
        .server
        .sql(
            "SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',PAD_CHAR_TO_FULL_LENGTH');
             SET GLOBAL autocommit = 0",
        )
        .await
        .unwrap();
    clinic.capture().await;
    clinic.sql("SET autocommit = 1; INSERT INTO note (uuid, ward_id) VALUES ('n-1', 1)").await;
    assert_eq!(reference(&clinic.only().await, "ward_id"), named("w-1"));
    // Neither rows nor definitions of what was asked for are locked.
    clinic
        .sql(
            "SET autocommit = 1, lock_wait_timeout = 10, innodb_lock_wait_timeout = 10;
             UPDATE ward SET uuid = 'w-3' WHERE ward_id = 1; ALTER TABLE ward ADD COLUMN x INT;
             ALTER TABLE person ADD COLUMN x INT",
        )
        .await;
    assert_eq!(clinic.only().await.identity, named("w-3"));
    let wanted = Wanted { table: Name::from("ward"), identity: named("w-2") };
    clinic.capturing().wanted.send(vec![wanted]).await.unwrap();
    assert_eq!(clinic.only().await.identity, named("w-2"));
    clinic
        .sql(
            "SET autocommit = 1, innodb_lock_wait_timeout = 10; DELETE FROM ward WHERE ward_id = 2",
        )
        .await;
    assert_eq!(clinic.only().await.kind, Kind::Delete);
    clinic.stop().await;
}

async fn a_row_renamed_while_capture_begins_is_called_by_its_new_name(flavor: Flavor) {
    let mut clinic = Clinic::new(flavor).await;
    let mut holder = clinic.server.conn(DATABASE).await.unwrap();
    holder.query_drop("LOCK TABLES zone WRITE").await.unwrap();
    // Persons are looked at before zones.
    clinic.capturing = Some(Capturing::start_only(clinic.options.clone(), &clinic.folder));
    let question = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
        WHERE STATE LIKE 'Waiting for%lock%' AND INFO LIKE '%FROM `zone`%'";
    let waits = async {
        while clinic.server.ask(DATABASE, question).await.unwrap().as_deref() != Some("1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waits).await.unwrap();
    clinic.sql("UPDATE person SET uuid = 'P' WHERE person_id = 3").await;
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    holder.disconnect().await.unwrap();
    clinic.capturing().until(|state| state.doing == Doing::Following).await;
    clinic.deletes_as("P").await;
}

/// Files of two servers have the same names, not the same beginnings.
async fn another_server_s_files_are_not_taken_for_the_former_one_s(flavor: Flavor) {
    let mut clinic = Clinic::start(flavor).await;
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-1"));
    let spool = clinic.capturing().spool.clone();
    let first = spool.position().await.unwrap().unwrap().file;
    let began = serde_json::to_vec(&[(&first, 1)]).unwrap();
    // Nothing more is read of the file whose beginning it knows.
    spool.set_note("capture.log_began", began).await.unwrap();
    clinic.stop().await;
    let other = clinic.server.server_id().wrapping_add(1).max(1000);
    clinic.server.restart_with(|options| options.server_id = other).await.unwrap();
    // At first the new server does not let it read the log.
    clinic
        .server
        .sql(
            "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'r';
             GRANT SELECT, BINLOG MONITOR ON *.* TO reader@'127.0.0.1'",
        )
        .await
        .unwrap();
    "reader".clone_into(&mut clinic.options.database.user);
    clinic.options.database.password = Some("r".to_owned());
    let capturing = Capturing::start_only(clinic.options.clone(), &clinic.folder);
    let refused = |state: &headwater::capture::State| {
        matches!(state.doing, Doing::Stopped(_) | Doing::Retrying(_))
    };
    capturing.until(refused).await;
    let position = capturing.spool.position().await.unwrap().unwrap();
    assert_eq!((&position.file, position.offset), (&first, 4), "{position}");
    capturing.stop().await;
    clinic.server.sql("GRANT REPLICATION SLAVE ON *.* TO reader@'127.0.0.1'").await.unwrap();
    clinic.capture().await;
    assert_eq!(clinic.referred("ward_id", 1).await, named("w-1"));
    clinic.stop().await;
}

on_all!(
    rows_that_get_a_uuid_and_rows_that_refer_in_one_transaction,
    rows_numbered_anew_are_called_what_they_are_from_then_on,
    a_row_whose_uuid_is_taken_away_is_still_called_so_until_it_has_another,
    an_identity_with_another_row_in_it_follows_that_row_s_name,
    what_rows_are_called_is_asked_anew_after_rows_were_given_up,
    what_was_not_committed_of_rows_that_stay_here_is_not_known,
    questions_leave_no_locks_and_no_spaces_whatever_the_server_s_settings,
    a_row_renamed_while_capture_begins_is_called_by_its_new_name,
);
mod one {
    use super::*;
    on!(mariadb, Mariadb1011, another_server_s_files_are_not_taken_for_the_former_one_s);
}
