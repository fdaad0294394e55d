//! Which scenarios run, and for how long.

use std::time::{Duration, Instant};

use crate::scenario::{SCENARIOS, Scenario, Time};

/// The scenarios of a run, in the order of the run: those with a time of their own first, because the others share what is left
/// of a budget.
#[derive(Debug)]
pub struct Selection {
    scenarios: Vec<&'static Scenario>,
}

/// The time of each scenario with [`Time::Chosen`].
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// Each gets this time.
    Each(Duration),
    /// They share what is left of this time since the instant.
    Total(Duration, Instant),
}

/// A shorter load shows nothing.
const DURATION_MIN: Duration = Duration::from_secs(5);

impl Selection {
    /// The name that selects every scenario.
    pub const ALL: &'static str = "all";

    /// No name, or [`Self::ALL`], selects every scenario that is not optional; a name that does not exist selects none.
    pub fn new(names: &[String]) -> Self {
        let is_all = names.is_empty() || names.iter().any(|name| name == Self::ALL);
        let is_selected = |scenario: &&Scenario| {
            (is_all && !scenario.is_optional()) || names.iter().any(|name| name == scenario.name())
        };
        let mut scenarios: Vec<_> = SCENARIOS.iter().filter(is_selected).collect();
        scenarios.sort_by_key(|scenario| scenario.time() == Time::Chosen);
        Self { scenarios }
    }

    /// Each scenario with the number of those from it on whose time is chosen, itself included.
    pub fn scenarios(&self) -> impl Iterator<Item = (&'static Scenario, u32)> {
        self.scenarios.iter().enumerate().map(|(index, scenario)| {
            let later = self.scenarios[index..].iter().filter(|scenario| scenario.time() == Time::Chosen);
            (*scenario, later.count() as u32)
        })
    }
}

impl Budget {
    /// The time of the next scenario, when `remaining` of them share what is left.
    pub fn next(self, remaining: u32) -> Duration {
        let duration = match self {
            Self::Each(duration) => duration,
            Self::Total(total, started) => total.saturating_sub(started.elapsed()) / remaining.max(1),
        };
        duration.max(DURATION_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selected: &[&str]) -> Vec<&'static str> {
        let selected: Vec<String> = selected.iter().map(ToString::to_string).collect();
        Selection::new(&selected).scenarios().map(|(scenario, _)| scenario.name()).collect()
    }

    #[test]
    fn no_name_and_all_select_every_scenario_that_is_not_optional() {
        let optional = SCENARIOS.iter().filter(|scenario| scenario.is_optional());
        assert_eq!(names(&[]).len() + optional.count(), SCENARIOS.len());
        assert_eq!(names(&["big-host"]), ["big-host"]);
        assert_eq!(names(&["all"]), names(&[]));
        assert_eq!(names(&["drain", "faults"]), ["faults", "drain"]);
    }

    #[test]
    fn scenarios_that_share_the_budget_run_last() {
        let all = Selection::new(&[]);
        let is_chosen: Vec<_> =
            all.scenarios().map(|(scenario, _)| scenario.time() == Time::Chosen).collect();
        assert!(is_chosen.is_sorted());
        let chosen = is_chosen.iter().filter(|is_chosen| **is_chosen).count() as u32;
        assert_eq!(all.scenarios().next().unwrap().1, chosen);
        assert_eq!(all.scenarios().last().unwrap().1, 1);
    }

    #[test]
    fn a_budget_is_shared_and_never_below_the_shortest_useful_time() {
        let total = Budget::Total(Duration::from_hours(1), Instant::now());
        assert!(total.next(2) <= Duration::from_mins(30));
        assert!(total.next(2) > Duration::from_mins(29));
        assert_eq!(Budget::Total(Duration::ZERO, Instant::now()).next(3), DURATION_MIN);
        assert_eq!(Budget::Each(Duration::from_secs(61)).next(3), Duration::from_secs(61));
    }
}
