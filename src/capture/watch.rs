//! Whether the server sends what it writes. One whose log is begun anew goes on reading the file that
//! it deleted, and says at every heartbeat that there is nothing to send.

use super::place::Spot;

/// What was found when the server said that it had sent everything. Kept over connections.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How many events had been read when the log's end was not where the reader was.
    doubtful: Option<u64>,
    /// An end of the log that another connection did not reach either: not looked into again.
    looked_into: Option<Spot>,
}

impl Watch {
    /// The server says that it has sent everything: `events` so far, up to `here`, and its log ends at
    /// `end`. False if it sends another log than it writes.
    pub(super) fn sends_all(&mut self, end: Spot, here: &Spot, events: u64) -> bool {
        if end == *here || self.looked_into.as_ref() == Some(&end) {
            self.doubtful = None;
            return true;
        }
        // What was written after the server spoke is on its way: that is known the next time.
        if end > *here && self.doubtful != Some(events) {
            self.doubtful = Some(events);
            return true;
        }
        self.looked_into = Some(end);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(offset: u64) -> Spot {
        Spot::new("log.000001", offset)
    }

    #[test]
    fn a_log_that_ends_before_what_was_read_of_it_is_another() {
        let mut watch = Watch::default();
        assert!(watch.sends_all(spot(100), &spot(100), 7));
        assert!(!watch.sends_all(spot(50), &spot(100), 7));
        assert!(watch.sends_all(spot(50), &spot(100), 7), "once for each end");
    }

    #[test]
    fn a_log_that_is_not_sent_to_its_end_is_noticed_the_second_time() {
        let mut watch = Watch::default();
        assert!(watch.sends_all(spot(200), &spot(100), 7), "perhaps on its way");
        assert!(!watch.sends_all(spot(300), &spot(100), 7));
    }

    #[test]
    fn what_was_on_its_way_has_come() {
        let mut watch = Watch::default();
        assert!(watch.sends_all(spot(200), &spot(100), 7));
        assert!(watch.sends_all(spot(300), &spot(200), 9), "and more is");
        assert!(watch.sends_all(spot(300), &spot(300), 11));
        assert!(watch.sends_all(spot(400), &spot(300), 11));
    }
}
