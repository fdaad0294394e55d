//! Modules of one crate that import each other, directly or through others.
//!
//! A module is a file. An import of an item that a module re-exports counts as an import of the module that defines it. An
//! import of a submodule does not count: a parent declares and re-exports its submodules, which may use what it defines.
//! Code of tests does not count. Paths in macros are read as they are written.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;

use self::tokens::Token;
use super::report::Status;

/// Names of the modules from the root of the crate, which has none.
type ModulePath = Vec<String>;

/// Reads `xtask` and every folder of `crates`.
pub fn check(root: &Path) -> anyhow::Result<Status> {
    let mut folders = vec![PathBuf::from("xtask")];
    for folder in std::fs::read_dir(root.join("crates")).context("could not list the folder `crates`")? {
        folders.push(Path::new("crates").join(folder?.file_name()));
    }
    folders.sort();
    let mut status = Status::Pass;
    for file in folders.iter().flat_map(|folder| ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)))
    {
        if !root.join(&file).is_file() {
            continue;
        }
        for cycle in Modules::read(&root.join(&file))?.cycles() {
            let names: BTreeSet<&str> = cycle.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
            status = Status::Violated;
            eprintln!("{}: {} modules import each other:", file.display(), names.len());
            for (importer, imported) in cycle {
                eprintln!("    {importer} imports {imported}");
            }
        }
    }
    Ok(status)
}

/// A `use` declaration, without braces.
#[derive(Debug)]
struct Use {
    is_public: bool,
    path: Vec<String>,
    /// The name that it introduces.
    name: String,
}

#[derive(Debug)]
struct Module {
    uses: Vec<Use>,
    /// Paths outside of `use` declarations that begin with `crate`, `self`, `super` or a submodule.
    paths: Vec<Vec<String>>,
}

/// The modules of a crate.
struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    fn read(root_file: &Path) -> anyhow::Result<Modules> {
        let mut modules = Modules(BTreeMap::new());
        modules.add(root_file, Vec::new(), root_file.parent().unwrap_or(root_file))?;
        Ok(modules)
    }

    /// `folder` has the files of submodules.
    fn add(&mut self, file: &Path, path: ModulePath, folder: &Path) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
        let tokens = tokens::of(&text);
        let mut submodules = BTreeSet::new();
        for declaration in tokens.windows(3) {
            let [Token::Word("mod"), Token::Word(name), Token::Mark(';')] = declaration else { continue };
            let files = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            let Some(file) = files.iter().find(|file| file.is_file()) else { continue };
            submodules.insert((*name).to_string());
            self.add(file, [path.as_slice(), &[(*name).to_string()]].concat(), &folder.join(name))?;
        }
        self.0.insert(path, Module { uses: uses(&tokens), paths: paths(&tokens, &submodules) });
        Ok(())
    }

    /// The imports within each group of modules that import each other.
    fn cycles(&self) -> Vec<Vec<(String, String)>> {
        let imports: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.0.iter().map(|(path, module)| (path, self.imports(path, module))).collect();
        let reachable = |from: &ModulePath| {
            let mut found: BTreeSet<&ModulePath> = BTreeSet::new();
            let mut open: Vec<&ModulePath> = imports[from].iter().copied().collect();
            while let Some(next) = open.pop() {
                if found.insert(next) {
                    open.extend(&imports[next]);
                }
            }
            found
        };
        let reachable: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            imports.keys().map(|path| (*path, reachable(path))).collect();
        let mut groups: BTreeMap<BTreeSet<&ModulePath>, Vec<(String, String)>> = BTreeMap::new();
        for (importer, targets) in &imports {
            let group: BTreeSet<&ModulePath> = reachable[importer]
                .iter()
                .filter(|other| reachable[*other].contains(importer))
                .copied()
                .collect();
            for target in targets.iter().filter(|target| group.contains(*target)) {
                groups.entry(group.clone()).or_default().push((name(importer), name(target)));
            }
        }
        groups.into_values().collect()
    }

    fn imports(&self, path: &ModulePath, module: &Module) -> BTreeSet<&ModulePath> {
        let private = module.uses.iter().filter(|one| !one.is_public).map(|one| &one.path);
        private
            .chain(&module.paths)
            .filter_map(|target| self.defining(path, target, 0))
            .filter(|target| !target.starts_with(path))
            .collect()
    }

    /// The module that defines what `target` means in the module `path`. `None` for another crate.
    fn defining(&self, path: &ModulePath, target: &[String], depth: usize) -> Option<&ModulePath> {
        let (first, rest) = target.split_first()?;
        let supers = target.iter().take_while(|word| *word == "super").count();
        let (mut at, rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (path.clone(), rest),
            "super" => (path[..path.len().checked_sub(supers)?].to_vec(), &target[supers..]),
            _ => (path.clone(), target),
        };
        let mut rest = rest.iter();
        let mut item = rest.next();
        while let Some(name) = item {
            at.push(name.clone());
            if !self.0.contains_key(&at) {
                at.pop();
                break;
            }
            item = rest.next();
        }
        let (found, module) = self.0.get_key_value(&at)?;
        let is_local = found == path && !matches!(first.as_str(), "crate" | "self" | "super");
        if is_local && item.is_some_and(|item| item == first) {
            return None;
        }
        // Each re-export leads to another module; the bound ends a loop of them.
        let reexport = item.and_then(|item| module.uses.iter().find(|one| one.name == *item));
        let original = match reexport {
            Some(one) if depth < 8 && one.path != target => self.defining(found, &one.path, depth + 1),
            _ => None,
        };
        Some(original.unwrap_or(found))
    }
}

