//! `inferd explain`: the explanation of a diagnostic code, or the list of all codes.

use std::fmt::Write;

use diag::Diagnostic;

use super::exit::CommandResult;
use super::output;
use crate::codes;

/// Flags of the command.
#[derive(clap::Args)]
pub struct Flags {
    /// Code in the brackets of an error message; without it, all codes are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints the text.
pub fn run(flags: &Flags) -> CommandResult {
    output::print(&match &flags.code {
        Some(id) => explain(id)?,
        None => list(),
    })
}

fn explain(id: &str) -> Result<String, Diagnostic> {
    match codes::all().find(|code| code.id == id) {
        Some(code) => Ok(diag::explain(code)),
        None => Err(diag::unknown_code(id, codes::all().map(|code| code.id), "`inferd explain`")),
    }
}

fn list() -> String {
    let width = codes::all().map(|code| code.id.len()).max().unwrap_or(0);
    codes::all().fold(String::new(), |mut text, code| {
        let _ = writeln!(text, "{:width$}  {}", code.id, code.summary);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_every_code_and_rejects_others() {
        for code in codes::all() {
            assert!(explain(code.id).unwrap().starts_with(code.id), "{}", code.id);
        }
        insta::assert_snapshot!(explain("no-model").unwrap(), @r#"
        no-model: no model is configured
          fix  pass `--model DIR`, set `INFERD_MODEL`, or write `model = ["DIR"]` into the file of
               `--config`
        "#);
        insta::assert_snapshot!(explain("x").unwrap_err(), @r"
        no code or rule has the name `x`
          expected: the code in the brackets of a message, or the name of a rule
        ");
        assert_eq!(list().lines().count(), codes::all().count());
    }
}
