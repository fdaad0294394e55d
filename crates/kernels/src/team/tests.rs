//! Tests of the team. No test asserts how fast anything is; limits of time only end a test that hangs.

mod barriers;
mod idle;
mod panics;
mod regions;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::{Member, Team, TeamConfig};

/// A test that needs longer has failed.
const TIME_LIMIT: Duration = Duration::from_secs(50);

fn team(members: usize) -> Team {
    let members = NonZeroUsize::new(members).unwrap();
    Team::start(&TeamConfig { members, ..TeamConfig::default() }).unwrap()
}

/// Waits for `condition`; panics with `what` when it does not hold in time.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIME_LIMIT, "not within {TIME_LIMIT:?}: {what}");
        std::thread::yield_now();
    }
}

fn index(member: &Member<'_>) -> usize {
    member.index()
}
