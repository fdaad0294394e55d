//! Memory limits of this process: every cgroup from its own to the root, version 1 and 2, and the machine.
//!
//! The available memory of a level is its limit minus its usage; file pages that the kernel can drop count as free. The
//! level with the least available memory decides. All levels are read because the limit of a pod or a slice is above
//! the process's own cgroup. `memory.high` counts like `memory.max`: above it the kernel throttles every allocation. A
//! limit whose usage cannot be read counts as used up: "cannot tell" is not a pass.

use std::fmt;
use std::path::{Path, PathBuf};

use super::kernel_files::KernelFiles;
use super::mountinfo::{self, Mount};

/// A limit and its available memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    pub available: u64,
    pub limit: u64,
    pub source: LimitSource,
}

/// Where the two numbers of a [`MemoryLimit`] come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitSource {
    /// The file of a cgroup that holds the limit. The usage is in another file of the same folder.
    Cgroup(String),
    /// The memory of the machine, which is no setting: `MemTotal`, and these keys of `/proc/meminfo` for what is
    /// available.
    Machine { available: &'static str },
    /// The bound of `--memory-max`, which the server enforces and not the kernel; [`MemoryBound::source`] as text.
    ///
    /// [`MemoryBound::source`]: super::memory_max::MemoryBound::source
    OwnBound(String),
}

impl LimitSource {
    /// What sets the limit alone, without what the available memory was read from.
    pub fn of_limit(&self) -> &str {
        match self {
            Self::Cgroup(file) => file,
            Self::Machine { .. } => "MemTotal in /proc/meminfo",
            Self::OwnBound(source) => source,
        }
    }
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { available } => write!(f, "{available} and MemTotal in /proc/meminfo"),
            Self::Cgroup(_) | Self::OwnBound(_) => f.write_str(self.of_limit()),
        }
    }
}

impl MemoryLimit {
    /// Whether this is the memory of the machine, and not a limit that was set.
    pub fn is_machine(&self) -> bool {
        matches!(self.source, LimitSource::Machine { .. })
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB free of {} MiB ({})", self.available >> 20, self.limit >> 20, self.source)
    }
}

/// Version 1 writes "no limit" as the largest multiple of the page size below 2^63.
const V1_NONE: u64 = 1 << 62;

/// Every limit that can be read, in no order.
pub fn read_limits(files: &(impl KernelFiles + ?Sized)) -> Vec<MemoryLimit> {
    let mut limits = Vec::new();
    let own = text(files, "proc/self/cgroup").unwrap_or_default();
    let mounts = mountinfo::parse(&text(files, "proc/self/mountinfo").unwrap_or_default());
    if let Some((mount, folder)) = v2(&own, &mounts) {
        for level in levels(mount, &folder) {
            limits.extend(v2_limit(files, &level));
        }
    }
    if let Some((mount, folder)) = v1(&own, &mounts) {
        for level in levels(mount, &folder) {
            limits.extend(v1_limit(files, &level));
        }
    }
    limits.extend(machine(files));
    limits
}

/// The limit with the least available memory.
pub fn tightest(limits: &[MemoryLimit]) -> Option<&MemoryLimit> {
    limits.iter().min_by_key(|limit| limit.available)
}

/// `anon` of the cgroup of this process.
pub fn own_anonymous(files: &(impl KernelFiles + ?Sized)) -> Option<u64> {
    let own = text(files, "proc/self/cgroup")?;
    let mounts = mountinfo::parse(&text(files, "proc/self/mountinfo")?);
    if let Some((_, folder)) = v2(&own, &mounts)
        && let Some(anonymous) = stat(files, &folder, "anon")
    {
        return Some(anonymous);
    }
    let (_, folder) = v1(&own, &mounts)?;
    stat(files, &folder, "total_rss")
}

fn v2<'a>(own: &str, mounts: &'a [Mount]) -> Option<(&'a Mount, PathBuf)> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
    Some((mount, mountinfo::folder(mount, Path::new(path))))
}

fn v1<'a>(own: &str, mounts: &'a [Mount]) -> Option<(&'a Mount, PathBuf)> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == "memory").then_some(path)
    })?;
    let mount = mounts
        .iter()
        .find(|mount| mount.kind == "cgroup" && mount.options.iter().any(|option| option == "memory"))?;
    Some((mount, mountinfo::folder(mount, Path::new(path))))
}

/// The folder and its ancestors inside the mount.
fn levels(mount: &Mount, folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().take_while(|level| level.starts_with(&mount.point)).map(Path::to_owned).collect()
}

fn v2_limit(files: &(impl KernelFiles + ?Sized), level: &Path) -> Option<MemoryLimit> {
    let limit = |file: &str| {
        let path = level.join(file);
        // "max" is not a number: no limit.
        let bytes = number(files, &path)?;
        Some((bytes, path.display().to_string()))
    };
    let (limit, source) = [limit("memory.high"), limit("memory.max")].into_iter().flatten().min()?;
    let current = number(files, &level.join("memory.current")).unwrap_or(limit);
    let cache = ["inactive_file", "active_file"].iter().filter_map(|key| stat(files, level, key)).sum();
    Some(memory_limit(limit, current, cache, source))
}

fn v1_limit(files: &(impl KernelFiles + ?Sized), level: &Path) -> Option<MemoryLimit> {
    let own = (level.join("memory.limit_in_bytes"), number(files, &level.join("memory.limit_in_bytes")));
    // The hierarchical limit includes levels that a container cannot see.
    let above = (level.join("memory.stat"), stat(files, level, "hierarchical_memory_limit"));
    let limits = [own, above].into_iter().filter_map(|(file, bytes)| Some((bytes?, file)));
    let (limit, file) = limits.filter(|(bytes, _)| *bytes < V1_NONE).min()?;
    let current = number(files, &level.join("memory.usage_in_bytes")).unwrap_or(limit);
    let cache =
        ["total_inactive_file", "total_active_file"].iter().filter_map(|key| stat(files, level, key)).sum();
    Some(memory_limit(limit, current, cache, file.display().to_string()))
}

fn memory_limit(limit: u64, current: u64, page_cache: u64, source: String) -> MemoryLimit {
    let available = limit.saturating_sub(current.saturating_sub(page_cache));
    MemoryLimit { available, limit, source: LimitSource::Cgroup(source) }
}

/// MemTotal, and MemAvailable; for kernels before 3.14, which lack it, the sum of free and cached memory.
fn machine(files: &(impl KernelFiles + ?Sized)) -> Option<MemoryLimit> {
    let meminfo = text(files, "proc/meminfo")?;
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    let limit = bytes("MemTotal")?;
    let (available, keys) = match bytes("MemAvailable") {
        Some(available) => (available, "MemAvailable"),
        None => {
            let cache = bytes("Buffers").unwrap_or(0) + bytes("Cached").unwrap_or(0);
            (bytes("MemFree")? + cache, "MemFree + Buffers + Cached")
        }
    };
    Some(MemoryLimit { available, limit, source: LimitSource::Machine { available: keys } })
}

fn stat(files: &(impl KernelFiles + ?Sized), level: &Path, key: &str) -> Option<u64> {
    let text = text(files, level.join("memory.stat"))?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn number(files: &(impl KernelFiles + ?Sized), file: &Path) -> Option<u64> {
    text(files, file)?.trim().parse().ok()
}

fn text(files: &(impl KernelFiles + ?Sized), file: impl AsRef<Path>) -> Option<String> {
    files.read(file.as_ref())
}

#[cfg(test)]
mod tests;
