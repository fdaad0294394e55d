//! Files in the layers of an image that upper layers hide.
//!
//! The walk reads each layer separately and reports every ELF file of every layer: a file that an upper layer deletes or
//! replaces is still pushed and pulled, and can be extracted. This module identifies those files. Order and membership of
//! layers come from the manifests, which may be at the end of the archive.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use crate::containers::entry::{EntryKind, PATH_BYTES_MAX, normalized};
use crate::containers::image::{ConfigDocument, MergedImage, Tree};

/// A file of a layer that upper layers delete or replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenFile {
    /// The name that the visitor received.
    pub name: String,
    is_replaced: bool,
    /// From 1, in the order of the manifest.
    by_layer: usize,
    layers: usize,
}

impl fmt::Display for HiddenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.is_replaced { "replaced" } else { "deleted" };
        write!(
            f,
            "{done} in layer {} of {}: not visible in a container, but shipped",
            self.by_layer, self.layers
        )
    }
}

/// Bound of the documents and names of one tar file: a hostile image must not exhaust memory.
const KEPT_BYTES_MAX: usize = 64 << 20;
pub(super) const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

/// Bound of the path bytes that are compared at the end.
const COMPARED_BYTES_MAX: u64 = 1 << 30;

/// Bound of the merged entries of all images: manifests may list a layer many times.
const MERGED_ENTRIES_MAX: usize = 4_000_000;

/// Manifests and entries of an image, collected while its tar file is read.
#[derive(Default)]
pub(super) struct Layers {
    /// Name of the tar file that may be an image.
    image: Option<String>,
    documents: HashMap<String, Vec<u8>>,
    /// By the path of the layer in the image.
    layers: HashMap<String, LayerIndex>,
    kept_bytes: usize,
}

/// The paths of an image's configuration and layers in its archive.
#[derive(PartialEq, Eq)]
struct Manifest {
    config: Option<String>,
    layers: Vec<String>,
}

/// Entries of one layer.
#[derive(Default)]
struct LayerIndex {
    entries: HashMap<String, EntryKind>,
    elf_files: Vec<ElfFile>,
}

struct ElfFile {
    /// The name that the visitor received.
    name: String,
    path: String,
}

impl Layers {
    /// Only the outermost tar file can be the image.
    pub(super) fn enter_tar(&mut self, name: &str) {
        self.image.get_or_insert_with(|| name.into());
    }

    /// Whether an entry of `tar` may be a manifest.
    pub(super) fn may_be_document(&self, tar: &str, size_bytes: u64) -> bool {
        self.image.as_deref() == Some(tar) && size_bytes <= DOCUMENT_BYTES_MAX
    }

    /// Keeps the bytes of a possible manifest.
    pub(super) fn document(&mut self, path: &str, bytes: &[u8]) {
        if matches!(bytes, [b'{' | b'[', ..]) && self.keep(path.len() + bytes.len()) {
            self.documents.insert(normalized(path), bytes.into());
        }
    }

    /// Records an entry of a layer.
    pub(super) fn entry(&mut self, tar: &str, path: &str, kind: EntryKind) {
        let target = if let EntryKind::Link(target) = &kind { target.len() } else { 0 };
        let is_kept = path.len().max(target) <= PATH_BYTES_MAX && self.layer_of(tar).is_some();
        if is_kept && self.keep(path.len() + target + 64) {
            let entry = normalized(path);
            if let Some(layer) = self.layer(tar) {
                layer.entries.insert(entry, kind);
            }
        }
    }

    /// `name` includes the names of all containers.
    pub(super) fn elf_file(&mut self, name: &str) {
        let Some((tar, path)) = name.rsplit_once('!') else { return };
        let is_kept = path.len() <= PATH_BYTES_MAX && self.layer_of(tar).is_some();
        if !is_kept || !self.keep(path.len() + name.len()) {
            return;
        }
        let (name, mut path) = (name.to_string(), normalized(path));
        if let Some(layer) = self.layer(tar) {
            // A member of a static library has the path of the library.
            if let (false, Some((library, _))) = (layer.entries.contains_key(&path), path.rsplit_once('(')) {
                path = library.into();
            }
            layer.elf_files.push(ElfFile { name, path });
        }
    }

