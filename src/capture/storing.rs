//! What has been gathered, on its way to the store while the log is read on.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Error;
use super::assembly::Cut;
use super::resume::Began;
use super::state::Doing;
use super::teller::Teller;
use crate::clock::{Timestamp, sleep};
use crate::position::Position;
use crate::spool::{self, Append, IndexChange, Next, Segment};

/// How often a store that had no room is tried again.
const ROOM_RETRY: Duration = Duration::from_secs(2);

/// What is handed over at once.
#[derive(Debug)]
pub(super) struct HandOver {
    /// Segments of whole transactions, then parts of the one that is open.
    pub(super) cuts: Vec<Cut>,
    /// The end of the last whole transaction, if the store [`moves`] to it.
    pub(super) position: Option<Position>,
    /// When that was committed; `None` if nothing has been read to its end.
    pub(super) read_to: Option<Timestamp>,
    /// The definitions at the position, where they are not as before.
    pub(super) tables: Option<String>,
    /// What whole transactions did to the index.
    /// What is known of XA transactions at that position, where it is not as before.
    pub(super) note: Option<(&'static str, Vec<u8>)>,
    pub(super) index: Vec<IndexChange>,
    /// Of the open transaction, if parts of it are here or in the store: what it did to the index.
    pub(super) open: Option<Vec<IndexChange>>,
    /// The log files whose beginnings are to be remembered, where they are not as before.
    pub(super) began: Option<Began>,
}

/// Whether the position moves with what is handed over: whole transactions move it, and so does what
/// they did to the index. Parts of an open transaction do not, and nothing moves for nothing while
/// there are some in the store.
pub(super) fn moves(cuts: &[Cut], index: &[IndexChange], open: Option<&[IndexChange]>) -> bool {
    open.is_none() || !index.is_empty() || cuts.iter().any(Cut::is_complete)
}

impl HandOver {
    /// Whole transactions go with the position, and with what they did to the index. Parts of a
    /// transaction still open come after, alone.
    fn appends(self) -> Vec<Append> {
        let ended = self.cuts.iter().rposition(Cut::is_complete).map_or(0, |last| last + 1);
        let mut segments: Vec<Segment> = self.cuts.into_iter().map(Cut::compress).collect();
        let parts = segments.split_off(ended);
        let (read_to, tables, note, index) = (self.read_to, self.tables, self.note, self.index);
        let move_to =
            |position| Append { segments, position: Some(position), read_to, tables, note, index };
        let whole = self.position.map(move_to);
        let open = self.open.map(|index| Append { segments: parts, index, ..Append::default() });
        whole.into_iter().chain(open).collect()
    }
}

/// What is being written.
pub(super) struct Storing {
    task: JoinHandle<Result<(), spool::Error>>,
    position: Option<Position>,
}

impl Storing {
    /// Starts to write.
    pub(super) fn start(teller: Teller, work: HandOver) -> Storing {
        let position = work.position.clone();
        Storing { task: tokio::spawn(write(teller, work)), position }
    }

