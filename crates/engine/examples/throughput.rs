//! Time split of a batch: `throughput MODEL_DIR TEXTS_FILE [THREADS] [ROUNDS] [GEMM] [PRECISION]`, one text per line. GEMM is
//! `openblas` or an instruction set; PRECISION is `f32`, `bf16`,
//! `bf16x3` or `int8`.
//!
//! For tuning of kernels and chunk sizes. `cargo xtask bench embed` compares the released binary with the reference.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::{GemmBackend, OwnKernels, Precision};

const ROUNDS_DEFAULT: usize = 5;
const SINGLE_TEXTS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or(format!("the argument {name} is missing"));
    let (model, texts) = (PathBuf::from(next("MODEL_DIR")?), std::fs::read_to_string(next("TEXTS_FILE")?)?);
    let threads = next("THREADS")
        .ok()
        .map_or(std::thread::available_parallelism(), |n| n.parse().map_err(std::io::Error::other))?;
    let rounds: usize = next("ROUNDS").map_or(Ok(ROUNDS_DEFAULT), |n| n.parse())?;
    let mut gemm = match next("GEMM") {
        Ok(name) if name == "openblas" => GemmBackend::OpenBlas,
        Ok(isa) => GemmBackend::Own(OwnKernels::automatic(isa.parse()?)),
        Err(_) => GemmBackend::default(),
    };
    if let (GemmBackend::Own(own), Ok(precision)) = (&mut gemm, next("PRECISION")) {
        own.precision = match precision.as_str() {
            "f32" => Precision::F32,
            "bf16" => Precision::Bf16,
            "bf16x3" => Precision::Bf16x3,
            "int8" => Precision::Int8,
            other => return Err(format!("PRECISION is `{other}`, not f32, bf16, bf16x3 or int8").into()),
        };
    }
    let texts: Vec<&str> = texts.lines().collect();

    let start = Instant::now();
    let embedder = engine::Embedder::open(&model, gemm, threads)?;
    println!("{gemm:?}; {:?}", engine::blas_info());
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
    let total = start.elapsed() * u32::try_from(NonZeroUsize::get(threads))?;
    let mut unattributed = total;
    for ((stage, before), (_, after)) in before.into_iter().zip(embedder.stage_times()) {
        let time = after.checked_sub(before).unwrap();
        unattributed = unattributed.saturating_sub(time);
        print_share(stage, time, total);
    }
    print_share("tokenizer, waiting", unattributed, total);

    let start = Instant::now();
    for text in texts.iter().take(SINGLE_TEXTS) {
        embedder.embed(&[text])?;
    }
    let single_texts = texts.len().min(SINGLE_TEXTS) as f64;
    println!("single texts: {:.1} texts/s", single_texts / start.elapsed().as_secs_f64());
    Ok(())
}

fn print_share(name: &str, time: Duration, total: Duration) {
    println!("{name:>20}: {:5.1} %", 100.0 * time.as_secs_f64() / total.as_secs_f64());
}
