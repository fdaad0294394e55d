//! A mapped file that detects modification and survives truncation.
//!
//! Two events can invalidate the map. A write in place changes numbers without any signal, so [`MappedFile::is_intact`]
//! compares the length and the modification time with those at opening. After a truncation, or when the disk is gone,
//! pages are missing and an access raises SIGBUS, which would terminate the process. A signal handler replaces the
//! missing pages by zero pages and marks the map, so that `is_intact` reports the results computed from it as invalid.
//!
//! The handler forwards signals for other addresses to the previously installed handler.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memmap2::Mmap;

/// A read-only map of a whole file.
pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
    stamp: Stamp,
    range: &'static GuardedRange,
}

/// What a write changes. Without the change time of the inode: renames and new permissions do not affect the content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

impl MappedFile {
    /// Maps the file and guards its address range.
    pub fn open(file: File) -> io::Result<Self> {
        install_handler()?;
        let stamp = Stamp::of(&file)?;
        // SAFETY: the map is read-only and private. This module detects changes of the file by other processes.
        let map = unsafe { Mmap::map(&file) }?;
        let range = GuardedRange::claim(&map)
            .ok_or_else(|| io::Error::other(format!("more than {RANGES_MAX} files are mapped")))?;
        Ok(Self { map, file, stamp, range })
    }

    /// Whether no byte was lost and the file was not written to since it was opened.
    pub fn is_intact(&self) -> bool {
        !self.range.lost.load(Ordering::Acquire) && Stamp::of(&self.file).is_ok_and(|now| now == self.stamp)
    }

    /// Advises the kernel to read the pages ahead of use. A failure has no effect.
    pub fn read_ahead(&self) {
        let _ = self.map.advise(memmap2::Advice::WillNeed);
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        self.range.release();
    }
}

/// More than models times files per model. A signal handler cannot allocate, so the table has a fixed size.
const RANGES_MAX: usize = 256;
static RANGES: [GuardedRange; RANGES_MAX] = [const { GuardedRange::free() }; RANGES_MAX];

/// An address range whose SIGBUS the handler resolves.
struct GuardedRange {
    is_claimed: AtomicBool,
    start: AtomicUsize,
    /// 0 while the entry is free or not complete.
    end: AtomicUsize,
    lost: AtomicBool,
}

impl GuardedRange {
    const fn free() -> Self {
        Self {
            is_claimed: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    fn claim(map: &[u8]) -> Option<&'static Self> {
        let entry = RANGES.iter().find(|entry| !entry.is_claimed.swap(true, Ordering::AcqRel))?;
        entry.lost.store(false, Ordering::Relaxed);
        entry.start.store(map.as_ptr().addr(), Ordering::Relaxed);
        entry.end.store(map.as_ptr().addr() + map.len(), Ordering::Release);
        Some(entry)
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.is_claimed.store(false, Ordering::Release);
    }

    fn contains(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        (self.start.load(Ordering::Relaxed)..end).contains(&address)
    }
}

static PREVIOUS_ACTION: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let last_error = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: takes a constant and reads a constant of the system.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        PAGE_BYTES.store(page_bytes as usize, Ordering::Relaxed);
        // SAFETY: `sigaction` consists of integers and function addresses, for which zero is valid.
        let (mut previous, mut action): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        // SAFETY: `previous` outlives the call; the null pointer leaves the action unchanged.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) } != 0 {
            return Err(last_error());
        }
        let _ = PREVIOUS_ACTION.set(previous);
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `sa_mask` is a field of a local.
        unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
        // SAFETY: `action` outlives the call. The handler has the signature that SA_SIGINFO requires and performs only
        // operations that are safe in a signal handler, see there.
        match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(last_error()),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// Allocates nothing and takes no lock. POSIX does not list mmap as async-signal-safe; on Linux it is one system call.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t that outlives the handler.
    let fault = unsafe { &*info };
    // SAFETY: SIGBUS sets the address.
    let address = unsafe { fault.si_addr() }.addr();
    let Some(entry) = RANGES.iter().find(|entry| entry.contains(address)) else {
        return forward(signal, info, context);
    };
    entry.lost.store(true, Ordering::Release);
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let page = address - address % page_bytes;
    // All pages up to the end: otherwise each missing page of a truncated file would raise its own signal.
    let bytes = (entry.end.load(Ordering::Acquire) - page).next_multiple_of(page_bytes);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the pages belong to a live map of this module, which is read-only and stays mapped while it is in use.
    let mapped = unsafe { libc::mmap(page as *mut libc::c_void, bytes, libc::PROT_READ, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        forward(signal, info, context);
    }
}

/// Calls the previous handler, or restores the default action, which then meets the same instruction again.
fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let Some(previous) = PREVIOUS_ACTION.get() else { return };
    if previous.sa_flags & libc::SA_SIGINFO != 0 && previous.sa_sigaction > libc::SIG_IGN {
        // SAFETY: `sigaction` reported this address as a handler with the signature of SA_SIGINFO.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(previous.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: `previous` is an action that `sigaction` reported; the null pointer discards the current one.
        unsafe { libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, Instant};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a file of a test")]
    fn file(name: &str, bytes: usize) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("muslin-guard-{name}-{}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        (path, file)
    }

    #[test]
    fn survives_truncation_and_reports_the_file_as_not_intact() {
        let (path, writer) = file("truncate", 1 << 20);
        let mapped = MappedFile::open(File::open(&path).unwrap()).unwrap();
        let other = MappedFile::open(File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(mapped.is_intact());
        writer.set_len(4096).unwrap();
        assert!(!mapped.is_intact(), "the new length is detected before a page is accessed");
        let sum: u64 = mapped.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 7 * 4096, "the remaining bytes, and zero pages");
        writer.set_len(1 << 20).unwrap();
        assert!(!mapped.is_intact());
        assert!(other.is_intact());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn reports_a_write_in_place_but_not_a_rename() {
        let (path, writer) = file("write", 8192);
        let mapped = MappedFile::open(File::open(&path).unwrap()).unwrap();
        let renamed = path.with_extension("old");
        std::fs::rename(&path, &renamed).unwrap();
        assert!(mapped.is_intact());
        // File times have the resolution of the kernel's tick: write until the time differs.
        let deadline = Instant::now() + Duration::from_secs(20);
        while mapped.is_intact() && Instant::now() < deadline {
            writer.write_all_at(b"more", 0).unwrap();
        }
        assert!(!mapped.is_intact());
        std::fs::remove_file(renamed).unwrap();
    }

    #[test]
    fn releases_its_range_when_dropped() {
        for _ in 0..2 * RANGES_MAX {
            MappedFile::open(File::open("/proc/self/exe").unwrap()).unwrap();
        }
    }
}
