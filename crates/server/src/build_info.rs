//! What this file was built from, as the pipeline told the compiler through `MUSLIN_*` variables.
//!
//! This is the only module that reads them. `option_env!` makes cargo rebuild this crate alone when one changes; a build
//! script or a dependency that read them would rebuild the whole tree for a new commit. A value that nobody passed reads
//! `unknown`: a developer's own build must not look like a release.

use std::sync::LazyLock;

use serde::Serialize;

pub const NAME: &str = "inferd";
const UNKNOWN: &str = "unknown";

/// Where a user reports a bug.
pub const ISSUES_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// musl's ceiling for the default thread stack, and what release.toml promises unless it says otherwise.
const STACK_SIZE_DEFAULT: u64 = 8 << 20;

#[derive(Debug, Clone, Serialize)]
pub struct BuildInfo {
    pub name: &'static str,
    pub version: &'static str,
    pub commit: &'static str,
    pub target: &'static str,
    pub openblas_version: &'static str,
    pub openblas_patches: Vec<&'static str>,
    pub stack_size_bytes: u64,
}

pub fn get() -> BuildInfo {
    BuildInfo {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        commit: or_unknown(option_env!("MUSLIN_COMMIT")),
        target: or_unknown(option_env!("MUSLIN_TARGET")),
        openblas_version: or_unknown(option_env!("MUSLIN_OPENBLAS_VERSION")),
        openblas_patches: patches(option_env!("MUSLIN_OPENBLAS_PATCHES")),
        stack_size_bytes: STACK_SIZE_BYTES,
    }
}

/// The thread stack that the release promises; `selftest` requires it of every thread that it measures.
pub const STACK_SIZE_BYTES: u64 = match option_env!("MUSLIN_STACK_SIZE") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(bytes) => bytes,
        Err(_) => panic!("MUSLIN_STACK_SIZE must be a whole number of bytes, such as 8388608"),
    },
    None => STACK_SIZE_DEFAULT,
};

/// `-V`: one line that a script can cut.
pub fn short() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let info = get();
        format!("{} ({} {})", info.version, info.commit, info.target)
    });
    &TEXT
}

/// `--version`: one fact a line.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let info = get();
        let patches = match info.openblas_patches.as_slice() {
            [] => UNKNOWN.to_string(),
            names => names.join(", "),
        };
        format!(
            "{}\ncommit: {}\ntarget: {}\nopenblas: {}\nopenblas patches: {patches}",
            info.version, info.commit, info.target, info.openblas_version
        )
    });
    &TEXT
}

fn or_unknown(value: Option<&'static str>) -> &'static str {
    match value {
        Some(text) if !text.is_empty() => text,
        _ => UNKNOWN,
    }
}

fn patches(list: Option<&'static str>) -> Vec<&'static str> {
    list.unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_and_empty_values_read_unknown() {
        assert_eq!(or_unknown(None), "unknown");
        assert_eq!(or_unknown(Some("")), "unknown");
        assert_eq!(or_unknown(Some("abc")), "abc");
    }

    #[test]
    fn the_patch_list_is_split_at_commas() {
        assert_eq!(patches(Some("0001-a, 0002-b,")), ["0001-a", "0002-b"]);
        assert!(patches(None).is_empty());
    }
}
