//! What columns refer to and what they hold may change without their names and types changing, by a
//! map, or without the log.

use std::sync::Arc;
use std::time::Duration;

use headwater::capture::Doing;
use headwater::schema_map::MapFile;
use headwater::transport::Wanted;
use headwater_rig::Flavor;

use crate::capture::{PERSON, Site, one, reference, text, told, value};
use crate::definitions::{Names, again, behind, has_gtids, place, refusal, without_gtids};
use crate::support::ledger::{EXACT, NOT_NOTICED, NOT_THERE, REFUSED};
use crate::support::{Capturing, capture_options, on, on_all, openmrs_map};
use crate::surprises::SURPRISES;

const WARD: &str = "7f65d926-57d6-4402-ae10-a5b3bcbf7986";

/// As an application's upgrade does it: a column, its contents, then its key.
async fn a_column_given_a_foreign_key_refers_from_then_on(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        site.sql(
            "ALTER TABLE location ADD COLUMN near INT NULL;
             UPDATE location SET name = 'before' WHERE location_id = 12;
             ALTER TABLE location ADD CONSTRAINT f FOREIGN KEY (near) REFERENCES location (location_id);
             UPDATE location SET near = 12 WHERE location_id = 12;",
        )
        .await;
        let transactions = site.captured(2).await;
        let ward = reference("location", WARD);
        assert_eq!(value(&transactions[1].changes[0], "near"), ward, "{names:?}");
        // Without its key it refers to the same rows.
        let site = behind(
            site,
            "UPDATE location SET near = NULL WHERE location_id = 12;
             ALTER TABLE location DROP FOREIGN KEY f;
             UPDATE location SET near = 12 WHERE location_id = 12;",
        )
        .await;
        let transactions = site.captured(4).await;
        assert_eq!(value(&transactions[3].changes[0], "near"), ward, "{names:?}");
        site.capturing.stop().await;
    }
    SURPRISES.settle("foreign key added, and dropped again", flavor, EXACT);
}

async fn rows_that_cannot_travel_any_more_are_refused_until_they_can(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(
        "CREATE TABLE ours (id INT PRIMARY KEY) ENGINE = InnoDB;
         ALTER TABLE location ADD COLUMN ours INT NULL, ADD CONSTRAINT f FOREIGN KEY (ours) REFERENCES ours (id);
         UPDATE location SET name = 'one' WHERE location_id = 12;
         UPDATE location SET name = 'two' WHERE location_id = 12;",
    )
    .await;
    let first = refusal(&site).await;
    // What refers to it could not travel either.
    for part in [
        "table location was defined so that rows of location, ",
        " more cannot travel: location: column ours refers to ours",
    ] {
        assert!(first.contains(part), "{first}");
    }
    // What is given up is the one place.
    let site = again(site, openmrs_map(), &[place(&first)]).await;
    let second = refusal(&site).await;
    assert_ne!(place(&second), place(&first));
    site.sql("ALTER TABLE location DROP FOREIGN KEY f, DROP COLUMN ours").await;
    site.sql("UPDATE location SET name = 'three' WHERE location_id = 12").await;
    let site = again(site, openmrs_map(), &[place(&first), place(&second)]).await;
    let transactions = site.captured(1).await;
    assert_eq!(told(&transactions), ["Update location"]);
    assert_eq!(value(&transactions[0].changes[0], "name"), text("three"));
    site.capturing.stop().await;
    SURPRISES.settle("foreign key to a table outside of the map added", flavor, REFUSED);
}

/// The first kind is the number 1, whatever it is called.
const KINDS: &str = "ALTER TABLE location ADD COLUMN kind ENUM('old', 'new') NULL;
    UPDATE location SET kind = 'old' WHERE location_id = 12;";

async fn what_was_redefined_there_and_back_is_read_by_what_the_log_says(flavor: Flavor) {
    let rows = [
        "column defined otherwise and back while capture was behind",
        "column defined otherwise and back while capture was behind, names in the log",
    ];
    there_and_back(flavor, "MODIFY kind ENUM('new', 'old') NULL", rows).await;
}

async fn what_was_dropped_and_added_again_is_read_by_what_the_log_says(flavor: Flavor) {
    let rows = [
        "column dropped, added again and defined back while capture was behind",
        "column dropped, added again and defined back while capture was behind, names in the log",
    ];
    there_and_back(flavor, "DROP COLUMN kind, ADD COLUMN kind ENUM('new', 'old') NULL", rows).await;
}

