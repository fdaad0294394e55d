//! What the values of `release.toml` must keep to, beyond their types. Every problem names its place, and all are told at
//! once. Whether a value fits this machine or this checkout is not asked here: that is the Plan's.

use std::collections::BTreeSet;
use std::ops::Range;

use elf_gate::Stage;
use toml::Spanned;

use super::{Image, MUSL_STACK_CEILING, MUSL_STACK_DEFAULT, Model, Product, Prove, Raw, RawNative, Zig};
use diag::Diagnostic;
use store::is_sha256_hex;
use units::ByteSize;

/// More variables than a kernel hands to a program (2 MiB for all of them by default, at up to 217 bytes each).
const ENVIRONMENT_COUNT_MAX: u32 = 8192;

/// Makes the error for a place in the file.
pub type At<'a> = &'a dyn Fn(Range<usize>, &str) -> Diagnostic;

pub fn problems(raw: &Raw, at: At) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    problems.extend(stack_size(&raw.link.stack_size, at));
    product(&raw.product, at, &mut problems);
    gate(raw, at, &mut problems);
    for (name, library) in &raw.native {
        native(name, library, at, &mut problems);
    }
    problems.extend(upx(&raw.toolchain.upx.version, at));
    pack(&raw.pack.args, at, &mut problems);
    prove(&raw.prove, at, &mut problems);
    zig(&raw.toolchain.zig, at, &mut problems);
    model(&raw.model, at, &mut problems);
    image(&raw.image, at, &mut problems);
    problems
}

fn stack_size(size: &Spanned<ByteSize>, at: At) -> Option<Diagnostic> {
    let found = *size.get_ref();
    let range = format!("more than {MUSL_STACK_DEFAULT} and at most {MUSL_STACK_CEILING}");
    let problem = |what: &str| at(size.span(), what).found(found.to_string());
    if found > MUSL_STACK_CEILING {
        Some(
            problem("`link.stack_size` is above musl's ceiling: threads would get 8 MiB all the same")
                .expected(range)
                .hint("write \"8 MiB\"; a thread that needs more must ask for its own size with pthread_attr_setstacksize"),
        )
    } else if found <= MUSL_STACK_DEFAULT {
        Some(
            problem("`link.stack_size` changes nothing: musl only ever raises its default of 128 KiB")
                .expected(range)
                .hint("write \"8 MiB\""),
        )
    } else if !found.0.is_multiple_of(4096) {
        Some(
            problem("`link.stack_size` is not a whole number of 4 KiB pages")
                .expected(range)
                .hint("write \"8 MiB\""),
        )
    } else {
        None
    }
}

fn product(product: &Spanned<Product>, at: At, problems: &mut Vec<Diagnostic>) {
    let Product { name, package, targets } = product.get_ref();
    for (key, value, names) in
        [("product.name", name, "files and an image"), ("product.package", package, "a package of cargo")]
    {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) || !value.chars().all(plain) {
            problems.push(
                at(product.span(), &format!("`{key}` names {names}"))
                    .expected("lower-case letters, digits, `-` and `_`, with a letter or digit first")
                    .found(format!("\"{value}\"")),
            );
        }
    }
    if targets.is_empty() {
        problems.push(
            at(product.span(), "`product.targets` is empty").hint("name x86_64-unknown-linux-musl in it"),
        );
    }
    for target in targets.iter().filter(|target| *target != "x86_64-unknown-linux-musl") {
        problems.push(
            at(product.span(), "a target that this pipeline cannot build yet")
                .expected("x86_64-unknown-linux-musl")
                .found(target.as_str()),
        );
    }
}

fn gate(raw: &Raw, at: At, problems: &mut Vec<Diagnostic>) {
    let gate = raw.gate.get_ref();
    if let Err(error) = gate.check() {
        for problem in &error.problems {
            problems.push(at(raw.gate.span(), &format!("[gate] {problem}")).hint(error.hint()));
        }
        return;
    }
    let linked = gate.at(Stage::Linked);
    for (key, names) in
        [("required_symbols", &linked.required_symbols), ("forbidden_symbols", &linked.forbidden_symbols)]
    {
        if names.is_empty() {
            problems.push(
                at(
                    raw.gate.span(),
                    &format!("`{key}` of [gate.linked] is empty: a rule without a symbol cannot fail"),
                )
                .expected("at least one name")
                .hint("git checkout release.toml restores the list of this project"),
            );
        }
    }
    let layers = [&gate.every, &gate.object, &gate.linked, &gate.stripped, &gate.debug, &gate.packed];
    if layers.iter().any(|layer| layer.stack_size.is_some() || layer.machines.is_some()) {
        // One number in two places would be two promises.
        problems.push(
            at(raw.gate.span(), "[gate] sets `stack_size` or `machines`, which follow from the rest")
                .hint("remove them; `link.stack_size` and `product.targets` say what the gate demands"),
        );
    }
}

