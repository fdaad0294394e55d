//! What a schema does not see.

use std::collections::BTreeSet;

use diag::{Diagnostic, Diagnostics};

use crate::codes::SBOM_INVALID;
use crate::identity::spdx_id;
use crate::model::Bill;

impl Bill {
    /// Unique ids, and no reference to a part that is missing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let mut problems = Diagnostics::default();
        let mut ids = BTreeSet::new();
        let mut spdx_ids = BTreeSet::new();
        let all = || self.parts.iter().chain([&self.product]);
        for part in all() {
            if !ids.insert(part.id.as_str()) || !spdx_ids.insert(spdx_id(&part.id)) {
                problems
                    .push(Diagnostic::new(&SBOM_INVALID, "two parts have the same identity").found(&part.id));
            }
        }
        for part in all() {
            for missing in part.depends_on.iter().filter(|id| !ids.contains(id.as_str())) {
                problems.push(
                    Diagnostic::new(
                        &SBOM_INVALID,
                        format!("`{}` depends on a part that is missing", part.id),
                    )
                    .found(missing),
                );
            }
        }
        problems.into_result()
    }
}