fn name(path: &ModulePath) -> String {
    if path.is_empty() { "the root".into() } else { path.join("::") }
}

/// All `use` declarations.
fn uses(tokens: &[Token]) -> Vec<Use> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if *token == Token::Word("use") {
            let is_public = at > 0 && matches!(tokens[at - 1], Token::Word("pub") | Token::Mark(')'));
            let end = tokens[at..].iter().position(|token| *token == Token::Mark(';')).unwrap_or(0);
            expand(&tokens[at + 1..=(at + end).max(at)], &mut Vec::new(), is_public, &mut found);
        }
    }
    found
}

/// Adds the paths of a tree, which ends at a `,`, `}` or `;`. Returns the number of tokens before that mark.
fn expand(tokens: &[Token], prefix: &mut Vec<String>, is_public: bool, found: &mut Vec<Use>) -> usize {
    let (depth, mut at) = (prefix.len(), 0);
    let mut alias = None;
    let mut is_group = false;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Mark(',' | '}' | ';') => break,
            Token::Mark('{') => {
                is_group = true;
                at += 1;
                while tokens.get(at).is_some_and(|token| !matches!(token, Token::Mark('}' | ';'))) {
                    at += expand(&tokens[at..], prefix, is_public, found);
                    at += usize::from(tokens.get(at) == Some(&Token::Mark(',')));
                }
            }
            Token::Word("as") => {
                if let Some(Token::Word(word)) = tokens.get(at + 1) {
                    alias = Some((*word).to_string());
                }
                at += 1;
            }
            Token::Word("self") if depth > 0 => {}
            Token::Word(word) => prefix.push((*word).to_string()),
            Token::Mark(_) => {}
        }
        at += 1;
    }
    if !is_group && let Some(last) = prefix.last() {
        found.push(Use { is_public, path: prefix.clone(), name: alias.unwrap_or_else(|| last.clone()) });
    }
    prefix.truncate(depth);
    at
}

