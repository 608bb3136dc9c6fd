//! The node's durable store: captured transactions until every link has acknowledged them, the
//! position capture resumes from, the identity index, the links and their cursors, and the pieces
//! of batches not yet whole. One SQLite file, written by one thread.
//!
//! Calls queue for that thread, which carries them out in the order they came in. Reading segments
//! and identities goes past it, through connections of their own. A call whose future is dropped
//! may still be carried out.
//!
//! An I/O error ends the use of the store: every later call returns the same [`Error::Failed`], and
//! the node ends the process with its words. A full disk is not one: see [`Error::next`].

mod beside;
mod elapsed;
mod error;
mod file;
mod incoming;
mod index;
mod link;
mod lock;
mod log;
mod peek;
mod reader;
mod room;
mod run;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod usage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::beside::Beside;
pub use self::error::{Error, Next};
pub use self::incoming::{IncomingKey, IncomingReader};
pub(crate) use self::index::IDENTITY_BYTES_MAX;
pub use self::index::IndexChange;
pub use self::link::{Contact, Direction, Link, State};
pub use self::log::Released;
pub use self::peek::Peek;
pub use self::reader::IndexReader;
pub use self::room::free_bytes;
pub use self::usage::{LinkUsage, Usage};

use self::reader::Readers;
use self::store::{Call, Failure, Store};
use crate::change::{Epoch, NodeId, Sequence};
use crate::clock::{SharedClock, Timestamp};
use crate::position::Position;

/// A run of whole transactions, or one part of a transaction too large for a single segment, as
/// the spool keeps it: encoded by [`crate::record::SegmentWriter`], then LZ4-compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The first transaction in it.
    pub first: Sequence,
    /// The last transaction in it; equal to `first` for a part.
    pub last: Sequence,
    /// 0, 1, ... for the parts of one transaction; 0 for a segment of whole transactions.
    pub part: u32,
    /// Whether the last transaction ends in this segment.
    pub complete: bool,
    /// How many changes it holds.
    pub changes: u64,
    /// The length of the raw segment.
    pub raw_bytes: u64,
    /// When the last transaction in it was committed at its source.
    pub committed_at: Timestamp,
    /// The raw segment, LZ4-compressed (`lz4_flex::block::compress`).
    pub compressed: Vec<u8>,
}

/// What capture writes in one store transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// What follows the log's present end. Either all of it ends at the end of a transaction, or
    /// it holds nothing but parts of one transaction that goes on.
    pub segments: Vec<Segment>,
    /// Where capture resumes after them: the end of a transaction. `None` leaves it where it is.
    pub position: Option<Position>,
    /// When what ends there was committed; `None` leaves that as it is, which is now at first.
    pub read_to: Option<Timestamp>,
    /// How the tables are defined at that position, where it is not as before.
    pub tables: Option<String>,
    /// What else is to be known at that position: a note's name and what it says from there on.
    pub note: Option<(&'static str, Vec<u8>)>,
    /// What happened to the identity index, in the order of the binary log. While the transaction
    /// is unfinished these are kept beside the index, and hold once it ends.
    pub index: Vec<IndexChange>,
}

/// The store's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes in the spool; capture waits when they are reached. The unit is bytes.
    pub spool_bytes_max: u64,
    /// Bytes that what is captured or received must leave free on the store's disk; it waits before
    /// there are fewer, so that what empties the store can still write.
    pub disk_free_bytes_min: u64,
    /// Calls that wait for the store's thread; further callers wait before theirs is queued.
    pub store_calls_max: usize,
    /// One piece of an incoming batch, which is held in memory, in bytes.
    pub piece_bytes_max: u64,
    /// One incoming batch, which is held on disk, in bytes.
    pub batch_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            spool_bytes_max: 16 << 30,
            disk_free_bytes_min: 0,
            store_calls_max: 64,
            piece_bytes_max: 8 << 20,
            batch_bytes_max: 4 << 30,
        }
    }
}

/// A handle on the store, cheap to clone. The store is closed when the last one is dropped, or by
/// [`Spool::close`], which waits for it.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    calls: mpsc::Sender<Call>,
    failure: Failure,
    head: watch::Receiver<Sequence>,
    /// Reads segments, beside the thread that writes.
    reader: Mutex<Connection>,
    readers: Arc<Readers>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    folder: PathBuf,
    node: NodeId,
    epoch: Epoch,
}

impl fmt::Debug for Spool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Spool({})", self.shared.folder.display())
    }
}

