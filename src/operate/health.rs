//! Whether the database that a parent writes to can be reached, as `/healthz` tells it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::SharedClock;
use crate::database::connect::Options;

/// However often somebody asks, the database is not asked sooner than so long after the last time.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// A database that takes longer to answer is not there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A database, and what it answered last.
#[derive(Clone)]
pub(crate) struct Reach {
    options: Options,
    clock: SharedClock,
    last: Arc<Mutex<Option<Answer>>>,
}

struct Answer {
    at: Duration,
    reached: Result<(), String>,
}

impl Reach {
    pub(crate) fn new(options: Options, clock: SharedClock) -> Reach {
        Reach { options, clock, last: Arc::default() }
    }

    /// Whether it can be reached, or why not.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let asking = self.clone();
        // In a task of its own: who asked may hang up, and the next must not ask again at once.
        let asked = tokio::spawn(async move { asking.ask_now_and_then().await });
        asked.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn ask_now_and_then(&self) -> Result<(), String> {
        // Held while the database is asked, so that it is asked once for all who wait.
        let mut last = self.last.lock().await;
        let now = self.clock.monotonic();
        if let Some(answer) =
            last.as_ref().filter(|answer| now.saturating_sub(answer.at) < ASKED_EVERY)
        {
            return answer.reached.clone();
        }
        let reached = self.connect().await.map_err(|words| format!("the database: {words}"));
        *last = Some(Answer { at: self.clock.monotonic(), reached: reached.clone() });
        reached
    }

    /// On a connection of its own: those in use may well wait for somebody's locks, and an account
    /// that is not let in any more shows only here.
    async fn connect(&self) -> Result<(), String> {
        let connected = async {
            let connection = self.options.connect(&[]).await.map_err(|error| error.to_string())?;
            // Connecting runs a statement, so it has answered.
            connection.disconnect().await.ok();
            Ok(())
        };
        tokio::time::timeout(ANSWERS_WITHIN, connected).await.unwrap_or_else(|_elapsed| {
            let (address, seconds) = (self.options.address(), ANSWERS_WITHIN.as_secs());
            Err(format!("{address} does not answer within {seconds} s"))
        })
    }
}
