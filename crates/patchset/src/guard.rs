//! Guards of a patch: what must stand in the source before and after it, and what the compiled archive must then show.
//!
//! A guard on source text proves that text exists, not that it runs: the first repair of the incident behind this project
//! sat inside an `#ifdef` that was off, and both of its text guards passed. So a guard file also names functions whose
//! object code must reference (or must not reference) given symbols: [`Guard::object_violations`]. Relocations are facts of
//! the object format; no disassembly here. Whether the symbols reach the linked binary is the gate's business. Each message
//! ends in the name of its check, which [`super::checks`] explains.

pub mod pin;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SectionIndex, SymbolKind};
use serde::{Deserialize, Serialize};

use store::{is_sha256_hex, sha256_hex};

/// `NNNN-why.guard.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Name of the behavioural test under `tests/` that fails without the patch.
    pub test: String,
    #[serde(rename = "file")]
    pub files: Vec<GuardedFile>,
    #[serde(rename = "object")]
    pub objects: Vec<ObjectProof>,
}

/// One file that the patch changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardedFile {
    pub path: String,
    pub pre_sha256: String,
    pub post_sha256: String,
    /// Text that stands exactly once in the file before the patch.
    pub before: Vec<String>,
    /// Text that stands exactly once in it afterwards.
    pub after: Vec<String>,
    /// Text that the patch removes to the last occurrence.
    #[serde(default)]
    pub gone: Vec<String>,
    /// Added lines, without their indentation, that this build does not compile: for another system. Each entry
    /// excuses one line; an entry that excuses none is an error.
    #[serde(default)]
    pub dead: Vec<String>,
}

/// What an object of the archive must show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectProof {
    /// Member of the archive.
    pub member: String,
    /// Function that is looked into; without it, the whole member.
    pub function: Option<String>,
    /// Symbols that it must reference.
    #[serde(default)]
    pub references: Vec<String>,
    /// Symbols of `references` that no other function of the member may reference.
    #[serde(default)]
    pub only_here: Vec<String>,
    /// Symbols that it must not reference.
    #[serde(default)]
    pub never: Vec<String>,
}

impl Guard {
    /// Strict: a guard that checks nothing is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let guard: Self = toml::from_str(text)?;
        ensure!(!guard.files.is_empty(), "no `[[file]]`");
        ensure!(!guard.objects.is_empty(), "no `[[object]]`: nothing would show that the patch is compiled");
        for file in &guard.files {
            for digest in [&file.pre_sha256, &file.post_sha256] {
                ensure!(is_sha256_hex(digest), "`{}`: `{digest}` is not a digest", file.path);
            }
            ensure!(!file.before.is_empty() && !file.after.is_empty(), "`{}` has no anchors", file.path);
            let anchors = [&file.before, &file.after, &file.gone];
            ensure!(
                anchors.into_iter().flatten().all(|text| !text.is_empty()),
                "`{}`: an anchor is empty",
                file.path
            );
        }
        for proof in &guard.objects {
            ensure!(
                !(proof.references.is_empty() && proof.never.is_empty()),
                "`{}`: proves nothing",
                proof.member
            );
            ensure!(
                proof.only_here.iter().all(|symbol| proof.references.contains(symbol)),
                "`{}`: a symbol of `only_here` is not among `references`",
                proof.member
            );
            ensure!(
                proof.only_here.is_empty() || proof.function.is_some(),
                "`{}`: `only_here` needs a `function`",
                proof.member
            );
        }
        Ok(guard)
    }

    /// Reads and checks a guard file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("reading `{}`\nhint: each patch has a guard file of its name beside it", path.display())
        })?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    /// What the compiled archive lacks. A missing member or function is a violation: nothing to look at is no proof.
    pub fn object_violations(&self, archive: &[u8]) -> Result<Vec<String>> {
        let members = read_members(archive)?;
        let mut violations = Vec::new();
        for proof in &self.objects {
            let found: Vec<&[u8]> = members
                .iter()
                .filter(|(name, _)| *name == proof.member.as_bytes())
                .map(|(_, data)| *data)
                .collect();
            match found[..] {
                [data] => proof
                    .judge(data, &mut violations)
                    .with_context(|| format!("reading member `{}` of the archive", proof.member))?,
                [] => violations
                    .push(format!("`{}`: expected in the archive, not found [member]", proof.member)),
                _ => violations.push(format!(
                    "`{}`: {} members of this name, expected one [member]",
                    proof.member,
                    found.len()
                )),
            }
        }
        Ok(violations)
    }
}

impl GuardedFile {
    /// What does not hold before the patch is applied; the digest is checked with the diff, which can say more.
    pub fn before_violations(&self, text: &[u8]) -> Vec<String> {
        once(&self.path, "before", &self.before, text)
    }

