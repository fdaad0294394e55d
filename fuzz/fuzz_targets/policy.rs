//! Any bytes as the file that a policy is derived from: the policy parses, its own file passes it, and it is as strict as the
//! file allows. The first byte selects the stage.
#![no_main]

use elf_gate::policy::{PolicyDocument, strictest};
use elf_gate::{Evidence, Stage, Verdict, inspect, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let Ok(facts) = inspect(bytes) else { return };
    let stage = match Stage::ALL.get(usize::from(choice & 7)) {
        Some(stage) => *stage,
        None => Stage::detect(&facts).0,
    };
    let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
    let table = strictest(&facts, stage, &evidence);
    let text = table.to_text("every");
    let document = PolicyDocument::parse(&text)
        .unwrap_or_else(|problems| panic!("the gate refuses its own policy: {problems:?}\n{text}"));
    for outcome in judge(&facts, stage, &document.at(stage), &evidence) {
        assert_eq!(outcome.effective(), Verdict::Pass, "the file fails its own policy: {outcome:?}\n{text}");
        // Without an exception in the policy the verdict itself must be a pass.
        let is_excepted = table.exceptions.iter().any(|exception| exception.rule == outcome.rule);
        assert!(
            is_excepted || outcome.verdict == Verdict::Pass,
            "an exception that is not stated: {outcome:?}"
        );
    }
    for (preset, _) in elf_gate::policy::PRESETS {
        let policy = PolicyDocument::preset(preset).expect("presets parse").at(stage);
        for outcome in judge(&facts, stage, &policy, &evidence) {
            assert!(outcome.verdict == Verdict::Pass || !outcome.hint.is_empty(), "no hint: {outcome:?}");
        }
    }
});
