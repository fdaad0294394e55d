//! Who may ask: keys from a file, one a line, each with a name for the log and for fairness.
//!
//! ```text
//! # name and key, or a key alone
//! search-team  sk-4f1c…
//! sk-9a02…
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::client::Client;

/// A shorter one is guessed, not known.
const KEY_BYTES_MIN: usize = 16;
const OTHERS_MAY_READ: u32 = 0o004;

pub struct Keys {
    file: PathBuf,
    current: Mutex<Arc<[Key]>>,
}

struct Key {
    client: Client,
    key: String,
}

impl Keys {
    pub fn open(file: &Path) -> Result<Self, String> {
        Ok(Self { file: file.to_owned(), current: Mutex::new(read(file)?) })
    }

    /// From now on the keys that the file has now. After an error the old ones stay.
    pub fn reload(&self) -> Result<usize, String> {
        let keys = read(&self.file)?;
        let count = keys.len();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    pub fn count(&self) -> usize {
        self.snapshot().len()
    }

    /// A reason to worry about the file, if there is one.
    pub fn warning(&self) -> Option<String> {
        let mode = self.file.metadata().ok()?.permissions().mode();
        let file = self.file.display();
        (mode & OTHERS_MAY_READ != 0).then(|| {
            format!(
                "every user of this machine may read {file} (mode {:03o}); `chmod o= {file}`",
                mode & 0o777
            )
        })
    }

    /// Whose key it is. Takes as long for a wrong key as for a right one: each is compared, and to its end. Only the length
    /// of keys shows.
    pub fn client(&self, given: &str) -> Option<Client> {
        let keys = self.snapshot();
        let (mut found, mut at) = (Choice::from(0), 0u64);
        for (index, key) in keys.iter().enumerate() {
            let same = key.key.as_bytes().ct_eq(given.as_bytes());
            at.conditional_assign(&(index as u64), same);
            found |= same;
        }
        bool::from(found).then(|| keys[at as usize].client.clone())
    }

    fn snapshot(&self) -> Arc<[Key]> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(file: &Path) -> Result<Arc<[Key]>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn parse(text: &str) -> Result<Arc<[Key]>, String> {
    let mut keys: Vec<Key> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let (name, key) = match words[..] {
            [] => continue,
            [key] => (format!("line-{number}"), key),
            [name, key] => (name.to_owned(), key),
            // Without the words: they may be parts of a key.
            _ => {
                return Err(format!(
                    "line {number}: expected `KEY` or `NAME KEY`, found {} words",
                    words.len()
                ));
            }
        };
        if key.len() < KEY_BYTES_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "line {number}: a key must have at least {KEY_BYTES_MIN} characters, and only visible ones of ASCII; make one \
                 with `openssl rand -hex 24`"
            ));
        }
        let client = Client::from_name(&format!("key {name}"));
        if keys.iter().any(|other| other.key == key) {
            return Err(format!("line {number}: this key is there already"));
        }
        keys.push(Key { client, key: key.to_owned() });
    }
    if keys.is_empty() {
        return Err("no key in it; with no key nobody could ask anything".into());
    }
    Ok(keys.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Keys, String> {
        Ok(Keys { file: PathBuf::new(), current: Mutex::new(parse(text)?) })
    }

    #[test]
    fn names_comments_and_keys_alone() {
        let keys =
            keys("# all\n\nsearch aaaaaaaaaaaaaaaa # of 2024\n  bbbbbbbbbbbbbbbb\nsearch cccccccccccccccc\n")
                .unwrap();
        assert_eq!(keys.count(), 3);
        let of = |key: &str| keys.client(key).map(|client| client.to_string());
        assert_eq!(of("aaaaaaaaaaaaaaaa"), of("cccccccccccccccc"));
        assert_eq!(of("bbbbbbbbbbbbbbbb").as_deref(), Some("key line-4"));
        for wrong in ["", "aaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaab", "search", "#"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_that_protect_nothing_are_refused_and_no_error_quotes_a_key() {
        for (text, why) in [
            ("", "no key"),
            ("# only a comment\n", "no key"),
            ("short-secret\n", "line 1"),
            ("a secretsecretsecret secretsecretsecret", "found 3 words"),
            ("a secretsecretsecret\nb secretsecretsecret", "line 2"),
        ] {
            let error = keys(text).err().unwrap();
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
    }
}
