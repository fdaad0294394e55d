//! Decides whether a memory footprint fits into the limits.
//!
//! There are two ways not to fit. Anonymous memory beyond the limit ends with the kernel killing the process. Anonymous
//! memory that leaves no space for the weights is as bad: every token reads all weights, so their pages are read from
//! disk for every batch.

use diag::Diagnostic;

use super::limits::{LimitSource, MemoryLimit, tightest};
use crate::codes;

/// Bytes that a process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    pub anonymous: u64,
    /// Mapped from files.
    pub file_backed: u64,
}

/// Result of [`assess`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assessment {
    /// The footprint fits into this limit, which is the tightest one.
    Fits(MemoryLimit),
    /// No limit could be read.
    Unknown,
    /// The footprint exceeds the limit.
    Exceeds(Shortfall),
}

/// A footprint that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    pub footprint: Footprint,
    pub headroom: u64,
    pub limit: MemoryLimit,
}

/// Compares the footprint with the tightest limit. `headroom` bytes must stay free.
pub fn assess(footprint: Footprint, headroom: u64, limits: &[MemoryLimit]) -> Assessment {
    let Some(limit) = tightest(limits).cloned() else { return Assessment::Unknown };
    let total = footprint.anonymous.saturating_add(footprint.file_backed).saturating_add(headroom);
    if total <= limit.available {
        Assessment::Fits(limit)
    } else {
        Assessment::Exceeds(Shortfall { footprint, headroom, limit })
    }
}

/// Limits above this are those of a server for large models.
const LARGE_LIMIT: u64 = 4 << 30;

/// Default of the memory that the check keeps free. What it covers, besides errors of the estimate, grows with the
/// host: page tables, buffers of sockets, the rest of the page cache.
pub fn default_headroom(limits: &[MemoryLimit]) -> u64 {
    let limit = limits.iter().map(|limit| limit.limit).min().unwrap_or(0);
    if limit > LARGE_LIMIT { 512 << 20 } else { 32 << 20 }
}

/// The need as text: `300 MiB anonymous + 90 MiB of weights + 32 MiB headroom`.
pub fn describe(footprint: Footprint, headroom: u64) -> String {
    format!(
        "{} MiB anonymous + {} MiB of weights + {} MiB headroom",
        mib(footprint.anonymous),
        mib(footprint.file_backed),
        mib(headroom)
    )
}

impl Shortfall {
    /// Missing bytes.
    pub fn missing(&self) -> u64 {
        let Footprint { anonymous, file_backed } = self.footprint;
        let need = anonymous.saturating_add(file_backed).saturating_add(self.headroom);
        need.saturating_sub(self.limit.available)
    }

    /// The diagnostic for the operator. `remedies` are changes each of which is enough.
    pub fn diagnostic(&self, remedies: &[String]) -> Diagnostic {
        let Self { footprint, headroom, limit } = self;
        let consequence = if matches!(limit.source, LimitSource::OwnBound(_)) {
            "requests would get status 503"
        } else if footprint.anonymous.saturating_add(*headroom) > limit.available {
            "the kernel would kill the server"
        } else {
            "the weights would be read from disk for every batch"
        };
        Diagnostic::new(&codes::INSUFFICIENT_MEMORY, "not enough memory for the models")
            .expected(describe(*footprint, *headroom))
            .found(limit.to_string())
            .cause(consequence)
            .hint(format!("any one of these is enough:\n  {}", remedies.join("\n  ")))
    }
}

/// Rounded up, so that a need is never shown smaller than it is.
pub fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn assess_mib(anonymous: u64, file_backed: u64, headroom: u64) -> Assessment {
        let limit = |bytes: u64, source: &str| MemoryLimit {
            available: bytes,
            limit: 600 * MIB,
            source: LimitSource::Cgroup(source.into()),
        };
        let footprint = Footprint { anonymous: anonymous * MIB, file_backed: file_backed * MIB };
        assess(footprint, headroom * MIB, &[limit(900 * MIB, "machine"), limit(500 * MIB, "cgroup")])
    }

    fn report(assessment: Assessment) -> String {
        let Assessment::Exceeds(shortfall) = assessment else { panic!("{assessment:?}") };
        let remedies = ["a limit of 512 MiB".to_string(), "`--no-memory-check`".into()];
        diag::render::human(&[shortfall.diagnostic(&remedies)], diag::render::Style::default())
    }

    #[test]
    fn the_tightest_limit_decides_to_the_byte() {
        assert!(
            matches!(assess_mib(300, 180, 20), Assessment::Fits(limit) if limit.source.to_string() == "cgroup")
        );
        assert!(matches!(assess_mib(300, 180, 21), Assessment::Exceeds(_)));
    }

    #[test]
    fn reports_numbers_source_and_consequence() {
        insta::assert_snapshot!(report(assess_mib(501, 10, 0)), @r"
        error[insufficient-memory]: not enough memory for the models
          expected: 501 MiB anonymous + 10 MiB of weights + 0 MiB headroom
          found:    500 MiB free of 600 MiB (cgroup)
          because:  the kernel would kill the server
        hint: any one of these is enough:
                a limit of 512 MiB
                `--no-memory-check`
        ");
        assert!(
            report(assess_mib(100, 450, 0))
                .contains("because:  the weights would be read from disk for every batch")
        );
    }

    #[test]
    fn huge_footprints_do_not_overflow_and_a_missing_limit_is_unknown() {
        assert!(matches!(assess_mib(u64::MAX / MIB, u64::MAX / MIB, 1), Assessment::Exceeds(_)));
        assert_eq!(assess(Footprint::default(), 0, &[]), Assessment::Unknown);
    }
}
