//! Where in the log the reader is: the file and a 64-bit offset, and what has been executed by
//! then. Only the end of a transaction is a position to resume from.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::Error;
use super::decode::Header;
use super::gtid::{DomainState, GtidSet};
use crate::position::{Position, ServerIdentity};

/// The event that opens every log file, and every dump.
const FORMAT_DESCRIPTION: u8 = 15;
/// Two places of one event that are further apart than this differ by what 32 bits do not say. No
/// event is half as large.
const WRAPPED_BYTES_MIN: u64 = 1 << 31;

/// A file and an offset in it, to name in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    file: Arc<str>,
    offset: u64,
}

/// Files are numbered with leading zeros, and with one more digit after the last of them.
impl Ord for Spot {
    fn cmp(&self, other: &Spot) -> Ordering {
        let key = |spot: &Spot| (spot.file.len(), Arc::clone(&spot.file), spot.offset);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Spot) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Spot {
    pub(super) fn new(file: &str, offset: u64) -> Spot {
        Spot { file: file.into(), offset }
    }

    /// Whether this is not before a position of the same server.
    pub(super) fn is_at_or_past(&self, position: &Position) -> bool {
        *self >= Spot { file: position.file.as_str().into(), offset: position.offset }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.offset)
    }
}

/// A reader's place in the log.
#[derive(Debug, Clone)]
pub(super) struct Place {
    server: ServerIdentity,
    file: Arc<str>,
    offset: u64,
    executed: Executed,
    /// The transaction begun and not yet committed.
    begun: Option<Begun>,
    /// The one before it, if the log goes on without its end.
    cut: Option<Begun>,
    /// Nothing has begun since the dump did: what comes is the head of the file, which stands before
    /// the place where capture resumes.
    resuming: bool,
}

#[derive(Debug, Clone)]
enum Executed {
    /// The server has no GTIDs, or had none where capture began.
    Unknown,
    Mysql(GtidSet),
    Mariadb(DomainState),
}

#[derive(Debug, Clone)]
pub(super) enum Begun {
    Mysql { source: uuid::Uuid, tag: String, number: u64 },
    Mariadb { domain: u32, server: u32, number: u64 },
}

impl Begun {
    /// Whether its number comes after that of another of the same origin.
    fn is_after(&self, other: &Begun) -> bool {
        match (self, other) {
            (
                Begun::Mysql { source, tag, number },
                Begun::Mysql { source: other, tag: other_tag, number: before },
            ) => (source, tag) == (other, other_tag) && number > before,
            (
                Begun::Mariadb { domain, server, number },
                Begun::Mariadb { domain: other, server: other_server, number: before },
            ) => (domain, server) == (other, other_server) && number > before,
            (Begun::Mysql { .. } | Begun::Mariadb { .. }, _) => false,
        }
    }
}

impl fmt::Display for Begun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Begun::Mysql { source, tag, number } if tag.is_empty() => {
                write!(out, "{source}:{number}")
            }
            Begun::Mysql { source, tag, number } => write!(out, "{source}:{tag}:{number}"),
            Begun::Mariadb { domain, server, number } => write!(out, "{domain}-{server}-{number}"),
        }
    }
}

impl Place {
    /// The place a dump starts at.
    pub(super) fn new(position: &Position) -> Result<Place, Error> {
        let executed = match (&position.server, &position.gtids) {
            (_, None) => Executed::Unknown,
            (ServerIdentity::Mysql { .. }, Some(gtids)) => Executed::Mysql(GtidSet::parse(gtids)?),
            (ServerIdentity::Mariadb { .. }, Some(gtids)) => {
                Executed::Mariadb(DomainState::parse(gtids)?)
            }
        };
        Ok(Place {
            server: position.server.clone(),
            file: position.file.as_str().into(),
            offset: position.offset,
            executed,
            begun: None,
            cut: None,
            resuming: true,
        })
    }

    /// An event of the log was read. Its own end is a 32-bit number, and missing inside of
    /// transactions on some servers; a dump by GTID leaves out what was asked not to be sent.
    pub(super) fn passed(&mut self, header: &Header) {
        // A dump that starts in the middle of a file repeats the file's first event, without an end.
        if header.is_artificial() || (header.kind == FORMAT_DESCRIPTION && header.end == 0) {
            return;
        }
        if header.end == 0 {
            self.offset = self.offset.saturating_add(u64::from(header.size));
            return;
        }
        if self.resuming {
            self.offset = self.offset.max(u64::from(header.end));
            return;
        }
        let high = self.offset & !u64::from(u32::MAX);
        let end = high | u64::from(header.end);
        // A little before what is known is no new round of the 32 bits: a busy server says where its
        // log ends and what it has executed as of two moments, and sends by GTIDs what lies between.
        let wrapped = self.offset.saturating_sub(end) > WRAPPED_BYTES_MIN;
        self.offset = if wrapped { end.saturating_add(1 << 32) } else { end };
    }

