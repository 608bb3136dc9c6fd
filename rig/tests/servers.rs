//! The rig's own promises: servers start, keep their data through a kill, and hold the OpenMRS tables.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use headwater_rig::{Flavor, Server, ServerOptions, tested_on};

async fn keeps_what_it_committed(flavor: Flavor) {
    if !tested_on(flavor) {
        return;
    }
    let started = tokio::time::Instant::now();
    let mut server = Server::start_with_openmrs(flavor, ServerOptions::default()).await.unwrap();
    eprintln!("{flavor}: started after {:?}", started.elapsed());
    let tables = server
        .ask("", "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'openmrs'")
        .await
        .unwrap();
    assert_eq!(tables.as_deref(), Some("117"));
    server
        .sql("CREATE TABLE openmrs.kept (id INT PRIMARY KEY); INSERT INTO openmrs.kept VALUES (7)")
        .await
        .unwrap();
    let port = server.port();
    server.kill9();
    assert!(server.conn("").await.is_err());
    server.restart().await.unwrap();
    eprintln!("{flavor}: restarted after {:?}", started.elapsed());
    assert_eq!(server.port(), port);
    assert_eq!(server.ask("openmrs", "SELECT id FROM kept").await.unwrap().as_deref(), Some("7"));
    server.stop().await.unwrap();
    eprintln!("{flavor}: stopped after {:?}", started.elapsed());
}

#[tokio::test]
async fn a_mysql_keeps_what_it_committed() {
    keeps_what_it_committed(Flavor::Mysql97).await;
}

#[tokio::test]
async fn a_mariadb_keeps_what_it_committed() {
    keeps_what_it_committed(Flavor::Mariadb1011).await;
}

#[tokio::test]
async fn an_old_mysql_keeps_what_it_committed() {
    keeps_what_it_committed(Flavor::Mysql56).await;
}

#[tokio::test]
async fn a_new_mariadb_keeps_what_it_committed() {
    keeps_what_it_committed(Flavor::Mariadb118).await;
}
