//! The rule on the loops of compute kernels. It decodes the functions that a policy names.

use disasm::{FunctionLoops, VectorLoop, VectorWidth, vector_loops};
use elf_facts::patterns::Patterns;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::symbols::display_name;

rules! {
    "vector-loops" at COMPILED, enabled by "`vector_loops`: a table from a pattern of functions to an instruction and its registers, such as `vfmadd231ps zmm`" if |policy| !policy.vector_loops.is_empty() => loops {
        detects: "kernels of which no loop without calls and branches has the instruction, and loops with it that load and store vector registers on the stack; of x86-64 only. Instances of a generic function have one name: one of them must have the instruction",
        rationale: "another version of a compiler, or a small change of the source, makes a kernel several times slower, and its results stay the same",
        incident: "LLVM spilled accumulators of tiles that need all 32 registers; the program computed the same at a fraction of the speed (llvm/llvm-project#62527)",
        other_tools: "`objdump -d` shows the loop; cargo-show-asm shows that of one function; neither judges it",
        fix: "look at the loop with `objdump -d`; use fewer accumulators, or compile the function with the instruction set in `#[target_feature]`",
    }
}

fn loops(input: &RuleInput) -> CheckResult {
    let expected =
        format!("{} kernels with their instruction and without spills", input.policy.vector_loops.len());
    let Some(bytes) = input.evidence.own_bytes else {
        let hint = "pass the bytes of the file as evidence";
        return CheckResult::cannot_tell(expected, "the bytes of the file are not given", hint);
    };
    let mut violations = Vec::new();
    for (pattern, wanted) in &input.policy.vector_loops {
        let Some((mnemonic, width)) = parse(wanted) else { continue };
        let patterns = Patterns::of(std::slice::from_ref(pattern));
        let functions = match vector_loops(bytes, |name| patterns.match_any(name)) {
            Ok(functions) => functions,
            Err(problem) => {
                let hint = "remove `vector_loops` from the policy of this machine";
                return CheckResult::cannot_tell(expected, problem.to_string(), hint);
            }
        };
        let with: Vec<(&FunctionLoops, &VectorLoop)> = functions
            .iter()
            .flat_map(|function| function.loops.iter().map(move |found| (function, found)))
            .filter(|(_, found)| found.count(mnemonic, width) > 0)
            .collect();
        if functions.is_empty() {
            violations.push(format!("no function matches `{pattern}`"));
        } else if with.is_empty() {
            violations.push(format!("no loop of straight code of `{pattern}` has `{wanted}`"));
        }
        violations.extend(with.iter().filter_map(|(function, found)| spills(function, found)));
    }
    CheckResult::pass_if_none(violations, expected)
}

fn spills(function: &FunctionLoops, found: &VectorLoop) -> Option<String> {
    let name = function.names.first().map_or_else(String::new, |name| display_name(name.as_bytes()));
    let spills: Vec<String> = found.spills.iter().map(|address| format!("{address:#x}")).collect();
    (!spills.is_empty()).then(|| format!("`{name}`: vector registers on the stack at {}", list(&spills)))
}

/// The mnemonic and the registers of a value of `vector_loops`.
pub(crate) fn parse(wanted: &str) -> Option<(&str, VectorWidth)> {
    let (mnemonic, width) = wanted.split_once(' ')?;
    let width = match width {
        "xmm" => VectorWidth::Xmm,
        "ymm" => VectorWidth::Ymm,
        "zmm" => VectorWidth::Zmm,
        _ => return None,
    };
    Some((mnemonic, width)).filter(|_| !mnemonic.is_empty())
}
