//! What the two ends of a link say to each other; the first byte chooses what it is read as.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use headwater::change::Sequence;
use headwater::transport::offers::Offers;
use headwater::transport::session::{self, Log};
use headwater::transport::wire::{
    Hello, JoinAnswer, JoinRequest, PieceAnswer, PieceHeader, Refusal, RowList, Welcome,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn run(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 9 {
        0 => drop(said::<JoinRequest>(rest)),
        1 => drop(said::<JoinAnswer>(rest)),
        2 => drop(said::<Hello>(rest)),
        3 => said::<Welcome>(rest).iter().for_each(welcome),
        4 => said::<PieceAnswer>(rest).into_iter().for_each(answer),
        5 => drop(said::<Refusal>(rest)),
        6 => said::<RowList>(rest).iter().for_each(wanted),
        7 => list_of(rest),
        _ => piece(rest),
    }
}

/// Read, written and read again, it is the same.
fn said<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let said: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&said).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("as before"), written);
    Some(said)
}

fn welcome(welcome: &Welcome) {
    let hello = Hello {
        versions: vec![1],
        node: welcome.node,
        name: String::new(),
        epoch: welcome.epoch,
        map: welcome.map.clone(),
        clock: welcome.clock,
        patience_seconds: 30,
    };
    let log = Log {
        head: Sequence(1000),
        released: Sequence(10),
        acknowledged: Sequence(20),
        offered: Offers::read(&900_u64.to_le_bytes()),
    };
    if let Ok(start) = session::start(&log, &hello, welcome) {
        assert_eq!(start.cursor, welcome.watermark);
        assert!(start.cursor >= log.released && start.cursor <= log.head);
        if let Some(unfinished) = start.resume {
            assert!(unfinished.held <= unfinished.key.bytes);
        }
    }
    wanted(&welcome.wanted);
}

fn answer(answer: PieceAnswer) {
    if let PieceAnswer::Applied { wanted: list, .. } = &answer {
        wanted(list);
    }
    let key = headwater::transport::batch::BatchKey {
        from: Sequence(20),
        through: Sequence(30),
        bytes: 1000,
        checksum: [1; 8],
    };
    match session::next(&key, answer) {
        session::Next::Send { offset } => assert!(offset <= key.bytes),
        session::Next::Done { .. } | session::Next::HelloAgain => {}
    }
}

fn wanted(list: &RowList) {
    let Some(rows) = list.rows() else { return };
    assert_eq!(RowList::new(&rows).rows(), Some(rows));
}

/// A list whose base64 is right.
fn list_of(bytes: &[u8]) {
    let text = serde_json::to_vec(&STANDARD_NO_PAD.encode(bytes)).expect("a string");
    said::<RowList>(&text).iter().for_each(wanted);
}

fn piece(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let Ok((header, piece)) = PieceHeader::split(&body) else { return };
    assert!(header.offset + piece.len() as u64 <= header.key.bytes);
    let mut again = postcard::to_stdvec(&header).expect("a header");
    again.extend_from_slice(&piece);
    let (header_again, piece_again) = PieceHeader::split(&again.into()).expect("the same piece");
    assert_eq!((header, piece), (header_again, piece_again));
}
