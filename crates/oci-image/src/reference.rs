//! Image references: the name of an image in an engine.
//!
//! A user types `inferd:0.1.0`; engines complete it before a lookup, and the index must have the completed form, or a loaded
//! image cannot be found. Digest references are rejected: an image cannot contain its own digest.

/// Host that engines add to a name without one. It is a part of the name; nothing is fetched from it.
const DEFAULT_HOST: &str = "docker.io";
/// Namespace that engines add to a name of one component on the default host.
const DEFAULT_NAMESPACE: &str = "library";

/// Limits of the reference grammar.
const TAG_CHARS_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 255;

/// A valid name and tag.
#[derive(Debug, PartialEq)]
pub struct Reference {
    given: String,
    host: Option<String>,
    path: String,
    tag: String,
}

impl Reference {
    /// `Err` is a predicate of the reference.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err("has a digest; an image cannot name its own digest: write NAME:TAG".into());
        }
        // A colon before the last slash belongs to the port of a host.
        let name_end = text.rfind('/').map_or(0, |slash| slash + 1);
        let colon = text[name_end..]
            .find(':')
            .map(|at| name_end + at)
            .ok_or("has no tag, so engines would assume `latest`: write NAME:TAG")?;
        let (name, tag) = (&text[..colon], &text[colon + 1..]);
        if !is_tag(tag) {
            return Err(format!(
                "has the tag `{tag}`; expected 1 to {TAG_CHARS_MAX} of A-Z a-z 0-9 _ . - and not . or - at the start"
            ));
        }
        if name.len() > NAME_CHARS_MAX {
            return Err(format!(
                "has a name of {} characters; at most {NAME_CHARS_MAX} are allowed",
                name.len()
            ));
        }
        let (host, path) = match name.split_once('/') {
            // The rule of engines for telling a host from a first path component.
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                if !is_host(first) {
                    return Err(format!("has the host `{first}`; expected HOST or HOST:PORT"));
                }
                (Some(first.to_owned()), rest)
            }
            _ => (None, name),
        };
        if let Some(bad) = path.split('/').find(|component| !is_path_component(component)) {
            return Err(format!(
                "has the name component `{bad}`; expected a-z 0-9, joined by single . _ - (or __, or dashes)"
            ));
        }
        Ok(Self { given: text.into(), host, path: path.into(), tag: tag.into() })
    }

    /// The form that the user wrote, for `docker run` and `RepoTags`.
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// Without the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// With host and namespace: the key of engines with the containerd store.
    pub fn completed(&self) -> String {
        let Self { host, path, tag, .. } = self;
        match host {
            Some(host) => format!("{host}/{path}:{tag}"),
            None if path.contains('/') => format!("{DEFAULT_HOST}/{path}:{tag}"),
            None => format!("{DEFAULT_HOST}/{DEFAULT_NAMESPACE}/{path}:{tag}"),
        }
    }
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_CHARS_MAX
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Runs of a-z 0-9 with exactly one separator between them: `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_hold = component
        .split(is_word)
        .filter(|between| !between.is_empty())
        .all(|between| matches!(between, "." | "_" | "__") || between.chars().all(|c| c == '-'));
    component.starts_with(is_word) && component.ends_with(is_word) && separators_hold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_as_engines_do() {
        for (given, completed) in [
            ("inferd:0.1.0", "docker.io/library/inferd:0.1.0"),
            ("team/inferd:0.1.0", "docker.io/team/inferd:0.1.0"),
            ("registry.example/team/inferd:0.1.0", "registry.example/team/inferd:0.1.0"),
            ("localhost:5000/inferd:v1", "localhost:5000/inferd:v1"),
            ("localhost/inferd:v1", "localhost/inferd:v1"),
            ("a__b-c--d.e:_1", "docker.io/library/a__b-c--d.e:_1"),
        ] {
            assert_eq!(Reference::parse(given).unwrap().completed(), completed);
        }
    }

    #[test]
    fn rejects_what_no_engine_accepts() {
        for (given, reason) in [
            ("inferd", "no tag"),
            ("localhost:5000/inferd", "no tag"),
            ("", "no tag"),
            ("inferd:", "tag ``"),
            ("inferd:.1", "tag `.1`"),
            ("inferd:a b", "tag `a b`"),
            ("inferd:a:b", "tag `a:b`"),
            ("Inferd:1", "component `Inferd`"),
            ("a//b:1", "component ``"),
            ("a___b:1", "component `a___b`"),
            ("a._b:1", "component `a._b`"),
            ("-a:1", "component `-a`"),
            ("ho_st.example/a:1", "host `ho_st.example`"),
            ("host:0/a:1", "host `host:0`"),
            ("inferd@sha256:00", "digest"),
        ] {
            let error = Reference::parse(given).unwrap_err();
            assert!(error.contains(reason), "{given}: {error}");
        }
        assert!(Reference::parse(&format!("a:{}", "b".repeat(129))).is_err());
        assert!(Reference::parse(&format!("{}:b", "a".repeat(256))).is_err());
    }
}
