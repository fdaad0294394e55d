//! Debian packages without root and without touching the machine's own apt state.
//!
//! A private sources file and private state folders let apt download from a suite that the machine does not list. Address
//! and signing key of the archive come from the machine's own sources, so a configured mirror is used and signatures are
//! verified as usual.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::codes::{FETCH_FAILED, TOOL_MISSING};
use crate::context::BuildContext;
use crate::resolution::{Origin, Summary};
use diag::Diagnostic;
use process::Task;

/// A package at the version that the archive has now.
pub struct Package {
    /// Name of the binary package.
    pub name: String,
    /// Debian version.
    pub version: String,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.version)
    }
}

/// apt and dpkg-deb.
pub fn probe(context: &BuildContext) -> Summary {
    let name = "apt";
    match (context.which("apt-get"), context.which("dpkg-deb")) {
        (Some(path), Some(_)) => {
            let version = context.version_line(&path, "--version").unwrap_or_else(|| "unknown".into());
            Summary::present(name, version, path, Origin::Machine)
        }
        _ => Summary::missing(
            name,
            Diagnostic::new(
                &TOOL_MISSING,
                "`apt-get` and `dpkg-deb` are not both in PATH; they download and unpack Debian packages",
            )
            .hint("install the tools that are listed above as fetched with apt, or build on Debian"),
        ),
    }
}

/// One archive as the machine's sources describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    uri: String,
    suites: Vec<String>,
    signed_by: Option<String>,
}

/// Which dependencies are downloaded too.
enum Dependencies {
    /// None: every Debian machine has them.
    Skip,
    /// Those that dpkg does not list as installed.
    Missing,
}

/// apt with private state, for some suites.
struct Apt<'a> {
    context: &'a BuildContext,
    folder: tempfile::TempDir,
}

/// Downloads a binary package from the first suite whose version `fits`, and unpacks it into `into`.
pub fn fetch_binary(
    context: &BuildContext,
    into: &Path,
    package: &str,
    fits: &dyn Fn(&str) -> bool,
) -> anyhow::Result<Package> {
    let codename = codename();
    let backports = format!("{codename}-backports");
    let mut seen = Vec::new();
    for suite in [codename.as_str(), &backports, "trixie", "forky", "sid"] {
        let apt = match Apt::open(context, into, "deb", &[suite]) {
            Ok(apt) => apt,
            Err(error) => {
                context.runner.check()?;
                seen.push(format!("{suite} could not be read: {}", last_line(&error)));
                continue;
            }
        };
        let versions = apt.versions(package)?;
        if let Some(version) = versions.iter().find(|version| fits(version)) {
            let package = Package { name: package.into(), version: version.clone() };
            apt.fetch_and_unpack(&[package.to_string()], Dependencies::Skip, into)?;
            return Ok(package);
        }
        seen.extend(versions.iter().map(|version| format!("{version} in {suite}")));
    }
    Err(Diagnostic::new(
        &FETCH_FAILED,
        format!("no suite of this machine's archive has a suitable version of `{package}`"),
    )
    .found(if seen.is_empty() { "no version at all".into() } else { seen.join("\n") })
    .hint("check the network and the machine's apt sources, or install the tool yourself")
    .into())
}

/// Downloads packages of the machine's own suites, security included, and unpacks them into `into`. A name may end in `*`:
/// the newest package of that name is used.
pub fn fetch_matched(context: &BuildContext, into: &Path, names: &[&str]) -> anyhow::Result<Vec<Package>> {
    fetch_named(context, into, names, Dependencies::Missing)
}

/// Like [`fetch_matched`], without the packages on which these depend: for programs that need none.
pub fn fetch_alone(context: &BuildContext, into: &Path, names: &[&str]) -> anyhow::Result<Vec<Package>> {
    fetch_named(context, into, names, Dependencies::Skip)
}

fn fetch_named(
    context: &BuildContext,
    into: &Path,
    names: &[&str],
    dependencies: Dependencies,
) -> anyhow::Result<Vec<Package>> {
    let apt = Apt::open(context, into, "deb", &[])?;
    let mut packages: Vec<Package> = Vec::new();
    for name in names {
        let name = match name.strip_suffix('*') {
            None => name.to_string(),
            Some(stem) => apt.newest_name(stem)?,
        };
        let version = apt.versions(&name)?.into_iter().next().ok_or_else(|| {
            Diagnostic::new(&FETCH_FAILED, format!("this machine's suites have no package `{name}`"))
                .hint("check /etc/apt/sources.list.d; the security suite of Debian 12 has it")
        })?;
        packages.push(Package { name, version });
    }
    let named: Vec<String> = packages.iter().map(Package::to_string).collect();
    apt.fetch_and_unpack(&named, dependencies, into)?;
    Ok(packages)
}

