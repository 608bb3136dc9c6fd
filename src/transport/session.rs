//! The child's side of the conversation as decisions without I/O: what a welcome means for the
//! cursor, and what to send next. [`super::client`] performs them.

use super::batch::BatchKey;
use super::offers::Offers;
use super::wire::{Hello, PROTOCOL_VERSIONS, PieceAnswer, Refusal, RowList, Unfinished, Welcome};
use super::{SetAside, Watermark};
use crate::change::Sequence;

/// What the child knows of its own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The last transaction captured.
    pub head: Sequence,
    /// The last transaction released: what is above it can still be sent.
    pub released: Sequence,
    /// What the parent has acknowledged, as far as this end remembers.
    pub acknowledged: Sequence,
    /// What was ever offered to the parent, as far as this end remembers.
    pub offered: Offers,
}

/// How the link goes on after a welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Batches start after this transaction.
    pub cursor: Sequence,
    /// What this end's memory of acknowledgements has to become.
    pub acknowledged: Acknowledged,
    /// The batch that the parent holds a part of and that can be gone on with.
    pub resume: Option<Unfinished>,
}

/// What a welcome says about acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// What was known.
    Same,
    /// An acknowledgement was lost on its way, or came by another one.
    Forward,
    /// The parent has forgotten: it was restored from a backup.
    Back,
}

/// Why the link cannot go on until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The parent forgot more than this end still has.
    #[error(
        "the parent has applied only through transaction {watermark}, although it had acknowledged {acknowledged}: it was restored from a backup older than this node's grace period, and transactions through {released} are released here; compare the two databases and copy what is missing"
    )]
    Forgotten {
        /// What the parent has.
        watermark: Sequence,
        /// What it had acknowledged.
        acknowledged: Sequence,
        /// What is gone here.
        released: Sequence,
    },
    /// The parent has more than this end ever made.
    #[error(
        "the parent has applied transactions through {watermark} of this node, but this node has sent them only through {sent}: its data_dir is an older copy (restored, or cloned); start with an empty data_dir and join again with a new invitation"
    )]
    Ahead {
        /// What the parent has.
        watermark: Sequence,
        /// What was sent, as far as is known here.
        sent: Sequence,
    },
    /// The parent has what this end never made.
    #[error(
        "the parent has applied transactions through {watermark} of this node from a batch that was not made here: another machine uses a copy of this data_dir; stop one of the two, start it with an empty data_dir and a new invitation, and compare the databases"
    )]
    Copied {
        /// What the parent has.
        watermark: Sequence,
    },
    /// The parent speaks a version that was not offered.
    #[error(
        "the parent chose version {0} of the conversation, which this headwater does not speak: update the older one of the two"
    )]
    Version(u16),
    /// The maps differ, and the parent did not mind; this end does.
    #[error(
        "the schema maps differ (here {here}, at the parent {there}): put the same map files on both ends"
    )]
    Map {
        /// Digest here.
        here: String,
        /// Digest there.
        there: String,
    },
}

/// What a welcome means.
pub fn start(log: &Log, hello: &Hello, welcome: &Welcome) -> Result<Start, Stop> {
    if !PROTOCOL_VERSIONS.contains(&welcome.version) {
        return Err(Stop::Version(welcome.version));
    }
    if hello.map != welcome.map {
        return Err(Stop::Map { here: hello.map.clone(), there: welcome.map.clone() });
    }
    let watermark = welcome.watermark;
    // A store that was restored from a backup numbers its transactions again, so a head above the
    // watermark proves nothing: what counts is how far this store remembers to have sent.
    let sent = log.head.min(log.offered.furthest().max(log.acknowledged));
    if watermark > sent {
        return Err(Stop::Ahead { watermark, sent });
    }
    // Nor does a number that was offered: a clone of this machine counts the same way.
    let mark = Watermark { sequence: watermark, batch: welcome.batch };
    if watermark > log.acknowledged && !log.offered.explain(&mark) {
        return Err(Stop::Copied { watermark });
    }
    if watermark < log.released {
        let Log { released, acknowledged, .. } = *log;
        return Err(Stop::Forgotten { watermark, acknowledged, released });
    }
    let acknowledged = match watermark.cmp(&log.acknowledged) {
        std::cmp::Ordering::Less => Acknowledged::Back,
        std::cmp::Ordering::Equal => Acknowledged::Same,
        std::cmp::Ordering::Greater => Acknowledged::Forward,
    };
    let resume = welcome.unfinished.filter(|unfinished| {
        unfinished.key.from == watermark
            && unfinished.key.through > watermark
            && unfinished.key.through <= log.head
            && unfinished.held <= unfinished.key.bytes
    });
    Ok(Start { cursor: watermark, acknowledged, resume })
}

