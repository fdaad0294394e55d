//! Paths of the build machine in the bytes. They disclose user names and the layout of a CI system, and make builds
//! irreproducible.
//!
//! One pass searches for all prefixes. Rust string literals have no terminator, so the byte before a path carries little
//! information; only matches in the middle of a system path are dropped.

use std::ops::Range;
use std::sync::OnceLock;

use serde::Serialize;

use crate::elf::types::Section;
use crate::facts::merged_strings::MergedStrings;

/// Home folders, and the working folders of build services.
pub const LOCAL_PATH_PREFIXES: &[&str] =
    &["/home/", "/root/", "/Users/", "/build/", "/builds/", "/github/workspace/", "/__w/", "/workspace/"];

/// Result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocalPaths {
    /// The prefixes that were searched for.
    pub prefixes: Vec<String>,
    /// Number of matches; a path may match several times.
    pub count: usize,
    /// Matches whose path is not listed in `found`.
    pub unlisted: usize,
    /// The first distinct paths.
    pub found: Vec<LocalPath>,
}

impl LocalPaths {
    /// Whether no path was found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A path in the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocalPath {
    /// Offset of the first match.
    pub offset: u64,
    /// Section that contains the offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The path, cut at the first byte that is unusual in paths.
    pub path: String,
}

/// A compiled search, reusable for many files.
#[derive(Debug)]
pub struct LocalPathSearch {
    prefixes: Vec<String>,
    /// First bytes of the prefixes, each once: `/` alone for absolute paths.
    first_bytes: Vec<u8>,
}

impl LocalPathSearch {
    /// Searches for paths that start with one of `prefixes`.
    pub fn new(prefixes: impl IntoIterator<Item = impl Into<String>>) -> LocalPathSearch {
        let prefixes: Vec<String> = prefixes.into_iter().map(Into::into).collect();
        let mut first_bytes: Vec<u8> = prefixes.iter().filter_map(|prefix| prefix.bytes().next()).collect();
        first_bytes.sort_unstable();
        first_bytes.dedup();
        LocalPathSearch { prefixes, first_bytes }
    }

    /// The search for [`LOCAL_PATH_PREFIXES`].
    pub(super) fn default_prefixes() -> &'static LocalPathSearch {
        static DEFAULT: OnceLock<LocalPathSearch> = OnceLock::new();
        DEFAULT.get_or_init(|| LocalPathSearch::new(LOCAL_PATH_PREFIXES.iter().copied()))
    }

    /// Places of prefixes, in their order and without overlap. Of several prefixes at one place it is the shortest.
    fn prefixes_in<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut end = 0;
        self.first_bytes_in(bytes).filter_map(move |at| {
            if at < end {
                return None;
            }
            let starts = |prefix: &&String| !prefix.is_empty() && bytes[at..].starts_with(prefix.as_bytes());
            let length = self.prefixes.iter().filter(starts).map(String::len).min()?;
            end = at + length;
            Some(at..end)
        })
    }

    /// Places where a prefix can start. One byte value needs no table: it is the usual case, and memchr reads it many bytes at
    /// a time.
    fn first_bytes_in<'a>(&self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = usize> + 'a> {
        match *self.first_bytes {
            [] => Box::new(std::iter::empty()),
            [one] => Box::new(memchr::memchr_iter(one, bytes)),
            [one, two] => Box::new(memchr::memchr2_iter(one, two, bytes)),
            ref several => {
                let mut starts = [false; 256];
                several.iter().for_each(|&byte| starts[usize::from(byte)] = true);
                let places = bytes.iter().enumerate().filter(move |(_, byte)| starts[usize::from(**byte)]);
                Box::new(places.map(|(at, _)| at))
            }
        }
    }

    /// What a program has after `strip`, too.
    pub(super) fn outside_of_debug_sections(&self, bytes: &[u8], sections: &[Section]) -> LocalPaths {
        let mut outside = Vec::new();
        let mut start = 0;
        for debug in debug_sections(sections) {
            outside.push(start..debug.start);
            start = start.max(debug.end);
        }
        outside.push(start..bytes.len());
        self.run(bytes, sections, &outside)
    }

    /// What a debug file has.
    pub(super) fn in_debug_sections(&self, bytes: &[u8], sections: &[Section]) -> LocalPaths {
        self.run(bytes, sections, &debug_sections(sections))
    }

    fn run(&self, bytes: &[u8], sections: &[Section], ranges: &[Range<usize>]) -> LocalPaths {
        const KEPT: usize = 64;
        let mut result =
            LocalPaths { prefixes: self.prefixes.clone(), count: 0, unlisted: 0, found: Vec::new() };
        let merged = MergedStrings::new(sections);
        for range in ranges {
            let start = range.start;
            let searched = bytes.get(start..range.end.min(bytes.len())).unwrap_or_default();
            for hit in self.prefixes_in(searched) {
                let (at, path_end) = (start + hit.start, start + hit.end);
                if is_inside_system_path(bytes, at, &bytes[at..path_end]) {
                    continue;
                }
                let Some(end) = end_of_path(bytes, at, path_end) else { continue };
                if merged.may_join(bytes, at..end) {
                    continue;
                }
                let path = String::from_utf8_lossy(&bytes[at..end]).into_owned();
                result.count += 1;
                if result.found.iter().any(|found| found.path == path) {
                    continue;
                }
                if result.found.len() == KEPT {
                    result.unlisted += 1;
                    continue;
                }
                let section = section_of(sections, at as u64);
                result.found.push(LocalPath { offset: at as u64, section, path });
            }
        }
        result
    }
}

