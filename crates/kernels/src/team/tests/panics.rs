//! Panics: caught on each member, reported by the region, and without effect on the next one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{index, team, wait_until};
use crate::team::Broken;

/// Panics without a report on stderr.
fn panic_silently(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}

#[test]
fn a_panic_of_any_member_fails_the_region_only() {
    let team = team(3);
    for _ in 0..200 {
        for panicking in 0..3 {
            let error = team
                .run(|member| {
                    if member.index() == panicking {
                        panic_silently("the panic of this test");
                    }
                })
                .unwrap_err();
            assert_eq!(error.message(), Some("the panic of this test"));
            assert_eq!(error.to_string(), "a member of the thread team panicked: the panic of this test");
            assert_eq!(team.run(index).unwrap(), [0, 1, 2]);
        }
    }
}

#[test]
fn a_panic_breaks_the_barriers_of_the_others() {
    let team = team(3);
    for panicking in 0..3 {
        let broken = AtomicUsize::new(0);
        let result = team.run(|member| {
            member.barrier().unwrap();
            if member.index() == panicking {
                panic_silently("between two barriers");
            }
            assert_eq!(member.barrier(), Err(Broken));
            assert_eq!(member.agree(|| true), Err(Broken));
            broken.fetch_add(1, Ordering::Relaxed);
        });
        assert!(result.is_err());
        assert_eq!(broken.into_inner(), 2);
    }
}

/// The borrowed data must live until the last member has left, also when the caller panics first.
#[test]
fn a_panic_of_the_caller_waits_for_the_members() {
    let team = team(2);
    let left = AtomicUsize::new(0);
    let result = team.run(|member| {
        if member.index() == 0 {
            panic_silently("the caller");
        }
        // The caller has left when it breaks this barrier.
        assert_eq!(member.barrier(), Err(Broken));
        left.fetch_add(1, Ordering::Relaxed);
    });
    assert!(result.is_err());
    assert_eq!(left.load(Ordering::Relaxed), 1);
}

/// The payload of a panic can panic when it is dropped. That must happen on the caller, after the region.
#[test]
fn a_payload_that_panics_in_its_drop_does_not_end_a_member() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic_silently("drop of a payload");
        }
    }
    let team = team(2);
    let region = || {
        team.run(|member| {
            if member.index() == 1 {
                resume_unwind(Box::new(Payload))
            }
        })
    };
    let outcome = catch_unwind(AssertUnwindSafe(region));
    assert!(outcome.is_err());
    assert_eq!(team.run(index).unwrap(), [0, 1]);
}

#[test]
fn a_member_cannot_start_a_region() {
    let (team, other) = (team(2), team(1));
    for inner in [&team, &other] {
        for index in 0..2 {
            let result = team.run(|member| {
                if member.index() == index {
                    inner.run(|_| ()).unwrap();
                }
            });
            assert_eq!(
                result.unwrap_err().message(),
                Some("a member of a thread team called `run` inside of a region")
            );
        }
    }
    wait_until("an idle team", || team.is_idle() && other.is_idle());
    assert_eq!(team.run(index).unwrap(), [0, 1]);
}
