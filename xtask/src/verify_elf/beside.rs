//! Evidence that lies beside a file: what it was packed from, and its split debug file. What is found there without
//! having been named is said in the report.

use std::path::{Path, PathBuf};

use elf_gate::Facts;

/// `FILE.unpacked`; for a member of an archive, the one file beside the archive that is called so and has the size that
/// the packed file promises.
pub fn parent(container_or_file: &Path, is_member: bool, facts: &Facts) -> Option<PathBuf> {
    let promised = u64::from(facts.upx.as_ref()?.program.as_ref()?.file_size_bytes);
    if !is_member {
        return Some(with_suffix(container_or_file, "unpacked")).filter(|path| path.is_file());
    }
    let folder = folder_of(container_or_file);
    let mut found = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).filter(|entry| {
        let is_called_so = Path::new(&entry.file_name()).extension().is_some_and(|ext| ext == "unpacked");
        is_called_so
            && entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == promised)
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only.path()),
        // None, or several that it could be: then the user has to say which.
        _ => None,
    }
}

/// Where a debugger would look: the name in the file, beside it and in `.debug`.
pub fn debug_file(file: &Path, facts: &Facts) -> Option<PathBuf> {
    let name = &facts.debug_link.as_ref()?.file_name;
    if name.is_empty() || name.contains('/') || facts.is_debug_only {
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
