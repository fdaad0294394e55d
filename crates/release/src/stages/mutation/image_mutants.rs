//! The rules on images can fail too: the image that ships, beside a program that needs what the image lacks.

use elf_gate::{Facts, RuleOutcome, Stage, Verdict};

use super::{MutantResult, Outcome, elf_edit, problem};
use diag::Diagnostics;

/// A function of the program, and the rule that must then reject the image. An image of this pipeline holds the program and
/// nothing else, so no layer provides what the function reads.
const MUTANTS: [(&str, &str, &str); 5] = [
    ("program reads certificates", "X509_get_default_cert_file", "image-ca-certificates"),
    ("program reads time zones", "localtime_r", "image-zone-data"),
    ("program resolves names", "getaddrinfo", "image-resolver"),
    ("program looks up users", "getpwnam_r", "image-accounts"),
    ("program selects a locale", "setlocale", "image-locale"),
];

/// Gives functions of a copy of the linked file these names and judges the image with them. An error when a rule accepts it.
pub(crate) fn test_image(
    linked: &[u8],
    judge: impl Fn(&Facts) -> anyhow::Result<Vec<RuleOutcome>>,
) -> anyhow::Result<Vec<MutantResult>> {
    let started = std::time::Instant::now();
    let mut bytes = linked.to_vec();
    // One copy for all rules: no function has a part in two of them.
    let made = elf_edit::name_functions(&mut bytes, &MUTANTS.map(|(_, function, _)| function));
    let killed_by: Vec<&'static str> = match &made {
        Err(_) => Vec::new(),
        Ok(()) => {
            let outcomes = judge(&elf_gate::inspect(&bytes)?)?;
            let violated = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Violation);
            violated.map(|outcome| outcome.rule).collect()
        }
    };
    let result = |(mutant, _, expected_rule)| MutantResult {
        mutant,
        stage: Stage::Linked,
        expected_rule,
        outcome: match &made {
            Err(why) => Outcome::Void(why.clone()),
            Ok(()) if killed_by.contains(&expected_rule) => Outcome::Killed,
            Ok(()) => Outcome::Survived,
        },
        killed_by: killed_by.clone(),
        elapsed_us: started.elapsed().as_micros() as u64,
    };
    let results = MUTANTS.map(result).to_vec();
    results.iter().filter_map(problem).collect::<Diagnostics>().into_result()?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_on_images_has_a_mutant_and_a_rule_that_accepts_it_is_a_failure() {
        let rules: Vec<&str> = elf_gate::image::RULES.iter().map(|rule| rule.id()).collect();
        assert_eq!(rules, MUTANTS.map(|(_, _, rule)| rule));

        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf/rules/single");
        let linked = std::fs::read(path).unwrap();
        let outcome = |rule: &'static str, verdict| RuleOutcome {
            rule,
            severity: elf_gate::Severity::Error,
            verdict,
            expected: String::new(),
            found: String::new(),
            hint: String::new(),
            waived: None,
        };
        let all = |verdict| move |_: &Facts| Ok(MUTANTS.map(|(_, _, rule)| outcome(rule, verdict)).to_vec());
        assert_eq!(test_image(&linked, all(Verdict::Violation)).unwrap().len(), MUTANTS.len());
        let error = test_image(&linked, all(Verdict::Pass)).unwrap_err();
        assert_eq!(diag::collect(&error).len(), MUTANTS.len());
    }
}
