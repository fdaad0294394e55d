//! Products of low precision on every instruction set, against f64 and against integers, and wrong products that the checks report.

pub mod case;
mod mutants;
pub mod shapes;
