//! Checks a specification. Every invalid value is reported; a valid specification becomes a [`Tree`] and a [`Reference`].
//!
//! The rules reject what engines accept and fail on later: an entrypoint that is not in the image, a file that the image's
//! user cannot execute, a binary for another machine, a working directory that the engine would have to create in a
//! read-only root.

use std::collections::BTreeSet;

use diag::{Diagnostic, Diagnostics};

use crate::accounts::{invalid_user, numeric_user};
use crate::codes::IMAGE_SPEC;
use crate::date;
use crate::reference::Reference;
use crate::spec::{Content, ImageSpec};
use crate::tree::{self, Tree, TreeEntry};

/// The files and the reference of a valid specification, or all of its problems.
pub fn validate(spec: &ImageSpec) -> Result<(Reference, Tree<'_>), Diagnostics> {
    let mut problems = Diagnostics::default();
    let tree = tree::build(&spec.files, &mut problems);
    check_user(spec, &mut problems);
    let machine = check_architecture(spec, &mut problems);
    check_entrypoint(spec, &tree, machine, &mut problems);
    check_environment(spec, &mut problems);
    check_workdir(spec, &mut problems);
    check_ports(spec, &mut problems);
    check_texts(spec, &mut problems);
    match Reference::parse(&spec.reference) {
        Ok(reference) if problems.0.is_empty() => return Ok((reference, tree)),
        Ok(_) => {}
        Err(reason) => problems.push(
            invalid(format!("the reference `{}` {reason}", spec.reference)).hint("for example inferd:0.1.0"),
        ),
    }
    Err(problems)
}

fn invalid(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&IMAGE_SPEC, message)
}

fn check_user(spec: &ImageSpec, problems: &mut Diagnostics) {
    match numeric_user(&spec.user) {
        None => problems.push(invalid_user(&spec.user)),
        Some((0, _) | (_, 0)) => problems.push(
            invalid(format!("the user `{}` is root or in the group of root", spec.user))
                .expected("a user without privileges")
                .hint("65532:65532"),
        ),
        Some(_) => {}
    }
}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// The ELF machine of the architecture.
fn check_architecture(spec: &ImageSpec, problems: &mut Diagnostics) -> Option<u16> {
    match spec.architecture.as_str() {
        "amd64" => Some(EM_X86_64),
        "arm64" => Some(EM_AARCH64),
        other => {
            let hint = match other {
                "x86_64" | "x86-64" | "x64" => "images call this architecture amd64",
                "aarch64" | "armv8" => "images call this architecture arm64",
                _ => "amd64 is x86_64-unknown-linux-musl, arm64 is aarch64-unknown-linux-musl",
            };
            problems.push(
                invalid(format!("the architecture `{other}` is unknown"))
                    .expected("amd64 or arm64")
                    .hint(hint),
            );
            None
        }
    }
}

fn check_entrypoint(spec: &ImageSpec, tree: &Tree<'_>, machine: Option<u16>, problems: &mut Diagnostics) {
    let Some(program) = spec.entrypoint.first() else {
        problems.push(
            invalid("the entrypoint is empty").expected("the path of the program").hint("[\"/inferd\"]"),
        );
        return;
    };
    let Some(TreeEntry { mode, bytes }) = tree.get(program) else {
        // An image without files is a problem of its own.
        if tree.is_empty() {
            return;
        }
        let files = tree.iter().filter(|(_, entry)| entry.bytes.is_some());
        let files: Vec<_> = files.map(|(path, _)| path.as_str()).collect();
        problems.push(
            invalid(format!("the entrypoint `{program}` is not in the image"))
                .expected(format!("one of {}", files.join(", "))),
        );
        return;
    };
    let Some(bytes) = bytes else {
        problems.push(invalid(format!("the entrypoint `{program}` is a folder")));
        return;
    };
    // Files belong to root and the program runs as another user: only the last three bits count.
    if mode & 0o005 != 0o005 {
        problems.push(
            invalid(format!("the user {} cannot execute the entrypoint `{program}`", spec.user))
                .expected("a mode that lets others read and execute")
                .found(format!("{mode:#05o}"))
                .hint("0o555"),
        );
    }
    if let (Some(expected), Some(found)) = (machine, elf_machine(bytes))
        && expected != found
    {
        problems.push(
            invalid(format!("the entrypoint `{program}` is an ELF file for another architecture"))
                .expected(spec.architecture.clone())
                .found(machine_name(found)),
        );
    }
}

/// `e_machine`; its place does not depend on the class. `None` for a file that is not ELF: judging programs is not the task
/// of this crate, it only keeps an image from stating the wrong architecture.
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

fn check_environment(spec: &ImageSpec, problems: &mut Diagnostics) {
    let mut keys = BTreeSet::new();
    for variable in &spec.env {
        match variable.split_once('=') {
            Some((key, _)) if !key.is_empty() => {
                if !keys.insert(key) {
                    problems.push(invalid(format!("the variable `{key}` is set twice")));
                }
            }
            _ => {
                problems.push(invalid(format!("the variable `{variable}` is invalid")).expected("KEY=VALUE"));
            }
        }
    }
}

fn check_workdir(spec: &ImageSpec, problems: &mut Diagnostics) {
    let workdir = spec.workdir.as_str();
    let is_folder = |path: &str| {
        spec.files.iter().any(|file| file.path == path && matches!(file.content, Content::Folder))
    };
    if workdir != "/" && !is_folder(workdir) {
        problems.push(
            invalid(format!("the working directory `{workdir}` is not in the image"))
                .expected("/ or a folder of the image: an engine cannot create it under a read-only root"),
        );
    }
}

fn check_ports(spec: &ImageSpec, problems: &mut Diagnostics) {
    let mut ports = BTreeSet::new();
    for port in &spec.exposed_ports {
        let is_port = port.split_once('/').is_some_and(|(number, protocol)| {
            number.parse::<u16>().is_ok_and(|number| number > 0) && matches!(protocol, "tcp" | "udp" | "sctp")
        });
        if !is_port {
            problems.push(
                invalid(format!("the exposed port `{port}` is invalid"))
                    .expected("NUMBER/PROTOCOL")
                    .hint("for example 8080/tcp"),
            );
        } else if !ports.insert(port) {
            problems.push(invalid(format!("the exposed port `{port}` is listed twice")));
        }
    }
}

fn check_texts(spec: &ImageSpec, problems: &mut Diagnostics) {
    if spec.labels.keys().any(String::is_empty) {
        problems.push(invalid("a label has an empty key"));
    }
    let mut texts = spec.entrypoint.iter().chain(&spec.cmd).chain(&spec.env);
    if let Some(text) = texts.find(|text| text.contains('\0')) {
        problems.push(invalid(format!("{text:?} has a NUL byte, which ends an argument or variable")));
    }
    if !date::is_valid(spec.created_unix_seconds) {
        problems.push(
            invalid(format!("the date {} is after the year 9999", spec.created_unix_seconds))
                .expected("seconds since 1970")
                .hint("is it in milliseconds?"),
        );
    }
}
