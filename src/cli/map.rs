//! `headwater map generate`, `check` and `explain`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::config::{Config, ConfigError};
use crate::database;
use crate::database::connect::Options;
use crate::database::schema::LiveSchema;
use crate::database::server::Server;
use crate::schema_map::BoundMap;
use crate::schema_map::check::Report;
use crate::schema_map::explain::explain;
use crate::schema_map::file::{self, MapFile};
use crate::schema_map::fits::{self, End};
use crate::schema_map::generate::generate;

/// What can be done with schema maps.
#[derive(Debug, Clone, Subcommand)]
pub enum MapCommand {
    /// Propose a map for the database, with a comment on what could not be decided
    #[command(after_help = "Examples:
  headwater map generate > schema-maps/our-emr.toml
  headwater map generate --unmapped > schema-maps/our-modules.toml

Nothing is changed. Read the proposal, name it in [database] maps, then run headwater map check.")]
    Generate {
        /// Only the tables that the configured maps do not mention, such as those of modules
        #[arg(long)]
        unmapped: bool,
    },
    /// Hold the maps against the database and name every disagreement
    #[command(after_help = "Examples:
  headwater map check
  headwater map check --quick        without counting rows: for large tables and slow disks
  headwater --config clinic.toml map check --with centre.toml
                                     and whether the other end's columns hold what this one sends

Exits with 1 if a table that should travel cannot.")]
    Check {
        /// Do not look for missing and double identities in the rows
        #[arg(long)]
        quick: bool,
        /// The configuration of the other end, whose database can be reached from here
        #[arg(long = "with", value_name = "FILE2")]
        other: Option<PathBuf>,
    },
    /// Say in plain words what happens to a table and each of its columns
    #[command(after_help = "Examples:
  headwater map explain person_attribute
  headwater map explain users | grep 'does not travel'

Exits with 1 if no map mentions the table.")]
    Explain {
        /// The table
        table: String,
    },
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// A map cannot be used.
    #[error(transparent)]
    Map(#[from] file::Error),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The other end's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The answer cannot be printed.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs one command; `false` if something was found that a person must mend.
pub async fn run(
    command: &MapCommand,
    options: &Options,
    maps: &[PathBuf],
    out: &mut (dyn Write + Send),
) -> Result<bool, MapError> {
    // What is wrong with the files is told before the database is asked.
    let map = match command {
        MapCommand::Generate { unmapped: false } => MapFile::default(),
        MapCommand::Generate { unmapped: true }
        | MapCommand::Check { .. }
        | MapCommand::Explain { .. } => MapFile::load(maps)?,
    };
    let mut connection = options.connect(&[]).await?;
    let schema = LiveSchema::read(&mut connection, &options.database).await?;
    let good = match command {
        MapCommand::Generate { .. } => {
            write!(out, "{}", generate(&schema, &map))?;
            true
        }
        MapCommand::Explain { table } => {
            let bound = BoundMap::bind(&map, &schema);
            write!(out, "{}", explain(&map, &bound, &schema, table))?;
            bound.tables.contains_key(table.as_str()) || map.tables.contains_key(table.as_str())
        }
        MapCommand::Check { quick, other } => {
            let server = Server::read(&mut connection).await?;
            let bound = BoundMap::bind(&map, &schema);
            let mut report = Report::of(&map, &bound, &schema);
            if !quick {
                report.read_rows(&bound, &schema, &mut connection).await?;
            }
            let database = &options.database;
            writeln!(out, "Database {database} on {server} at {}:", options.address())?;
            if let Some(other) = other {
                let (there, theirs, their_server) = bound_at(other).await?;
                writeln!(out, "Held against {}, on {their_server}:", other.display())?;
                let here = end(&bound, &schema, &server);
                let there = end(&there, &theirs, &their_server);
                report.add_disagreements(fits::disagreements(here, there));
            }
            write!(out, "{report}")?;
            !report.is_fatal()
        }
    };
    // The answer is out; whether the server hears the farewell changes nothing.
    drop(connection.disconnect().await);
    Ok(good)
}

fn end<'a>(map: &'a BoundMap, schema: &'a LiveSchema, server: &Server) -> End<'a> {
    End { map, schema, flavor: server.flavor, version: server.version }
}

/// The map of another node held against its own database, and the server it is on.
async fn bound_at(configuration: &Path) -> Result<(BoundMap, LiveSchema, Server), MapError> {
    let config = Config::load(configuration)?;
    let map = MapFile::load(&config.database.maps)?;
    let options = &config.database.options;
    let mut connection = options.connect(&[]).await?;
    let schema = LiveSchema::read(&mut connection, &options.database).await?;
    let server = Server::read(&mut connection).await?;
    drop(connection.disconnect().await);
    Ok((BoundMap::bind(&map, &schema), schema, server))
}
