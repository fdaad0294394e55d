//! API keys from a file, one per line. The name of a key identifies its client in the log and for fair sharing.
//!
//! ```text
//! # name and key, or a key alone
//! search-team  sk-4f1c…
//! sk-9a02…
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use diag::{Diagnostic, Location};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::client::Client;
use crate::codes;

/// A shorter key can be guessed.
const KEY_BYTES_MIN: usize = 16;
const MODE_OTHERS_READ: u32 = 0o004;

/// The keys of the file.
pub struct ApiKeys {
    file: PathBuf,
    current: Mutex<Arc<[Key]>>,
}

struct Key {
    client: Client,
    key: String,
}

impl ApiKeys {
    /// Reads the file.
    pub fn open(file: &Path) -> Result<Self, Diagnostic> {
        Ok(Self { file: file.to_owned(), current: Mutex::new(read(file)?) })
    }

    /// Reads the file again and returns the number of keys. After an error the present keys stay.
    pub fn reload(&self) -> Result<usize, Diagnostic> {
        let keys = read(&self.file)?;
        let count = keys.len();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    /// Number of keys.
    pub fn count(&self) -> usize {
        self.snapshot().len()
    }

    /// Describes permissions of the file that are too wide.
    pub fn warning(&self) -> Option<String> {
        let mode = self.file.metadata().ok()?.permissions().mode();
        let file = self.file.display();
        (mode & MODE_OTHERS_READ != 0).then(|| {
            format!(
                "every user of this machine can read {file} (mode {:03o}); run `chmod o= {file}`",
                mode & 0o777
            )
        })
    }

    /// The client of a key. Compares every key to its end, so that the time is the same for valid and invalid keys. Only the
    /// length of keys is not hidden.
    pub fn client(&self, candidate: &str) -> Option<Client> {
        let keys = self.snapshot();
        let (mut found, mut at) = (Choice::from(0), 0u64);
        for (index, key) in keys.iter().enumerate() {
            let same = key.key.as_bytes().ct_eq(candidate.as_bytes());
            at.conditional_assign(&(index as u64), same);
            found |= same;
        }
        bool::from(found).then(|| keys[at as usize].client.clone())
    }

    fn snapshot(&self) -> Arc<[Key]> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(file: &Path) -> Result<Arc<[Key]>, Diagnostic> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        codes::caused(&codes::INVALID_API_KEYS, "cannot read the API keys", &error).file(file)
    })?;
    parse(&text).map_err(|diagnostic| diagnostic.file(file).hint(codes::fix(&codes::INVALID_API_KEYS)))
}

fn parse(text: &str) -> Result<Arc<[Key]>, Diagnostic> {
    let invalid = |message: &str| Diagnostic::new(&codes::INVALID_API_KEYS, message);
    let mut keys: Vec<Key> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let location = Location { line: index + 1, column: 1 };
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let (name, key) = match words[..] {
            [] => continue,
            [key] => (format!("line-{}", location.line), key),
            [name, key] => (name.to_owned(), key),
            // The words themselves may be parts of a key and are not quoted.
            _ => {
                return Err(invalid("a line of API keys has too many words")
                    .at(location)
                    .expected("`KEY` or `NAME KEY`")
                    .found(format!("{} words", words.len())));
            }
        };
        if key.len() < KEY_BYTES_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("an API key is too short or has invalid characters")
                .at(location)
                .expected(format!("at least {KEY_BYTES_MIN} visible ASCII characters"))
                .found(format!("{} bytes", key.len())));
        }
        let client = Client::from_name(&format!("key {name}"));
        if keys.iter().any(|other| other.key == key) {
            return Err(invalid("an API key is listed twice").at(location));
        }
        keys.push(Key { client, key: key.to_owned() });
    }
    if keys.is_empty() {
        return Err(invalid("the file of API keys holds no key").expected("at least one key"));
    }
    Ok(keys.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<ApiKeys, Diagnostic> {
        Ok(ApiKeys { file: PathBuf::new(), current: Mutex::new(parse(text)?) })
    }

    #[test]
    fn parses_names_comments_and_unnamed_keys() {
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
    fn rejects_files_that_protect_nothing_without_quoting_a_key() {
        let errors: Vec<String> = [
            "",
            "# only a comment\n",
            "short-secret\n",
            "a secretsecretsecret secretsecretsecret",
            "a secretsecretsecret\nb secretsecretsecret",
        ]
        .iter()
        .map(|text| keys(text).err().unwrap().to_string())
        .collect();
        let errors = errors.join("\n");
        assert!(!errors.contains("secret"), "{errors}");
        insta::assert_snapshot!(errors, @r"
        the file of API keys holds no key
          expected: at least one key
        the file of API keys holds no key
          expected: at least one key
        an API key is too short or has invalid characters
          --> :1:1
          expected: at least 16 visible ASCII characters
          found:    12 bytes
        a line of API keys has too many words
          --> :1:1
          expected: `KEY` or `NAME KEY`
          found:    3 words
        an API key is listed twice
          --> :2:1
        ");
    }
}
