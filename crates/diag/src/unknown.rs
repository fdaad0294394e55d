//! Names that do not exist, with the one that was probably meant.

use crate::{Diagnostic, UNKNOWN_CODE};

/// Similarity from which on an unknown name counts as a typing error.
const SIMILARITY_MIN: f64 = 0.75;

/// The known name that is most similar to `name`; none if all of them differ too much for a typing error.
///
/// ```
/// assert_eq!(diag::nearest("stak-size", ["machine", "stack-size"]), Some("stack-size"));
/// assert_eq!(diag::nearest("colour", ["machine", "stack-size"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similar = known.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let typing_errors = similar.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN);
    typing_errors.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, other)| other)
}

/// The error for a code that does not exist. `list` is the command or the document that has all codes.
pub fn unknown_code<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, list: &str) -> Diagnostic {
    let proposal =
        nearest(name, known).map_or(String::new(), |nearest| format!("did you mean `{nearest}`? "));
    Diagnostic::new(&UNKNOWN_CODE, format!("no code or rule has the name `{name}`"))
        .expected("the code in the brackets of a message, or the name of a rule")
        .hint(format!("{proposal}{list} lists all of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_the_nearest_code_for_a_typing_error_only() {
        let hint = |name| unknown_code(name, ["disk-full", "io"], "`explain`").fields().hint.clone().unwrap();
        assert_eq!(hint("disc-full"), "did you mean `disk-full`? `explain` lists all of them");
        assert_eq!(hint("stack"), "`explain` lists all of them");
    }
}
