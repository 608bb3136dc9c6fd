//! What is fed to each parser of bytes from outside, once for the fuzzers (`fuzz_targets/`) and for
//! the test that replays what they found (`tests/hostile.rs`).
//!
//! A target hands its bytes to the parser, uses what comes out, and panics where a promise is
//! broken: what is read and written again reads the same, text that is said to be JSON is JSON, and
//! so on. [`check`] adds the promise that all of them make: memory in proportion to the bytes.

#![allow(unreachable_pub, reason = "a library to the fuzzers, a module to the test")]

mod batch;
mod certificate;
mod compressed;
mod config;
mod event;
mod identity;
mod json;
mod log;
mod login;
pub mod memory;
mod position;
mod raw;
mod rows;
mod schema_map;
mod segment;
mod statement;
mod token;
mod value;
mod wire;

/// One parser, or a few that read the same bytes.
pub struct Target {
    /// The name of its fuzzer and of its corpus.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// The most memory it may take for so many bytes.
    pub memory: memory::Limit,
}

const fn target(name: &'static str, run: fn(&[u8]), memory: memory::Limit) -> Target {
    Target { name, run, memory }
}

/// All targets. The limits are those of the parsers, with room for what the target itself does:
/// reading a thing twice, and once more after writing it.
pub const TARGETS: [Target; 17] = [
    target("batch", batch::run, memory::Limit { fixed_kib: 1024, per_byte: 1024 }),
    target("certificate", certificate::run, memory::Limit { fixed_kib: 1024, per_byte: 256 }),
    target("compressed", compressed::run, memory::Limit { fixed_kib: 4096, per_byte: 1024 }),
    target("config", config::run, memory::Limit { fixed_kib: 1024, per_byte: 512 }),
    target("event", event::run, memory::Limit { fixed_kib: 2048, per_byte: 1024 }),
    target("identity", identity::run, memory::Limit { fixed_kib: 64, per_byte: 256 }),
    target("json", json::run, memory::Limit { fixed_kib: 64, per_byte: 128 }),
    target("log", log::run, memory::Limit { fixed_kib: 4096, per_byte: 1024 }),
    target("login", login::run, memory::Limit { fixed_kib: 4096, per_byte: 256 }),
    target("position", position::run, memory::Limit { fixed_kib: 64, per_byte: 256 }),
    target("rows", rows::run, memory::Limit { fixed_kib: 2048, per_byte: 1024 }),
    target("schema_map", schema_map::run, memory::Limit { fixed_kib: 1024, per_byte: 1024 }),
    target("segment", segment::run, memory::Limit { fixed_kib: 64, per_byte: 512 }),
    target("statement", statement::run, memory::Limit { fixed_kib: 64, per_byte: 64 }),
    target("token", token::run, memory::Limit { fixed_kib: 64, per_byte: 64 }),
    target("value", value::run, memory::Limit { fixed_kib: 256, per_byte: 2048 }),
    target("wire", wire::run, memory::Limit { fixed_kib: 64, per_byte: 512 }),
];

/// Feeds the named target; panics if it panics or takes more memory than it may.
pub fn check(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    target.memory.hold(bytes.len(), || (target.run)(bytes));
}
