//! Tables defined anew while capture is behind: a row is read with the definition that it was
//! written with, or refused by name.

use std::sync::Arc;

use headwater::capture::Doing;
use headwater::change::Change;
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, ServerOptions};

use crate::capture::{Site, text, told, value};
use crate::support::ledger::{EXACT, NOT_THERE, REFUSED};
use crate::support::{Captured, Capturing, capture_options, on, on_all, openmrs_map};
use crate::surprises::{SURPRISES, WITHOUT_GTIDS};

/// What the log says of its columns beyond their types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names {
    Logged,
    Missing,
}

impl Names {
    /// What the server can be told.
    pub(crate) fn of(flavor: Flavor) -> &'static [Names] {
        if flavor.names_columns() { &[Names::Missing, Names::Logged] } else { &[Names::Missing] }
    }

    pub(crate) fn options(self, flavor: Flavor) -> ServerOptions {
        let metadata = match (self, flavor) {
            _ if !flavor.names_columns() => return gtids_or_not(),
            (Names::Logged, _) => "FULL",
            (Names::Missing, _) if flavor.is_mariadb() => "NO_LOG",
            (Names::Missing, _) => "MINIMAL",
        };
        gtids_or_not().with(&format!("--binlog-row-metadata={metadata}"))
    }
}

tokio::task_local! {
    /// Whether the servers of a story have GTIDs.
    static GTIDS: bool;
}

/// Tells a story on servers without GTIDs.
pub(crate) async fn without_gtids(story: impl Future<Output = ()>) {
    GTIDS.scope(false, story).await;
}

pub(crate) fn has_gtids() -> bool {
    GTIDS.try_with(|has| *has).unwrap_or(true)
}

fn gtids_or_not() -> ServerOptions {
    ServerOptions { gtid: has_gtids(), ..ServerOptions::default() }
}

/// Runs statements while capture is stopped, then starts it on what they left behind.
pub(crate) async fn behind(site: Site, statements: &str) -> Site {
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    server.sql_in("openmrs", statements).await.unwrap();
    let options = capture_options(&server, "openmrs", openmrs_map());
    let capturing = Capturing::start_only(options, &folder);
    Site { server, folder, capturing }
}

/// Starts capture anew, with places to pass over.
pub(crate) async fn again(site: Site, map: Arc<MapFile>, accepted: &[String]) -> Site {
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    let mut options = capture_options(&server, "openmrs", map);
    options.accepted = accepted.to_vec();
    let capturing = Capturing::start_only(options, &folder);
    Site { server, folder, capturing }
}

/// The place that a refusal names, as an operator accepts it.
pub(crate) fn place(words: &str) -> String {
    words.split("accept = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

pub(crate) async fn refusal(site: &Site) -> String {
    let state = site.capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    let Doing::Stopped(words) = state.doing else { unreachable!("waited for it") };
    words
}

fn columns(change: &Change<'_>) -> Vec<String> {
    change.shape.columns.iter().map(ToString::to_string).collect()
}

fn last(transactions: &[Captured]) -> &Change<'static> {
    &transactions.last().unwrap().changes[0]
}

const ADDED: &str = "UPDATE location SET name = 'before' WHERE location_id = 12;
    ALTER TABLE location ADD COLUMN ours VARCHAR(20) NULL AFTER name;
    UPDATE location SET name = 'after', ours = 'x', description = 'd' WHERE location_id = 12;";

async fn rows_before_and_after_a_definition_are_each_read_with_theirs(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        let site = behind(site, ADDED).await;
        let transactions = site.captured(2).await;
        assert_eq!(told(&transactions), ["Update location", "Update location"], "{names:?}");
        assert_eq!(columns(&transactions[0].changes[0]), ["name"]);
        assert_eq!(value(&transactions[0].changes[0], "name"), text("before"));
        let after = &transactions[1].changes[0];
        assert_eq!(columns(after), ["name", "ours", "description"]);
        assert_eq!(value(after, "ours"), text("x"));
        assert_eq!(value(after, "description"), text("d"));
        site.capturing.stop().await;
    }
    SURPRISES.settle("column added while capture was behind", flavor, EXACT);
}

const TWICE: &str = "UPDATE location SET name = 'before' WHERE location_id = 12;
    ALTER TABLE location ADD COLUMN one INT NULL AFTER name;
    UPDATE location SET one = 1 WHERE location_id = 12;
    ALTER TABLE location DROP COLUMN one, ADD COLUMN other INT NULL AFTER name;
    UPDATE location SET other = 2 WHERE location_id = 12;";

async fn a_table_defined_twice_is_read_by_the_names_in_the_log(flavor: Flavor) {
    if !flavor.names_columns() {
        SURPRISES.settle(
            "table defined twice while capture was behind, names in the log",
            flavor,
            NOT_THERE,
        );
        return;
    }
    let site = Site::start_with(flavor, Names::Logged.options(flavor)).await;
    let site = behind(site, TWICE).await;
    let transactions = site.captured(3).await;
    let columns: Vec<_> = transactions.iter().map(|it| columns(&it.changes[0])).collect();
    assert_eq!(columns, [["name"], ["one"], ["other"]]);
    site.capturing.stop().await;
    SURPRISES.settle(
        "table defined twice while capture was behind, names in the log",
        flavor,
        EXACT,
    );
}

