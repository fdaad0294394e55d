//! Exceptions, each with a reason and an end: a waiver that is not used or has expired is a violation of its own, so that
//! none of them outlives what it was made for.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rules::EVERY;
use super::{Case, Evidence, Finding, Policy, Rule, glob, list, rule};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "waivers",
    stages: EVERY,
    demanded_by: "`waivers`",
    catches: "a waiver that is not used at a stage where its rule is judged, or that has expired; `cannot tell` without a date",
    why: "an exception that nobody needs any more hides the next violation of the same kind",
    incident: "an exception for one release that was still there three years later",
    peers: "none; lists of exceptions in the others have neither reason nor end",
    fix: "remove the waiver, or give it a new date with a new reason; a waiver that one of many files needs must name it with `file`",
    is_demanded: |policy| !policy.waivers.is_empty(),
    check: in_force,
}];

/// Lets a finding stand until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    pub rule: String,
    /// Files that it speaks of; without it, every file that the policy judges. `*` stands for any characters.
    pub file: Option<String>,
    /// Findings that it speaks of: a symbol, a path, a library. Without it, all that the rule finds.
    pub item: Option<String>,
    pub reason: String,
    /// The last day on which it holds.
    pub until: Date,
}

/// What a report says beside a verdict that may stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waived {
    pub reason: String,
    /// Nothing for a "cannot tell" that the policy lets stand: a missing table does not come back with time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// A calendar day, written `2027-06-30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day of a Unix time, in UTC.
    pub fn of_unix_time(seconds: u64) -> Date {
        // Civil-from-days for days since 1970, by eras of 400 years that begin on 1 March.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Date { year: year.min(9999) as u16, month: month as u8, day: day as u8 }
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let wrong = || format!("`{text}` is no day: expected one such as `2027-06-30`");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(wrong()) };
        let is_plain = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_plain(year, 4) || !is_plain(month, 2) || !is_plain(day, 2) {
            return Err(wrong());
        }
        let number = |part: &str| part.parse::<u16>().map_err(|_| wrong());
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u16::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(wrong()),
        };
        if day == 0 || day > days {
            return Err(wrong());
        }
        Ok(Date { year, month: month as u8, day: day as u8 })
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The waivers that speak of one file, and what became of each of them.
pub(super) struct Ledger<'a> {
    today: Option<Date>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    waiver: &'a Waiver,
    was_used: Cell<bool>,
}

impl<'a> Ledger<'a> {
    pub(super) fn open(policy: &'a Policy, evidence: &Evidence) -> Ledger<'a> {
        let speaks_of_file = |waiver: &&Waiver| match (&waiver.file, evidence.file_name) {
            (None, _) => true,
            (Some(pattern), Some(name)) => glob::matches(pattern.as_bytes(), name.as_bytes()),
            (Some(_), None) => false,
        };
        let waivers = policy.waivers.iter().filter(speaks_of_file);
        let entries = waivers.map(|waiver| Entry { waiver, was_used: Cell::new(false) });
        Ledger { today: evidence.today, entries: entries.collect() }
    }

    /// Takes out of the finding what waivers let stand. Gives back the waiver when nothing is left.
    pub(super) fn waive(&self, rule: &str, finding: &mut Finding) -> Option<Waived> {
        let in_force = |entry: &&Entry| {
            entry.waiver.rule == rule && self.today.is_some_and(|today| today <= entry.waiver.until)
        };
        let mut last: Option<Waived> = None;
        let mut left = finding.items.clone();
        for Entry { waiver, was_used } in self.entries.iter().filter(in_force) {
            let waived = Waived { reason: waiver.reason.clone(), until: Some(waiver.until) };
            let Some(pattern) = &waiver.item else {
                was_used.set(true);
                return Some(waived);
            };
            let before = left.len();
            left.retain(|item| !glob::matches(pattern.as_bytes(), item.as_bytes()));
            if left.len() < before {
                was_used.set(true);
                last = Some(waived);
            }
        }
        let last = last?;
        if left.is_empty() {
            return Some(last);
        }
        finding.found = format!("{} ({} more waived)", list(&left), finding.items.len() - left.len());
        finding.items = left;
        None
    }
}

/// The rule about waivers itself. It stands last in the table, when all others have had the chance to use one.
fn in_force(case: &Case) -> Finding {
    const EXPECTED: &str = "every waiver used and not expired";
    let entries = &case.ledger.entries;
    let Some(today) = case.ledger.today else {
        let hint = "give the day of the judgement";
        return Finding::cannot_tell(EXPECTED, format!("{} waivers, and no date", entries.len()), hint);
    };
    let describe = |waiver: &Waiver| match &waiver.item {
        Some(item) => format!("`{}` for `{item}`", waiver.rule),
        None => format!("`{}`", waiver.rule),
    };
    let wrong = entries.iter().filter_map(|Entry { waiver, was_used }| {
        if waiver.until < today {
            return Some(format!("{} expired on {}", describe(waiver), waiver.until));
        }
        // A rule that is not judged at this stage cannot use its waiver here.
        let is_judged = rule(&waiver.rule).is_none_or(|rule| rule.applies(case.stage, case.policy));
        (is_judged && !was_used.get()).then(|| format!("{} is not used", describe(waiver)))
    });
    let wrong: Vec<String> = wrong.collect();
    let found = if wrong.is_empty() { format!("{} in force", entries.len()) } else { wrong.join("; ") };
    Finding::pass_if(wrong.is_empty(), EXPECTED, found)
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn days() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(Date::of_unix_time(seconds).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Date::of_unix_time(seconds)));
        };
        check(0, "1970-01-01");
        check(951_782_400, "2000-02-29");
        check(951_868_800, "2000-03-01");
        check(1_735_689_599, "2024-12-31");
        for bad in [
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-04-31",
            "25-01-01",
            "2025-1-1",
            "soon",
            "2025-01-+1",
        ] {
            assert!(bad.parse::<Date>().unwrap_err().contains("2027-06-30"), "{bad}");
        }
        assert!("2026-12-31".parse::<Date>().unwrap() < "2027-01-01".parse::<Date>().unwrap());
    }
}
