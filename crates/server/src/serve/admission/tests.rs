use super::*;

fn admission() -> Arc<Admission> {
    Admission::new(AdmissionLimits { requests_max: 4, bytes_max: 1000 })
}

fn client(name: &str) -> Client {
    Client::from_name(name)
}

#[test]
fn one_client_takes_three_quarters_of_the_slots_at_most() {
    let admission = admission();
    let held: Vec<_> = (0..3).map(|_| admission.admit(&client("a")).unwrap()).collect();
    assert!(matches!(admission.admit(&client("a")), Err(Rejection::Full { retry_after_s: 1.. })));
    let other = admission.admit(&client("b")).unwrap();
    assert!(admission.admit(&client("c")).is_err());
    drop((held, other));
    assert_eq!(admission.inflight(), (0, 0));
    assert!(admission.lock().clients.is_empty());
}

#[test]
fn one_client_takes_three_quarters_of_the_bytes_at_most() {
    let admission = admission();
    let mut first = admission.admit(&client("a")).unwrap();
    let mut second = admission.admit(&client("a")).unwrap();
    first.charge(400).unwrap();
    second.charge(350).unwrap();
    assert!(matches!(second.charge(1), Err(Rejection::Full { .. })));
    let mut other = admission.admit(&client("b")).unwrap();
    other.charge(250).unwrap();
    assert_eq!(admission.inflight(), (3, 1000));
    other.release(100);
    assert_eq!(admission.inflight(), (3, 900));
    drop(other);
    // The bytes of a response count for the share of its client.
    let response = first.into_response(300);
    assert!(second.charge(100).is_ok() && second.charge(1).is_err());
    drop((response, second));
    assert_eq!(admission.inflight(), (0, 0));
    assert!(admission.lock().clients.is_empty());
}

#[test]
fn a_request_that_alone_holds_bytes_is_not_limited() {
    let admission = admission();
    let mut large = admission.admit(&client("a")).unwrap();
    large.charge(5000).unwrap();
    large.charge(5000).unwrap();
    let mut other = admission.admit(&client("b")).unwrap();
    assert!(other.charge(1).is_err());
    let response = large.into_response(900);
    assert_eq!(admission.inflight(), (1, 900));
    other.charge(100).unwrap();
    drop((response, other));
    assert_eq!(admission.inflight(), (0, 0));
}

#[test]
fn of_two_requests_that_hold_half_each_the_second_is_rejected_and_the_first_continues() {
    let admission = admission();
    let mut first = admission.admit(&client("a")).unwrap();
    let mut second = admission.admit(&client("b")).unwrap();
    first.charge(500).unwrap();
    second.charge(500).unwrap();
    assert!(second.charge(100).is_err());
    drop(second);
    first.charge(100).unwrap();
}

#[test]
fn draining_rejects_requests() {
    let admission = admission();
    admission.drain();
    assert_eq!(admission.admit(&client("a")).err(), Some(Rejection::Draining));
}

#[test]
fn an_admitted_request_that_grows_is_rejected_at_the_bound_on_memory() {
    use super::super::purge_request::PurgeRequest;
    use crate::memory::memory_max::MemoryBound;

    let admission = Admission::new(AdmissionLimits { requests_max: 4, bytes_max: 1 << 40 });
    let bound = MemoryBound { bytes: 1, source: "test".into(), is_explicit: true };
    admission.set_memory_cap(Arc::new(MemoryCap::new(bound, PurgeRequest::default()).unwrap()));
    let mut permit = admission.admit(&client("a")).unwrap();
    let piece = CHECK_BYTES / 4;
    // Comparing costs more than counting, so small amounts are added up.
    (0..3).for_each(|_| permit.charge(piece).unwrap());
    assert!(matches!(permit.charge(piece), Err(Rejection::Memory(MemoryFull { bound: 1, .. }))));
    assert_eq!(admission.inflight(), (1, 3 * piece));
}