    /// The log goes on in another file, or is read on in the same.
    pub(super) fn rotated(&mut self, file: &str, offset: u64) {
        self.resuming = *file == *self.file;
        if self.resuming {
            // Said when a dump begins. What it sends by GTIDs stands after what has been read.
            self.offset = self.offset.max(offset);
        } else {
            self.file = file.into();
            self.offset = offset;
        }
    }

    /// A transaction begins, with a GTID if it has one. Tells the one before it that was cut off and
    /// committed all the same: what was not committed leaves its number to the next.
    pub(super) fn begin(&mut self, begun: Option<Begun>) -> Option<Begun> {
        let cut = self.cut.take();
        let committed = cut.filter(|cut| begun.as_ref().is_some_and(|begun| begun.is_after(cut)));
        self.begun = begun;
        self.resuming = false;
        committed
    }

    /// The log goes on without the end of the transaction begun last: it does not count as executed.
    pub(super) fn cut_off(&mut self) {
        self.cut = self.begun.take();
    }

    /// The transaction begun last is over, committed or not: it will not be sent again.
    pub(super) fn done(&mut self) {
        match (self.begun.take(), &mut self.executed) {
            (Some(Begun::Mysql { source, tag, number }), Executed::Mysql(executed)) => {
                executed.add(source, &tag, number);
            }
            (Some(Begun::Mariadb { domain, server, number }), Executed::Mariadb(executed)) => {
                executed.reached(domain, server, number);
            }
            (Some(Begun::Mariadb { domain, server, number }), Executed::Unknown) => {
                // A server whose log was empty when capture began has its first transaction now.
                let mut executed = DomainState::default();
                executed.reached(domain, server, number);
                self.executed = Executed::Mariadb(executed);
            }
            (Some(_) | None, _) => {}
        }
    }

    /// Where what is read next stands.
    pub(super) fn spot(&self) -> Spot {
        Spot { file: Arc::clone(&self.file), offset: self.offset }
    }

    /// The file being read.
    pub(super) fn file(&self) -> String {
        self.file.to_string()
    }

    /// The position after what was read last.
    pub(super) fn position(&self) -> Position {
        self.position_at(&self.spot())
    }

    /// The position at a spot after which no transaction has been done.
    pub(super) fn position_at(&self, spot: &Spot) -> Position {
        Position {
            server: self.server.clone(),
            file: spot.file.to_string(),
            offset: spot.offset,
            gtids: match &self.executed {
                Executed::Unknown => None,
                Executed::Mysql(executed) => Some(executed.to_string()),
                Executed::Mariadb(executed) => Some(executed.to_string()),
            },
        }
    }
}

/// The position as capture itself writes it: the same file and offset, and what has been executed
/// in its shortest form. An error if it is none that a dump can start from.
pub fn canonical(position: &Position) -> Result<Position, Error> {
    Ok(Place::new(position)?.position())
}

/// The places (`file:offset`) that lie before a position in the same server's log.
pub(super) fn passed<'p>(
    places: &'p [String],
    position: &Position,
) -> impl Iterator<Item = &'p String> {
    places.iter().filter(|place| {
        let parts = place.rsplit_once(':');
        let spot = parts.and_then(|(file, at)| Some(Spot::new(file, at.parse().ok()?)));
        spot.is_some_and(|spot| !spot.is_at_or_past(position))
    })
}

