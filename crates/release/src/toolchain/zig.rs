//! zig: the C compiler, the linker, and the musl that everything is linked with.

use std::os::unix::fs::PermissionsExt;

use super::pip::Wheel;
use super::{Fetcher, Finding, Origin, Site, Tool, offline};
use crate::config::Config;
use diag::Diagnostic;
use store::Digest;
use store::{Entry, Record};

const BINARY: &str = "ziglang/zig";

fn pinned(config: &Config) -> Result<(&str, String), Diagnostic> {
    let arch = std::env::consts::ARCH;
    let sha256 = config.zig.wheel_sha256.get(arch).ok_or_else(|| {
        Diagnostic::new(
            &crate::GENERAL,
            format!("release.toml pins no zig wheel for a build machine of {arch}"),
        )
        .hint(format!(
            "install zig {} yourself, or pin `toolchain.zig.wheel_sha256.{arch}`",
            config.zig.version
        ))
    })?;
    Ok((sha256, format!("tools/zig-{}-{}", config.zig.version, &sha256[..16])))
}

/// A zig of exactly the wanted version that the machine has already.
fn on_machine(site: &Site, config: &Config) -> Option<Tool> {
    let path = site.which("zig")?;
    let version = site.version_line(&path, "version")?;
    if version != config.zig.version {
        return None;
    }
    let sha256 = Digest::of_file(&path).ok()?;
    Some(Tool { name: "zig", version, path, sha256, origin: Origin::Machine })
}

fn from_entry(entry: Entry, config: &Config) -> Option<Tool> {
    Some(Tool {
        name: "zig",
        version: config.zig.version.clone(),
        path: entry.path.join(BINARY),
        sha256: entry.record.files.get(BINARY)?.clone(),
        origin: Origin::Cache,
    })
}

pub fn survey(site: &Site, config: &Config) -> Finding {
    let name = "zig";
    let version = config.zig.version.clone();
    if let Some(tool) = on_machine(site, config) {
        return Finding::of(Ok(&tool), name);
    }
    let (sha256, entry) = match pinned(config) {
        Ok(pinned) => pinned,
        Err(failure) => return Finding::of(Err(&failure), name),
    };
    match site.store.find(&entry).and_then(|entry| from_entry(entry, config)) {
        Some(tool) => Finding::of(Ok(&tool), name),
        None if site.offline => {
            let hint = "run `cargo xtask doctor --fetch` once with a network".into();
            Finding::Missing {
                name,
                problem: format!("zig {version} is not here, and `--offline` is set"),
                hint,
            }
        }
        None => Finding::WouldFetch {
            name,
            version,
            from: format!("the Python wheel `ziglang`, sha256 {sha256}"),
            with: Fetcher::Pip,
        },
    }
}

pub fn provide(site: &Site, config: &Config) -> anyhow::Result<Tool> {
    if let Some(tool) = on_machine(site, config) {
        return Ok(tool);
    }
    let (sha256, name) = pinned(config)?;
    if site.offline && site.store.find(&name).is_none() {
        return Err(offline(&format!("zig {}", config.zig.version)));
    }
    let entry = site.store.get_or_create(&name, |staging| {
        Wheel { package: "ziglang", version: &config.zig.version, sha256 }.unpack_into(site, staging)?;
        std::fs::set_permissions(staging.join(BINARY), std::fs::Permissions::from_mode(0o755))?;
        let mut record = Record::default();
        record.add_file(staging, BINARY)?.set_note("wheel_sha256", sha256);
        Ok(record)
    })?;
    from_entry(entry, config)
        .ok_or_else(|| Diagnostic::new(&crate::GENERAL, "the cached zig has no record").into())
}