async fn without_names_a_table_defined_twice_is_refused_until_given_up(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    let site = behind(site, TWICE).await;
    let words = refusal(&site).await;
    for part in ["table location", "defined anew at", "binlog_row_metadata", "accept = [\""] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(site.captured(1).await.len(), 1, "what came before is in the spool");
    let place = words.split("accept = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    let mut options = capture_options(&server, "openmrs", openmrs_map());
    options.accepted = vec![place];
    let capturing = Capturing::start(options, &folder).await;
    let transactions = capturing.transactions(2).await;
    assert_eq!(columns(last(&transactions)), ["other"]);
    capturing.stop().await;
    SURPRISES.settle(
        "table defined twice while capture was behind, no names in the log",
        flavor,
        REFUSED,
    );
}

/// As an application's upgrade does it: a column, its contents, then its constraints.
async fn a_column_filled_between_its_making_and_its_constraints_is_read(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        let site = behind(
            site,
            "ALTER TABLE location ADD COLUMN ours VARCHAR(20) NULL AFTER name;
             UPDATE location SET ours = 'x' WHERE location_id = 12;
             ALTER TABLE location ADD UNIQUE INDEX once (ours), COMMENT = 'ready';
             UPDATE location SET description = 'filled' WHERE location_id = 12;
             ALTER TABLE location MODIFY ours VARCHAR(20) NOT NULL;
             UPDATE location SET description = 'after' WHERE location_id = 12;",
        )
        .await;
        // A new column's character set is known from the log, or from nowhere before the end.
        let says = matches!(names, Names::Logged) || flavor.is_new_mysql();
        let row = match names {
            Names::Logged => {
                "column added, filled and modified while capture was behind, names in the log"
            }
            Names::Missing => "column added, filled and modified while capture was behind",
        };
        if says {
            let transactions = site.captured(3).await;
            assert_eq!(columns(&transactions[0].changes[0]), ["ours"], "{names:?}");
            assert_eq!(value(&transactions[1].changes[0], "description"), text("filled"));
        } else {
            let words = refusal(&site).await;
            assert!(words.contains("defined anew at"), "{words}");
        }
        site.capturing.stop().await;
        SURPRISES.settle(row, flavor, if says { EXACT } else { REFUSED });
    }
    if !flavor.names_columns() {
        let row = "column added, filled and modified while capture was behind, names in the log";
        SURPRISES.settle(row, flavor, NOT_THERE);
    }
}

async fn a_doubt_outlives_a_restart(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    // Read while capture is current, with no row of the table after it.
    site.sql(
        "ALTER TABLE location ADD COLUMN one INT NULL AFTER name;
         UPDATE person SET gender = 'M' WHERE person_id = 41;",
    )
    .await;
    site.captured(1).await;
    let site = behind(
        site,
        "UPDATE location SET one = 1 WHERE location_id = 12;
         ALTER TABLE location DROP COLUMN one, ADD COLUMN other INT NULL AFTER name;
         UPDATE location SET other = 2 WHERE location_id = 12;",
    )
    .await;
    let words = refusal(&site).await;
    assert!(words.contains("defined anew at"), "{words}");
    site.capturing.stop().await;
}

async fn a_renamed_column_has_its_new_name_from_there_on(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        let site = behind(
            site,
            "UPDATE location SET description = 'before' WHERE location_id = 12;
             ALTER TABLE location CHANGE description details VARCHAR(255) NULL;
             UPDATE location SET details = 'after' WHERE location_id = 12;",
        )
        .await;
        let transactions = site.captured(2).await;
        assert_eq!(value(&transactions[0].changes[0], "description"), text("before"), "{names:?}");
        assert_eq!(value(&transactions[1].changes[0], "details"), text("after"), "{names:?}");
        site.capturing.stop().await;
    }
    SURPRISES.settle("column renamed while capture was behind", flavor, EXACT);
}

async fn a_table_swapped_for_its_copy_is_read_with_the_copy_s_definition(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        let site = behind(
            site,
            "SET foreign_key_checks = 0;
             CREATE TABLE _location_gho LIKE location;
             ALTER TABLE _location_gho ADD COLUMN ours INT NULL AFTER location_id;
             INSERT INTO _location_gho (location_id, name, creator, date_created, uuid)
               SELECT location_id, name, creator, date_created, uuid FROM location;
             RENAME TABLE location TO _location_del, _location_gho TO location;
             UPDATE location SET ours = 7, name = 'swapped' WHERE location_id = 12;
             INSERT INTO location (name, creator, date_created, uuid)
               VALUES ('Attic', 7, '2026-01-01', '0c1e5a0e-0000-4000-8000-000000000001');",
        )
        .await;
        let transactions = site.captured(2).await;
        let told = told(&transactions);
        assert_eq!(told, ["Update location", "Insert location"], "{names:?}");
        assert_eq!(columns(&transactions[0].changes[0]), ["ours", "name"]);
        // The copy has no foreign keys; its columns refer to rows all the same.
        let creator = format!("{:?}", value(&transactions[1].changes[0], "creator"));
        assert!(creator.contains("A4F30A1B-5EB9-11DF-A648-37A07F9C90FB"), "{names:?}: {creator}");
        site.capturing.stop().await;
    }
    SURPRISES.settle("table swapped for its copy while capture was behind", flavor, EXACT);
}

