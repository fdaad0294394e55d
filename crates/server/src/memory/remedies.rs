//! What an operator can change when a footprint does not fit, with values that fit.

use units::ByteSize;

use super::limits::LimitSource;
use super::memory_max::MEMORY_MAX;
use super::preflight::Shortfall;

/// The options that change the need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub threads: usize,
    pub batch_tokens: usize,
    /// `--max-inflight-bytes`
    pub request_bytes: u64,
}

const MIB: u64 = 1 << 20;
/// A limit is rounded up to a multiple of this.
const LIMIT_STEP: u64 = 16 * MIB;
/// Added to what is missing: the usage of the next start differs from that of this one by some pages, and a value without
/// room for them is not enough.
const SLACK: u64 = MIB;
/// A smaller value of `--max-inflight-bytes` admits hardly one request.
const REQUEST_BYTES_MIN: u64 = MIB;

/// Changes each of which is enough, the best one first. `total` computes the need with other options, including
/// the headroom.
pub fn list(
    shortfall: &Shortfall,
    need: Need,
    models: usize,
    total: impl Fn(Need) -> Option<u64>,
) -> Vec<String> {
    let fits = |need: Need| {
        total(need).is_some_and(|bytes| bytes.saturating_add(SLACK) <= shortfall.limit.available)
    };
    let missing = shortfall.missing().saturating_add(SLACK);
    let mut remedies = vec![larger_limit(shortfall)];
    let threads = (1..need.threads).rev().find(|threads| {
        // The default of `--batch-tokens` follows the threads, a set value does not: both must fit.
        let scaled = need.batch_tokens * threads / need.threads;
        [scaled, need.batch_tokens]
            .into_iter()
            .all(|batch_tokens| fits(Need { threads: *threads, batch_tokens, ..need }))
    });
    remedies.extend(threads.map(|threads| format!("`--threads {threads}` instead of {}", need.threads)));
    let request_bytes = need.request_bytes.saturating_sub(missing) / MIB * MIB;
    if request_bytes >= REQUEST_BYTES_MIN && fits(Need { request_bytes, ..need }) {
        remedies.push(format!(
            "`--max-inflight-bytes \"{}\"` instead of {}",
            ByteSize(request_bytes),
            ByteSize(need.request_bytes).rounded()
        ));
    }
    if missing <= shortfall.headroom {
        let headroom = (shortfall.headroom - missing) / MIB * MIB;
        remedies.push(format!("`--memory-headroom \"{}\"`: less is kept free", ByteSize(headroom)));
    }
    if models > 1 {
        remedies.push("`--lazy-weights`: a model is loaded, and checked, at its first request".into());
    }
    let risk = match shortfall.limit.source {
        LimitSource::OwnBound(_) => "requests get status 503",
        LimitSource::Cgroup(_) | LimitSource::Machine { .. } => "the kernel kills the server",
    };
    remedies.push(format!("`--no-memory-check`: at the risk that {risk}"));
    remedies
}

/// The limit that is enough, in the units of those who set it.
fn larger_limit(shortfall: &Shortfall) -> String {
    let limit = &shortfall.limit;
    let missing = shortfall.missing().saturating_add(SLACK);
    let enough = limit.limit.saturating_add(missing).div_ceil(LIMIT_STEP).saturating_mul(LIMIT_STEP);
    let size = ByteSize(enough);
    let mib = enough / MIB;
    match &limit.source {
        LimitSource::Machine { .. } => {
            format!("a machine with {mib} MiB of memory, or {} MiB less in use", missing.div_ceil(MIB))
        }
        LimitSource::OwnBound(_) => format!("`{MEMORY_MAX} \"{size}\"`"),
        LimitSource::Cgroup(file) => format!(
            "a limit of {mib} MiB: `docker run --memory {mib}m`, `memory: {mib}Mi` in Kubernetes, or {enough} in {file}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::MemoryLimit;
    use super::super::preflight::Footprint;
    use super::*;

    const NEED: Need = Need { threads: 4, batch_tokens: 4096, request_bytes: 64 * MIB };

    /// 40 MiB per thread, 100 MiB of weights, requests, 32 MiB of headroom.
    fn total(need: Need) -> Option<u64> {
        Some(need.threads as u64 * 40 * MIB + 100 * MIB + need.request_bytes + 32 * MIB)
    }

    fn remedies(available_mib: u64, source: LimitSource, models: usize) -> String {
        let limit = MemoryLimit { available: available_mib * MIB, limit: (available_mib + 20) * MIB, source };
        let footprint = Footprint { anonymous: (160 + 64) * MIB, file_backed: 100 * MIB };
        list(&Shortfall { footprint, headroom: 32 * MIB, limit }, NEED, models, total).join("\n")
    }

    #[test]
    fn names_every_change_that_is_enough_with_its_value() {
        insta::assert_snapshot!(remedies(330, LimitSource::Cgroup("/sys/fs/cgroup/memory.max".into()), 2), @r#"
        a limit of 384 MiB: `docker run --memory 384m`, `memory: 384Mi` in Kubernetes, or 402653184 in /sys/fs/cgroup/memory.max
        `--threads 3` instead of 4
        `--max-inflight-bytes "37 MiB"` instead of 64.0 MiB
        `--memory-headroom "5 MiB"`: less is kept free
        `--lazy-weights`: a model is loaded, and checked, at its first request
        `--no-memory-check`: at the risk that the kernel kills the server
        "#);
    }

    #[test]
    fn a_change_that_is_not_enough_is_not_named() {
        insta::assert_snapshot!(remedies(60, LimitSource::Machine { available: "MemAvailable" }, 1), @r"
        a machine with 384 MiB of memory, or 297 MiB less in use
        `--no-memory-check`: at the risk that the kernel kills the server
        ");
        let own = LimitSource::OwnBound(MEMORY_MAX.into());
        assert!(
            remedies(1, own.clone(), 1)
                .ends_with("`--no-memory-check`: at the risk that requests get status 503")
        );
        assert!(remedies(240, own, 1).starts_with("`--memory-max \"384 MiB\"`\n`--threads 1`"));
    }
}
