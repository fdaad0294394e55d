//! The files of the release in this checkout: linked, stripped, packed.

use std::path::PathBuf;

use diag::Diagnostic;
use elf_gate::Stage;
use release::gate;
use release::plan::Plan;
use store::Digest;

use super::codes::NO_RELEASE;
use super::subject::{DebugFile, Gate, Parent, Subject};

/// Names of the subjects, in their order.
pub const NAMES: [&str; 3] = ["linked", "stripped", "packed"];

pub fn subjects(plan: &Plan) -> anyhow::Result<[Subject; 3]> {
    let [name_of_linked, name_of_stripped, name_of_packed] = NAMES;
    let dist = |name: &str| plan.paths.dist.join(name);
    let linked = plan.paths.work.join("linked").join(&plan.config.product.name);
    let stripped = read(dist(&plan.names.unpacked))?;
    let debug_bytes = read(dist(&plan.names.debug))?;
    let debug = DebugFile {
        name: plan.names.debug.clone(),
        facts: elf_gate::inspect(&debug_bytes)?,
        bytes: debug_bytes,
    };
    let parent =
        Parent { facts: elf_gate::inspect(&stripped)?, sha256: Digest::of(&stripped).as_str().to_string() };
    Ok([
        subject(plan, name_of_linked, linked.clone(), read(linked)?, Stage::Linked),
        Subject {
            gate: Gate { debug: Some(debug), ..gate_of(plan, Stage::Stripped) },
            ..subject(plan, name_of_stripped, dist(&plan.names.unpacked), stripped, Stage::Stripped)
        },
        Subject {
            gate: Gate { parent: Some(parent), ..gate_of(plan, Stage::Packed) },
            ..subject(
                plan,
                name_of_packed,
                dist(&plan.names.packed),
                read(dist(&plan.names.packed))?,
                Stage::Packed,
            )
        },
    ])
}

fn subject(plan: &Plan, name: &str, path: PathBuf, bytes: Vec<u8>, stage: Stage) -> Subject {
    let prove = &plan.config.prove;
    let contains = prove
        .start_contains
        .replace("{product}", &plan.config.product.name)
        .replace("{version}", &plan.version);
    Subject {
        name: name.into(),
        path,
        bytes,
        args: prove.start_args.iter().map(Into::into).collect(),
        contains,
        gate: gate_of(plan, stage),
    }
}

fn gate_of(plan: &Plan, stage: Stage) -> Gate {
    Gate { stage, policy: gate::policy(&plan.config, &plan.target, stage), debug: None, parent: None }
}

fn read(path: PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(&path).map_err(|error| {
        Diagnostic::new(&NO_RELEASE, "a file of the release cannot be read")
            .file(path)
            .cause(error)
            .hint("cargo xtask dist")
            .into()
    })
}
