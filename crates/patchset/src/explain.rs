//! The requirements of one guard, each with the code of its check.

use diag::Code;

use crate::codes::{
    PATCH_ABSENT_AFTER, PATCH_ANCHOR_AFTER, PATCH_ANCHOR_BEFORE, PATCH_BEHAVIOUR, PATCH_COMPILED,
    PATCH_FORBID_REFERENCES, PATCH_FUNCTION, PATCH_LINKED, PATCH_MEMBER, PATCH_OBJECT, PATCH_ONLY_HERE,
    PATCH_POST_IMAGE, PATCH_PRE_IMAGE, PATCH_PREPROCESSOR, PATCH_REFERENCE,
};
use crate::library::VendoredPatch;

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The check.
    pub code: &'static Code,
    /// What it requires of this patch.
    pub text: String,
}

/// All requirements of a patch, in the order in which a build checks them.
pub fn requirements(patch: &VendoredPatch) -> Vec<Requirement> {
    let guard = &patch.guard;
    let mut all = Vec::new();
    let mut add = |code: &'static Code, text: String| all.push(Requirement { code, text });
    for file in &guard.files {
        add(&PATCH_PRE_IMAGE, format!("{}: sha256 {}…", file.path, &file.pre_sha256[..16]));
        add(&PATCH_ANCHOR_BEFORE, format!("once: {}", quoted(&file.before)));
        add(&PATCH_POST_IMAGE, format!("{}: sha256 {}…", file.path, &file.post_sha256[..16]));
        add(&PATCH_ANCHOR_AFTER, format!("once: {}", quoted(&file.after)));
        if !file.absent_after.is_empty() {
            add(&PATCH_ABSENT_AFTER, format!("absent: {}", quoted(&file.absent_after)));
        }
        add(&PATCH_COMPILED, format!("the build compiles {}, or a source that includes it", file.path));
        let except = match file.allow_uncompiled.is_empty() {
            true => String::new(),
            false => format!(", except {}", quoted(&file.allow_uncompiled)),
        };
        add(&PATCH_PREPROCESSOR, format!("the preprocessor keeps every added line of code{except}"));
    }
    for object in &guard.objects {
        let place = object.place();
        add(&PATCH_MEMBER, format!("{} is in the archive, once", object.member));
        add(&PATCH_OBJECT, format!("the code of {place} differs without the patch"));
        if let Some(function) = &object.function {
            add(&PATCH_FUNCTION, format!("{function} has code of its own"));
            add(&PATCH_LINKED, format!("{function} is in the linked binary"));
        }
        for (code, symbols, verb) in [
            (&PATCH_REFERENCE, &object.references, "references"),
            (&PATCH_ONLY_HERE, &object.only_here, "alone references"),
            (&PATCH_FORBID_REFERENCES, &object.forbid_references, "does not reference"),
        ] {
            if !symbols.is_empty() {
                add(code, format!("{place} {verb} {}", symbols.join(", ")));
            }
        }
    }
    add(&PATCH_BEHAVIOUR, format!("tests/{}.c fails without the patch and passes with it", patch.test));
    all
}

/// The first line of each text.
fn quoted(texts: &[String]) -> String {
    let first = |text: &String| format!("`{}`", text.trim().lines().next().unwrap_or_default());
    texts.iter().map(first).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Vendored;

    #[test]
    fn names_every_symbol_of_the_real_guards() {
        let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
        for patch in Vendored::read(&vendor).unwrap().patches() {
            let texts: Vec<String> = requirements(patch).into_iter().map(|requirement| requirement.text).collect();
            let text = texts.join("\n");
            for object in &patch.guard.objects {
                let lists = [&object.references, &object.forbid_references, &object.only_here];
                for symbol in lists.into_iter().flatten() {
                    assert!(text.contains(symbol.as_str()), "{symbol}: {text}");
                }
            }
            assert!(text.contains(&patch.test));
        }
    }
}
