//! Facts of an archive that hold for any library, and their judgement against its `build.toml`: nothing of the machine that
//! built it, no time and no user, no executable stack, and no symbol wanted that nobody declared.
//!
//! [`read`] knows no rule, and [`violations`] opens no file. Which kernels are in it is the question of [`super::kernels`].

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};

use super::build::fits;

#[derive(Debug, Default)]
pub struct ArchiveFacts {
    pub members: Vec<Member>,
    /// Wanted by some member and defined by none.
    pub undefined: BTreeSet<String>,
    defined: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub seconds: u64,
    pub uid: u64,
    pub gid: u64,
    pub mode: u64,
    pub stack: StackNote,
    /// Machine paths that are in its bytes, of those that were asked for.
    pub paths: Vec<String>,
    /// Data and their sizes.
    pub sizes: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackNote {
    NotExecutable,
    Executable,
    Missing,
    /// Not an ELF object at all.
    NoObject,
}

/// What an archive must keep to.
#[derive(Debug, Default)]
pub struct Expected<'a> {
    pub undefined: &'a [String],
    pub functions: &'a [String],
    /// Member, symbol, bytes.
    pub sizes: Vec<(&'a str, &'a str, u64)>,
}

/// Modes that an `ar` without a memory gives: 0644, with or without the bits of a regular file.
const MODES: [u64; 2] = [0o644, 0o100_644];

/// `paths` are those of the build machine that no compiler was to write down.
pub fn read(archive: &[u8], paths: &[String]) -> Result<ArchiveFacts> {
    let file = ArchiveFile::parse(archive).context("not an archive")?;
    let mut facts = ArchiveFacts::default();
    let mut wanted = BTreeSet::new();
    for member in file.members() {
        let member = member.context("damaged archive")?;
        let data = member.data(archive).context("damaged archive")?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let mut stack = StackNote::NoObject;
        let mut sizes = Vec::new();
        if let Ok(object) = object::File::parse(data) {
            stack = stack_note(&object);
            for symbol in object.symbols() {
                let Ok(name) = symbol.name() else { bail!("`{name}`: a symbol without a name") };
                if symbol.is_undefined() && !name.is_empty() {
                    // A weak one may stay without a definition.
                    if !symbol.is_weak() {
                        wanted.insert(name.to_owned());
                    }
                } else if symbol.is_global() {
                    facts.defined.insert(name.to_owned());
                }
                if symbol.size() > 0 {
                    sizes.push((name.to_owned(), symbol.size()));
                }
            }
        }
        facts.members.push(Member {
            name,
            seconds: member.date().context("the time of a member")?,
            uid: member.uid().context("the user of a member")?,
            gid: member.gid().context("the group of a member")?,
            mode: member.mode().context("the mode of a member")?,
            stack,
            paths: paths
                .iter()
                .filter(|path| memchr::memmem::find(data, path.as_bytes()).is_some())
                .cloned()
                .collect(),
            sizes,
        });
    }
    facts.undefined = wanted.difference(&facts.defined).cloned().collect();
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

/// All that is wrong, each with the name of its member.
pub fn violations(facts: &ArchiveFacts, expected: &Expected<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if facts.members.is_empty() {
        found.push("the archive has no member".to_owned());
    }
    let mut names = BTreeSet::new();
    for member in &facts.members {
        let name = &member.name;
        if !names.insert(name) {
            found.push(format!("`{name}`: two members of this name"));
        }
        if (member.seconds, member.uid, member.gid) != (0, 0, 0) || !MODES.contains(&member.mode) {
            found.push(format!(
                "`{name}`: expected time 0, user 0, group 0 and mode 644, found {}, {}, {} and {:o}",
                member.seconds, member.uid, member.gid, member.mode
            ));
        }
        match member.stack {
            StackNote::NotExecutable => {}
            StackNote::Executable => found.push(format!("`{name}`: asks for an executable stack")),
            StackNote::Missing => found.push(format!(
                "`{name}`: no .note.GNU-stack, which a linker takes for a wish for an executable stack"
            )),
            StackNote::NoObject => found.push(format!("`{name}`: expected an object")),
        }
        for path in &member.paths {
            found.push(format!("`{name}`: holds the path `{path}` of the build machine"));
        }
    }
    for symbol in &facts.undefined {
        if !expected.undefined.iter().any(|pattern| fits(pattern, symbol)) {
            found.push(format!("`{symbol}`: wanted by the archive, not in `undefined` of build.toml"));
        }
    }
    for pattern in expected.undefined {
        if !facts.undefined.iter().any(|symbol| fits(pattern, symbol)) {
            found
                .push(format!("`{pattern}`: in `undefined` of build.toml, and the archive does not want it"));
        }
    }
    for function in expected.functions {
        if !facts.defined.contains(function) {
            found.push(format!("`{function}`: expected in the archive, not found"));
        }
    }
    for (member, symbol, bytes) in &expected.sizes {
        let size = facts
            .members
            .iter()
            .filter(|found| found.name == *member)
            .flat_map(|found| &found.sizes)
            .find_map(|(name, size)| (name == symbol).then_some(*size));
        match size {
            Some(size) if size == *bytes => {}
            Some(size) => found.push(format!(
                "`{member}`: expected `{symbol}` of {bytes} bytes for the chosen `threads_max`, found {size}"
            )),
            None => found.push(format!("`{member}`: expected `{symbol}` in it, not found")),
        }
    }
    found
}

#[cfg(test)]
mod tests;
