//! What the kernel lets this process have: every cgroup above it, version 1 and 2, and the machine.
//!
//! Each level gives a *room*: its limit less what is used, where pages of files that can be dropped count as free. The
//! smallest room binds. The leaf alone would not do: a pod's or a slice's limit stands above it. `memory.high` counts
//! like `memory.max`: beyond it the kernel slows every allocation down, which no server survives. A limit whose usage cannot
//! be read is taken as used up: cannot tell is no pass.

use std::path::{Path, PathBuf};

use super::Tree;
use super::mountinfo::{self, Mount};

/// Bytes that are left, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// The limit itself.
    pub limit: u64,
    /// The file that the limit was read from, as seen inside the root.
    pub source: String,
}

/// Version 1 says "none" as the largest multiple of the page size below 2^63.
const V1_NONE: u64 = 1 << 62;

/// Every bound that is there, in no order.
pub fn rooms(tree: &(impl Tree + ?Sized)) -> Vec<Room> {
    let mut rooms = Vec::new();
    let own = text(tree, "proc/self/cgroup").unwrap_or_default();
    let mounts = mountinfo::parse(&text(tree, "proc/self/mountinfo").unwrap_or_default());
    if let Some((mount, folder)) = v2(&own, &mounts) {
        for level in levels(mount, &folder) {
            rooms.extend(v2_room(tree, &level));
        }
    }
    if let Some((mount, folder)) = v1(&own, &mounts) {
        for level in levels(mount, &folder) {
            rooms.extend(v1_room(tree, &level));
        }
    }
    rooms.extend(machine(tree));
    rooms
}

pub fn smallest(rooms: &[Room]) -> Option<&Room> {
    rooms.iter().min_by_key(|room| room.bytes)
}

/// `anon` of the cgroup that this process is in.
pub fn own_anonymous(tree: &(impl Tree + ?Sized)) -> Option<u64> {
    let own = text(tree, "proc/self/cgroup")?;
    let mounts = mountinfo::parse(&text(tree, "proc/self/mountinfo")?);
    if let Some((_, folder)) = v2(&own, &mounts)
        && let Some(anonymous) = stat(tree, &folder, "anon")
    {
        return Some(anonymous);
    }
    let (_, folder) = v1(&own, &mounts)?;
    stat(tree, &folder, "total_rss")
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

/// The folder and everything above it, as far as the mount shows it.
fn levels(mount: &Mount, folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().take_while(|level| level.starts_with(&mount.point)).map(Path::to_owned).collect()
}

fn v2_room(tree: &(impl Tree + ?Sized), level: &Path) -> Option<Room> {
    let limit = |file: &str| {
        let path = level.join(file);
        // "max" is no number and no limit.
        let bytes = number(tree, &path)?;
        Some((bytes, path.display().to_string()))
    };
    let (limit, source) = [limit("memory.high"), limit("memory.max")].into_iter().flatten().min()?;
    let current = number(tree, &level.join("memory.current")).unwrap_or(limit);
    let files = ["inactive_file", "active_file"].iter().filter_map(|key| stat(tree, level, key)).sum();
    Some(room(limit, current, files, source))
}

fn v1_room(tree: &(impl Tree + ?Sized), level: &Path) -> Option<Room> {
    let own = (level.join("memory.limit_in_bytes"), number(tree, &level.join("memory.limit_in_bytes")));
    // Includes the levels that a container cannot see.
    let above = (level.join("memory.stat"), stat(tree, level, "hierarchical_memory_limit"));
    let limits = [own, above].into_iter().filter_map(|(file, bytes)| Some((bytes?, file)));
    let (limit, file) = limits.filter(|(bytes, _)| *bytes < V1_NONE).min()?;
    let current = number(tree, &level.join("memory.usage_in_bytes")).unwrap_or(limit);
    let files =
        ["total_inactive_file", "total_active_file"].iter().filter_map(|key| stat(tree, level, key)).sum();
    Some(room(limit, current, files, file.display().to_string()))
}

fn room(limit: u64, current: u64, files: u64, source: String) -> Room {
    Room { bytes: limit.saturating_sub(current.saturating_sub(files)), limit, source }
}

/// MemAvailable; kernels before 3.14 have none, and their sum of free and cached is near enough.
fn machine(tree: &(impl Tree + ?Sized)) -> Option<Room> {
    let meminfo = text(tree, "proc/meminfo")?;
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    let limit = bytes("MemTotal")?;
    match bytes("MemAvailable") {
        Some(available) => {
            Some(Room { bytes: available, limit, source: "MemAvailable in /proc/meminfo".into() })
        }
        None => {
            let available = bytes("MemFree")? + bytes("Buffers").unwrap_or(0) + bytes("Cached").unwrap_or(0);
            let source = "MemFree + Buffers + Cached in /proc/meminfo".into();
            Some(Room { bytes: available, limit, source })
        }
    }
}

fn stat(tree: &(impl Tree + ?Sized), level: &Path, key: &str) -> Option<u64> {
    let text = text(tree, level.join("memory.stat"))?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn number(tree: &(impl Tree + ?Sized), file: &Path) -> Option<u64> {
    text(tree, file)?.trim().parse().ok()
}

fn text(tree: &(impl Tree + ?Sized), file: impl AsRef<Path>) -> Option<String> {
    tree.text(file.as_ref())
}

#[cfg(test)]
mod tests;
