//! Reads the binary log of the node's database and turns committed row changes into segments.

pub mod decode;
