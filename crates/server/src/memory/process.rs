//! Memory and threads of this process, from `/proc/self/status`.

use std::path::Path;

/// Bytes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    pub anonymous: u64,
    pub resident: u64,
    pub threads: u64,
}

/// Reads the file below `root`; `None` when it is missing or has an unknown form.
pub fn read(root: &Path) -> Option<ProcessMemory> {
    parse(&std::fs::read_to_string(root.join("proc/self/status")).ok()?)
}

fn parse(status: &str) -> Option<ProcessMemory> {
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(ProcessMemory {
        anonymous: number("RssAnon")? << 10,
        resident: number("VmRSS")? << 10,
        threads: number("Threads")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_kilobytes_to_bytes() {
        let status = "Name:\tinferd\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nThreads:\t7\n";
        let expected = ProcessMemory { anonymous: 1 << 20, resident: 2 << 20, threads: 7 };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name: x\n"), None);
        assert!(read(Path::new("/")).unwrap().anonymous > 0);
    }
}
