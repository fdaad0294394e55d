//! Reads what the Plan needs: version, vendor folders, baseline, paths, tools. Changes nothing.

use std::path::Path;

use anyhow::Context;
use diag::Diagnostic;
use patchset::Vendored;

use crate::baseline::Baseline;
use crate::codes::{NATIVE_VENDOR, OPTION_INVALID, WORKSPACE_INVALID};
use crate::config::Config;
use crate::context::BuildContext;
use crate::fetch;
use crate::host_env::HostEnv;
use crate::plan::{CliOptions, PlanInputs};
use crate::stages::{prove, sources, toolchain};

/// Reads everything for [`crate::plan::Plan::new`]; problems are values.
pub fn read(
    config: &Config,
    host: &HostEnv,
    options: &CliOptions,
    context: &BuildContext,
) -> anyhow::Result<PlanInputs> {
    let dist = match &options.dist_dir {
        Some(dir) => std::path::absolute(dir).context("the folder of `--dist-dir`")?,
        None => host.root.join("dist"),
    };
    let mut path_problems: Vec<Diagnostic> =
        [(dist.as_path(), "--dist-dir"), (host.cache_dir.as_path(), "--cache-dir")]
            .into_iter()
            .filter_map(|(path, flag)| not_a_folder(path, flag))
            .collect();
    path_problems.extend(options.sources.values().filter_map(|path| not_a_file(path)));

    let mut tools = toolchain::probe(context, config, options.target(config), options.std);
    let vendored = config.native.iter().map(|(name, library)| {
        let vendored = read_vendor(&host.root, &library.vendor);
        (name.clone(), vendored)
    });
    let vendored: std::collections::BTreeMap<_, _> = vendored.collect();
    for (name, vendored) in &vendored {
        if let Ok(vendored) = vendored {
            let named = options.sources.get(name).map(std::path::PathBuf::as_path);
            tools.sources.insert(name.clone(), sources::probe(context, &vendored.manifest, named));
        }
    }
    tools.fetchers = fetch::probe_fetchers(context, &tools.summaries());
    Ok(PlanInputs {
        version: workspace_version(&host.root),
        vendored,
        baseline: options.baseline.as_deref().map(Baseline::read),
        dist,
        path_problems,
        tools,
        proofs: prove::names(&config.prove),
    })
}

fn read_vendor(root: &Path, folder: &Path) -> Result<Vendored, Diagnostic> {
    Vendored::read(&root.join(folder)).map_err(|error| {
        let hint = diag::hint_of(&error)
            .unwrap_or_else(|| format!("`git status {}` shows what changed in it", folder.display()));
        Diagnostic::new(&NATIVE_VENDOR, format!("{error:#}")).file(folder).hint(hint)
    })
}

/// The version of the workspace, or of its root package.
fn workspace_version(root: &Path) -> Result<String, Diagnostic> {
    let path = root.join("Cargo.toml");
    let problem = |message: &str| Diagnostic::new(&WORKSPACE_INVALID, message).file(&path);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| problem("the manifest of the workspace cannot be read").cause(error))?;
    let manifest: toml::Table =
        text.parse().map_err(|error| problem("the manifest of the workspace is no TOML").cause(error))?;
    let of_package = |package: Option<&toml::Value>| Some(package?.get("version")?.as_str()?.to_owned());
    of_package(manifest.get("workspace").and_then(|workspace| workspace.get("package")))
        .or_else(|| of_package(manifest.get("package")))
        .ok_or_else(|| problem("the workspace has no version").expected("`version` in [workspace.package]"))
}

/// A folder that does not exist is created when it is needed; only a file in its place is a problem.
fn not_a_folder(path: &Path, flag: &str) -> Option<Diagnostic> {
    let existing = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir())?;
    Some(
        Diagnostic::new(&OPTION_INVALID, format!("{} cannot be a folder", path.display()))
            .expected("a folder, or a path that does not exist")
            .found(format!("{} is a file", existing.display()))
            .hint(format!("name a folder: {flag} DIR")),
    )
}

fn not_a_file(path: &Path) -> Option<Diagnostic> {
    let found = match path.metadata() {
        Ok(meta) if meta.is_file() => return None,
        Ok(meta) if meta.is_dir() => "a folder".to_string(),
        Ok(_) => "neither file nor folder".to_string(),
        Err(error) => error.to_string(),
    };
    Some(
        Diagnostic::new(&OPTION_INVALID, "`--source` names no source archive")
            .file(path)
            .expected("a .tar.gz or .tar.xz of the library")
            .found(found)
            .hint("omit the option to download the source, or name a file that exists"),
    )
}
