//! Edits that break the start and that no static reading of the file can find, each with its reason.

use super::edits::Edit;
use super::subject::Subject;

/// A class of such edits.
struct Known {
    matches: fn(&Subject, &Edit) -> bool,
    reason: &'static str,
}

const KNOWN: &[Known] = &[];

/// Less than this part of the edits that break the start may be listed.
pub const SHARE_MAX: f64 = 0.01;

/// The reason for which the gate cannot refuse the edit.
pub fn reason(subject: &Subject, edit: &Edit) -> Option<&'static str> {
    KNOWN.iter().find(|known| (known.matches)(subject, edit)).map(|known| known.reason)
}
