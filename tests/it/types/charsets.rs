//! The ids by which a log refers to character sets, held against what each server says of its own.

use headwater::capture::decode::Charset;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;

use crate::support::on_all;

/// Every collation of a server: its id and its character set. `MariaDB` lists those that several character
/// sets have in common in a table of their own.
fn question(flavor: Flavor) -> &'static str {
    if flavor.is_mariadb() {
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    } else {
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"
    }
}

async fn every_collation_means_the_character_set_that_the_server_says(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let mut conn = server.conn("").await.unwrap();
    let all: Vec<(u64, String)> = conn.query(question(flavor)).await.unwrap();
    conn.disconnect().await.unwrap();
    assert!(all.len() > 200, "{flavor} says {all:?}");
    let wrong: Vec<_> = all
        .iter()
        .filter(|(id, name)| {
            let found = Charset::of_collation(*id, flavor.is_mariadb());
            found.ok() != Charset::of_name(name).ok()
        })
        .collect();
    assert!(wrong.is_empty(), "{flavor}: {wrong:?}");
    let unknown = all.iter().filter(|(_, name)| Charset::of_name(name).is_err());
    assert_eq!(unknown.count(), 0, "{flavor}: {all:?}");
}

on_all!(every_collation_means_the_character_set_that_the_server_says);
