//! Prints the best instruction set of this CPU, and the operations per second of f32, bf16 and int8 on all threads together: `-`
//! where the set has no instruction for the type.
//!
//!     cargo run --release -p kernels --example peak_rate -- THREADS MILLISECONDS
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::process::ExitCode;
use std::time::Duration;

use kernels::isa::Isa;
use kernels::peak_rate::{Operation, peak_rate};

fn main() -> ExitCode {
    let numbers: Vec<u16> = std::env::args().skip(1).map_while(|text| text.parse().ok()).collect();
    let [threads, milliseconds] = numbers[..] else {
        println!("usage: peak_rate THREADS MILLISECONDS");
        return ExitCode::from(2);
    };
    let (isa, duration) = (Isa::best(), Duration::from_millis(milliseconds.into()));
    let rates = [Operation::F32, Operation::Bf16, Operation::Int8].map(|operation| {
        let rate = peak_rate(isa, operation, usize::from(threads).max(1), duration);
        rate.map_or("-".to_owned(), |rate| format!("{rate:.0}"))
    });
    println!("{isa} {}", rates.join(" "));
    ExitCode::SUCCESS
}
