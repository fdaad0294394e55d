//! What a rule is for, told to somebody who has just been stopped by it.

use crate::policy::Rule;

/// A story in which the rule would have stopped a release. `incident`: it happened, to us or in a public report that is
/// named; `example`: the way in which it comes about.
type Story = (&'static str, &'static str, &'static str);

const INCIDENT: &str = "incident";
const EXAMPLE: &str = "example";

const STORIES: &[Story] = &[
    (
        "machine",
        EXAMPLE,
        "the layer of an arm64 image holds the amd64 binary of the stage before: the build passes, and `exec format \
         error` comes on the first host that pulls it",
    ),
    (
        "stack-size",
        INCIDENT,
        "OpenBLAS 0.3.34 linked statically on musl: a GEMM of 1024x1024 called from a thread with default attributes \
         dies with SIGSEGV at 128 KiB of stack and passes at 8 MiB; the flag stood in a config file that RUSTFLAGS in \
         the environment replaces without a word",
    ),
    (
        "stack-not-executable",
        INCIDENT,
        "wheels that bundle OpenBLAS with kernels lacking .note.GNU-stack (auditwheel#634): hosts that forbid an \
         executable stack refuse to load them",
    ),
    (
        "no-writable-executable-segment",
        EXAMPLE,
        "a linker script merges .text and .data into one segment: every overflow in .data can then write code",
    ),
    (
        "no-interpreter",
        EXAMPLE,
        "a `static` binary is linked as a PIE with the host's loader: `no such file or directory` in the scratch \
         image, although the file is there",
    ),
    (
        "no-needed",
        EXAMPLE,
        "a build script finds the host's libssl by pkg-config: the binary works on the machine that built it and on \
         no other",
    ),
    (
        "required-symbols",
        EXAMPLE,
        "a renamed feature flag leaves the BLAS back end out: the release is correct and many times slower",
    ),
    (
        "forbidden-symbols",
        INCIDENT,
        "Debian's libgcc_eh in a musl link asks for `_dl_find_object`, which only glibc has: unwinding cannot work",
    ),
    (
        "build-id",
        EXAMPLE,
        "two builds of one version are deployed, and the core dump of one of them matches no debug file",
    ),
    (
        "not-packed",
        EXAMPLE,
        "a file is packed twice, or a packed file is taken for the stripped one and judged as such",
    ),
    (
        "stripped",
        EXAMPLE,
        "a release carries .debug_line with the paths and user names of the machine that built it",
    ),
    (
        "debug-file-matches",
        EXAMPLE,
        "the debug file comes from the build before: the debugger warns of the CRC and names wrong lines",
    ),
    (
        "packed-by-upx",
        INCIDENT,
        "stubs of UPX 5 need memfd_create and fail on hosts without it (upx#929); the packer changes with the build \
         image",
    ),
    (
        "upx-structure",
        INCIDENT,
        "a file whose trailer was cut off still starts, while `upx -t` and `upx -d` cannot read it any more",
    ),
    (
        "upx-stub-checksum",
        INCIDENT,
        "a stub with one changed byte passes `upx -t`, since UPX never checks that sum, and dies with SIGSEGV at start",
    ),
    (
        "upx-data-checksum",
        EXAMPLE,
        "a bad disk changes a byte of a compressed block: the stub unpacks it and runs what comes out",
    ),
    (
        "inner-machine",
        EXAMPLE,
        "a program of another target is packed into place; what the outer headers say is about the stub",
    ),
    (
        "inner-stack-size",
        INCIDENT,
        "8 MiB written into the header of a packed file: readelf shows them, `upx -t` is content, and threads get \
         128 KiB, because the libc reads the unpacked headers",
    ),
    (
        "inner-stack-not-executable",
        EXAMPLE,
        "the flags of the packed file's own PT_GNU_STACK are edited to look clean; the unpacked ones decide",
    ),
    (
        "inner-no-writable-executable-segment",
        EXAMPLE,
        "a program linked with `-N` is packed: the stub maps its one segment writable and executable",
    ),
    (
        "inner-no-interpreter",
        EXAMPLE,
        "a dynamic program is packed: the packed file shows no PT_INTERP, passes every check for `static`, and fails \
         in the scratch image",
    ),
    (
        "outer-inner-agree",
        EXAMPLE,
        "a tool edits the header of a packed file, which changes nothing at run time and hides what does",
    ),
    (
        "round-trip",
        EXAMPLE,
        "the packed file is made of the build before: all that was judged is true, of another file",
    ),
];

/// Lines for a terminal.
pub fn explain(rule: &Rule) -> String {
    let stages: Vec<&str> = rule.stages.iter().map(|stage| stage.name()).collect();
    let mut text = format!("{} (at {})\n", rule.id, stages.join(", "));
    let mut part = |label: &str, part: &str| text += &format!("  {label:8}  {}\n", wrapped(part, 12));
    part("catches", rule.catches);
    part("why", rule.why);
    if let Some((_, label, story)) = story(rule.id) {
        part(label, story);
    }
    part("fix", rule.fix);
    text
}

/// Why, with the story, in one paragraph.
pub(super) fn why(rule: &Rule) -> String {
    match story(rule.id) {
        Some((_, label, story)) => format!("{}. {label}: {story}.", rule.why),
        None => format!("{}.", rule.why),
    }
}

fn story(id: &str) -> Option<&'static Story> {
    STORIES.iter().find(|(rule, ..)| *rule == id)
}

/// At the width of a terminal, each further line below the first.
fn wrapped(text: &str, indent: usize) -> String {
    const WIDTH: usize = 100;
    let mut out = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            out += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{STORIES, story};
    use crate::policy::{RULES, rule};

    #[test]
    fn every_rule_has_its_story_and_no_story_lost_its_rule() {
        let without: Vec<&str> = RULES.iter().map(|rule| rule.id).filter(|id| story(id).is_none()).collect();
        assert_eq!(without, Vec::<&str>::new(), "rules without a story");
        let orphans: Vec<&str> = STORIES.iter().map(|(id, ..)| *id).filter(|id| rule(id).is_none()).collect();
        assert_eq!(orphans, Vec::<&str>::new(), "stories without a rule");
    }
}
