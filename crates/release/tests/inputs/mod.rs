//! What `cargo xtask test` hands to these tests. A missing input is a failure, not a reason to skip.

use std::path::PathBuf;

#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
pub fn input(name: &str) -> PathBuf {
    match std::env::var_os(name) {
        Some(value) => value.into(),
        None => panic!("{name} is not set\nhint: run these tests with `cargo xtask test`"),
    }
}
