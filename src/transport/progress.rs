//! Bytes counted as they pass through a connection, so that a deadline can be on progress (no byte
//! for so long) rather than on the whole, which on a thin link may rightly take hours.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Clock, sleep};

/// How many bytes have passed, in both directions together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

/// Nothing has moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

impl Progress {
    /// The bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Waits for `work` for as long as bytes keep passing, and `patience` longer.
    pub async fn watch<F: Future>(
        &self,
        clock: &dyn Clock,
        patience: Duration,
        work: F,
    ) -> Result<F::Output, Stalled> {
        let mut work = pin!(work);
        let mut seen = self.bytes();
        let mut since = clock.monotonic();
        loop {
            tokio::select! {
                output = &mut work => return Ok(output),
                () = sleep(patience / 8) => {}
            }
            let bytes = self.bytes();
            let now = clock.monotonic();
            if bytes != seen {
                (seen, since) = (bytes, now);
            } else if now.saturating_sub(since) >= patience {
                return Err(Stalled);
            }
        }
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    progress: Progress,
}

impl<S> Counted<S> {
    /// Counts what passes through `inner`.
    pub fn new(inner: S, progress: Progress) -> Counted<S> {
        Counted { inner, progress }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(task, buffer);
        self.progress.add(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(task, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            self.progress.add(*count);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}
