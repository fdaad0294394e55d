//! Rules on images, with real static programs: compiled here, put into an image, and judged with its layers.

use elf_gate::containers::{ImageProgram, MergedImage, WalkLimits, walk};
use elf_gate::image::{ImageEvidence, ImagePolicy, Names, Program, RULES, judge};
use elf_gate::policy::{PolicyDocument, Severity};
use elf_gate::{RuleOutcome, Verdict, inspect};

use crate::image_archive::{NEEDY, archive, compiled};

/// Needs nothing of an image.
const PLAIN: &str = "int main(void) { return 0; }\n";

fn only_image(archive: &[u8]) -> MergedImage {
    let mut walked = walk("in", archive, &WalkLimits::default(), &mut |_, _| {});
    assert_eq!(walked.images.len(), 1, "both manifests of the archive describe one image");
    walked.images.remove(0)
}

fn outcomes(archive: &[u8], program: &[u8], policy: &ImagePolicy) -> Vec<RuleOutcome> {
    let image = only_image(archive);
    let ImageProgram::Elf { path, member } = image.program() else { panic!("{:?}", image.program()) };
    assert!(member.ends_with(&format!("!{}", path.trim_start_matches('/'))), "{member}");
    let names = Some(Names::of(&inspect(program).unwrap()));
    let program = Program { path, is_static: true, names };
    judge(&ImageEvidence { image: &image, program: Ok(&program) }, policy)
}

/// The rules on the program and the files of an image.
fn rules_on_content() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.id()).filter(|id| *id != "image-acknowledgements").collect()
}

fn with_verdict(outcomes: &[RuleOutcome], verdict: Verdict) -> Vec<&str> {
    outcomes.iter().filter(|outcome| outcome.verdict == verdict).map(|outcome| outcome.rule).collect()
}

#[test]
fn every_rule_on_images_detects_a_bad_image_and_accepts_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let needy = compiled(NEEDY, folder.path());
    let bad = archive(&[("/app", &needy)], &[], "/app");
    let found = outcomes(&bad, &needy, &ImagePolicy::default());
    let all = rules_on_content();
    assert_eq!(with_verdict(&found, Verdict::Violation), all, "{found:#?}");
    assert_eq!(
        found[0].found,
        "`/app` contains X509_get_default_cert_file, and the image has no certificates"
    );
    // Only what is certainly wrong stops the image.
    let failed: Vec<&str> =
        found.iter().filter(|o| o.effective() != Verdict::Pass).map(|outcome| outcome.rule).collect();
    assert_eq!(failed, ["image-ca-certificates", "image-zone-data"]);

    let files: [(&str, &[u8]); 3] = [
        ("/app", &needy),
        ("/etc/ssl/certs/ca-certificates.crt", b"-----BEGIN CERTIFICATE-----"),
        ("/usr/share/zoneinfo/Europe/Berlin", b"TZif2"),
    ];
    let good = outcomes(&archive(&files, &[], "/app"), &needy, &ImagePolicy::default());
    assert!(good.iter().all(|outcome| outcome.effective() == Verdict::Pass), "{good:#?}");
    let elsewhere: [(&str, &[u8]); 3] = [("/app", &needy), ("/ca.pem", b"x"), ("/zones/UTC", b"TZif2")];
    let by_variable = archive(&elsewhere, &["SSL_CERT_FILE=/ca.pem", "TZDIR=/zones"], "/app");
    let found = outcomes(&by_variable, &needy, &ImagePolicy::default());
    assert!(found.iter().all(|outcome| outcome.effective() == Verdict::Pass), "{found:#?}");
    // Variables that name nothing do not help.
    let dangling = archive(&[("/app", &needy)], &["SSL_CERT_FILE=/ca.pem", "TZDIR=/zones"], "/app");
    assert_eq!(with_verdict(&outcomes(&dangling, &needy, &ImagePolicy::default()), Verdict::Violation), all);
    // A program that needs none of it.
    let plain = compiled(PLAIN, folder.path());
    let found = outcomes(&archive(&[("/app", &plain)], &[], "/app"), &plain, &ImagePolicy::default());
    for rule in ["image-ca-certificates", "image-zone-data", "image-resolver", "image-accounts"] {
        assert!(with_verdict(&found, Verdict::Pass).contains(&rule), "{found:#?}");
    }
}

#[test]
fn a_policy_acknowledges_a_rule_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let needy = compiled(NEEDY, folder.path());
    let bad = archive(&[("/app", &needy)], &[], "/app");
    let policy = PolicyDocument::parse(
        "extends = \"static-musl\"\n[image]\nacknowledged = { image-zone-data = \"UTC only\" }\n\
         severity = { image-resolver = \"error\" }\n",
    );
    let found = outcomes(&bad, &needy, &policy.unwrap().for_images());
    let of = |rule: &str| found.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!(of("image-zone-data").waived.as_ref().unwrap().reason, "UTC only");
    assert_eq!(of("image-zone-data").effective(), Verdict::Pass);
    assert_eq!(
        (of("image-resolver").severity, of("image-resolver").effective()),
        (Severity::Error, Verdict::Violation)
    );
    assert_eq!(of("image-accounts").severity, Severity::Warning);
    for wrong in [
        "acknowledged = { image-nothing = \"x\" }",
        "acknowledged = { image-resolver = \" \" }",
        "off = true",
    ] {
        assert!(PolicyDocument::parse(&format!("[image]\n{wrong}\n")).is_err(), "{wrong}");
    }
}

#[test]
fn rejects_an_acknowledgement_that_the_image_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let plain = compiled(PLAIN, folder.path());
    let image = archive(&[("/app", &plain)], &[], "/app");
    let acknowledging = |rules: &[&str]| ImagePolicy {
        acknowledged: rules.iter().map(|rule| (rule.to_string(), "a reason".to_string())).collect(),
        ..ImagePolicy::default()
    };
    let judged = |policy: &ImagePolicy| {
        let outcomes = outcomes(&image, &plain, policy);
        outcomes.into_iter().find(|outcome| outcome.rule == "image-acknowledgements").unwrap()
    };
    let unused = judged(&acknowledging(&["image-zone-data", "image-resolver"]));
    assert_eq!(unused.effective(), Verdict::Violation);
    assert_eq!(unused.found, "the image passes `image-resolver`, `image-zone-data`");
    assert_eq!(judged(&ImagePolicy::default()).effective(), Verdict::Pass);
}

#[test]
fn cannot_tell_without_names_or_without_a_program() {
    let stripped = crate::fixtures::fixture("stripped");
    let archive = archive(&[("/app", &stripped)], &[], "/app");
    let found = outcomes(&archive, &stripped, &ImagePolicy::default());
    assert_eq!(with_verdict(&found, Verdict::CannotTell).len(), rules_on_content().len(), "{found:#?}");
    let undecided = found.iter().filter(|outcome| outcome.verdict == Verdict::CannotTell);
    assert!(undecided.clone().all(|outcome| outcome.severity == Severity::Note && !outcome.hint.is_empty()));
    let image = only_image(&archive);
    let found = judge(&ImageEvidence { image: &image, program: Err("a script") }, &ImagePolicy::default());
    assert_eq!(with_verdict(&found, Verdict::CannotTell), rules_on_content());
}
