//! Cuts a batch out of the spool, which is read a few megabytes at a time.

use super::{Client, Ended};
use crate::change::Sequence;
use crate::spool::Segment;
use crate::transport::batch::Batch;
use crate::transport::content::Room;
use crate::transport::cut::{Cut, CutError, Cutter, Taken};

/// Compressed bytes of segments read from the spool at a time.
const READ_BYTES: u64 = 4 << 20;

impl Client {
    pub(super) async fn cut(&self, cut: Cut) -> Result<Option<Batch>, Ended> {
        let room = Room {
            directory: self.options.data_dir.clone(),
            memory_bytes_max: self.options.memory_bytes_max,
        };
        let mut cutter = Cutter::new(cut, room.empty()).map_err(CutError::from)?;
        let mut place = Place { after: cut.from, part: 0 };
        let bytes_max = cut.raw_bytes_max.min(READ_BYTES);
        loop {
            let next = place.after.next();
            let segments = if place.part == 0 {
                self.spool.segments(place.after, bytes_max).await?
            } else {
                self.spool.segments_from(next, place.part, bytes_max).await?
            };
            let Some(last) = segments.last() else { break };
            place = Place::after(last);
            let taken;
            (cutter, taken) = take(cutter, segments).await?;
            if taken == Taken::Full || (place.part == 0 && place.after >= self.spool.head()) {
                break;
            }
        }
        let finished = tokio::task::spawn_blocking(move || cutter.finish()).await;
        let finished = finished.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        Ok(finished.map_err(CutError::from)?)
    }
}

/// Where reading the spool goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    after: Sequence,
    part: u32,
}

impl Place {
    fn after(segment: &Segment) -> Place {
        if segment.complete {
            Place { after: segment.last, part: 0 }
        } else {
            let before = Sequence(segment.first.0.saturating_sub(1));
            Place { after: before, part: segment.part.saturating_add(1) }
        }
    }
}

/// Takes segments on a thread that may block: it decodes, compresses and writes.
async fn take(mut cutter: Cutter, segments: Vec<Segment>) -> Result<(Cutter, Taken), Ended> {
    let work = tokio::task::spawn_blocking(move || {
        let taken = cutter.take_all(&segments)?;
        Ok((cutter, taken))
    });
    let taken: Result<_, CutError> =
        work.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()));
    Ok(taken?)
}
