//! What goes into an image, and the check that it can become one.
//!
//! A spec is written by hand or derived from a file that was, so everything that is wrong with it is reported in one
//! go. What passes is turned into a [`Tree`] that the layer can pack without asking again.
//!
//! The rules refuse what engines accept and then fail on much later: an entrypoint that is not in the image, a file
//! that the image's user cannot execute, a binary for another machine, a working directory that the engine would have
//! to create in a read-only root.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::reference::Reference;
use crate::timestamp::UNIX_SECONDS_MAX;

/// Everything that decides the bytes of an image.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// In any order. Missing parent folders are added with mode 0755.
    pub files: Vec<ImageFile>,
    /// The program as an absolute path in the image, and leading arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that `docker run IMAGE ARGS…` replaces.
    pub cmd: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// `UID:GID`, both numbers and not root: a scratch image has no names to resolve, and Kubernetes'
    /// `runAsNonRoot` accepts numbers only.
    pub user: String,
    /// An absolute path of a folder in the image; `/` always exists.
    pub workdir: String,
    /// `org.opencontainers.image.*` keys are repeated as annotations of the manifest.
    pub labels: BTreeMap<String, String>,
    /// `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The date in the config. Layers do not carry it.
    pub created_unix_seconds: u64,
    /// `inferd:0.1.0`.
    pub reference: String,
}

/// One file or folder of the image. Owner (root) and time (1970) are the same for all.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits, 0o7777 at most.
    pub mode: u32,
    pub content: Content,
}

/// Where the bytes come from.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Vec<u8>),
    /// A regular file; only its bytes are used, never its owner, mode or time.
    Source(PathBuf),
    Folder,
}

impl ImageFile {
    pub fn from_bytes(path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(bytes.into()) }
    }

    pub fn from_source(path: &str, mode: u32, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode, content: Content::Source(source.into()) }
    }

    pub fn folder(path: &str, mode: u32) -> Self {
        Self { path: path.into(), mode, content: Content::Folder }
    }
}

/// Absolute path to entry; parents sort before what they hold.
pub type Tree<'a> = BTreeMap<String, Entry<'a>>;

/// A checked file or folder with its bytes at hand.
pub struct Entry<'a> {
    pub mode: u32,
    /// `None` for a folder.
    pub bytes: Option<Cow<'a, [u8]>>,
}

/// Reports every problem, or returns what the layer packs.
pub fn check(spec: &ImageSpec) -> Result<(Reference, Tree<'_>)> {
    let mut problems = Vec::new();
    let tree = check_files(&spec.files, &mut problems);
    check_start(spec, &tree, &mut problems);
    check_settings(spec, &mut problems);
    let reference = match Reference::parse(&spec.reference) {
        Ok(reference) => Some(reference),
        Err(reason) => {
            problems.push(format!("reference `{}` {reason}\nhint: for example inferd:0.1.0", spec.reference));
            None
        }
    };
    match (reference, problems.as_slice()) {
        (Some(reference), []) => Ok((reference, tree)),
        (_, [problem]) => bail!("image spec: {problem}"),
        _ => bail!("image spec: {} problems\n{}", problems.len(), problems.join("\n")),
    }
}

/// `65532:65532` as numbers.
pub fn numeric_user(user: &str) -> Option<(u32, u32)> {
    let (uid, gid) = user.split_once(':')?;
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    Some((number(uid)?, number(gid)?))
}

