//! The `headwater` program: arguments, configuration, one subcommand, an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::cli::main()
}
