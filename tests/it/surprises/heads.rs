//! Flipped bits in what a log file begins and ends with: the description of its format, the
//! transactions of the files before it, the rotation to the next. A server reads these itself to find
//! the place that it is asked for, so some of the damage is noticed by the server, in its own words;
//! and MySQL 5.6 may die of a wrong length, which overwrites its memory.

use std::fs;
use std::time::Duration;

use headwater::capture::Doing;
use headwater_rig::{Flavor, tail};
use tempfile::TempDir;

use super::damage::{At, HEADER, LogFile, Stage, WORK};
use super::{DATABASE, SURPRISES, differing, replayed, rows};
use crate::support::ledger::REFUSED;
use crate::support::{Capturing, on_all};

const FORMAT_DESCRIPTION: u8 = 15;
const ROTATE: u8 = 4;
/// `PREVIOUS_GTIDS`, `GTID_LIST`.
const BEFORE_IT: &[u8] = &[35, 163];
/// The flag that a server sets and clears without touching the checksum.
const IN_USE: u8 = 0x01;

const MORE: &str = "INSERT INTO note (uuid, text) VALUES ('a-3', 'in the next file')";

/// What came of a damage.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// All that was committed is captured.
    Exact,
    Refused(String),
    /// The server read it and was gone; the words say so.
    ServerGone(String),
    /// Neither: it waits, tries again, or captured something else.
    Neither(String),
}

/// Runs capture on a store like the stage's.
async fn came(stage: &Stage, before: &super::Rows, expected: &super::Rows) -> Came {
    let folder = TempDir::new().unwrap();
    for file in fs::read_dir(stage.folder.path()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let capturing = Capturing::start_only(stage.options(), &folder);
    let mut outcome = Came::Neither(String::new());
    for _ in 0..1200 {
        let doing = capturing.state.borrow().doing.clone();
        if let Doing::Stopped(words) = doing {
            outcome = Came::Refused(words);
            break;
        }
        let found = replayed(before.clone(), &capturing).await;
        if differing(&found, expected).is_empty() {
            outcome = Came::Exact;
            break;
        }
        if let Doing::Retrying(words) = &doing
            && words.contains("Is the server running")
        {
            outcome = Came::ServerGone(words.clone());
            break;
        }
        outcome = Came::Neither(format!("{doing:?}: {found:?}"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    capturing.stop().await;
    outcome
}

fn file_name(log: &LogFile) -> String {
    let place = log.place(log.events()[0]);
    place.split(':').next().unwrap().to_owned()
}

/// The bytes of an event to flip a bit of, with the bit.
fn places(at: At) -> Vec<(usize, u8)> {
    // The time, the type, the server, the size, the end, the flags.
    let mut places: Vec<(usize, u8)> =
        vec![(0, 0x40), (4, 0x40), (5, 0x40), (9, 0x40), (11, 0x40), (13, 0x40), (17, 0x40)];
    if at.kind == FORMAT_DESCRIPTION {
        // The log's version, the server's, when it began, the length of a header, lengths of what
        // begins QUERY, ROTATE, TABLE_MAP and rows, and which checksums there are.
        let lengths = HEADER + 57;
        let kinds = [2, 4, 19, 30].map(|kind| lengths + kind - 1);
        let others = [HEADER, HEADER + 2, HEADER + 4, HEADER + 52, HEADER + 56, at.size - 5];
        places.extend(others.into_iter().chain(kinds).map(|place| (place, 0x02)));
        places.push((17, IN_USE));
    } else {
        places.extend([(HEADER, 0x40), (HEADER + 8, 0x40), (at.size - 5, 0x02)]);
    }
    places.push((at.size - 1, 0x40));
    places
}

async fn a_flipped_bit_at_either_end_of_a_file_is_noticed_by_place(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    stage.closed(WORK).await;
    stage.server.sql_in(DATABASE, MORE).await.unwrap();
    stage.server.sql("FLUSH LOGS").await.unwrap();
    let files =
        [LogFile::closed_before(&stage.server, 2).await, LogFile::last_closed(&stage.server).await];
    let expected = rows(&stage.server).await.unwrap();
    let mut before = expected.clone();
    before.retain(|(_, uuid), _| !uuid.starts_with("a-"));
    assert_eq!(came(&stage, &before, &expected).await, Came::Exact, "nothing is damaged yet");
    let (mut wrong, mut read, mut refused, mut gone) = (Vec::new(), 0, 0, 0);
    for (number, log) in files.iter().enumerate() {
        assert!(log.checksums);
        let is_wanted = |at: &At| {
            at.kind == FORMAT_DESCRIPTION || BEFORE_IT.contains(&at.kind) || at.kind == ROTATE
        };
        for at in log.events().into_iter().filter(is_wanted) {
            for (place, bit) in places(at) {
                let mut damaged = log.clone();
                damaged.bytes[at.offset + place] ^= bit;
                damaged.write();
                let came = came(&stage, &before, &expected).await;
                println!("{flavor}: file {number}, type {}, byte {place}: {came:?}", at.kind);
                read += 1;
                refused += u32::from(matches!(came, Came::Refused(_)));
                let asked = tokio::time::timeout(Duration::from_secs(20), stage.server.sql("DO 1"));
                let is_gone = !matches!(asked.await, Ok(Ok(())));
                let told = match &came {
                    Came::Exact => true,
                    Came::ServerGone(_) => flavor == Flavor::Mysql56,
                    Came::Refused(words) => {
                        // What is in the way of a search by GTIDs is told without its file.
                        let stands = words.starts_with(&file_name(&files[0]));
                        let places = words.contains(&file_name(log))
                            || (stands
                                && words.contains(
                                    "its own log on from there, in this file or a later one",
                                ));
                        bit != IN_USE && places && words.contains("docs/operator.md")
                    }
                    // A server may hang while it dies.
                    Came::Neither(_) => is_gone && flavor == Flavor::Mysql56,
                };
                if is_gone {
                    println!("{}", tail(&stage.server.log(), 30));
                    gone += 1;
                    log.write();
                    stage.server.kill9();
                    stage.server.restart().await.unwrap();
                }
                if !told {
                    wrong.push(format!("file {number}, {at:?}, byte {place}: {came:?}"));
                }
            }
        }
        log.write();
    }
    assert!(wrong.is_empty(), "{flavor}: {wrong:#?}");
    println!("{flavor}: {read} flips, after {gone} of which the server was gone");
    assert!(gone == 0 || flavor == Flavor::Mysql56 && gone * 4 < read, "{gone} of {read}");
    // The others are in what neither the server nor a reader needs.
    assert!(refused * 2 > read, "{refused} of {read}");
    SURPRISES.settle("flipped bit in what a log file begins or ends with", flavor, REFUSED);
}

on_all!(a_flipped_bit_at_either_end_of_a_file_is_noticed_by_place);
