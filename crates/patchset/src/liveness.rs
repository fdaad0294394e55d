//! Whether a patch is live: not that its text is in a file, but that the compiler saw it and the code is another for it.
//!
//! Asked right after the build, in its tree, with the very compiler calls that the build made (out of its log). The links of
//! the chain, for each patch: the file is compiled; every line that it adds survives the preprocessor; the objects that its
//! guard names differ from those of the state just before it. A patch that fails at one link is refused by the name of that
//! link. The repair that went into an `#ifdef` which was off passes every test on text, and ends at the second.
//!
//! Only patched files are compiled again, each state once. What the archive holds is [`super::guard`]'s business, and what
//! programs do is that of the behavioural tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use serde::{Deserialize, Serialize};

use super::{ChangedFile, Step};
use store::sha256_hex;

/// A compiler call of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Relative to the tree.
    pub folder: PathBuf,
    pub source: String,
    pub output: String,
    /// As `make` printed it.
    pub line: String,
}

/// What was shown of one patch; goes into the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub patch: String,
    /// Sources that the build compiled with the patched text in them.
    pub compiled: Vec<String>,
    /// Lines of code that the patch adds, and how many of them come out of the preprocessor.
    pub lines_added: usize,
    pub lines_live: usize,
    /// Functions (or members) whose code or relocations are others without the patch.
    pub differs: Vec<String>,
    /// Functions of the guard, to be found in the archive and in the linked file.
    pub functions: Vec<String>,
    /// The behavioural test that fails without it.
    pub test: String,
}

/// All calls of a log that compile a C source, with the folder that `make -w` was in.
pub fn calls_of(log: &str, tree: &Path) -> Vec<Call> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        if let Some((_, folder)) = line.split_once(": Entering directory '") {
            folders.push(PathBuf::from(folder.trim_end_matches('\'')));
        } else if line.contains(": Leaving directory '") {
            folders.pop();
        } else if let Some(call) = call_of(line, folders.last().map_or(tree, PathBuf::as_path), tree) {
            calls.push(call);
        }
    }
    calls
}

fn call_of(line: &str, folder: &Path, tree: &Path) -> Option<Call> {
    let line = line.split(" && ").next()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    words.contains(&"-c").then_some(())?;
    let source = words.iter().rev().find(|word| word.ends_with(".c"))?;
    Some(Call {
        folder: folder.strip_prefix(tree).ok()?.to_owned(),
        source: (*source).to_owned(),
        output: (*after("-o")?).to_owned(),
        line: line.to_owned(),
    })
}

/// Walks the chain of every patch. `run` gets a folder and a shell command; its error is the compiler's. The tree is left in
/// its last state. Violations are sentences that name the patch and the link.
pub fn walk(
    steps: &[Step],
    log: &str,
    tree: &Path,
    run: &dyn Fn(&Path, &str) -> Result<()>,
) -> Result<(Vec<Chain>, Vec<String>)> {
    let mut bench = Bench { tree, run, calls: calls_of(log, tree), objects: BTreeMap::new() };
    let (mut chains, mut violations) = (Vec::new(), Vec::new());
    // the state before the first patch; a file that two patches change gets its oldest text last
    for step in steps.iter().rev() {
        bench.write(step, |file| &file.before)?;
    }
    for step in steps {
        let (chain, found) =
            bench.chain(step, steps).with_context(|| format!("patch `{}`", step.patch.name))?;
        violations.extend(found.into_iter().map(|text| format!("patch `{}`: {text}", step.patch.name)));
        chains.push(chain);
    }
    Ok((chains, violations))
}

struct Bench<'a> {
    tree: &'a Path,
    run: &'a dyn Fn(&Path, &str) -> Result<()>,
    calls: Vec<Call>,
    /// Objects by output and the digest of all patched text that may be in them.
    objects: BTreeMap<(String, String), Vec<u8>>,
}

