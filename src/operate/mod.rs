//! What a running node shows: figures for Prometheus, and whether it is healthy; and what a look
//! from outside tells, beside a running node or without one.

mod health;
mod nameless;
mod serve;
mod state;
mod target;

pub(crate) use health::Reach;
pub(crate) use nameless::NAMELESS;

pub use nameless::Nameless;
pub use serve::{ServeError, serve};
pub use state::{CaptureState, LinkState, NodeState, SpoolState, StateError};
