//! The built-in policies, as the text of their files.

/// Names and texts of the built-in policies.
pub const PRESETS: &[(&str, &str)] = &[
    ("static-musl", include_str!("../../presets/static-musl.toml")),
    ("static-pie-musl", include_str!("../../presets/static-pie-musl.toml")),
    ("hardened-glibc", include_str!("../../presets/hardened-glibc.toml")),
    ("shared-library", include_str!("../../presets/shared-library.toml")),
];
