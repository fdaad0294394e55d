//! Linux namespaces without privilege, by system calls alone: no tool has to be installed.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::{getgid, getuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What could not be done, to complete the sentence "cannot …", and why.
pub type FailedStep = (&'static str, Errno);

/// New namespaces for a process. Made before a fork, because [`Namespaces::enter`] allocates nothing.
pub struct Namespaces {
    flags: UnshareFlags,
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
}

impl Namespaces {
    /// The namespaces of `flags`, besides a user namespace in which the user keeps its number.
    pub fn new(flags: UnshareFlags) -> Self {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        Self {
            flags,
            uid_map: format!("{uid} {uid} 1").into_bytes(),
            gid_map: format!("{gid} {gid} 1").into_bytes(),
        }
    }

    /// Moves the calling process, which has one thread, into the namespaces. With a user namespace, which needs no
    /// privilege; where that is forbidden, root does without. Plain system calls: may run between fork and exec.
    pub fn enter(&self) -> Result<(), FailedStep> {
        // SAFETY: the process has one thread and shares neither its file table nor its file-system state with another one.
        let with_user = unsafe { unshare_unsafe(self.flags | UnshareFlags::NEWUSER) };
        if with_user.is_err() {
            // SAFETY: as above.
            return unsafe { unshare_unsafe(self.flags) }.map_err(|error| ("unshare the namespaces", error));
        }
        write_file(c"/proc/self/setgroups", b"deny").map_err(|error| ("write setgroups", error))?;
        write_file(c"/proc/self/uid_map", &self.uid_map).map_err(|error| ("write uid_map", error))?;
        write_file(c"/proc/self/gid_map", &self.gid_map).map_err(|error| ("write gid_map", error))
    }
}

fn write_file(path: &std::ffi::CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, bytes).map(|_| ())
}
