//! The table `image` of a policy file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::Severity;

/// Exceptions for the rules on images, which are always enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagePolicy {
    /// Severities of violations by rule. The default is that of the rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub severity: BTreeMap<String, Severity>,
    /// Reasons by rule that accept a violation, or the verdict "cannot tell".
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged: BTreeMap<String, String>,
}

impl ImagePolicy {
    pub(crate) fn merge_into(&self, policy: &mut ImagePolicy) {
        policy.severity.extend(self.severity.clone());
        policy.acknowledged.extend(self.acknowledged.clone());
    }

    /// The names of rules in the table, each with what it is.
    pub(crate) fn exceptions(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let severities = self.severity.keys().map(|name| (name.as_str(), "a severity"));
        severities.chain(self.acknowledged.keys().map(|name| (name.as_str(), "an acknowledgement")))
    }
}
