//! Schema maps and live databases, on both kinds of server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headwater::cli::map::{MapCommand, MapError, run};
use headwater::database::Error;
use headwater::database::connect::Options;
use headwater::database::schema::LiveSchema;
use headwater::database::server::{self, Server};
use headwater::position::ServerIdentity;
use headwater::schema_map::{BoundIdentity, BoundMap, Fill, MapFile, ReferenceRule, Role};
use headwater_rig::{Flavor, ServerOptions};
use mysql_async::prelude::Queryable as _;

use crate::support::on_both;

on_both!(
    openmrs_binds_as_the_map_says,
    another_application_needs_nothing_but_a_map,
    what_rows_show_is_found_by_check,
    statements_that_mend_do_whatever_the_names_and_wherever_they_are_run,
    a_changed_table_is_read_anew,
    what_keeps_a_connection_away_is_told_apart,
);

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn options(server: &headwater_rig::Server, database: &str) -> Options {
    Options::parse(&server.url(database)).unwrap()
}

async fn read(options: &Options) -> LiveSchema {
    let mut connection = options.connect(&[]).await.unwrap();
    let schema = LiveSchema::read(&mut connection, &options.database).await.unwrap();
    connection.disconnect().await.unwrap();
    schema
}

async fn command(
    command: MapCommand,
    options: &Options,
    maps: &[PathBuf],
) -> Result<(bool, String), MapError> {
    let mut out = Vec::new();
    let good = run(&command, options, maps, &mut out).await?;
    Ok((good, String::from_utf8(out).unwrap()))
}

fn fatal(bound: &BoundMap) -> Vec<String> {
    let problems = bound.problems.iter().filter(|problem| problem.fatal);
    problems.map(|problem| format!("{}: {}", problem.table, problem.message)).collect()
}

async fn openmrs_binds_as_the_map_says(flavor: Flavor) {
    let server =
        headwater_rig::Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    let options = options(&server, "openmrs");
    let mut connection = options.connect(&[]).await.unwrap();

    let found = Server::read(&mut connection).await.unwrap();
    match flavor {
        _ if !flavor.is_mariadb() => {
            assert_eq!(found.flavor, server::Flavor::Mysql);
            let release = (found.version.0, found.version.1);
            assert!(
                match flavor {
                    Flavor::Mysql57 => release == (5, 7),
                    Flavor::Mysql80 => release == (8, 0),
                    Flavor::Mysql84 => release == (8, 4),
                    _ => found.at_least(9, 0, 0),
                },
                "{found}"
            );
            assert!(
                matches!(&found.identity, ServerIdentity::Mysql { server_uuid } if server_uuid.len() == 36)
            );
        }
        _ => {
            assert_eq!(found.flavor, server::Flavor::Mariadb);
            assert!(found.at_least(10, 11, 0), "{found}");
            let identity = ServerIdentity::Mariadb { server_id: server.server_id(), domain_id: 0 };
            assert_eq!(found.identity, identity);
        }
    }
    assert!(found.is_on("log_bin"));
    assert_eq!(found.variable("binlog_row_image"), Some("FULL"));
    assert_eq!(found.number("sync_binlog"), Some(1));

    let schema = LiveSchema::read(&mut connection, "openmrs").await.unwrap();
    assert_eq!(schema.tables.len(), 117);
    let facts = include_str!("../../rig/openmrs/columns-2.8.tsv");
    for row in facts.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        let table = &schema.tables[row[0]];
        let column = &table.columns[row[1].parse::<usize>().unwrap() - 1];
        assert_eq!(&*column.name, row[2], "{}", row[0]);
        assert_eq!(column.nullable, row[4] == "YES", "{}.{}", row[0], row[2]);
        let default = (row[5] != "\\N").then_some(row[5]);
        let printed = column.default.as_deref();
        assert!(
            printed == default
                // Servers spell these their own way.
                || printed.and_then(|text| text.parse::<f64>().ok())
                    == default.and_then(|text| text.parse::<f64>().ok())
                || printed.is_some_and(|text| text.to_ascii_lowercase().contains("current_timestamp")),
            "{}.{}: {printed:?} is not {default:?}",
            row[0],
            row[2]
        );
        assert_eq!(column.extra.contains("auto_increment"), row[6].contains("auto_increment"));
        assert_eq!(
            column.charset.as_deref(),
            row.get(7).copied().filter(|name| !name.is_empty()),
            "{}.{}",
            row[0],
            row[2]
        );
        assert!(!column.generated);
    }

    let map = MapFile::load(&[path("schema-maps/openmrs-2.x.toml")]).unwrap();
    let bound = BoundMap::bind(&map, &schema);
    assert_eq!(fatal(&bound), Vec::<String>::new());
    assert_eq!((bound.tables.len(), bound.left_out.len(), bound.unmapped.len()), (104, 13, 0));
    let users = &bound.tables["users"];
    let role = |column: &str| &users.columns[users.column(column).unwrap()].role;
    assert!(matches!(
        role("creator"),
        Role::Reference(ReferenceRule::Always { deferred: true, .. })
    ));
    assert!(matches!(
        role("person_id"),
        Role::Reference(ReferenceRule::Always { deferred: false, .. })
    ));
    assert_eq!(role("password"), &Role::LeftOut(Fill::Text(String::new())));
    connection.disconnect().await.unwrap();
}

