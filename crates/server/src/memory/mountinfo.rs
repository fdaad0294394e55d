//! `/proc/self/mountinfo`: the mount points of cgroup hierarchies and the part that each one shows.

use std::path::{Path, PathBuf};

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the mounted file system that is visible at `point`.
    pub root: PathBuf,
    pub point: PathBuf,
    pub kind: String,
    pub options: Vec<String>,
}

/// Skips lines without the form of `proc(5)`: a newer kernel may add some.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - type source super,options`
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (unescape(place.next()?), unescape(place.next()?));
    let mut kind = kind.split(' ');
    let (name, _source, options) = (kind.next()?, kind.next()?, kind.next().unwrap_or(""));
    Some(Mount {
        root: root.into(),
        point: point.into(),
        kind: name.to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let digits = escape.get(1..4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match digits {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &escape[4..];
            }
            None => {
                out.push('\\');
                rest = &escape[1..];
            }
        }
    }
    out + rest
}

/// The folder of the cgroup `path` inside `mount`.
///
/// Inside a cgroup namespace both the path and the mount's root are relative to the root of the namespace. A container without a
/// namespace has the path of the host, and a mount whose root is that path.
pub fn folder(mount: &Mount, path: &Path) -> PathBuf {
    match path.strip_prefix(&mount.root) {
        Ok(below) => mount.point.join(below),
        // The path is outside of the mount (`/../..` of another namespace); only the mount point is visible.
        Err(_) => mount.point.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lines_with_and_without_optional_fields() {
        let text = "\
            30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate\n\
            36 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
            40 30 0:5 /a\\040b /mnt/x\\134y rw - ext4 /dev/sda rw\n\
            garbage\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].kind.as_str(), mounts[0].point.to_str()), ("cgroup2", Some("/sys/fs/cgroup")));
        assert_eq!(mounts[1].root, Path::new("/docker/abc"));
        assert!(mounts[1].options.contains(&"memory".to_string()));
        assert_eq!((mounts[2].root.to_str(), mounts[2].point.to_str()), (Some("/a b"), Some("/mnt/x\\y")));
    }

    #[test]
    fn maps_a_cgroup_path_to_a_folder_below_the_mount() {
        let mount = |root: &str| Mount {
            root: root.into(),
            point: "/sys/fs/cgroup".into(),
            kind: "cgroup2".into(),
            options: vec![],
        };
        let at = |root: &str, path: &str| folder(&mount(root), Path::new(path));
        assert_eq!(at("/", "/"), Path::new("/sys/fs/cgroup/"));
        assert_eq!(at("/", "/system.slice/x"), Path::new("/sys/fs/cgroup/system.slice/x"));
        assert_eq!(at("/docker/abc", "/docker/abc"), Path::new("/sys/fs/cgroup/"));
        assert_eq!(at("/docker/abc", "/docker/abc/sub"), Path::new("/sys/fs/cgroup/sub"));
        assert_eq!(at("/docker/abc", "/other"), Path::new("/sys/fs/cgroup"));
    }
}
