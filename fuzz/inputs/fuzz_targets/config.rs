//! Any text as release.toml: parsed strictly or rejected with a message.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use release::config::{Config, MUSL_STACK_CEILING, MUSL_STACK_DEFAULT};

fuzz_target!(|text: &str| {
    match Config::parse(text, Path::new("release.toml")) {
        Ok(config) => {
            let size = config.stack_size;
            assert!(size.0 > MUSL_STACK_DEFAULT.0 && size.0 <= MUSL_STACK_CEILING.0, "{size} is accepted");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
