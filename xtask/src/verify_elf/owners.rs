//! Which of the judged programs a split debug file belongs to.
//!
//! A program says so by name: the file lies beside it or in `.debug`. A program of another build that says so is the case to
//! catch, and so it counts as the owner too, when nobody with the right build-id does.

use elf_gate::policy::Owner;

use super::inputs::Input;
use super::judge::{Judged, Tie};

/// Debug files, by their place among the inputs, with their owners.
pub fn find(inputs: &[Input], judged: &[Judged]) -> Vec<(usize, Owner)> {
    let mut found = Vec::new();
    for (index, (input, result)) in inputs.iter().zip(judged).enumerate() {
        let (Some(Tie::DebugFile { build_id }), Some(path)) = (&result.tie, input.path()) else { continue };
        let folder = path.parent();
        let is_beside = |owner: &Owner, of: &std::path::Path| {
            let names_it = owner
                .debug_link
                .as_ref()
                .is_some_and(|link| path.file_name().is_some_and(|name| name == &*link.file_name));
            names_it && (folder == Some(of) || folder == Some(&of.join(".debug")))
        };
        let owners = || {
            judged.iter().filter_map(|other| match &other.tie {
                Some(Tie::Owner { owner, folder }) => Some((owner, folder)),
                _ => None,
            })
        };
        let same_build = |owner: &Owner| build_id.is_some() && owner.build_id == *build_id;
        let owner = owners()
            .find(|(owner, folder)| is_beside(owner, folder) && same_build(owner))
            .or_else(|| owners().find(|(owner, folder)| is_beside(owner, folder)))
            .or_else(|| owners().find(|(owner, _)| same_build(owner)));
        found.extend(owner.map(|(owner, _)| (index, owner.clone())));
    }
    found
}
