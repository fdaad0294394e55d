//! Facts of the archive of any library, and their judgement against its `build.toml`: no path of the build machine, no time, no
//! user, no executable stack, no undeclared undefined symbol.
//!
//! [`read`] applies no rule, and [`violations`] opens no file. [`crate::kernels`] checks the kernels.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use diag::{Code, Diagnostic};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};

use crate::ar;
use crate::build::matches_pattern;
use crate::codes::{
    ARCHIVE_EXEC_STACK, ARCHIVE_FUNCTION, ARCHIVE_MACHINE_PATH, ARCHIVE_MEMBER, ARCHIVE_METADATA,
    ARCHIVE_SIZE, ARCHIVE_UNDEFINED,
};

/// Members and symbols of an archive.
#[derive(Debug, Default)]
pub struct ArchiveFacts {
    /// In the order of the archive.
    pub members: Vec<Member>,
    /// Referenced by some member and defined by none.
    pub undefined: BTreeSet<String>,
    /// Defined by some member.
    defined: BTreeSet<String>,
}

/// Facts of one member.
#[derive(Debug)]
pub struct Member {
    /// File name.
    pub name: String,
    /// Time of change, in seconds since 1970.
    pub seconds: u64,
    /// User.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// File mode.
    pub mode: u64,
    /// The request for an executable stack.
    pub stack: StackNote,
    /// Those of the given machine paths that are in its bytes.
    pub paths: Vec<String>,
    /// Symbols and their sizes.
    pub sizes: Vec<(String, u64)>,
}

/// Content of `.note.GNU-stack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackNote {
    /// No executable stack.
    NotExecutable,
    /// An executable stack.
    Executable,
    /// No such section; linkers treat it as a request for an executable stack.
    Missing,
    /// The member is no ELF object.
    NotAnObject,
}

/// Requirements on an archive.
#[derive(Debug, Default)]
pub struct ExpectedArchive<'a> {
    /// Patterns of undefined symbols.
    pub undefined: &'a [String],
    /// Functions that it must define.
    pub functions: &'a [String],
    /// Member, symbol, bytes.
    pub sizes: Vec<(&'a str, &'a str, u64)>,
}

/// Modes of a deterministic `ar`: 0644, with or without the bits of a regular file.
const MODES: [u64; 2] = [0o644, 0o100_644];

/// `paths` are those of the build machine that no object may hold.
pub fn read(archive: &[u8], paths: &[String]) -> Result<ArchiveFacts> {
    let mut facts = ArchiveFacts::default();
    let mut referenced = BTreeSet::new();
    ar::for_each_member(archive, |member, data| {
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let mut stack = StackNote::NotAnObject;
        let mut sizes = Vec::new();
        if let Ok(object) = object::File::parse(data) {
            stack = stack_note(&object);
            for symbol in object.symbols() {
                let Ok(symbol_name) = symbol.name() else { bail!("`{name}`: a symbol without a name") };
                if symbol.is_undefined() && !symbol_name.is_empty() {
                    // A weak one may stay without a definition.
                    if !symbol.is_weak() {
                        referenced.insert(symbol_name.to_owned());
                    }
                } else if symbol.is_global() {
                    facts.defined.insert(symbol_name.to_owned());
                }
                if symbol.size() > 0 {
                    sizes.push((symbol_name.to_owned(), symbol.size()));
                }
            }
        }
        let has_path = |path: &&String| memchr::memmem::find(data, path.as_bytes()).is_some();
        facts.members.push(Member {
            name,
            seconds: member.date().context("reading the time of a member")?,
            uid: member.uid().context("reading the user of a member")?,
            gid: member.gid().context("reading the group of a member")?,
            mode: member.mode().context("reading the mode of a member")?,
            stack,
            paths: paths.iter().filter(has_path).cloned().collect(),
            sizes,
        });
        Ok(())
    })?;
    facts.undefined = referenced.difference(&facts.defined).cloned().collect();
    Ok(facts)
}

