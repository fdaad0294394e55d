//! Where the options of `inferd serve` come from: flag, then environment, then file, then default.
//!
//! All four are read by clap under one rule for names: `--batch-tokens` is `INFERD_BATCH_TOKENS` and `batch_tokens`. What
//! the file says takes the place of the built-in default before the command line is read, so there is one parser of values,
//! one check of each, and the precedence cannot differ from option to option.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Table, Value};

use crate::failure::Failure;

pub const COMMAND: &str = "serve";
/// Options about the configuration; they cannot stand in it.
const CONFIG: &str = "config";
const PRINT: &str = "print_config";
const VARIABLES: &str = "INFERD_";
/// Nearer than this, a name is taken for a slip of the pen.
const LIKENESS_MIN: f64 = 0.75;

/// The options as they came out.
#[derive(Debug, Default)]
pub struct Settings {
    pub file: Option<PathBuf>,
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: String,
    /// `None`: decided by the server.
    values: Option<Vec<String>>,
    /// A list in the file.
    many: bool,
    from: String,
}

/// Gives each option of `serve` its variable.
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

/// The file's values as the defaults of the command, if a file is named.
pub fn with_file(command: Command, serve: &ArgMatches) -> Result<Command, Failure> {
    let Some(file) = serve.get_one::<PathBuf>(CONFIG) else { return Ok(command) };
    let fail = |text: String| Failure::message(format_args!("{}: {text}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(error).context(format!("cannot read the configuration {}", file.display()))
    })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        fail(error.to_string().trim_end().to_owned()).hint("Write `option = value`, one a line, as TOML.")
    })?;
    let names = names(&command);
    let mut values = Vec::new();
    // All problems at once, not one a run.
    let mut problems = Vec::new();
    for (key, value) in &table {
        match (names.contains(key), plain(value)) {
            (false, _) => problems.push(unknown("option", key, &names)),
            (true, None) => {
                problems.push(format!("`{key}` must be text, a number, true or false, or a list of texts"))
            }
            (true, Some(plain)) => values.push((key.clone(), plain)),
        }
    }
    if !problems.is_empty() {
        return Err(
            fail(problems.join("; ")).hint("`inferd serve --help` lists the options; write `_` for `-`.")
        );
    }
    Ok(command.mut_subcommand(COMMAND, |mut serve| {
        for (name, values) in values {
            serve = serve.mut_arg(name, |arg| arg.default_values(values));
        }
        serve
    }))
}

/// After the last reading of the command line.
pub fn settings(command: &Command, serve: &ArgMatches) -> Settings {
    let file = serve.get_one::<PathBuf>(CONFIG).cloned();
    // Read a moment ago; which keys it has is all that is asked here.
    let in_file: Table =
        file.as_deref().and_then(|file| std::fs::read_to_string(file).ok()?.parse().ok()).unwrap_or_default();
    let names = names(command);
    let settings = names.iter().map(|name| {
        let values = serve.get_raw(name);
        let values = values.map(|all| all.map(|value| value.to_string_lossy().into_owned()).collect());
        let from = match serve.value_source(name) {
            Some(ValueSource::CommandLine) => format!("--{}", name.replace('_', "-")),
            Some(ValueSource::EnvVariable) => variable(name),
            _ if in_file.contains_key(name) => path_text(file.as_deref()),
            _ => "default".into(),
        };
        let many = command
            .find_subcommand(COMMAND)
            .and_then(|serve| serve.get_arguments().find(|arg| arg.get_id() == name.as_str()))
            .is_some_and(|arg| matches!(arg.get_action(), clap::ArgAction::Append));
        Setting { name: name.clone(), values, many, from }
    });
    Settings { file: file.clone(), settings: settings.collect(), warnings: stray_variables(&names) }
}

fn path_text(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| file.display().to_string())
}

impl Settings {
    /// Who decided on an option: `--flag`, the variable, the file, `default`.
    pub fn origin(&self, name: &str) -> &str {
        self.settings.iter().find(|setting| setting.name == name).map_or("default", |setting| &setting.from)
    }

