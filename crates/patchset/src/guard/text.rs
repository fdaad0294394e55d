//! Checks on source text, before and after a patch.

use diag::{Code, Diagnostic};
use store::sha256_hex;

use super::document::GuardedFile;
use crate::codes::{
    PATCH_ABSENT_AFTER, PATCH_ANCHOR_AFTER, PATCH_ANCHOR_BEFORE, PATCH_POST_IMAGE, PATCH_PRE_IMAGE,
};

impl GuardedFile {
    /// Violated anchors of the text before the patch.
    pub fn anchors_before(&self, text: &[u8]) -> Vec<Diagnostic> {
        self.anchors(&PATCH_ANCHOR_BEFORE, "before", &self.before, text)
    }

    /// The digest of the text before the patch.
    pub fn pre_image(&self, text: &[u8]) -> Option<Diagnostic> {
        let found = sha256_hex(text);
        (found != self.pre_sha256).then(|| {
            Diagnostic::new(&PATCH_PRE_IMAGE, "the file before the patch is not the pinned one")
                .file(&self.path)
                .expected(format!("sha256 {}", self.pre_sha256))
                .found(format!("sha256 {found}"))
                .hint("the patch was reviewed against another file: read the difference, then pin the new digests")
        })
    }

    /// Violated anchors, remaining text and the digest of the text after the patch.
    pub fn after_violations(&self, text: &[u8]) -> Vec<Diagnostic> {
        let mut violations = self.anchors(&PATCH_ANCHOR_AFTER, "after", &self.after, text);
        for anchor in &self.absent_after {
            let count = occurrences(text, anchor);
            if count > 0 {
                violations.push(
                    Diagnostic::new(&PATCH_ABSENT_AFTER, "removed text is still in the file after the patch")
                        .file(&self.path)
                        .expected(format!("no `{}`", anchor.trim_end()))
                        .found(times(count)),
                );
            }
        }
        let found = sha256_hex(text);
        if found != self.post_sha256 {
            violations.push(
                Diagnostic::new(&PATCH_POST_IMAGE, "the file after the patch is not the pinned one")
                    .file(&self.path)
                    .expected(format!("sha256 {}", self.post_sha256))
                    .found(format!("sha256 {found}"))
                    .hint(
                        "the patch or its guard was changed without the other: read the difference, then pin the digest \
                         in the guard",
                    ),
            );
        }
        violations
    }

    fn anchors(&self, code: &'static Code, when: &str, anchors: &[String], text: &[u8]) -> Vec<Diagnostic> {
        let violated = anchors.iter().filter_map(|anchor| match occurrences(text, anchor) {
            1 => None,
            count => Some((anchor, count)),
        });
        violated
            .map(|(anchor, count)| {
                Diagnostic::new(code, format!("an anchor does not occur exactly once {when} the patch"))
                    .file(&self.path)
                    .expected(format!("`{}` once", anchor.trim_end()))
                    .found(times(count))
            })
            .collect()
    }
}

fn times(count: usize) -> String {
    if count == 1 { "1 occurrence".into() } else { format!("{count} occurrences") }
}

/// How often `anchor` occurs in `text`.
pub(super) fn occurrences(text: &[u8], anchor: &str) -> usize {
    text.windows(anchor.len()).filter(|window| *window == anchor.as_bytes()).count()
}
