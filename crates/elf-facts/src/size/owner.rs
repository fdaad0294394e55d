//! The owner of a symbol: the crate in a mangled Rust name, the namespace of a C++ name, the source file of a C name.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The owner of a symbol without a known crate, namespace or file.
const NO_FILE: &str = "[C or assembly, file unknown]";

/// Names that are longer are not parsed: the work for each symbol is bounded.
const NAME_BYTES_MAX: usize = 4 << 10;

/// The crate that the mangled name of a Rust symbol names first. Code of a generic function counts for the crate that defines
/// the function. A method of a trait counts for the crate of its `impl` (v0 names) or of its type (legacy names, and the trait
/// if the type is built in).
///
/// ```
/// use elf_facts::size::crate_of;
/// assert_eq!(crate_of(b"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE").as_deref(), Some("core"));
/// assert_eq!(crate_of(b"_RNvCs1234_7mycrate3foo").as_deref(), Some("mycrate"));
/// assert_eq!(crate_of(b"cblas_sgemm"), None);
/// ```
pub fn crate_of(name: &[u8]) -> Option<Cow<'_, str>> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    if let Some(path) = legacy_path(name) {
        return in_path(path, "..", "$u20$as$u20$").map(Cow::Borrowed);
    }
    if let Some(name) = name.strip_prefix(b"_R").and_then(v0_crate) {
        return Some(Cow::Borrowed(name));
    }
    if !name.starts_with(b"_R") {
        return None;
    }
    let name = rustc_demangle::try_demangle(std::str::from_utf8(name).ok()?).ok()?;
    // The crate stands at the begin of the text; a short name can expand to a very long one.
    let mut text = Bounded(String::new());
    let _ = write!(text, "{name:#}");
    in_path(&text.0, "::", " as ").map(|name| Cow::Owned(name.to_string()))
}

/// `FILE` is the STT_FILE symbol before a local symbol.
pub(super) fn owner_of<'a>(name: &'a [u8], file: Option<&'a [u8]>) -> Cow<'a, str> {
    if let Some(owner) = crate_of(name).or_else(|| cpp_namespace(name).map(Cow::Owned)) {
        return owner;
    }
    match file.and_then(|file| std::str::from_utf8(file).ok()).filter(|file| !file.is_empty()) {
        Some(file) => match codegen_unit(file) {
            Some(name) => name.into(),
            None if file.contains('.') => file.rsplit('/').next().unwrap_or(file).into(),
            None => NO_FILE.into(),
        },
        None => NO_FILE.into(),
    }
}

/// The first part of a legacy name: `_ZN`, length and text of each part, `17h`, 16 digits, `E`, and perhaps a suffix such as
/// `.llvm.123`. C++ names have the same begin. The search from the end is cheap, which counts for tens of thousands of names.
fn legacy_path(name: &[u8]) -> Option<&str> {
    const HASH_BYTES: usize = 16;
    let text = name.strip_prefix(b"_ZN")?;
    let end = memchr::memrchr(b'E', text)?;
    let (before, hash) = text.get(..end)?.split_at_checked(end.checked_sub(HASH_BYTES)?)?;
    if !before.ends_with(b"17h") || !hash.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length: usize = std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()?;
    let first = std::str::from_utf8(text.get(digits..digits.checked_add(length)?)?).ok()?;
    // A path that consists of more than a name starts with an escape; `_` separates it from the length.
    let is_type = first.starts_with("_$") || first.starts_with('$');
    Some(if is_type { first.trim_start_matches('_') } else { first })
}

/// The first crate of a v0 name, after `_R`: of an item its crate, of a method the crate of its `impl`. `None` for
/// `<TYPE as TRAIT>`, whose types only the demangler reads. The demangler takes 20 times as long.
fn v0_crate(name: &[u8]) -> Option<&str> {
    // Each step consumes a byte or follows a back reference, which may form a cycle.
    const STEPS_MAX: usize = 64;
    let base_62 = |at: usize| -> Option<(usize, usize)> {
        let length = name.get(at..)?.iter().position(|byte| *byte == b'_')?;
        let mut value: usize = 0;
        for byte in &name[at..at + length] {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'z' => byte - b'a' + 10,
                b'A'..=b'Z' => byte - b'A' + 36,
                _ => return None,
            };
            value = value.checked_mul(62)?.checked_add(usize::from(digit))?;
        }
        // `_` alone is 0, `0_` is 1.
        Some((if length == 0 { 0 } else { value.checked_add(1)? }, at + length + 1))
    };
    let after_disambiguator = |at: usize| match name.get(at) {
        Some(b's') => base_62(at + 1).map(|(_, end)| end),
        _ => Some(at),
    };
    let mut at = 0;
    for _ in 0..STEPS_MAX {
        at = match name.get(at)? {
            b'N' => at + 2,
            b'I' => at + 1,
            b'M' | b'X' => after_disambiguator(at + 1)?,
            b'B' => base_62(at + 1)?.0,
            b'C' => {
                let start = after_disambiguator(at + 1)?;
                let digits = name.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let length: usize = std::str::from_utf8(&name[start..start + digits]).ok()?.parse().ok()?;
                let start = start + digits;
                // A `_` separates the length from a name that starts with a digit or `_`.
                let start = if name.get(start) == Some(&b'_') { start + 1 } else { start };
                return std::str::from_utf8(name.get(start..start.checked_add(length)?)?).ok();
            }
            _ => return None,
        };
    }
    None
}

