//! `/proc/self/maps`: the mapping of an address and the mapping directly below it.

use std::io;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub permissions: String,
}

impl Mapping {
    /// Whether the mapping permits no access, so that a stack overflow ends with SIGSEGV.
    pub fn is_guard(&self) -> bool {
        self.permissions.starts_with("---")
    }
}

/// The whole file.
#[derive(Debug)]
pub struct ProcessMaps(Vec<Mapping>);

impl ProcessMaps {
    /// Reads the file of this process.
    pub fn read() -> io::Result<Self> {
        let text = std::fs::read("/proc/self/maps")?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a line of /proc/self/maps has an unknown form")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mapping = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            Some(Mapping {
                start: u64::from_str_radix(start, 16).ok()?,
                end: u64::from_str_radix(end, 16).ok()?,
                permissions: fields.next()?.to_string(),
            })
        };
        text.lines().map(mapping).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The mapping that contains the address.
    pub fn containing(&self, address: u64) -> Option<&Mapping> {
        self.0.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))
    }

    /// The mapping that ends at the address.
    pub fn ending_at(&self, address: u64) -> Option<&Mapping> {
        self.0.iter().find(|mapping| mapping.end == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        7f0000000000-7f0000002000 ---p 00000000 00:00 0 \n\
        7f0000002000-7f0000803000 rw-p 00000000 00:00 0 \n\
        7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn finds_a_mapping_and_its_guard() {
        let maps = ProcessMaps::parse(TEXT).unwrap();
        let stack = maps.containing(0x7f00_0080_2ff8).unwrap();
        assert_eq!((stack.start, stack.end), (0x7f00_0000_2000, 0x7f00_0080_3000));
        assert!(maps.ending_at(stack.start).unwrap().is_guard());
        assert!(!stack.is_guard());
        assert_eq!(maps.containing(0x7f00_0080_3000), None);
        assert_eq!(maps.ending_at(0x7ffc_0000_0000), None);
    }

    #[test]
    fn rejects_an_unknown_form() {
        assert!(ProcessMaps::parse("garbage\n").is_none());
    }
}
