//! The Plan as text; `--format json` prints the same as data.

use std::fmt::Write as _;

use super::Plan;

impl Plan {
    /// For terminals.
    pub fn human(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<12} {}", value.replace('\n', "\n             "));
        };
        line("product", format!("{} {} for {}", self.config.product.name, self.version, self.target));
        let dirty = if self.commit.dirty { ", with uncommitted changes" } else { "" };
        line("commit", format!("{}{dirty}", self.commit.id));
        line("epoch", self.commit.epoch_seconds.to_string());
        line("jobs", self.jobs.to_string());
        line("stack size", self.config.stack_size.to_string());
        for library in &self.native {
            let patches = match library.patches.as_slice() {
                [] => "no patch".to_owned(),
                patches => patches.join(", "),
            };
            line(&library.name, format!("{} with {patches}\n{}", library.version, library.options.join(" ")));
        }
        line("rustflags", self.rustflags.join(" "));
        line("cache", self.paths.cache.display().to_string());
        line("tools", self.tools.summaries().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        let stages = self.stages.iter().enumerate().map(|(index, stage)| {
            format!(
                "{:>2}. {:<9} {}\n              {}",
                index + 1,
                stage.name,
                stage.description,
                stage.must_hold
            )
        });
        line("stages", stages.collect::<Vec<_>>().join("\n"));
        line("proofs", self.proofs.join("\n"));
        let names = &self.names;
        let outputs = [
            &names.packed,
            &names.unpacked,
            &names.debug,
            &names.docker_tar,
            &names.oci_tar,
            &names.cyclonedx,
            &names.spdx,
            &names.policy,
            &names.sums,
            &names.manifest,
        ];
        line("outputs", outputs.map(|name| self.paths.dist.join(name).display().to_string()).join("\n"));
        text
    }
}
