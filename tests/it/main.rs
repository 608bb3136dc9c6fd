//! Stories on real database servers: one module for each.

mod capture;
mod decode;
mod support;