/// What follows the answer to a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send from this byte on; at the end of the batch, an empty piece.
    Send {
        /// The byte.
        offset: u64,
    },
    /// The batch is done.
    Done {
        /// What may be released.
        through: Sequence,
        /// Changes of it that the parent set aside.
        set_aside: SetAside,
        /// What is set aside there in all, if it said so.
        in_all: Option<SetAside>,
        /// Rows the parent lacks.
        wanted: RowList,
    },
    /// The two ends disagree about where they are: say hello again.
    HelloAgain,
}

/// What to do after an answer.
pub fn next(key: &BatchKey, answer: PieceAnswer) -> Next {
    match answer {
        PieceAnswer::Held { held } if held <= key.bytes => Next::Send { offset: held },
        PieceAnswer::Held { .. } => Next::HelloAgain,
        PieceAnswer::Applying => Next::Send { offset: key.bytes },
        PieceAnswer::Applied { through, parked, quarantined, in_all, wanted } => {
            // More than this batch is acknowledged only by a hello, which tells whose doing it was.
            if through == key.through {
                let set_aside = SetAside { parked, quarantined };
                Next::Done { through, set_aside, in_all, wanted }
            } else {
                Next::HelloAgain
            }
        }
    }
}

/// Whether a refusal of a piece only means that the two ends have to meet again.
pub fn hello_mends(refusal: &Refusal) -> bool {
    use super::wire::Code;
    matches!(refusal.code, Code::HelloFirst | Code::Gap | Code::Offset | Code::Checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Epoch, NodeId};
    use crate::clock::Timestamp;

    fn hello() -> Hello {
        Hello {
            versions: PROTOCOL_VERSIONS.to_vec(),
            node: NodeId(uuid::Uuid::nil()),
            name: "clinic".to_owned(),
            epoch: Epoch(uuid::Uuid::nil()),
            map: "aa".to_owned(),
            clock: Timestamp(0),
            patience_seconds: 30,
        }
    }

    fn welcome(watermark: u64) -> Welcome {
        Welcome {
            version: 1,
            node: NodeId(uuid::Uuid::nil()),
            name: "parent".to_owned(),
            epoch: Epoch(uuid::Uuid::nil()),
            map: "aa".to_owned(),
            clock: Timestamp(0),
            database: None,
            watermark: Sequence(watermark),
            batch: None,
            set_aside: SetAside::default(),
            unfinished: None,
            wanted: RowList::default(),
        }
    }

    fn key(from: u64, through: u64) -> BatchKey {
        BatchKey { from: Sequence(from), through: Sequence(through), bytes: 100, checksum: [0; 8] }
    }

    fn log() -> Log {
        let mut offered = Offers::default();
        offered.add(&key(30, 45), Sequence(30));
        offered.add(&key(30, 40), Sequence(30));
        let (head, released, acknowledged) = (Sequence(50), Sequence(10), Sequence(30));
        Log { head, released, acknowledged, offered }
    }

    fn meet(watermark: u64) -> Result<Start, Stop> {
        start(&log(), &hello(), &welcome(watermark))
    }

    #[test]
    fn the_parents_watermark_is_where_the_next_batch_starts() {
        let same = meet(30).unwrap();
        assert_eq!((same.cursor, same.acknowledged), (Sequence(30), Acknowledged::Same));
        let lost_ack = meet(40).unwrap();
        assert_eq!((lost_ack.cursor, lost_ack.acknowledged), (Sequence(40), Acknowledged::Forward));
    }

    #[test]
    fn a_restored_parent_is_sent_again_what_it_forgot_if_it_is_still_here() {
        let rewound = meet(10).unwrap();
        assert_eq!((rewound.cursor, rewound.acknowledged), (Sequence(10), Acknowledged::Back));
        assert!(matches!(meet(9), Err(Stop::Forgotten { .. })));
    }

    #[test]
    fn a_restored_child_is_told_so() {
        // The parent has what this store never sent, although its log has grown past it since.
        assert!(matches!(meet(46), Err(Stop::Ahead { .. })));
        assert!(meet(45).is_ok());
        let short = Log { head: Sequence(40), ..log() };
        assert!(matches!(start(&short, &hello(), &welcome(41)), Err(Stop::Ahead { .. })));
    }

    #[test]
    fn a_cloned_child_is_told_so() {
        let with = |watermark, checksum| {
            let batch = Some([checksum; 8]);
            start(&log(), &hello(), &Welcome { batch, ..welcome(watermark) })
        };
        assert!(with(45, 0).is_ok() && with(40, 0).is_ok());
        assert_eq!(with(45, 9), Err(Stop::Copied { watermark: Sequence(45) }));
        assert_eq!(with(41, 0), Err(Stop::Copied { watermark: Sequence(41) }));
        // What is acknowledged was checked before, and a restored parent has an older batch.
        assert!(with(30, 9).is_ok() && with(20, 9).is_ok());
    }

    #[test]
    fn maps_and_versions_have_to_agree() {
        let other_map = Welcome { map: "bb".to_owned(), ..welcome(30) };
        let words = start(&log(), &hello(), &other_map).unwrap_err().to_string();
        assert!(words.contains("aa") && words.contains("bb"), "{words}");
        let other_version = Welcome { version: 9, ..welcome(30) };
        assert_eq!(start(&log(), &hello(), &other_version), Err(Stop::Version(9)));
    }

    #[test]
    fn only_a_batch_that_starts_at_the_watermark_is_gone_on_with() {
        let with = |key, held| {
            let unfinished = Some(Unfinished { key, held });
            start(&log(), &hello(), &Welcome { unfinished, ..welcome(30) }).unwrap().resume
        };
        assert!(with(key(30, 40), 50).is_some());
        assert!(with(key(30, 40), 100).is_some());
        assert!(with(key(29, 40), 50).is_none());
        assert!(with(key(30, 51), 50).is_none());
        assert!(with(key(30, 30), 50).is_none());
        assert!(with(key(30, 40), 101).is_none());
    }

    #[test]
    fn every_answer_to_a_piece_has_its_consequence() {
        let key = key(30, 40);
        let applied = |through| PieceAnswer::Applied {
            through: Sequence(through),
            parked: 1,
            quarantined: 2,
            in_all: None,
            wanted: RowList::default(),
        };
        assert_eq!(next(&key, PieceAnswer::Held { held: 60 }), Next::Send { offset: 60 });
        assert_eq!(next(&key, PieceAnswer::Held { held: 101 }), Next::HelloAgain);
        assert_eq!(next(&key, PieceAnswer::Applying), Next::Send { offset: 100 });
        assert_eq!(next(&key, applied(39)), Next::HelloAgain);
        let set_aside = SetAside { parked: 1, quarantined: 2 };
        let Next::Done { set_aside: told, .. } = next(&key, applied(40)) else { panic!("done") };
        assert_eq!(told, set_aside);
        assert_eq!(next(&key, applied(45)), Next::HelloAgain);
    }
}
