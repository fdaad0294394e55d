//! The table of the rules on images, and their checks.

use diag::{Class, Code};

use crate::image::evidence::{ImageEvidence, ImageRuleInput, Program};
use crate::image::names::{
    ACCOUNTS, EMBEDS_CA, EMBEDS_ZONES, LOCALE, Names, READS_CA_FILES, READS_ZONES, RESOLVER, Wanted,
};
use crate::policy::{CheckResult, Severity, Verdict, list};

/// A rule on images.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name, explanation and fix; the fix is its last section.
    pub code: Code,
    /// Severity of a violation, unless the policy sets another one. "Cannot tell" is a note.
    pub severity: Severity,
    pub(super) check: fn(&ImageRuleInput) -> CheckResult,
}

impl Rule {
    /// Stable, kebab-case.
    pub const fn id(&self) -> &'static str {
        self.code.id
    }

    pub(super) fn fix(&self) -> &'static str {
        self.code.sections.last().map_or("", |(_, text)| *text)
    }
}

/// The rule with that name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id() == id)
}

macro_rules! rules {
    ($($id:literal, severity $severity:ident $severity_text:literal => $check:path {
        detects: $detects:literal,
        rationale: $rationale:literal,
        incident: $incident:literal,
        other_tools: $other_tools:literal,
        fix: $fix:literal,
    })+) => {
        /// All rules on images, in the order of reports.
        pub const RULES: &[Rule] = &[$(
            Rule {
                code: Code {
                    id: $id,
                    class: Class::Violation,
                    summary: $detects,
                    sections: &[
                        ("severity", $severity_text),
                        ("rationale", $rationale),
                        ("incident", $incident),
                        ("other tools", $other_tools),
                        ("fix", $fix),
                    ],
                },
                severity: Severity::$severity,
                check: $check,
            },
        )+];
    };
}

rules! {
    "image-ca-certificates", severity Error "error" => ca_certificates {
        detects: "a program that reads trusted certificates from files, in an image without them",
        rationale: "an empty image has no /etc/ssl/certs; every TLS connection then fails, and nothing fails earlier",
        incident: "static programs in `FROM scratch` images found no certificates: rustic-rs/rustic#1779, vmware-labs/wasm-workers-server#120",
        other_tools: "none; linters of Dockerfiles do not read the program",
        fix: "add /etc/ssl/certs/ca-certificates.crt to the image, or build the certificates into the program (`webpki-roots`, `x509roots/fallback`)",
    }
    "image-zone-data", severity Error "error" => zone_data {
        detects: "a program that reads time zones from files, in an image without /usr/share/zoneinfo",
        rationale: "without the files every zone silently becomes UTC, or an error at run time",
        incident: "a server in a small image showed all local times in UTC: kacperkwapisz/mail-mcp#18",
        other_tools: "none",
        fix: "add the package tzdata to the image, or build the zones into the program (`chrono-tz`, `jiff` with its bundled database, `time/tzdata`); a program that needs only UTC: acknowledge it in the policy",
    }
    "image-resolver", severity Warning "warning, to be acknowledged in the policy" => resolver {
        detects: "a static program that resolves names with the resolver of its C library",
        rationale: "musl's resolver has no NSS and no mDNS, queries all servers in parallel, and uses TCP for large answers only since 1.2.4",
        incident: "names of a cluster, or with large answers, did not resolve in static programs: NVIDIA/OpenShell#2053, clux/muslrust#122, openai/codex#30733",
        other_tools: "none",
        fix: "test the program with the search list and servers of its environment, then state the reason in `[image] acknowledged`; or use a resolver in the program such as `hickory-resolver`",
    }
    "image-accounts", severity Warning "warning, to be acknowledged in the policy" => accounts {
        detects: "a static program that looks up users or groups",
        rationale: "a static program has no NSS: it sees only /etc/passwd and /etc/group of the image, and no LDAP or systemd user",
        incident: "users of LDAP are unknown to programs on musl, which has no NSS by design (musl wiki, functional differences from glibc)",
        other_tools: "none; the linker warns for a static glibc only",
        fix: "add the accounts to /etc/passwd and /etc/group of the image, then state the reason in `[image] acknowledged`",
    }
    "image-locale", severity Warning "warning, to be acknowledged in the policy" => locale {
        detects: "a static program that converts character sets or selects a locale",
        rationale: "musl has the locale C.UTF-8 only, and few conversions in iconv; translations need files that an empty image lacks",
        incident: "conversions that work on glibc fail on musl, and the locale stays C.UTF-8 (musl wiki, functional differences from glibc)",
        other_tools: "none",
        fix: "test the conversions that the program uses, then state the reason in `[image] acknowledged`; or convert with `encoding_rs`",
    }
    // The last one: it reads the outcomes of the others.
    "image-acknowledgements", severity Error "error" => acknowledgements {
        detects: "a reason in `[image] acknowledged` for a rule that the image passes",
        rationale: "an exception that nothing needs hides the next violation of its rule",
        incident: "suppressions outlive the code that they were written for; mypy has `warn_unused_ignores` and ESLint `--report-unused-disable-directives` against it",
        other_tools: "none for images",
        fix: "remove the entry from `[image] acknowledged`",
    }
}

