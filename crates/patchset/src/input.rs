//! What a tree is prepared from: a folder or a tarball.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::unpack;

/// A source that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// A folder that holds the unpacked source. It is never written to.
    Tree(&'a Path),
    /// A `.tar.xz` or `.tar.gz`.
    Tarball(&'a Path),
}

impl Input<'_> {
    /// The files, not verified: the tree itself, or the content of the tarball in a new folder below `staging`.
    pub fn unpacked(&self, staging: &Path) -> Result<PathBuf> {
        match self {
            Input::Tree(path) => Ok(path.to_path_buf()),
            Input::Tarball(path) => {
                let unpacked = staging.join("unpacked");
                fs::create_dir(&unpacked).with_context(|| format!("creating `{}`", unpacked.display()))?;
                unpack::unpack(path, &unpacked)?;
                Ok(unpacked)
            }
        }
    }
}

impl fmt::Display for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Input::Tree(path) | Input::Tarball(path)) = self;
        write!(f, "`{}`", path.display())
    }
}
