//! The command line: one file per subcommand. Here the arguments meet the configuration, and
//! errors become one message and an exit code.

mod arguments;
mod compare;
mod doctor;
mod enrol;
mod grants;
mod init;
pub mod invite;
pub mod join;
pub mod map;
mod memory;
mod output;
pub mod revoke;
mod run;
mod set_aside;
mod status;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::apply::State;
use crate::config::{Config, ConfigError};
use arguments::{Arguments, Command, LogFormat};
pub(crate) use output::Output;

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well: exit code 0.
    Well,
    /// It found something, and said what: exit code 1.
    Found,
    /// A database did not answer, and it said the rest: exit code 3.
    Unanswered,
}

/// Why a command could not do its work; each kind has its exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was asked for is not possible as asked.
    #[error("{0}")]
    Usage(String),
    /// A database or the parent does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It was refused, or failed in another way.
    #[error("{0}")]
    Failed(String),
    /// Standard output was closed, or cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Usage(_) => 2,
            Error::Unreachable(_) => 3,
            Error::Failed(_) | Error::Output(_) => 4,
        }
    }
}

/// Runs the program: reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output with 0, wrong usage to standard error with 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(4) };
        }
    };
    match run(&arguments) {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Ok(Outcome::Unanswered) => ExitCode::from(3),
        // `headwater status | head -1` is no failure of ours.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let told = writeln!(std::io::stderr().lock(), "headwater: {error}");
            ExitCode::from(if told.is_ok() { error.exit_code() } else { 4 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    log(arguments)?;
    if matches!(arguments.command, Command::Run) {
        memory::limit();
    }
    // A second installation in one process is an error of no consequence: the provider is the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(command(&arguments.config, &arguments.command))
}

async fn command(path: &Path, command: &Command) -> Result<Outcome, Error> {
    let out = &mut Output::stdout();
    if let Command::Init(init) = command {
        return init::run(path, init, out);
    }
    let config = Config::load(path)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match command {
        Command::Init(_) => Ok(Outcome::Well),
        Command::Run => run::run(config).await,
        Command::Grants(grants) => grants::run(&config, grants, out).await,
        Command::Doctor(arguments) => doctor::run(&config, arguments, out).await,
        Command::Compare(arguments) => compare::run(&config, arguments, out).await,
        Command::Status(arguments) => status::run(&config, arguments, out).await,
        Command::Map { command } => {
            let Config { database, .. } = &config;
            let done = map::run(command, &database.options, &database.maps, out.writer()).await;
            Ok(if done.map_err(mapped)? { Outcome::Well } else { Outcome::Found })
        }
        Command::Invite { name } => enrol::invite(&config, name, out),
        Command::Join { token } => enrol::join(&config, token, out).await,
        Command::Revoke { name } => enrol::revoke(&config, name, out),
        Command::Parked { command } => set_aside::run(&config, State::Parked, command, out).await,
        Command::Quarantine { command } => {
            set_aside::run(&config, State::Quarantined, command, out).await
        }
    }
}

fn mapped(error: map::MapError) -> Error {
    match error {
        map::MapError::Map(error) => Error::Usage(error.to_string()),
        map::MapError::Config(error) => Error::Config(error),
        map::MapError::Database(error) => asked(&error),
        map::MapError::Output(error) => Error::Output(error),
    }
}

/// Sorts what a database server said by the exit code it means.
fn asked(error: &crate::database::Error) -> Error {
    if error.is_transient() {
        Error::Unreachable(error.to_string())
    } else {
        Error::Failed(error.to_string())
    }
}

/// Logs go to standard error, so that standard output is only what was asked for.
fn log(arguments: &Arguments) -> Result<(), Error> {
    use tracing_subscriber::EnvFilter;
    let default = match (arguments.verbose, &arguments.command) {
        (0, Command::Run) | (1, _) => "info",
        (0, _) => "warn",
        (2, _) => "info,headwater=debug",
        (_, _) => "debug,headwater=trace",
    };
    let wanted = crate::config::log_filter();
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default)).map_err(|error| {
        Error::Usage(format!(
            "{} is not understood: {error}\n  remedy: write it like info,headwater::capture=debug",
            crate::config::LOG_VARIABLE
        ))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
