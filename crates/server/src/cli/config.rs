//! Sources of the options of `inferd serve`, in order of precedence: flag, environment, file, default.
//!
//! clap reads all four under one naming rule: `--batch-tokens` is `INFERD_BATCH_TOKENS` and `batch_tokens`. Values of
//! the file replace the built-in defaults before the command line is parsed. Each option therefore has one parser and
//! one check, and the precedence is the same for all options.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use diag::Diagnostic;
use toml::{Table, Value};

use crate::codes;

/// The subcommand that has these options.
pub const COMMAND: &str = "serve";
/// Options about the configuration itself; the file cannot contain them.
pub const CONFIG: &str = "config";
const PRINT: &str = "print_config";
const VARIABLE_PREFIX: &str = "INFERD_";

/// The effective options with their sources.
#[derive(Debug, Default)]
pub struct Settings {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// Environment variables that look like typing errors.
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: String,
    /// `None`: the server derives the value.
    values: Option<Vec<String>>,
    is_list: bool,
    source: String,
}

/// Adds the environment variable of each option of `serve`.
pub fn with_variables(command: Command) -> Command {
    command.mut_subcommand(COMMAND, |serve| {
        serve.mut_args(|arg| match arg.get_id().as_str() {
            PRINT | "help" => arg,
            id => {
                let variable = variable(id);
                arg.env(variable).hide_env_values(true)
            }
        })
    })
}

/// Replaces the defaults of the command by the values of the file of `--config`, if there is one.
pub fn with_file(command: Command, serve: &ArgMatches) -> Result<Command, Diagnostic> {
    let Some(file) = serve.get_one::<PathBuf>(CONFIG) else { return Ok(command) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        codes::caused(&codes::INVALID_CONFIG, "cannot read the configuration file", &error).file(file)
    })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let text = error.to_string();
        invalid(file, "the configuration file is not valid TOML").cause(text.trim_end())
    })?;
    let names = names(&command);
    let mut values = Vec::new();
    // All problems are reported together.
    let mut problems = Vec::new();
    for (key, value) in &table {
        match (names.contains(key), to_arguments(value)) {
            (false, _) => problems.push(unknown("option", key, &names)),
            (true, None) => {
                problems
                    .push(format!("`{key}` must be a string, an integer, a boolean or a list of strings"));
            }
            (true, Some(arguments)) => values.push((key.clone(), arguments)),
        }
    }
    if !problems.is_empty() {
        let diagnostic = invalid(file, "the configuration file is invalid");
        return Err(problems.iter().fold(diagnostic, Diagnostic::cause));
    }
    Ok(command.mut_subcommand(COMMAND, |mut serve| {
        for (name, values) in values {
            serve = serve.mut_arg(name, |arg| arg.default_values(values));
        }
        serve
    }))
}

/// Reports a problem of the file.
pub fn invalid(file: &Path, message: &str) -> Diagnostic {
    Diagnostic::new(&codes::INVALID_CONFIG, message).file(file).hint(codes::fix(&codes::INVALID_CONFIG))
}

/// The effective options, from the final parse of the command line.
pub fn settings(command: &Command, serve: &ArgMatches) -> Settings {
    let file = serve.get_one::<PathBuf>(CONFIG).cloned();
    // `with_file` has checked the file; only its keys are needed here.
    let in_file: Table =
        file.as_deref().and_then(|file| std::fs::read_to_string(file).ok()?.parse().ok()).unwrap_or_default();
    let names = names(command);
    let settings = names.iter().map(|name| {
        let values = serve.get_raw(name);
        let values = values.map(|all| all.map(|value| value.to_string_lossy().into_owned()).collect());
        let source = match serve.value_source(name) {
            Some(ValueSource::CommandLine) => format!("--{}", name.replace('_', "-")),
            Some(ValueSource::EnvVariable) => variable(name),
            _ if in_file.contains_key(name) => path_text(file.as_deref()),
            _ => "default".into(),
        };
        let is_list = command
            .find_subcommand(COMMAND)
            .and_then(|serve| serve.get_arguments().find(|arg| arg.get_id() == name.as_str()))
            .is_some_and(|arg| matches!(arg.get_action(), clap::ArgAction::Append));
        Setting { name: name.clone(), values, is_list, source }
    });
    Settings { file: file.clone(), settings: settings.collect(), warnings: stray_variables(&names) }
}

fn path_text(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| file.display().to_string())
}

impl Settings {
    /// The source of an option: `--flag`, the variable, the file, `default`.
    pub fn source(&self, name: &str) -> &str {
        self.settings.iter().find(|setting| setting.name == name).map_or("default", |setting| &setting.source)
    }

