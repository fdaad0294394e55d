//! Stable codes of the engine's errors, with the explanation and the fix of each.

mod table;

pub use table::*;

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn codes_are_unique_kebab_case_and_end_in_a_fix() {
        for (index, code) in CODES.iter().enumerate() {
            assert!(code.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", code.id);
            assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
            assert!(CODES[..index].iter().all(|other| other.id != code.id), "{} is not unique", code.id);
        }
    }
}