fn check_files<'a>(files: &'a [ImageFile], problems: &mut Vec<String>) -> Tree<'a> {
    let mut tree = Tree::new();
    for file in files {
        let path = &file.path;
        if let Some(reason) = path_problem(path) {
            problems.push(format!("file `{path}` {reason}"));
            continue;
        }
        if file.mode > 0o7777 {
            problems.push(format!(
                "file `{path}`: mode {:#o}; expected permission bits only, 0o7777 at most\n\
                 hint: 0o{:o} without the file type",
                file.mode,
                file.mode & 0o7777
            ));
        }
        let bytes = match &file.content {
            Content::Folder => None,
            Content::Bytes(bytes) => Some(Cow::Borrowed(bytes.as_slice())),
            Content::Source(source) => match read_regular(source) {
                Ok(bytes) => Some(Cow::Owned(bytes)),
                Err(reason) => {
                    problems.push(format!("file `{path}`: source `{}`: {reason}", source.display()));
                    // Kept as an empty file, so that one missing source is not reported again as a missing entrypoint.
                    Some(Cow::Borrowed([].as_slice()))
                }
            },
        };
        if tree.insert(path.clone(), Entry { mode: file.mode & 0o7777, bytes }).is_some() {
            problems.push(format!("file `{path}`: listed twice\nhint: keep one of them"));
        }
    }
    if files.is_empty() {
        problems.push("no files; expected at least the program that the entrypoint names".into());
    }
    add_parents(&mut tree, problems);
    tree
}

/// Gives every file its folders, and refuses files that stand where a folder is needed.
fn add_parents(tree: &mut Tree<'_>, problems: &mut Vec<String>) {
    let parents: BTreeSet<String> = tree
        .keys()
        .flat_map(|path| path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()))
        .collect();
    for parent in parents {
        let entry = tree.entry(parent.clone()).or_insert(Entry { mode: 0o755, bytes: None });
        if entry.bytes.is_some() {
            problems.push(format!("file `{parent}`: is a file, and other files are listed below it"));
        }
    }
}

/// What keeps an absolute path from being the one plain name of a file, in words that follow the quoted path.
pub fn path_problem(path: &str) -> Option<String> {
    let Some(relative) = path.strip_prefix('/') else {
        return Some("is not absolute\nhint: begin it with /".into());
    };
    if relative.is_empty() {
        return Some("is the root of the image, which is always there".into());
    }
    // Other characters would need a pax header, and those carry surprises between tar readers.
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("has characters other than printable ASCII without spaces".into());
    }
    for component in relative.split('/') {
        if matches!(component, "" | "." | "..") {
            return Some(format!(
                "has the component `{component}`; expected a plain path without //, . and .."
            ));
        }
        if component.starts_with(".wh.") {
            return Some(format!(
                "has `{component}`, which deletes a file instead of adding one (OCI whiteout)"
            ));
        }
    }
    // The name field of a ustar header; longer ones need an extension. Folders carry a slash at the end.
    const PATH_BYTES_MAX: usize = 99;
    (relative.len() > PATH_BYTES_MAX).then(|| {
        format!("is {} bytes long; at most {PATH_BYTES_MAX} fit in a plain tar header", relative.len())
    })
}

fn read_regular(source: &Path) -> Result<Vec<u8>, String> {
    let explain = |error: std::io::Error| format!("{error}\nhint: ls -l '{}'", source.display());
    // Asked before opening: opening a pipe would wait for ever.
    let metadata = source.metadata().map_err(explain)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a special file" };
        return Err(format!("expected a regular file, found {found}"));
    }
    std::fs::read(source).map_err(explain)
}

