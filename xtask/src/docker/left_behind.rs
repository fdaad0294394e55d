//! What a run leaves in the engine and on disk, told at its end whatever the end was.

use std::path::PathBuf;

use super::archive::DistImage;

pub struct LeftBehind {
    path: PathBuf,
    reference: String,
    /// What the reference meant to the engine before and after the load.
    pub before: Option<String>,
    pub loaded: Option<String>,
    /// The second name that was asked for.
    pub tag: Option<String>,
    /// One line for each container that did not end by itself. Those that did are gone (`--rm`).
    pub containers: Vec<String>,
}

impl LeftBehind {
    pub fn of(image: &DistImage) -> Self {
        Self {
            path: image.path.clone(),
            reference: image.archive.reference.clone(),
            before: None,
            loaded: None,
            tag: None,
            containers: Vec::new(),
        }
    }

    pub fn report(&self) {
        eprintln!("left behind:");
        for line in self.lines() {
            eprintln!("  {line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let reference = &self.reference;
        let mut lines = Vec::new();
        match (&self.loaded, &self.before) {
            (None, _) => lines.push("nothing in an engine: the image was not loaded".into()),
            (Some(id), before) => {
                let names = self.tag.iter().fold(reference.clone(), |names, tag| format!("{names} {tag}"));
                let since =
                    if before.as_ref() == Some(id) { ", which was there before this run" } else { "" };
                lines.push(format!("image {names} ({id}){since}; to remove it: docker rmi {names}"));
                if let Some(old) = before.as_ref().filter(|old| *old != id) {
                    lines.push(format!(
                        "image {old}, which was {reference} before; to remove it: docker rmi {old}"
                    ));
                }
            }
        }
        lines.extend(self.containers.iter().cloned());
        if self.loaded.is_some() && self.containers.is_empty() {
            lines.push("no container".into());
        }
        lines.push(format!("the archive {}", self.path.display()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(before: Option<&str>, loaded: Option<&str>) -> String {
        LeftBehind {
            path: "dist/inferd.docker.tar".into(),
            reference: "inferd:0.1.0".into(),
            before: before.map(String::from),
            loaded: loaded.map(String::from),
            tag: None,
            containers: Vec::new(),
        }
        .lines()
        .join("\n")
    }

    #[test]
    fn nothing_loaded_is_said_and_the_archive_is_named() {
        let text = left(None, None);
        assert!(text.contains("nothing in an engine") && text.contains("dist/inferd.docker.tar"), "{text}");
    }

    #[test]
    fn an_image_that_lost_its_name_is_not_forgotten() {
        let text = left(Some("sha256:old"), Some("sha256:new"));
        assert!(text.contains("docker rmi inferd:0.1.0") && text.contains("docker rmi sha256:old"), "{text}");
        assert!(!left(Some("sha256:same"), Some("sha256:same")).contains("docker rmi sha256"));
    }
}