/// The first crate of a path: `separator` follows it, `of_trait` stands before the trait of `<TYPE as TRAIT>`.
fn in_path<'a>(path: &'a str, separator: &str, of_trait: &str) -> Option<&'a str> {
    const PREFIXES: [&str; 17] = [
        "<",
        "&",
        "mut ",
        "*const ",
        "*mut ",
        "dyn ",
        "[",
        "(",
        "$LT$",
        "$RF$",
        "mut$u20$",
        "$BP$const$u20$",
        "$BP$mut$u20$",
        "dyn$u20$",
        "$u5b$",
        "$LP$",
        "$C$",
    ];
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if path.bytes().all(is_name) {
        return (!path.is_empty()).then_some(path);
    }
    let mut rest = path;
    while let Some(shorter) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    let ident = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text.split_at(end)
    };
    let (name, after) = ident(rest);
    if !name.is_empty() && after.starts_with(separator) {
        return Some(name);
    }
    let (_, of_trait) = path.split_once(of_trait)?;
    let (name, after) = ident(of_trait);
    (!name.is_empty() && after.starts_with(separator)).then_some(name)
}

/// `C++ NAMESPACE`, without demangling the name.
fn cpp_namespace(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name.get(..name.len().min(NAME_BYTES_MAX))?).ok()?.strip_prefix("_Z")?;
    // Virtual tables, type information and guards of static variables.
    let text = ["TV", "TT", "TI", "TS", "GV"].iter().find_map(|tag| text.strip_prefix(tag)).unwrap_or(text);
    let nested = text.strip_prefix('N').map(|text| text.trim_start_matches(['K', 'V', 'R', 'O']));
    let text = nested.unwrap_or(text);
    if text.starts_with('S') {
        return Some("C++ std".into());
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let length: usize = text.get(..digits)?.parse().unwrap_or(0);
    match text.get(digits..digits.checked_add(length)?) {
        Some(name) if nested.is_some() && !name.is_empty() => Some(format!("C++ {name}")),
        _ => Some("C++".into()),
    }
}

/// The crate of rustc's name of a codegen unit: `CRATE.HASH-cgu.NUMBER`.
fn codegen_unit(file: &str) -> Option<&str> {
    let (crate_and_hash, number) = file.split_once("-cgu.")?;
    let (name, hash) = crate_and_hash.rsplit_once('.')?;
    let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Stops a demangler after enough text.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        const TEXT_BYTES_MAX: usize = 512;
        self.0.push_str(part);
        if self.0.len() > TEXT_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_crate_of_rust_names() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(crate_of(name.as_bytes()).as_deref(), expected, "{name}");
        };
        check("_ZN6inferd5serve5drain17h2d059acf6d9340ddE", Some("inferd"));
        check("_ZN6inferd5serve5drain17h2d059acf6d9340ddE.llvm.1234", Some("inferd"));
        check(
            "_ZN71_$LT$tokenizers..models..bpe..Bpe$u20$as$u20$core..clone..Clone$GT$5clone17h2d059acf6d9340ddE",
            Some("tokenizers"),
        );
        // The type of a generic parameter is unknown, and a built-in type has no crate.
        check("_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h2d059acf6d9340ddE", Some("core"));
        check(
            "_ZN55_$LT$$u5b$T$u5d$$u20$as$u20$alloc..slice..Concat$GT$6concat17h2d059acf6d9340ddE",
            Some("alloc"),
        );
        check("_RNvCs1234_7mycrate3foo", Some("mycrate"));
        check("_RNvMs_Cs4Cv8Wi1oAIB_7mycrateNtB4_7Example3foo", Some("mycrate"));
        check("_RNvXs_Cs4Cv8Wi1oAIB_7mycrateNtCs1_5other3TyNtCs2_4core5Clone5clone", Some("mycrate"));
        check("_RINvNtCs2_4core3ptr13drop_in_placeNtCs1_7mycrate2TyEB4_", Some("core"));
        check("_RNvC6_123foo3bar", Some("123foo"));
        // A back reference to itself.
        check("_RB_", None);
        check("_RNvB2_", None);
        check("_RNvC99999999999999999999a", None);
        check("_RNvCszzzzzzzzzzzzzzzzzzzzz_1a1b", None);
        check("_ZN3foo3barEv", None);
        check("_ZN99999999999999999999999x17h2d059acf6d9340ddE", None);
        check("cblas_sgemm", None);
        check("_R", None);
        check("", None);
        assert_eq!(crate_of(&vec![b'_'; 1 << 20]), None);
        assert_eq!(crate_of(b"_ZN\xff\xff17h"), None);
    }

    #[test]
    fn names_the_file_of_local_symbols_that_are_not_rust() {
        let check = |name: &str, file: Option<&str>, expected: &str| {
            assert_eq!(owner_of(name.as_bytes(), file.map(str::as_bytes)), expected, "{name}");
        };
        check("anon.d1.2", Some("inferd.3a3553e4fb36831-cgu.09"), "inferd");
        check("inner", Some("src/dgemm.c"), "dgemm.c");
        check("inner", Some("67shgiz39nw75fis5ifyodeb3"), NO_FILE);
        check("cblas_sgemm", None, NO_FILE);
        check("_ZN5faiss5Index3addEv", Some("x.cpp"), "C++ faiss");
        check("_ZNSt6vectorIiE4pushEv", None, "C++ std");
        check("_ZTVN5faiss5IndexE", None, "C++ faiss");
        check("_Z3addii", None, "C++");
    }
}
