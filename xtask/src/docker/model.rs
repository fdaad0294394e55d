//! The model folder as a container will see it.
//!
//! A bind mount shows the folder with its own permissions and without what lies around it. The program runs as a user
//! that owns nothing on the host, so a private file or a link that leads out of the folder fails in the container and
//! nowhere else; better to say so before.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use serde_json::Value;

/// A folder in which everything can be read from inside a container.
pub struct Model {
    /// Absolute, without links.
    pub folder: PathBuf,
    /// How long the vectors of this model are, as its own configuration says; `None` when it does not.
    pub dimension: Option<u64>,
}

pub fn mountable(folder: &Path) -> Result<Model, Diagnostic> {
    let named = |error: String| {
        Diagnostic::new(&release::GENERAL, format!("model folder {}: {error}", folder.display()))
    };
    let fetch = "`cargo xtask model` fetches the real all-MiniLM-L6-v2 and prints its folder";
    let root = folder.canonicalize().map_err(|error| named(error.to_string()).hint(fetch))?;
    if !root.is_dir() {
        return Err(named("is not a folder".into()).hint(fetch));
    }
    let mut problems = Vec::new();
    let mut files = 0;
    visit(&root, &root, &mut files, &mut problems).map_err(|error| named(error.to_string()))?;
    if files == 0 {
        return Err(named("has no files".into()).hint(fetch));
    }
    if let Some(first) = problems.first() {
        let more =
            if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        return Err(named(format!("{first}{more}"))
            .expected("everything in it readable by others: the container's user owns nothing here")
            .hint(format!(
                "make a copy that is: cp -rL '{0}' model && chmod -R a+rX model",
                root.display()
            )));
    }
    let dimension = dimension(&root);
    Ok(Model { folder: root, dimension })
}

/// A dense layer after the pooling would change the length; then nothing is expected of it here.
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
        _ => "the folder itself".into(),
    };
    // Downloaders keep one copy of the weights and put links to it everywhere else.
    if path.is_symlink() && !path.canonicalize()?.starts_with(root) {
        problems.push(format!("{} is a link that leads out of the folder", shown(path)));
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
