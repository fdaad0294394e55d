//! Packages of crates.io as the registry holds them. cargo downloads them, with the mirror and proxy of its own settings;
//! nothing of them is compiled.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::codes::FETCH_FAILED;
use crate::context::BuildContext;
use diag::Diagnostic;
use process::Task;

/// The `.crate` file (a .tar.gz), copied into `into`.
pub fn fetch(context: &BuildContext, into: &Path, package: &str, version: &str) -> anyhow::Result<PathBuf> {
    context.events().step(format!("fetching the crate {package} {version}"));
    // A temporary package that depends on it, outside of any workspace: cargo has no command that downloads one file.
    let dependent = tempfile::tempdir().context("creating a folder for cargo")?;
    let manifest = format!(
        "[workspace]\n[package]\nname = \"dependent\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\n{package} = {{ version = \"={version}\", default-features = false }}\n"
    );
    std::fs::write(dependent.path().join("Cargo.toml"), manifest)?;
    std::fs::write(dependent.path().join("lib.rs"), "")?;
    let mut cargo = context.command("cargo");
    cargo.current_dir(dependent.path()).args(["metadata", "--format-version", "1"]);
    let metadata = context.runner.run(Task::new(format!("fetch the crate {package} {version}"), cargo))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).context("reading the package list of cargo")?;
    let unpacked = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| found["name"] == package && found["version"] == version)
        .find_map(|found| found["manifest_path"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo resolved no {package} {version}"))?;
    // registry/src/INDEX/NAME-VERSION/Cargo.toml was unpacked from registry/cache/INDEX/NAME-VERSION.crate
    let packed = packed(&unpacked).filter(|path| path.is_file()).ok_or_else(|| {
        Diagnostic::new(&FETCH_FAILED, format!("cargo has no package file for {}", unpacked.display()))
            .expected("a crate of a registry, with its .crate file in cargo's cache")
            .hint("a [source] in cargo's settings that replaces the registry by a folder has no such files")
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
    fn finds_the_package_file_of_an_unpacked_package() {
        assert_eq!(
            packed(Path::new("/c/registry/src/index-1/tiny-sys-1.0.0/Cargo.toml")).unwrap(),
            Path::new("/c/registry/cache/index-1/tiny-sys-1.0.0.crate")
        );
        assert_eq!(packed(Path::new("/somewhere/tiny/Cargo.toml")), None);
    }
}
