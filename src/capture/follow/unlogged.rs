//! Tables may be defined anew without the log (`sql_log_bin = 0`, a restored backup): once in each
//! connection, at the log's end, what is known of them is held against what they are.

use super::Follower;
use crate::capture::Error;
use crate::database::schema::LiveSchema;
use crate::position::Position;

/// How far the comparison has come.
#[derive(Debug)]
pub(super) enum Unchecked {
    /// Nothing has been asked yet.
    All,
    /// This is what the tables were like, before the log's end was looked at last.
    Against(Box<LiveSchema>),
}

impl Follower {
    /// Compares what is known of the tables with what they are, asked one time and compared a later
    /// one, when everything logged before the question has been read. `end` is the log's end now.
    pub(in crate::capture) async fn check_definitions(
        &mut self,
        end: &Position,
    ) -> Result<(), Error> {
        self.unchecked = match self.unchecked.take() {
            Some(Unchecked::All) => {
                Some(Unchecked::Against(Box::new(self.fetcher.schema().await?)))
            }
            Some(Unchecked::Against(live)) if self.place.spot().is_at_or_past(end) => {
                for table in self.definitions.doubt_unlike(&live) {
                    tracing::warn!(
                        %table,
                        "the table is not defined as the log says: it was changed without the log, \
                         and rows written since then may have been read wrongly; compare them with \
                         the parent's"
                    );
                    self.live = None;
                }
                None
            }
            waits => waits,
        };
        Ok(())
    }
}
