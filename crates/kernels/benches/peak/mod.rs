//! The peak of one core for an operation, as the yardstick of a row.

use std::time::Duration;

use kernels::isa::Isa;
use kernels::peak_rate::{Operation, peak_rate};

/// Of these measurements the best counts: a thread that is interrupted in one is not in all.
const MEASUREMENTS: usize = 25;
const DURATION: Duration = Duration::from_micros(200);

/// Operations per second. A set without an instruction for the operation has its multiply-adds of f32 as yardstick.
pub fn operations_per_second(isa: Isa, operation: Operation) -> f64 {
    let measured = |operation| peak_rate(isa, operation, 1, DURATION);
    let rates = (0..MEASUREMENTS).filter_map(|_| measured(operation).or_else(|| measured(Operation::F32)));
    rates.fold(0.0, f64::max)
}
