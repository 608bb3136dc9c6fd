//! What a running node shows: figures for Prometheus, and whether it is healthy; and what a look
//! from outside tells, beside a running node or without one.

mod serve;
mod state;

pub use serve::{ServeError, count, serve};
pub use state::{CaptureState, LinkState, NodeState, SpoolState, StateError};
