//! Stories on real database servers: one module for each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::zombie_processes,
    reason = "a story fails by panicking, and what surrounds its tests is test code too"
)]

mod altered;
mod apply;
mod capture;
mod cli;
mod complaints;
mod decode;
mod definitions;
mod doctor;
mod dump;
mod identities;
mod map;
mod nodes;
mod redefined;
mod servers;
mod servers_fail;
mod standing;
mod support;
mod surprises;
mod types;
mod undone;
mod way;
mod wire;
