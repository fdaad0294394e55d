//! Threads without a region: they sleep, do idle work, and end with the team.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::{index, team, wait_until};

/// CPU time of each thread of the team, in nanoseconds.
#[cfg(target_os = "linux")]
fn cpu_times(clocks: &[libc::clockid_t]) -> Vec<i64> {
    let time = |clock: &libc::clockid_t| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to a local; the clock is that of a thread that lives.
        assert_eq!(unsafe { libc::clock_gettime(*clock, &raw mut time) }, 0);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    clocks.iter().map(time).collect()
}

/// A thread that polls at any interval would use CPU time in each interval.
#[test]
#[cfg(target_os = "linux")]
fn an_idle_team_uses_no_cpu_time() {
    let team = team(3);
    let clocks = team.run(|_| {
        let mut clock = 0;
        // SAFETY: always safe to call.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: writes to a local, for a thread that runs.
        assert_eq!(unsafe { libc::pthread_getcpuclockid(this, &raw mut clock) }, 0);
        clock
    });
    let clocks = &clocks.unwrap()[1..];
    for _ in 0..3 {
        wait_until("an interval of 100 ms without CPU time", || {
            let before = cpu_times(clocks);
            thread::sleep(Duration::from_millis(100));
            cpu_times(clocks) == before
        });
        assert_eq!(team.run(index).unwrap(), [0, 1, 2]);
    }
}

#[test]
fn a_region_wakes_threads_in_every_phase_of_falling_asleep() {
    let team = team(2);
    // Around the time after which threads sleep.
    for pause in (0..120).cycle().take(1_500) {
        assert_eq!(team.run(index).unwrap(), [0, 1]);
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_micros(pause) {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn idle_work_runs_once_on_each_thread_and_does_not_wait_for_a_region() {
    static THREADS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
    let threads_at_least = |count| wait_until("idle work", || THREADS.lock().unwrap().len() >= count);
    let work = || THREADS.lock().unwrap().push(thread::current().id());
    let team = team(3);
    let all_sleep = || team.shared().idle[1..].iter().all(|member| member.event.has_sleeper());
    wait_until("sleeping threads", all_sleep);
    team.run_on_each_idle_member(work);
    threads_at_least(2);
    // Thread 1 is busy: thread 2 does the work at once, thread 1 later.
    let (is_busy, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            team.run(|member| {
                if member.index() == 1 {
                    is_busy.store(true, Ordering::Relaxed);
                    wait_until("end", || may_end.load(Ordering::Relaxed));
                }
            })
        });
        wait_until("a busy thread", || is_busy.load(Ordering::Relaxed));
        team.run_on_each_idle_member(work);
        threads_at_least(3);
        may_end.store(true, Ordering::Relaxed);
    });
    threads_at_least(4);
    let ids = team.run(|_| thread::current().id()).unwrap();
    let done = THREADS.lock().unwrap();
    assert_eq!(done.len(), 4);
    assert_eq!((done[2], done[3]), (ids[2], ids[1]));
    assert!(done[..2].contains(&ids[1]) && done[..2].contains(&ids[2]));
}

#[test]
fn idle_work_that_panics_ends_no_thread() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let team = team(2);
    team.run_on_each_idle_member(|| {
        RUNS.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("idle work"));
    });
    wait_until("idle work", || RUNS.load(Ordering::Relaxed) == 1);
    assert_eq!(team.run(index).unwrap(), [0, 1]);
}

/// Dropping joins: the threads have returned what they held.
#[test]
fn dropping_a_team_ends_its_threads() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    struct CountsItsDrop;
    impl Drop for CountsItsDrop {
        fn drop(&mut self) {
            ENDED.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! { static OF_THREAD: CountsItsDrop = const { CountsItsDrop }; }
    for teams in 1..=20 {
        let team = team(3);
        team.run(|member| {
            if member.index() > 0 {
                OF_THREAD.with(|_| ());
            }
        })
        .unwrap();
        drop(team);
        assert_eq!(ENDED.load(Ordering::Relaxed), 2 * teams);
    }
}