    /// A configuration file with these values, each line with its source. `derived` holds values that the server
    /// derives for options without a value.
    pub fn print(&self, derived: &[(&str, String)]) -> String {
        let mut lines = Vec::new();
        for Setting { name, values, is_list, source } in &self.settings {
            let line = match values {
                Some(values) if *is_list => {
                    let values: Vec<String> = values.iter().map(|value| text(value)).collect();
                    format!("{name} = [{}]", values.join(", "))
                }
                Some(values) => format!("{name} = {}", scalar(values.first().map_or("", |value| value))),
                None => match derived.iter().find(|(option, _)| option == name) {
                    Some((_, value)) => format!("# {name} = {value}"),
                    None => format!("# {name} is not set"),
                },
            };
            lines.push((line, source));
        }
        let width =
            lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width < 60).max().unwrap_or(0);
        let mut page = String::new();
        for (line, source) in lines {
            let _ = writeln!(page, "{line:width$}  # {source}");
        }
        page
    }
}

fn names(command: &Command) -> Vec<String> {
    let serve = command.find_subcommand(COMMAND);
    let ids = serve.into_iter().flat_map(Command::get_arguments).map(|arg| arg.get_id().to_string());
    ids.filter(|id| ![CONFIG, PRINT, "help"].contains(&id.as_str())).collect()
}

fn variable(id: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", id.to_uppercase())
}

/// The arguments of the flag with the same meaning.
fn to_arguments(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Boolean(choice) => Some(vec![choice.to_string()]),
        Value::Array(list) => list.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn scalar(value: &str) -> String {
    let bare = value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok();
    if bare { value.to_owned() } else { text(value) }
}

fn text(value: &str) -> String {
    Value::String(value.to_owned()).to_string()
}

fn unknown(what: &str, name: &str, known: &[String]) -> String {
    match diag::nearest(name, known.iter().map(String::as_str)) {
        Some(nearest) => format!("there is no {what} `{name}`; did you mean `{nearest}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}

/// Variables with the prefix that are no option. They cause warnings and no error, because an orchestrator that runs a
/// service named `inferd` sets some of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the configuration of the server; clap reads the known variables"
)]
fn stray_variables(names: &[String]) -> Vec<String> {
    let known: Vec<String> = names.iter().map(|name| variable(name)).chain([variable(CONFIG)]).collect();
    let prefixed = std::env::vars_os().filter_map(|(name, _): (OsString, OsString)| name.into_string().ok());
    let strays = prefixed.filter(|name| {
        name.starts_with(VARIABLE_PREFIX) && !known.contains(name) && !is_service_variable(name)
    });
    strays.map(|name| unknown("variable", &name, &known)).collect()
}

/// Whether Kubernetes sets the variable for a service: `INFERD_PORT`, `INFERD_PORT_8080_TCP`, `INFERD_SERVICE_HOST`.
fn is_service_variable(name: &str) -> bool {
    name == "INFERD_PORT" || name.starts_with("INFERD_PORT_") || name.starts_with("INFERD_SERVICE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_for_a_typing_error_only() {
        let known = ["max_inflight".to_string(), "batch_tokens".into()];
        assert!(unknown("option", "batch-tokens", &known).ends_with("did you mean `batch_tokens`?"));
        assert_eq!(unknown("option", "colour", &known), "there is no option `colour`");
    }

    #[test]
    fn converts_values_to_arguments() {
        let table: Table =
            "a = 5\nb = \"64 MiB\"\nc = true\nd = [\"x\", \"y\"]\ne = 1.5\nf = [1]".parse().unwrap();
        let of = |key: &str| to_arguments(&table[key]);
        assert_eq!((of("a"), of("b")), (Some(vec!["5".into()]), Some(vec!["64 MiB".into()])));
        assert_eq!((of("c"), of("d")), (Some(vec!["true".into()]), Some(vec!["x".into(), "y".into()])));
        assert_eq!((of("e"), of("f")), (None, None));
    }

    #[test]
    fn the_printed_configuration_parses_to_the_same_values() {
        let setting = |name: &str, values: &[&str], is_list| Setting {
            name: name.into(),
            values: Some(values.iter().map(|value| (*value).into()).collect()),
            is_list,
            source: "default".into(),
        };
        let settings = vec![
            setting("model", &["a=/m \"x\""], true),
            setting("max_inflight", &["5"], false),
            setting("max_body_bytes", &["8 MiB"], false),
            Setting { values: None, ..setting("threads", &[], false) },
        ];
        let page =
            Settings { settings, ..Settings::default() }.print(&[("threads", "2, of the machine".into())]);
        let table: Table = page.parse().unwrap();
        assert_eq!(to_arguments(&table["model"]), Some(vec!["a=/m \"x\"".into()]));
        assert_eq!(
            (to_arguments(&table["max_inflight"]), to_arguments(&table["max_body_bytes"])),
            (Some(vec!["5".into()]), Some(vec!["8 MiB".into()]))
        );
        assert!(!table.contains_key("threads") && page.contains("# threads = 2, of the machine"));
    }
}
