//! The log itself: begun anew, under another name, without its end, purged. Names, offsets and GTIDs
//! then mean something else, and soon there is a transaction again where capture stood.

use headwater_rig::{Flavor, ServerOptions};

use super::{SERVERS, Site, a_second_later, purge};
use crate::support::ledger::{NOT_THERE, REFUSED};
use crate::support::on_all;

fn reset(flavor: Flavor) -> &'static str {
    if flavor.is_mysql_from(8, 4) { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }
}

/// After a RESET the same names, offsets and GTIDs come again, for other changes.
async fn reset_while_headwater_is_off_nothing_is_skipped(flavor: Flavor) {
    for gtid in [true, false] {
        if !gtid && flavor.is_mariadb() {
            continue;
        }
        let mut site =
            Site::start_with(flavor, ServerOptions { gtid, ..ServerOptions::default() }).await;
        site.write("before").await;
        site.captured(&["before"]).await;
        site.stop_capture().await;
        let (file, offset) = site.log_end().await;
        a_second_later(&site.server).await;
        site.server.sql(reset(flavor)).await.unwrap();
        // Until the log is as long as it was, and its GTIDs as high.
        let mut number = 0;
        loop {
            assert!(number < 1000, "the log does not get as far as {offset}");
            let (now, at) = site.log_end().await;
            if now == file && at > offset && number > 3 {
                break;
            }
            if now != file {
                site.server.sql("FLUSH LOGS").await.unwrap();
            }
            number += 1;
            site.write(&format!("lost-{number}")).await;
        }
        site.go();
        let words = site.until_stopped().await;
        assert!(words.contains("docs/operator.md") && words.contains(&file), "{words}");
        assert_eq!(site.capturing().spool.head().0, 1, "nothing after it was taken");
        // It stays so, however much is written.
        site.stop_capture().await;
        for number in 0..5 {
            site.write(&format!("more-{number}")).await;
        }
        site.server.sql("FLUSH LOGS").await.unwrap();
        site.go();
        site.until_stopped().await;
        site.stop_capture().await;
    }
    SERVERS.settle("RESET while headwater is off", flavor, REFUSED);
}

async fn a_log_under_another_name_is_named(flavor: Flavor) {
    let mut site = Site::start(flavor).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    site.server
        .restart_with(|options| options.extra.push("--log-bin=another".to_owned()))
        .await
        .unwrap();
    site.write("after").await;
    let words = site.until_stopped().await;
    for part in ["begins anew", "another.000001", "'A log that begins anew' in docs/operator.md"] {
        assert!(words.contains(part), "{words}");
    }
    site.stop_capture().await;
    SERVERS.settle("its log gets another name", flavor, REFUSED);
}

/// What a power cut does where `sync_binlog` is not 1: what was read of the log is not in it any
/// more, and other transactions soon have the GTIDs of those.
async fn a_log_that_lost_its_end_is_named(flavor: Flavor) {
    for written_before in [false, true] {
        lost_its_end(flavor, true, written_before).await;
    }
    SERVERS.settle("its log lost its end in a power cut", flavor, REFUSED);
}

async fn lost_its_end(flavor: Flavor, gtid: bool, written_before: bool) {
    let mut site =
        Site::start_with(flavor, ServerOptions { gtid, ..ServerOptions::default() }).await;
    site.write("kept").await;
    let (file, offset) = site.log_end().await;
    site.write("lost").await;
    site.captured(&["kept", "lost"]).await;
    site.stop_capture().await;
    site.server.kill9();
    let path = site.server.data().join(&file);
    std::fs::File::options().write(true).open(path).unwrap().set_len(offset).unwrap();
    site.server.restart().await.unwrap();
    if written_before {
        for number in 0..4 {
            site.write(&format!("after-{number}")).await;
        }
    }
    site.go();
    let words = site.until_stopped().await;
    assert!(words.contains("'A log that shrank' in docs/operator.md"), "{words}");
    assert!(words.contains("ends before"), "{words}");
    site.stop_capture().await;
}

async fn a_purge_of_what_was_not_read_is_named(flavor: Flavor) {
    purged(flavor, true).await;
    SERVERS.settle("purge of what capture has not read", flavor, REFUSED);
}

async fn purged(flavor: Flavor, gtid: bool) {
    let mut site =
        Site::start_with(flavor, ServerOptions { gtid, ..ServerOptions::default() }).await;
    site.write("before").await;
    site.captured(&["before"]).await;
    site.stop_capture().await;
    site.write("lost").await;
    site.server.sql("FLUSH LOGS").await.unwrap();
    purge(&site.server).await;
    site.write("after").await;
    site.go();
    let words = site.until_stopped().await;
    assert!(words.contains("'A purged log' in docs/operator.md"), "{words}");
    assert_eq!(site.capturing().spool.head().0, 1);
    site.stop_capture().await;
}

/// By file and offset alone.
async fn without_gtids_a_lost_end_and_a_purge_are_named(flavor: Flavor) {
    let rows = [
        "its log lost its end in a power cut, without GTIDs",
        "purge of what capture has not read, without GTIDs",
    ];
    // MariaDB always has them.
    let cell = if flavor.is_mariadb() { NOT_THERE } else { REFUSED };
    if !flavor.is_mariadb() {
        lost_its_end(flavor, false, true).await;
        purged(flavor, false).await;
    }
    for row in rows {
        SERVERS.settle(row, flavor, cell);
    }
}

on_all!(
    reset_while_headwater_is_off_nothing_is_skipped,
    a_log_under_another_name_is_named,
    a_log_that_lost_its_end_is_named,
    a_purge_of_what_was_not_read_is_named,
    without_gtids_a_lost_end_and_a_purge_are_named,
);
