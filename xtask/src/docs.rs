//! `cargo xtask docs`: writes the generated parts of the documentation. A test fails when a file differs from its tables.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostic;
use release::stage;
use serde_json::json;

use crate::Outcome;
use crate::codes::{self, DOCS_MARKERS};
use crate::format::{self, Format};
use crate::setup::workspace_root;

#[derive(ClapArgs)]
pub struct Args {
    /// Format of the list of written files and of errors on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut written = Vec::new();
    for (path, text) in generate(&workspace_root())? {
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        if present != text {
            store::atomic_write::bytes(&path, 0o644, text.as_bytes())?;
            format::print_part(args.format, &format!("{}\n", path.display()))?;
            written.push(path);
        }
    }
    format::print(args.format, String::new, json!({ "written": written, "diagnostics": [] }))?;
    Ok(Outcome::Pass)
}

/// Each file with generated parts, with the text that it must have.
fn generate(root: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let tables = [
        ("README.md", stage::markdown()),
        ("ARCHITECTURE.md", stage::architecture_markdown()),
        ("docs/release.md", stage::markdown()),
    ];
    for (name, table) in tables {
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let text = replace(&text, "stages", &table).map_err(|problem| problem.file(&path))?;
        files.push((path, text));
    }
    files.push((root.join("docs/diagnostics.md"), diagnostics()));
    Ok(files)
}

/// Replaces the lines between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
fn replace(text: &str, name: &str, generated: &str) -> Result<String, Diagnostic> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let missing = |marker: &str| {
        Diagnostic::new(&DOCS_MARKERS, "the document lacks a marker").expected(marker.trim_end())
    };
    let (before, rest) = text.split_once(&begin).ok_or_else(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
    Ok(format!("{before}{begin}{generated}{end}{after}"))
}

fn diagnostics() -> String {
    let mut text = String::from(
        "# Diagnostics\n\n\
         Every error of `cargo xtask` has a code: `error[CODE]: message`. `cargo xtask explain CODE` prints the whole \
         explanation, also of the codes on the other pages; `--format json` prints errors as data. The exit status follows from \
         the code: 1 a rule is violated, 2 anything that prevents a result, 130 interrupted.\n\n\
         `cargo xtask docs` generates this file. docs/gates.md has the rules of the ELF gate, docs/vendored.md the checks of \
         vendored sources, docs/server.md the codes of inferd, docs/benchmarks.md those of the load tests.\n",
    );
    for (title, codes) in codes::of_verbs() {
        let _ = write!(text, "\n## {title}\n\n{}", diag::markdown(codes.iter().copied()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_agrees_with_the_tables() {
        for (path, text) in generate(&workspace_root()).unwrap() {
            let present = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(present == text, "{} differs from its tables: run `cargo xtask docs`", path.display());
        }
    }

    #[test]
    fn replaces_only_the_lines_between_the_markers() {
        let text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n";
        assert_eq!(replace(text, "x", "new\n").unwrap(), "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n");
        assert_eq!(replace("a", "x", "").unwrap_err().code(), &DOCS_MARKERS);
    }
}
