use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const WINDOW: Duration = Duration::from_secs(1);

/// Writes `bytes` through a buffer of `buffer` bytes to a reader that empties it every `pause`, or never. The clock
/// of the runtime is simulated. Returns the result and the simulated time.
fn write_to_reader(bytes: usize, buffer: usize, pause: Option<Duration>) -> (io::Result<()>, Duration) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let started = tokio::time::Instant::now();
        let (near, mut far): (DuplexStream, DuplexStream) = tokio::io::duplex(buffer);
        let mut limited = WriteTimeout::new(near, WINDOW, Arc::default());
        let reader = tokio::spawn(async move {
            let mut bytes = vec![0; buffer];
            let Some(pause) = pause else { return std::future::pending().await };
            while far.read(&mut bytes).await.is_ok_and(|bytes| bytes > 0) {
                sleep(pause).await;
            }
        });
        let mut result = limited.write_all(&vec![0; bytes]).await;
        if result.is_ok() {
            result = limited.flush().await;
        }
        reader.abort();
        (result, started.elapsed())
    })
}

const fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

#[test]
fn closes_a_connection_whose_reader_stops() {
    let (result, time) = write_to_reader(128, 64, None);
    assert_eq!((result.unwrap_err().kind(), time), (io::ErrorKind::TimedOut, WINDOW));
}

/// Shuts down a connection whose peer reads the end of the response, sends `bytes` and closes, or not. Returns the
/// simulated time.
fn shut_down(lingers: bool, bytes: usize, closes: bool) -> Duration {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let started = tokio::time::Instant::now();
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut limited = WriteTimeout::new(near, WINDOW, Arc::new(AtomicBool::new(lingers)));
        let peer = tokio::spawn(async move {
            let mut response = Vec::new();
            far.read_to_end(&mut response).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            let _ = far.write_all(&vec![0; bytes]).await;
            if !closes {
                std::future::pending::<()>().await;
            }
            response
        });
        limited.write_all(b"rejected").await.unwrap();
        limited.shutdown().await.unwrap();
        drop(limited);
        if closes {
            assert_eq!(peer.await.unwrap(), b"rejected");
        }
        started.elapsed()
    })
}

#[test]
fn reads_what_a_rejected_client_still_sends_for_a_limited_time() {
    assert_eq!(shut_down(true, 100 << 10, true).as_millis(), 100);
    assert_eq!(shut_down(true, 100, false), LINGER_TIME_MAX);
    assert_eq!(shut_down(true, 2 * LINGER_BYTES_MAX, false).as_millis(), 100);
    assert_eq!(shut_down(false, 0, false), Duration::ZERO);
}

#[test]
fn closes_a_connection_below_the_minimum_rate() {
    let (result, time) = write_to_reader(64 << 10, 64, ms(10));
    assert_eq!((result.unwrap_err().kind(), time), (io::ErrorKind::TimedOut, WINDOW));
}

#[test]
fn keeps_a_connection_above_the_minimum_rate_for_a_long_response() {
    let (result, time) = write_to_reader(8 << 20, 64 << 10, ms(20));
    assert!(result.is_ok() && time > WINDOW, "{result:?} {time:?}");
}

#[test]
fn keeps_a_connection_that_reads_a_small_response_within_the_window() {
    write_to_reader(300, 64, ms(50)).0.unwrap();
}
