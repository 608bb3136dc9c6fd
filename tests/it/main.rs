//! Stories on real database servers: one module for each.

mod apply;
mod capture;
mod cli;
mod decode;
mod map;
mod nodes;
mod servers;
mod support;
mod way;