async fn another_application_needs_nothing_but_a_map(flavor: Flavor) {
    let server = headwater_rig::Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE DATABASE pharmacy CHARACTER SET utf8mb4").await.unwrap();
    server.sql_in("pharmacy", include_str!("../pharmacy/schema.sql")).await.unwrap();
    server.sql_in("pharmacy", "CREATE VIEW short AS SELECT id FROM lot").await.unwrap();
    let options = options(&server, "pharmacy");
    let schema = read(&options).await;
    assert_eq!(schema.tables.len(), 9, "the view is no table");
    let map = MapFile::load(&[path("schema-maps/pharmacy.toml")]).unwrap();
    let bound = BoundMap::bind(&map, &schema);
    assert_eq!(bound.problems, []);
    let roles: BTreeMap<String, String> = bound
        .tables
        .values()
        .flat_map(|table| {
            table.columns.iter().filter_map(|column| {
                let role = match &column.role {
                    Role::Plain => return None,
                    Role::LocalKey => "local key".to_owned(),
                    Role::Generated => "generated".to_owned(),
                    Role::LeftOut(_) => "left out".to_owned(),
                    Role::Reference(ReferenceRule::Always { table, deferred }) => {
                        format!("{table}{}", if *deferred { ", deferred" } else { "" })
                    }
                    Role::Reference(ReferenceRule::Polymorphic(_)) => "by kind".to_owned(),
                    Role::Reference(ReferenceRule::Conditional(_)) => "by row".to_owned(),
                };
                Some((format!("{}.{}", table.name, column.name), role))
            })
        })
        .collect();
    let expected = [
        ("attachment.id", "local key"),
        ("attachment.owner_id", "by kind"),
        ("dispensing.dispensed_by", "staff"),
        ("dispensing.id", "local key"),
        ("dispensing.lot_id", "lot"),
        ("dispensing.replaces_id", "dispensing, deferred"),
        ("lot.id", "local key"),
        ("lot.product_id", "product"),
        ("product.id", "local key"),
        ("product.label", "generated"),
        ("product_tag.product_id", "product"),
        ("staff.pin_hash", "left out"),
        ("stock.lot_id", "lot"),
        ("stock.store_id", "store"),
        ("store.parent_id", "store, deferred"),
    ];
    let expected = expected.map(|(column, role)| (column.to_owned(), role.to_owned()));
    assert_eq!(roles, BTreeMap::from(expected));
    assert_eq!(bound.tables["product_tag"].identity, BoundIdentity::WholeRow);
    assert_eq!(bound.tables["dispensing"].level, 2);

    column_details(&schema);
    let (_, generated) =
        command(MapCommand::Generate { unmapped: false }, &options, &[]).await.unwrap();
    let proposed = MapFile::parse(&generated, "generated").unwrap();
    let theirs = BoundMap::bind(&proposed, &schema);
    assert_eq!(fatal(&theirs), Vec::<String>::new());
    for (name, table) in &bound.tables {
        assert_eq!(theirs.tables[name].identity, table.identity, "{name}\n{generated}");
    }
    assert!(generated.contains("kind = \"owner_type\""), "{generated}");
}

/// Both kinds of server print these differently; they read the same.
fn column_details(schema: &LiveSchema) {
    let product = &schema.tables["product"];
    let form = &product.columns[3];
    assert_eq!(form.members, ["tablet", "syrup", "ointment", "it's other"]);
    assert_eq!(form.default.as_deref(), Some("tablet"));
    assert!(product.columns[0].unsigned && product.columns[5].generated);
    let price = &product.columns[4];
    assert_eq!((price.precision, price.scale, price.default.as_deref()), (Some(12), Some(4), None));
    let moment = &schema.tables["dispensing"].columns[5];
    assert_eq!(moment.scale, Some(6));
}