async fn a_table_dropped_and_made_again_is_read_on_once_that_is_accepted(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(
        "SET foreign_key_checks = 0;
         UPDATE location SET name = 'before' WHERE location_id = 12;
         DROP TABLE location;
         CREATE TABLE location (uuid CHAR(38) NOT NULL UNIQUE, name VARCHAR(255) NOT NULL,
           location_id INT AUTO_INCREMENT PRIMARY KEY, date_created DATETIME NULL);
         INSERT INTO location (name, uuid) VALUES ('made', '0c1e5a0e-0000-4000-8000-000000000002');
         UPDATE location SET name = 'changed';",
    )
    .await;
    let dropped = refusal(&site).await;
    assert!(dropped.contains("table location") && dropped.contains("DROP"), "{dropped}");
    let site = again(site, openmrs_map(), &[place(&dropped)]).await;
    let transactions = site.captured(3).await;
    assert_eq!(told(&transactions), ["Update location", "Insert location", "Update location"]);
    assert_eq!(columns(&transactions[1].changes[0]), ["name", "date_created"]);
    assert_eq!(value(last(&transactions), "name"), text("changed"));
    site.capturing.stop().await;
}

async fn a_table_made_from_a_query_brings_its_rows(flavor: Flavor) {
    const ROW: &str = "CREATE TABLE ... SELECT";
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) {
        let made = site.server.sql_in("openmrs", "CREATE TABLE x SELECT * FROM location").await;
        let words = format!("{:#}", made.unwrap_err());
        assert!(words.contains("GTID"), "{words}");
        site.capturing.stop().await;
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    rows_of_a_query(site).await;
    SURPRISES.settle(ROW, flavor, EXACT);
}

/// What definitions come to on a server that has no GTIDs, where it differs most from others.
async fn without_gtids_rows_are_read_with_their_definitions(flavor: Flavor) {
    let start = || {
        let options = Names::Missing.options(flavor);
        Site::start_with(flavor, ServerOptions { gtid: false, ..options })
    };
    let site = behind(start().await, ADDED).await;
    let transactions = site.captured(2).await;
    assert_eq!(columns(&transactions[0].changes[0]), ["name"]);
    assert_eq!(columns(&transactions[1].changes[0]), ["name", "ours", "description"]);
    site.capturing.stop().await;
    let site = behind(start().await, TWICE).await;
    let words = refusal(&site).await;
    assert!(words.contains("table location") && words.contains("defined anew at"), "{words}");
    assert_eq!(site.captured(1).await.len(), 1, "what came before is in the spool");
    site.capturing.stop().await;
    rows_of_a_query(start().await).await;
    WITHOUT_GTIDS.settle("CREATE TABLE ... SELECT", flavor, EXACT);
}

async fn rows_of_a_query(site: Site) {
    let site = behind(
        site,
        "SET foreign_key_checks = 0;
         RENAME TABLE location TO location_old;
         CREATE TABLE location (PRIMARY KEY (location_id), UNIQUE KEY (uuid))
           SELECT * FROM location_old;
         UPDATE location SET name = 'made' WHERE location_id = 12;",
    )
    .await;
    let renamed = refusal(&site).await;
    assert!(renamed.contains("table location") && renamed.contains("RENAME"), "{renamed}");
    let site = again(site, openmrs_map(), &[place(&renamed)]).await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Insert location", "Update location"]);
    assert_eq!(value(&transactions[0].changes[0], "name"), text("Ward"));
    // Stopped and started again, nothing comes twice.
    let site = behind(site, "UPDATE location SET name = 'again' WHERE location_id = 12;").await;
    let transactions = site.captured(3).await;
    assert_eq!(transactions.len(), 3);
    assert_eq!(value(last(&transactions), "name"), text("again"));
    site.capturing.stop().await;
}

on!(mysql_without_gtids, Mysql97, without_gtids_rows_are_read_with_their_definitions);
on!(mysql_56_without_gtids, Mysql56, without_gtids_rows_are_read_with_their_definitions);
on_all!(
    a_table_dropped_and_made_again_is_read_on_once_that_is_accepted,
    rows_before_and_after_a_definition_are_each_read_with_theirs,
    a_table_defined_twice_is_read_by_the_names_in_the_log,
    without_names_a_table_defined_twice_is_refused_until_given_up,
    a_column_filled_between_its_making_and_its_constraints_is_read,
    a_doubt_outlives_a_restart,
    a_renamed_column_has_its_new_name_from_there_on,
    a_table_swapped_for_its_copy_is_read_with_the_copy_s_definition,
    a_table_made_from_a_query_brings_its_rows,
);
