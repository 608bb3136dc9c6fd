//! Headwater on real servers: one module for each story, each told on every server that is there.

mod servers;