async fn what_rows_show_is_found_by_check(flavor: Flavor) {
    let server =
        headwater_rig::Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    let options = options(&server, "openmrs");
    let maps = [path("schema-maps/openmrs-2.x.toml")];
    let check = || command(MapCommand::Check { quick: false, other: None }, &options, &maps);
    let (good, text) = check().await.unwrap();
    assert!(good, "{text}");
    assert!(
        text.contains("104 tables travel, 13 stay because the map says so, 0 are not"),
        "{text}"
    );

    server
        .sql_in(
            "openmrs",
            "SET foreign_key_checks = 0;
             INSERT INTO allergy_reaction (allergy_id, reaction_concept_id, uuid)
                VALUES (1, 1, NULL), (1, 2, 'same'), (1, 3, 'same');
             INSERT INTO concept_name_tag_map (concept_name_id, concept_name_tag_id)
                VALUES (1, 2), (1, 2), (1, 3);
             CREATE TABLE idgen_pool (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,
                location_id INT, FOREIGN KEY (location_id) REFERENCES location (location_id));
             CREATE TABLE plain (n INT) ENGINE=MyISAM;
             CREATE TRIGGER busy AFTER INSERT ON visit FOR EACH ROW SET @a = 1",
        )
        .await
        .unwrap();
    let (good, text) = check().await.unwrap();
    assert!(!good, "{text}");
    assert!(
        text.contains("allergy_reaction: 1 of its rows have no uuid: UPDATE `openmrs`.`allergy"),
        "{text}"
    );
    assert!(text.contains("allergy_reaction: 1 of its identities are there more"), "{text}");
    assert!(text.contains("concept_name_tag_map: 1 rows are there more than once"), "{text}");
    assert!(text.contains("visit: it has triggers (busy)"), "{text}");
    assert!(text.contains("  idgen_pool\n  plain\n"), "{text}");
    let quick =
        command(MapCommand::Check { quick: true, other: None }, &options, &maps).await.unwrap();
    assert!(quick.0, "{}", quick.1);

    let proposal =
        command(MapCommand::Generate { unmapped: true }, &options, &maps).await.unwrap().1;
    assert!(proposal.contains("\nidgen_pool = {}"), "{proposal}");
    assert!(proposal.contains("plain = { exclude = \"undecided: its engine MyISAM"), "{proposal}");
    assert!(!proposal.contains("allergy"), "{proposal}");

    let table = "allergy_reaction".to_owned();
    let (good, text) = command(MapCommand::Explain { table }, &options, &maps).await.unwrap();
    assert!(good && text.contains("refers to concept: travels as that row's uuid"), "{text}");
    let table = "idgen_pool".to_owned();
    let (good, text) = command(MapCommand::Explain { table }, &options, &maps).await.unwrap();
    assert!(!good && text.contains("the map does not mention it"), "{text}");
}

async fn statements_that_mend_do_whatever_the_names_and_wherever_they_are_run(flavor: Flavor) {
    let server = headwater_rig::Server::start(flavor, ServerOptions::default()).await.unwrap();
    server
        .sql(
            "CREATE DATABASE `o``dd, db`; USE `o``dd, db`;
             CREATE TABLE `we``ird, t` (`k``ey` INT AUTO_INCREMENT PRIMARY KEY, `u``id, c` CHAR(38) NULL)
                ENGINE=InnoDB;
             INSERT INTO `we``ird, t` (`u``id, c`) VALUES (NULL), ('same'), ('same');
             CREATE TABLE `my``isam` (`k``ey` INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL
                UNIQUE) ENGINE=MyISAM;
             CREATE TABLE `pa``irs, t` (`a``, b` INT NOT NULL, `c``, d` INT NOT NULL) ENGINE=InnoDB;
             INSERT INTO `pa``irs, t` VALUES (1, 2), (1, 2), (1, 3)",
        )
        .await
        .unwrap();
    let map = "version = 1\n[defaults]\nclass = \"all\"\n[classes.all]\ndirection = \"up\"\n[tables]\n\
               \"we`ird, t\" = { identity = \"u`id, c\" }\n\"my`isam\" = { identity = \"uuid\" }\n\
               \"pa`irs, t\" = { identity = [\"a`, b\", \"c`, d\"] }\n";
    let folder = tempfile::tempdir().unwrap();
    let maps = [folder.path().join("odd.toml")];
    std::fs::write(&maps[0], map).unwrap();
    let options = options(&server, "o%60dd%2C%20db");
    let check = || command(MapCommand::Check { quick: false, other: None }, &options, &maps);

    // Rows that cannot be told apart, by the query that lists them.
    let (good, text) = check().await.unwrap();
    assert!(!good, "{text}");
    for table in ["we`ird, t", "pa`irs, t"] {
        let line = text.lines().find(|line| line.contains(table) && line.contains(" lists them"));
        let line = line.unwrap_or_else(|| panic!("{table}: {text}"));
        let query = line.split("apart; ").nth(1).unwrap().split(" lists them").next().unwrap();
        let listed = format!("SELECT CAST(COUNT(*) AS CHAR) FROM ({query}) AS listed");
        assert_eq!(server.ask("", &listed).await.unwrap().as_deref(), Some("1"), "{query}");
    }
    server
        .sql(
            "UPDATE `o``dd, db`.`we``ird, t` SET `u``id, c` = UUID() WHERE `u``id, c` = 'same';
             DELETE FROM `o``dd, db`.`pa``irs, t`",
        )
        .await
        .unwrap();

    let bound = BoundMap::bind(&MapFile::load(&maps).unwrap(), &read(&options).await);
    let mends: Vec<String> =
        bound.problems.into_iter().filter_map(|problem| problem.mend).collect();
    assert_eq!(mends.len(), 3, "{mends:?}");
    for mend in &mends {
        server.sql(mend).await.unwrap_or_else(|error| panic!("{mend}: {error:#}"));
    }
    let (good, text) = check().await.unwrap();
    assert!(good, "{text}");
    for done in ["engine MyISAM", "of its rows have no", "`we``ird, t` (", "more than once"] {
        assert!(!text.contains(done), "{done}: {text}");
    }
}

