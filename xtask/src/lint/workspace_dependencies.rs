//! Entries of `[workspace.dependencies]` that no member uses. cargo-machete reads the manifests of the members only, and
//! cargo ignores an unused entry without a warning.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;

use super::report::Status;

/// Reads the root manifest and those of `xtask` and of every folder of `crates`.
pub fn check(root: &Path) -> anyhow::Result<Status> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
    };
    let declared = declared(&read(&root.join("Cargo.toml"))?);
    let mut members = vec![root.join("xtask/Cargo.toml")];
    for folder in std::fs::read_dir(root.join("crates")).context("could not list the folder `crates`")? {
        let manifest = folder?.path().join("Cargo.toml");
        if manifest.is_file() {
            members.push(manifest);
        }
    }
    let mut unused = declared;
    for member in members {
        let text = read(&member)?;
        unused.retain(|name| !inherits(&text, name));
    }
    for name in &unused {
        eprintln!("[workspace.dependencies] of Cargo.toml: no member uses `{name}`");
    }
    Ok(if unused.is_empty() { Status::Pass } else { Status::Violated })
}

/// Keys of the section `[workspace.dependencies]`.
fn declared(manifest: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key.trim())
        .filter(|key| !key.is_empty() && !key.starts_with('#') && !key.contains(' '))
        .map(String::from)
        .collect()
}

/// Whether a member has `NAME.workspace = true` or `NAME = { workspace = true, … }`.
fn inherits(manifest: &str, name: &str) -> bool {
    manifest.lines().filter_map(|line| line.trim().strip_prefix(name)).any(|rest| {
        let rest = rest.trim_start();
        rest.starts_with(".workspace")
            || rest.strip_prefix('=').is_some_and(|value| value.contains("workspace = true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = []\n\n[workspace.dependencies]\n# a = reason\nserde = \"1\"\n\
                        serde_json = { version = \"1\" }\n\n[profile.dev]\ndebug = 0\n";

    #[test]
    fn reads_the_keys_of_one_section() {
        assert_eq!(declared(ROOT), ["serde", "serde_json"].map(String::from).into());
    }

    #[test]
    fn finds_both_spellings_of_inheritance() {
        assert!(inherits("[dependencies]\nserde.workspace = true\n", "serde"));
        assert!(inherits("serde = { workspace = true, features = [\"rc\"] }\n", "serde"));
    }

    #[test]
    fn a_prefix_of_another_name_is_not_a_use() {
        assert!(!inherits("serde_json.workspace = true\n", "serde"));
    }

    #[test]
    fn an_unused_entry_is_a_violation() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("xtask")).unwrap();
        std::fs::create_dir_all(root.path().join("crates/a")).unwrap();
        std::fs::write(root.path().join("Cargo.toml"), ROOT).unwrap();
        std::fs::write(root.path().join("xtask/Cargo.toml"), "serde.workspace = true\n").unwrap();
        assert!(matches!(check(root.path()).unwrap(), Status::Violated));
        std::fs::write(root.path().join("crates/a/Cargo.toml"), "serde_json.workspace = true\n").unwrap();
        assert!(matches!(check(root.path()).unwrap(), Status::Pass));
    }
}