/// Whether capture that stands at `position` has read everything up to `end`, a later look at the
/// end of the same server's log.
pub fn reaches(position: &Position, end: &Position) -> bool {
    if position.server != end.server {
        return false;
    }
    if let (ServerIdentity::Mysql { .. }, Some(read), Some(executed)) =
        (&end.server, &position.gtids, &end.gtids)
        && let (Ok(read), Ok(executed)) = (GtidSet::parse(read), GtidSet::parse(executed))
    {
        return read.contains_all(&executed);
    }
    Spot::new(&position.file, position.offset).is_at_or_past(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Place {
        Place::new(&Position {
            server: ServerIdentity::Mariadb { server_id: 1, domain_id: 0 },
            file: "log.000001".to_owned(),
            offset: 4,
            gtids: None,
        })
        .unwrap()
    }

    fn header(size: u32, end: u32, flags: u16) -> Header {
        Header { timestamp_seconds: 0, kind: 2, server_id: 1, size, end, flags }
    }

    #[test]
    fn the_offset_goes_on_past_four_gibibytes() {
        let mut place = start();
        place.begin(None);
        place.passed(&header(100, u32::MAX - 10, 0));
        place.passed(&header(100, 89, 0));
        assert_eq!(place.position().offset, (1 << 32) + 89);
        // Resumed there by GTIDs, the server sends the head of the file, then what comes next.
        let mut place = Place::new(&place.position()).unwrap();
        place.rotated("log.000001", 4);
        place.passed(&header(122, 126, 0));
        assert_eq!(place.position().offset, (1 << 32) + 89);
        place.begin(None);
        place.passed(&header(100, 189, 0));
        assert_eq!(place.position().offset, (1 << 32) + 189);
    }

    #[test]
    fn a_transaction_before_the_first_position_that_was_not_executed_by_then_is_no_wrap() {
        let mut place = Place::new(&Position { offset: 10_000, ..start().position() }).unwrap();
        place.rotated("log.000001", 4);
        place.passed(&header(122, 126, 0));
        place.begin(None);
        place.passed(&header(100, 9_000, 0));
        assert_eq!(place.position().offset, 9_000);
        place.passed(&header(2_000, 11_000, 0));
        assert_eq!(place.position().offset, 11_000);
    }

    #[test]
    fn the_millionth_file_comes_after_those_before_it() {
        let mut place = start();
        place.rotated("log.1000000", 4);
        let before = Position { file: "log.999999".to_owned(), offset: 99, ..place.position() };
        assert!(place.spot().is_at_or_past(&before));
        assert!(!start().spot().is_at_or_past(&before));
        let here = place.position();
        assert!(place.spot().is_at_or_past(&here));
        assert!(reaches(&here, &before) && reaches(&here, &here) && !reaches(&before, &here));
    }

    #[test]
    fn a_place_is_passed_when_capture_stands_behind_it() {
        let places = ["log.000001:3", "log.000001:4", "log.000002:4", "log.000001", "log.000001:x"];
        let places = places.map(ToOwned::to_owned);
        let here = start().position();
        assert_eq!(passed(&places, &here).collect::<Vec<_>>(), ["log.000001:3"]);
        let later = Position { file: "log.000002".to_owned(), ..here };
        let before: Vec<_> = passed(&places, &later).collect();
        assert_eq!(before, ["log.000001:3", "log.000001:4"]);
    }

    #[test]
    fn an_event_without_an_end_counts_by_its_size() {
        let mut place = start();
        place.passed(&header(100, 0, 0));
        place.passed(&header(50, 0, 0));
        assert_eq!(place.position().offset, 154);
    }

    #[test]
    fn an_artificial_event_is_not_in_the_log() {
        let mut place = start();
        place.passed(&header(100, 0, 0x20));
        assert_eq!(place.position().offset, 4);
    }

    #[test]
    fn the_first_event_of_the_file_repeated_in_its_middle_is_not_passed_again() {
        let mut place = start();
        place.passed(&header(100, 5_000, 0));
        place.passed(&Header { kind: FORMAT_DESCRIPTION, ..header(122, 0, 0) });
        place.passed(&header(79, 5_079, 0));
        assert_eq!(place.position().offset, 5_079);
    }

    #[test]
    fn a_number_that_is_given_again_has_not_been_executed_before() {
        let begun = |number| Some(Begun::Mariadb { domain: 0, server: 1, number });
        let mut place = start();
        place.begin(begun(7));
        place.done();
        place.begin(begun(8));
        place.cut_off();
        assert_eq!(place.position().gtids.as_deref(), Some("0-1-7"));
        assert!(place.begin(begun(8)).is_none());
        assert_eq!(place.position().gtids.as_deref(), Some("0-1-7"));
        place.done();
        assert_eq!(place.position().gtids.as_deref(), Some("0-1-8"));
        // One whose number is not given again was committed.
        place.begin(begun(9));
        place.cut_off();
        let committed = place.begin(begun(10)).map(|cut| cut.to_string());
        assert_eq!(committed.as_deref(), Some("0-1-9"));
        // Of another origin, it says nothing.
        place.cut_off();
        assert!(place.begin(Some(Begun::Mariadb { domain: 1, server: 1, number: 11 })).is_none());
    }

    #[test]
    fn the_first_gtid_after_an_empty_log_is_where_to_resume() {
        let mut place = start();
        place.begin(Some(Begun::Mariadb { domain: 0, server: 1, number: 7 }));
        assert_eq!(place.position().gtids, None);
        place.done();
        assert_eq!(place.position().gtids.as_deref(), Some("0-1-7"));
    }
}
