//! Which limit made an allocation fail, read without an allocation.
//!
//! A limit of a cgroup is not among them: the kernel grants the allocation and ends a process later.

use core::ffi::CStr;
use core::fmt;

use super::output::Size;

const PAGE_BYTES: u64 = 4096;

/// Memory of the process, and the limit with the least room.
pub struct Exhaustion {
    resident: u64,
    address_space: u64,
    limit: Option<(Limit, u64)>,
}

/// A limit that makes `mmap` fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    AddressSpace,
    Data,
    Mappings,
    /// With `vm.overcommit_memory` 2.
    Commit,
}

impl Exhaustion {
    /// Reads the state of the process.
    pub fn read() -> Self {
        let mut buffer = [0; 4096];
        let statm = read_file(c"/proc/self/statm", &mut buffer);
        let mut pages = statm.split(|byte| *byte == b' ').map(|field| number(field) * PAGE_BYTES);
        let mut next = || pages.next().unwrap_or(0);
        let (address_space, resident) = (next(), next());
        let (_shared, _text, _library, data) = (next(), next(), next(), next());
        // SAFETY: the pointer is to a local of `resource_limit`.
        let address_space_limit = resource_limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_AS, limit) });
        // SAFETY: the same.
        let data_limit = resource_limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_DATA, limit) });
        let limits = [
            (Limit::AddressSpace, address_space_limit, address_space),
            (Limit::Data, data_limit, data),
            (Limit::Mappings, max_map_count(), mappings()),
            (Limit::Commit, commit_limit(), meminfo(b"Committed_AS:")),
        ];
        Self { resident, address_space, limit: tightest(limits) }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.limit {
            Some((Limit::AddressSpace, _)) => {
                "raise the limit: `ulimit -v unlimited`, or `LimitAS=infinity` of systemd; fewer `--threads`, \
                 a lower `--max-inflight-bytes` or `--batch-tokens` reduce the need"
            }
            Some((Limit::Data, _)) => {
                "raise the limit: `ulimit -d unlimited`, or `LimitDATA=infinity` of systemd"
            }
            Some((Limit::Mappings, _)) => "raise the limit: `sysctl vm.max_map_count=262144`",
            Some((Limit::Commit, _)) => {
                "stop other programs, add memory or swap, or permit overcommitment: `sysctl vm.overcommit_memory=0`"
            }
            None => "no limit of this process is near; the size may exceed what the machine has: `free -h`",
        }
    }
}

/// The limit of which the largest share is used. `u64::MAX`: no limit.
fn tightest(limits: [(Limit, u64, u64); 4]) -> Option<(Limit, u64)> {
    let used_permille = |(_, limit, used): &(Limit, u64, u64)| used.saturating_mul(1000) / (*limit).max(1);
    let tightest =
        limits.iter().filter(|(_, limit, _)| *limit != u64::MAX).max_by_key(|entry| used_permille(entry))?;
    // mimalloc requests more from the kernel than one allocation needs.
    (used_permille(tightest) >= 500).then_some((tightest.0, tightest.1))
}

impl fmt::Display for Exhaustion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, address_space, limit } = self;
        writeln!(f, "  in use:    {} resident, {} of address space", Size(*resident), Size(*address_space))?;
        match limit {
            Some((Limit::AddressSpace, bytes)) => {
                writeln!(f, "  limit:     {} of address space (RLIMIT_AS, `ulimit -v`)", Size(*bytes))
            }
            Some((Limit::Data, bytes)) => {
                writeln!(f, "  limit:     {} of data (RLIMIT_DATA, `ulimit -d`)", Size(*bytes))
            }
            Some((Limit::Mappings, count)) => writeln!(f, "  limit:     {count} mappings (vm.max_map_count)"),
            Some((Limit::Commit, bytes)) => {
                writeln!(f, "  limit:     {} for all processes (vm.overcommit_memory is 2)", Size(*bytes))
            }
            None => writeln!(f, "  limit:     none found"),
        }
    }
}

/// The soft limit that `get` writes.
fn resource_limit(get: impl FnOnce(*mut libc::rlimit) -> libc::c_int) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    get(&raw mut limit);
    limit.rlim_cur
}

fn max_map_count() -> u64 {
    let mut buffer = [0; 32];
    match number(read_file(c"/proc/sys/vm/max_map_count", &mut buffer)) {
        0 => u64::MAX,
        count => count,
    }
}

fn mappings() -> u64 {
    let mut buffer = [0; 1024];
    let mut lines = 0;
    if let Some(file) = File::open(c"/proc/self/maps") {
        while let Some(count) = file.read(&mut buffer) {
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
    lines
}

/// The limit counts only in mode 2.
fn commit_limit() -> u64 {
    let mut buffer = [0; 32];
    match number(read_file(c"/proc/sys/vm/overcommit_memory", &mut buffer)) {
        2 => meminfo(b"CommitLimit:"),
        _ => u64::MAX,
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(key: &[u8]) -> u64 {
    let mut buffer = [0; 4096];
    let text = read_file(c"/proc/meminfo", &mut buffer);
    let value = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    value.map_or(0, |value| number(value) << 10)
}

/// The first number of the text; 0 without one.
fn number(text: &[u8]) -> u64 {
    let digits =
        text.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// The start of a file; empty when it cannot be read.
fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    let mut used = 0;
    if let Some(file) = File::open(path) {
        while let Some(count) = file.read(&mut buffer[used..]) {
            used += count;
        }
    }
    &buffer[..used]
}

/// std's files allocate their path.
struct File(libc::c_int);

impl File {
    fn open(path: &CStr) -> Option<Self> {
        // SAFETY: the path ends in a NUL byte.
        let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (file >= 0).then_some(Self(file))
    }

    /// `None` at the end, after an error, and for an empty buffer.
    fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        // SAFETY: the buffer is valid for writes of its length.
        let count = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(count).ok().filter(|count| *count > 0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_with_the_largest_used_share_is_named() {
        let limits = |address_space, mappings| {
            let none = u64::MAX;
            tightest([
                (Limit::AddressSpace, address_space, 900 << 20),
                (Limit::Data, none, 900 << 20),
                (Limit::Mappings, mappings, 400),
                (Limit::Commit, none, 0),
            ])
        };
        assert_eq!(limits(1 << 30, 65530), Some((Limit::AddressSpace, 1 << 30)));
        assert_eq!(limits(1 << 30, 401), Some((Limit::Mappings, 401)));
        assert_eq!(limits(u64::MAX, 65530), None);
    }

    #[test]
    fn reads_the_memory_of_this_process() {
        let now = Exhaustion::read();
        assert!(now.resident > 1 << 20 && now.address_space > now.resident);
        assert!(mappings() > 5 && max_map_count() > 1000 && meminfo(b"Committed_AS:") > 1 << 20);
    }
}
