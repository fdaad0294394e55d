//! Packages of crates.io as they lie in the registry, fetched by cargo itself, with whatever mirror and proxy its user has set.
//! Only cargo is asked where it put them; nothing of them is compiled.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Site;
use diag::Diagnostic;
use process::Task;

/// The `.crate` file (a .tar.gz), copied into `into`.
pub fn fetch(site: &Site, into: &Path, package: &str, version: &str) -> anyhow::Result<PathBuf> {
    eprintln!("fetching the crate {package} {version}");
    // A package of our own that asks for it, outside of any workspace: cargo has no command for a single file.
    let asking = tempfile::tempdir().context("making a folder for cargo")?;
    let manifest = format!(
        "[workspace]\n[package]\nname = \"asking\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\n{package} = {{ version = \"={version}\", default-features = false }}\n"
    );
    std::fs::write(asking.path().join("Cargo.toml"), manifest)?;
    std::fs::write(asking.path().join("lib.rs"), "")?;
    let mut cargo = site.command("cargo");
    cargo.current_dir(asking.path()).args(["metadata", "--format-version", "1"]);
    let metadata = site.runner.run(Task::new(format!("fetch the crate {package} {version}"), cargo))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).context("reading what cargo said of its packages")?;
    let unpacked = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| found["name"] == package && found["version"] == version)
        .find_map(|found| found["manifest_path"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo resolved no {package} {version}"))?;
    // registry/src/INDEX/NAME-VERSION/Cargo.toml was unpacked from registry/cache/INDEX/NAME-VERSION.crate
    let packed = packed(&unpacked).filter(|path| path.is_file()).ok_or_else(|| {
        Diagnostic::new(&crate::GENERAL, format!("cargo has no package file for {}", unpacked.display()))
            .expected("a crate of a registry, with its .crate file in cargo's cache")
            .hint("a [source] in cargo's settings that replaces the registry by a folder keeps no such file")
    })?;
    let path = into.join(packed.file_name().context("a package without a name")?);
    std::fs::copy(&packed, &path).with_context(|| format!("copying {}", packed.display()))?;
    Ok(path)
}

fn packed(manifest: &Path) -> Option<PathBuf> {
    let folder = manifest.parent()?;
    let index = folder.parent()?;
    let registry = index.parent().filter(|src| src.ends_with("src"))?.parent()?;
    let mut name = folder.file_name()?.to_owned();
    name.push(".crate");
    Some(registry.join("cache").join(index.file_name()?).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_lies_beside_what_was_unpacked_of_it() {
        assert_eq!(
            packed(Path::new("/c/registry/src/index-1/tiny-sys-1.0.0/Cargo.toml")).unwrap(),
            Path::new("/c/registry/cache/index-1/tiny-sys-1.0.0.crate")
        );
        assert_eq!(packed(Path::new("/somewhere/tiny/Cargo.toml")), None);
    }
}