async fn there_and_back(flavor: Flavor, there: &str, [nameless, named]: [&str; 2]) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        site.sql(KINDS).await;
        site.captured(1).await;
        let behind_it = format!(
            "ALTER TABLE location {there};
             UPDATE location SET kind = 'new' WHERE location_id = 12;
             ALTER TABLE location MODIFY kind ENUM('old', 'new') NULL;
             UPDATE location SET kind = 'old' WHERE location_id = 12;"
        );
        let site = behind(site, &behind_it).await;
        if matches!(names, Names::Missing) {
            let words = refusal(&site).await;
            assert!(words.contains("it is defined anew at"), "{words}");
        } else {
            let transactions = site.captured(3).await;
            let kinds =
                transactions.iter().map(|it| format!("{:?}", value(&it.changes[0], "kind")));
            let kinds: Vec<_> = kinds.collect();
            assert!(kinds[1].contains("new") && kinds[2].contains("old"), "{kinds:?}");
        }
        site.capturing.stop().await;
        let (row, outcome) = match names {
            Names::Missing => (nameless, REFUSED),
            Names::Logged => (named, EXACT),
        };
        SURPRISES.settle(row, flavor, outcome);
    }
    if !flavor.names_columns() {
        SURPRISES.settle(named, flavor, NOT_THERE);
    }
}

/// What a column refers to stands nowhere in the log, whatever it says of its columns.
async fn a_foreign_key_led_elsewhere_is_refused_until_it_leads_there(flavor: Flavor) {
    for names in Names::of(flavor) {
        let site = Site::start_with(flavor, names.options(flavor)).await;
        site.sql(
            "ALTER TABLE location ADD COLUMN near INT NULL;
             UPDATE location SET name = 'before' WHERE location_id = 12;",
        )
        .await;
        site.captured(1).await;
        let site = behind(
            site,
            "ALTER TABLE location ADD CONSTRAINT f FOREIGN KEY (near) REFERENCES location (location_id);
             UPDATE location SET near = 12 WHERE location_id = 12;
             ALTER TABLE location DROP FOREIGN KEY f;
             UPDATE location SET near = NULL WHERE location_id = 12;
             ALTER TABLE location ADD CONSTRAINT g FOREIGN KEY (near) REFERENCES person (person_id);
             UPDATE location SET near = 41 WHERE location_id = 12;",
        )
        .await;
        let words = refusal(&site).await;
        for part in ["table location: what its column near refers to", "accept = [\""] {
            assert!(words.contains(part), "{names:?}: {words}");
        }
        assert_eq!(site.captured(1).await.len(), 1, "what came before is in the spool");
        let site = again(site, openmrs_map(), &[place(&words)]).await;
        let transactions = site.captured(3).await;
        let near = value(&transactions[2].changes[0], "near");
        assert_eq!(near, reference("person", PERSON), "{names:?}");
        site.capturing.stop().await;
    }
    SURPRISES.settle("foreign key led to another table while capture was behind", flavor, REFUSED);
}

const SLOTS: &str = "CREATE TABLE place (place_id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))
      ENGINE = InnoDB;
    INSERT INTO place (name) VALUES ('here');
    CREATE TABLE slot (slot_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,
      place_id INT NULL, FOREIGN KEY (place_id) REFERENCES place (place_id)) ENGINE = InnoDB";
/// The application's next version, which fills the new column by its default.
const PLACES_NAMED: &str =
    "ALTER TABLE place ADD COLUMN uuid CHAR(38) NOT NULL DEFAULT 'p-1', ADD UNIQUE KEY (uuid);";
const SLOT: &str = "INSERT INTO slot (uuid, place_id) VALUES ('s-2', 1);";

