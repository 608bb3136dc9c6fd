//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::map::MapCommand;
use crate::config::DEFAULT_PATH;

/// Keeps clinic databases in step with their parent over links and power that fail.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100, after_help = FIRST_STEPS)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(long, short, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// How the log on standard error is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// Log more: -v what happens, -vv each step. `HEADWATER_LOG` chooses by module
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

const FIRST_STEPS: &str = "\
First steps at a clinic:
  headwater init --child --name clinic-12    write a configuration, then edit it
  headwater grants                           what the database account must be allowed
  headwater doctor                           what is missing, and how to mend it
  headwater join TOKEN                       from the parent: headwater invite clinic-12
  headwater run

Exit codes: 0 well, 1 something was found (a difference, a failed check), 2 wrong usage or
configuration, 3 a database or the parent cannot be reached, 4 refused or failed otherwise.";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented configuration to start from, and make the data folder
    #[command(after_help = "Examples:
  headwater init --child --name clinic-12
  headwater --config centre.toml init --parent --name centre --data-dir /srv/headwater")]
    Init(Init),
    /// Check the database, the map, this machine and the parent; say how to mend what is wrong
    #[command(after_help = "Examples:
  headwater doctor
  headwater doctor --json | jq '.checks[] | select(.verdict != \"good\")'

Exits with 1 if something keeps changes from being captured or applied.")]
    Doctor(Json),
    /// Print the least rights the database account needs, as SQL
    #[command(after_help = "Examples:
  headwater grants                      to look at: without the password
  headwater grants | mysql -u root -p   the account has the password that is configured

For what this node does: a child reads the log and the tables, a parent writes rows.")]
    Grants(Grants),
    /// Capture, send, receive and apply, until SIGTERM
    #[command(after_help = "Examples:
  headwater run
  HEADWATER_LOG=info,headwater::capture=debug headwater --log-format json run")]
    Run,
    /// What is captured, what waits, who was heard when, and whether all is in step
    #[command(after_help = "Examples:
  headwater status
  headwater status --json | jq .in_step

Exits with 0 if all is in step and nothing set aside, with 1 if not, and with 3 if the database does
not answer.")]
    Status(Json),
    /// Write, check or explain a schema map
    Map {
        #[command(subcommand)]
        command: MapCommand,
    },
    /// Invite a child; the last line printed is its one-time token
    #[command(after_help = "Examples:
  headwater --config /etc/headwater/centre.toml invite clinic-12
  headwater invite clinic-12 | tail -n 1 > token")]
    Invite {
        /// The child's name, as in its configuration
        name: String,
    },
    /// Become a child of the parent that made the token
    #[command(after_help = "Example:
  headwater join \"$(cat token)\"

While headwater does not run here, which keeps the store for itself. A child that was let in before
joins again with the data_dir it has: nothing is sent twice.")]
    Join {
        /// What `headwater invite` printed
        token: String,
    },
    /// End a child's right to connect
    #[command(after_help = "Example:
  headwater revoke clinic-12

It is refused within a second, also while this node runs. To let it in again, or another
machine in its place: headwater invite clinic-12.")]
    Revoke {
        /// The child's name
        name: String,
    },
    /// Changes that wait for a row they refer to
    #[command(after_help = "Examples:
  headwater parked list
  headwater parked show 17
  headwater parked list --json | jq '.[].reason'")]
    Parked {
        #[command(subcommand)]
        command: SetAside,
    },
    /// Changes that failed and need a person
    #[command(after_help = "Examples:
  headwater quarantine list
  headwater quarantine show 17
  headwater quarantine retry 17      after its cause was mended")]
    Quarantine {
        #[command(subcommand)]
        command: SetAside,
    },
    /// Compare the mapped tables of two databases by identity and value
    #[command(after_help = "Examples:
  headwater --config clinic.toml compare --with centre.toml --subset
  headwater --config clinic.toml compare --with centre.toml --table obs --table encounter

Exits with 0 only if nothing differs. With --subset, rows that only the second database has are
counted, not held to be differences: a parent has rows of other clinics. Exits with 1 if something
differs or a mapped table cannot travel, and with 2 if neither has a mapped table.")]
    Compare(Compare),
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// A node with a parent (what is written unless --parent is said)
    #[arg(long)]
    pub(super) child: bool,
    /// A node with children; together with --child, a middle tier
    #[arg(long)]
    pub(super) parent: bool,
    /// The node's name; this machine's name if left out
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Where captured changes, keys and certificates are kept
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/headwater")]
    pub(super) data_dir: PathBuf,
    /// Write over a configuration that is there already
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Grants {
    /// The host part of the account, as the server sees where headwater comes from; if left out, how
    /// this machine reaches the server in the configuration
    #[arg(long)]
    pub(super) host: Option<String>,
    /// What a child and a parent need, whatever this node is
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SetAside {
    /// One line for each, the oldest 1000
    #[command(after_help = "Examples:
  headwater quarantine list
  headwater parked list --node clinic-12
  headwater parked list --json | jq length")]
    List(List),
    /// All about one: why it waits, and its values
    #[command(after_help = "Examples:
  headwater quarantine show 17
  headwater parked show 17 --json

Exits with 2 if nothing of that number waits.")]
    Show(One),
    /// Try it again
    #[command(after_help = "Example:
  headwater quarantine retry 17

Exits with 0 if it was applied, with 1 if it still cannot be, and with 2 if nothing of that number
waits.")]
    Retry(One),
    /// Give it up for good: the two ends then differ in that row
    #[command(after_help = "Examples:
  headwater quarantine discard 17
  headwater parked discard --node clinic-12     all of a child that was revoked

Of several of one row, discard the newest first: the others are tried again when the one before them
is gone. With --node, all go at once, and how many is printed; it is refused while that child is let
in, because its changes may still apply. A machine whose name another has taken since is named by its
id, which list shows. Exits with 2 if nothing of that number waits.")]
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only what came from this child: its name, or the id of its node
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Discard {
    /// The number that `list` shows
    #[arg(required_unless_present = "node", conflicts_with = "node")]
    pub(super) id: Option<u64>,
    /// All that came from this child, which is revoked: its name, or the id of its node
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The number that `list` shows
    pub(super) id: u64,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The configuration of the other node
    #[arg(long = "with", value_name = "FILE2")]
    pub(super) other: PathBuf,
    /// Rows that only the other database has are not differences
    #[arg(long)]
    pub(super) subset: bool,
    /// Only these tables
    #[arg(long = "table", value_name = "TABLE")]
    pub(super) tables: Vec<String>,
    /// How many differing rows of a table are described
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) show: usize,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}
