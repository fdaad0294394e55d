//! What was expected, what was found, and whether that will do: the lines that a run prints and is judged by.

pub struct Finding {
    pub what: String,
    pub expected: String,
    pub found: String,
    pub holds: bool,
}

#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(
        &mut self,
        what: impl Into<String>,
        holds: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let finding = Finding { what: what.into(), expected: expected.into(), found: found.into(), holds };
        let verdict = if finding.holds { "pass" } else { "FAIL" };
        println!("  {verdict}  {:<34} {}", finding.what, finding.found);
        if !finding.holds {
            println!("        {:<34} expected: {}", "", finding.expected);
        }
        self.0.push(finding);
    }

    /// Nothing found is no pass.
    pub fn hold(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|finding| finding.holds)
    }

    #[cfg(test)]
    pub fn failed(&self) -> Vec<&str> {
        self.0.iter().filter(|finding| !finding.holds).map(|finding| finding.what.as_str()).collect()
    }
}