/// The places of debug sections, sorted.
fn debug_sections(sections: &[Section]) -> Vec<Range<usize>> {
    let debug = sections.iter().filter(|section| section.is_debug() && section.has_contents());
    let mut places: Vec<Range<usize>> = debug
        .filter_map(|section| {
            let start = usize::try_from(section.offset).ok()?;
            Some(start..start.checked_add(usize::try_from(section.size_bytes).ok()?)?)
        })
        .collect();
    places.sort_unstable_by_key(|place| (place.start, place.end));
    places
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+@~".contains(&byte) || byte >= 0x80
}

/// Where the path at `at` ends. At least one byte of a name must follow the prefix: a bare `/home/` is a constant of a program.
fn end_of_path(bytes: &[u8], at: usize, prefix_end: usize) -> Option<usize> {
    const PATH_BYTES_MAX: usize = 160;
    let rest = &bytes[prefix_end..bytes.len().min(at + PATH_BYTES_MAX).max(prefix_end)];
    let length = rest.iter().position(|&byte| !is_path_byte(byte)).unwrap_or(rest.len());
    if !rest.first().is_some_and(|&byte| is_path_byte(byte) && byte != b'/' && byte < 0x80) {
        return None;
    }
    Some(prefix_end + length)
}

/// Excludes paths such as `/usr/share/build/x` and `src/build/mod.rs`.
fn is_inside_system_path(bytes: &[u8], at: usize, prefix: &[u8]) -> bool {
    const LOOK_BACK_BYTES: usize = 128;
    const SYSTEM: [&[u8]; 11] = [
        b"/usr/", b"/var/", b"/lib", b"/etc/", b"/sys/", b"/proc/", b"/opt/", b"/dev/", b"/run/", b"/bin/",
        b"/sbin/",
    ];
    const HOMES: [&[u8]; 4] = [b"/home/", b"/root/", b"/Users/", b"/__w/"];
    let before = &bytes[at.saturating_sub(LOOK_BACK_BYTES)..at];
    let start = before.iter().rposition(|&byte| !is_path_byte(byte)).map_or(0, |last| last + 1);
    let before = &before[start..];
    // A prefix of one folder may be the middle of another path: `src/build/mod.rs`. Home folders and longer prefixes are
    // unambiguous.
    let is_ambiguous = prefix.iter().filter(|&&byte| byte == b'/').count() <= 2 && !HOMES.contains(&prefix);
    SYSTEM.iter().any(|root| before.starts_with(root)) || (is_ambiguous && !before.is_empty())
}

fn section_of(sections: &[Section], offset: u64) -> Option<String> {
    let holds = |section: &&Section| {
        section.has_contents() && offset >= section.offset && offset - section.offset < section.size_bytes
    };
    Some(sections.iter().find(holds)?.name.clone())
}

#[cfg(test)]
mod tests {
    use super::LocalPathSearch;
    use crate::elf::types::Section;

