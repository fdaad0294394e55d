//! Numbers as sums of bf16.

use super::panels::padded;
#[cfg(target_arch = "x86_64")]
use super::tiles::Pass;

/// How many bf16 represent a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// The rounded number: 8 bits.
    One,
    /// The rounded number and the rounded difference: 16 bits.
    Two,
}

impl Terms {
    /// How many.
    pub(super) const fn count(self) -> usize {
        match self {
            Terms::One => 1,
            Terms::Two => 2,
        }
    }

    /// Columns of a row of activations with `inner` numbers: each term padded with zero to 64 bytes.
    pub fn row_elements(self, inner: usize) -> usize {
        padded::<u16>(inner) * self.count()
    }

    /// The terms of operands with these passes.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn of(passes: &[Pass]) -> Terms {
        match passes.len() {
            1 => Terms::One,
            3 => Terms::Two,
            other => unreachable!("{other} passes"),
        }
    }
}
