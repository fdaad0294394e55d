//! `cargo xtask explain CODE`: a diagnostic code of any program, or a rule of the ELF gate.

use clap::Args as ClapArgs;
use diag::{Code, Diagnostic};
use serde_json::{Value, json};

use crate::Outcome;
use crate::codes;
use crate::format::{self, Format};

#[derive(ClapArgs)]
pub struct Args {
    /// The name in brackets of an error, or the rule that the error names [default: list all names]
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// Format of the explanations and of errors on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    match &args.code {
        None => format::print(args.format, list, json(&areas()))?,
        Some(name) => {
            let (title, code) = find(name)?;
            format::print(args.format, || diag::explain(code), json(&[(title, vec![code])]))?;
        }
    }
    Ok(Outcome::Pass)
}

/// Every code and rule, by area.
fn areas() -> Vec<codes::Area> {
    let rules = elf_gate::policy::RULES.iter().map(|rule| &rule.code).collect();
    let image_rules = elf_gate::image::RULES.iter().map(|rule| &rule.code).collect();
    let mut areas = codes::all();
    areas.extend([("Rules of the ELF gate", rules), ("Rules of the ELF gate on images", image_rules)]);
    areas
}

fn all() -> impl Iterator<Item = &'static Code> {
    areas().into_iter().flat_map(|(_, codes)| codes)
}

/// Every name with its meaning, by area.
fn list() -> String {
    let mut text = String::new();
    for (title, codes) in areas() {
        let width = codes.iter().map(|code| code.id.len()).max().unwrap_or(0);
        text += &format!("{title}\n");
        for code in codes {
            text += &format!("  {:width$}  {}\n", code.id, code.summary);
        }
    }
    text
}

/// The code of a name, with the title of its area.
fn find(name: &str) -> Result<(&'static str, &'static Code), Diagnostic> {
    let find = |(title, codes): codes::Area| Some((title, codes.into_iter().find(|code| code.id == name)?));
    let unknown = || diag::unknown_code(name, all().map(|code| code.id), "`cargo xtask explain`");
    areas().into_iter().find_map(find).ok_or_else(unknown)
}

/// Codes with all sections of their explanations.
fn json(areas: &[codes::Area]) -> Value {
    let code = |area: &str, code: &Code| {
        let mut value = json!(code);
        value["area"] = area.into();
        value
    };
    let codes = areas.iter().flat_map(|(title, codes)| codes.iter().map(|one| code(title, one)));
    json!({ "codes": codes.collect::<Vec<_>>(), "diagnostics": [] })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::setup::workspace_root;

    #[test]
    fn explains_every_code_and_rule() {
        for code in all() {
            let (_, found) = find(code.id).unwrap();
            assert!(diag::explain(found).starts_with(&format!("{}: ", code.id)), "{}", code.id);
        }
        assert_eq!(list().lines().count(), areas().len() + all().count());
    }

    #[test]
    fn data_has_every_code_with_its_sections() {
        assert_eq!(json(&areas())["codes"].as_array().unwrap().len(), all().count());
        let (title, code) = find("disk-full").unwrap();
        insta::assert_snapshot!(format!("{:#}", json(&[(title, vec![code])])), @r#"
        {
          "codes": [
            {
              "area": "Any program",
              "class": "environment",
              "code": "disk-full",
              "sections": [
                {
                  "label": "cause",
                  "text": "the cache, target/, dist/ or TMPDIR lies on a disk without free space"
                },
                {
                  "label": "fix",
                  "text": "free space (`df -h` shows the disk; target/ and the cache that `cargo xtask doctor` names are the large folders), or name other folders: `--cache-dir`, `--dist-dir`, TMPDIR"
                }
              ],
              "summary": "a disk is full"
            }
          ],
          "diagnostics": []
        }
        "#);
    }

    #[test]
    fn proposes_the_nearest_code_of_any_program() {
        let message = |name| diag::render::human(&[find(name).unwrap_err()], diag::render::Style::default());
        insta::assert_snapshot!(message("model-files-missing"), @r"
        error[unknown-code]: no code or rule has the name `model-files-missing`
          expected: the code in the brackets of a message, or the name of a rule
        hint: did you mean `model-file-missing`? `cargo xtask explain` lists all of them
        ");
        insta::assert_snapshot!(message("stack_size"), @r"
        error[unknown-code]: no code or rule has the name `stack_size`
          expected: the code in the brackets of a message, or the name of a rule
        hint: did you mean `stack-size`? `cargo xtask explain` lists all of them
        ");
    }

    /// A code is one kind of problem over all programs, and each ends in a fix.
    #[test]
    fn codes_are_unique_and_end_in_a_fix() {
        let mut seen = BTreeSet::new();
        for code in all() {
            assert!(seen.insert(code.id), "{} is defined twice", code.id);
            assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
            let is_kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(code.id.bytes().all(is_kebab), "{}", code.id);
        }
    }

    /// A table that `codes` does not list would have no explanation.
    #[test]
    fn no_table_of_codes_is_left_out() {
        let mut defined = BTreeSet::new();
        for folder in ["crates", "xtask/src"] {
            for file in sources(&workspace_root().join(folder)) {
                defined.extend(codes_in(&std::fs::read_to_string(file).unwrap()));
            }
        }
        let explained = codes::all().into_iter().flat_map(|(_, codes)| codes).map(|code| code.id.into());
        assert_eq!(defined, explained.collect::<BTreeSet<String>>());
    }

    #[test]
    fn finds_the_codes_of_a_table() {
        let text = "diag::codes! {\n    /// A.\n    pub A = Usage \"a-b\": \"text\" {\n    }\n}\n\
                    //! pub X = Usage \"x\": \"an example\" {\n#[cfg(test)]\nmod tests {\n    pub Y = Usage \"y\": \"a test\" {\n";
        assert_eq!(codes_in(text), ["a-b"]);
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files.extend(sources(&path)),
                false if path.extension().is_some_and(|name| name == "rs") => files.push(path),
                false => {}
            }
        }
        files
    }

    /// The names in lines of the form `pub NAME = CLASS "name": "…" {`, up to the tests of the file.
    fn codes_in(text: &str) -> Vec<String> {
        const CLASSES: [&str; 5] = ["Violation", "Usage", "Environment", "NotMeasured", "Interrupted"];
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines();
        let name = |line: &str| {
            let (_, value) = line.trim_start().strip_prefix("pub ")?.split_once(" = ")?;
            let (class, value) = value.split_once(" \"")?;
            let (name, _) = value.split_once("\": \"")?;
            CLASSES.contains(&class).then(|| name.to_string())
        };
        lines.filter_map(name).collect()
    }
}
