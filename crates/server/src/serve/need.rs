//! What the models and the server will need together, and whether it fits.

use std::path::{Path, PathBuf};

use engine::memory::{self, Load};

use crate::failure::Failure;
use crate::memory::limits::{self, Room};
use crate::memory::preflight::{self, Need, Verdict};

/// Of the models alone: what [`crate::serve::Server`] compares with what loading took.
pub fn of_models(models: &[(String, PathBuf)], load: Load) -> Result<Need, Failure> {
    let (mut need, mut shared) = (Need::default(), 0);
    for (name, dir) in models {
        let one = memory::need(dir, load).map_err(|error| {
            Failure::new(error).context(format!("cannot tell how much memory the model `{name}` needs"))
        })?;
        need.file += one.weights;
        need.anonymous += one.anonymous() - one.shared();
        // The threads are one pool, so what hangs on them is needed once, for the largest.
        shared = shared.max(one.shared());
    }
    need.anonymous += shared;
    Ok(need)
}

/// One line about what was decided, or why not.
pub fn check(models: Need, requests: u64, headroom: u64, root: &Path) -> Result<String, Failure> {
    let need = Need { anonymous: models.anonymous + requests, file: models.file };
    match preflight::judge(need, headroom, &limits::rooms(root)) {
        Verdict::Fits(Room { bytes, limit, source }) => Ok(format!(
            "needs {} MiB anonymous + {} MiB of weights + {} MiB headroom; {} MiB are free of {} MiB ({source})",
            preflight::mib(need.anonymous),
            preflight::mib(need.file),
            preflight::mib(headroom),
            bytes >> 20,
            limit >> 20,
        )),
        Verdict::Unknown => Ok("not checked: neither cgroups nor /proc/meminfo could be read".into()),
        Verdict::Refused(refused) => Err(Failure::message(refused)),
    }
}