    /// Waits until it is written, and gives the position that capture has come to; never ends while
    /// nothing is being written.
    pub(super) async fn done(storing: &mut Option<Storing>) -> Result<Option<Position>, Error> {
        let Some(Storing { task, position }) = storing else {
            return std::future::pending().await;
        };
        let result = task.await;
        let position = position.take();
        *storing = None;
        match result {
            Ok(result) => result.map(|()| position).map_err(Error::from),
            Err(_) => Err(Error::Spool(spool::Error::Closed)),
        }
    }
}

/// One thing that is written.
enum Part {
    Began(Began),
    Append(Arc<Append>),
}

async fn write(teller: Teller, mut work: HandOver) -> Result<(), spool::Error> {
    // First, so that it is known before a position in the file is.
    let began = work.began.take().map(Part::Began);
    let appends = work.appends().into_iter().map(|append| Part::Append(Arc::new(append)));
    for part in began.into_iter().chain(appends) {
        with_room(&teller, &part).await?;
    }
    Ok(())
}

/// Writes; when the store has no room, waits until it has. The log keeps what is not read meanwhile.
async fn with_room(teller: &Teller, part: &Part) -> Result<(), spool::Error> {
    let mut waits = false;
    loop {
        let written = match part {
            Part::Began(began) => began.store(&teller.spool).await,
            Part::Append(append) => teller.spool.append(Arc::clone(append)).await,
        };
        match written {
            Err(error) if error.next() == Next::Wait => {
                if !waits {
                    tracing::warn!(%error, "capture waits for room in the store");
                    teller.doing(Doing::Retrying(error.to_string())).await;
                    waits = true;
                }
                sleep(ROOM_RETRY).await;
            }
            result => {
                if waits && result.is_ok() {
                    tracing::info!("there is room in the store again, and capture goes on");
                    teller.doing(Doing::Following).await;
                }
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::assembly::Assembly;
    use crate::change::{Change, Identity, Kind, Sequence, Shape};
    use crate::clock::Timestamp;
    use crate::position::ServerIdentity;
    use crate::value::Value;

    fn handed_over(cuts: Vec<Cut>, index: usize, open: Option<usize>) -> Vec<Append> {
        let changes = |count| vec![IndexChange::Remove { table: "person".into(), local: 1 }; count];
        let server = ServerIdentity::Mysql { server_uuid: "a".to_owned() };
        let position = Position { server, file: "b.1".to_owned(), offset: 9, gtids: None };
        let open = open.map(changes);
        let index = changes(index);
        let position = moves(&cuts, &index, open.as_deref()).then_some(position);
        let (read_to, tables, note, began) = (None, None, None, None);
        HandOver { cuts, position, read_to, tables, note, index, open, began }.appends()
    }

    /// Segments of so many whole transactions, and a part of the open one.
    fn cuts(whole: u32, part: bool) -> Vec<Cut> {
        let mut assembly = Assembly::new(Sequence(0));
        let change = Change {
            shape: Arc::new(Shape { table: "note".into(), columns: vec!["text".into()] }),
            kind: Kind::Insert,
            identity: Identity::One(Value::Int(1)),
            previous: None,
            values: vec![Value::Null],
            base: None,
        };
        for _ in 0..whole {
            assembly.change(&change).unwrap();
            assembly.commit(Timestamp(1), None);
        }
        if part {
            assembly.change(&change).unwrap();
            assembly.cut_open().unwrap();
        }
        assembly.take().unwrap()
    }

    /// Of each append: its segments, its index changes, and whether it moves the position.
    fn told(appends: &[Append]) -> Vec<(usize, usize, bool)> {
        let one = |append: &Append| {
            (append.segments.len(), append.index.len(), append.position.is_some())
        };
        appends.iter().map(one).collect()
    }

    #[test]
    fn what_whole_transactions_did_goes_with_them() {
        assert_eq!(told(&handed_over(cuts(2, false), 3, None)), [(1, 3, true)]);
        assert_eq!(told(&handed_over(cuts(0, false), 0, None)), [(0, 0, true)]);
        assert_eq!(told(&handed_over(cuts(2, true), 3, Some(4))), [(1, 3, true), (1, 4, false)]);
        assert_eq!(told(&handed_over(cuts(0, true), 3, Some(4))), [(0, 3, true), (1, 4, false)]);
    }

    #[test]
    fn nothing_moves_while_parts_of_a_transaction_are_in_the_store() {
        assert_eq!(told(&handed_over(cuts(0, true), 0, Some(4))), [(1, 4, false)]);
        assert_eq!(told(&handed_over(cuts(0, false), 0, Some(4))), [(0, 4, false)]);
        assert_eq!(told(&handed_over(cuts(0, false), 0, Some(0))), [(0, 0, false)]);
    }
}