/// Files and folders of Linux distributions, as OpenSSL, rustls-native-certs and Go look for them.
const CA_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
const CA_FOLDERS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
const ZONES: &str = "/usr/share/zoneinfo";

fn ca_certificates(ImageRuleInput { evidence, .. }: &ImageRuleInput) -> CheckResult {
    let image = evidence.image;
    let expected = "files of trusted certificates, or none needed";
    let by_variable = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|name| {
        let value = image.variable(name)?;
        (image.has_file(value) || image.has_entries(value)).then(|| format!("{name}={value}"))
    });
    let file = CA_FILES.into_iter().find(|file| image.has_file(file));
    let folder = CA_FOLDERS.into_iter().find(|folder| image.has_entries(folder));
    let present = by_variable.or(file.or(folder).map(str::to_string));
    needs(evidence, expected, READS_CA_FILES, EMBEDS_CA, present, "the image has no certificates")
}

fn zone_data(ImageRuleInput { evidence, .. }: &ImageRuleInput) -> CheckResult {
    let image = evidence.image;
    let by_variable = image.variable("TZDIR").filter(|folder| image.has_entries(folder));
    let present = by_variable.or(Some(ZONES).filter(|folder| image.has_entries(folder)));
    let expected = "files of time zones, or none needed";
    let present = present.map(str::to_string);
    needs(evidence, expected, READS_ZONES, EMBEDS_ZONES, present, "the image has no /usr/share/zoneinfo")
}

/// `present` names the data in the image.
fn needs(
    evidence: &ImageEvidence,
    expected: &str,
    reads: &[Wanted],
    embeds: &[Wanted],
    present: Option<String>,
    absent: &str,
) -> CheckResult {
    if let Some(present) = present {
        return CheckResult::pass_if(true, expected, format!("{present} in the image"));
    }
    let (program, names) = match names(evidence, expected) {
        Ok(found) => found,
        Err(cannot_tell) => return cannot_tell,
    };
    let (reading, embedded) = (names.present(reads), names.present(embeds));
    match (reading.is_empty(), embedded.is_empty()) {
        (_, false) => CheckResult::pass_if(true, expected, format!("in the program: {}", list(&embedded))),
        (false, true) => {
            let found = format!("`{}` contains {}, and {absent}", program.path, list(&reading));
            CheckResult::pass_if(false, expected, found)
        }
        (true, true) if !names.is_complete => no_names(expected, program),
        (true, true) => CheckResult::pass_if(true, expected, "not needed"),
    }
}

fn resolver(ImageRuleInput { evidence, .. }: &ImageRuleInput) -> CheckResult {
    uses(evidence, "no use of the C library's resolver", RESOLVER, "")
}

fn accounts(ImageRuleInput { evidence, .. }: &ImageRuleInput) -> CheckResult {
    let passwd = if evidence.image.has_file("/etc/passwd") { "" } else { "; the image has no /etc/passwd" };
    uses(evidence, "no look-up of users and groups", ACCOUNTS, passwd)
}

fn locale(ImageRuleInput { evidence, .. }: &ImageRuleInput) -> CheckResult {
    uses(evidence, "no use of locales and iconv", LOCALE, "")
}

fn uses(evidence: &ImageEvidence, expected: &str, wanted: &[Wanted], addition: &str) -> CheckResult {
    let (program, names) = match names(evidence, expected) {
        Ok(found) => found,
        Err(cannot_tell) => return cannot_tell,
    };
    if !program.is_static {
        return CheckResult::pass_if(true, expected, "a dynamic program uses the C library of the image");
    }
    let found = names.present(wanted);
    match found.is_empty() {
        false => {
            let found = format!("`{}` contains {}{addition}", program.path, list(&found));
            CheckResult::pass_if(false, expected, found)
        }
        true if !names.is_complete => no_names(expected, program),
        true => CheckResult::pass_if(true, expected, "none"),
    }
}

fn acknowledgements(input: &ImageRuleInput) -> CheckResult {
    let passed = |rule: &str| input.earlier.iter().any(|o| o.rule == rule && o.verdict == Verdict::Pass);
    let unused: Vec<String> = input
        .policy
        .acknowledged
        .keys()
        .filter(|rule| passed(rule))
        .map(|rule| format!("`{rule}`"))
        .collect();
    let expected = "each acknowledged rule is violated or undecided";
    match unused.is_empty() {
        true => CheckResult::pass_if(true, expected, "no unused entry"),
        false => CheckResult::pass_if(false, expected, format!("the image passes {}", list(&unused))),
    }
}

fn names<'a>(evidence: &ImageEvidence<'a>, expected: &str) -> Result<(&'a Program, &'a Names), CheckResult> {
    match evidence.program {
        Err(why) => {
            let hint = "judge an image whose entrypoint is the program itself";
            Err(CheckResult::cannot_tell(expected, why, hint))
        }
        Ok(program) => match &program.names {
            Some(names) => Ok((program, names)),
            None => Err(no_names(expected, program)),
        },
    }
}

fn no_names(expected: &str, program: &Program) -> CheckResult {
    let found = format!("`{}` has no symbol names", program.path);
    let hint = "put the split debug file of the same build next to the image, or pass it with `--debug-file`";
    CheckResult::cannot_tell(expected, found, hint)
}