    #[test]
    fn finds_build_paths_and_skips_system_paths() {
        let check = |bytes: &[u8], expected: &[&str]| {
            let result = LocalPathSearch::default_prefixes().outside_of_debug_sections(bytes, &[]);
            let found: Vec<&str> = result.found.iter().map(|found| found.path.as_str()).collect();
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
        };
        check(b"\0/home/ann/src/a.c\0", &["/home/ann/src/a.c"]);
        check(b"-I/home/ann\0", &["/home/ann"]);
        check(b"literal before it/root/.cargo/registry: message", &["/root/.cargo/registry"]);
        check(b"src/lib.rs/root/.cargo/x.rs", &["/root/.cargo/x.rs"]);
        check(b"/build/x.c /home/b", &["/build/x.c", "/home/b"]);
        check(b"/home/\0 /home// /root/\xff", &[]);
        check(b"src/build/mod.rs /usr/share/build/x /var/lib/home/x", &[]);
        check(b"/homework/x /rooted", &[]);
        check(b"", &[]);
        let folder = LocalPathSearch::new(["/src/", "/srv/build/tree/"]);
        let found =
            folder.outside_of_debug_sections(b"cargo/engine/src/lib.rs x/srv/build/tree/a /src/b", &[]).found;
        assert_eq!(
            found.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
            ["/srv/build/tree/a", "/src/b"]
        );
        assert_eq!(
            LocalPathSearch::new(["/w/"]).outside_of_debug_sections(b"x /w/a /home/b", &[]).found[0].path,
            "/w/a"
        );
        assert_eq!(LocalPathSearch::new([""; 0]).outside_of_debug_sections(b"/home/b", &[]).count, 0);
        assert_eq!(LocalPathSearch::new([""]).outside_of_debug_sections(b"/home/b", &[]).count, 0);
    }

    #[test]
    fn prefixes_may_overlap_and_start_with_any_byte() {
        let check = |prefixes: &[&str], bytes: &[u8], expected: &[&str]| {
            let found =
                LocalPathSearch::new(prefixes.iter().copied()).outside_of_debug_sections(bytes, &[]).found;
            assert_eq!(
                found.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
                expected,
                "{prefixes:?}"
            );
        };
        check(&["/srv/", "/srv/ci/"], b"\0/srv/ci/a /srv/b", &["/srv/ci/a", "/srv/b"]);
        // The inner prefix alone would be the middle of another path.
        check(&["/srv/ci/a/", "/ci/"], b"\0/srv/ci/a/b", &["/srv/ci/a/b"]);
        check(&["/srv/", "~/"], b"x /srv/a ~/b", &["/srv/a", "~/b"]);
        check(&["/srv/", "~/", "C:/w/"], b"x /srv/a ~/b C:/w/c /srv/", &["/srv/a", "~/b", "C:/w/c"]);
        check(&["/srv/"], b"/srv", &[]);
    }

    /// A section of `.rodata` and one that Go programs have.
    fn sections_of_go(size_bytes: usize) -> Vec<Section> {
        let section = |name: &str, size_bytes| Section {
            name: name.into(),
            kind_number: 1,
            size_bytes,
            ..Section::default()
        };
        vec![section(".rodata", size_bytes as u64), section(".gopclntab", 0)]
    }

    #[track_caller]
    fn check_go(bytes: &[u8], expected: &[&str]) {
        let search = LocalPathSearch::default_prefixes();
        let found = search.outside_of_debug_sections(bytes, &sections_of_go(bytes.len())).found;
        let found: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn skips_paths_that_consist_of_several_constants_of_a_go_program() {
        // As in docker 28.2 and 20.10, in runc 1.1 and in containerd 1.6.
        let docker =
            b"kernel.shmallkernel.shmmaxkernel.shmmni/build/cancel/checkpoints//debug/events/config create";
        let runc = b"%s:%d%s, fp:.eEpP/boot/home/proc/root/runc/sbin1.0.01562578125::/96<nil>AdlamApril";
        check_go(docker, &[]);
        check_go(runc, &[]);
        check_go(b".wasm.webp/boot/dev//home/pkg//proc/root/sbin/src/0-+# 0.1.00.2.00.3.0", &[]);
        check_go(b".dockerignore.git(?:#.+)?$/build/cancel/clusterpeers/configs/{id}/debug/events", &[]);
        check_go(b"keep-storage/build/prune/containers//checkpointsContent-Type", &[]);
        // The same bytes of another compiler.
        assert!(LocalPathSearch::default_prefixes().outside_of_debug_sections(runc, &[]).count > 0);
    }

    #[test]
    fn finds_build_paths_among_the_constants_of_a_go_program() {
        check_go(b"shmmni/home/ann/go/src/tool/main.gogo1.19", &["/home/ann/go/src/tool/main.gogo1.19"]);
        check_go(b"fatal/root/tool-1.0/lib/x.c:12", &["/root/tool-1.0/lib/x.c"]);
        check_go(b"build\t-ldflags=\"-X main.dir=/home/ann/src\"\n", &["/home/ann/src"]);
        check_go(b"build\tCGO_CFLAGS=-I/home/ann/include\n", &["/home/ann/include"]);
        check_go(b"open /root/project: no such file", &["/root/project"]);
        // `.gopclntab` itself: every path has a terminator.
        check_go(
            b"\0/build/reproducible-path/tool/main.go\0/build/b\0",
            &["/build/reproducible-path/tool/main.go", "/build/b"],
        );
    }
}
