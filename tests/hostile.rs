//! Feeds every parser of bytes from outside what the fuzzers found: their corpora, and every input
//! that once broke something (`fuzz/corpus/`, `fuzz/broke/`). CONTRIBUTING.md says how to find more.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::wildcard_imports,
    reason = "a target fails by panicking, and what surrounds its checks is test code too"
)]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use targets::{TARGETS, check};

/// No input may take longer. Most take a few microseconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory is measured for the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The names in a folder, but for hidden ones; none if there is no such folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("UTF-8"))
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Feeds a file to a target.
fn replay(target: &'static str, file: &Path) {
    feed(target, &file.display().to_string(), fs::read(file).expect("a readable file"));
}

/// Feeds bytes to a target, on a thread with the stack that the product's threads have.
fn feed(target: &'static str, name: &str, bytes: Vec<u8>) {
    let (done, wait) = mpsc::sync_channel(1);
    let run = std::thread::spawn(move || {
        check(target, &bytes);
        done.send(()).expect("somebody waits");
    });
    match wait.recv_timeout(PATIENCE) {
        Ok(()) => run.join().expect("it has ended"),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            panic!("{name} is still read after {PATIENCE:?}")
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            panic!("{name} breaks `{target}`: see above")
        }
    }
}

#[test]
fn nothing_that_was_ever_found_breaks_a_parser() {
    let _alone = alone();
    for target in &TARGETS {
        let corpus = folder("corpus").join(target.name);
        let found = names(&corpus);
        assert!(!found.is_empty(), "{} is empty: run `make fuzz-keep`", corpus.display());
        let broke = folder("broke").join(target.name);
        let files = found.iter().map(|name| corpus.join(name));
        for file in files.chain(names(&broke).iter().map(|name| broke.join(name))) {
            replay(target.name, &file);
        }
    }
}

/// The fuzzers' inputs are short. Here are long ones: those that were found, one behind the other in any
/// order, and some of their bytes changed.
#[test]
fn what_is_longer_than_any_fuzzed_input_breaks_no_parser() {
    const LENGTHS: [usize; 4] = [10_000, 66_000, 100_000, 200_000];
    let _alone = alone();
    let seed = headwater_rig::edge::seed().expect("a seed");
    let mut random = StdRng::seed_from_u64(seed);
    for target in &TARGETS {
        let corpus = folder("corpus").join(target.name);
        let found: Vec<Vec<u8>> = names(&corpus)
            .iter()
            .map(|name| fs::read(corpus.join(name)).expect("a readable file"))
            .filter(|bytes| !bytes.is_empty())
            .collect();
        for (number, length) in LENGTHS.iter().cycle().take(12).enumerate() {
            let mut bytes = Vec::new();
            while bytes.len() < *length {
                bytes.extend(&found[random.random_range(0..found.len())]);
            }
            // The first as they were found, so that the beginning is sound.
            for _ in 0..number {
                let place = random.random_range(0..bytes.len());
                bytes[place] = random.random();
            }
            feed(target.name, &format!("input {number} of HEADWATER_SEED={seed}"), bytes);
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_nothing_is_left_over() {
    let _alone = alone();
    let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(known.len(), TARGETS.len(), "two targets of the same name");
    let fuzzers = names(&folder("fuzz_targets"));
    assert_eq!(fuzzers, known.iter().map(|name| format!("{name}.rs")).collect());
    assert_eq!(names(&folder("corpus")), known);
    assert!(names(&folder("broke")).is_subset(&known));
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("a readable file");
    for name in known {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let fuzzer = folder("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(fuzzer).expect("a readable file");
        assert!(text.contains(&format!("check(\"{name}\", bytes)")), "{name}");
    }
}

#[test]
fn short_inputs_of_all_kinds_break_nothing() {
    let _alone = alone();
    for target in &TARGETS {
        check(target.name, &[]);
        for first in 0..=255_u8 {
            for second in [0, 1, 0x7f, 0x80, 0xff] {
                check(target.name, &[first]);
                check(target.name, &[first, second]);
                check(target.name, &[&[first], [second; 64].as_slice()].concat());
            }
        }
    }
}

#[test]
#[should_panic(expected = "bytes of memory, more than")]
fn memory_beyond_the_limit_is_noticed() {
    let _alone = alone();
    let limit = targets::memory::Limit { fixed_kib: 4, per_byte: 1 };
    limit.hold(10, || drop(std::hint::black_box(vec![0_u8; 5000])));
}
