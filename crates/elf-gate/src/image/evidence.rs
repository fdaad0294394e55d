//! What the rules on images read.

use crate::containers::MergedImage;
use crate::image::names::Names;
use crate::image::policy::ImagePolicy;
use crate::policy::RuleOutcome;

/// The program that an image runs.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its path in the image.
    pub path: String,
    /// It uses the C library that it was linked with.
    pub is_static: bool,
    /// Names of the program, or of the linked or debug file of the same build. `None` if there are none.
    pub names: Option<Names>,
}

/// An image and its program.
#[derive(Debug, Clone, Copy)]
pub struct ImageEvidence<'a> {
    /// The image.
    pub image: &'a MergedImage,
    /// The program, or why it is not known.
    pub program: Result<&'a Program, &'a str>,
}

/// What a rule on images reads.
pub(super) struct ImageRuleInput<'a> {
    pub(super) evidence: &'a ImageEvidence<'a>,
    pub(super) policy: &'a ImagePolicy,
    /// Outcomes of the rules before it in [`RULES`](super::RULES).
    pub(super) earlier: &'a [RuleOutcome],
}
