//! Build metadata: the `MUSLIN_*` variables that the release pipeline sets at compile time.
//!
//! Only this module reads them. `option_env!` makes cargo rebuild this crate alone when a value changes; a build script
//! or a dependency that reads them would rebuild the whole tree for every commit. A missing value reads `unknown`, so
//! that a developer's build does not look like a release.

use std::sync::LazyLock;

use serde::Serialize;

/// Name of the program.
pub const NAME: &str = "inferd";
/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const UNKNOWN: &str = "unknown";

/// URL for bug reports.
pub const ISSUES_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// Serialized into the report of the self-test.
#[derive(Debug, Clone, Serialize)]
pub struct BuildInfo {
    pub name: &'static str,
    pub version: &'static str,
    pub commit: &'static str,
    pub target: &'static str,
    /// Vendored C libraries; empty in a developer's build.
    pub native: Vec<NativeLibrary>,
    /// `None` in a developer's build.
    pub stack_size_bytes: Option<u64>,
}

/// A vendored C library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NativeLibrary {
    pub name: &'static str,
    pub version: &'static str,
    pub patches: Vec<&'static str>,
}

/// The metadata of this executable.
pub fn get() -> BuildInfo {
    BuildInfo {
        name: NAME,
        version: VERSION,
        commit: or_unknown(option_env!("MUSLIN_COMMIT")),
        target: or_unknown(option_env!("MUSLIN_TARGET")),
        native: native(option_env!("MUSLIN_NATIVE")),
        stack_size_bytes: STACK_SIZE_BYTES,
    }
}

/// Stack size of every thread, in bytes: `stack_size` of release.toml. The self-test compares each measured thread with
/// it.
///
/// `None` in a build without the pipeline: the self-test then reports the stack checks as not measured.
pub const STACK_SIZE_BYTES: Option<u64> = match option_env!("MUSLIN_STACK_SIZE") {
    Some(_) => Some(engine::STACK_SIZE_BYTES as u64),
    None => None,
};

/// `-V`: one line.
pub fn short() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let info = get();
        format!("{} ({} {})", info.version, info.commit, info.target)
    });
    &TEXT
}

/// `--version`: one value per line.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let info = get();
        let mut text = format!("{}\ncommit: {}\ntarget: {}", info.version, info.commit, info.target);
        let sets: Vec<String> = engine::Isa::available().iter().map(ToString::to_string).collect();
        text.push_str(&format!("\nkernels: {} (of {})", engine::Isa::best(), sets.join(", ")));
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
    fn parses_the_list_of_libraries() {
        let found = native(Some("a 1.0 0001-x,0002-y;b 2.0"));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name, found[0].version), ("a", "1.0"));
        assert_eq!(found[0].patches, ["0001-x", "0002-y"]);
        assert!(found[1].patches.is_empty());
        assert!(native(None).is_empty() && native(Some("")).is_empty());
    }
}
