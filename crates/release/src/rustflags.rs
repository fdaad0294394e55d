//! The compiler and linker flags of the product: one table, each flag with its reason. `.cargo/config.toml` has none, so a
//! workspace without that file builds the same way.

use std::path::PathBuf;

use units::ByteSize;

use crate::host_env::HostEnv;

/// A flag and the reason for it.
pub struct RustFlag {
    /// As rustc takes it.
    pub flag: &'static str,
    /// Why it is set.
    pub reason: &'static str,
}

/// The stack size follows this prefix.
const STACK_SIZE: &str = "-Clink-arg=-Wl,-z,stack-size=";

/// Flags of every product, in their order. The stack size and the path mappings are completed by [`of_product`].
pub static RUSTFLAGS: [RustFlag; 5] = [
    RustFlag {
        flag: "-Clink-self-contained=no",
        reason: "one libc for Rust and C: the musl that zig links, not the copy inside the Rust target",
    },
    RustFlag { flag: "-Ctarget-feature=+crt-static", reason: "a static program" },
    RustFlag {
        flag: "-Crelocation-model=static",
        reason: "the linker makes fixed-position executables of static musl programs, so code is compiled for that",
    },
    RustFlag {
        flag: STACK_SIZE,
        reason: "musl gives a thread 128 KiB unless PT_GNU_STACK demands more; the size is `link.stack_size` of release.toml",
    },
    RustFlag {
        flag: "-Clink-arg=-Wl,--build-id=sha1",
        reason: "joins the stripped binary and its debug file",
    },
];

/// All flags of a product: the table, then mappings that keep paths of the build machine out of the binary.
pub fn of_product(stack_size: ByteSize, host: &HostEnv) -> Vec<String> {
    let complete = |flag: &RustFlag| match flag.flag {
        STACK_SIZE => format!("{STACK_SIZE}{}", stack_size.0),
        flag => flag.to_string(),
    };
    let mut flags: Vec<String> = RUSTFLAGS.iter().map(complete).collect();
    let home = |name: &str, below: &str| {
        let named = host.environment.get(name).map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from(host.environment.get("HOME")?).join(below)))
    };
    let folders = [
        (home("CARGO_HOME", ".cargo"), "/cargo"),
        (home("RUSTUP_HOME", ".rustup"), "/rustup"),
        (Some(host.root.clone()), "/muslin"),
    ];
    flags.extend(
        folders
            .into_iter()
            .filter_map(|(folder, name)| Some(format!("--remap-path-prefix={}={name}", folder?.display()))),
    );
    flags
}

/// A flag for the manifest: `--remap-path-prefix=FROM=TO` without FROM, so two machines that make the same bytes write the
/// same manifest.
pub fn without_machine_path(flag: &str) -> String {
    match flag.strip_prefix("--remap-path-prefix=").and_then(|mapping| mapping.rsplit_once('=')) {
        Some((_, to)) => format!("--remap-path-prefix=*={to}"),
        None => flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_no_path_of_the_machine() {
        assert_eq!(
            without_machine_path("--remap-path-prefix=/home/u/a=b/.cargo=/cargo"),
            "--remap-path-prefix=*=/cargo"
        );
        assert_eq!(without_machine_path("-Clink-self-contained=no"), "-Clink-self-contained=no");
    }
}
