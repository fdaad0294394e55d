//! Evidence next to a file: its parent and its split debug file. The report names every file that is used without a flag.

use std::path::{Path, PathBuf};

use elf_facts::facts::{DebugLink, Facts};

/// `FILE.unpacked`. For a member of an archive: the only `*.unpacked` next to the archive with the size that the packed file
/// declares.
pub(super) fn parent(container_or_file: &Path, is_member: bool, facts: &Facts) -> Option<PathBuf> {
    let declared = u64::from(facts.upx.as_ref()?.program.as_ref()?.file_size_bytes);
    if !is_member {
        return Some(with_suffix(container_or_file, "unpacked")).filter(|path| path.is_file());
    }
    let folder = folder_of(container_or_file);
    let mut found = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).filter(|entry| {
        let has_suffix = Path::new(&entry.file_name()).extension().is_some_and(|ext| ext == "unpacked");
        has_suffix && entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == declared)
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only.path()),
        // Without a unique candidate the user must pass `--parent`.
        _ => None,
    }
}

/// The file that `.gnu_debuglink` names, in the folders that a debugger searches: next to the file, and in `.debug`.
pub(super) fn debug_file(file: &Path, facts: &Facts) -> Option<PathBuf> {
    let link = facts.debug_link.as_ref().filter(|_| !facts.is_debug_only)?;
    linked_debug_file(file, link)
}

/// The debug file of a program, which is `file` or a member of it.
pub(super) fn linked_debug_file(file: &Path, link: &DebugLink) -> Option<PathBuf> {
    let name = &link.file_name;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let folder = folder_of(file);
    [folder.join(name), folder.join(".debug").join(name)]
        .into_iter()
        .find(|path| path.is_file() && path != file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
