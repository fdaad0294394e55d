//! The share of one client in a limit that all clients have together.
//!
//! A client may take more while it holds at most three times of what is left afterwards. One client alone thus gets three
//! quarters, and two that take all they can get 3/4 and 3/16; under equal demand all shares are equal. A fixed quarter in
//! reserve would be gone after the second client. The rule is the dynamic threshold of shared packet buffers (Choudhury
//! and Hahne, 1998). It rejects and never waits, so two clients that need each other's share cannot block each other.

/// Multiple of the rest that one client may hold.
const ALPHA: u64 = 3;

/// Whether a client that holds `own` of the `total` in use may take `more`, under the limit `max`. A client that holds
/// nothing may take what is left.
pub fn allows(own: u64, total: u64, more: u64, max: u64) -> bool {
    let Some(left) = total.checked_add(more).and_then(|used| max.checked_sub(used)) else { return false };
    own == 0 || own.saturating_add(more) <= left.saturating_mul(ALPHA)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each client holds after all have taken units in turn until none gets more.
    fn taken(clients: usize, max: u64) -> Vec<u64> {
        let mut held = vec![0; clients];
        loop {
            let before = held.clone();
            for at in 0..clients {
                if allows(held[at], held.iter().sum(), 1, max) {
                    held[at] += 1;
                }
            }
            if held == before {
                return held;
            }
        }
    }

    #[test]
    fn a_client_alone_takes_three_quarters() {
        assert_eq!(taken(1, 256), [192]);
        assert_eq!(taken(1, 4), [3]);
        assert_eq!(taken(1, 1), [1]);
    }

    #[test]
    fn clients_with_equal_demand_get_equal_shares() {
        assert_eq!(taken(2, 256), [110, 109]);
        for held in taken(16, 256) {
            assert!((15..=16).contains(&held));
        }
    }

    #[test]
    fn clients_that_came_first_leave_some_for_later_ones() {
        let mut total = 0;
        for client in 0..4 {
            let mut own = 0;
            while allows(own, total, 1, 256) {
                (own, total) = (own + 1, total + 1);
            }
            assert!(own > 0, "client {client}");
        }
        assert!(total < 256, "{total}");
        assert!(!allows(0, 256, 1, 256) && !allows(0, 0, 257, 256) && !allows(1, u64::MAX, 1, 256));
    }
}
