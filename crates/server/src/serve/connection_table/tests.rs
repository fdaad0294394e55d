use super::*;

fn open(table: &Arc<ConnectionTable>, client: &str) -> Option<(Arc<Slot>, Closed)> {
    table.open(Client::from_name(client)).map(|(slot, closed)| (Arc::new(slot), closed))
}

fn is_closed(slot: &Slot) -> bool {
    let mut closed = std::pin::pin!(slot.closed());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    closed.as_mut().poll(&mut cx).is_ready()
}

#[test]
fn a_client_above_its_share_replaces_its_own_oldest_connection() {
    let table = ConnectionTable::new(8);
    let slots: Vec<_> = (0..7).map(|_| open(&table, "a").unwrap()).collect();
    assert_eq!(slots.iter().filter(|(_, closed)| *closed == Closed::Oldest).count(), 1);
    assert!(is_closed(&slots[0].0) && !is_closed(&slots[1].0));
    let other = open(&table, "b").unwrap();
    assert_eq!((other.1, other.0.place(), table.len()), (Closed::Nothing, Place::Ordinary, 7));
}

#[test]
fn a_new_client_replaces_the_oldest_idle_connection_of_the_client_with_the_most() {
    let table = ConnectionTable::new(4);
    let slots: Vec<_> = ["few", "many", "many", "third"].map(|name| open(&table, name).unwrap().0).into();
    let request = slots[1].request();
    let new = open(&table, "new").unwrap();
    assert_eq!((new.1, new.0.place()), (Closed::Oldest, Place::Ordinary));
    assert!(is_closed(&slots[2]), "the first one of this client is busy");
    drop(request);
    assert_eq!(table.len(), 4);
    drop((slots, new));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_client_never_replaces_a_connection_of_one_that_has_fewer() {
    let table = ConnectionTable::new(8);
    let many: Vec<_> = (0..6).map(|_| open(&table, "many").unwrap().0).collect();
    let few: Vec<_> = (0..2).map(|_| open(&table, "few").unwrap().0).collect();
    let busy: Vec<_> = many.iter().map(|slot| slot.request()).collect();
    assert_eq!(open(&table, "many").unwrap().0.place(), Place::Reserved);
    assert!(few.iter().all(|slot| !is_closed(slot)));
    drop(busy);
}

#[test]
fn a_connection_is_idle_again_after_its_request() {
    let table = ConnectionTable::new(2);
    let (first, second) = (open(&table, "a").unwrap().0, open(&table, "b").unwrap().0);
    drop(first.request());
    let _new = open(&table, "c").unwrap();
    assert!(is_closed(&second) && !is_closed(&first));
}

#[test]
fn busy_connections_stay_open_and_probes_get_reserved_places() {
    let table = ConnectionTable::new(2);
    let slots: Vec<_> = ["a", "b"].map(|name| open(&table, name).unwrap().0).into();
    let busy: Vec<_> = slots.iter().map(|slot| slot.request()).collect();
    assert!(!table.close_oldest());
    let reserved: Vec<_> = (0..RESERVED).map(|_| open(&table, "a").unwrap().0).collect();
    assert!(reserved.iter().all(|slot| slot.place() == Place::Reserved));
    let next = open(&table, "c").unwrap();
    assert_eq!((next.1, next.0.place()), (Closed::Oldest, Place::Reserved));
    let all: Vec<_> = reserved.iter().chain([&next.0]).map(|slot| slot.request()).collect();
    assert!(open(&table, "d").is_none());
    drop(busy);
    assert_eq!(open(&table, "d").unwrap().0.place(), Place::Ordinary);
    drop(all);
}
