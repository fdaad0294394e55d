//! Exceptions of a policy.

use elf_gate::Evidence;

use super::{CANNOT_TELL, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::fixture;

pub(super) fn check(table: &mut Table) {
    let today = Evidence { today: Some("2026-06-01".parse().unwrap()), ..Evidence::default() };
    let policy = |until: &str| {
        format!(
            "local_paths = [\"/home/\"]\nwaivers = [{{ rule = \"no-local-paths\", reason = \"a test\", until = \"{until}\" }}]"
        )
    };
    let (careless, hardened) = (fixture("rules/careless"), fixture("rules/hardened"));
    table.check_with("waivers", STRIPPED, &policy("2026-06-01"), &careless, &today, PASS);
    table.check_with("waivers", STRIPPED, &policy("2026-05-31"), &careless, &today, VIOLATION);
    table.check_with("waivers", STRIPPED, &policy("2026-06-01"), &hardened, &today, VIOLATION);
    table.check("waivers", STRIPPED, &policy("2026-06-01"), &careless, CANNOT_TELL);
}
