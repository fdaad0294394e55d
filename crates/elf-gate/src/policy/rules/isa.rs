//! The rule on instruction-set extensions. It decodes all code, so only a policy with its key enables it.

use std::collections::BTreeSet;

use disasm::{Baseline, FunctionFacts, beyond_baseline};

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::symbols::display_name;
use crate::policy::stage::Stage;
use elf_facts::patterns::Patterns;

rules! {
    "isa-baseline" at COMPILED, enabled by "`isa_baseline`: `x86-64-v1` to `x86-64-v4`, `armv8-a`, `armv8.1-a` and features such as `avx2`; `isa_dispatched` lists functions that are called after a check of the processor" if |policy| !policy.isa_baseline.is_empty() => baseline {
        detects: "an instruction beyond the baseline, outside of the functions that are declared as dispatched; of aarch64 only LSE and SVE. In a linked file, also a declaration that no function needs",
        rationale: "one object that was compiled for the machine of the build ends with SIGILL on an older one, at the first call and not at the start",
        incident: "RocksDB's build script without PORTABLE=1 passes `-march=native`: the program starts on the build machine and ends with SIGILL on others (RocksDB INSTALL.md)",
        other_tools: "`objdump -d` shows the instructions; elfx86exts lists extensions of a whole file, without functions; the loader of glibc compares x86-64 levels in notes that few compilers write",
        fix: "remove `-march=native` and `-C target-cpu` from the build of that object; add a function that is called after a check of the processor to `isa_dispatched`; remove a pattern that matches nothing: it hides the next function of that name",
    }
}

fn baseline(input: &RuleInput) -> CheckResult {
    let names = &input.policy.isa_baseline;
    let dispatched = &input.policy.isa_dispatched;
    let in_use = if dispatched.is_empty() { "" } else { ", each of which is in use" };
    let expected = format!("at most {} outside of dispatched functions{in_use}", names.join(" + "));
    let Some(bytes) = input.evidence.own_bytes else {
        let hint = "pass the bytes of the file as evidence";
        return CheckResult::cannot_tell(expected, "the bytes of the file are not given", hint);
    };
    let code = Baseline::parse(names.iter().map(String::as_str))
        .map_err(|error| error.to_string())
        .and_then(|baseline| beyond_baseline(bytes, &baseline).map_err(|problem| problem.to_string()));
    let code = match code {
        Ok(code) => code,
        Err(problem) => {
            let hint = "name a level of the machine in `isa_baseline`, such as `x86-64-v2` or `armv8-a`";
            return CheckResult::cannot_tell(expected, problem, hint);
        }
    };
    if !code.has_symbols {
        let hint = "judge the linked file, before `strip`";
        return CheckResult::cannot_tell(expected, "no .symtab: functions have no names", hint);
    }
    let patterns = Patterns::of(dispatched);
    let mut used = BTreeSet::new();
    // Several functions may have one address, for example after identical code folding; one declared name is enough.
    let mut is_dispatched = |function: &&FunctionFacts| {
        let mut is_declared = false;
        for name in &function.names {
            patterns.matching(name.as_bytes(), &mut |pattern| {
                is_declared = true;
                used.insert(pattern);
            });
        }
        is_declared
    };
    let mut violations: Vec<String> =
        code.functions.iter().filter(|function| !is_dispatched(function)).map(violation).collect();
    let undecodable: Vec<String> = code
        .undecodable
        .iter()
        .filter(|function| !is_dispatched(function))
        .map(|function| format!("`{}` at {:#x}", name(function), function.address))
        .collect();
    // An object is a part of a program: it has only some of the functions.
    if input.stage == Stage::Linked {
        let unused = dispatched.iter().filter(|pattern| !used.contains(pattern.as_str()));
        violations.extend(unused.map(|pattern| {
            format!("`{pattern}` of `isa_dispatched` matches no function beyond the baseline")
        }));
    }
    if violations.is_empty() && !undecodable.is_empty() {
        let hint =
            "look at the code with `objdump -d`; add a function that contains data to `isa_dispatched`";
        return CheckResult::cannot_tell(
            expected,
            format!("bytes that are no known instruction: {}", list(&undecodable)),
            hint,
        );
    }
    CheckResult::pass_if_none(violations, expected)
}

fn violation(function: &FunctionFacts) -> String {
    let FunctionFacts { address, mnemonic, features, count, .. } = function;
    let more = if *count > 1 { format!(", and {} more", count - 1) } else { String::new() };
    format!("`{}`: `{mnemonic}` at {address:#x} needs {}{more}", name(function), features.join("+"))
}

fn name(function: &FunctionFacts) -> String {
    function.names.first().map_or_else(|| "(no symbol)".into(), |name| display_name(name.as_bytes()))
}
