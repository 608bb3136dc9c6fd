//! Two ends of a link over real TLS on the loopback, with a target in memory, and a proxy between
//! them that cuts, freezes and moves.

mod batches;
mod clock;
mod ends;
mod links;
mod memory;
mod proxy;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use clock::shared;
use ends::{Child, Parent};
use proxy::Proxy;

use super::batch::Batch;
use super::client::ClientOptions;
use super::codec::Codec;
use super::credentials::joined;
use super::dial::{Connection, LinkError};
use super::server::ServerOptions;
use super::tls;
use super::wire::{PieceAnswer, PieceHeader, path};
use super::{SetAside, TargetError, Wanted};
use crate::change::{Change, Identity, Kind, NodeId, Sequence, Shape};
use crate::clock::Timestamp;
use crate::record::{End, SegmentWriter};
use crate::spool::{Append, Limits, Segment, Spool};
use crate::value::Value;

const MAP: &str = "00ff";

/// A transaction of one row with so many bytes of text that do not compress.
fn segment(sequence: u64, text_bytes: usize, origin: Option<NodeId>) -> Segment {
    let mut writer = SegmentWriter::new();
    let shape = Arc::new(Shape { table: "obs".into(), columns: vec!["comments".into()] });
    let mut random = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let text: String = (0..text_bytes)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            char::from(b'!' + (random % 90) as u8)
        })
        .collect();
    writer.begin(Sequence(sequence));
    writer.change(&Change {
        shape,
        kind: Kind::Insert,
        identity: Identity::One(Value::UInt(sequence)),
        previous: None,
        values: vec![Value::Text(text.into())],
        base: None,
    });
    writer.end(End {
        sequence: Sequence(sequence),
        changes: 1,
        committed_at: Timestamp(5),
        origin,
    });
    let raw = writer.finish();
    Segment {
        first: Sequence(sequence),
        last: Sequence(sequence),
        part: 0,
        complete: true,
        changes: 1,
        raw_bytes: raw.len() as u64,
        committed_at: Timestamp(5),
        compressed: lz4_flex::block::compress(&raw),
    }
}

/// Appends `count` transactions to a spool.
async fn capture(spool: &Spool, count: u64, text_bytes: usize) {
    let head = spool.head().0;
    let segments = (head + 1..=head + count).map(|n| segment(n, text_bytes, None)).collect();
    spool.append(Append { segments, ..Append::default() }).await.unwrap();
}

/// Sends part of a batch.
async fn send(
    connection: &mut Connection,
    batch: &Batch,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<PieceAnswer, LinkError> {
    let mut piece = postcard::to_stdvec(&PieceHeader { key: batch.key, offset }).unwrap();
    piece.extend_from_slice(&bytes);
    connection.post(path::PIECE, piece.into(), "sending").await
}

async fn send_whole(connection: &mut Connection, batch: &Batch) -> Result<PieceAnswer, LinkError> {
    let bytes = batch.content.read_at(0, usize::MAX).unwrap();
    send(connection, batch, 0, bytes).await
}

fn through(answer: Result<PieceAnswer, LinkError>) -> u64 {
    match answer {
        Ok(PieceAnswer::Applied { through, .. }) => through.0,
        other => panic!("not applied: {other:?}"),
    }
}

/// Waits for something that has to come true.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..1500 {
        if is_so().await {
            return;
        }
        crate::clock::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not come true within 30 seconds: {what}");
}