/// Paths outside of `use` declarations.
fn paths(tokens: &[Token], submodules: &BTreeSet<String>) -> Vec<Vec<String>> {
    let is_separator = |at: usize| tokens.get(at..at + 2) == Some(&[Token::Mark(':'); 2]);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Token::Word(word) = tokens[at] else {
            at += 1;
            continue;
        };
        if word == "use" {
            at += tokens[at..].iter().position(|token| *token == Token::Mark(';')).unwrap_or(1);
            continue;
        }
        let is_inner = at >= 2 && is_separator(at - 2);
        // `pub(in crate::a)` names a module and imports nothing.
        let is_visibility = at > 0 && tokens[at - 1] == Token::Word("in");
        let begins = matches!(word, "crate" | "self" | "super") || submodules.contains(word);
        let mut path = vec![word.to_string()];
        at += 1;
        while is_separator(at) {
            let Some(Token::Word(word)) = tokens.get(at + 2) else { break };
            path.push((*word).to_string());
            at += 3;
        }
        if begins && !is_inner && !is_visibility && path.len() > 1 {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        folder
    }

    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tree(files);
        let cycles = Modules::read(&folder.path().join("lib.rs")).unwrap().cycles();
        let text = |cycle: &Vec<(String, String)>| {
            cycle.iter().map(|(a, b)| format!("{a} -> {b}")).collect::<Vec<_>>().join(", ")
        };
        cycles.iter().map(text).collect()
    }

    #[test]
    fn finds_modules_that_import_each_other() {
        let a = ("a.rs", "use crate::b::B; pub struct A;");
        let root = ("lib.rs", "mod a; mod b;");
        assert_eq!(cycles(&[root, a, ("b.rs", "use super::a::A; pub struct B;")]), ["a -> b, b -> a"]);
        assert_eq!(cycles(&[root, a, ("b.rs", "pub struct B(crate::a::A);")]), ["a -> b, b -> a"]);
        assert_eq!(cycles(&[root, a, ("b.rs", "pub struct B; // crate::a::A")]), [""; 0]);
        assert_eq!(
            cycles(&[root, a, ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }")]),
            [""; 0]
        );
    }

    #[test]
    fn finds_a_cycle_through_a_third_module_and_through_a_group() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::{b::{self, B}, d::D};"),
            ("b.rs", "use crate::c as other;"),
            ("c.rs", "fn f() { super::a::f() }"),
        ];
        assert_eq!(cycles(&files), ["a -> b, b -> c, c -> a"]);
    }

    #[test]
    fn a_reexport_stands_for_the_module_that_defines_the_item() {
        let files = [
            ("lib.rs", "pub mod a; mod e;"),
            ("a/mod.rs", "mod b; mod c; pub use b::B; pub use c::C;"),
            ("a/b.rs", "use crate::a::C; pub struct B;"),
            ("a/c.rs", "use crate::a::B; pub struct C;"),
            ("e.rs", "use crate::a::{B, C};"),
        ];
        assert_eq!(cycles(&files), ["a::b -> a::c, a::c -> a::b"]);
    }

    #[test]
    fn a_parent_may_use_its_submodules_and_they_what_it_defines() {
        let files = [
            ("lib.rs", "pub mod a;"),
            ("a.rs", "mod b; use b::B; pub struct A; fn f() { b::g() }"),
            ("a/b.rs", "use super::A; pub struct B; pub(in crate::a) fn g() {}"),
        ];
        assert_eq!(cycles(&files), [""; 0]);
    }

    #[test]
    fn one_crate_with_a_cycle_is_a_violation() {
        let a = ("crates/one/src/a.rs", "use super::b::B; pub struct A;");
        let root = ("crates/one/src/lib.rs", "mod a; mod b;");
        let rest = [("crates/two/src/lib.rs", ""), ("xtask/src/main.rs", "")];
        let status = |b: &'static str| {
            let files = [root, a, ("crates/one/src/b.rs", b), rest[0], rest[1]];
            check(tree(&files).path()).unwrap()
        };
        assert!(matches!(status("pub struct B;"), Status::Pass));
        assert!(matches!(status("use super::a::A; pub struct B;"), Status::Violated));
    }

    #[test]
    fn the_workspace_has_no_cycles() {
        assert!(matches!(check(&crate::setup::workspace_root()).unwrap(), Status::Pass));
    }
}
