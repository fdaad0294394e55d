//! Destinations of a report: stdout, files, and the summary page of a GitHub Actions run.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use diag::Diagnostic;

use crate::cli::environment::Environment;
use crate::codes;
use crate::report::{GateReport, Style};

/// Format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a terminal.
    Human,
    /// JSON, as schemas/elf-gate-report-1.schema.json describes it.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
}

/// Use of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    pub(super) fn is_on(self, environment: &Environment) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => environment.use_color,
        }
    }
}

/// `FORMAT=PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    format: Format,
    path: PathBuf,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<ReportFile, String> {
        let (format, path) =
            text.split_once('=').ok_or("expected FORMAT=PATH, such as `sarif=gate.sarif`")?;
        if path.is_empty() {
            return Err(format!("`{text}` names no file"));
        }
        let format = <Format as ValueEnum>::from_str(format, false).map_err(|_| {
            format!("unknown format `{format}`: expected human, json, sarif, junit or github")
        })?;
        Ok(ReportFile { format, path: path.into() })
    }
}

pub(super) fn render(report: &GateReport, format: Format, style: Style) -> Result<String, Diagnostic> {
    match format {
        Format::Human => Ok(report.to_human(style)),
        Format::Json => report.to_json().map_err(not_rendered),
        Format::Sarif => report.to_sarif().map_err(not_rendered),
        Format::Junit => Ok(report.to_junit()),
        Format::Github => Ok(report.to_github()),
    }
}

fn not_rendered(error: serde_json::Error) -> Diagnostic {
    Diagnostic::new(&codes::REPORT_NOT_WRITTEN, "cannot render the report").cause(error)
}

/// Writes every file, and returns the errors.
pub(super) fn write_files(report: &GateReport, files: &[ReportFile]) -> Vec<Diagnostic> {
    let write = |ReportFile { format, path }: &ReportFile| {
        let text = render(report, *format, Style { color: false, shows_passes: true })?;
        write_atomically(path, text.as_bytes()).map_err(|error| {
            let message = format!("cannot write the report `{}`", path.display());
            Diagnostic::new(&codes::REPORT_NOT_WRITTEN, message)
                .cause(error)
                .hint(codes::fix(&codes::REPORT_NOT_WRITTEN))
        })
    };
    files.iter().filter_map(|file| write(file).err()).collect()
}

/// Replaces a regular file by a rename, so that readers never see a part of it; writes to devices (`/dev/stderr`) directly.
fn write_atomically(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if path.exists() && !path.is_file() {
        return std::fs::write(path, text);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::Builder::new().prefix(".staging-").tempfile_in(folder)?;
    staged.write_all(text)?;
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    staged.persist(path)?;
    Ok(())
}

/// Writes a file that does not exist yet.
pub(super) fn write_new(path: &Path, text: &[u8]) -> Result<(), Diagnostic> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created.and_then(|mut file| file.write_all(text)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => {
            Err(Diagnostic::new(&codes::REPORT_NOT_WRITTEN, format!("cannot write `{}`", path.display()))
                .cause(error)
                .hint(codes::fix(&codes::REPORT_NOT_WRITTEN)))
        }
    }
}

/// The error for a file that exists already.
pub(super) fn exists(path: &Path) -> Diagnostic {
    Diagnostic::new(&codes::USAGE, format!("`{}` exists already", path.display())).hint(
        "name another file, or remove this one: a policy is not replaced, because it may have been edited",
    )
}

/// Appends the summary to the file that GitHub Actions names.
pub(super) fn append_step_summary(report: &GateReport, path: &Path) -> Result<(), Diagnostic> {
    let append = || {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(report.to_step_summary().as_bytes())
    };
    append().map_err(|error: std::io::Error| {
        let message = format!("cannot append to `{}`, the value of GITHUB_STEP_SUMMARY", path.display());
        Diagnostic::new(&codes::REPORT_NOT_WRITTEN, message)
            .cause(error)
            .hint(codes::fix(&codes::REPORT_NOT_WRITTEN))
    })
}

/// Writes to stdout. A closed pipe (`| head`) is not an error.
pub(super) fn print(out: &mut dyn Write, text: &str) -> Result<(), Diagnostic> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Diagnostic::new(&codes::REPORT_NOT_WRITTEN, "cannot write to stdout").cause(error))
        }
        _ => Ok(()),
    }
}
