//! A mapped file that detects modification and survives truncation.
//!
//! Two events can invalidate the map. A write in place changes numbers without any signal; [`MappedFile`] compares the
//! length and the times of the file with those at opening, and when only the times differ, the content (`content_check`).
//! After a truncation, or when the disk is gone, pages are missing and an access raises SIGBUS, which would terminate the
//! process. A signal handler replaces the missing pages by zero pages and marks the map, so that the results computed from
//! it are reported as invalid.
//!
//! The handler forwards signals for other addresses to the previously installed handler.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memmap2::Mmap;

use crate::content_check::ContentCheck;

/// A read-only map of a whole file.
pub(crate) struct MappedFile {
    map: Mmap,
    content: ContentCheck,
    range: &'static GuardedRange,
}

impl MappedFile {
    /// Maps the file and guards its address range.
    pub fn open(file: File) -> io::Result<Self> {
        install_handler()?;
        // SAFETY: the map is read-only and private. This module detects changes of the file by other processes.
        let map = unsafe { Mmap::map(&file) }?;
        let content = ContentCheck::new(file)?;
        let range = GuardedRange::claim(&map)
            .ok_or_else(|| io::Error::other(format!("more than {RANGES_MAX} files are mapped")))?;
        Ok(Self { map, content, range })
    }

    /// Whether no byte was lost and the content is that of the opened file. Reads the file when its times changed.
    pub fn is_intact(&self) -> bool {
        !self.lost_bytes() && self.content.is_unchanged()
    }

    /// The same without reading the file: a check that is necessary runs on a thread of its own, and its result is returned
    /// by later calls.
    pub fn seems_intact(&self) -> bool {
        !self.lost_bytes() && self.content.seems_unchanged()
    }

    /// Starts to read the content, so that changed times alone are no reason to give up the file.
    pub fn remember_content(&self) {
        self.content.remember();
    }

    /// Advises the kernel to read the pages ahead of use. A failure has no effect.
    pub fn read_ahead(&self) {
        let _ = self.map.advise(memmap2::Advice::WillNeed);
    }

    /// Drops the pages of a range from the memory of the process. A later access reads them again, so this changes no result. A
    /// failure has no effect.
    pub fn release_pages(&self, bytes: Range<usize>) {
        let advice = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: the map is read-only, so every page has the content of the file, or zeros after a loss, which is recorded; both
        // are there again at the next access.
        let _ = unsafe { self.map.unchecked_advise_range(advice, bytes.start, bytes.len()) };
    }

    fn lost_bytes(&self) -> bool {
        self.range.lost.load(Ordering::Acquire)
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
        // A map ends below the top of the address space. Not wrapped, in any case: an end of 0 is a free entry.
        entry.end.store(map.as_ptr().addr().saturating_add(map.len()), Ordering::Release);
        Some(entry)
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.is_claimed.store(false, Ordering::Release);
    }

    /// The pages from that of `address` to the last one of the range, as start and length; `None` for an address outside
    /// of the range.
    ///
    /// The entry is read once: another thread can release it while the handler runs.
    fn pages_from(&self, address: usize, page_bytes: usize) -> Option<(usize, usize)> {
        let end = self.end.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        if !(start..end).contains(&address) || !page_bytes.is_power_of_two() {
            return None;
        }
        let page = address & !(page_bytes - 1);
        Some((page, end.checked_sub(page)?.checked_next_multiple_of(page_bytes)?))
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
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    // All pages up to the end: otherwise each missing page of a truncated file would raise its own signal.
    let found = RANGES.iter().find_map(|entry| Some((entry, entry.pages_from(address, page_bytes)?)));
    let Some((entry, (page, bytes))) = found else {
        return forward(signal, info, context);
    };
    entry.lost.store(true, Ordering::Release);
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
    fn released_pages_are_read_again_and_a_change_is_still_detected() {
        let (path, writer) = file("release", 1 << 20);
        let mapped = MappedFile::open(File::open(&path).unwrap()).unwrap();
        let sum = |mapped: &MappedFile| mapped.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        assert_eq!(sum(&mapped), 7 << 20);
        let before = resident_pages(&mapped);
        mapped.release_pages(5000..(1 << 20) - 5000);
        assert!(resident_pages(&mapped) * 4 < before, "{} of {before} pages", resident_pages(&mapped));
        assert_eq!(sum(&mapped), 7 << 20);
        assert!(mapped.is_intact());
        mapped.release_pages(0..1 << 20);
        writer.set_len(4096).unwrap();
        assert_eq!(sum(&mapped), 7 * 4096, "the remaining bytes, and zero pages");
        assert!(!mapped.is_intact());
        mapped.release_pages(0..1 << 20);
        assert_eq!(sum(&mapped), 7 * 4096);
        assert!(!mapped.is_intact());
        std::fs::remove_file(path).unwrap();
    }

    /// Pages of the map in the page table of this process: `Rss` in /proc/self/smaps.
    fn resident_pages(mapped: &MappedFile) -> usize {
        let start = format!("{:x}-", mapped.as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let rss = maps
            .lines()
            .skip_while(|line| !line.starts_with(&start))
            .find_map(|line| line.strip_prefix("Rss:"));
        rss.unwrap().trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 4
    }

    #[test]
    fn address_arithmetic_of_a_range_does_not_wrap() {
        let range = |start: usize, end: usize| {
            let range = GuardedRange::free();
            range.start.store(start, Ordering::Relaxed);
            range.end.store(end, Ordering::Relaxed);
            range
        };
        assert_eq!(range(0x1000, 0x3001).pages_from(0x2fff, 0x1000), Some((0x2000, 0x2000)));
        assert_eq!(range(0x1000, 0x3001).pages_from(0x3001, 0x1000), None);
        // Released while a handler runs.
        assert_eq!(range(0x1000, 0).pages_from(0x1000, 0x1000), None);
        // A length that, rounded up, exceeds the address space; the last page; a page size that is not known.
        assert_eq!(range(0, usize::MAX).pages_from(1, 0x1000), None);
        let last = usize::MAX - 0xfff;
        assert_eq!(range(last, usize::MAX).pages_from(usize::MAX - 1, 0x1000), Some((last, 0x1000)));
        assert_eq!(range(0x1000, 0x3000).pages_from(0x1000, 0), None);
    }

    #[test]
    fn releases_its_range_when_dropped() {
        for _ in 0..2 * RANGES_MAX {
            MappedFile::open(File::open("/proc/self/exe").unwrap()).unwrap();
        }
    }
}