impl Bench<'_> {
    fn write(&self, step: &Step, text: impl Fn(&ChangedFile) -> &Vec<u8>) -> Result<()> {
        for file in &step.files {
            let path = self.tree.join(&file.path);
            fs::write(&path, text(file)).with_context(|| format!("writing `{}`", path.display()))?;
        }
        Ok(())
    }

    /// From the state before the step to the one after it.
    fn chain(&mut self, step: &Step, all: &[Step]) -> Result<(Chain, Vec<String>)> {
        let guard = &step.patch.guard;
        let mut violations = Vec::new();
        let members: BTreeSet<&str> = guard.objects.iter().map(|proof| proof.member.as_str()).collect();
        let of_member = |calls: &[Call], member: &str| -> Option<Call> {
            calls.iter().find(|call| call.output.rsplit('/').next() == Some(member)).cloned()
        };
        let mut before = BTreeMap::new();
        for member in &members {
            match of_member(&self.calls, member) {
                Some(call) => drop(before.insert(*member, self.object(&call, all)?)),
                None => {
                    violations.push(format!("compiled: no call of the build makes `{member}` [compiled]"))
                }
            }
        }
        self.write(step, |file| &file.after)?;

        let mut chain = Chain {
            patch: step.patch.name.clone(),
            compiled: Vec::new(),
            lines_added: 0,
            lines_live: 0,
            differs: Vec::new(),
            functions: guard.objects.iter().filter_map(|proof| proof.function.clone()).collect(),
            test: step.patch.test.clone(),
        };
        for file in &step.files {
            let path = Path::new(&file.path);
            let is_source = path.extension().is_some_and(|extension| extension == "c");
            let mut calls: Vec<Call> = self
                .calls
                .iter()
                .filter(|call| {
                    is_source && self.tree.join(&call.folder).join(&call.source) == self.tree.join(path)
                })
                .cloned()
                .collect();
            if !is_source {
                // a header is looked for where the guard expects its effect
                calls.extend(members.iter().filter_map(|member| of_member(&self.calls, member)));
            }
            let mut live = BTreeSet::new();
            for call in &calls {
                live.extend(self.live_lines(call, path)?);
            }
            if live.is_empty() {
                violations.push(format!(
                    "compiled: no compiler call of the build reads `{}` [compiled]",
                    file.path
                ));
                continue;
            }
            chain.compiled.push(file.path.clone());
            let dead =
                &guard.files.iter().find(|guarded| guarded.path == file.path).map_or(&[][..], |g| &g.dead);
            violations.extend(judge_lines(file, &live, dead, &mut chain));
        }
        for proof in &guard.objects {
            let (Some(call), Some(old)) =
                (of_member(&self.calls, &proof.member), before.get(proof.member.as_str()))
            else {
                continue;
            };
            let new = self.object(&call, all)?;
            let what = match &proof.function {
                Some(function) => format!("{} in {}", function, proof.member),
                None => proof.member.clone(),
            };
            if code_of(old, proof.function.as_deref())? == code_of(&new, proof.function.as_deref())? {
                violations.push(format!("object: the code of {what} is the same without the patch [object]"));
            } else {
                chain.differs.push(what);
            }
        }
        Ok((chain, violations))
    }

    /// The object of a call in the present state of the tree.
    fn object(&mut self, call: &Call, all: &[Step]) -> Result<Vec<u8>> {
        let source = call.folder.join(&call.source);
        let paths: BTreeSet<&str> =
            all.iter().flat_map(|step| step.files.iter().map(|f| f.path.as_str())).collect();
        let mut text = Vec::new();
        for path in paths.into_iter().filter(|path| !path.ends_with(".c") || Path::new(path) == source) {
            text.extend(fs::read(self.tree.join(path)).with_context(|| format!("reading `{path}`"))?);
        }
        let key = (call.output.clone(), sha256_hex(&text));
        if let Some(object) = self.objects.get(&key) {
            return Ok(object.clone());
        }
        let object = self.made_by(call, "")?;
        self.objects.insert(key, object.clone());
        Ok(object)
    }

    /// Runs a call with more flags and its output elsewhere.
    fn made_by(&self, call: &Call, flags: &str) -> Result<Vec<u8>> {
        let output = self.tree.join("liveness.out");
        let wanted = format!(" -o {}", call.output);
        ensure!(call.line.contains(&wanted), "`{}`: expected `{wanted}` in it", call.line);
        let line = call.line.replacen(&wanted, &format!("{flags} -o '{}'", output.display()), 1);
        (self.run)(&self.tree.join(&call.folder), &line)?;
        fs::read(&output).with_context(|| format!("reading what came of `{line}`"))
    }

    /// Lines of a file that come out of the preprocessor in a call.
    fn live_lines(&self, call: &Call, path: &Path) -> Result<BTreeSet<usize>> {
        let folder = self.tree.join(&call.folder);
        let wanted = self.tree.join(path).canonicalize()?;
        let text = self.made_by(call, " -E")?;
        Ok(lines_of(&String::from_utf8_lossy(&text), |name| {
            folder.join(name).canonicalize().is_ok_and(|found| found == wanted)
        }))
    }
}

