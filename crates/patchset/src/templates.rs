//! First content of the files of a new patch, and new entries in `source.toml`.

use anyhow::Result;
use diag::Diagnostic;

use crate::codes::VENDOR_FILE;
use crate::manifest::SourceManifest;
use crate::patch::HEADER_KEYS;

/// Header of a new patch, with the fields that are known.
pub(crate) fn header(name: &str, version: &str) -> String {
    HEADER_KEYS.iter().fold(String::new(), |text, (key, _)| {
        let value = match *key {
            "Since" => version.to_owned(),
            "Guards" => format!("{name}.guard.toml"),
            "Upstream" => "not sent yet".to_owned(),
            _ => String::new(),
        };
        text + format!("{key}: {value}").trim_end() + "\n"
    }) + "\n"
}

/// Guard of a new patch, with a comment for each entry.
pub(crate) fn guard(name: &str) -> String {
    format!(
        "# Checked before and after {name}.patch is applied, then in the compiled archive.\n\
         # The program tests/NAME.c, which fails without the patch.\n\
         test = \"\"\n\n\
         # Requirements on the compiled archive. `references`: symbols that the function must reference; `only_here`: those of\n\
         # them that no other function of the member may reference; `forbid_references`: symbols that it must not reference.\n\
         # `vendor refresh` adds a `[[file]]` for each changed file.\n\
         [[object]]\nmember = \"\"\nfunction = \"\"\nreferences = []\n"
    )
}

/// `source.toml` with one more name at the end of `patches`.
pub(crate) fn add_patch(text: &str, name: &str) -> Result<String> {
    let line = format!("  \"{name}\",\n");
    let failed = || {
        Diagnostic::new(&VENDOR_FILE, "a patch could not be added to source.toml")
            .file("source.toml")
            .hint(format!("add \"{name}\" to `patches` by hand"))
    };
    let added = match text.find("\npatches = [") {
        None => text.replacen("\nfiles = ", &format!("\npatches = [\n{line}]\nfiles = "), 1),
        Some(start) => {
            let end = start + text[start..].find(']').ok_or_else(failed)?;
            let (head, tail) = text.split_at(end);
            let head = head.trim_end();
            let comma = if head.ends_with('[') || head.ends_with(',') { "" } else { "," };
            format!("{head}{comma}\n{line}{tail}")
        }
    };
    match SourceManifest::parse(&added)?.patches.last() {
        Some(last) if last == name => Ok(added),
        _ => Err(failed().into()),
    }
}

/// `source.toml` with another version.
pub(crate) fn set_version(text: &str, old: &str, new: &str) -> Result<String> {
    let changed = text.replacen(&format!("\nversion = \"{old}\""), &format!("\nversion = \"{new}\""), 1);
    if SourceManifest::parse(&changed)?.version != new {
        return Err(Diagnostic::new(&VENDOR_FILE, "the version could not be set")
            .file("source.toml")
            .hint(format!("write `version = \"{old}\"` on a line of its own"))
            .into());
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_a_name_to_every_notation_of_the_list() {
        let toml = |patches: &str| {
            format!(
                "name = \"t\"\nversion = \"1\"\nlicence = \"x\"\nhomepage = \"x\"\nfiles = \"f\"{patches}\n[[source]]\nkind = \"archive\"\nurl = \"u\"\n"
            )
        };
        for notation in ["", "\npatches = []", "\npatches = [\"a\"]", "\npatches = [\n  \"a\",\n]"] {
            let added = add_patch(&toml(notation), "b").unwrap();
            assert_eq!(SourceManifest::parse(&added).unwrap().patches.last().unwrap(), "b", "{added}");
        }
    }
}
