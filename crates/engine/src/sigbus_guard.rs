//! A file that is mapped, and the knowledge whether it is still the file that was opened.
//!
//! Two things can happen to it. Written in place, it gives wrong numbers without any sign: its length and the time of its
//! last change are compared before and after each use. Cut, or on a disk that is gone, its pages are not there, and
//! touching one is SIGBUS, which would end the process: a handler puts empty pages in the place of those that are lost
//! and marks the map. Whoever computed with it meanwhile has computed nonsense, and learns so from [`MappedFile::intact`].
//!
//! Signals for other addresses go to whoever handled them before.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memmap2::Mmap;

pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
    stamp: Stamp,
    watched: &'static Watched,
}

/// What changes when somebody writes. Not the time of the inode: a new name or new rights change nothing that is read.
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
    pub fn open(file: File) -> io::Result<Self> {
        install_handler()?;
        let stamp = Stamp::of(&file)?;
        // SAFETY: read-only and private. What others do to the file meanwhile is what this module is about.
        let map = unsafe { Mmap::map(&file) }?;
        let watched = Watched::claim(&map)
            .ok_or_else(|| io::Error::other(format!("more than {WATCHED_MAX} files are mapped")))?;
        Ok(Self { map, file, stamp, watched })
    }

    /// No byte of it was lost and nobody has written to it since it was opened.
    pub fn intact(&self) -> bool {
        !self.watched.lost.load(Ordering::Acquire) && Stamp::of(&self.file).is_ok_and(|now| now == self.stamp)
    }

    /// Asks for the pages ahead of use. Advice only: failure changes nothing.
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
        self.watched.release();
    }
}

/// Models times files of each, with room: a handler cannot take memory, so the table has a fixed size.
const WATCHED_MAX: usize = 256;
static WATCHED: [Watched; WATCHED_MAX] = [const { Watched::free() }; WATCHED_MAX];

/// Addresses that the handler answers for.
struct Watched {
    taken: AtomicBool,
    start: AtomicUsize,
    /// 0 while the entry is free or being filled.
    end: AtomicUsize,
    lost: AtomicBool,
}

impl Watched {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    fn claim(map: &[u8]) -> Option<&'static Self> {
        let entry = WATCHED.iter().find(|entry| !entry.taken.swap(true, Ordering::AcqRel))?;
        entry.lost.store(false, Ordering::Relaxed);
        entry.start.store(map.as_ptr().addr(), Ordering::Relaxed);
        entry.end.store(map.as_ptr().addr() + map.len(), Ordering::Release);
        Some(entry)
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.taken.store(false, Ordering::Release);
    }

    fn covers(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        (self.start.load(Ordering::Relaxed)..end).contains(&address)
    }
}

static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: both structures live through the calls; the handler does only what a handler may do, see there.
        unsafe {
            PAGE_BYTES.store(libc::sysconf(libc::_SC_PAGESIZE) as usize, Ordering::Relaxed);
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) != 0 {
                return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
            }
            let _ = BEFORE.set(before);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            match libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            }
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// Takes no memory and no lock. mmap is not on POSIX's list of what a handler may call; on Linux it is one system call.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a valid siginfo_t.
    let address = unsafe { (*info).si_addr() }.addr();
    let Some(entry) = WATCHED.iter().find(|entry| entry.covers(address)) else {
        return pass_on(signal, info, context);
    };
    entry.lost.store(true, Ordering::Release);
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let page = address - address % page_bytes;
    let bytes = (entry.end.load(Ordering::Acquire) - page).next_multiple_of(page_bytes);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // The whole rest: a cut file would come here once for each of its pages.
    // SAFETY: these pages belong to a live map of ours, which nobody else writes to or gives back while it is used.
    let mapped = unsafe { libc::mmap(page as *mut libc::c_void, bytes, libc::PROT_READ, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        pass_on(signal, info, context);
    }
}

fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: what `sigaction` reported is what it would have called; the default action is put back and meets the same
    // instruction again when this returns.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 && before.sa_sigaction > libc::SIG_IGN {
            let handler: Handler = std::mem::transmute::<usize, Handler>(before.sa_sigaction);
            handler(signal, info, context);
        } else {
            libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(name: &str, bytes: usize) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("muslin-guard-{name}-{}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        (path, file)
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_mapped_is_lost_and_the_process_lives() {
        let (path, writer) = file("cut", 1 << 20);
        let mapped = MappedFile::open(File::open(&path).unwrap()).unwrap();
        let other = MappedFile::open(File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(mapped.intact());
        writer.set_len(4096).unwrap();
        assert!(!mapped.intact(), "its length tells before a page is touched");
        let sum: u64 = mapped.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 7 * 4096, "what is left, and empty pages");
        writer.set_len(1 << 20).unwrap();
        assert!(!mapped.intact());
        assert!(other.intact());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_written_in_place_is_not_intact_and_one_that_is_replaced_is() {
        let (path, mut writer) = file("write", 8192);
        let mapped = MappedFile::open(File::open(&path).unwrap()).unwrap();
        let moved = path.with_extension("old");
        std::fs::rename(&path, &moved).unwrap();
        assert!(mapped.intact());
        // The clock of files ticks in milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        writer.write_all(b"more").unwrap();
        assert!(!mapped.intact());
        std::fs::remove_file(moved).unwrap();
    }

    #[test]
    fn entries_are_given_back() {
        for _ in 0..2 * WATCHED_MAX {
            MappedFile::open(File::open("/proc/self/exe").unwrap()).unwrap();
        }
    }
}
