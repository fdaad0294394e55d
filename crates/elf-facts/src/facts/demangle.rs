//! Demangled symbol names, for patterns that contain `::`, `(` or a space.

use std::fmt;

use cpp_demangle::{DemangleOptions, DemangleWrite};

/// `None` for a name that is neither mangled by Rust nor by C++. The hash at the end of legacy Rust names is removed,
/// because it differs between any two builds.
pub fn demangle(name: &[u8]) -> Option<String> {
    // Names of generic code have a few KiB; the bound stops an attack on the demangler.
    const NAME_BYTES_MAX: usize = 16 << 10;
    if name.len() > NAME_BYTES_MAX || !(name.starts_with(b"_R") || name.starts_with(b"_Z")) {
        return None;
    }
    let text = std::str::from_utf8(name).ok()?;
    if let Ok(rust) = rustc_demangle::try_demangle(text) {
        return Some(format!("{rust:#}"));
    }
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    let options = DemangleOptions::new().recursion_limit(128);
    let mut text = Bounded(String::new());
    symbol.structured_demangle(&mut text, &options).ok()?;
    Some(text.0)
}

/// Bounds the output: a short name can expand to a very long one, because each substitution may repeat earlier ones.
struct Bounded(String);

impl DemangleWrite for Bounded {
    fn write_string(&mut self, part: &str) -> fmt::Result {
        const TEXT_BYTES_MAX: usize = 64 << 10;
        if self.0.len() + part.len() > TEXT_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cpp_demangle::DemangleWrite;

    #[test]
    fn demangles_rust_and_cpp_names_only() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(super::demangle(name.as_bytes()).as_deref(), expected, "{name}");
        };
        check("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", Some("core::fmt::Write::write_fmt"));
        check("_RNvC6_123foo3bar", Some("123foo::bar"));
        check(
            "_ZNSt6vectorIiSaIiEE9push_backERKi",
            Some("std::vector<int, std::allocator<int> >::push_back(int const&)"),
        );
        check("cblas_sgemm", None);
        check("_ZN", None);
        check("", None);
    }

    #[test]
    fn bounds_the_length_of_the_text() {
        let mut text = super::Bounded(String::new());
        let part = "x".repeat(40 << 10);
        assert!(text.write_string(&part).is_ok() && text.write_string(&part).is_err());
        assert_eq!(text.0.len(), part.len());
    }
}
