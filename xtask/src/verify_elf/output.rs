//! Where reports go: stdout, files, and the page of a GitHub Actions run.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use clap::ValueEnum;
use elf_gate::report::{Report, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
    Sarif,
    Junit,
    Github,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
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

pub fn render(report: &Report, format: Format, style: Style) -> anyhow::Result<String> {
    Ok(match format {
        Format::Human => report.to_human(style),
        Format::Json => report.to_json()?,
        Format::Sarif => report.to_sarif()?,
        Format::Junit => report.to_junit(),
        Format::Github => report.to_github(),
    })
}

pub fn write_files(report: &Report, files: &[ReportFile]) -> anyhow::Result<()> {
    for ReportFile { format, path } in files {
        let text = render(report, *format, Style { color: false, shows_passes: true })?;
        write_whole(path, text.as_bytes())
            .with_context(|| format!("cannot write the report `{}`", path.display()))?;
    }
    Ok(())
}

/// The file appears whole or not at all; what is not a file (`/dev/stderr`) is written to as it is.
fn write_whole(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    if path.exists() && !path.is_file() {
        return Ok(std::fs::write(path, text)?);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::Builder::new().prefix(".staging-").tempfile_in(folder)?;
    staged.write_all(text)?;
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    staged.persist(path)?;
    Ok(())
}

/// GitHub Actions shows what is appended to the file that it names; elsewhere there is no such file.
pub fn append_step_summary(report: &Report) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let append = || {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)?
            .write_all(report.to_step_summary().as_bytes())
    };
    append().with_context(|| {
        format!("cannot append to `{}`, which GITHUB_STEP_SUMMARY names", PathBuf::from(&path).display())
    })
}

pub fn style(color: Color, shows_passes: bool) -> Style {
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    Style { color, shows_passes }
}

/// A reader that went away (`| head`) is no error of ours.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}