    /// What does not hold afterwards.
    pub fn after_violations(&self, text: &[u8]) -> Vec<String> {
        let mut violations = once(&self.path, "after", &self.after, text);
        for anchor in &self.gone {
            let count = occurrences(text, anchor);
            if count > 0 {
                violations.push(format!(
                    "`{}`: expected no `{anchor}` after the patch, found {count} [anchor-gone]",
                    self.path
                ));
            }
        }
        let found = sha256_hex(text);
        if found != self.post_sha256 {
            violations.push(format!(
                "`{}`: expected sha256 {} after the patch, found {found} [post-image]\n\
                 hint: the patch or its guard was changed without the other: read the difference, then pin the digest in the guard",
                self.path, self.post_sha256
            ));
        }
        violations
    }
}

fn once(path: &str, when: &str, anchors: &[String], text: &[u8]) -> Vec<String> {
    anchors
        .iter()
        .filter_map(|anchor| match occurrences(text, anchor) {
            1 => None,
            count => Some(format!(
                "`{path}`: expected `{}` once {when} the patch, found it {count} times [anchor-{when}]",
                anchor.trim_end()
            )),
        })
        .collect()
}

fn occurrences(text: &[u8], anchor: &str) -> usize {
    text.windows(anchor.len()).filter(|window| *window == anchor.as_bytes()).count()
}

/// Name and bytes of each member.
fn read_members(archive: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let file = ArchiveFile::parse(archive).context("not an archive")?;
    ensure!(!file.is_thin(), "a thin archive holds no code");
    file.members()
        .map(|member| {
            let member = member.context("damaged archive")?;
            Ok((member.name(), member.data(archive).context("damaged archive")?))
        })
        .collect()
}

/// A reference from loaded code or data of the member to a named symbol.
struct Reference {
    section: SectionIndex,
    offset: u64,
    symbol: String,
}