    /// A file that says the same, each line with its origin. `decided` has what the server makes of options that nobody set.
    pub fn print(&self, decided: &[(&str, String)]) -> String {
        let mut lines = Vec::new();
        for Setting { name, values, many, from } in &self.settings {
            let line = match values {
                Some(values) if *many => {
                    let values: Vec<String> = values.iter().map(|value| text(value)).collect();
                    format!("{name} = [{}]", values.join(", "))
                }
                Some(values) => format!("{name} = {}", scalar(values.first().map_or("", |value| value))),
                None => match decided.iter().find(|(option, _)| option == name) {
                    Some((_, value)) => format!("# {name} = {value}"),
                    None => format!("# {name} is not set"),
                },
            };
            lines.push((line, from));
        }
        let width =
            lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width < 60).max().unwrap_or(0);
        let mut page = String::new();
        for (line, from) in lines {
            let _ = writeln!(page, "{line:width$}  # {from}");
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
    format!("{VARIABLES}{}", id.to_uppercase())
}

/// As the flag would have it.
fn plain(value: &Value) -> Option<Vec<String>> {
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
    let like = |other: &&String| strsim::jaro_winkler(name, other);
    let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    match nearest.filter(|nearest| like(nearest) >= LIKENESS_MIN) {
        Some(nearest) => format!("there is no {what} `{name}`; did you mean `{nearest}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}

/// Variables that look like ours and are none. Told, not refused: an orchestrator that runs a service named `inferd`
/// sets `INFERD_PORT` and others of its own.
fn stray_variables(names: &[String]) -> Vec<String> {
    let known: Vec<String> = names.iter().map(|name| variable(name)).chain([variable(CONFIG)]).collect();
    let ours = std::env::vars_os().filter_map(|(name, _): (OsString, OsString)| name.into_string().ok());
    let strays =
        ours.filter(|name| name.starts_with(VARIABLES) && !known.contains(name) && !of_service(name));
    strays.map(|name| unknown("variable", &name, &known)).collect()
}

/// `INFERD_PORT`, `INFERD_PORT_8080_TCP`, `INFERD_SERVICE_HOST`: what Kubernetes sets.
fn of_service(name: &str) -> bool {
    name == "INFERD_PORT" || name.starts_with("INFERD_PORT_") || name.starts_with("INFERD_SERVICE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_apart_from_another_word() {
        let known = ["queue".to_string(), "batch_tokens".into()];
        assert!(unknown("option", "batch-tokens", &known).ends_with("did you mean `batch_tokens`?"));
        assert_eq!(unknown("option", "colour", &known), "there is no option `colour`");
    }

    #[test]
    fn values_become_what_the_flag_would_have() {
        let table: Table =
            "a = 5\nb = \"64 MiB\"\nc = true\nd = [\"x\", \"y\"]\ne = 1.5\nf = [1]".parse().unwrap();
        let of = |key: &str| plain(&table[key]);
        assert_eq!((of("a"), of("b")), (Some(vec!["5".into()]), Some(vec!["64 MiB".into()])));
        assert_eq!((of("c"), of("d")), (Some(vec!["true".into()]), Some(vec!["x".into(), "y".into()])));
        assert_eq!((of("e"), of("f")), (None, None));
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let setting = |name: &str, values: &[&str], many| Setting {
            name: name.into(),
            values: Some(values.iter().map(|value| (*value).into()).collect()),
            many,
            from: "default".into(),
        };
        let settings = vec![
            setting("model", &["a=/m \"x\""], true),
            setting("queue", &["5"], false),
            setting("body_max", &["8 MiB"], false),
            Setting { values: None, ..setting("threads", &[], false) },
        ];
        let page =
            Settings { settings, ..Settings::default() }.print(&[("threads", "2, of the machine".into())]);
        let table: Table = page.parse().unwrap();
        assert_eq!(plain(&table["model"]), Some(vec!["a=/m \"x\"".into()]));
        assert_eq!(
            (plain(&table["queue"]), plain(&table["body_max"])),
            (Some(vec!["5".into()]), Some(vec!["8 MiB".into()]))
        );
        assert!(!table.contains_key("threads") && page.contains("# threads = 2, of the machine"));
    }
}
