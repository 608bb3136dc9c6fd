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

use crate::server::Server;

/// All 117 core tables, for either server. Written by `scripts/openmrs-schema`.
pub const SCHEMA: &str = include_str!("../../openmrs/schema-2.8.sql");

/// Makes the database and the empty tables in it.
pub async fn create(server: &Server, database: &str) -> Result<()> {
    let mut conn = server.conn("").await?;
    create_with(&mut conn, database).await?;
    conn.disconnect().await?;
    Ok(())
}

/// The same through a connection, which is then in that database.
pub async fn create_with(conn: &mut Conn, database: &str) -> Result<()> {
    conn.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{database}` \
         CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    ))
    .await?;
    conn.query_drop(format!("USE `{database}`")).await?;
    conn.query_drop(SCHEMA).await.context("cannot make the OpenMRS tables")?;
    Ok(())
}
