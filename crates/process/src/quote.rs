//! Commands as text for a shell.

use std::ffi::OsStr;
use std::process::Command;

/// The command for a shell: folder, changed variables, program, arguments.
#[expect(
    clippy::disallowed_methods,
    reason = "compares with what a shell of the user has; nothing depends on the value"
)]
pub fn quote(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir() {
        words.push(format!("cd {} &&", quote_word(folder.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        // Variables that the shell of the reader already has are omitted: they may hold the password of a proxy or registry.
        let is_known = value.is_some() && std::env::var_os(name).as_deref() == value;
        if let Some(value) = value.filter(|_| !is_known) {
            words.push(format!("{}={}", name.to_string_lossy(), quote_word(value)));
        }
    }
    words.push(quote_word(command.get_program()));
    words.extend(command.get_args().map(quote_word));
    words.join(" ")
}

fn quote_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    // An argument cannot contain NUL: the command would not start.
    shlex::try_quote(&word).map_or_else(|_| word.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a variable of this process is the input")]
    fn omits_variables_of_the_current_environment() {
        let path = std::env::var_os("PATH").unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg("true");
        command.env_clear().env("PATH", path).env("MUSLIN_X", "a b");
        assert_eq!(quote(&command), "MUSLIN_X='a b' sh -c true");
    }

    #[test]
    fn quotes_words_that_a_shell_would_split_or_expand() {
        let mut command = Command::new("/bin/echo");
        command.args(["a b", "", "it's", "$HOME", "plain-1.0/x=y"]).current_dir("/tmp/a b");
        assert_eq!(quote(&command), "cd '/tmp/a b' && /bin/echo 'a b' '' \"it's\" '$HOME' 'plain-1.0/x=y'");
    }
}
