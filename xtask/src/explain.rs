//! `cargo xtask explain CODE`: a diagnostic code or a rule of the ELF gate.

use clap::Args as ClapArgs;
use diag::Diagnostic;

use crate::Outcome;
use crate::codes::{self, CODE_UNKNOWN};
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    /// The name in brackets of an error, or the rule that the error names [default: list all names]
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    match &args.code {
        None => stdout::print(&list())?,
        Some(name) => stdout::print(&explain(name)?)?,
    }
    Ok(Outcome::Pass)
}

/// Every name with its meaning, by area.
fn list() -> String {
    let mut text = String::new();
    let mut section = |title: &str, rows: Vec<(&str, &str)>| {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        text += &format!("{title}\n");
        for (name, summary) in rows {
            text += &format!("  {name:width$}  {summary}\n");
        }
    };
    for (title, codes) in codes::all() {
        section(title, codes.iter().map(|code| (code.id, code.summary)).collect());
    }
    let rules = elf_gate::policy::RULES.iter().map(|rule| (rule.id(), rule.code.summary)).collect();
    section("Rules of the ELF gate", rules);
    let rules = elf_gate::image::RULES.iter().map(|rule| (rule.id(), rule.code.summary)).collect();
    section("Rules of the ELF gate on images", rules);
    text
}

fn explain(name: &str) -> Result<String, Diagnostic> {
    let code = codes::all().into_iter().flat_map(|(_, codes)| codes).find(|code| code.id == name);
    if let Some(code) = code {
        return Ok(diag::explain(code));
    }
    if let Some(rule) = elf_gate::policy::rule(name) {
        return Ok(diag::explain(&rule.code));
    }
    if let Some(rule) = elf_gate::image::rule(name) {
        return Ok(diag::explain(&rule.code));
    }
    Err(Diagnostic::new(&CODE_UNKNOWN, format!("no code and no rule is named `{name}`"))
        .expected("a name that `cargo xtask explain` lists")
        .hint(
            "`inferd explain CODE` has the codes of inferd, `cargo run --package loadtest -- --explain CODE` those of the \
             load tests",
        ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn explains_every_code_and_rule() {
        let codes = codes::all().into_iter().flat_map(|(_, codes)| codes).map(|code| code.id);
        let rules = elf_gate::policy::RULES.iter().map(elf_gate::policy::Rule::id);
        let image_rules = elf_gate::image::RULES.iter().map(|rule| rule.id());
        for name in codes.chain(rules).chain(image_rules) {
            assert!(explain(name).unwrap().contains(name), "{name}");
        }
        assert_eq!(explain("no-such-code").unwrap_err().code(), &CODE_UNKNOWN);
    }

    /// A code is one kind of problem over the whole workspace, and each ends in a fix.
    #[test]
    fn codes_are_unique_and_end_in_a_fix() {
        let mut seen = BTreeSet::new();
        for code in codes::all().into_iter().flat_map(|(_, codes)| codes) {
            assert!(seen.insert(code.id), "{} is defined twice", code.id);
            assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
            let is_kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(code.id.bytes().all(is_kebab), "{}", code.id);
        }
    }
}
