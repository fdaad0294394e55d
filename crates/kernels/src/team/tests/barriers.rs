//! Barriers: no member passes before all have arrived, for any number of members and cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::team;
use crate::team::{Broken, Team};

/// Members write a row in turns of a barrier and read the rows of all others after it. With plain `Relaxed` accesses, so the
/// values are right only if the barrier orders them.
fn check_exchange(team: &Team, members: usize, barriers: usize) {
    let rows: Vec<AtomicUsize> = (0..members).map(|_| AtomicUsize::new(0)).collect();
    let results = team.run_with(members, |member| {
        for step in 1..=barriers {
            rows[member.index()].store(step, Ordering::Relaxed);
            member.barrier()?;
            let seen: Vec<usize> = rows.iter().map(|row| row.load(Ordering::Relaxed)).collect();
            assert_eq!(seen, vec![step; members], "member {}", member.index());
            member.barrier()?;
        }
        Ok::<(), Broken>(())
    });
    assert!(results.unwrap().iter().all(Result::is_ok));
}

#[test]
fn no_member_passes_before_all_have_arrived() {
    for (members, barriers) in [(1, 100), (2, 50_000), (3, 2_000), (4, 2_000)] {
        check_exchange(&team(members), members, barriers);
    }
}

#[test]
fn more_members_than_cores_complete_barriers() {
    for members in [5, 8, 17, 33] {
        check_exchange(&team(members), members, 50);
    }
}

/// Epochs continue from region to region: a stale flag of another region must not release a barrier.
#[test]
fn regions_of_different_sizes_and_numbers_of_barriers_follow_each_other() {
    let team = team(5);
    for i in 0..700 {
        check_exchange(&team, [5, 2, 3, 4, 2, 5, 1][i % 7], i % 4);
    }
}

/// The member that others wait for never runs at the same time as they do.
#[test]
#[cfg(target_os = "linux")]
fn members_on_one_core_complete_barriers() {
    thread::spawn(|| {
        // Threads inherit the core.
        run_on_one_core();
        let team = team(3);
        check_exchange(&team, 3, 2_000);
        check_exchange(&team, 2, 2_000);
    })
    .join()
    .unwrap();
}

#[cfg(target_os = "linux")]
fn run_on_one_core() {
    // SAFETY: a set of bits, for which zero is valid.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes the set of this thread to a local of the given size.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores) };
    assert_eq!(status, 0);
    // SAFETY: the index is inside of the set.
    let first = (0..1024).find(|core| unsafe { libc::CPU_ISSET(*core, &cores) }).unwrap();
    // SAFETY: as above.
    cores = unsafe { std::mem::zeroed() };
    // SAFETY: the index is inside of the set.
    unsafe { libc::CPU_SET(first, &mut cores) };
    // SAFETY: reads a local of the given size.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&cores), &raw const cores) }, 0);
}

/// Each member would see another value of the changing input; all take the decision of member 0.
#[test]
fn all_members_agree_on_a_decision() {
    let team = team(3);
    for stops_at in [0, 1, 2, 57, 1_000] {
        let calls = AtomicUsize::new(0);
        let steps = team.run(|member| {
            let mut steps = 0;
            while !member.agree(|| calls.fetch_add(1, Ordering::Relaxed) == stops_at)? {
                steps += 1;
            }
            Ok::<usize, Broken>(steps)
        });
        assert_eq!(steps.unwrap(), [Ok(stops_at); 3]);
    }
}

#[test]
fn a_member_that_returns_early_breaks_the_barriers_of_the_others_only_after_its_last_one() {
    let team = team(3);
    for leaver in 0..3 {
        for barriers in 0..4 {
            let passed = team.run(|member| {
                let mut passed = 0;
                while !(member.index() == leaver && passed == barriers) && member.barrier().is_ok() {
                    passed += 1;
                }
                // A broken region stays broken.
                if member.index() != leaver {
                    assert_eq!([member.barrier(), member.barrier()], [Err(Broken); 2]);
                }
                passed
            });
            assert_eq!(passed.unwrap(), [barriers; 3], "member {leaver} leaves");
            check_exchange(&team, 3, 3);
        }
    }
}
