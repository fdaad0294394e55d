//! Downloads: Python wheels by digest, Debian packages by signature, packages of crates.io. Only the stages `toolchain` and
//! `sources` call these.

pub mod apt;
pub mod crates;
pub mod pip;

use crate::context::BuildContext;
use crate::resolution::{Fetcher, Summary};

/// The programs that do the given downloads; empty when nothing is downloaded.
pub fn probe_fetchers(context: &BuildContext, planned: &[Summary]) -> Vec<Summary> {
    let is_needed = |fetcher| planned.iter().any(|row| row.fetcher() == Some(fetcher));
    let mut fetchers = Vec::new();
    if is_needed(Fetcher::Pip) {
        fetchers.push(pip::probe(context));
    }
    if is_needed(Fetcher::Apt) {
        fetchers.push(apt::probe(context));
    }
    fetchers
}
