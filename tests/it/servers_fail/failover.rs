//! The address now leads to a replica. Capture goes on there by GTID if that server has executed all
//! that was captured; it never starts behind something that nobody captured.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use headwater_rig::{Flavor, Link, Server, ServerOptions, edge};

use super::{DATABASE, SERVERS, Site, write};
use crate::support::ledger::{EXACT, NOT_THERE, REFUSED};
use crate::support::on_all;

/// A site reached through an address that can be moved, and a replica of its server.
struct Moving {
    site: Site,
    replica: Server,
    address: Link,
}

impl Moving {
    async fn start(flavor: Flavor) -> Moving {
        Moving::start_with(flavor, true).await
    }

    async fn start_with(flavor: Flavor, gtid: bool) -> Moving {
        let options = || {
            let options = ServerOptions { gtid, ..ServerOptions::default() };
            if flavor.is_mariadb() { options.with("--log-slave-updates=ON") } else { options }
        };
        let mut site = Site::without_capture(flavor, options()).await;
        let replica = Server::start(flavor, options()).await.unwrap();
        let port = site.server.port();
        // Without GTIDs from the beginning of the first log on.
        let by = i32::from(gtid);
        let (source, begin) = match flavor {
            _ if flavor.is_new_mysql() => (
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port},
                     SOURCE_USER = 'root', SOURCE_AUTO_POSITION = {by}, GET_SOURCE_PUBLIC_KEY = 1"
                ),
                "START REPLICA",
            ),
            Flavor::Mysql56 | Flavor::Mysql57 => (
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port},
                     MASTER_USER = 'root', MASTER_AUTO_POSITION = {by}"
                ),
                "START SLAVE",
            ),
            _ => (
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port},
                     MASTER_USER = 'root', MASTER_USE_GTID = slave_pos"
                ),
                "START SLAVE",
            ),
        };
        replica.sql(&format!("{source}; {begin}")).await.unwrap();
        let address = Link::to_port(port).await.unwrap();
        let mut options = site.options();
        options.database.port = address.port();
        site.follow_with(options).await;
        Moving { site, replica, address }
    }

    /// Waits until the replica has a note.
    async fn replicated(&self, name: &str) {
        let question = format!("SELECT COUNT(*) FROM note WHERE uuid = '{name}'");
        for _ in 0..600 {
            let found = self.replica.ask(DATABASE, &question).await;
            if found.is_ok_and(|found| found.as_deref() == Some("1")) {
                return;
            }
            edge::sleep(Duration::from_millis(100)).await;
        }
        panic!("the replica never has {name}: {}", self.replica.log());
    }

    async fn replica_stops(&self) {
        let stop = if self.replica.flavor().is_new_mysql() { "STOP REPLICA" } else { "STOP SLAVE" };
        self.replica.sql(stop).await.unwrap();
    }

    /// The source is gone, and its address leads to the replica.
    async fn fail_over(&mut self) {
        self.replica_stops().await;
        self.site.server.kill9();
        self.address.retarget(SocketAddr::from((Ipv4Addr::LOCALHOST, self.replica.port())));
        self.address.cut();
    }
}

async fn at_a_replica_that_has_everything_capture_goes_on(flavor: Flavor) {
    let mut moving = Moving::start(flavor).await;
    for name in ["one", "two"] {
        moving.site.write(name).await;
    }
    moving.site.captured(&["one", "two"]).await;
    moving.replicated("two").await;
    let before = moving.site.capturing().spool.position().await.unwrap().unwrap();
    moving.fail_over().await;
    // Even if nothing is written there yet.
    let begun = Instant::now();
    loop {
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "the position stays at the former server"
        );
        let now = moving.site.capturing().spool.position().await.unwrap().unwrap();
        if now.server != before.server {
            assert_eq!(now.gtids, before.gtids);
            break;
        }
        edge::sleep(Duration::from_millis(50)).await;
    }
    write(&moving.replica, "three").await;
    moving.site.captured(&["one", "two", "three"]).await;
    let position = moving.site.capturing().spool.position().await.unwrap().unwrap();
    assert!(!position.gtids.unwrap().is_empty());
    // And after a restart of the replica, at which it is not another server any more.
    moving.replica.restart().await.unwrap();
    write(&moving.replica, "four").await;
    moving.site.captured(&["one", "two", "three", "four"]).await;
    moving.site.stop_capture().await;
    SERVERS.settle("failing over to a replica that has all that was captured", flavor, EXACT);
}

async fn at_a_replica_that_is_ahead_capture_goes_on(flavor: Flavor) {
    let mut moving = Moving::start(flavor).await;
    moving.site.write("one").await;
    moving.site.captured(&["one"]).await;
    // Nobody captures what comes now.
    moving.address.refuse();
    for name in ["two", "three"] {
        moving.site.write(name).await;
    }
    moving.replicated("three").await;
    moving.fail_over().await;
    moving.address.allow();
    moving.site.captured(&["one", "two", "three"]).await;
    moving.site.stop_capture().await;
    SERVERS.settle("failing over to a replica while capture is behind", flavor, EXACT);
}

async fn at_a_replica_that_lacks_some_capture_stops_by_name(flavor: Flavor) {
    let mut moving = Moving::start(flavor).await;
    moving.site.write("one").await;
    moving.replicated("one").await;
    moving.replica_stops().await;
    moving.site.write("lost").await;
    moving.site.captured(&["one", "lost"]).await;
    moving.fail_over().await;
    let words = moving.site.until_stopped().await;
    for part in ["answers now", "'Another server' in docs/operator.md"] {
        assert!(words.contains(part), "{words}");
    }
    // However much the new server writes, what it lacks is not taken for it.
    for number in 0..5 {
        write(&moving.replica, &format!("after-{number}")).await;
    }
    moving.site.stop_capture().await;
    let mut options = moving.site.options();
    options.database.port = moving.address.port();
    let capturing = crate::support::Capturing::start_only(options, &moving.site.folder);
    super::until_stopped(&capturing).await;
    assert_eq!(capturing.spool.head().0, 2);
    capturing.stop().await;
    SERVERS.settle("failing over to a replica that lacks some of it", flavor, REFUSED);
}

/// Files and offsets of another server mean nothing.
async fn without_gtids_capture_stops_by_name_at_a_replica(flavor: Flavor) {
    const ROW: &str = "failing over to a replica, without GTIDs";
    if flavor.is_mariadb() {
        SERVERS.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut moving = Moving::start_with(flavor, false).await;
    moving.site.write("one").await;
    moving.site.captured(&["one"]).await;
    moving.replicated("one").await;
    moving.fail_over().await;
    write(&moving.replica, "two").await;
    let words = moving.site.until_stopped().await;
    for part in ["answers now", "no GTIDs", "'Another server' in docs/operator.md"] {
        assert!(words.contains(part), "{words}");
    }
    moving.site.captured(&["one"]).await;
    moving.site.stop_capture().await;
    SERVERS.settle(ROW, flavor, REFUSED);
}

on_all!(
    without_gtids_capture_stops_by_name_at_a_replica,
    at_a_replica_that_has_everything_capture_goes_on,
    at_a_replica_that_is_ahead_capture_goes_on,
    at_a_replica_that_lacks_some_capture_stops_by_name,
);
