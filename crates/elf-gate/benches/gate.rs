//! Time to inspect and judge one file, for each kind of fixture. Run with `cargo bench -p elf-gate`.

use divan::Bencher;
use divan::counter::BytesCount;
use elf_gate::{Evidence, Policy, Stage, inspect, judge, upx};

const FIXTURES: [&str; 6] = ["linked", "stripped", "static-pie", "dynamic", "rules/hardened", "packed-nrv2b"];

fn main() {
    divan::main();
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/elf/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[divan::bench(args = FIXTURES)]
fn inspect_file(bencher: Bencher, name: &str) {
    let bytes = fixture(name);
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| inspect(&bytes));
}

#[divan::bench(args = FIXTURES)]
fn judge_file(bencher: Bencher, name: &str) {
    let facts = inspect(&fixture(name)).expect("the fixture is valid");
    let (stage, _) = Stage::detect(&facts);
    let policy = Policy::static_musl(stage, 8 << 20);
    bencher.bench_local(|| judge(&facts, stage, &policy, &Evidence::default()));
}

#[divan::bench(args = ["packed-nrv2b", "packed-nrv2d", "packed-nrv2e", "packed-lzma"])]
fn unpack_file(bencher: Bencher, name: &str) {
    let bytes = fixture(name);
    let packed = inspect(&bytes).expect("the fixture is valid").upx.expect("the fixture is packed");
    bencher.bench_local(|| upx::unpack(&bytes, &packed, 1 << 20));
}