/// Downloads the upstream tarball of a source package into `into` and returns its path.
pub fn fetch_orig_tarball(
    context: &BuildContext,
    into: &Path,
    package: &str,
    version: &str,
) -> anyhow::Result<PathBuf> {
    let mut seen = Vec::new();
    for suite in ["forky", "sid", "trixie", &codename()] {
        let apt = match Apt::open(context, into, "deb-src", &[suite]) {
            Ok(apt) => apt,
            Err(error) => {
                context.runner.check()?;
                seen.push(format!("{suite} could not be read: {}", last_line(&error)));
                continue;
            }
        };
        let mut show = apt.command("apt-cache");
        show.args(["showsrc", "--only-source", package]);
        let shown = apt.context.runner.output(Task::new(format!("look up {package}"), show))?.stdout_text();
        let found: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
        // `0.3.34+ds-2` is upstream 0.3.34 without files that Debian does not ship.
        let upstream =
            |found: &str| found.rsplit_once('-').map_or(found, |(upstream, _)| upstream).to_string();
        let suitable = found.iter().find(|found| upstream(found).split(['+', '~']).next() == Some(version));
        if let Some(suitable) = suitable {
            let mut source = apt.command("apt-get");
            source
                .current_dir(into)
                .args(["source", "--download-only", "--only-source"])
                .arg(format!("{package}={suitable}"));
            context.runner.run(Task::new(format!("fetch the source of {package} {suitable}"), source))?;
            return orig_tarball(into, package);
        }
        seen.extend(found.iter().map(|found| format!("{found} in {suite}")));
    }
    Err(Diagnostic::new(
        &FETCH_FAILED,
        format!("Debian's suites have no source package `{package}` of upstream version {version}"),
    )
    .found(if seen.is_empty() { "none".into() } else { seen.join("\n") })
    .into())
}

/// The line of apt's output that names the cause, else the first line of the error.
fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let cause = text.lines().map(str::trim).find(|line| line.contains("E: ") || line.contains("Err:"));
    cause.or(text.lines().next()).unwrap_or_default().to_string()
}

fn orig_tarball(folder: &Path, package: &str) -> anyhow::Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{package}_")) && name.contains(".orig.tar.") && !name.ends_with(".asc")
        })
        .context("apt reported success and left no tarball")
}

fn codename() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let named = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    named.unwrap_or("sid").trim_matches('"').to_string()
}

impl<'a> Apt<'a> {
    /// `suites` empty: those of the machine itself.
    fn open(context: &'a BuildContext, beside: &Path, kind: &str, suites: &[&str]) -> anyhow::Result<Self> {
        if context.which("apt-get").is_none() || context.which("dpkg-deb").is_none() {
            return Err(Diagnostic::new(&TOOL_MISSING, "this machine has no apt")
                .hint("install zig 0.17, UPX 4.2 and a Rust std for musl yourself: `cargo xtask doctor` lists them")
                .into());
        }
        let archives = machine_archives()?;
        let folder = tempfile::Builder::new()
            .prefix(".apt-")
            .tempdir_in(beside)
            .context("creating folders for apt")?;
        let at = |name: &str| folder.path().join(name);
        for name in ["lists/partial", "archives/partial", "parts"] {
            std::fs::create_dir_all(at(name))?;
        }
        std::fs::write(at("parts/suites.sources"), stanzas(&archives, kind, suites, &codename()))?;
        let conf = format!(
            "Dir::State::Lists \"{lists}\";\nDir::Cache \"{cache}\";\nDir::Cache::Archives \"{archives}\";\n\
             Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{parts}\";\n\
             Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             APT::Sandbox::User \"\";\n",
            lists = at("lists").display(),
            cache = folder.path().display(),
            archives = at("archives").display(),
            parts = at("parts").display(),
        );
        std::fs::write(at("apt.conf"), conf)?;
        let apt = Self { context, folder };
        let mut update = apt.command("apt-get");
        update.args(["update", "--quiet", "--error-on=any"]);
        context.runner.run(Task::new("read the package lists of this machine's archive", update))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.context.command(program);
        command.env("APT_CONFIG", self.folder.path().join("apt.conf")).current_dir(self.folder.path());
        command
    }

