//! Regions: their threads, their order, and their stacks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{team, wait_until};
use crate::team::shared::SLOTS;
use crate::team::{Team, TeamConfig, Units};

#[test]
fn each_member_runs_once_and_results_are_in_order() {
    for members in [1, 2, 3, 7] {
        let team = team(members);
        for _ in 0..2_000 {
            let results = team.run(|member| (member.index(), member.count())).unwrap();
            assert_eq!(results, (0..members).map(|i| (i, members)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn member_0_is_the_caller_and_the_others_have_the_name() {
    let members = 3.try_into().unwrap();
    let team = Team::start(&TeamConfig { members, name: "test", ..TeamConfig::default() }).unwrap();
    let threads =
        team.run(|_| (thread::current().id(), thread::current().name().map(str::to_owned))).unwrap();
    assert_eq!(threads[0].0, thread::current().id());
    assert_eq!(threads[1].1.as_deref(), Some("test-1"));
    assert_eq!(threads[2].1.as_deref(), Some("test-2"));
}

/// Regions of all sizes in a mixed order: members that are not needed for long must find the next region that needs them.
#[test]
fn a_region_can_have_fewer_members() {
    let team = team(4);
    for i in 0..5_000 {
        let members = [1, 2, 1, 1, 4, 3, 1, 2][i % 8];
        let results = team.run_with(members, |member| member.count() * 10 + member.index()).unwrap();
        assert_eq!(results, (0..members).map(|index| members * 10 + index).collect::<Vec<_>>());
    }
    assert_eq!(team.run_with(0, |_| ()).unwrap().len(), 1);
    assert_eq!(team.run_with(9, |_| ()).unwrap().len(), 4);
}

/// A member that is not needed for more regions than there are slots finds its place again.
#[test]
fn a_member_joins_again_after_any_number_of_regions_without_it() {
    let team = team(3);
    for gap in (0..3 * SLOTS).cycle().take(1_000) {
        for _ in 0..gap {
            assert_eq!(team.run_with(1, |member| member.count()).unwrap(), [1]);
        }
        assert_eq!(team.run_with(2, |member| member.index()).unwrap(), [0, 1]);
        assert_eq!(team.run(|member| member.index()).unwrap(), [0, 1, 2]);
    }
}

#[test]
fn callers_are_served_in_order_of_arrival() {
    // More than there are slots, so some wait for a slot.
    const CALLERS: usize = 3 * SLOTS;
    let team = team(2);
    let (order, is_released) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let arrivals = || team.shared().turns.next_arrival.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let before = arrivals();
            let (team, order, is_released) = (&team, &order, &is_released);
            scope.spawn(move || {
                team.run(|member| {
                    if member.index() == 0 {
                        order.lock().unwrap().push(caller);
                        wait_until("release", || is_released.load(Ordering::Relaxed));
                    }
                })
            });
            wait_until("arrival of the caller", || arrivals() > before);
        }
        assert!(!team.is_idle());
        is_released.store(true, Ordering::Relaxed);
    });
    assert_eq!(order.into_inner().unwrap(), (0..CALLERS).collect::<Vec<_>>());
    assert!(team.is_idle());
}

/// Units of the second call start while the first call still runs, but its caller waits: no more threads than members compute.
#[test]
fn a_member_that_has_finished_begins_the_next_region() {
    let team = team(2);
    let (first_runs, second_began) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            team.run(|member| {
                if member.index() == 0 {
                    first_runs.store(true, Ordering::Relaxed);
                    wait_until("start of the second region", || second_began.load(Ordering::Relaxed));
                }
            })
        });
        wait_until("start of the first region", || first_runs.load(Ordering::Relaxed));
        let caller_was_second = team.run(|member| {
            let second_began = second_began.swap(true, Ordering::Relaxed);
            member.index() == 1 || second_began
        });
        assert_eq!(caller_was_second.unwrap(), [true, true]);
    });
}

