//! The command line: one file per subcommand.
pub mod invite;
pub mod join;
pub mod revoke;
