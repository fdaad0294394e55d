//! A run in namespaces of its own: no network, a read-only root with nothing but the file, with or without `/proc`. This is
//! what a container of the image sees.
//!
//! Done by system calls between fork and exec, so no tool has to be installed. Where the kernel or the container forbids
//! it, the failing step is reported and the proof is not measured.

use std::ffi::CString;
use std::io::{PipeReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use process::{FailedStep, Namespaces};
use rustix::fs::{Mode, OFlags, mkdir, open};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::process::{chdir, chroot};
use rustix::thread::UnshareFlags;

/// What the file sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// A read-only root that holds the file and `/proc`; no network.
    Root,
    /// The same without `/proc`.
    RootWithoutProc,
    /// The machine as it is, but the working directory is a read-only mount.
    ReadOnlyDirectory,
}

/// Name of the file on its own root.
const PROGRAM: &str = "/program";

impl Isolation {
    /// The path by which the isolated process starts the file.
    pub(super) fn program(self, file: &Path) -> PathBuf {
        match self {
            Isolation::Root | Isolation::RootWithoutProc => PROGRAM.into(),
            Isolation::ReadOnlyDirectory => file.into(),
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Isolation::Root => "on a read-only root that holds this file and /proc, without network",
            Isolation::RootWithoutProc => {
                "on a read-only root that holds nothing but this file, without network"
            }
            Isolation::ReadOnlyDirectory => "in a read-only working directory",
        }
    }

    /// Makes the command run isolated. `folder` is empty and becomes the root or the working directory. After the run, the
    /// pipe holds the step that failed, or nothing.
    pub(super) fn install(
        self,
        command: &mut Command,
        file: &Path,
        folder: &Path,
    ) -> anyhow::Result<PipeReader> {
        let (reader, mut writer) = std::io::pipe().context("creating a pipe")?;
        let setup = Setup::new(self, file, folder)?;
        let enter = move || {
            setup.enter().map_err(|(step, error)| {
                // The parent reports the error number; it has no other way to learn the step.
                let _ = writer.write_all(step.as_bytes());
                std::io::Error::from(error)
            })
        };
        // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed: everything in
        // `enter` is a plain system call on paths and texts that were made before the fork, and nothing allocates.
        unsafe { command.pre_exec(enter) };
        Ok(reader)
    }
}

/// Everything that the child needs, made before the fork.
struct Setup {
    isolation: Isolation,
    folder: CString,
    file: CString,
    program: CString,
    proc: CString,
    namespaces: Namespaces,
}

impl Setup {
    fn new(isolation: Isolation, file: &Path, folder: &Path) -> anyhow::Result<Self> {
        let c_path =
            |path: &Path| CString::new(path.as_os_str().as_bytes()).context("a path with a NUL byte");
        let namespaces = match isolation {
            Isolation::ReadOnlyDirectory => UnshareFlags::NEWNS,
            Isolation::Root | Isolation::RootWithoutProc => UnshareFlags::NEWNS | UnshareFlags::NEWNET,
        };
        Ok(Self {
            isolation,
            folder: c_path(folder)?,
            file: c_path(file)?,
            program: c_path(&folder.join(PROGRAM.trim_start_matches('/')))?,
            proc: c_path(&folder.join("proc"))?,
            namespaces: Namespaces::new(namespaces),
        })
    }

    /// The calls, in the child. Allocates nothing.
    fn enter(&self) -> Result<(), FailedStep> {
        self.namespaces.enter()?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|error| ("make the mounts private", error))?;
        mount(c"tmpfs", &*self.folder, c"tmpfs", MountFlags::empty(), None)
            .map_err(|error| ("mount a tmpfs", error))?;
        if self.isolation != Isolation::ReadOnlyDirectory {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            open(&*self.program, flags, Mode::RUSR).map_err(|error| ("create a file on the tmpfs", error))?;
            mount_bind(&*self.file, &*self.program).map_err(|error| ("bind the packed file", error))?;
            mkdir(&*self.proc, Mode::RWXU).map_err(|error| ("create /proc", error))?;
        }
        if self.isolation == Isolation::Root {
            mount_bind_recursive(c"/proc", &*self.proc).map_err(|error| ("bind /proc", error))?;
        }
        mount_remount(&*self.folder, MountFlags::RDONLY, c"")
            .map_err(|error| ("remount the tmpfs read-only", error))?;
        if self.isolation == Isolation::ReadOnlyDirectory {
            return chdir(&*self.folder).map_err(|error| ("change to the working directory", error));
        }
        chroot(&*self.folder).map_err(|error| ("change the root", error))?;
        chdir(c"/").map_err(|error| ("change to the new root", error))
    }
}
