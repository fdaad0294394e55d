//! A thousand timed-out requests leave no permit, byte or thread behind. One test in its own process, so that all
//! threads belong to it.

mod fake_model;
mod http_client;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake_model::{Fake, address, serve, wait_until};
use http_client::{check_error, embed, embed_within, get};
use inferd::serve::DrainOutcome;

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// The number of threads after it has been constant for ten samples: threads start and end asynchronously.
fn stable_thread_count() -> usize {
    loop {
        let threads = thread_count();
        let same = |_| {
            std::thread::sleep(Duration::from_millis(10));
            thread_count() == threads
        };
        if (0..10).all(same) {
            return threads;
        }
    }
}

#[test]
fn a_thousand_timed_out_requests_release_all_resources() {
    let before = stable_thread_count();
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    embed_within(at, 1, "{\"input\":\"warm\"}");
    let threads = stable_thread_count();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let response = loop {
                        let response = embed_within(at, 5, "{\"input\":[\"a b\",\"c\"]}");
                        // A request holds its permit until its work has stopped, which can be after its response.
                        if response.status != 429 {
                            break response;
                        }
                    };
                    check_error(&response, 504, "timeout");
                }
            });
        }
    });
    wait_until("all permits are released", || server.inflight_requests() == 0);
    assert!(model.cancelled_steps.load(Ordering::SeqCst) > 0);
    wait_until("no further thread is left", || thread_count() == threads);
    let page = get(at, "/metrics").text();
    for line in ["inferd_inflight_requests 0", "inferd_inflight_bytes 0", "inferd_queued_requests 0"] {
        assert!(page.lines().any(|l| l == line), "`{line}` is missing in:\n{page}");
    }
    model.blocked.store(false, Ordering::SeqCst);
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
    assert_eq!(server.inflight_requests(), 0);
    assert_eq!(thread_count(), threads);
    assert_eq!(server.drain(Duration::from_secs(5)), DrainOutcome::Complete);
    wait_until("the threads of the server have ended", || thread_count() == before);
}
