//! The tables of OpenMRS 2.8 and what every such database starts with.

mod concepts;
mod metadata;
mod others;
mod seed;

use anyhow::{Context as _, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

pub use others::{OtherRows, other_patients};
pub use seed::{identity, seed, seed_with};

pub(crate) use metadata::{CONCEPTS, Concept};
pub(crate) use seed::concept_uuid;

use crate::flavor::Flavor;
use crate::server::Server;

/// All 117 core tables, for either server. Written by `scripts/openmrs-schema`.
pub const SCHEMA: &str = include_str!("../../openmrs/schema-2.8.sql");

/// Makes the database and the empty tables in it.
pub async fn create(server: &Server, database: &str) -> Result<()> {
    let mut conn = server.conn("").await?;
    if server.flavor() == Flavor::Mysql56 {
        // Its default row format has no room for keys of 255 four-byte characters.
        let schema = SCHEMA.replace("ENGINE=InnoDB", "ENGINE=InnoDB ROW_FORMAT=DYNAMIC");
        create_tables(&mut conn, database, &schema).await?;
    } else {
        create_with(&mut conn, database).await?;
    }
    conn.disconnect().await?;
    Ok(())
}

/// The same through a connection, which is then in that database.
pub async fn create_with(conn: &mut Conn, database: &str) -> Result<()> {
    create_tables(conn, database, SCHEMA).await
}

async fn create_tables(conn: &mut Conn, database: &str, schema: &str) -> Result<()> {
    conn.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{database}` \
         CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    ))
    .await?;
    conn.query_drop(format!("USE `{database}`")).await?;
    conn.query_drop(schema).await.context("cannot make the OpenMRS tables")?;
    Ok(())
}
