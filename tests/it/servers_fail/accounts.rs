//! The child's account: another password, locked, expired, its rights taken away, no connection left
//! for it. Capture says which, waits, and goes on by itself.

use headwater::database::connect::Options;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;

use super::{DATABASE, SERVERS, Site};
use crate::support::ledger::{NOT_THERE, WAITS};
use crate::support::on_all;

/// What is done to an account `hw`, whose password stands in a file.
pub(super) struct Trouble {
    pub(super) row: &'static str,
    /// The statements that bring it about; `None` where the server lacks it.
    pub(super) sql: fn(Flavor) -> Option<&'static str>,
    /// What is told of it.
    pub(super) words: &'static str,
    /// The statements that mend it, unless the password file does.
    pub(super) mend: fn(Flavor) -> &'static str,
}

pub(super) const OTHER_PASSWORD: &str = "another";

pub(super) fn set_password(flavor: Flavor, other: bool) -> &'static str {
    match (flavor, other) {
        (Flavor::Mysql56, true) => "SET PASSWORD FOR 'hw'@'%' = PASSWORD('another')",
        (Flavor::Mysql56, false) => "SET PASSWORD FOR 'hw'@'%' = PASSWORD('right')",
        (_, true) => "ALTER USER 'hw'@'%' IDENTIFIED BY 'another'",
        (_, false) => "ALTER USER 'hw'@'%' IDENTIFIED BY 'right'",
    }
}

pub(super) fn lock(flavor: Flavor) -> Option<&'static str> {
    (flavor != Flavor::Mysql56).then_some("ALTER USER 'hw'@'%' ACCOUNT LOCK")
}

pub(super) const EXPIRE: &str = "ALTER USER 'hw'@'%' PASSWORD EXPIRE";

const TROUBLES: &[Trouble] = &[
    Trouble {
        row: "the child's password is changed",
        sql: |flavor| Some(set_password(flavor, true)),
        words: "refuses user 'hw'",
        mend: |_| "",
    },
    Trouble {
        row: "the child's account is locked",
        sql: lock,
        words: "locked",
        mend: |_| "ALTER USER 'hw'@'%' ACCOUNT UNLOCK",
    },
    Trouble {
        row: "the child's password expires",
        sql: |_| Some(EXPIRE),
        words: "refuses user 'hw'",
        mend: |flavor| set_password(flavor, true),
    },
    Trouble {
        row: "REPLICATION SLAVE is taken away at the child",
        sql: |_| Some("REVOKE REPLICATION SLAVE ON *.* FROM 'hw'@'%'"),
        words: "`headwater grants` prints",
        mend: |_| "GRANT REPLICATION SLAVE ON *.* TO 'hw'@'%'",
    },
    Trouble {
        row: "SELECT on the mapped tables is taken away at the child",
        sql: |_| Some("REVOKE SELECT ON clinic.* FROM 'hw'@'%'"),
        words: "`headwater grants` prints",
        mend: |_| "GRANT SELECT ON clinic.* TO 'hw'@'%'",
    },
];

/// Ends every connection of `hw`, as a restart of the server would.
pub(super) async fn disconnect(server: &Server) {
    let mut conn = server.conn("").await.unwrap();
    let rows: Vec<mysql_async::Row> = conn.query("SHOW PROCESSLIST").await.unwrap();
    for row in rows {
        let (id, user): (u64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        if user == "hw" {
            // It may have gone by itself.
            conn.query_drop(format!("KILL {id}")).await.ok();
        }
    }
    conn.disconnect().await.unwrap();
}

impl Site {
    /// A site whose capture uses an account with no more rights than it needs.
    async fn with_account(flavor: Flavor) -> Site {
        let mut site = Site::without_capture(flavor, ServerOptions::default()).await;
        site.server
            .sql(
                "CREATE USER 'hw'@'%' IDENTIFIED BY 'right';
                 GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'hw'@'%';
                 GRANT SELECT ON clinic.* TO 'hw'@'%'",
            )
            .await
            .unwrap();
        let secret = site.secret();
        std::fs::write(&secret, "right\n").unwrap();
        let url = format!("mysql://hw@127.0.0.1:{}/{DATABASE}", site.server.port());
        let mut options = site.options();
        options.database = Options::parse(&url).unwrap();
        options.database.password_file = Some(secret);
        site.follow_with(options).await;
        site
    }

    fn secret(&self) -> std::path::PathBuf {
        self.folder.path().join("secret")
    }
}

async fn a_trouble_with_the_account_is_told_and_waited_for(flavor: Flavor) {
    let mut site = Site::with_account(flavor).await;
    let mut expected = Vec::new();
    for (number, trouble) in TROUBLES.iter().enumerate() {
        let Some(sql) = (trouble.sql)(flavor) else {
            SERVERS.settle(trouble.row, flavor, NOT_THERE);
            continue;
        };
        println!("{}", trouble.row);
        site.server.sql(sql).await.unwrap();
        disconnect(&site.server).await;
        site.until_waits(trouble.words).await;
        let name = format!("meanwhile-{number}");
        site.write(&name).await;
        expected.push(name);
        let mend = (trouble.mend)(flavor);
        if mend.is_empty() {
            std::fs::write(site.secret(), format!("{OTHER_PASSWORD}\n")).unwrap();
        } else {
            site.server.sql(mend).await.unwrap();
        }
        assert_eq!(site.names(expected.len() as u64).await, expected);
        SERVERS.settle(trouble.row, flavor, WAITS);
    }
    site.stop_capture().await;
}

async fn no_connection_left_is_told_and_waited_for(flavor: Flavor) {
    let mut site = Site::with_account(flavor).await;
    let mut admin = site.server.conn("").await.unwrap();
    let mut others = Vec::new();
    for _ in 0..12 {
        others.push(site.server.conn("").await.unwrap());
    }
    admin.query_drop("SET GLOBAL max_connections = 10").await.unwrap();
    let rows: Vec<mysql_async::Row> = admin.query("SHOW PROCESSLIST").await.unwrap();
    for row in rows.iter().filter(|row| row.get::<String, _>(1).as_deref() == Some("hw")) {
        let id: u64 = row.get(0).unwrap();
        admin.query_drop(format!("KILL {id}")).await.ok();
    }
    site.until_waits("raise max_connections").await;
    admin.query_drop("USE clinic").await.unwrap();
    admin.query_drop("INSERT INTO note (uuid) VALUES ('meanwhile')").await.unwrap();
    drop(others);
    admin.query_drop("SET GLOBAL max_connections = 100").await.unwrap();
    site.captured(&["meanwhile"]).await;
    admin.disconnect().await.unwrap();
    site.stop_capture().await;
    SERVERS.settle("max_connections is reached at the child", flavor, WAITS);
}

on_all!(
    a_trouble_with_the_account_is_told_and_waited_for,
    no_connection_left_is_told_and_waited_for,
);