/// Lines with text that a preprocessor's output attributes to the wanted file: `# 12 "name" flags` says what comes next.
fn lines_of(preprocessed: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<usize> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut line, mut is_wanted) = (0, false);
    let mut live = BTreeSet::new();
    for text in preprocessed.lines() {
        let marker = text.strip_prefix("# ").and_then(|rest| {
            let (number, name) = rest.split_once(" \"")?;
            Some((number.parse::<usize>().ok()?, &name[..name.rfind('"')?]))
        });
        if let Some((number, name)) = marker {
            line = number;
            is_wanted = *known.entry(name).or_insert_with(|| wanted(name));
            continue;
        }
        if is_wanted && !text.trim().is_empty() {
            live.insert(line);
        }
        line += 1;
    }
    live
}

/// Each added line of code must live, but for those that the guard calls dead, which must not.
fn judge_lines(
    file: &ChangedFile,
    live: &BTreeSet<usize>,
    dead: &[String],
    chain: &mut Chain,
) -> Vec<String> {
    let text = String::from_utf8_lossy(&file.after).into_owned();
    let code = code_lines(&text);
    let lines: Vec<&str> = text.lines().collect();
    let mut violations = Vec::new();
    let mut excused: Vec<&String> = dead.iter().collect();
    for number in file.added.iter().filter(|number| code.contains(number)) {
        let shown = lines[number - 1].trim();
        if live.contains(number) {
            chain.lines_live += 1;
        } else if let Some(at) = excused.iter().position(|text| *text == shown) {
            excused.remove(at); // an entry excuses one line
            continue;
        } else {
            violations.push(format!(
                "preprocessor: `{}` line {number}, `{shown}`, is not in what the compiler sees [preprocessor]\n\
                 hint: look for an #if around it that is off in this build",
                file.path
            ));
        }
        chain.lines_added += 1;
    }
    for text in excused {
        violations.push(format!(
            "preprocessor: `{}`: `{text}` is called dead, and no dead line says it [preprocessor]",
            file.path
        ));
    }
    violations
}

/// Numbers of the lines that hold more than comments, directives and brackets.
fn code_lines(text: &str) -> BTreeSet<usize> {
    let mut code = BTreeSet::new();
    let (mut in_comment, mut in_directive) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let mut rest = line;
        let mut left = String::new();
        while !rest.is_empty() {
            if in_comment {
                match rest.find("*/") {
                    Some(at) => (in_comment, rest) = (false, &rest[at + 2..]),
                    None => rest = "",
                }
                continue;
            }
            match (rest.find("/*"), rest.find("//")) {
                (Some(block), line) if line.is_none_or(|line| block < line) => {
                    left.push_str(&rest[..block]);
                    (in_comment, rest) = (true, &rest[block + 2..]);
                }
                (_, Some(line)) => {
                    left.push_str(&rest[..line]);
                    rest = "";
                }
                _ => {
                    left.push_str(rest);
                    rest = "";
                }
            }
        }
        let is_directive = in_directive || left.trim_start().starts_with('#');
        in_directive = is_directive && line.ends_with('\\');
        let says_something = left.chars().any(|c| c.is_alphanumeric());
        // a label or `else` may leave nothing of its own; its line still comes out
        if !is_directive && says_something {
            code.insert(index + 1);
        }
    }
    code
}

/// Bytes and relocations of a function, or of everything that is loaded; nothing when the function is not there.
type Code = Option<(Vec<u8>, Vec<(u64, String, i64)>)>;

fn code_of(data: &[u8], function: Option<&str>) -> Result<Code> {
    let object = object::File::parse(data).context("reading an object that was compiled for liveness")?;
    let place = match function {
        None => None,
        Some(name) => {
            let Some(symbol) = object.symbols().find(|symbol| symbol.name() == Ok(name) && symbol.size() > 0)
            else {
                return Ok(None);
            };
            Some((symbol.section_index(), symbol.address()..symbol.address() + symbol.size()))
        }
    };
    let (mut bytes, mut relocations) = (Vec::new(), Vec::new());
    for section in object.sections() {
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if !sh_flags.contains(object::elf::SHF_ALLOC) {
            continue;
        }
        let all = section.data().unwrap_or_default();
        let range = match &place {
            None => 0..all.len() as u64,
            Some((index, range)) if *index == Some(section.index()) => range.clone(),
            Some(_) => continue,
        };
        let wanted = usize::try_from(range.start)?..usize::try_from(range.end)?;
        bytes.extend_from_slice(all.get(wanted).unwrap_or_default());
        for (offset, relocation) in section.relocations().filter(|(offset, _)| range.contains(offset)) {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    object.symbol_by_index(index)?.name().unwrap_or_default().to_owned()
                }
                other => format!("{other:?}"),
            };
            relocations.push((offset - range.start, target, relocation.addend()));
        }
    }
    Ok(Some((bytes, relocations)))
}

#[cfg(test)]
mod tests;
