//! A clinic at work on a database, as a program: docker-compose and people who try headwater by hand
//! use it as the writer.

#![expect(clippy::print_stdout, reason = "a program says what it does on standard output")]

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use headwater_rig::{Clinic, edge, openmrs};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};
use rand::RngExt as _;

/// Does on a database what OpenMRS does in a clinic: registrations, visits, encounters, edits,
/// deletes.
#[derive(Debug, Parser)]
struct Arguments {
    /// The database, such as `mysql://root@127.0.0.1:3306/openmrs`
    #[arg(long)]
    url: String,
    /// The password, if it isn't in the URL
    #[arg(long)]
    password: Option<String>,
    /// Transactions per second; as fast as it goes unless given
    #[arg(long)]
    rate: Option<f64>,
    /// Stop after so many row changes; never unless given
    #[arg(long)]
    rows: Option<u64>,
    /// The seed of the work; random unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Make the database, the tables and the common metadata if they are missing
    #[arg(long)]
    create: bool,
    /// Only do what --create does
    #[arg(long)]
    only_create: bool,
    /// What local ids start from, so that nodes differ in them
    #[arg(long, default_value_t = 0)]
    seed_offset: u32,
    /// Wait so many seconds for the database to come up
    #[arg(long, default_value_t = 120)]
    wait: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let opts = Opts::from_url(&arguments.url).context("that is no database URL")?;
    let database = opts.db_name().context("the URL names no database")?.to_owned();
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let mut conn = wait_for(&arguments, &opts).await?;
    if arguments.create || arguments.only_create {
        create(&mut conn, &database, arguments.seed_offset).await?;
    }
    if arguments.only_create {
        conn.disconnect().await?;
        return Ok(());
    }
    println!("clinic: at work on {database}, seed {seed}");
    let mut clinic = Clinic::new(seed);
    let mut failures = 0;
    let start = tokio::time::Instant::now();
    loop {
        match shift(&mut clinic, &mut conn, &database, &arguments, start).await {
            Ok(()) => break,
            Err(error) if failures < 100 => {
                failures += 1;
                println!("clinic: {error:#}; going on");
                edge::sleep(Duration::from_secs(1)).await;
                conn = wait_for(&arguments, &opts).await?;
            }
            Err(error) => return Err(error),
        }
    }
    println!("clinic: {} row changes in {} transactions", clinic.rows(), clinic.transactions());
    conn.disconnect().await?;
    Ok(())
}

/// Works until the rows are done or the connection breaks.
async fn shift(
    clinic: &mut Clinic,
    conn: &mut Conn,
    database: &str,
    arguments: &Arguments,
    start: tokio::time::Instant,
) -> Result<()> {
    conn.query_drop(format!("USE `{database}`")).await?;
    let mut next = tokio::time::Instant::now();
    let mut told = clinic.rows();
    while arguments.rows.is_none_or(|rows| clinic.rows() < rows) {
        clinic.work(conn, 1).await?;
        if clinic.rows() >= told + 10_000 {
            told = clinic.rows();
            println!("clinic: {told} row changes after {} s", start.elapsed().as_secs());
        }
        if let Some(rate) = arguments.rate {
            next += Duration::from_secs_f64(1.0 / rate.max(0.001));
            let now = tokio::time::Instant::now();
            edge::sleep(next.saturating_duration_since(now)).await;
            next = next.max(now);
        }
    }
    Ok(())
}

/// A connection, as soon as the server takes one. The database itself may not exist yet.
async fn wait_for(arguments: &Arguments, opts: &Opts) -> Result<Conn> {
    let mut builder = OptsBuilder::from_opts(opts.clone())
        .db_name(None::<String>)
        .prefer_socket(false)
        .max_allowed_packet(Some(1_073_741_824));
    if let Some(password) = &arguments.password {
        builder = builder.pass(Some(password.clone()));
    }
    let mut last = None;
    for _ in 0..=arguments.wait {
        match Conn::new(builder.clone()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => last = Some(error),
        }
        edge::sleep(Duration::from_secs(1)).await;
    }
    match last {
        Some(error) => Err(error).context("the database did not come up"),
        None => bail!("the database did not come up"),
    }
}

async fn create(conn: &mut Conn, database: &str, seed_offset: u32) -> Result<()> {
    let tables: Option<u32> = conn
        .exec_first(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = ? AND table_name = 'concept'",
            (database,),
        )
        .await?;
    if tables == Some(0) {
        println!("clinic: making the OpenMRS tables in {database}");
        openmrs::create_with(conn, database).await?;
    }
    conn.query_drop(format!("USE `{database}`")).await?;
    let seeded: Option<u32> = conn.query_first("SELECT COUNT(*) FROM concept").await?;
    if seeded == Some(0) {
        println!("clinic: filling in the common metadata, ids from {seed_offset}");
        openmrs::seed_with(conn, seed_offset).await?;
    }
    Ok(())
}
