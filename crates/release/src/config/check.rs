//! Constraints on the values of `release.toml` beyond their types. All invalid values are reported together, each with
//! its place. Whether a value fits this machine or this checkout is checked by the Plan.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Component, Path};

use elf_gate::Stage;
use toml::Spanned;

use super::proofs::RawProve;
use super::{
    CONFIG_VALUE, Cpu, Fixture, ImageSettings, MUSL_STACK_CEILING, MUSL_STACK_DEFAULT, OPTIONAL_PROOFS,
    Product, ProofCommand, RawConfig, RawNative, SourceText, Zig,
};
use diag::Diagnostic;
use store::is_sha256_hex;
use units::{ByteSize, TimeSpan};

/// More variables than a kernel hands to a program (2 MiB for all of them by default, at up to 217 bytes each).
const ENVIRONMENT_COUNT_MAX: u32 = 8192;
/// Linux refuses to start a program whose stack limit is below this.
const STACK_LIMIT_MIN: ByteSize = ByteSize(128 << 10);
/// Labels that the pipeline sets.
const OWN_LABELS: [&str; 5] = ["title", "version", "revision", "created", "io.muslin.binary.sha256"];

/// Every invalid value.
pub(super) fn problems(raw: &RawConfig, source: &SourceText) -> Vec<Diagnostic> {
    let mut checks = Checks { source, problems: Vec::new() };
    checks.stack_size(&raw.link.stack_size);
    checks.product(&raw.product);
    checks.gate(raw);
    for (name, library) in &raw.native {
        checks.native(name, library);
    }
    checks.upx(&raw.toolchain.upx.version);
    checks.pack(&raw.pack.args);
    checks.prove(&raw.prove);
    checks.zig(&raw.toolchain.zig);
    for (name, fixture) in &raw.fixtures {
        checks.fixture(name, fixture);
    }
    for (name, reason) in &raw.sbom.no_trace {
        checks.no_trace(name, reason);
    }
    checks.image(&raw.image);
    checks.problems
}

struct Checks<'a> {
    source: &'a SourceText<'a>,
    problems: Vec<Diagnostic>,
}

