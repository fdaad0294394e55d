//! zig: the C compiler, the linker, and the musl of the product.

use std::os::unix::fs::PermissionsExt;

use anyhow::Context;
use diag::Diagnostic;
use store::{CacheEntry, Digest, Record};

use super::offline;
use crate::codes::TOOL_MISSING;
use crate::config::Config;
use crate::context::BuildContext;
use crate::fetch::pip::Wheel;
use crate::resolution::{Fetch, Fetcher, Origin, Pin, Resolution, Tool};

const NAME: &str = "zig";
const BINARY: &str = "ziglang/zig";
const PACKAGE: &str = "ziglang";

fn entry_name(version: &str, sha256: &str) -> String {
    format!("tools/zig-{version}-{}", &sha256[..16])
}

pub(super) fn probe(context: &BuildContext, config: &Config) -> Resolution<Tool> {
    if let Some(tool) = on_machine(context, &config.zig.version) {
        return Resolution::Use(tool);
    }
    let (arch, version) = (std::env::consts::ARCH, &config.zig.version);
    let Some(sha256) = config.zig.wheel_sha256.get(arch) else {
        let problem = Diagnostic::new(
            &TOOL_MISSING,
            format!("release.toml pins no zig wheel for a build machine of {arch}"),
        )
        .rule(NAME)
        .hint(format!("install zig {version}, or pin `toolchain.zig.wheel_sha256.{arch}`"));
        return Resolution::Missing { problem };
    };
    let entry = context.store.find(&entry_name(version, sha256));
    match entry.and_then(|entry| from_entry(entry, version)) {
        Some(tool) => Resolution::Use(tool),
        None if context.offline => {
            Resolution::Missing { problem: offline(NAME, &format!("zig {version}"), "") }
        }
        None => Resolution::Fetch(Fetch {
            version: version.clone(),
            from: format!("the Python wheel `{PACKAGE}`, sha256 {sha256}"),
            with: Fetcher::Pip,
            pin: Pin::Wheel { package: PACKAGE.into(), version: version.clone(), sha256: sha256.clone() },
        }),
    }
}

/// zig of exactly that version in PATH.
fn on_machine(context: &BuildContext, version: &str) -> Option<Tool> {
    let path = context.which(NAME)?;
    let found = context.version_line(&path, "version")?;
    if found != version {
        return None;
    }
    let sha256 = Digest::of_file(&path).ok()?;
    Some(Tool { name: NAME, version: found, path, sha256, origin: Origin::Machine, entry: None })
}

fn from_entry(entry: CacheEntry, version: &str) -> Option<Tool> {
    Some(Tool {
        name: NAME,
        version: version.into(),
        path: entry.path.join(BINARY),
        sha256: entry.record.files.get(BINARY)?.clone(),
        origin: Origin::Cache,
        entry: Some(entry),
    })
}

pub(super) fn install(context: &BuildContext, resolution: &Resolution<Tool>) -> anyhow::Result<Tool> {
    let Resolution::Fetch(Fetch { pin: Pin::Wheel { package, version, sha256 }, .. }) = resolution else {
        return super::installed(context, resolution);
    };
    let entry = context.store.get_or_create(&entry_name(version, sha256), |staging| {
        Wheel { package, version, sha256 }.unpack_into(context, staging)?;
        std::fs::set_permissions(staging.join(BINARY), std::fs::Permissions::from_mode(0o755))?;
        let mut record = Record::default();
        record.add_file(staging, BINARY)?.set_note("wheel_sha256", sha256);
        Ok(record)
    })?;
    from_entry(entry, version).context("the cache entry of zig has no digest of the program")
}
