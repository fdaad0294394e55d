//! What remains in the engine and on disk after a run, and the commands that remove it.

use std::path::PathBuf;

use super::archive::DistImage;

pub struct Cleanup {
    archive: PathBuf,
    reference: String,
    /// The image's ID under the reference before this run.
    pub id_before: Option<String>,
    /// The image's ID under the reference after the load.
    pub id_loaded: Option<String>,
    /// The second reference.
    pub tag: Option<String>,
    /// One line for each container that did not exit by itself. The others are gone (`--rm`).
    pub containers: Vec<String>,
}

impl Cleanup {
    pub fn new(image: &DistImage) -> Self {
        Self {
            archive: image.path.clone(),
            reference: image.archive.reference.clone(),
            id_before: None,
            id_loaded: None,
            tag: None,
            containers: Vec::new(),
        }
    }

    /// The list, ready to be printed.
    pub fn report(&self) -> String {
        let lines: Vec<String> = self.lines().iter().map(|line| format!("  {line}\n")).collect();
        format!("remaining after this run:\n{}", lines.concat())
    }

    /// What remains, a line each.
    pub fn lines(&self) -> Vec<String> {
        let reference = &self.reference;
        let mut lines = Vec::new();
        if let Some(id) = &self.id_loaded {
            let names = self.tag.iter().fold(reference.clone(), |names, tag| format!("{names} {tag}"));
            let existed = if self.id_before.as_ref() == Some(id) { ", existed before this run" } else { "" };
            lines.push(format!("image {names} ({id}){existed}; remove it: docker rmi {names}"));
            if let Some(old) = self.id_before.as_ref().filter(|old| *old != id) {
                lines.push(format!("image {old}, formerly {reference}; remove it: docker rmi {old}"));
            }
        } else {
            lines.push("nothing in an engine: the image was not loaded".into());
        }
        lines.extend(self.containers.iter().cloned());
        if self.id_loaded.is_some() && self.containers.is_empty() {
            lines.push("no container".into());
        }
        lines.push(format!("the archive {}", self.archive.display()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id_before: Option<&str>, id_loaded: Option<&str>) -> String {
        Cleanup {
            archive: "dist/inferd.docker.tar".into(),
            reference: "inferd:0.1.0".into(),
            id_before: id_before.map(String::from),
            id_loaded: id_loaded.map(String::from),
            tag: Some("inferd:mine".into()),
            containers: Vec::new(),
        }
        .report()
    }

    #[test]
    fn names_the_archive_when_nothing_was_loaded() {
        insta::assert_snapshot!(report(None, None), @r"
        remaining after this run:
          nothing in an engine: the image was not loaded
          the archive dist/inferd.docker.tar
        ");
    }

    #[test]
    fn lists_an_image_that_lost_its_reference() {
        insta::assert_snapshot!(report(Some("sha256:old"), Some("sha256:new")), @r"
        remaining after this run:
          image inferd:0.1.0 inferd:mine (sha256:new); remove it: docker rmi inferd:0.1.0 inferd:mine
          image sha256:old, formerly inferd:0.1.0; remove it: docker rmi sha256:old
          no container
          the archive dist/inferd.docker.tar
        ");
    }

    #[test]
    fn marks_an_image_that_existed_before() {
        insta::assert_snapshot!(report(Some("sha256:same"), Some("sha256:same")), @r"
        remaining after this run:
          image inferd:0.1.0 inferd:mine (sha256:same), existed before this run; remove it: docker rmi inferd:0.1.0 inferd:mine
          no container
          the archive dist/inferd.docker.tar
        ");
    }
}