impl Checks<'_> {
    fn at(&self, span: &Range<usize>, message: impl Into<String>) -> Diagnostic {
        self.source.diagnostic(&CONFIG_VALUE, span, message)
    }

    fn stack_size(&mut self, size: &Spanned<ByteSize>) {
        let found = *size.get_ref();
        let (message, hint) = if found > MUSL_STACK_CEILING {
            (
                "`link.stack_size` is above musl's ceiling: threads get 8 MiB all the same",
                "write \"8 MiB\"; a thread that needs more sets its own size with pthread_attr_setstacksize",
            )
        } else if found <= MUSL_STACK_DEFAULT {
            (
                "`link.stack_size` changes nothing: musl only ever raises its default of 128 KiB",
                "write \"8 MiB\"",
            )
        } else if !found.0.is_multiple_of(4096) {
            ("`link.stack_size` is not a whole number of 4 KiB pages", "write \"8 MiB\"")
        } else {
            return;
        };
        let problem = self
            .at(&size.span(), message)
            .expected(format!("more than {MUSL_STACK_DEFAULT} and at most {MUSL_STACK_CEILING}"))
            .found(found.to_string())
            .hint(hint);
        self.problems.push(problem);
    }

    fn no_trace(&mut self, name: &str, reason: &Spanned<String>) {
        if reason.get_ref().trim().is_empty() {
            let problem = self
                .at(&reason.span(), format!("`sbom.no_trace.{name}` has no reason"))
                .expected("why nothing of the crate is in the linked file");
            self.problems.push(problem);
        }
    }

    fn product(&mut self, product: &Spanned<Product>) {
        let span = product.span();
        let Product { name, package, targets } = product.get_ref();
        for (key, value, role) in [
            ("product.name", name, "the name of files and of an image"),
            ("product.package", package, "the name of a cargo package"),
        ] {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) || !value.chars().all(is_plain) {
                let problem = self
                    .at(&span, format!("`{key}` is not {role}"))
                    .expected("lower-case letters, digits, `-` and `_`, with a letter or digit first")
                    .found(format!("\"{value}\""));
                self.problems.push(problem);
            }
        }
        if targets.is_empty() {
            let problem = self
                .at(&span, "`product.targets` is empty")
                .expected("at least one target triple")
                .hint("write [\"x86_64-unknown-linux-musl\"]");
            self.problems.push(problem);
        }
        for target in targets.iter().filter(|target| *target != "x86_64-unknown-linux-musl") {
            let problem = self
                .at(&span, "`product.targets` names a target that the pipeline cannot build")
                .expected("x86_64-unknown-linux-musl")
                .found(target.as_str());
            self.problems.push(problem);
        }
    }

    fn gate(&mut self, raw: &RawConfig) {
        let span = raw.gate.span();
        let gate = raw.gate.get_ref();
        if let Err(error) = gate.check() {
            for problem in &error.0 {
                let hint = problem.fields().hint.as_deref().unwrap_or_default();
                let problem = self.at(&span, format!("[gate] {problem}")).hint(hint);
                self.problems.push(problem);
            }
            return;
        }
        let linked = gate.at(Stage::Linked);
        for (key, names) in
            [("required_symbols", &linked.required_symbols), ("forbidden_symbols", &linked.forbidden_symbols)]
        {
            if names.is_empty() {
                let problem = self
                    .at(
                        &span,
                        format!(
                            "`{key}` of [gate.linked] is empty: the mutants rename a symbol of this list to show \
                             that the rule can fail"
                        ),
                    )
                    .expected("at least one name")
                    .hint("name a function that the binary must contain, and one that another libc brings");
                self.problems.push(problem);
            }
        }
        let layers = [&gate.every, &gate.object, &gate.linked, &gate.stripped, &gate.debug, &gate.packed];
        if layers.iter().any(|layer| layer.stack_size.is_some() || layer.machines.is_some()) {
            // A second place for the same number could contradict the first one.
            let problem = self
                .at(&span, "[gate] sets `stack_size` or `machines`, which follow from other keys")
                .hint("remove them; the gate takes them from `link.stack_size` and `product.targets`");
            self.problems.push(problem);
        }
    }

    /// Holds for any library; the Plan compares the choices with the library's own `build.toml`.
    fn native(&mut self, name: &str, library: &Spanned<RawNative>) {
        self.plain_name("native", name, &library.span());
        let vendor = &library.get_ref().vendor;
        self.inside(&format!("native.{name}.vendor"), "the workspace", vendor.get_ref(), &vendor.span());
        let mut seen = BTreeSet::new();
        for kernel in &library.get_ref().kernels {
            if !seen.insert(kernel.get_ref()) {
                let problem = self
                    .at(&kernel.span(), format!("`native.{name}.kernels` names a kernel set twice"))
                    .found(kernel.get_ref().as_str())
                    .hint("remove one of them");
                self.problems.push(problem);
            }
        }
    }

    fn upx(&mut self, version: &Spanned<String>) {
        let found = version.get_ref();
        if found == "4.2" || found.starts_with("4.2.") {
            return;
        }
        let problem = self
            .at(&version.span(), "`toolchain.upx.version` is not a version whose stubs start on every host")
            .expected("\"4.2\" or \"4.2.x\"")
            .found(format!("\"{found}\""))
            .hint("stubs of UPX 5 need memfd_create and fail on some hosts; stay on 4.2");
        self.problems.push(problem);
    }

    fn pack(&mut self, args: &[Spanned<String>]) {
        for arg in args {
            if !arg.get_ref().starts_with('-') || arg.get_ref().starts_with("-o") {
                let problem = self
                    .at(&arg.span(), "`pack.args` holds something else than options of UPX")
                    .expected("options that name no file; the pipeline names the files")
                    .found(format!("\"{}\"", arg.get_ref()));
                self.problems.push(problem);
            }
        }
    }

    fn prove(&mut self, prove: &RawProve) {
        let counts = &prove.environment_counts;
        if counts.get_ref().is_empty() {
            let problem = self
                .at(
                    &counts.span(),
                    "`prove.environment_counts` is empty: the packed file would never be started in an environment of a \
                     known size",
                )
                .expected("a list such as [0, 100, 500, 1000]");
            self.problems.push(problem);
        }
        for count in counts.get_ref().iter().filter(|count| **count > ENVIRONMENT_COUNT_MAX) {
            let problem = self
                .at(
                    &counts.span(),
                    "`prove.environment_counts` has more variables than a kernel hands to a program",
                )
                .expected(format!("at most {ENVIRONMENT_COUNT_MAX}"))
                .found(count.to_string());
            self.problems.push(problem);
        }
        self.timeout("prove.timeout", *prove.timeout.get_ref(), &prove.timeout.span());
        if let Some(limit) = &prove.start_stack_limit {
            self.stack_limit("prove.start_stack_limit", *limit.get_ref(), &limit.span());
        }
        for (name, reason) in &prove.allow_not_measured {
            if !OPTIONAL_PROOFS.contains(&name.as_str()) {
                let problem = self
                    .at(
                        &reason.span(),
                        "`prove.allow_not_measured` names a proof that is always measured, or none",
                    )
                    .expected(OPTIONAL_PROOFS.join(", "))
                    .found(name.as_str());
                self.problems.push(problem);
            }
            if reason.get_ref().trim().is_empty() {
                let problem =
                    self.at(&reason.span(), format!("`prove.allow_not_measured.{name}` gives no reason"));
                self.problems.push(problem);
            }
        }
        let mut names = BTreeSet::new();
        for command in &prove.command {
            let own: BTreeSet<String> =
                command.get_ref().cpus.iter().map(|cpu| command.get_ref().name_on(cpu)).collect();
            if let Some(name) = own.iter().find(|name| names.contains(*name)) {
                let problem = self.at(&command.span(), "two proofs have the same name").found(name.as_str());
                self.problems.push(problem);
            }
            names.extend(own);
            self.proof_command(command.get_ref(), &command.span());
        }
    }

    fn proof_command(&mut self, command: &ProofCommand, span: &Range<usize>) {
        let name = &command.name;
        let key = |key: &str| format!("prove.command `{name}`: `{key}`");
        if name.trim().is_empty() {
            let problem = self.at(span, "a proof has no name").expected("name = \"…\"");
            self.problems.push(problem);
        }
        let judged = command.equals.is_some()
            || !command.contains.is_empty()
            || command.json.is_some()
            || command.json_lines.is_some()
            || command.report;
        if !judged && command.exit_code.is_none() {
            let problem = self
                .at(span, format!("the proof `{name}` judges nothing"))
                .expected("`exit_code`, `equals`, `contains`, `json`, `json_lines` or `report`")
                .hint("add the exit status that is expected, or what the output must be");
            self.problems.push(problem);
        }
        self.cpus(&key("cpus"), &command.cpus, span);
        if command.contains.iter().any(String::is_empty) {
            let problem = self
                .at(span, format!("{} holds an empty text", key("contains")))
                .hint("every output contains it; remove it");
            self.problems.push(problem);
        }
        for (part, max_abs) in [
            ("json.max_abs", command.json.as_ref().map(|json| json.max_abs)),
            ("json_lines.max_abs", command.json_lines.as_ref().map(|lines| lines.max_abs)),
        ] {
            if let Some(max_abs) = max_abs.filter(|max_abs| !max_abs.is_finite() || *max_abs < 0.0) {
                let problem = self
                    .at(span, format!("{} is no bound", key(part)))
                    .expected("a number of 0 or more")
                    .found(max_abs.to_string());
                self.problems.push(problem);
            }
        }
        if let Some(timeout) = command.timeout {
            self.timeout(&key("timeout"), timeout, span);
        }
        if let Some(limit) = command.stack_limit {
            self.stack_limit(&key("stack_limit"), limit, span);
        }
        let files = [
            ("equals", command.equals.as_ref()),
            ("args_from.file", command.args_from.as_ref().map(|from| &from.file)),
            ("json.golden", command.json.as_ref().map(|json| &json.golden)),
            ("json_lines.golden", command.json_lines.as_ref().map(|lines| &lines.golden)),
        ];
        for (part, file) in files {
            if let Some(file) = file {
                self.inside(&format!("prove.command.{part}"), "the workspace", file, span);
            }
        }
    }

    fn cpus(&mut self, key: &str, cpus: &[Cpu], span: &Range<usize>) {
        if cpus.is_empty() {
            let problem = self
                .at(span, format!("{key} is empty: the command would never run"))
                .expected("\"native\", or CPU models of qemu such as \"Nehalem\"");
            self.problems.push(problem);
        }
        for (index, cpu) in cpus.iter().enumerate() {
            if !cpu.is_plain() {
                let problem = self
                    .at(span, format!("{key} has an entry that is no name of a CPU model"))
                    .expected("\"native\", or a name of `qemu-x86_64 -cpu help`")
                    .found(format!("\"{cpu}\""));
                self.problems.push(problem);
            }
            if cpus[..index].contains(cpu) {
                let problem = self.at(span, format!("{key} names a CPU twice")).found(cpu.to_string());
                self.problems.push(problem);
            }
        }
    }

    fn timeout(&mut self, key: &str, timeout: TimeSpan, span: &Range<usize>) {
        if timeout.0.is_zero() {
            let problem = self
                .at(span, format!("`{key}` leaves no time"))
                .expected("a duration above 0, such as \"60 s\"")
                .found("0 ms");
            self.problems.push(problem);
        }
    }

    fn stack_limit(&mut self, key: &str, limit: ByteSize, span: &Range<usize>) {
        if limit < STACK_LIMIT_MIN {
            let problem = self
                .at(span, format!("`{key}` is below what Linux gives each program for its arguments"))
                .expected(format!("at least {STACK_LIMIT_MIN}"))
                .found(limit.to_string());
            self.problems.push(problem);
        }
    }

    fn zig(&mut self, zig: &Spanned<Zig>) {
        for (machine, digest) in &zig.get_ref().wheel_sha256 {
            self.sha256(&format!("toolchain.zig.wheel_sha256.{machine}"), digest, &zig.span());
        }
    }

    fn fixture(&mut self, name: &str, fixture: &Spanned<Fixture>) {
        let span = fixture.span();
        let Fixture { wheel_sha256, folder, files, .. } = fixture.get_ref();
        self.plain_name("fixtures", name, &span);
        self.sha256(&format!("fixtures.{name}.wheel_sha256"), wheel_sha256, &span);
        self.inside(&format!("fixtures.{name}.folder"), "the unpacked wheel", folder, &span);
        if files.is_empty() {
            let problem = self
                .at(
                    &span,
                    format!("`fixtures.{name}.files` is empty: nothing of the fixture would be verified"),
                )
                .expected("at least one file of the folder");
            self.problems.push(problem);
        }
        for file in files {
            self.inside(&format!("fixtures.{name}.files"), "the fixture's folder", file, &span);
        }
    }

    fn image(&mut self, image: &Spanned<ImageSettings>) {
        let span = image.span();
        let ImageSettings { reference, user, labels, .. } = image.get_ref();
        if !is_image_name(reference) {
            let problem = self
                .at(&span, "`image.reference` is no name of an image")
                .expected(
                    "lower-case letters and digits, with `.`, `_`, `-` and `/` between them, and no tag: the version \
                     becomes the tag",
                )
                .found(format!("\"{reference}\""));
            self.problems.push(problem);
        }
        let is_id = |id: &str| id.parse::<u32>().is_ok_and(|id| id != 0);
        if !user.split(':').all(is_id) || user.split(':').count() != 2 {
            let problem = self
                .at(&span, "`image.user` is not a numeric user and group other than root")
                .expected("\"65532:65532\"")
                .found(format!("\"{user}\""));
            self.problems.push(problem);
        }
        for label in labels.keys().filter(|label| {
            let key = label.strip_prefix("org.opencontainers.image.").unwrap_or(label);
            OWN_LABELS.contains(&key)
        }) {
            let problem =
                self.at(&span, format!("`image.labels.{label}` is set by the pipeline")).hint("remove it");
            self.problems.push(problem);
        }
    }

    fn plain_name(&mut self, table: &str, name: &str, span: &Range<usize>) {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || !name.chars().all(is_plain) {
            let problem = self
                .at(span, format!("`{table}.NAME` is not usable as a part of folders and variables"))
                .expected("lower-case letters and digits")
                .found(format!("`{table}.{name}`"));
            self.problems.push(problem);
        }
    }

    fn sha256(&mut self, key: &str, digest: &str, span: &Range<usize>) {
        if !is_sha256_hex(digest) {
            let problem = self
                .at(span, format!("`{key}` is no SHA-256"))
                .expected("64 lower-case hexadecimal digits")
                .found(format!("\"{digest}\""));
            self.problems.push(problem);
        }
    }

    fn inside(&mut self, key: &str, folder: &str, path: impl AsRef<Path>, span: &Range<usize>) {
        let path = path.as_ref();
        let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !stays || path.as_os_str().is_empty() {
            let problem = self
                .at(span, format!("`{key}` is not below {folder}"))
                .expected("a relative path without `..`")
                .found(format!("\"{}\"", path.display()));
            self.problems.push(problem);
        }
    }
}

/// A name as the OCI distribution specification has it; an engine refuses others when the image is loaded.
fn is_image_name(reference: &str) -> bool {
    let component = |part: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(edge)
            && part.ends_with(edge)
            && part.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
    };
    let (host, path) = match reference.split_once('/') {
        // Only the first part may hold a port, and only if something follows it.
        Some((first, rest)) if first.contains(':') => (first.rsplit_once(':'), rest),
        _ => (None, reference),
    };
    let is_host = host.is_none_or(|(name, port)| {
        component(name) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    });
    is_host && path.split('/').all(component)
}
