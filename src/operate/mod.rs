//! What a running node shows: figures for Prometheus, and whether it is healthy; and what a look
//! from outside tells, beside a running node or without one.

mod nameless;
mod serve;
mod state;
mod target;

pub(crate) use nameless::NAMELESS;

pub use nameless::Nameless;
pub use serve::{ServeError, count, serve};
pub use state::{CaptureState, LinkState, NodeState, SpoolState, StateError};
