//! The bound of `--memory-max`: its spelling, its default, and its bytes on this machine.

use std::fmt;
use std::str::FromStr;

use units::ByteSize;

use super::limits::{LimitSource, MemoryLimit};

/// The option of the bound.
pub const MEMORY_MAX: &str = "--memory-max";

/// The value of the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryMax {
    /// 0: no bound.
    Size(ByteSize),
    /// Of the smallest limit of a cgroup, or of the memory of the machine.
    Percent(u8),
}

/// Default with a limit of a cgroup. The rest is for what the resident memory of the process does not contain: buffers of
/// sockets, page tables, other processes of the cgroup.
const PERCENT_OF_CGROUP: u8 = 75;
/// Default without one: the machine has other users.
const PERCENT_OF_MACHINE: u8 = 50;

impl FromStr for MemoryMax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return text
                .parse()
                .map(Self::Size)
                .map_err(|error: units::ParseError| format!("{error}, or `75%`"));
        };
        match percent.trim().parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err("expected 1% to 100%, or 0 for no bound".into()),
        }
    }
}

impl fmt::Display for MemoryMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A bound in bytes, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBound {
    pub bytes: u64,
    pub source: String,
    /// Whether the option was set.
    pub is_explicit: bool,
}

impl MemoryBound {
    /// The bound; `None` when the option is 0, or a percentage and no limit can be read.
    ///
    /// `need` is the estimate of the models and of all requests. A default below it is raised: what the memory check
    /// admits must not be rejected later.
    pub fn of(option: Option<MemoryMax>, limits: &[MemoryLimit], need: u64) -> Option<Self> {
        let of_cgroup = limits.iter().filter(|limit| !limit.is_machine()).min_by_key(|limit| limit.limit);
        let smallest = of_cgroup.into_iter().chain(limits).min_by_key(|limit| limit.limit);
        let percent_of = |percent: u8, limit: &MemoryLimit| {
            let source = format!("{percent} % of {} MiB ({})", limit.limit >> 20, limit.source.of_limit());
            (limit.limit / 100 * u64::from(percent), source)
        };
        match option {
            Some(MemoryMax::Size(ByteSize(0))) => None,
            Some(MemoryMax::Size(size)) => {
                Some(Self { bytes: size.bytes(), source: MEMORY_MAX.into(), is_explicit: true })
            }
            Some(MemoryMax::Percent(percent)) => {
                let (bytes, source) = percent_of(percent, smallest?);
                Some(Self { bytes, source: format!("{MEMORY_MAX}, {source}"), is_explicit: true })
            }
            None => {
                let limit = smallest?;
                let percent = if limit.is_machine() { PERCENT_OF_MACHINE } else { PERCENT_OF_CGROUP };
                let (bytes, source) = percent_of(percent, limit);
                if bytes >= need {
                    return Some(Self { bytes, source, is_explicit: false });
                }
                let source = format!("the estimate, which is above {source}");
                Some(Self { bytes: need, source, is_explicit: false })
            }
        }
    }

    /// The bound as a limit of the memory check, when the option was set. `anonymous` is the usage of this process now.
    pub fn as_limit(&self, anonymous: u64) -> Option<MemoryLimit> {
        self.is_explicit.then(|| MemoryLimit {
            available: self.bytes.saturating_sub(anonymous),
            limit: self.bytes,
            source: LimitSource::OwnBound(self.source.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limit(mib: u64, file: &str) -> MemoryLimit {
        MemoryLimit { available: mib * MIB / 2, limit: mib * MIB, source: LimitSource::Cgroup(file.into()) }
    }

    fn machine() -> MemoryLimit {
        MemoryLimit { source: LimitSource::Machine { available: "MemAvailable" }, ..limit(4000, "") }
    }

    #[test]
    fn parses_sizes_and_percentages() {
        for text in ["512 MiB", "75%", "0 B", "1%", "100%"] {
            assert_eq!(text.parse::<MemoryMax>().unwrap().to_string(), text);
        }
        for text in ["0%", "101%", "512", "%", "1.5%", "-1%", "75 percent"] {
            assert!(text.parse::<MemoryMax>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_is_a_share_of_the_smallest_limit() {
        let bound = |limits: &[MemoryLimit], need| MemoryBound::of(None, limits, need).unwrap();
        let cgroups = [machine(), limit(2000, "/a/memory.max"), limit(1000, "/memory.max")];
        assert_eq!(bound(&cgroups, 0).bytes / MIB, 750);
        assert_eq!(bound(&cgroups, 0).source, "75 % of 1000 MiB (/memory.max)");
        // Of all memory, not of what is available.
        assert_eq!(bound(&[machine()], 0).bytes / MIB, 2000);
        assert_eq!(bound(&[machine()], 0).source, "50 % of 4000 MiB (MemTotal in /proc/meminfo)");
        // The limit of a cgroup above the memory of the machine bounds nothing.
        assert_eq!(bound(&[machine(), limit(9000, "/memory.max")], 0).bytes / MIB, 2000);
        let raised = bound(&cgroups, 800 * MIB);
        assert_eq!(raised.bytes, 800 * MIB);
        assert!(raised.source.starts_with("the estimate, which is above 75 %"));
        assert_eq!(MemoryBound::of(None, &[], 0), None);
    }

    #[test]
    fn an_explicit_value_is_a_limit_of_the_check_and_0_is_none() {
        let of = |text: &str| MemoryBound::of(Some(text.parse().unwrap()), &[machine()], 5000 * MIB);
        assert_eq!(of("0"), None);
        let percent = of("10%").unwrap();
        assert_eq!((percent.bytes / MIB, percent.is_explicit), (400, true));
        assert_eq!(percent.source, "--memory-max, 10 % of 4000 MiB (MemTotal in /proc/meminfo)");
        let size = of("300 MiB").unwrap();
        let as_limit = size.as_limit(100 * MIB).unwrap();
        assert_eq!((as_limit.available, as_limit.limit), (200 * MIB, 300 * MIB));
        assert_eq!(MemoryBound::of(None, &[machine()], 0).unwrap().as_limit(0), None);
    }
}
