//! The tables of OpenMRS 2.8.

use anyhow::Result;
use mysql_async::prelude::Queryable as _;

use crate::server::Server;

/// All 117 core tables, for either server. Written by `scripts/openmrs-schema`.
pub const SCHEMA: &str = include_str!("../openmrs/schema-2.8.sql");

/// Makes the database and the tables in it.
pub async fn create(server: &Server, database: &str) -> Result<()> {
    let mut conn = server.conn("").await?;
    create_with(&mut conn, database).await?;
    conn.disconnect().await?;
    Ok(())
}

/// The same through a connection; what is there stays.
pub async fn create_with(conn: &mut mysql_async::Conn, database: &str) -> Result<()> {
    conn.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    ))
    .await?;
    conn.query_drop(format!("USE `{database}`")).await?;
    conn.query_drop(SCHEMA).await?;
    Ok(())
}
