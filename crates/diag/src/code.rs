use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// What a code means for the exit status of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A rule was checked and is violated. Exit status 1.
    Violation,
    /// A command line or a configuration file is wrong. Exit status 2.
    Usage,
    /// A tool, a file or the network is missing or failed, so there is no result. Exit status 2.
    Environment,
    /// Something could not be measured; never a pass. Exit status 2.
    NotMeasured,
    /// A signal ended the run. Exit status 130.
    Interrupted,
}

impl Class {
    /// Lower-case name, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Violation => "violation",
            Class::Usage => "usage",
            Class::Environment => "environment",
            Class::NotMeasured => "not-measured",
            Class::Interrupted => "interrupted",
        }
    }
}

/// A label and a text, such as `("fix", "…")`.
pub type Section = (&'static str, &'static str);

/// A kind of problem. Codes are compared by `id`, which never changes its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// Stable, in kebab-case: scripts, waivers and documentation refer to it.
    pub id: &'static str,
    /// Decides the exit status.
    pub class: Class,
    /// One line.
    pub summary: &'static str,
    /// Explanation; the last section is `fix`.
    pub sections: &'static [Section],
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Code {}

/// The explanation as data: code, class, summary, and the sections with label and text.
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Explained {
            label: &'static str,
            text: &'static str,
        }
        let sections: Vec<Explained> =
            self.sections.iter().map(|&(label, text)| Explained { label, text }).collect();
        let mut fields = serializer.serialize_struct("Code", 4)?;
        fields.serialize_field("code", self.id)?;
        fields.serialize_field("class", self.class.name())?;
        fields.serialize_field("summary", self.summary)?;
        fields.serialize_field("sections", &sections)?;
        fields.end()
    }
}

/// Defines codes as statics, and `CODES`, the list of them.
///
/// ```
/// diag::codes! {
///     /// The file is not there.
///     pub MISSING = Environment "missing": "a file is missing" {
///         "cause": "it was removed",
///         "fix": "restore it",
///     }
/// }
/// assert_eq!(CODES[0].id, "missing");
/// ```
#[macro_export]
macro_rules! codes {
    ($($(#[$doc:meta])* pub $name:ident = $class:ident $id:literal: $summary:literal {
        $($label:literal: $text:literal),+ $(,)?
    })+) => {
        $(
            $(#[$doc])*
            pub static $name: $crate::Code = $crate::Code {
                id: $id,
                class: $crate::Class::$class,
                summary: $summary,
                sections: &[$(($label, $text)),+],
            };
        )+
        /// All codes of this list, in their order.
        pub static CODES: &[&$crate::Code] = &[$(&$name),+];
        // A private table is not dead code: `codes!` has one form for all of them.
        const _: &[&$crate::Code] = CODES;
    };
}

/// Columns of the text of [`explain`].
const WIDTH: usize = 100;

/// The explanation of a code for a terminal.
pub fn explain(code: &Code) -> String {
    let mut text = format!("{}: {}\n", code.id, code.summary);
    let indent = code.sections.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 4;
    for (label, section) in code.sections {
        let _ = writeln!(text, "  {label:width$}  {}", wrap(section, indent), width = indent - 4);
    }
    text
}

/// Lines of at most 100 columns; the second and later ones start at column `indent`.
pub fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// A table of codes for the documentation: code, meaning, fix.
pub fn markdown<'a>(codes: impl IntoIterator<Item = &'a Code>) -> String {
    let mut text = String::from("| code | exit | meaning | fix |\n|---|---|---|---|\n");
    for code in codes {
        let section =
            |label: &str| code.sections.iter().find(|(name, _)| *name == label).map_or("", |(_, text)| *text);
        let cell = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let exit = match code.class {
            Class::Violation => 1,
            Class::Usage | Class::Environment | Class::NotMeasured => 2,
            Class::Interrupted => 130,
        };
        let _ =
            writeln!(text, "| `{}` | {exit} | {} | {} |", code.id, cell(code.summary), cell(section("fix")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_a_code_with_aligned_sections() {
        let code = Code {
            id: "x",
            class: Class::Usage,
            summary: "one line",
            sections: &[
                ("cause", "because of that"),
                (
                    "fix",
                    "word word word word word word word word word word word word word word word word word word word word",
                ),
            ],
        };
        assert_eq!(
            explain(&code),
            "x: one line\n  cause  because of that\n  fix    word word word word word word word word word word word word word word word word word word\n         word word\n"
        );
    }

    #[test]
    fn own_codes_are_kebab_case_and_end_in_a_fix() {
        for code in crate::CODES {
            assert!(code.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", code.id);
            assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
        }
    }

    #[test]
    fn markdown_has_one_row_for_each_code() {
        let text = markdown(crate::CODES.iter().copied());
        assert_eq!(text.lines().count(), 2 + crate::CODES.len());
        let row = text.lines().find(|line| line.starts_with("| `disk-full`"));
        assert_eq!(
            row,
            Some(
                "| `disk-full` | 2 | a disk is full | free space (`df -h` shows the disk; target/ and the cache that `cargo xtask doctor` \
                 names are the large folders), or name other folders: `--cache-dir`, `--dist-dir`, TMPDIR |"
            )
        );
    }
}
