//! The inputs of a native build, fingerprinted once. The fingerprint names the folder of the archive, so cargo receives the
//! path before the archive exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchset::build::Recipe;
use store::{Digest, Fingerprint};

use crate::context::BuildContext;
use crate::library::LibraryPlan;
use crate::plan::Plan;
use crate::stages::toolchain::Toolchain;

/// Version of the build steps; part of every fingerprint.
const RECIPE_VERSION: u32 = 5;

/// Everything that determines the bytes of one archive.
///
/// ```compile_fail,E0451
/// fn forge(fingerprint: store::Digest) -> release::native_inputs::NativeInputs {
///     release::native_inputs::NativeInputs {
///         library: "openblas".into(), fingerprint, listing: String::new(), entry: "native/x".into(),
///         folder: "/tmp".into(), environment: Default::default(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct NativeInputs {
    library: String,
    fingerprint: Digest,
    listing: String,
    entry: String,
    folder: PathBuf,
    environment: BTreeMap<&'static str, String>,
}

impl NativeInputs {
    /// One for each library of the Plan, in the same order.
    pub fn of_plan(plan: &Plan, context: &BuildContext, toolchain: &Toolchain) -> anyhow::Result<Vec<Self>> {
        plan.native.iter().map(|library| Self::new(&plan.target, context, toolchain, library)).collect()
    }

    /// Fingerprints the inputs of one library.
    pub fn new(
        target: &str,
        context: &BuildContext,
        toolchain: &Toolchain,
        library: &LibraryPlan,
    ) -> anyhow::Result<Self> {
        let environment = environment(context);
        let variables: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut fingerprint = Fingerprint::default();
        fingerprint
            .part("recipe", RECIPE_VERSION)
            .part("environment", variables.join("\n"))
            .part("target", target)
            .part("vendor", &library.vendor_digest)
            .part("build.toml", Digest::of(library.build().to_json()?.as_bytes()))
            .part("options", library.options.join("\n"))
            .part("zig", &toolchain.zig().version)
            .part("zig sha256", &toolchain.zig().sha256)
            .part("wrappers", toolchain.wrappers().sha256());
        if let Recipe::Make { .. } = library.build().recipe {
            // The machine's own compiler builds the programs that write the configuration.
            for tool in [toolchain.make(), toolchain.host_cc()] {
                fingerprint
                    .part(tool.name, &tool.version)
                    .part(&format!("{} sha256", tool.name), &tool.sha256);
            }
        }
        let (listing, fingerprint) = (fingerprint.listing(), fingerprint.digest());
        let entry = format!("native/{}-{}", library.name, fingerprint.short());
        let folder = context.store.entry_path(&entry);
        Ok(Self { library: library.name.clone(), fingerprint, listing, entry, folder, environment })
    }

    /// Name of the library.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// Digest of all inputs.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// The inputs as text: when two fingerprints differ, a diff of the listings shows why.
    pub fn listing(&self) -> &str {
        &self.listing
    }

    /// Name of the cache entry.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// The folder that has or will have the archive.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The variable that tells the build script of the library's crate the folder.
    pub fn variable(&self) -> String {
        format!("MUSLIN_NATIVE_{}_DIR", self.library.to_uppercase().replace('-', "_"))
    }

    /// The whole environment of the build, besides the folders of its own caches.
    pub(crate) fn environment(&self) -> &BTreeMap<&'static str, String> {
        &self.environment
    }
}

/// Less than other children receive: everything in here is part of the fingerprint.
fn environment(context: &BuildContext) -> BTreeMap<&'static str, String> {
    let mut folders: Vec<String> = Vec::new();
    // PATH differs from shell to shell; the folders that hold the tools of a makefile do not.
    for tool in ["sh", "make", "cc", "sed", "awk", "grep", "perl"] {
        let folder = context.which(tool).and_then(|path| Some(path.parent()?.to_str()?.to_string()));
        folders.extend(folder.filter(|folder| !folders.contains(folder)));
    }
    [("PATH", folders.join(":")), ("LANG", "C.UTF-8".into()), ("LC_ALL", "C.UTF-8".into())].into()
}
