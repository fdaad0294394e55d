//! Pairs of a program and its split debug file among the inputs.
//!
//! A program names its debug file, which lies next to it or in `.debug`. Without a program of the same build-id, a program of
//! another build that names the file is paired too, because that mismatch must be detected.

use std::path::Path;

use crate::cli::inputs::Input;
use crate::cli::job::{DebugRole, InputResult};
use crate::policy::Program;

/// Indices of debug files among the inputs, with their programs.
pub(super) fn find(inputs: &[Input], results: &[InputResult]) -> Vec<(usize, Program)> {
    let mut found = Vec::new();
    for (index, (input, result)) in inputs.iter().zip(results).enumerate() {
        let (Some(DebugRole::DebugFile { build_id }), Some(path)) = (&result.debug_role, input.path()) else {
            continue;
        };
        let folder = path.parent();
        let is_sidecar = |program: &Program, of: &Path| {
            let names_it = program
                .debug_link
                .as_ref()
                .is_some_and(|link| path.file_name().is_some_and(|name| name == &*link.file_name));
            names_it && (folder == Some(of) || folder == Some(&of.join(".debug")))
        };
        let programs = || {
            results.iter().filter_map(|other| match &other.debug_role {
                Some(DebugRole::Program { program, folder }) => Some((program, folder)),
                _ => None,
            })
        };
        let same_build = |program: &Program| build_id.is_some() && program.build_id == *build_id;
        let program = programs()
            .find(|(program, folder)| is_sidecar(program, folder) && same_build(program))
            .or_else(|| programs().find(|(program, folder)| is_sidecar(program, folder)))
            .or_else(|| programs().find(|(program, _)| same_build(program)));
        found.extend(program.map(|(program, _)| (index, program.clone())));
    }
    found
}
