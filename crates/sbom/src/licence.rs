//! Licence expressions.

/// A licence field of Cargo.toml as an SPDX expression: `MIT/Apache-2.0` is an old form of `MIT OR Apache-2.0`.
///
/// ```
/// assert_eq!(sbom::spdx_expression("MIT/Apache-2.0").as_deref(), Some("MIT OR Apache-2.0"));
/// assert_eq!(sbom::spdx_expression("(MIT OR Apache-2.0) AND Unicode-3.0").as_deref(), Some("(MIT OR Apache-2.0) AND Unicode-3.0"));
/// assert_eq!(sbom::spdx_expression(" "), None);
/// ```
pub fn spdx_expression(declared: &str) -> Option<String> {
    let parts: Vec<&str> = declared.split('/').map(str::trim).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(" OR "))
}
