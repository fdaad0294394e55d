//! What a thousand timed-out requests leave behind: nothing. One test in a program of its own, so that every thread of
//! the process is counted and none is another test's.

mod fake_model;
mod http_client;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake_model::{Fake, address, serve, wait_until};
use http_client::{check_error, embed, embed_within, get};
use inferd::serve::Drained;

fn threads_of_this_process() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// The number that stays the same for a while: threads start and end beside the calls that ask for it.
fn settled_threads() -> usize {
    loop {
        let threads = threads_of_this_process();
        let same = |_| {
            std::thread::sleep(Duration::from_millis(10));
            threads_of_this_process() == threads
        };
        if (0..10).all(same) {
            return threads;
        }
    }
}

#[test]
fn a_thousand_timed_out_requests_leave_nothing_behind() {
    let before = settled_threads();
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    embed_within(at, 1, "{\"input\":\"warm\"}");
    let threads = settled_threads();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || {
                for _ in 0..50 {
                    check_error(&embed_within(at, 5, "{\"input\":[\"a b\",\"c\"]}"), 504, "timeout");
                }
            });
        }
    });
    wait_until("permits are back", || server.requests_held() == 0);
    assert!(model.stopped.load(Ordering::SeqCst) > 0);
    wait_until("no thread is left", || threads_of_this_process() == threads);
    let page = get(at, "/metrics").text();
    for line in ["inferd_requests_held 0", "inferd_bytes_held 0", "inferd_queue_requests 0"] {
        assert!(page.lines().any(|l| l == line), "`{line}` is missing in:\n{page}");
    }
    model.blocked.store(false, Ordering::SeqCst);
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
    assert_eq!(server.requests_held(), 0);
    assert_eq!(threads_of_this_process(), threads);
    assert_eq!(server.drain(Duration::from_secs(5)), Drained::Clean);
    wait_until("the server's own threads have ended", || threads_of_this_process() == before);
}
