//! Fails where TLS, data, threads, the allocator or unwinding do not work.

use std::cell::Cell;
use std::collections::BTreeMap;

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(41) };
}

static TABLE: [u64; 4] = [1, 2, 3, 4];

fn main() {
    let thread = std::thread::spawn(|| {
        OWN.set(OWN.get() + 1);
        OWN.get()
    });
    let words: BTreeMap<String, usize> = (0..100).map(|number| (format!("{number:03}"), number)).collect();
    let sum: u64 = TABLE.iter().sum::<u64>() + words.values().sum::<usize>() as u64;
    let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(7_u8))).is_err();
    println!("data {sum}, thread {}, own {}, unwound {caught}", thread.join().unwrap(), OWN.get());
}
