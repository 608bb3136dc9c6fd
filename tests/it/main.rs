//! Tests against real servers.

mod map;
