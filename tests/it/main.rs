//! Tests against real servers.

mod apply;
