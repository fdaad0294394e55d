//! A connection whose peer does not take its answer is closed: one that stops reading, and one that reads so slowly that
//! the answer would stay in memory for long.
//!
//! hyper limits the time of reading headers, and `api::body` that of reading a body. Writing is what is left. Time is
//! counted in windows that begin when a write must wait: within each, a part of the answer must be taken, or all of it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A slower reader is cut off, one window after its first full buffer.
pub const RATE_MIN_BYTES_PER_S: f64 = 32.0 * 1024.0;

pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// TCP or unix: one call through a table is nothing beside a system call.
pub type Stream = Box<dyn Connection>;

pub struct StallGuard<S> {
    stream: S,
    time_max: Duration,
    window: Option<Window>,
}

/// Since a write had to wait.
struct Window {
    end: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StallGuard<S> {
    pub fn new(stream: S, time_max: Duration) -> Self {
        Self { stream, time_max, window: None }
    }

    fn guard<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> Taken,
    ) -> Poll<io::Result<T>> {
        let time_max = self.time_max;
        match written(Pin::new(&mut self.stream), cx) {
            Poll::Ready(Ok(done)) => {
                match (bytes(&done), &mut self.window) {
                    (Taken::All, _) => self.window = None,
                    (Taken::Bytes(bytes), Some(window)) => {
                        window.taken += bytes;
                        if window.taken as f64 >= RATE_MIN_BYTES_PER_S * time_max.as_secs_f64() {
                            self.window = None;
                        }
                    }
                    (Taken::Bytes(_), None) => {}
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // A window that has begun goes on: progress alone does not end it.
            Poll::Pending => {
                let begin = || Window { end: Box::pin(sleep(time_max)), taken: 0 };
                let window = self.window.get_or_insert_with(begin);
                window.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

enum Taken {
    Bytes(usize),
    /// hyper flushes when it has nothing more to write.
    All,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.guard(cx, |stream, cx| stream.poll_write(cx, data), |bytes| Taken::Bytes(*bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.guard(cx, |stream, cx| stream.poll_write_vectored(cx, data), |bytes| Taken::Bytes(*bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(cx, |stream, cx| stream.poll_flush(cx), |()| Taken::All)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(cx, |stream, cx| stream.poll_shutdown(cx), |()| Taken::All)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    /// Writes `bytes` through a buffer of `step` bytes to a reader that empties it every `pause`, or never.
    fn write_to_reader(bytes: usize, step: usize, pause: Option<Duration>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (near, mut far): (DuplexStream, DuplexStream) = tokio::io::duplex(step);
            let mut guarded = StallGuard::new(near, WINDOW);
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; step];
                let Some(pause) = pause else { return std::future::pending().await };
                while far.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                    tokio::time::sleep(pause).await;
                }
            });
            let mut result = guarded.write_all(&vec![0; bytes]).await;
            if result.is_ok() {
                result = guarded.flush().await;
            }
            reading.abort();
            result
        })
    }

    const fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn one_that_stops_is_cut_off() {
        assert_eq!(write_to_reader(128, 64, None).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn one_that_drips_is_cut_off_though_each_write_goes_on() {
        assert_eq!(write_to_reader(64 << 10, 64, ms(10)).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn one_that_takes_enough_is_not_however_long_the_answer() {
        let started = std::time::Instant::now();
        write_to_reader(8 << 20, 64 << 10, ms(20)).unwrap();
        assert!(started.elapsed() > WINDOW);
    }

    #[test]
    fn one_that_takes_a_small_answer_within_the_window_is_not() {
        write_to_reader(300, 64, ms(50)).unwrap();
    }
}
