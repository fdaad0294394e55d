//! An image as its container sees it: the merged layers, and the program that it runs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use serde::Deserialize;

use crate::containers::entry::{EntryKind, PATH_BYTES_MAX, normalized};

/// An image of an archive, with its layers merged.
#[derive(Debug)]
pub struct MergedImage {
    archive: String,
    config_path: Option<String>,
    config: Config,
    tree: Tree,
}

/// What an image runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageProgram {
    /// The configuration names no command.
    None,
    /// The command is not in the image, or is no ELF file, such as a script.
    NotElf(String),
    /// An ELF file.
    Elf {
        /// The path in a container.
        path: String,
        /// The name that the visitor of the walk received.
        member: String,
    },
}

/// Folders of `PATH` that are searched.
const PATH_FOLDERS_MAX: usize = 256;

/// The configuration, as far as the rules need it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ConfigDocument {
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

impl MergedImage {
    pub(super) fn new(
        archive: &str,
        config_path: Option<String>,
        document: ConfigDocument,
        tree: Tree,
    ) -> MergedImage {
        MergedImage {
            archive: archive.into(),
            config_path,
            config: document.config.unwrap_or_default(),
            tree,
        }
    }

    /// The archive, and for one image of several its configuration.
    pub fn name(&self, is_only: bool) -> String {
        match &self.config_path {
            Some(config) if !is_only => format!("{}!{config}", self.archive),
            _ => self.archive.clone(),
        }
    }

    /// The value of a variable in the configuration.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let pairs = self.config.env.iter().flatten().filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
    }

    /// Whether the path exists, through links too.
    pub fn has_file(&self, path: &str) -> bool {
        self.tree.resolve(path).is_some_and(|path| !self.tree.is_folder(&path))
    }

    /// Whether the folder contains an entry, at any depth.
    pub fn has_entries(&self, folder: &str) -> bool {
        self.tree.resolve(folder).is_some_and(|folder| self.tree.below(&folder).next().is_some())
    }

    /// The program of the entrypoint, or else of the command.
    pub fn program(&self) -> ImageProgram {
        let words = self.config.entrypoint.iter().chain(&self.config.cmd).flatten();
        let Some(word) = words.filter(|word| !word.is_empty()).map(String::as_str).next() else {
            return ImageProgram::None;
        };
        // Linux accepts no longer path. The configuration of a hostile image may name many long folders.
        if word.len() > PATH_BYTES_MAX {
            return ImageProgram::NotElf(word.chars().take(PATH_BYTES_MAX).collect());
        }
        let folders = if word.starts_with('/') {
            ""
        } else if word.contains('/') {
            self.config.working_dir.as_deref().unwrap_or_default()
        } else {
            self.variable("PATH").unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        };
        // Only `PATH` is a list.
        let count = if word.contains('/') { 1 } else { PATH_FOLDERS_MAX };
        let elf = folders.splitn(count, ':').find_map(|folder| {
            let candidate = if word.starts_with('/') { word.to_string() } else { format!("{folder}/{word}") };
            let path = self.tree.resolve(&candidate)?;
            let member = self.tree.nodes.get(&path)?.elf_member.clone()?;
            Some(ImageProgram::Elf { path: candidate, member })
        });
        elf.unwrap_or_else(|| ImageProgram::NotElf(word.into()))
    }
}

/// The merged layers of an image, by path without a leading `/`.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
struct Node {
    kind: EntryKind,
    elf_member: Option<String>,
}

