//! Invalid specifications: each defect is reported once, with what is expected.

mod sample;

use std::path::Path;

use diag::Diagnostic;
use diag::render::{Style, human};
use oci_image::{Content, ImageFile, ImageSpec, OciImage, account_files};
use sample::{oci_tar, spec, unpacked_layer, untar};

fn problems(change: impl FnOnce(&mut ImageSpec)) -> Vec<Diagnostic> {
    let mut spec = spec();
    change(&mut spec);
    OciImage::build(&spec).err().expect("the specification must be rejected").0
}

type Change = Box<dyn FnOnce(&mut ImageSpec)>;

fn change(change: impl FnOnce(&mut ImageSpec) + 'static) -> Change {
    Box::new(change)
}

/// The problems of several specifications with one defect each, as they are printed.
#[track_caller]
fn one_problem_each(changes: impl IntoIterator<Item = Change>) -> String {
    let mut text = String::new();
    for change in changes {
        let problems = problems(change);
        text += &human(&problems, Style::default());
        assert_eq!(problems.len(), 1, "one defect was reported as several:\n{text}");
        assert_eq!(diag::exit_code(&problems), 2, "{text}");
    }
    text
}

#[test]
fn rejects_sources_that_are_not_regular_files() {
    let changes = ["/no/such/folder/inferd", "/", "/dev/null"]
        .map(|source| change(move |spec| spec.files[0].content = Content::Source(Path::new(source).into())));
    insta::assert_snapshot!(one_problem_each(changes));
}

#[test]
fn rejects_paths_with_more_than_one_spelling() {
    let long = format!("/{}", "a".repeat(100));
    let paths = [
        "/../inferd",
        "/bin/../inferd",
        "/./inferd",
        "//inferd",
        "/bin/",
        "inferd",
        "",
        "/",
        "/etc/.wh.passwd",
        "/a b",
        "/ä",
        "/a\nb",
        &long,
    ];
    let changes = paths.map(|path| {
        let file = ImageFile::from_bytes(path, 0o444, "");
        change(move |spec| spec.files.push(file))
    });
    insta::assert_snapshot!(one_problem_each(changes));
}

#[test]
fn the_longest_accepted_path_fits_into_a_plain_header() {
    let mut spec = spec();
    let longest = "a".repeat(99);
    spec.files.push(ImageFile::folder(&format!("/{longest}"), 0o755));
    let layer = unpacked_layer(&untar(&oci_tar(&spec)));
    let mut archive = tar::Archive::new(layer.as_slice());
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned());
    assert!(names.into_iter().any(|name| name == format!("{longest}/").as_bytes()));
}

#[test]
fn rejects_conflicting_files_and_modes() {
    insta::assert_snapshot!(one_problem_each([
        change(|spec| spec.files.push(ImageFile::from_bytes("/inferd", 0o555, "other"))),
        change(|spec| spec.files.push(ImageFile::from_bytes("/inferd/model", 0o444, ""))),
        change(|spec| spec.files[0].mode = 0o100_555),
    ]));
}

#[test]
fn rejects_an_image_without_files() {
    insta::assert_snapshot!(human(&problems(|spec| spec.files.clear()), Style::default()));
}

#[test]
fn rejects_entrypoints_that_cannot_start() {
    insta::assert_snapshot!(one_problem_each([
        change(|spec| spec.entrypoint.clear()),
        change(|spec| spec.entrypoint[0] = "inferd".into()),
        change(|spec| spec.entrypoint[0] = "/etc".into()),
        change(|spec| spec.files[0].mode = 0o500),
        change(|spec| spec.files[0].mode = 0o444),
        change(|spec| spec.entrypoint.push("a\0b".into())),
    ]));
}

#[test]
fn rejects_architectures_by_other_names() {
    let changes = ["x86_64", "aarch64", "riscv64"]
        .map(|name| change(move |spec: &mut ImageSpec| spec.architecture = name.into()));
    insta::assert_snapshot!(one_problem_each(changes));
}

/// The running test program is an ELF file of this machine.
#[test]
fn rejects_a_program_for_another_architecture() {
    let program = std::env::current_exe().unwrap();
    let (own, other) = if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    let mut spec = spec();
    spec.files[0].content = Content::Source(program);
    spec.architecture = own.into();
    OciImage::build(&spec).unwrap();
    spec.architecture = other.into();
    let problems = OciImage::build(&spec).err().unwrap().0;
    let fields = problems[0].fields();
    assert_eq!(fields.message, "the entrypoint `/inferd` is an ELF file for another architecture");
    assert_eq!((fields.expected.as_deref(), fields.found.as_deref()), (Some(other), Some(own)));
}

#[test]
fn rejects_users_without_numbers_and_root() {
    let users = [
        "nonroot",
        "65532",
        "65532:nonroot",
        "",
        "+1:+1",
        ":",
        "-1:-1",
        "4294967296:1",
        "0:0",
        "0:65532",
        "65532:0",
        "00:1",
    ];
    let changes = users.map(|user| change(move |spec: &mut ImageSpec| spec.user = user.into()));
    insta::assert_snapshot!(one_problem_each(changes));
}

#[test]
fn rejects_account_files_with_invalid_names() {
    let problems = [("nonroot", "nonroot"), ("65532:65532", "a:b")]
        .map(|(user, name)| account_files(user, name).unwrap_err());
    insta::assert_snapshot!(human(&problems, Style::default()));
}

#[test]
fn rejects_settings_that_engines_accept_and_fail_on() {
    let mut changes = vec![
        change(|spec| spec.workdir = "/data".into()),
        change(|spec| spec.env.push("NO_VALUE".into())),
        change(|spec| spec.env.push("=x".into())),
        change(|spec| spec.env.push("RUST_BACKTRACE=0".into())),
        change(|spec| drop(spec.labels.insert(String::new(), "x".into()))),
        change(|spec| spec.exposed_ports.push("8080/tcp".into())),
        change(|spec| spec.reference = "Inferd".into()),
        change(|spec| spec.created_unix_seconds = 1_735_689_600_000),
    ];
    for port in ["8080", "0/tcp", "65536/tcp", "8080/http", "http"] {
        changes.push(change(|spec| spec.exposed_ports.push(port.into())));
    }
    insta::assert_snapshot!(one_problem_each(changes));
}

#[test]
fn reports_all_problems_together() {
    let problems = problems(|spec| {
        spec.user = "root".into();
        spec.architecture = "x86_64".into();
        spec.entrypoint.clear();
        spec.files.push(ImageFile::from_bytes("/../x", 0o444, ""));
    });
    let messages: Vec<_> = problems.iter().map(|problem| problem.fields().message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the path `/../x` has the component `..`; expected a plain path without //, . and ..",
            "the user `root` is invalid",
            "the architecture `x86_64` is unknown",
            "the entrypoint is empty",
        ]
    );
}