impl ObjectProof {
    fn judge(&self, data: &[u8], violations: &mut Vec<String>) -> Result<()> {
        let object = object::File::parse(data)?;
        let references = references_of(&object)?;
        let functions: Vec<_> = object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text).collect();
        let function_at = |reference: &Reference| {
            functions.iter().find_map(|function| {
                let holds = function.section_index() == Some(reference.section)
                    && (function.address()..function.address() + function.size()).contains(&reference.offset);
                holds.then(|| function.name().unwrap_or("?"))
            })
        };
        let inside = |reference: &&Reference| match &self.function {
            Some(function) => function_at(reference) == Some(function),
            None => true,
        };
        let place = match &self.function {
            Some(function) => format!("`{}`: function `{function}`", self.member),
            None => format!("`{}`", self.member),
        };
        if let Some(name) = &self.function
            && !functions.iter().any(|function| function.name() == Ok(name) && function.size() > 0)
        {
            violations.push(format!(
                "{place} is not in its symbol table: expected the code of the patch, found none [function]"
            ));
            return Ok(());
        }
        for symbol in &self.references {
            if !references.iter().filter(inside).any(|reference| reference.symbol == *symbol) {
                violations
                    .push(format!("{place}: expected a reference to `{symbol}`, found none [reference]"));
            }
        }
        for symbol in &self.never {
            if references.iter().filter(inside).any(|reference| reference.symbol == *symbol) {
                violations.push(format!("{place}: expected no reference to `{symbol}`, found one [never]"));
            }
        }
        for symbol in &self.only_here {
            for reference in references.iter().filter(|reference| reference.symbol == *symbol) {
                if !inside(&reference) {
                    let other = function_at(reference).unwrap_or("data");
                    violations.push(format!(
                        "{place}: expected to be alone in referencing `{symbol}`, found `{other}` too [only-here]"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn references_of(object: &object::File<'_>) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for section in object.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if !sh_flags.contains(object::elf::SHF_ALLOC) {
            continue; // debug information names functions that no code calls
        }
        for (offset, relocation) in section.relocations() {
            if let RelocationTarget::Symbol(index) = relocation.target() {
                let symbol = object.symbol_by_index(index)?.name().context("name of a symbol")?.to_owned();
                references.push(Reference { section: section.index(), offset, symbol });
            }
        }
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::archive_fixture::archive_of;

    /// The create site of a worker pool in small, with a hole for the repair. As in the real file, the macro that once
    /// selected attributes is undefined at its top.
    const POOL_C: &str = r#"
        #include <pthread.h>
        #include <stddef.h>
        #undef NEED_STACKATTR
        static pthread_t workers[4];
        static void *worker(void *arg) { return arg; }
        __attribute__((noinline)) int start_worker(long i) {
        #ifdef NEED_STACKATTR
          pthread_attr_t attr;
          pthread_attr_init(&attr);
          INSIDE
          return pthread_create(&workers[i], &attr, worker, NULL);
        #else
          pthread_attr_t *attr_in_use = NULL;
          OUTSIDE
          return pthread_create(&workers[i], attr_in_use, worker, NULL);
        #endif
        }
        int grow(long i) { OTHER return start_worker(i); }
    "#;
    const REPAIR_INSIDE: &str = "pthread_attr_setstacksize(&attr, 8UL << 20);";
    const REPAIR_OUTSIDE: &str = "pthread_attr_t attr; pthread_attr_init(&attr); \
                                  pthread_attr_setstacksize(&attr, 8UL << 20); attr_in_use = &attr;";

    fn compiled(inside: &str, outside: &str, other: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let source = POOL_C.replace("INSIDE", inside).replace("OUTSIDE", outside).replace("OTHER", other);
        assert!(source.contains("pthread_attr_setstacksize") || (inside.is_empty() && outside.is_empty()));
        std::fs::write(folder.path().join("pool.c"), source).unwrap();
        let status = Command::new("cc")
            .args(["-O2", "-fPIC", "-c", "pool.c", "-o", "pool.o"])
            .current_dir(folder.path())
            .status()
            .expect("a C compiler, which Rust needs to link as well");
        assert!(status.success());
        archive_of(&[("pool.o", &std::fs::read(folder.path().join("pool.o")).unwrap())])
    }

    const GUARD: &str = r#"
        test = "stack"
        [[file]]
        path = "pool.c"
        pre_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        post_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        before = ["old"]
        after = ["new"]
        gone = ["old"]
        [[object]]
        member = "pool.o"
        function = "start_worker"
        references = ["pthread_create", "pthread_attr_setstacksize"]
        only_here = ["pthread_create"]
        [[object]]
        member = "pool.o"
        never = ["raise"]
    "#;

    fn violations(archive: &[u8]) -> Vec<String> {
        Guard::parse(GUARD).unwrap().object_violations(archive).unwrap()
    }

    #[test]
    fn a_repair_that_is_compiled_is_seen() {
        assert_eq!(violations(&compiled("", REPAIR_OUTSIDE, "")), Vec::<String>::new());
    }

    #[test]
    fn a_repair_inside_an_ifdef_that_is_off_is_refused() {
        let found = violations(&compiled(REPAIR_INSIDE, "", ""));
        assert_eq!(
            found,
            [
                "`pool.o`: function `start_worker`: expected a reference to `pthread_attr_setstacksize`, found none [reference]"
            ]
        );
    }

    #[test]
    fn an_unguarded_second_create_site_is_refused() {
        let found =
            violations(&compiled("", REPAIR_OUTSIDE, "pthread_create(&workers[0], NULL, worker, NULL);"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("alone in referencing `pthread_create`, found `grow` too"), "{found:?}");
    }

    #[test]
    fn a_forbidden_reference_is_refused() {
        let found = violations(&compiled("", REPAIR_OUTSIDE, "extern int raise(int); raise(2);"));
        assert_eq!(found, ["`pool.o`: expected no reference to `raise`, found one [never]"]);
    }

    #[test]
    fn nothing_to_look_at_is_no_proof() {
        let good = compiled("", REPAIR_OUTSIDE, "");
        let object = read_members(&good).unwrap()[0].1.to_vec();
        let found = violations(&archive_of(&[("other.o", &object)]));
        assert!(
            found.iter().all(|violation| violation.contains("expected in the archive, not found [member]")),
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
        let found = violations(&archive_of(&[("pool.o", &object), ("pool.o", &object)]));
        assert!(found[0].contains("2 members of this name"), "{found:?}");
        let renamed = Guard::parse(&GUARD.replace("start_worker", "start_workers")).unwrap();
        let found = renamed.object_violations(&good).unwrap();
        assert!(found[0].contains("not in its symbol table"), "{found:?}");
        assert!(renamed.object_violations(b"no archive").is_err());
        assert!(renamed.object_violations(&archive_of(&[("pool.o", b"no object")])).is_err());
    }

    #[test]
    fn anchors_must_stand_exactly_once() {
        let file = &Guard::parse(GUARD).unwrap().files[0];
        assert!(file.before_violations(b"the old text").is_empty());
        assert_eq!(file.before_violations(b"no text").len(), 1);
        assert_eq!(file.before_violations(b"old and old").len(), 1);
        // anchor missing, removed text still there, digest
        assert_eq!(file.after_violations(b"the old text").len(), 3);
        assert_eq!(file.after_violations(b"the new text").len(), 1);
    }

    #[test]
    fn guards_are_strict() {
        for (what, bad) in [
            ("unknown key", GUARD.replace("never", "nevr")),
            ("no file", GUARD.replace("[[file]]", "[[files]]")),
            ("no anchor", GUARD.replace("[\"new\"]", "[]")),
            ("empty anchor", GUARD.replace("[\"new\"]", "[\"\"]")),
            ("short digest", GUARD.replace("e3b0", "e3")),
            ("nothing proved", GUARD.replace("never = [\"raise\"]", "")),
            (
                "only_here without references",
                GUARD.replace("only_here = [\"pthread_create\"]", "only_here = [\"free\"]"),
            ),
            ("no object", GUARD[..GUARD.find("[[object]]").unwrap()].to_owned()),
        ] {
            assert!(Guard::parse(&bad).is_err(), "{what} was accepted");
        }
    }
}
