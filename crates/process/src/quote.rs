use std::ffi::OsStr;
use std::process::Command;

/// The command as a shell takes it: folder, changed variables, program, arguments.
pub fn quote(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir() {
        words.push(format!("cd {} &&", quote_word(folder.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        // A variable that the reader's shell has already only buries the command, and may hold the password of a proxy or
        // registry.
        let known = value.is_some() && std::env::var_os(name).as_deref() == value;
        if let Some(value) = value.filter(|_| !known) {
            words.push(format!("{}={}", name.to_string_lossy(), quote_word(value)));
        }
    }
    words.push(quote_word(command.get_program()));
    words.extend(command.get_args().map(quote_word));
    words.join(" ")
}

fn quote_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    // A NUL cannot be in an argument: the command would not start.
    shlex::try_quote(&word).map_or_else(|_| word.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn omits_variables_that_the_shell_has() {
        let path = std::env::var_os("PATH").unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg("true");
        command.env_clear().env("PATH", path).env("MUSLIN_X", "a b");
        assert_eq!(quote(&command), "MUSLIN_X='a b' sh -c true");
    }

    #[test]
    fn quotes_what_a_shell_would_split_or_expand() {
        let mut command = Command::new("/bin/echo");
        command.args(["a b", "", "it's", "$HOME", "plain-1.0/x=y"]).current_dir("/tmp/a b");
        assert_eq!(quote(&command), "cd '/tmp/a b' && /bin/echo 'a b' '' \"it's\" '$HOME' 'plain-1.0/x=y'");
    }
}
