//! Counts of one program, and the table of all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::known_differences::{self, SHARE_MAX};
use super::oracle::{Observation, Start};
use super::test_program::{Judgement, TestProgram};

/// Counts of one program.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub name: String,
    pub edits: usize,
    /// The packer does not accept the edited file.
    pub not_packed: usize,
    pub fails: usize,
    pub differs: usize,
    /// Broken and refused.
    pub caught: usize,
    /// Broken, not refused, and in the table of known differences.
    pub listed: BTreeMap<&'static str, usize>,
    /// Broken and not refused: field, change, and what happened.
    pub missed: Vec<(String, String, String)>,
    /// Edits for which the gate panicked.
    pub panics: Vec<String>,
    /// Refused although it starts.
    pub strict: usize,
    /// Broken edits by the first rule that refuses them.
    pub refused_by: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub fn of(program: &TestProgram, observations: &[Observation]) -> Self {
        let mut tally = Self { name: program.name.clone(), edits: observations.len(), ..Self::default() };
        for Observation { edit, start, judgement } in observations {
            if *judgement == Judgement::Panicked {
                tally.panics.push(edit.to_string());
            }
            let what = match start {
                Start::Same => {
                    tally.strict += usize::from(matches!(judgement, Judgement::Refused(_)));
                    continue;
                }
                Start::Fails(what) => {
                    tally.fails += 1;
                    what
                }
                Start::Differs(what) => {
                    tally.differs += 1;
                    what
                }
            };
            match (judgement, known_differences::reason(program, edit)) {
                (Judgement::Refused(rule), _) => {
                    tally.caught += 1;
                    *tally.refused_by.entry(rule).or_default() += 1;
                }
                (_, Some(reason)) => *tally.listed.entry(reason).or_default() += 1,
                (_, None) => {
                    tally.missed.push((edit.place.clone(), edit.change.clone(), what.clone()));
                }
            }
        }
        tally
    }

    pub fn broken(&self) -> usize {
        self.fails + self.differs
    }

    /// Every count, and every missed edit.
    pub fn json(&self) -> Value {
        let missed = |(place, change, what): &(String, String, String)| json!({ "field": place, "change": change, "start": what });
        json!({
            "name": self.name,
            "edits": self.edits,
            "not_packed": self.not_packed,
            "fails": self.fails,
            "differs": self.differs,
            "caught": self.caught,
            "strict": self.strict,
            "refused_by": self.refused_by,
            "listed": self.listed,
            "missed": self.missed.iter().map(missed).collect::<Vec<_>>(),
            "panics": self.panics,
        })
    }

    fn listed_count(&self) -> usize {
        self.listed.values().sum()
    }
}

/// The sums of all programs.
pub fn total(tallies: &[Tally]) -> Tally {
    let mut total = Tally { name: "all".into(), ..Tally::default() };
    for tally in tallies {
        total.edits += tally.edits;
        total.not_packed += tally.not_packed;
        total.fails += tally.fails;
        total.differs += tally.differs;
        total.caught += tally.caught;
        total.strict += tally.strict;
        total.missed.extend(tally.missed.iter().cloned());
        total.panics.extend(tally.panics.iter().cloned());
        for (reason, count) in &tally.listed {
            *total.listed.entry(reason).or_default() += count;
        }
        for (rule, count) in &tally.refused_by {
            *total.refused_by.entry(rule).or_default() += count;
        }
    }
    total
}

/// Whether every edit that breaks the start is refused or listed, and few are listed.
pub fn holds(total: &Tally) -> bool {
    let listed = total.listed_count();
    let has_answers = total.missed.is_empty() && total.panics.is_empty();
    has_answers && (listed == 0 || (listed as f64) < SHARE_MAX * total.broken() as f64)
}

/// A Markdown table.
pub fn table(tallies: &[Tally]) -> String {
    let mut text = String::from(
        "| program | edits | not packed | start as before | of these refused | broken: fail | differ | caught | missed | listed |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for tally in tallies {
        let Tally { name, edits, not_packed, fails, differs, caught, strict, missed, .. } = tally;
        let starts = edits - not_packed - tally.broken();
        let (missed, listed) = (missed.len(), tally.listed_count());
        let _ = writeln!(
            text,
            "| {name} | {edits} | {not_packed} | {starts} | {strict} | {fails} | {differs} | {caught} | {missed} | {listed} |"
        );
    }
    text
}

/// The missed edits by field, with examples.
pub fn missed(tally: &Tally) -> String {
    const EXAMPLES: usize = 4;
    let mut by_place: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (place, change, what) in &tally.missed {
        by_place.entry(place).or_default().push((change, what));
    }
    let mut text = String::new();
    for edit in tally.panics.iter().take(EXAMPLES) {
        let _ = writeln!(text, "  the gate panicked, {} in all: {edit}", tally.panics.len());
    }
    for (place, changes) in by_place {
        let _ = writeln!(text, "  {:5}  {place}", changes.len());
        for (change, what) in changes.iter().take(EXAMPLES) {
            let _ = writeln!(text, "           {change}: {what}");
        }
    }
    text
}

/// Lines for the terminal: rules, and reasons of listed edits.
pub fn details(total: &Tally) -> String {
    let mut text = String::from("refused by:\n");
    let mut rules: Vec<(&usize, &&str)> =
        total.refused_by.iter().map(|(rule, count)| (count, rule)).collect();
    rules.sort_by(|a, b| b.cmp(a));
    for (count, rule) in rules {
        let _ = writeln!(text, "  {count:7}  {rule}");
    }
    for (reason, count) in &total.listed {
        let share = 100.0 * *count as f64 / total.broken().max(1) as f64;
        let _ = writeln!(text, "listed:  {count}, {share:.2} % of the edits that break the start: {reason}");
    }
    text
}