async fn a_changed_table_is_read_anew(flavor: Flavor) {
    let server =
        headwater_rig::Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    let options = options(&server, "openmrs");
    server
        .sql_in("openmrs", "ALTER TABLE visit ADD COLUMN ward INT UNSIGNED NULL AFTER visit_id")
        .await
        .unwrap();
    let mut connection = options.connect(&[]).await.unwrap();
    let names = ["visit".into(), "gone".into()];
    let fresh = LiveSchema::read_tables(&mut connection, "openmrs", &names).await.unwrap();
    assert_eq!(fresh.tables.len(), 1);
    let whole = LiveSchema::read(&mut connection, "openmrs").await.unwrap();
    let (fresh, visit) = (&fresh.tables["visit"], &whole.tables["visit"]);
    assert_eq!(fresh.columns, visit.columns);
    assert_eq!(fresh.indexes, visit.indexes);
    assert_eq!(fresh.foreign_keys, visit.foreign_keys);
    assert_eq!(&*fresh.columns[1].name, "ward");
    assert!(fresh.columns[1].unsigned && fresh.columns[1].data_type == "int");
    assert_eq!(fresh.indexes[0].name, "PRIMARY");
    connection.disconnect().await.unwrap();
}

async fn what_keeps_a_connection_away_is_told_apart(flavor: Flavor) {
    let mut server = headwater_rig::Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE USER 'clinic'@'%' IDENTIFIED BY 'right'").await.unwrap();
    let url = |password: &str, database: &str, query: &str| {
        let port = server.port();
        Options::parse(&format!("mysql://clinic:{password}@127.0.0.1:{port}/{database}{query}"))
            .unwrap()
    };
    let error = url("wrong", "mysql", "").connect(&[]).await.unwrap_err();
    assert!(matches!(&error, Error::AccessDenied { user, .. } if user == "clinic"), "{error}");
    assert!(!error.is_transient() && !error.to_string().contains("wrong"));
    let error = url("right", "mysql", "").connect(&[]).await.unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "no right to that database: {error}");
    let mut nowhere = options(&server, "nowhere");
    let error = nowhere.connect(&[]).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownDatabase { database, .. } if database == "nowhere"));
    nowhere = nowhere.with_database("mysql");
    let mut connection = nowhere.connect(&["SET time_zone = '+03:00'"]).await.unwrap();
    let zone: Option<String> = connection.query_first("SELECT @@time_zone").await.unwrap();
    assert_eq!(zone.as_deref(), Some("+03:00"));

    let over_tls = url("right", "information_schema", "?tls=unverified").connect(&[]).await;
    match flavor {
        // Older builds have a TLS that nobody should speak any more.
        Flavor::Mysql57 => {
            let refused = over_tls.as_ref().err();
            assert!(refused.is_none_or(|error| matches!(error, Error::Tls { .. })), "{refused:?}");
        }
        _ if !flavor.is_mariadb() => {
            let row: Option<(String, String)> = over_tls
                .unwrap()
                .query_first("SHOW SESSION STATUS LIKE 'Ssl_version'")
                .await
                .unwrap();
            assert_eq!(row.unwrap().1, "TLSv1.3");
            // The certificate that the server made for itself names no host.
            let ca = format!("?tls=required&ca={}", server.data().join("ca.pem").display());
            let error = url("right", "information_schema", &ca).connect(&[]).await.unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{error}");
        }
        _ => {
            let error = over_tls.unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{error}");
        }
    }

    server.kill9();
    let error = Error::from(connection.query_drop("SELECT 1").await.unwrap_err());
    assert!(matches!(error, Error::Lost { .. }) && error.is_transient(), "{error}");
    let error = nowhere.connect(&[]).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
}