/// Capture from the beginning on with a map of slots alone, then what happens behind it, then capture
/// with a map of their places too.
async fn places_mapped_later(flavor: Flavor, names: Names, happens: &str) -> Site {
    let before = "place = { exclude = \"has no uuid yet\" }\n\
        slot = { class = \"all\", left_out = [\"place_id\"] }\n";
    let after = "place = { class = \"all\" }\nslot = { class = \"all\" }\n";
    let site = Site::start_with(flavor, names.options(flavor)).await;
    site.sql(SLOTS).await;
    let Site { server, folder: _, capturing } = site;
    capturing.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let options = capture_options(&server, "openmrs", map_of(before));
    let capturing = Capturing::start(options, &folder).await;
    let site = Site { server, folder, capturing };
    site.sql("INSERT INTO slot (uuid, place_id) VALUES ('s-1', 1)").await;
    site.captured(1).await;
    let Site { server, folder, capturing } = site;
    capturing.stop().await;
    server.sql_in("openmrs", happens).await.unwrap();
    let options = capture_options(&server, "openmrs", map_of(after));
    let capturing = Capturing::start_only(options, &folder);
    Site { server, folder, capturing }
}

/// By the book: in step, stopped, the tables altered, the new map, started.
async fn rows_travel_once_what_they_refer_to_fits_the_new_map(flavor: Flavor) {
    for names in Names::of(flavor) {
        for more in ["", "ALTER TABLE slot ADD COLUMN more INT NULL DEFAULT 7;"] {
            let happens = format!("{PLACES_NAMED}{more}{SLOT}");
            let site = places_mapped_later(flavor, *names, &happens).await;
            let transactions = site.captured(2).await;
            assert_eq!(told(&transactions), ["Insert slot", "Insert slot"], "{names:?} {more}");
            let place = value(&transactions[1].changes[0], "place_id");
            assert_eq!(place, reference("place", "p-1"), "{names:?} {more}");
            site.capturing.stop().await;
        }
    }
    SURPRISES.settle("tables altered to fit a new map before it is used", flavor, EXACT);
}

async fn rows_from_before_their_tables_fitted_the_map_are_refused(flavor: Flavor) {
    let after = "place = { class = \"all\" }\nslot = { class = \"all\" }\n";
    for names in Names::of(flavor) {
        let happens =
            format!("{SLOT} {PLACES_NAMED} INSERT INTO slot (uuid, place_id) VALUES ('s-3', 1)");
        let site = places_mapped_later(flavor, *names, &happens).await;
        let words = refusal(&site).await;
        for part in ["slot", "it refers to place, which cannot travel", "accept = [\""] {
            assert!(words.contains(part), "{names:?}: {words}");
        }
        assert_eq!(site.captured(1).await.len(), 1, "what came before is in the spool");
        let site = again(site, map_of(after), &[place(&words)]).await;
        let transactions = site.captured(2).await;
        assert_eq!(transactions[1].changes[0].identity, one("s-3"), "{names:?}");
        site.capturing.stop().await;
    }
    SURPRISES.settle("rows from before their tables fitted the map", flavor, REFUSED);
}

/// As on a first start that could not ask the database whether its tables fit.
async fn rows_of_a_table_that_never_fitted_the_map_are_refused(flavor: Flavor) {
    let map = "slot = { class = \"all\" }\n";
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(
        "CREATE TABLE slot (slot_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE)
           ENGINE = MyISAM",
    )
    .await;
    let Site { server, folder: _, capturing } = site;
    capturing.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let capturing =
        Capturing::start(capture_options(&server, "openmrs", map_of(map)), &folder).await;
    let site = Site { server, folder, capturing };
    site.sql("INSERT INTO slot (uuid) VALUES ('s-1')").await;
    let words = refusal(&site).await;
    for part in ["table slot", "its engine MyISAM", "accept = [\""] {
        assert!(words.contains(part), "{words}");
    }
    // What is given up is the one place.
    site.sql("ALTER TABLE slot ENGINE = InnoDB; INSERT INTO slot (uuid) VALUES ('s-2')").await;
    let site = again(site, map_of(map), &[place(&words)]).await;
    let transactions = site.captured(1).await;
    assert_eq!(transactions[0].changes[0].identity, one("s-2"));
    site.capturing.stop().await;
    SURPRISES.settle("rows of a table that never fitted the map", flavor, REFUSED);
}

/// The core map without locations and what refers to them, or with.
fn map_of(tables: &str) -> Arc<MapFile> {
    let text = format!(
        "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
         [tables]\n{tables}"
    );
    Arc::new(MapFile::parse(&text, "test.toml").unwrap())
}

