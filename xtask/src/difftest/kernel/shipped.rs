//! The files of the release in this checkout: linked, stripped, packed.

use std::path::PathBuf;

use diag::Diagnostic;
use elf_gate::Stage;
use release::gate;
use release::plan::Plan;
use store::Digest;

use super::codes::NO_RELEASE;
use super::test_program::{DebugFile, Gate, Parent, TestProgram};

/// Names of the programs, in their order.
pub const NAMES: [&str; 3] = ["linked", "stripped", "packed"];

pub fn programs(plan: &Plan) -> anyhow::Result<[TestProgram; 3]> {
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
        test_program(plan, name_of_linked, linked.clone(), read(linked)?, Stage::Linked),
        TestProgram {
            gate: Gate { debug: Some(debug), ..gate_of(plan, Stage::Stripped) },
            ..test_program(plan, name_of_stripped, dist(&plan.names.unpacked), stripped, Stage::Stripped)
        },
        TestProgram {
            gate: Gate { parent: Some(parent), ..gate_of(plan, Stage::Packed) },
            ..test_program(
                plan,
                name_of_packed,
                dist(&plan.names.packed),
                read(dist(&plan.names.packed))?,
                Stage::Packed,
            )
        },
    ])
}

fn test_program(plan: &Plan, name: &str, path: PathBuf, bytes: Vec<u8>, stage: Stage) -> TestProgram {
    let prove = &plan.config.prove;
    let contains = prove
        .start_contains
        .replace("{product}", &plan.config.product.name)
        .replace("{version}", &plan.version);
    TestProgram {
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
