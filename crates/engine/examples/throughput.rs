//! Where the time of a batch goes: `throughput MODEL_DIR TEXTS_FILE [THREADS] [ROUNDS]`, one text a line.
//!
//! For tuning kernels and chunk sizes. The comparison with the reference is `cargo xtask bench embed`, which runs the shipped
//! binary.

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
    let (model, texts) = (PathBuf::from(next("MODEL_DIR")?), std::fs::read_to_string(next("TEXTS_FILE")?)?);
    let threads = next("THREADS")
        .ok()
        .map_or(std::thread::available_parallelism(), |n| n.parse().map_err(std::io::Error::other))?;
    let rounds: usize = next("ROUNDS").map_or(Ok(5), |n| n.parse())?;
    let texts: Vec<&str> = texts.lines().collect();

    let start = Instant::now();
    let embedder = engine::Embedder::open(&model, threads)?;
    println!("{:?}", engine::blas_info());
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    embedder.embed(&texts[..texts.len().min(32)])?;

    let before = embedder.stage_times();
    let start = Instant::now();
    for round in 0..rounds {
        let start = Instant::now();
        embedder.embed(&texts)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("round {round}: {seconds:.3} s, {:.1} texts/s", texts.len() as f64 / seconds);
    }
    let all = start.elapsed() * u32::try_from(NonZeroUsize::get(threads))?;
    let mut rest = all;
    for ((name, before), (_, after)) in before.into_iter().zip(embedder.stage_times()) {
        let time = after - before;
        rest = rest.saturating_sub(time);
        print_share(name, time, all);
    }
    print_share("tokenizer, waiting", rest, all);

    let start = Instant::now();
    for text in texts.iter().take(100) {
        embedder.embed(&[text])?;
    }
    println!("one at a time: {:.1} texts/s", texts.len().min(100) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn print_share(name: &str, time: Duration, all: Duration) {
    println!("{name:>20}: {:5.1} %", 100.0 * time.as_secs_f64() / all.as_secs_f64());
}