fn stack_note(object: &object::File<'_>) -> StackNote {
    let Some(note) = object.section_by_name(".note.GNU-stack") else { return StackNote::Missing };
    match note.flags() {
        SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(object::elf::SHF_EXECINSTR) => {
            StackNote::Executable
        }
        _ => StackNote::NotExecutable,
    }
}

/// All violations; the file of each is its member.
pub fn violations(facts: &ArchiveFacts, expected: &ExpectedArchive<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if facts.members.is_empty() {
        found.push(Diagnostic::new(&ARCHIVE_MEMBER, "the archive has no member"));
    }
    let mut names = BTreeSet::new();
    for member in &facts.members {
        found.extend(member_violations(member, names.insert(&member.name)));
    }
    for symbol in &facts.undefined {
        if !expected.undefined.iter().any(|pattern| matches_pattern(pattern, symbol)) {
            found.push(
                Diagnostic::new(
                    &ARCHIVE_UNDEFINED,
                    format!("`{symbol}` is undefined and not in `undefined`"),
                )
                .expected("every undefined symbol in build.toml"),
            );
        }
    }
    for pattern in expected.undefined {
        if !facts.undefined.iter().any(|symbol| matches_pattern(pattern, symbol)) {
            found.push(
                Diagnostic::new(
                    &ARCHIVE_UNDEFINED,
                    format!("`{pattern}` is in `undefined` and not undefined"),
                )
                .hint("remove it from `undefined` of build.toml"),
            );
        }
    }
    for function in expected.functions.iter().filter(|function| !facts.defined.contains(*function)) {
        found
            .push(Diagnostic::new(&ARCHIVE_FUNCTION, format!("no member defines the function `{function}`")));
    }
    found.extend(expected.sizes.iter().filter_map(|expected| size_violation(facts, *expected)));
    found
}

fn member_violations(member: &Member, is_first: bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut add = |code: &'static Code, message: &str, value: Option<String>| {
        let violation = Diagnostic::new(code, message).file(&member.name);
        found.push(match value {
            Some(value) => violation.found(value),
            None => violation,
        });
    };
    if !is_first {
        add(&ARCHIVE_MEMBER, "two members have this name", None);
    }
    let Member { seconds, uid, gid, mode, .. } = member;
    if (*seconds, *uid, *gid) != (0, 0, 0) || !MODES.contains(mode) {
        let value = format!("time {seconds}, user {uid}, group {gid}, mode {mode:o}");
        add(
            &ARCHIVE_METADATA,
            "the member has other metadata than time 0, user 0, group 0, mode 644",
            Some(value),
        );
    }
    match member.stack {
        StackNote::NotExecutable => {}
        StackNote::Executable => add(&ARCHIVE_EXEC_STACK, "the object requests an executable stack", None),
        StackNote::Missing => add(
            &ARCHIVE_EXEC_STACK,
            "the object has no .note.GNU-stack, which linkers treat as a request for an executable stack",
            None,
        ),
        StackNote::NotAnObject => add(&ARCHIVE_MEMBER, "the member is no object", None),
    }
    for path in &member.paths {
        add(&ARCHIVE_MACHINE_PATH, "the object holds a path of the build machine", Some(format!("`{path}`")));
    }
    found
}

fn size_violation(facts: &ArchiveFacts, (member, symbol, bytes): (&str, &str, u64)) -> Option<Diagnostic> {
    let members = facts.members.iter().filter(|found| found.name == member);
    let size =
        members.flat_map(|found| &found.sizes).find_map(|(name, size)| (name == symbol).then_some(*size));
    let found = match size {
        Some(size) if size == bytes => return None,
        Some(size) => format!("{size} bytes"),
        None => "no such symbol".to_owned(),
    };
    Some(
        Diagnostic::new(&ARCHIVE_SIZE, format!("`{symbol}` has another size than `threads_max` gives"))
            .file(member)
            .expected(format!("{bytes} bytes"))
            .found(found),
    )
}

#[cfg(test)]
mod tests;
