use super::*;

const GOOD: &str = include_str!("../../../../release.toml");

fn parse(text: &str) -> anyhow::Result<Config> {
    Config::parse(text, Path::new("release.toml"))
}

#[test]
fn accepts_the_file_of_this_repository() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.stack_size, MUSL_STACK_CEILING);
    assert_eq!(config.native["openblas"].kernels.len(), 4);
    assert_eq!(config.prove.start_args, ["--version"]);
    assert_eq!(config.prove.start_contains, "{version}");
}

#[test]
fn accepts_a_product_without_native_libraries_and_fixtures() {
    let text = include_str!("../../../../fixtures/workspace/release.toml");
    let config = parse(text).unwrap();
    assert!(config.native.is_empty() && config.fixtures.is_empty());
}

/// Every bad file differs from the good one in one place; the only diagnostic names the line and the value.
fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the anchor `{from}` is gone from release.toml");
    let error = parse(&GOOD.replacen(from, to, 1)).expect_err(&format!("`{to}` was accepted"));
    let diagnostics = diag::collect(&error);
    assert_eq!(diagnostics.len(), 1, "one mistake is reported as several: {diagnostics:?}");
    assert_eq!(diag::exit_code(&diagnostics), 2);
    let fields = diagnostics[0].fields();
    assert_eq!(fields.subject.file.as_deref(), Some(Path::new("release.toml")));
    assert!(fields.subject.location.expect("a location").line > 1, "the place is only the file: {fields:?}");
    // The line of the good file moves with each edit of its comments.
    let text = diag::render::human(&diagnostics, diag::render::Style::default());
    let (message, rest) = text.split_once("\n  --> ").expect("a place");
    let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{message}\n{rest}")
}

#[test]
fn a_location_is_the_place_of_the_value() {
    let line = 1 + GOOD[..GOOD.find("stack_size = ").unwrap()].matches('\n').count();
    let error = parse(&GOOD.replacen("\"8 MiB\"", "\"16 MiB\"", 1)).unwrap_err();
    let location = diag::collect(&error)[0].fields().subject.location.unwrap();
    assert_eq!(location, diag::Location { line, column: 14 });
}

#[test]
fn refuses_stack_sizes_that_musl_does_not_keep() {
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stack_size = \"16 MiB\""));
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stack_size = \"128 KiB\""));
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stack_size = \"8 MB\""));
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stack_size = 8388608"));
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stack_size = \"1048577 B\""));
    insta::assert_snapshot!(refused("stack_size = \"8 MiB\"", "stak_size = \"8 MiB\""));
}
