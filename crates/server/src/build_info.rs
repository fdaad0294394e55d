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
    /// Vendored C libraries; empty in a developer's own build.
    pub native: Vec<NativeLibrary>,
    pub stack_size_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NativeLibrary {
    pub name: &'static str,
    pub version: &'static str,
    pub patches: Vec<&'static str>,
}

pub fn get() -> BuildInfo {
    BuildInfo {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        commit: or_unknown(option_env!("MUSLIN_COMMIT")),
        target: or_unknown(option_env!("MUSLIN_TARGET")),
        native: native(option_env!("MUSLIN_NATIVE")),
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
        let mut text = format!("{}\ncommit: {}\ntarget: {}", info.version, info.commit, info.target);
        if info.native.is_empty() {
            text.push_str("\nnative libraries: unknown");
        }
        for NativeLibrary { name, version, patches } in info.native {
            let patches = if patches.is_empty() { "none".to_string() } else { patches.join(", ") };
            text.push_str(&format!("\n{name}: {version}\n{name} patches: {patches}"));
        }
        text
    });
    &TEXT
}

fn or_unknown(value: Option<&'static str>) -> &'static str {
    match value {
        Some(text) if !text.is_empty() => text,
        _ => UNKNOWN,
    }
}

/// `NAME VERSION PATCH,PATCH;NAME VERSION`
fn native(list: Option<&'static str>) -> Vec<NativeLibrary> {
    let library = |text: &'static str| {
        let mut words = text.split_whitespace();
        Some(NativeLibrary {
            name: words.next()?,
            version: or_unknown(words.next()),
            patches: words.next().unwrap_or("").split(',').filter(|name| !name.is_empty()).collect(),
        })
    };
    list.unwrap_or("").split(';').filter_map(library).collect()
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
    fn the_list_of_libraries_is_read() {
        let found = native(Some("a 1.0 0001-x,0002-y;b 2.0"));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name, found[0].version), ("a", "1.0"));
        assert_eq!(found[0].patches, ["0001-x", "0002-y"]);
        assert!(found[1].patches.is_empty());
        assert!(native(None).is_empty() && native(Some("")).is_empty());
    }
}
