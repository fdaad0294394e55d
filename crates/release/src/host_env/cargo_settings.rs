//! Settings in cargo's configuration files that change the product: a `[profile]` in `~/.cargo/config.toml` has precedence
//! over the one in Cargo.toml.
//!
//! Rustflags, linkers, compilers and wrappers in these files have no effect: the variables that `cargo::command` sets have
//! precedence over them.

use std::path::{Path, PathBuf};

/// The files, besides the workspace's own, that cargo reads for a build in `root` and that set a profile.
pub fn with_profile(root: &Path, cargo_home: Option<PathBuf>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let folders = root.ancestors().skip(1).map(|folder| folder.join(".cargo"));
    let own = cargo_home.or_else(|| Some(home?.join(".cargo")));
    let mut files: Vec<PathBuf> = folders
        .chain(own)
        .flat_map(|folder| ["config", "config.toml"].map(|name| folder.join(name)))
        .filter(|file| sets_profile(file))
        .collect();
    files.sort();
    files.dedup();
    files
}

/// cargo itself reports a file that cannot be read.
fn sets_profile(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("profile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_profile_in_a_configuration_file_of_the_user() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("src/checkout");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir(home.path().join(".cargo")).unwrap();
        let file = home.path().join(".cargo/config.toml");
        let found = |text: &str| {
            std::fs::write(&file, text).unwrap();
            with_profile(&root, None, Some(home.path().into()))
        };
        assert_eq!(
            found("[build]\nrustflags = [\"-g\"]\njobs = 3\n[net]\noffline = true\n"),
            [""; 0].map(PathBuf::from)
        );
        assert_eq!(found("[profile.release]\nopt-level = 0\n"), std::slice::from_ref(&file));
    }
}
