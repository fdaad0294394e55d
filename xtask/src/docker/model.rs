//! Verifies that a container can read the model folder.
//!
//! A bind mount keeps the permissions of the folder and excludes what is outside of it. The program runs as a user that
//! owns nothing on the host, so a private file or a link to the outside fails in the container and nowhere else. This check
//! reports it before the container starts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use serde_json::Value;

use super::codes::MODEL_FOLDER;

const FETCH: &str = "`cargo xtask fetch-model` fetches all-MiniLM-L6-v2 and prints its folder";

/// A model folder that can be read from inside a container.
pub struct Model {
    /// Absolute, without links.
    pub folder: PathBuf,
    /// Length of the model's vectors according to its configuration; `None` if it does not say.
    pub dimension: Option<u64>,
}

impl Model {
    /// Checks every file and folder below `folder`.
    pub fn check(folder: &Path) -> Result<Self, Diagnostic> {
        let unusable = |found: String| {
            Diagnostic::new(&MODEL_FOLDER, "the model folder cannot be used").file(folder).found(found)
        };
        let root = folder.canonicalize().map_err(|error| unusable(error.to_string()).hint(FETCH))?;
        if !root.is_dir() {
            return Err(unusable("not a folder".into()).hint(FETCH));
        }
        let mut problems = Vec::new();
        let mut files = 0;
        visit(&root, &root, &mut files, &mut problems).map_err(|error| unusable(error.to_string()))?;
        if files == 0 {
            return Err(unusable("it has no files".into()).hint(FETCH));
        }
        if !problems.is_empty() {
            return Err(unusable(problems.join("\n"))
                .expected("files that others can read: the container's user owns nothing here")
                .hint(format!("copy it: cp -rL '{0}' model && chmod -R a+rX model", root.display())));
        }
        let dimension = dimension(&root);
        Ok(Self { folder: root, dimension })
    }
}

/// A dense layer after the pooling changes the length; then nothing is expected.
fn dimension(root: &Path) -> Option<u64> {
    let json = |name: &str| serde_json::from_slice::<Value>(&std::fs::read(root.join(name)).ok()?).ok();
    let is_dense = |module: &Value| module["type"].as_str().is_some_and(|kind| kind.ends_with(".Dense"));
    if json("modules.json")
        .is_some_and(|modules| modules.as_array().is_some_and(|all| all.iter().any(is_dense)))
    {
        return None;
    }
    json("config.json")?["hidden_size"].as_u64()
}

fn visit(root: &Path, path: &Path, files: &mut usize, problems: &mut Vec<String>) -> std::io::Result<()> {
    let shown = |path: &Path| match path.strip_prefix(root) {
        Ok(inside) if !inside.as_os_str().is_empty() => format!("`{}`", inside.display()),
        _ => "the folder".into(),
    };
    // Downloaders store the weights once and link to them.
    if path.is_symlink() && !path.canonicalize()?.starts_with(root) {
        problems.push(format!("{} is a link to the outside of the folder", shown(path)));
        return Ok(());
    }
    let metadata = path.metadata()?;
    let (needed, wanted) = if metadata.is_dir() { (0o005, "read and searched") } else { (0o004, "read") };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & needed != needed {
        problems.push(format!("{} cannot be {wanted} by others (mode 0{mode:o})", shown(path)));
    }
    if metadata.is_dir() && !path.is_symlink() {
        for entry in path.read_dir()? {
            visit(root, &entry?.path(), files, problems)?;
        }
    } else {
        *files += 1;
    }
    Ok(())
}