    /// Newest first.
    fn versions(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let mut madison = self.command("apt-cache");
        madison.args(["madison", package]);
        let text = self.context.runner.run(Task::new(format!("look up {package}"), madison))?.stdout_text();
        Ok(text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_string())).collect())
    }

    fn newest_name(&self, stem: &str) -> anyhow::Result<String> {
        let mut names = self.command("apt-cache");
        names.args(["pkgnames", stem]);
        let text = self.context.runner.run(Task::new(format!("look up {stem}*"), names))?.stdout_text();
        let number = |name: &str| -> Option<Vec<u32>> {
            name.strip_prefix(stem)?.split('.').map(|part| part.parse().ok()).collect()
        };
        text.lines()
            .filter_map(|name| Some((number(name)?, name.to_string())))
            .max()
            .map(|(_, name)| name)
            .ok_or_else(|| {
                Diagnostic::new(&FETCH_FAILED, format!("this machine's suites have no package `{stem}…`"))
                    .into()
            })
    }

    fn fetch_and_unpack(
        &self,
        packages: &[String],
        dependencies: Dependencies,
        into: &Path,
    ) -> anyhow::Result<()> {
        self.context.events().step(format!("fetching {}", packages.join(" ")));
        let debs = self.folder.path().join("archives");
        let mut fetch = self.command("apt-get");
        match dependencies {
            Dependencies::Skip => fetch.current_dir(&debs).arg("download"),
            // Nothing is installed, so dpkg's lock and the permission to take it are not needed.
            Dependencies::Missing => fetch.args([
                "install",
                "--download-only",
                "--yes",
                "--no-install-recommends",
                "-o",
                "Debug::NoLocking=true",
            ]),
        };
        fetch.args(packages);
        self.context.runner.run(Task::new(format!("fetch {}", packages.join(" ")), fetch))?;
        for file in std::fs::read_dir(&debs)? {
            let deb = file?.path();
            if deb.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = self.context.command("dpkg-deb");
                unpack.arg("-x").arg(&deb).arg(into);
                self.context.runner.run(Task::new(format!("unpack {}", deb.display()), unpack))?;
            }
        }
        Ok(())
    }
}

fn machine_archives() -> anyhow::Result<Vec<Archive>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut archives = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => archives.extend(text.split("\n\n").filter_map(deb822)),
            Some("list") => archives.extend(text.lines().filter_map(one_line)),
            _ => {}
        }
    }
    if archives.is_empty() {
        return Err(Diagnostic::new(
            &FETCH_FAILED,
            "no usable archive in /etc/apt/sources.list or /etc/apt/sources.list.d",
        )
        .hint("list the machine's Debian archive there, with the component `main`")
        .into());
    }
    Ok(archives)
}

fn deb822(stanza: &str) -> Option<Archive> {
    let field = |name: &str| {
        let line = stanza.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let enabled = field("enabled").is_none_or(|value| value != "no");
    if !enabled || !field("types")?.split(' ').any(|kind| kind == "deb") {
        return None;
    }
    field("components")?.split(' ').find(|component| *component == "main")?;
    Some(Archive {
        uri: field("uris")?.split(' ').next()?.to_string(),
        suites: field("suites")?.split(' ').map(String::from).collect(),
        // An inlined key has many lines; apt's trusted keys are used instead.
        signed_by: field("signed-by").filter(|path| path.starts_with('/')),
    })
}

fn one_line(line: &str) -> Option<Archive> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.find(|component| *component == "main")?;
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Archive { uri: uri.into(), suites: vec![suite.into()], signed_by: signed_by.map(String::from) })
}

/// Sources of the named suites from the archive that has `codename`, or the machine's own suites when none is named.
fn stanzas(archives: &[Archive], kind: &str, suites: &[&str], codename: &str) -> String {
    let stanza = |archive: &Archive, suites: &str| {
        let signed_by =
            archive.signed_by.as_ref().map_or(String::new(), |path| format!("Signed-By: {path}\n"));
        format!("Types: {kind}\nURIs: {}\nSuites: {suites}\nComponents: main\n{signed_by}\n", archive.uri)
    };
    if suites.is_empty() {
        return archives.iter().map(|archive| stanza(archive, &archive.suites.join(" "))).collect();
    }
    let main = archives.iter().find(|archive| archive.suites.iter().any(|suite| suite == codename));
    stanza(main.unwrap_or(&archives[0]), &suites.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_formats_of_sources() {
        let key = Some("/usr/share/keyrings/k.gpg".to_string());
        let stanza = "Types: deb deb-src\n# a mirror\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main contrib\nSigned-By: /usr/share/keyrings/k.gpg";
        let suites = vec!["bookworm".to_string(), "bookworm-updates".to_string()];
        let wanted = Archive { uri: "http://mirror.test/debian".into(), suites, signed_by: key.clone() };
        assert_eq!(deb822(stanza), Some(wanted.clone()));
        let line =
            "deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.test/debian bookworm main";
        assert_eq!(one_line(line), Some(Archive { suites: vec!["bookworm".into()], ..wanted.clone() }));
        for skipped in [
            "# deb http://mirror.test/debian bookworm main",
            "deb-src http://mirror.test/debian bookworm main",
            "deb http://mirror.test/x stable extra",
        ] {
            assert_eq!(one_line(skipped), None, "{skipped}");
        }
        assert_eq!(deb822(&format!("Enabled: no\n{stanza}")), None);
        let derived = stanzas(&[wanted], "deb", &["bookworm-backports"], "bookworm");
        insta::assert_snapshot!(derived, @"
        Types: deb
        URIs: http://mirror.test/debian
        Suites: bookworm-backports
        Components: main
        Signed-By: /usr/share/keyrings/k.gpg
        ");
    }
}
