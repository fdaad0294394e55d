//! What the verb found: as text line by line while it runs, or as one JSON document at its end.

use diag::{Class, Diagnostic, Diagnostics};
use serde_json::{Value, json};

use super::archive::DistImage;
use super::cleanup::Cleanup;
use super::container::{Container, Exit};
use crate::format::{self, Format};

pub struct DockerReport {
    format: Format,
    image: Value,
    containers: Vec<Value>,
}

impl DockerReport {
    pub fn new(format: Format, image: &DistImage) -> Self {
        let archive = &image.archive;
        let image = json!({
            "archive": image.path,
            "reference": archive.reference,
            "manifest_digest": archive.manifest_digest,
            "image_id": archive.image_id,
            "loaded_as": null,
            "tag": null,
        });
        Self { format, image, containers: Vec::new() }
    }

    fn line(&self, text: &str) -> anyhow::Result<()> {
        format::print_part(self.format, &format!("{text}\n"))
    }

    /// `id` is the one that the engine shows.
    pub fn loaded(&mut self, image: &DistImage, id: Option<&str>) -> anyhow::Result<()> {
        self.image["loaded_as"] = json!(id);
        let archive = &image.archive;
        self.line(&format!("image      {}", archive.reference))?;
        self.line(&format!("manifest   {}  (registries and containerd stores)", archive.manifest_digest))?;
        self.line(&format!("image id   {}  (classic stores)", archive.image_id))?;
        self.line(&format!("loaded as  {}", id.unwrap_or("nothing")))
    }

    pub fn tagged(&mut self, tag: &str) -> anyhow::Result<()> {
        self.image["tag"] = json!(tag);
        self.line(&format!("tag        {tag}"))
    }

    /// Returns the problem.
    pub fn container(
        &mut self,
        container: &Container,
        exit: &Exit,
        result: Result<String, Diagnostic>,
    ) -> anyhow::Result<Option<Diagnostic>> {
        let (name, shown) = match &result {
            Ok(summary) => ("pass", format!("pass: {summary}")),
            Err(problem) if problem.code().class == Class::NotMeasured => {
                ("not measured", "NOT MEASURED".into())
            }
            Err(_) => ("violated", "FAIL".into()),
        };
        let seconds = exit.elapsed.as_secs_f64();
        self.containers.push(json!({
            "task": container.task,
            "result": name,
            "summary": result.as_ref().ok(),
            "exit_code": exit.code,
            "seconds": seconds,
        }));
        self.line(&format!("{:<10} {shown}  ({seconds:.1} s)", container.task))?;
        Ok(result.err())
    }

    /// Prints the document, also after an error. Text has its errors on stderr.
    pub fn finish(self, cleanup: &Cleanup, problems: &Diagnostics) -> anyhow::Result<()> {
        if self.format == Format::Human {
            return Ok(());
        }
        let document = json!({
            "image": self.image,
            "containers": self.containers,
            "remaining": cleanup.lines(),
            "diagnostics": problems,
        });
        format::print(self.format, String::new, document)
    }
}
