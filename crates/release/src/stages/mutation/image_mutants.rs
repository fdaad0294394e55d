//! The rules on images can fail too: the image that ships, beside a program that needs what the image lacks.

use elf_gate::{Facts, RuleOutcome, Stage, Verdict};

use super::{MutantOutcome, MutantResult, elf_edit, problem};
use diag::Diagnostics;

/// One mutant.
#[derive(Clone, Copy)]
struct ImageMutant {
    name: &'static str,
    /// The name that a function of the program gets.
    function: &'static str,
    rule: &'static str,
}

const fn mutant(name: &'static str, function: &'static str, rule: &'static str) -> ImageMutant {
    ImageMutant { name, function, rule }
}

/// An image of this pipeline holds the program and nothing else, so no layer provides what the functions read.
const MUTANTS: [ImageMutant; 5] = [
    // The crate openssl_probe in a mangled name.
    mutant("program reads certificates", "13openssl_probe", "image-ca-certificates"),
    mutant("program reads time zones", "localtime_r", "image-zone-data"),
    mutant("program resolves names", "getaddrinfo", "image-resolver"),
    mutant("program looks up users", "getpwnam_r", "image-accounts"),
    mutant("program selects a locale", "setlocale", "image-locale"),
];

/// Gives functions of a copy of the linked file these names and judges the image with them. An error when a rule accepts it.
pub(crate) fn test_image(
    linked: &[u8],
    judge: impl Fn(&Facts) -> anyhow::Result<Vec<RuleOutcome>>,
) -> anyhow::Result<Vec<MutantResult>> {
    // One copy for all mutants, because no name has a part in two rules; one copy for each in a program of few functions.
    let together = results(linked, &MUTANTS, &judge)?;
    let is_void = |result: &MutantResult| matches!(result.outcome, MutantOutcome::Void(_));
    let results = match together.iter().any(is_void) {
        false => together,
        true => {
            let each = MUTANTS.iter().map(|mutant| results(linked, std::slice::from_ref(mutant), &judge));
            each.collect::<anyhow::Result<Vec<_>>>()?.concat()
        }
    };
    results.iter().filter_map(problem).collect::<Diagnostics>().into_result()?;
    Ok(results)
}

/// The results of mutants in one copy.
fn results(
    linked: &[u8],
    mutants: &[ImageMutant],
    judge: impl Fn(&Facts) -> anyhow::Result<Vec<RuleOutcome>>,
) -> anyhow::Result<Vec<MutantResult>> {
    let started = std::time::Instant::now();
    let mut bytes = linked.to_vec();
    let functions: Vec<&str> = mutants.iter().map(|mutant| mutant.function).collect();
    let made = elf_edit::name_functions(&mut bytes, &functions);
    let killed_by: Vec<&'static str> = match &made {
        Err(_) => Vec::new(),
        Ok(()) => {
            let outcomes = judge(&elf_gate::inspect(&bytes)?)?;
            let violated = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Violation);
            violated.map(|outcome| outcome.rule).collect()
        }
    };
    let elapsed_us = started.elapsed().as_micros() as u64;
    let result = |mutant: &ImageMutant| MutantResult {
        mutant: mutant.name,
        stage: Stage::Linked,
        expected_rule: mutant.rule,
        outcome: match &made {
            Err(why) => MutantOutcome::Void(why.clone()),
            Ok(()) if killed_by.contains(&mutant.rule) => MutantOutcome::Killed,
            Ok(()) => MutantOutcome::Survived,
        },
        killed_by: killed_by.clone(),
        elapsed_us,
    };
    Ok(mutants.iter().map(result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_on_images_has_a_mutant_and_a_rule_that_accepts_it_is_a_failure() {
        // The last rule judges the policy, not the image.
        let ids = elf_gate::image::RULES.iter().map(|rule| rule.id());
        let rules: Vec<&str> = ids.filter(|id| *id != "image-acknowledgements").collect();
        assert_eq!(rules, MUTANTS.map(|mutant| mutant.rule));

        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf/linked");
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
        let all = |verdict| move |_: &Facts| Ok(MUTANTS.map(|mutant| outcome(mutant.rule, verdict)).to_vec());
        assert_eq!(test_image(&linked, all(Verdict::Violation)).unwrap().len(), MUTANTS.len());
        let error = test_image(&linked, all(Verdict::Pass)).unwrap_err();
        assert_eq!(diag::collect(&error).len(), MUTANTS.len());
    }
}