/// The program that starts, and who starts it.
fn check_start(spec: &ImageSpec, tree: &Tree<'_>, problems: &mut Vec<String>) {
    match numeric_user(&spec.user) {
        None => problems.push(format!(
            "user `{}`: expected UID:GID, both numbers\nhint: 65532:65532 is the usual non-root user",
            spec.user
        )),
        Some((0, _) | (_, 0)) => problems.push(format!(
            "user `{}`: is root or in root's group; the image must start without privileges\nhint: 65532:65532",
            spec.user
        )),
        Some(_) => {}
    }
    let machine = match spec.architecture.as_str() {
        "amd64" => Some(EM_X86_64),
        "arm64" => Some(EM_AARCH64),
        other => {
            let meant = match other {
                "x86_64" | "x86-64" | "x64" => "hint: images call this machine amd64",
                "aarch64" | "armv8" => "hint: images call this machine arm64",
                _ => "hint: amd64 is x86_64-unknown-linux-musl, arm64 is aarch64-unknown-linux-musl",
            };
            problems.push(format!("architecture `{other}`: expected amd64 or arm64\n{meant}"));
            None
        }
    };
    let Some(program) = spec.entrypoint.first() else {
        problems.push("entrypoint is empty; expected the path of the program\nhint: [\"/inferd\"]".into());
        return;
    };
    let Some(entry) = tree.get(program) else {
        problems.push(format!(
            "entrypoint `{program}`: no such file in the image\nhint: it has {}",
            tree.iter()
                .filter(|(_, e)| e.bytes.is_some())
                .map(|(p, _)| p.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ));
        return;
    };
    let Some(bytes) = &entry.bytes else {
        problems.push(format!("entrypoint `{program}`: is a folder"));
        return;
    };
    // Files belong to root, the program runs as somebody else: only the last three bits count.
    if entry.mode & 0o005 != 0o005 {
        problems.push(format!(
            "entrypoint `{program}`: mode {:#05o} does not let others read and execute it, and user {} is one of them\n\
             hint: 0o555",
            entry.mode, spec.user
        ));
    }
    if let (Some(expected), Some(found)) = (machine, elf_machine(bytes))
        && expected != found
    {
        problems.push(format!(
            "entrypoint `{program}`: is an ELF file for {}, but the architecture of the image is {}",
            machine_name(found),
            spec.architecture
        ));
    }
}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// `e_machine`, where both byte orders agree to put it. `None` for anything that is not ELF: a gate judges programs,
/// this only keeps an image from claiming the wrong machine.
fn elf_machine(bytes: &[u8]) -> Option<u16> {
    let header = bytes.get(..20).filter(|header| header.starts_with(b"\x7fELF"))?;
    let field = [header[18], header[19]];
    Some(if header[5] == 2 { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
}

fn machine_name(machine: u16) -> String {
    match machine {
        EM_X86_64 => "amd64".into(),
        EM_AARCH64 => "arm64".into(),
        other => format!("machine {other} (e_machine)"),
    }
}

fn check_settings(spec: &ImageSpec, problems: &mut Vec<String>) {
    let mut keys = BTreeSet::new();
    for variable in &spec.env {
        match variable.split_once('=') {
            Some((key, _)) if !key.is_empty() => {
                if !keys.insert(key) {
                    problems.push(format!("env `{key}`: set twice"));
                }
            }
            _ => problems.push(format!("env `{variable}`: expected KEY=VALUE")),
        }
    }
    let folders_hold = |path: &str| {
        path == "/" || spec.files.iter().any(|f| f.path == path && matches!(f.content, Content::Folder))
    };
    if !folders_hold(&spec.workdir) {
        problems.push(format!(
            "workdir `{}`: expected / or a folder of the image; an engine cannot create it under a read-only root",
            spec.workdir
        ));
    }
    if spec.labels.keys().any(String::is_empty) {
        problems.push("labels: one has an empty key".into());
    }
    let mut ports = BTreeSet::new();
    for port in &spec.exposed_ports {
        let is_port = port.split_once('/').is_some_and(|(number, protocol)| {
            number.parse::<u16>().is_ok_and(|number| number > 0) && matches!(protocol, "tcp" | "udp" | "sctp")
        });
        if !is_port {
            problems
                .push(format!("exposed port `{port}`: expected NUMBER/PROTOCOL\nhint: for example 8080/tcp"));
        } else if !ports.insert(port) {
            problems.push(format!("exposed port `{port}`: listed twice"));
        }
    }
    let texts = spec.entrypoint.iter().chain(&spec.cmd).chain(&spec.env);
    if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
        problems.push(format!("argument or variable {text:?}: has a NUL byte, which ends a C string early"));
    }
    if spec.created_unix_seconds > UNIX_SECONDS_MAX {
        problems.push(format!(
            "created_unix_seconds {}: is after the year 9999\nhint: is it in milliseconds?",
            spec.created_unix_seconds
        ));
    }
}
