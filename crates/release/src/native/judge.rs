//! What an archive must show before anybody may link it: what the configuration wrote, the patches in the code of their
//! functions, every chosen kernel with its registers, and the facts of [`archive_facts`]. All by data of the library.

use std::path::Path;

use anyhow::Context;

use super::LibraryPlan;
use crate::failure::Failure;
use crate::vendor::archive_facts::{self, Expected};
use crate::vendor::build::{Configured, fits};
use crate::vendor::kernels::{ExpectedKernels, kernel_violations};

/// What was proved, in sentences. `tree` is the one that was compiled, `paths` are those of the machine.
pub fn judge(
    library: &LibraryPlan,
    tree: &Path,
    archive: &[u8],
    paths: &[String],
    log: &Path,
) -> anyhow::Result<Vec<String>> {
    let build = library.build();
    let mut violations = Vec::new();
    for configured in &build.configured {
        let path = tree.join(&configured.file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        violations.extend(configured_violations(configured, &text));
    }
    let expected: Vec<ExpectedKernels> = library
        .kernels
        .iter()
        .filter_map(|name| {
            let set = build.kernels.get(name)?;
            Some(ExpectedKernels {
                core: name.clone(),
                functions: set.functions.clone(),
                vectors_at_least: set.vectors,
            })
        })
        .collect();
    let threads_max = u64::from(library.threads_max.unwrap_or(0));
    let facts = archive_facts::read(archive, paths)?;
    violations.extend(archive_facts::violations(
        &facts,
        &Expected {
            undefined: &build.undefined,
            functions: &build.functions,
            sizes: build
                .sizes
                .iter()
                .map(|size| (size.member.as_str(), size.symbol.as_str(), size.bytes_per_thread * threads_max))
                .collect(),
        },
    ));
    violations.extend(library.vendored.archive_violations(archive)?);
    violations.extend(kernel_violations(archive, &expected)?);
    if !violations.is_empty() {
        return Err(Failure::new(format!(
            "the archive of {} does not show what was asked for",
            library.name
        ))
        .expected("what build.toml and the guards say")
        .found(violations.join("\n"))
        .hint(format!("read the log of the native build, {}", log.display()))
        .into());
    }
    let patches =
        library.vendored.patches().map(|patch| format!("patch {} is in the object code", patch.name));
    let kernels = expected.iter().map(|kernels| {
        format!(
            "{}: {} with {:?} registers",
            kernels.core,
            kernels.functions.join(", "),
            kernels.vectors_at_least
        )
    });
    let members = format!(
        "{} members: no executable stack, no time, no user, no path of this machine; {} symbols wanted, all declared",
        facts.members.len(),
        facts.undefined.len()
    );
    let sizes = build
        .sizes
        .iter()
        .map(|size| format!("{} of {} is for {threads_max} threads", size.symbol, size.member));
    Ok(patches.chain(kernels).chain(sizes).chain([members]).collect())
}

fn configured_violations(configured: &Configured, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for wanted in &configured.lines {
        if !lines.iter().any(|line| fits(wanted, line)) {
            found.push(format!(
                "{}: expected the line `{wanted}`, not found; {}",
                configured.file, configured.hint
            ));
        }
    }
    for never in &configured.never {
        if let Some(line) = lines.iter().find(|line| fits(never, line)) {
            found.push(format!(
                "{}: expected no line `{never}`, found `{line}`; {}",
                configured.file, configured.hint
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_configuration_are_asked_for() {
        let configured = Configured {
            file: "config.h".into(),
            lines: vec!["#define CORE_generic".into()],
            never: vec!["NO_AVX*".into()],
            hint: "look".into(),
        };
        assert_eq!(configured_violations(&configured, "#define CORE_generic\n"), Vec::<String>::new());
        let found = configured_violations(&configured, "#define CORE_ZEN\nNO_AVX512=1\n");
        assert_eq!(
            found,
            [
                "config.h: expected the line `#define CORE_generic`, not found; look",
                "config.h: expected no line `NO_AVX*`, found `NO_AVX512=1`; look"
            ]
        );
    }
}