async fn a_table_mapped_later_is_read_as_it_is_by_then(flavor: Flavor) {
    let few = "concept_class = { class = \"all\", left_out = [\"creator\", \"retired_by\", \"changed_by\"] }\n";
    let more = format!("{few}tag = {{ class = \"all\" }}\n");
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(
        "CREATE TABLE tag (tag_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,
           kind ENUM('draft', 'paid') NULL) ENGINE = InnoDB",
    )
    .await;
    // From the beginning without the table.
    let Site { server, folder: _, capturing } = site;
    capturing.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let capturing =
        Capturing::start(capture_options(&server, "openmrs", map_of(few)), &folder).await;
    let site = Site { server, folder, capturing };
    site.sql(
        "ALTER TABLE tag MODIFY kind ENUM('draft', 'open', 'paid') NULL;
         UPDATE concept_class SET name = 'read' WHERE concept_class_id = 3;",
    )
    .await;
    site.captured(1).await;
    let site = again(site, map_of(&more), &[]).await;
    site.sql("INSERT INTO tag (uuid, kind) VALUES ('t-1', 'open'), ('t-2', 'paid')").await;
    let transactions = site.captured(2).await;
    let kinds = transactions[1].changes.iter().map(|it| format!("{:?}", value(it, "kind")));
    let kinds: Vec<_> = kinds.collect();
    assert!(kinds[0].contains("open") && kinds[1].contains("paid"), "{kinds:?}");
    site.capturing.stop().await;
    SURPRISES.settle("table defined anew before it was mapped", flavor, EXACT);
}

async fn what_was_defined_without_the_log_is_found_out(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(KINDS).await;
    site.captured(1).await;
    let site = behind(
        site,
        "SET sql_log_bin = 0;
         ALTER TABLE location MODIFY kind ENUM('new', 'old') NULL;",
    )
    .await;
    site.capturing.until(|state| state.doing == Doing::Following).await;
    // Looked at when the server has twice said that it has nothing more to send, which it does every
    // two seconds.
    for pause in 0_i64.. {
        tokio::time::sleep(Duration::from_secs(5)).await;
        site.sql("UPDATE location SET kind = NULL WHERE location_id = 12").await;
        site.sql("UPDATE location SET kind = 'new' WHERE location_id = 12").await;
        let count = u64::try_from(1 + 2 * (pause + 1)).unwrap();
        let transactions = site.captured(count).await;
        let last = format!("{:?}", value(&transactions.last().unwrap().changes[0], "kind"));
        if last.contains("new") {
            break;
        }
        assert!(pause < 10, "still {last}");
    }
    site.capturing.stop().await;
    // Rows from before it was found out are read by the former definition: capture warns of them.
    SURPRISES.settle(
        "table defined anew without the log while capture was off",
        flavor,
        NOT_NOTICED,
    );
}

async fn tables_given_up_stay_so_over_a_restart(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    let site = behind(
        site,
        "ALTER TABLE location ADD COLUMN one INT NULL AFTER name;
         ALTER TABLE concept_class ADD COLUMN one INT NULL AFTER name;
         UPDATE location SET one = 1; UPDATE concept_class SET one = 1;
         UPDATE location SET one = 2; UPDATE concept_class SET one = 2;
         UPDATE location SET one = 3; UPDATE concept_class SET one = 3;
         ALTER TABLE location DROP COLUMN one, ADD COLUMN other INT NULL AFTER name;
         ALTER TABLE concept_class DROP COLUMN one, ADD COLUMN other INT NULL AFTER name;
         UPDATE location SET other = 4; UPDATE concept_class SET other = 4;",
    )
    .await;
    let first = refusal(&site).await;
    assert!(first.contains("table location"), "{first}");
    let site = again(site, openmrs_map(), &[place(&first)]).await;
    let second = refusal(&site).await;
    assert!(second.contains("table concept_class"), "{second}");
    let site = again(site, openmrs_map(), &[place(&first), place(&second)]).await;
    let transactions = site.captured(2).await;
    assert_eq!(told(&transactions), ["Update location", "Update concept_class"]);
    site.capturing.stop().await;
}

