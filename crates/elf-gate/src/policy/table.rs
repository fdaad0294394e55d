//! The table of all rules.

use crate::policy::rule::Rule;
use crate::policy::rules::{
    build, debug, hardening, inner, isa, layout, link, load, packed, runtimes, size, strip, symbols,
    vector_loops, waivers,
};

/// The rule with that name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id() == id)
}

/// The rule on waivers is last: the other rules record the waivers that they use.
const AREAS: [&[Rule]; 15] = [
    load::RULES,
    layout::RULES,
    link::RULES,
    symbols::RULES,
    vector_loops::RULES,
    runtimes::RULES,
    hardening::RULES,
    isa::RULES,
    build::RULES,
    size::RULES,
    strip::RULES,
    debug::RULES,
    packed::RULES,
    inner::RULES,
    waivers::RULES,
];

/// All rules, in the order of judgement and of reports.
pub static RULES: &[Rule] = &joined();

const fn joined() -> [Rule; count()] {
    let mut all = [AREAS[0][0]; count()];
    let (mut area, mut filled) = (0, 0);
    while area < AREAS.len() {
        let mut index = 0;
        while index < AREAS[area].len() {
            all[filled] = AREAS[area][index];
            (index, filled) = (index + 1, filled + 1);
        }
        area += 1;
    }
    all
}

const fn count() -> usize {
    let (mut area, mut count) = (0, 0);
    while area < AREAS.len() {
        count += AREAS[area].len();
        area += 1;
    }
    count
}