impl Tree {
    /// Adds a layer above the others.
    pub(super) fn add_layer<'l>(
        &mut self,
        entries: &HashMap<String, EntryKind>,
        elf_files: impl Iterator<Item = (&'l str, &'l str)>,
    ) {
        // Whiteouts apply to the layers below, not to entries of their own layer.
        for path in entries.keys() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if name == ".wh..wh..opq" {
                self.remove_below(folder);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let path = if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
                self.nodes.remove(&path);
                self.remove_below(&path);
            }
        }
        for (path, kind) in entries {
            let is_whiteout = path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh."));
            if is_whiteout {
                continue;
            }
            if *kind != EntryKind::Folder && self.is_folder(path) {
                self.remove_below(path);
            }
            self.nodes.insert(path.clone(), Node { kind: kind.clone(), elf_member: None });
        }
        for (path, member) in elf_files {
            // A later entry of the layer may be a folder or a link of the same name.
            if let Some(node) = self.nodes.get_mut(path).filter(|node| node.kind == EntryKind::File) {
                node.elf_member = Some(member.into());
            }
        }
    }

    fn below(&self, folder: &str) -> impl Iterator<Item = &String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = self.nodes.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        from.map(|(path, _)| path).take_while({
            let prefix = prefix.clone();
            move |path| path.starts_with(&prefix)
        })
    }

    fn remove_below(&mut self, folder: &str) {
        let below: Vec<String> = self.below(folder).cloned().collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// Folders need no entry of their own.
    fn is_folder(&self, path: &str) -> bool {
        match self.nodes.get(path) {
            Some(node) => node.kind == EntryKind::Folder,
            None => self.below(path).next().is_some(),
        }
    }

    /// Follows links in every part of a path. `None` for a path that does not exist, or that is longer than Linux accepts.
    fn resolve(&self, path: &str) -> Option<String> {
        const LINKS_MAX: usize = 40;
        const PARTS_MAX: usize = 1 << 12;
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let mut links = 0;
        let mut done: Vec<String> = Vec::new();
        let mut open: Vec<String> = normalized(path).split('/').rev().map(str::to_string).collect();
        while let Some(part) = open.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let so_far = done.join("/");
            if so_far.len() > PATH_BYTES_MAX {
                return None;
            }
            if let Some(Node { kind: EntryKind::Link(target), .. }) = self.nodes.get(&so_far) {
                links += 1;
                if links > LINKS_MAX || open.len() > PARTS_MAX {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                open.extend(target.split('/').rev().map(str::to_string));
            }
        }
        let path = done.join("/");
        (self.nodes.contains_key(&path) || self.is_folder(&path)).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, EntryKind)]) -> HashMap<String, EntryKind> {
        entries.iter().map(|(path, kind)| (path.to_string(), kind.clone())).collect()
    }

    fn image(entries: &[(&str, EntryKind)], config: Config) -> MergedImage {
        let mut tree = Tree::default();
        let elf = entries.iter().map(|(path, _)| (*path, *path));
        tree.add_layer(&layer(entries), elf);
        MergedImage::new("in", None, ConfigDocument { config: Some(config) }, tree)
    }

    #[test]
    fn a_long_configuration_costs_bounded_time_and_memory() {
        let words = |word: String| Config { entrypoint: Some(vec![word]), ..Config::default() };
        let long = "x".repeat(1 << 19);
        let many_folders = Config { env: Some(vec![format!("PATH={}", ":".repeat(1 << 19))]), ..words(long) };
        let ImageProgram::NotElf(word) = image(&[], many_folders).program() else {
            panic!("no such program")
        };
        assert_eq!(word.len(), PATH_BYTES_MAX);
        let deep = Config { working_dir: Some("/a".repeat(1 << 18)), ..words("./tool".into()) };
        assert_eq!(image(&[], deep).program(), ImageProgram::NotElf("./tool".into()));
    }

    #[test]
    fn a_folder_of_the_same_name_is_no_program() {
        let config = || Config { cmd: Some(vec!["/tool".into()]), ..Config::default() };
        let with = |kind| image(&[("tool", kind)], config()).program();
        assert!(matches!(with(EntryKind::File), ImageProgram::Elf { .. }));
        assert_eq!(with(EntryKind::Folder), ImageProgram::NotElf("/tool".into()));
    }

    #[test]
    fn merges_layers_and_follows_links() {
        use EntryKind::{File, Folder, Link};
        let mut tree = Tree::default();
        let lower = layer(&[
            ("bin", Link("usr/bin".into())),
            ("usr/bin/tool", File),
            ("usr/bin/alias", Link("../../bin/tool".into())),
            ("etc/ssl/certs", Folder),
            ("etc/ssl/certs/a.crt", File),
            ("loop", Link("/loop".into())),
            ("data/x", File),
        ]);
        tree.add_layer(&lower, [("usr/bin/tool", "m")].into_iter());
        assert_eq!(tree.resolve("/bin/alias").as_deref(), Some("usr/bin/tool"));
        assert_eq!(tree.resolve("./bin/../bin/tool").as_deref(), Some("usr/bin/tool"));
        assert_eq!((tree.resolve("/loop"), tree.resolve("/none")), (None, None));
        let upper = layer(&[("etc/ssl/.wh.certs", File), ("data/.wh..wh..opq", File), ("data/y", File)]);
        tree.add_layer(&upper, std::iter::empty());
        assert_eq!((tree.resolve("/etc/ssl/certs/a.crt"), tree.resolve("/data/x")), (None, None));
        assert!(tree.resolve("/data/y").is_some());
        tree.add_layer(&layer(&[("usr/bin", File)]), std::iter::empty());
        assert_eq!(tree.resolve("/bin/tool"), None);
    }
}