/// The thread of the team completes the only unit of the second call while the first caller computes.
#[test]
fn a_call_whose_units_are_taken_does_not_wait_for_its_turn() {
    let team = team(2);
    let (first_runs, second_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            team.run_with(1, |_| {
                first_runs.store(true, Ordering::Relaxed);
                wait_until("end of the second call", || second_ended.load(Ordering::Relaxed));
            })
        });
        wait_until("start of the first call", || first_runs.load(Ordering::Relaxed));
        // As many as there are slots besides that of the first call.
        for _ in 1..SLOTS {
            let (units, runner) = (Units::new(1), AtomicUsize::new(9));
            let work = |member: &crate::team::Member<'_>| {
                if units.take().is_some() {
                    runner.store(member.index(), Ordering::Relaxed);
                }
            };
            team.run_units(&units, work).unwrap();
            assert_eq!(runner.into_inner(), 1);
        }
        second_ended.store(true, Ordering::Relaxed);
    });
    let units = Units::new(1);
    team.run_units(&units, |member| assert!(units.take().is_some() && member.index() == 0)).unwrap();
}

#[test]
fn concurrent_callers_never_share_a_member_and_complete_all_units() {
    const CALLERS: usize = 4;
    const UNITS: usize = 7;
    let team = team(3);
    // Data of a member may be used without waiting: no other thread has the same index.
    let of_member: Vec<Mutex<usize>> = (0..3).map(|_| Mutex::new(0)).collect();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (team, of_member) = (&team, &of_member);
            scope.spawn(move || {
                for region in 0..1_000 {
                    let (units, done) = (Units::new(UNITS), [const { AtomicUsize::new(0) }; UNITS]);
                    let work = |member: &crate::team::Member<'_>| {
                        let mut data = of_member[member.index()].try_lock().unwrap();
                        while let Some(unit) = units.take() {
                            done[unit].fetch_add(1, Ordering::Relaxed);
                            *data += 1;
                        }
                    };
                    if region % 4 == 0 {
                        team.run_with(1 + (caller + region) % 3, work).map(drop).unwrap();
                    } else {
                        team.run_units(&units, work).unwrap();
                    }
                    assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
                }
            });
        }
    });
    let units: usize = of_member.iter().map(|data| *data.lock().unwrap()).sum();
    assert_eq!(units, CALLERS * 1_000 * UNITS);
}

#[test]
fn shares_are_disjoint_complete_and_even() {
    for members in [1, 2, 3, 5] {
        let team = team(members);
        for items in [0, 1, 4, 5, 24, 97] {
            let shares = team.run(|member| member.share(items)).unwrap();
            let mut end = 0;
            for share in &shares {
                assert_eq!(share.start, end);
                assert!(share.len() == items / members || share.len() == items.div_ceil(members));
                end = share.end;
            }
            assert_eq!(end, items);
        }
    }
}

#[test]
fn threads_have_the_configured_stack() {
    const STACK_BYTES: usize = 8 << 20;
    // More than the default stack, less than the configured one.
    #[inline(never)]
    #[expect(clippy::large_stack_arrays, reason = "the size of the stack is tested")]
    fn use_stack() -> u8 {
        let bytes = std::hint::black_box([1u8; 5 << 20]);
        std::hint::black_box(&bytes)[std::hint::black_box(4 << 20)]
    }
    let (members, stack_bytes) = (3.try_into().unwrap(), STACK_BYTES);
    let team = Team::start(&TeamConfig { members, stack_bytes, ..TeamConfig::default() }).unwrap();
    let bytes = team.run(|member| if member.index() == 0 { 1 } else { use_stack() });
    assert_eq!(bytes.unwrap(), [1, 1, 1]);
}

#[test]
fn too_many_members_are_an_error() {
    let members = 1025.try_into().unwrap();
    assert!(Team::start(&TeamConfig { members, ..TeamConfig::default() }).is_err());
}
