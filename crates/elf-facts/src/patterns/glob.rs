//! Patterns of names: `*` matches any characters, every other character matches itself.

/// Whether a whole name matches. At most `pattern.len() * name.len()` steps: it never backtracks beyond the last `*`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(&letter) if letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                p = star + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|&letter| letter == b'*')
}

#[cfg(test)]
mod tests {
    #[test]
    fn star_matches_any_characters() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(
                super::matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "`{pattern}` on `{name}`"
            );
        };
        check("dlopen", "dlopen", true);
        check("dlopen", "dlopen2", false);
        check("dlopen", "dlope", false);
        check("sgemm_*_SKYLAKEX", "sgemm_kernel_SKYLAKEX", true);
        check("sgemm_*_SKYLAKEX", "sgemm_kernel_HASWELL", false);
        check("*kernel*", "sgemm_kernel", true);
        check("*a*b", "xaxbxb", true);
        check("*a*b", "xaxbxc", false);
        check("*", "", true);
        check("", "x", false);
        check("", "", true);
        check("**x", "x", true);
    }
}
