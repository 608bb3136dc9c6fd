//! The `headwater` program: arguments, configuration, one subcommand, an exit code.

fn main() {}
