//! The C compiler for build scripts of the product, such as those that use the `cc` crate.
//!
//! The crate passes `--target=` with Rust's name of the target to every clang, and zig has other names. The wrapper around
//! zig has the target already, so a script in front of it drops that argument.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use store::atomic_write;

use crate::plan::Plan;
use crate::stages::toolchain::Wrappers;

const SCRIPT: &str = r#"#!/bin/sh
left=$#
while [ "$left" -gt 0 ]; do
  argument=$1
  shift
  left=$((left - 1))
  case $argument in
    --target=*) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec '@CC@' "$@"
"#;

/// Sets the variables of the `cc` crate for the target. Variables of the build machine itself are not touched: programs that
/// build scripts run are compiled by its own compiler.
pub fn set(command: &mut Command, plan: &Plan, wrappers: &Wrappers) -> anyhow::Result<()> {
    let script = script(&plan.paths.work, wrappers)?;
    let target = plan.target.replace('-', "_");
    // cargo's own list of remapped prefixes is for rustc only.
    let remap: Vec<String> = plan
        .rustflags
        .iter()
        .filter_map(|flag| flag.strip_prefix("--remap-path-prefix="))
        // The crate splits the variable at white space.
        .filter(|mapping| !mapping.contains(char::is_whitespace))
        .map(|mapping| format!("-ffile-prefix-map={mapping}"))
        .collect();
    command
        .env(format!("CC_{target}"), script)
        .env(format!("AR_{target}"), wrappers.ar())
        .env(format!("RANLIB_{target}"), wrappers.ranlib())
        .env(format!("CFLAGS_{target}"), remap.join(" "));
    Ok(())
}

/// Written only when its text changes: its path is an input of build scripts, and its time would be one too.
fn script(work: &Path, wrappers: &Wrappers) -> anyhow::Result<PathBuf> {
    let path = work.join("build-script-cc");
    let text = SCRIPT.replace("@CC@", &wrappers.cc().to_string_lossy());
    if std::fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(path);
    }
    atomic_write::bytes(&path, 0o755, text.as_bytes())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn drops_the_target_and_keeps_every_other_argument() {
        let script = super::SCRIPT.replace("'@CC@'", "printf '[%s]'");
        let arguments = ["-O2", "--target=x86_64-unknown-linux-musl", "a b.c", "-o", "a.o"];
        let output = Command::new("sh").arg("-c").arg(script).arg("cc").args(arguments).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "[-O2][a b.c][-o][a.o]");
    }
}