    fn layer_of<'t>(&self, tar: &'t str) -> Option<&'t str> {
        let path = tar.strip_prefix(self.image.as_deref()?)?.strip_prefix('!')?;
        (!path.contains('!')).then_some(path)
    }

    fn layer(&mut self, tar: &str) -> Option<&mut LayerIndex> {
        let path = normalized(self.layer_of(tar)?);
        Some(self.layers.entry(path).or_default())
    }

    fn keep(&mut self, bytes: usize) -> bool {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        self.kept_bytes <= KEPT_BYTES_MAX
    }

    /// Empty when the input is no image, or too large to compare: then all files count as visible.
    pub(super) fn hidden(&self) -> Vec<HiddenFile> {
        if self.kept_bytes > KEPT_BYTES_MAX {
            return Vec::new();
        }
        let images: Vec<Vec<String>> = self.manifests().into_iter().map(|manifest| manifest.layers).collect();
        let budget = Cell::new(COMPARED_BYTES_MAX);
        let mut hidden: Vec<HiddenFile> = Vec::new();
        for (layer_path, layer) in &self.layers {
            // A file of a layer that several images share is hidden only when each of these images hides it.
            let images_with_layer = || images.iter().filter(|layers| layers.contains(layer_path));
            for file in &layer.elf_files {
                let by = |layers: &Vec<String>| self.hidden_in(layers, layer_path, &file.path, &budget);
                let Some(Some((by_layer, is_replaced, layers))) = images_with_layer().next().map(by) else {
                    continue;
                };
                if images_with_layer().all(|layers| by(layers).is_some()) {
                    hidden.push(HiddenFile { name: file.name.clone(), is_replaced, by_layer, layers });
                }
            }
        }
        if budget.get() == 0 {
            return Vec::new();
        }
        hidden.sort_by(|a, b| a.name.cmp(&b.name));
        hidden
    }

    fn hidden_in(
        &self,
        layers: &[String],
        layer: &str,
        file: &str,
        budget: &Cell<u64>,
    ) -> Option<(usize, bool, usize)> {
        let folders = file.bytes().filter(|&byte| byte == b'/').count() + 1;
        let cost = ((folders + 1) * (file.len() + 16)) as u64;
        // The last position counts when an image lists a layer twice.
        let own = layers.iter().rposition(|known| known == layer)?;
        let upper = layers.iter().enumerate().skip(own + 1);
        upper.into_iter().find_map(|(index, path)| {
            budget.set(budget.get().saturating_sub(cost));
            if budget.get() == 0 {
                return None;
            }
            let is_replaced = self.layers.get(path)?.hides(file)?;
            Some((index + 1, is_replaced, layers.len()))
        })
    }

    /// The images in the manifests, with their merged layers. An archive for two kinds of engines lists its image twice.
    pub(super) fn images(&self) -> Vec<MergedImage> {
        if self.kept_bytes > KEPT_BYTES_MAX {
            return Vec::new();
        }
        let name = self.image.as_deref().unwrap_or_default();
        let mut manifests: Vec<Manifest> = Vec::new();
        for manifest in self.manifests() {
            // Documents about an image, such as attestations, have layers that are not tar files.
            let is_image = manifest.layers.iter().any(|layer| self.layers.contains_key(layer));
            if is_image && !manifests.contains(&manifest) {
                manifests.push(manifest);
            }
        }
        let mut entries_left = MERGED_ENTRIES_MAX;
        let mut images = Vec::new();
        for manifest in manifests {
            let layers = || manifest.layers.iter().filter_map(|layer| self.layers.get(layer));
            let entries: usize = layers().map(|layer| layer.entries.len() + layer.elf_files.len()).sum();
            let Some(left) = entries_left.checked_sub(entries) else { break };
            entries_left = left;
            let mut tree = Tree::default();
            for layer in layers() {
                tree.add_layer(&layer.entries, layer.elf_files.iter().map(|file| (&*file.path, &*file.name)));
            }
            let config = manifest.config.as_deref().and_then(|path| self.parse::<ConfigDocument>(path));
            images.push(MergedImage::new(name, manifest.config, config.unwrap_or_default(), tree));
        }
        images
    }

    /// The manifests, with layers from the lowest to the highest.
    fn manifests(&self) -> Vec<Manifest> {
        const MANIFESTS_MAX: usize = 256;
        let mut images = Vec::new();
        let manifests = self.parse::<Vec<DockerManifest>>("manifest.json").unwrap_or_default();
        for manifest in manifests.into_iter().take(MANIFESTS_MAX) {
            let layers = manifest.layers.iter().map(|path| normalized(path)).collect();
            images.push(Manifest { config: manifest.config.map(|path| normalized(&path)), layers });
        }
        let mut open = vec!["index.json".to_string()];
        let mut seen = 0;
        while let Some(path) = open.pop() {
            seen += 1;
            let Some(document) = self.parse::<OciDocument>(&path).filter(|_| seen < MANIFESTS_MAX) else {
                continue;
            };
            open.extend(document.manifests.iter().filter_map(Descriptor::path).take(MANIFESTS_MAX));
            if !document.layers.is_empty() {
                let layers = document.layers.iter().filter_map(Descriptor::path).collect();
                images.push(Manifest { config: document.config.as_ref().and_then(Descriptor::path), layers });
            }
        }
        images
    }

    fn parse<'d, T: Deserialize<'d>>(&'d self, path: &str) -> Option<T> {
        serde_json::from_slice(self.documents.get(path)?).ok()
    }
}

impl LayerIndex {
    /// Whether this layer hides a file of a lower layer: `Some(true)` when it replaces the file, `Some(false)` when it
    /// deletes it.
    fn hides(&self, file: &str) -> Option<bool> {
        if self.entries.contains_key(file) {
            return Some(true);
        }
        let mut path = file;
        loop {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let within =
                |name: &str| if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
            if self.entries.contains_key(&within(&format!(".wh.{name}")))
                || self.entries.contains_key(&within(".wh..wh..opq"))
            {
                return Some(false);
            }
            if folder.is_empty() {
                return None;
            }
            // A file or link replaces the folder.
            if self.entries.get(folder).is_some_and(|kind| *kind != EntryKind::Folder) {
                return Some(false);
            }
            path = folder;
        }
    }
}

/// `manifest.json` of `docker save`.
#[derive(Deserialize)]
struct DockerManifest {
    #[serde(rename = "Config")]
    config: Option<String>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// `index.json`, an index or a manifest.
#[derive(Deserialize)]
struct OciDocument {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    digest: String,
}

impl Descriptor {
    fn path(&self) -> Option<String> {
        let (algorithm, digest) = self.digest.split_once(':')?;
        Some(format!("blobs/{algorithm}/{digest}"))
    }
}
