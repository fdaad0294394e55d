//! The record of an entry: `entry.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use process::Runner;
use serde::{Deserialize, Serialize};

use crate::contents;
use crate::digest::Digest;
use crate::layout::{CONTENTS, RECORD};
use crate::write_error::cannot_write;

/// Digests and notes beside the files of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Key files, relative to the entry, with their digests.
    pub files: BTreeMap<String, Digest>,
    /// Facts for later: versions in a package suite at the time, the origin of a file.
    pub notes: BTreeMap<String, String>,
    /// Digest of the list of all files. Records of version 0.1.0 have none: then only key files are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Digest>,
    /// Sum of the sizes of all files.
    #[serde(default)]
    pub size_bytes: u64,
}

impl Record {
    /// Records the digest of a key file in an entry that is being made.
    pub fn add_file(&mut self, staging: &Path, file: &str) -> anyhow::Result<&mut Self> {
        self.files.insert(file.into(), Digest::of_file(&staging.join(file))?);
        Ok(self)
    }

    /// Records a fact.
    pub fn set_note(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.notes.insert(name.into(), value.into());
        self
    }

    /// Lists every file of a complete entry, and writes list and record into it.
    pub(crate) fn finalize(&mut self, staging: &Path, runner: &Runner) -> anyhow::Result<()> {
        let list = contents::to_text(&contents::of_folder(staging, runner)?);
        self.contents = Some(Digest::of(list.as_bytes()));
        self.size_bytes = contents::size_of(staging)?;
        let text = serde_json::to_string_pretty(self)?;
        for (name, text) in [(CONTENTS, list), (RECORD, text)] {
            std::fs::write(staging.join(name), text).map_err(|error| cannot_write(staging, error))?;
        }
        Ok(())
    }

    /// Reads the record of an entry.
    pub(crate) fn read(entry: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(entry.join(RECORD)).context("its record is missing")?;
        serde_json::from_str(&text).context("its record cannot be read")
    }

    /// Compares every file with the list of the entry; each difference is a sentence.
    pub(crate) fn differences(&self, entry: &Path, runner: &Runner) -> anyhow::Result<Vec<String>> {
        let list = std::fs::read_to_string(entry.join(CONTENTS)).context("its list of files is missing")?;
        if self.contents.as_ref() != Some(&Digest::of(list.as_bytes())) {
            return Ok(vec![format!("`{CONTENTS}` has changed")]);
        }
        let list = contents::parse(&list)?;
        let is_listed = |(file, digest): &(&String, &Digest)| list.get(*file) == Some(*digest);
        let unlisted = self.files.iter().filter(|key_file| !is_listed(key_file));
        let unlisted = unlisted.map(|(file, _)| format!("the record of `{file}` has changed"));
        Ok(unlisted.chain(contents::differences(&list, &contents::of_folder(entry, runner)?)).collect())
    }
}
