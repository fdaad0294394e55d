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
        let errors = [
            "inferd",
            "localhost:5000/inferd",
            "",
            "inferd:",
            "inferd:.1",
            "inferd:a b",
            "inferd:a:b",
            "Inferd:1",
            "a//b:1",
            "a___b:1",
            "a._b:1",
            "-a:1",
            "ho_st.example/a:1",
            "host:0/a:1",
            "inferd@sha256:00",
        ]
        .map(|given| format!("{given}: {}\n", Reference::parse(given).unwrap_err()));
        insta::assert_snapshot!(errors.concat(), @"
        inferd: has no tag, so engines would assume `latest`: write NAME:TAG
        localhost:5000/inferd: has no tag, so engines would assume `latest`: write NAME:TAG
        : has no tag, so engines would assume `latest`: write NAME:TAG
        inferd:: has the tag ``; expected 1 to 128 of A-Z a-z 0-9 _ . - and not . or - at the start
        inferd:.1: has the tag `.1`; expected 1 to 128 of A-Z a-z 0-9 _ . - and not . or - at the start
        inferd:a b: has the tag `a b`; expected 1 to 128 of A-Z a-z 0-9 _ . - and not . or - at the start
        inferd:a:b: has the tag `a:b`; expected 1 to 128 of A-Z a-z 0-9 _ . - and not . or - at the start
        Inferd:1: has the name component `Inferd`; expected a-z 0-9, joined by single . _ - (or __, or dashes)
        a//b:1: has the name component ``; expected a-z 0-9, joined by single . _ - (or __, or dashes)
        a___b:1: has the name component `a___b`; expected a-z 0-9, joined by single . _ - (or __, or dashes)
        a._b:1: has the name component `a._b`; expected a-z 0-9, joined by single . _ - (or __, or dashes)
        -a:1: has the name component `-a`; expected a-z 0-9, joined by single . _ - (or __, or dashes)
        ho_st.example/a:1: has the host `ho_st.example`; expected HOST or HOST:PORT
        host:0/a:1: has the host `host:0`; expected HOST or HOST:PORT
        inferd@sha256:00: has a digest; an image cannot name its own digest: write NAME:TAG
        ");
        assert!(Reference::parse(&format!("a:{}", "b".repeat(129))).is_err());
        assert!(Reference::parse(&format!("{}:b", "a".repeat(256))).is_err());
    }
}
