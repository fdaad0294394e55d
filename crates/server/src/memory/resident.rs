//! The resident memory of this process, read often: one system call, no allocation.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// An open `/proc/self/statm`.
pub struct ResidentReader {
    statm: File,
    page_bytes: u64,
}

impl ResidentReader {
    /// Opens the file.
    pub fn open() -> io::Result<Self> {
        // SAFETY: sysconf has no pointer argument.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page_bytes = u64::try_from(page_bytes).map_err(io::Error::other)?;
        Ok(Self { statm: File::open("/proc/self/statm")?, page_bytes })
    }

    /// Resident bytes, anonymous and mapped from files.
    pub fn bytes(&self) -> Option<u64> {
        // Seven numbers of at most 20 digits.
        let mut text = [0; 160];
        let len = self.statm.read_at(&mut text, 0).ok()?;
        let resident = text[..len].split(|byte| *byte == b' ').nth(1)?;
        std::str::from_utf8(resident).ok()?.parse::<u64>().ok()?.checked_mul(self.page_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_is_a_new_one() {
        const BYTES: usize = 64 << 20;
        let reader = ResidentReader::open().unwrap();
        let before = reader.bytes().unwrap();
        let block = vec![1_u8; BYTES];
        let during = reader.bytes().unwrap();
        assert!(block.iter().all(|byte| *byte == 1));
        // Other tests of the process free memory meanwhile.
        assert!(during > before + BYTES as u64 / 2, "{before} {during}");
    }
}