/// Only what holds for any library; its own `build.toml` is asked when there is a Plan to be made.
fn native(name: &str, library: &Spanned<RawNative>, at: At, problems: &mut Vec<Diagnostic>) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || !name.chars().all(plain) {
        problems.push(
            at(library.span(), "`native.NAME` names folders and variables")
                .expected("lower-case letters and digits")
                .found(format!("`native.{name}`")),
        );
    }
    let vendor = &library.get_ref().vendor;
    if !stays_inside(vendor.get_ref()) {
        problems.push(
            at(vendor.span(), &format!("`native.{name}.vendor` must be a folder of this checkout"))
                .expected("a relative path without `..`")
                .found(format!("\"{}\"", vendor.get_ref())),
        );
    }
    let mut seen = BTreeSet::new();
    for kernel in &library.get_ref().kernels {
        if !seen.insert(kernel.get_ref()) {
            problems.push(
                at(kernel.span(), "a kernel set is named twice")
                    .found(kernel.get_ref().as_str())
                    .hint("remove one of them"),
            );
        }
    }
}

fn upx(version: &Spanned<String>, at: At) -> Option<Diagnostic> {
    let found = version.get_ref();
    let fits = found == "4.2" || found.starts_with("4.2.");
    (!fits).then(|| {
        at(version.span(), "this UPX is not known to make stubs that run everywhere")
            .expected("\"4.2\" or \"4.2.x\"")
            .found(format!("\"{found}\""))
            .hint("stubs of UPX 5 need memfd_create and fail on some hosts; stay on 4.2")
    })
}

fn pack(args: &[Spanned<String>], at: At, problems: &mut Vec<Diagnostic>) {
    for arg in args {
        if !arg.get_ref().starts_with('-') || arg.get_ref().starts_with("-o") {
            problems.push(
                at(arg.span(), "`pack.args` takes options of UPX only; the files are the pipeline's")
                    .found(format!("\"{}\"", arg.get_ref())),
            );
        }
    }
}

fn prove(prove: &Spanned<Prove>, at: At, problems: &mut Vec<Diagnostic>) {
    let Prove { environment_counts, timeout } = prove.get_ref();
    if environment_counts.is_empty() {
        problems.push(
            at(prove.span(), "`prove.environment_counts` is empty: the packed file would never be started in an environment of a known size")
                .expected("a list such as [0, 100, 500, 1000]"),
        );
    }
    for count in environment_counts.iter().filter(|count| **count > ENVIRONMENT_COUNT_MAX) {
        problems.push(
            at(
                prove.span(),
                "`prove.environment_counts` has more variables than a kernel hands to a program",
            )
            .expected(format!("at most {ENVIRONMENT_COUNT_MAX}"))
            .found(count.to_string()),
        );
    }
    if timeout.0.is_zero() {
        problems.push(
            at(prove.span(), "`prove.timeout` leaves a run of the packed file no time")
                .expected("a duration above 0, such as \"60 s\"")
                .found("0 ms"),
        );
    }
}

fn zig(zig: &Spanned<Zig>, at: At, problems: &mut Vec<Diagnostic>) {
    for (machine, digest) in &zig.get_ref().wheel_sha256 {
        let key = format!("toolchain.zig.wheel_sha256.{machine}");
        problems.extend(sha256(&key, digest, zig.span(), at));
    }
}

fn model(model: &Spanned<Model>, at: At, problems: &mut Vec<Diagnostic>) {
    problems.extend(sha256("model.wheel_sha256", &model.get_ref().wheel_sha256, model.span(), at));
    let folder = &model.get_ref().folder;
    if !stays_inside(folder) {
        problems.push(
            at(model.span(), "`model.folder` must be a folder of the unpacked wheel")
                .expected("a relative path without `..`")
                .found(format!("\"{folder}\"")),
        );
    }
}

fn sha256(key: &str, digest: &str, span: Range<usize>, at: At) -> Option<Diagnostic> {
    (!is_sha256_hex(digest)).then(|| {
        at(span, &format!("`{key}` is no SHA-256"))
            .expected("64 lower-case hexadecimal digits")
            .found(format!("\"{digest}\""))
    })
}

fn image(image: &Spanned<Image>, at: At, problems: &mut Vec<Diagnostic>) {
    let Image { reference, user, .. } = image.get_ref();
    // As the OCI distribution specification has names; an engine refuses others when the image is loaded.
    let component = |part: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(edge)
            && part.ends_with(edge)
            && part.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
    };
    let (host, path) = match reference.split_once('/') {
        // Only the first part may hold a port, and only if something follows it.
        Some((first, rest)) if first.contains(':') => (first.rsplit_once(':'), rest),
        _ => (None, reference.as_str()),
    };
    let host_is_fine = host.is_none_or(|(name, port)| {
        component(name) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    });
    if !host_is_fine || !path.split('/').all(component) {
        problems.push(
            at(image.span(), "`image.reference` is no name of an image")
                .expected("lower-case letters and digits, with `.`, `_`, `-` and `/` between them, and no tag: the version becomes the tag")
                .found(format!("\"{reference}\"")),
        );
    }
    if !user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id != 0)) || user.split(':').count() != 2 {
        problems.push(
            at(image.span(), "`image.user` must be a numeric user and group, neither of them root")
                .expected("\"65532:65532\"")
                .found(format!("\"{user}\"")),
        );
    }
}

fn stays_inside(path: impl AsRef<std::path::Path>) -> bool {
    use std::path::Component;
    let path = path.as_ref();
    path.components().all(|part| matches!(part, Component::Normal(_))) && !path.as_os_str().is_empty()
}
