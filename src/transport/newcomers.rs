//! Connections that have not said hello yet. Anybody may open one, so they have a time, and make way
//! for others: whoever keeps a thousand of them open does not keep the children out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::sleep;

/// One connection until it has said hello.
#[derive(Debug, Default)]
pub(super) struct Newcomer {
    greeted: AtomicBool,
    leave: Notify,
}

impl Newcomer {
    /// A hello was accepted on this connection.
    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Release);
    }

    /// Whether one was.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted.load(Ordering::Acquire)
    }

    /// Returns when it has to leave: its time is over without a hello, or another needs its place.
    pub(super) async fn has_to_leave(&self, within: Duration) {
        tokio::select! {
            () = self.leave.notified() => return,
            () = sleep(within) => {}
        }
        if self.is_greeted() {
            std::future::pending::<()>().await;
        }
    }
}

/// Newcomers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Mutex<VecDeque<Weak<Newcomer>>>);

impl Newcomers {
    /// Takes one in. If there are more than `most` then, the oldest makes way.
    pub(super) fn enter(&self, newcomer: &Arc<Newcomer>, most: usize) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|other| other.upgrade().is_some_and(|other| !other.is_greeted()));
        queue.push_back(Arc::downgrade(newcomer));
        if queue.len() > most {
            dismiss_oldest(&mut queue);
        }
    }

    /// The oldest makes way, if there is one.
    pub(super) fn make_way(&self) {
        dismiss_oldest(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn dismiss_oldest(queue: &mut VecDeque<Weak<Newcomer>>) {
    while let Some(oldest) = queue.pop_front() {
        if let Some(oldest) = oldest.upgrade().filter(|oldest| !oldest.is_greeted()) {
            oldest.leave.notify_one();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    async fn leaves(newcomer: &Newcomer) -> bool {
        tokio::select! {
            biased;
            () = newcomer.has_to_leave(LONG) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_oldest_that_has_not_said_hello_makes_way() {
        let newcomers = Newcomers::default();
        let some: Vec<Arc<Newcomer>> = (0..4).map(|_| Arc::default()).collect();
        for one in &some {
            newcomers.enter(one, 10);
        }
        some[0].greet();
        newcomers.make_way();
        assert!(!leaves(&some[0]).await && leaves(&some[1]).await && !leaves(&some[2]).await);
        newcomers.enter(&Arc::default(), 3);
        assert!(!leaves(&some[2]).await, "a connection that has ended takes no place");
        let last = Arc::default();
        newcomers.enter(&last, 2);
        assert!(leaves(&some[2]).await && !leaves(&some[3]).await && !leaves(&last).await);
    }

    #[tokio::test]
    async fn only_a_hello_gives_time() {
        let (silent, child) = (Newcomer::default(), Newcomer::default());
        child.greet();
        silent.has_to_leave(Duration::ZERO).await;
        tokio::select! {
            () = child.has_to_leave(Duration::ZERO) => panic!("it was greeted"),
            () = sleep(Duration::from_millis(50)) => {}
        }
    }
}
