use std::collections::BTreeSet;

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

/// One mistake in each file; all messages in one snapshot, so that a change of their text shows as a diff.
#[test]
fn refuses_each_invalid_value_with_its_reason() {
    let command = "name = \"selftest\"\n";
    let cpus = "cpus = [\"qemu64\", \"Nehalem\", \"Haswell\"]\n";
    let cases = [
        ("stack_size = \"8 MiB\"", "stack_size = \"16 MiB\""),
        ("stack_size = \"8 MiB\"", "stack_size = \"128 KiB\""),
        ("stack_size = \"8 MiB\"", "stack_size = \"8 MB\""),
        ("stack_size = \"8 MiB\"", "stack_size = 8388608"),
        ("stack_size = \"8 MiB\"", "stack_size = \"1048577 B\""),
        ("stack_size = \"8 MiB\"", "stak_size = \"8 MiB\""),
        ("x86_64-unknown-linux-musl\"]", "x86_64-pc-windows-msvc\"]"),
        ("package = \"inferd\"", "package = \"--lib\""),
        ("[native.openblas]", "[native.Open-BLAS]"),
        ("vendor = \"vendor/openblas\"", "vendor = \"/etc\""),
        ("\"ZEN\", ", "\"HASWELL\", "),
        ("version = \"4.2\" ", "version = \"5.0\" "),
        ("version = \"4.2\" ", "version = \"4.23\" "),
        ("args = [\"--no-filter\"]", "args = [\"-oelsewhere\"]"),
        ("extends = \"static-musl\"", "extends = \"static-mussel\""),
        ("[gate.linked]\n", "[gate.linked]\nrequired_symbls = []\n"),
        ("[gate.linked]\n", "[gate.linked]\nstack_size = { exact = \"4 MiB\" }\n"),
        ("\"gotoblas_affinity_init\"", "\"cblas_sgemm\""),
        ("\"GOMP_*\"", "\"pthread_c*\""),
        (
            "required_symbols = [\"cblas_sgemm\", \"pthread_create\", \"pthread_attr_setstacksize\"]",
            "required_symbols = []",
        ),
        ("[0, 100, 500, 1000]", "[]"),
        ("[0, 100, 500, 1000]", "[4000000000]"),
        ("timeout = \"60 s\"", "timeout = \"60\""),
        ("timeout = \"60 s\"", "timeout = \"0 s\""),
        ("timeout = \"60 s\"", "timeout = \"60 s\"\nstart_stack_limit = \"64 KiB\""),
        ("timeout = \"60 s\"", "timeout = \"60 s\"\nallow_not_measured = { selftest = \"why\" }"),
        ("timeout = \"60 s\"", "timeout = \"60 s\"\nallow_not_measured = { isolated = \" \" }"),
        ("report = true", ""),
        ("report = true", "contains = [\"\"]"),
        ("report = true", "equals = \"../golden\""),
        ("report = true", "report = true\ntimeout = \"0 s\""),
        ("report = true", "report = true\nworking_directory = \"writable\""),
        (cpus, "cpus = []\n"),
        (cpus, "cpus = [\"--version\"]\n"),
        (cpus, "cpus = [\"native\", \"native\"]\n"),
        ("max_abs = 1e-5", "max_abs = -1.0"),
        ("name = \"golden embedding of the tiny model\"", "name = \"selftest\""),
        (command, "name = \"\"\n"),
        ("folder = \"gt_all", "folder = \"../gt_all"),
        ("files = [\"model.safetensors\"]", "files = []"),
        ("wheel_sha256 = \"b9a0", "wheel_sha256 = \"B9A0"),
        ("[fixtures.model]", "[fixtures.Model]"),
        ("reference = \"inferd\"", "reference = \"Bad Name\""),
        ("reference = \"inferd\"", "reference = \"inferd:1\""),
        ("user = \"65532:65532\"", "user = \"0:0\""),
        ("variant = \"packed\"", "variant = \"zipped\""),
        ("description = \"Inference", "version = \"Inference"),
    ];
    let texts = cases.map(|(from, to)| format!("## {}\n{}", to.trim(), refused(from, to)));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn reports_all_invalid_values_together() {
    let text = GOOD
        .replace("\"8 MiB\"", "\"16 MiB\"")
        .replace("\"4.2\" ", "\"5.0\" ")
        .replace("\"ZEN\"", "\"HASWELL\"");
    let diagnostics = diag::collect(&parse(&text).unwrap_err());
    let messages: Vec<&str> = diagnostics.iter().map(|one| one.fields().message.as_str()).collect();
    insta::assert_snapshot!(messages.join("\n"), @r"
    `link.stack_size` is above musl's ceiling: threads get 8 MiB all the same
    `native.openblas.kernels` names a kernel set twice
    `toolchain.upx.version` is not a version whose stubs start on every host
    ");
}

#[test]
fn a_missing_file_is_reported_with_what_to_do() {
    let error = Config::load(Path::new("/none/release.toml")).unwrap_err();
    let text = diag::render::human(&diag::collect(&error), diag::render::Style::default());
    insta::assert_snapshot!(text, @r"
    error[config-unreadable]: cannot read the release description
      --> /none/release.toml
      because:  No such file or directory (os error 2)
    hint: name the folder of release.toml with `--workspace DIR`, or the file with `--config FILE`
    ");
}

/// The tables of release.toml as docs/configuration.md names them, each with TOML that opens the table. `[gate]` has a
/// document of its own.
const TABLES: [(&str, &str); 16] = [
    ("", ""),
    ("product", "[product]"),
    ("link", "[link]"),
    ("native.NAME", "[native.openblas]"),
    ("toolchain", "[toolchain]"),
    ("toolchain.zig", "[toolchain.zig]"),
    ("toolchain.upx", "[toolchain.upx]"),
    ("pack", "[pack]"),
    ("prove", "[prove]"),
    ("prove.thread_stack", "[prove.thread_stack]"),
    ("prove.command", "[[prove.command]]"),
    ("prove.command.args_from", "[[prove.command]]\nname = \"n\"\n[prove.command.args_from]"),
    ("prove.command.json", "[[prove.command]]\nname = \"n\"\n[prove.command.json]"),
    ("prove.command.json_lines", "[[prove.command]]\nname = \"n\"\n[prove.command.json_lines]"),
    ("fixtures.NAME", "[fixtures.model]"),
    ("sbom", "[sbom]"),
];
const IMAGE: (&str, &str) = ("image", "[image]");

/// The keys that serde accepts in a table, out of its message about an unknown one.
fn accepted_keys(header: &str) -> Vec<String> {
    let error = parse(&format!("{header}\nzzz = 1\n")).expect_err("an unknown key is refused");
    let message = diag::collect(&error)[0].fields().message.clone();
    assert!(message.contains("unknown field `zzz`"), "{header}: {message}");
    let (_, expected) = message.split_once("expected ").expect("the known keys");
    expected.split('`').skip(1).step_by(2).map(String::from).collect()
}

#[test]
fn docs_configuration_lists_every_key_and_no_other() {
    let document = include_str!("../../../../docs/configuration.md");
    let (keys, _) = document.split_once("\n## ").expect("the keys come before the first section");
    let documented: BTreeSet<String> = keys
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(key, _)| key.to_string()))
        .collect();
    let mut accepted = BTreeSet::new();
    for (table, header) in TABLES.into_iter().chain([IMAGE]) {
        for key in accepted_keys(header) {
            let path = if table.is_empty() { key } else { format!("{table}.{key}") };
            accepted.insert(path);
        }
    }
    // A key that is a table has rows for its own keys in place of one for itself.
    let is_table = |key: &String| {
        let below = [format!("{key}."), format!("{key}.NAME.")];
        accepted.iter().any(|other| below.iter().any(|prefix| other.starts_with(prefix)))
    };
    let expected: BTreeSet<String> = accepted.iter().filter(|key| !is_table(key)).cloned().collect();
    assert_eq!(documented, expected);
}
