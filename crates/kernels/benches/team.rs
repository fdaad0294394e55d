//! Costs of the thread team, in nanoseconds: a barrier, a region while the threads spin, and a region that wakes them.
//!
//! `cargo bench -p kernels --bench team [-- MEMBERS]`
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use kernels::team::{Team, TeamConfig};

/// Short runs, so that most of them are not preempted.
const RUNS: usize = 501;
const PER_RUN: u32 = 200;
const WAKES: usize = 501;

fn main() {
    let members = std::env::args().find_map(|argument| argument.parse().ok());
    let members = members.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let team = Team::start(&TeamConfig { members, ..TeamConfig::default() }).expect("threads");

    let barrier = (0..RUNS).map(|_| time_of_barriers(&team) / PER_RUN).collect();
    let hot = (0..RUNS).map(|_| time_of_regions(&team) / PER_RUN).collect();
    let parked = (0..WAKES).map(|_| time_of_a_wake(&team)).collect();
    println!("{members} members         min   median      p90 ns");
    print_row("barrier", barrier);
    print_row("region, hot", hot);
    print_row("region, parked", parked);
}

fn time_of_barriers(team: &Team) -> Duration {
    let times = team.run(|member| {
        member.barrier().expect("no member leaves");
        let start = Instant::now();
        for _ in 0..PER_RUN {
            member.barrier().expect("no member leaves");
        }
        start.elapsed()
    });
    times.expect("no panic")[0]
}

fn time_of_regions(team: &Team) -> Duration {
    let start = Instant::now();
    for _ in 0..PER_RUN {
        team.run(|_| ()).expect("no panic");
    }
    start.elapsed()
}

fn time_of_a_wake(team: &Team) -> Duration {
    // Longer than threads spin.
    std::thread::sleep(Duration::from_millis(1));
    let start = Instant::now();
    team.run(|_| ()).expect("no panic");
    start.elapsed()
}

fn print_row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let [min, median, p90] = [0, times.len() / 2, times.len() * 9 / 10].map(|i| times[i].as_nanos());
    println!("{name:<16} {min:>8} {median:>8} {p90:>8}");
}
