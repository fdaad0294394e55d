//! Closes a connection whose peer does not read its response, or reads it so slowly that it would stay in memory for
//! long.
//!
//! hyper limits the time to read headers, `http::body` the time to read a body; this module limits the time to write.
//! Time counts in windows. A window begins when a write must wait; within it the peer must read a part of the response,
//! or all of it.
//!
//! A connection whose request was rejected while its body arrives closes in two steps: the end of the response is sent,
//! and what the peer still sends is dropped for a short time. Closing at once would reset the connection, and a reset
//! discards a response that the peer has not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Minimum rate of a reader. A slower connection is closed one window after its first full buffer.
pub const RATE_MIN_BYTES_PER_S: f64 = 32.0 * 1024.0;

/// Time and bytes after the end of a response, while the peer still sends.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 8 << 20;
const LINGER_READ_BYTES: usize = 8 << 10;

/// A byte stream in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// TCP or unix. The cost of dynamic dispatch is small compared with a system call.
pub type Stream = Box<dyn Connection>;

/// A stream with a time limit on writes.
pub struct WriteTimeout<S> {
    stream: S,
    time_max: Duration,
    window: Option<Window>,
    /// Whether the peer may still send when the connection closes.
    lingers: Arc<AtomicBool>,
    lingering: Option<Lingering>,
}

/// The time since the end of the response, and the bytes that were dropped since.
struct Lingering {
    end: Pin<Box<Sleep>>,
    bytes: usize,
}

/// The time since a write had to wait.
struct Window {
    end: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WriteTimeout<S> {
    /// `time_max` is the length of a window. Before the connection closes, `lingers` is set if the peer may still send.
    pub fn new(stream: S, time_max: Duration, lingers: Arc<AtomicBool>) -> Self {
        Self { stream, time_max, window: None, lingers, lingering: None }
    }

    /// Drops what the peer sends until it closes its side, or a limit is reached.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begin = || Lingering { end: Box::pin(sleep(LINGER_TIME_MAX)), bytes: 0 };
        let lingering = self.lingering.get_or_insert_with(begin);
        let mut scratch = [0; LINGER_READ_BYTES];
        loop {
            if lingering.end.as_mut().poll(cx).is_ready() || lingering.bytes > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    lingering.bytes += buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn limit<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
        progress: impl FnOnce(&T) -> Written,
    ) -> Poll<io::Result<T>> {
        let time_max = self.time_max;
        match write(Pin::new(&mut self.stream), cx) {
            Poll::Ready(Ok(done)) => {
                match (progress(&done), &mut self.window) {
                    (Written::All, _) => self.window = None,
                    (Written::Bytes(bytes), Some(window)) => {
                        window.bytes += bytes;
                        if window.bytes as f64 >= RATE_MIN_BYTES_PER_S * time_max.as_secs_f64() {
                            self.window = None;
                        }
                    }
                    (Written::Bytes(_), None) => {}
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // An open window continues; progress alone does not close it.
            Poll::Pending => {
                let begin = || Window { end: Box::pin(sleep(time_max)), bytes: 0 };
                let window = self.window.get_or_insert_with(begin);
                window.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

enum Written {
    Bytes(usize),
    /// A flush succeeded. hyper flushes when it has nothing more to write.
    All,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.limit(cx, |stream, cx| stream.poll_write(cx, data), |bytes| Written::Bytes(*bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.limit(cx, |stream, cx| stream.poll_write_vectored(cx, data), |bytes| Written::Bytes(*bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.limit(cx, |stream, cx| stream.poll_flush(cx), |()| Written::All)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            std::task::ready!(self.limit(cx, |stream, cx| stream.poll_shutdown(cx), |()| Written::All))?;
            if !self.lingers.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        self.linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