/// The definitions that questions go by are those of the moment.
async fn a_row_asked_for_is_read_as_its_table_is_by_then(flavor: Flavor) {
    let site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    site.sql(
        "ALTER TABLE location CONVERT TO CHARACTER SET latin1;
         UPDATE location SET name = 'Caf\u{e9}' WHERE location_id = 12",
    )
    .await;
    let ask = async |site: &Site| {
        let wanted = Wanted { table: "location".into(), identity: one(WARD) };
        site.capturing.wanted.send(vec![wanted]).await.unwrap();
    };
    ask(&site).await;
    site.captured(2).await;
    site.sql("ALTER TABLE location CONVERT TO CHARACTER SET utf8mb4").await;
    site.sql("UPDATE person SET gender = 'M' WHERE person_id = 41").await;
    site.captured(3).await;
    ask(&site).await;
    let transactions = site.captured(4).await;
    let whole = &transactions[3].changes[0];
    assert_eq!(value(whole, "name"), text("Caf\u{e9}"));
    site.capturing.stop().await;
}

const FILLED: &str = "CREATE TABLE ... SELECT in statement format";

async fn a_table_filled_by_a_statement_is_refused(flavor: Flavor) {
    let mut site = Site::start_with(flavor, Names::Missing.options(flavor)).await;
    let statement = "SET SESSION binlog_format = STATEMENT; SET foreign_key_checks = 0;
         RENAME TABLE location TO location_old;
         CREATE TABLE location (PRIMARY KEY (location_id), UNIQUE KEY (uuid)) ENGINE = InnoDB
           SELECT * FROM location_old;";
    if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) && has_gtids() {
        // With GTIDs there is no such statement.
        let error = site.server.sql_in("openmrs", statement).await.unwrap_err();
        assert!(format!("{error:#}").contains("1786"), "{error:#}");
        SURPRISES.settle(FILLED, flavor, NOT_THERE);
    } else {
        site.sql(statement).await;
        let renamed = refusal(&site).await;
        assert!(renamed.contains("RENAME"), "{renamed}");
        site = again(site, openmrs_map(), &[place(&renamed)]).await;
        let words = refusal(&site).await;
        assert!(words.contains("statement format") && words.contains("location"), "{words}");
        if has_gtids() {
            SURPRISES.settle(FILLED, flavor, REFUSED);
        }
    }
    site.capturing.stop().await;
}

/// By file and offset it all comes to the same.
async fn without_gtids_all_of_it_comes_to_the_same(flavor: Flavor) {
    without_gtids(async {
        a_column_given_a_foreign_key_refers_from_then_on(flavor).await;
        rows_that_cannot_travel_any_more_are_refused_until_they_can(flavor).await;
        what_was_redefined_there_and_back_is_read_by_what_the_log_says(flavor).await;
        what_was_dropped_and_added_again_is_read_by_what_the_log_says(flavor).await;
        a_foreign_key_led_elsewhere_is_refused_until_it_leads_there(flavor).await;
        rows_travel_once_what_they_refer_to_fits_the_new_map(flavor).await;
        rows_from_before_their_tables_fitted_the_map_are_refused(flavor).await;
        rows_of_a_table_that_never_fitted_the_map_are_refused(flavor).await;
        a_table_mapped_later_is_read_as_it_is_by_then(flavor).await;
        what_was_defined_without_the_log_is_found_out(flavor).await;
        tables_given_up_stay_so_over_a_restart(flavor).await;
        a_row_asked_for_is_read_as_its_table_is_by_then(flavor).await;
        a_table_filled_by_a_statement_is_refused(flavor).await;
    })
    .await;
}

on!(mysql_56_without_gtids, Mysql56, without_gtids_all_of_it_comes_to_the_same);
on_all!(
    a_column_given_a_foreign_key_refers_from_then_on,
    rows_that_cannot_travel_any_more_are_refused_until_they_can,
    what_was_redefined_there_and_back_is_read_by_what_the_log_says,
    what_was_dropped_and_added_again_is_read_by_what_the_log_says,
    a_foreign_key_led_elsewhere_is_refused_until_it_leads_there,
    rows_travel_once_what_they_refer_to_fits_the_new_map,
    rows_from_before_their_tables_fitted_the_map_are_refused,
    rows_of_a_table_that_never_fitted_the_map_are_refused,
    a_table_mapped_later_is_read_as_it_is_by_then,
    what_was_defined_without_the_log_is_found_out,
    tables_given_up_stay_so_over_a_restart,
    a_row_asked_for_is_read_as_its_table_is_by_then,
    a_table_filled_by_a_statement_is_refused,
);