impl Spool {
    /// Takes the data folder for this process and opens its store; makes both if there are none.
    /// Refused while another process has the folder. Parts of a transaction whose end was never
    /// appended are removed: capture reads that transaction again.
    pub fn open(data_dir: &Path, clock: SharedClock, limits: Limits) -> Result<Spool, Error> {
        let failure: Failure = Arc::new(OnceLock::new());
        let (sender, calls) = mpsc::channel(limits.store_calls_max.max(1));
        let store = Store::open(data_dir, clock, limits, Arc::clone(&failure))?;
        let head = store.heads();
        let (node, epoch) = log::node(store.connection())?;
        let readers = store.readers();
        let reader = Mutex::new(file::open_reader(data_dir)?);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || store.serve(calls))
            .map_err(|error| Error::folder(data_dir, error))?;
        let shared = Shared {
            calls: sender,
            failure,
            head,
            reader,
            readers,
            thread: Mutex::new(Some(thread)),
            folder: data_dir.to_path_buf(),
            node,
            epoch,
        };
        Ok(Spool { shared: Arc::new(shared) })
    }

    /// Opens the store for reading only, beside the process that writes it or without one.
    pub fn peek(data_dir: &Path) -> Result<Peek, Error> {
        Peek::open(data_dir)
    }

    /// Carries out what is queued, closes the store and gives up the data folder. Returns when that
    /// is done; calls on other handles return [`Error::Closed`] from then on.
    pub async fn close(self) -> Result<(), Error> {
        // Past the guard: a store that has failed is closed too.
        let close: Call = Box::new(Store::close);
        // Refused only if the store has been closed already.
        let _queued = self.shared.calls.send(close).await;
        let thread = locked(&self.shared.thread).take();
        if let Some(thread) = thread {
            // The thread answers nobody any more; a panic in it has been printed.
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.shared.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// The node's id, made together with the store.
    pub fn node_id(&self) -> NodeId {
        self.shared.node
    }

    /// The epoch of this store.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The last whole transaction of the log.
    pub fn head(&self) -> Sequence {
        *self.shared.head.borrow()
    }

    /// Wakes whenever the log has grown by whole transactions.
    pub fn head_changes(&self) -> watch::Receiver<Sequence> {
        self.shared.head.clone()
    }

    /// Writes segments, index changes and position durably, all or nothing.
    pub async fn append(&self, append: impl Into<Arc<Append>>) -> Result<(), Error> {
        let append = append.into();
        self.call(move |store| store.append(&append)).await
    }

    /// Forgets the parts of the transaction that is unfinished, because capture will read it again
    /// from its start. Does nothing if there is none.
    pub async fn discard_unfinished(&self) -> Result<(), Error> {
        self.call(Store::discard_unfinished).await
    }

    /// Where capture resumes; `None` before it has started.
    pub async fn position(&self) -> Result<Option<Position>, Error> {
        self.call(|store| log::position(store.connection())).await
    }

    /// How the tables were defined at the position, as it was appended.
    pub async fn tables(&self) -> Result<Option<String>, Error> {
        self.call(|store| log::tables(store.connection())).await
    }

    /// Sets where capture resumes without appending anything: at its first start, or after a
    /// re-scan. `None` forgets it.
    pub async fn set_position(&self, position: Option<Position>) -> Result<(), Error> {
        self.call(move |store| store.set_position(position.as_ref())).await
    }

    /// What follows transaction `after`, in order: at least one segment if there is any, then as
    /// many as fit into `bytes_max` compressed bytes. Only transactions that are whole in the log
    /// are returned, but the last segment may be a part of one: go on with
    /// [`Spool::segments_from`]. The first may begin before `after` if `after` is inside it.
    pub async fn segments(&self, after: Sequence, bytes_max: u64) -> Result<Vec<Segment>, Error> {
        self.read(move |connection| log::read(connection, after, 0, bytes_max)).await
    }

    /// Like [`Spool::segments`], beginning with part `part` of transaction `first`.
    pub async fn segments_from(
        &self,
        first: Sequence,
        part: u32,
        bytes_max: u64,
    ) -> Result<Vec<Segment>, Error> {
        let after = Sequence(first.0.saturating_sub(1));
        self.read(move |connection| log::read(connection, after, part, bytes_max)).await
    }

    /// Deletes some of what every active link to a parent acknowledged longer than `grace` ago, in
    /// time that this node saw pass (of each time it was off, a day at most); nothing while there is none. Call again while [`Released::more`].
    pub async fn release(&self, grace: Duration) -> Result<Released, Error> {
        self.call(move |store| store.release(grace)).await
    }

    /// How full the spool is and how far each link has come.
    pub async fn usage(&self) -> Result<Usage, Error> {
        self.read(usage::usage).await
    }

    /// All links by name.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        self.call(|store| link::list(store.connection())).await
    }

    /// A link by name.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let name = name.to_owned();
        self.call(move |store| link::get(store.connection(), &name)).await
    }

    /// Writes a link, new or known. The cursors of a link already known stay where they are.
    pub async fn put_link(&self, link: Link) -> Result<(), Error> {
        self.call(move |store| store.put_link(&link)).await
    }

    /// Changes a link as one step that nothing comes between, such as using up an invitation. Name
    /// and cursors cannot be changed so. Returns what `change` returns; if it leaves the link as it
    /// was, nothing is written.
    pub async fn update_link<R: Send + 'static>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Link) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let name = name.to_owned();
        self.call(move |store| store.update_link(&name, change)).await
    }

    /// Forgets a link, its acknowledgements and what is held of its batch.
    pub async fn delete_link(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.call(move |store| store.delete_link(&name)).await
    }

    /// Notes that the other end of a link has applied everything through `through`. Never moves
    /// back.
    pub async fn acknowledge(&self, link: &str, through: Sequence) -> Result<(), Error> {
        let link = link.to_owned();
        self.call(move |store| store.acknowledge(&link, through)).await
    }

    /// Moves a link's cursor back to `to`: the other end has lost what it had acknowledged. Returns
    /// [`Error::Released`] if the spool no longer has what follows.
    pub async fn rewind(&self, link: &str, to: Sequence) -> Result<(), Error> {
        let link = link.to_owned();
        self.call(move |store| store.rewind(&link, to)).await
    }

    /// Writes down what was heard of the other end of a link.
    pub async fn contact(&self, link: &str, contact: Contact) -> Result<(), Error> {
        let link = link.to_owned();
        self.call(move |store| store.contact(&link, &contact)).await
    }

    /// Adds a piece to the batch under way from a link; how many bytes of it are held then. A piece
    /// at another offset is refused with [`Error::Offset`], which says how many are held. The first
    /// piece of another batch takes the place of what was held. A batch that arrives in one piece
    /// need not come this way.
    pub async fn incoming_put(
        &self,
        link: &str,
        key: IncomingKey,
        offset: u64,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<u64, Error> {
        let link = link.to_owned();
        self.call(move |store| store.incoming_put(&link, &key, offset, bytes.as_ref())).await
    }

    /// Whether so many bytes more may be put on the store's disk: [`Error::DiskLow`] if not.
    pub async fn disk_has_room(&self, bytes: u64) -> Result<(), Error> {
        self.call(move |store| store.disk_has_room(bytes)).await
    }

    /// The batch under way from a link, and how many bytes of it are held.
    pub async fn incoming_held(&self, link: &str) -> Result<Option<(IncomingKey, u64)>, Error> {
        let link = link.to_owned();
        self.call(move |store| incoming::held(store.connection(), &link)).await
    }

    /// Drops what is held of a link's batch.
    pub async fn incoming_clear(&self, link: &str) -> Result<(), Error> {
        let link = link.to_owned();
        self.call(move |store| store.incoming_clear(&link)).await
    }

    /// A reader of what is held of a link's batch, from its first byte, for a thread that may
    /// block. Each reader has a connection of its own.
    pub fn incoming_reader(&self, link: &str) -> Result<IncomingReader, Error> {
        IncomingReader::open(&self.shared.folder, link)
    }

    /// A reader of the identity index with a connection of its own, for the thread that captures.
    pub fn index_reader(&self) -> Result<IndexReader, Error> {
        IndexReader::open(&self.shared.folder, Some(Arc::clone(&self.shared.readers)))
    }

    /// How many rows of each table the identity index knows. Counts them, so not for every second.
    pub async fn index_counts(&self) -> Result<Vec<(crate::value::Name, u64)>, Error> {
        self.read(index::counts).await
    }

    /// Something small that must outlive the process, such as a digest, by name.
    pub async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let name = name.to_owned();
        self.call(move |store| note(store.connection(), &name)).await
    }

    /// Writes a note durably, in the place of one of the same name.
    pub async fn set_note(&self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let (name, value) = (name.to_owned(), value.into());
        self.call(move |store| store.set_note(&name, &value)).await
    }

    /// Writes a note that a power cut may take back.
    pub async fn set_note_soon(&self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let (name, value) = (name.to_owned(), value.into());
        self.call(move |store| store.set_note_soon(&name, &value)).await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |store| {
            // The caller may have gone; what it asked for is done all the same.
            let _unheard = reply.send(store.guarded(work));
        });
        if self.shared.calls.send(call).await.is_err() {
            return Err(self.ended());
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(failure) = self.shared.failure.get() {
            return Err(failure.clone());
        }
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let result = work(&locked(&shared.reader));
            if let Some(error) = result.as_ref().err().filter(|error| error.poisons()) {
                let _first = shared.failure.set(error.clone());
            }
            result
        });
        reading.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> Error {
        self.shared.failure.get().cloned().unwrap_or(Error::Closed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is inside is a connection or a handle: a panic elsewhere leaves neither half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(connection
        .prepare_cached("SELECT value FROM note WHERE name = ?1")?
        .query_row(params![name], |row| row.get(0))
        .optional()?)
}
