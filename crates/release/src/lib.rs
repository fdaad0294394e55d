//! The release pipeline: from release.toml to proved artifacts.
