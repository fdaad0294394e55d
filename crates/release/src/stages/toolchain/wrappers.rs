//! Small shell scripts that offer zig as a C compiler and as binutils, with a fixed target.
//!
//! They are scripts and not this program under other names: their bytes are part of a native build's fingerprint and change
//! only when their behaviour changes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::context::BuildContext;
use crate::jobs::Jobs;
use crate::resolution::Tool;
use process::Task;
use store::{Digest, Fingerprint, Record, Store};

/// The scripts.
#[derive(Debug, Clone, Serialize)]
pub struct Wrappers {
    #[serde(skip)]
    cc: PathBuf,
    #[serde(skip)]
    ar: PathBuf,
    #[serde(skip)]
    ranlib: PathBuf,
    sha256: Digest,
}

impl Wrappers {
    /// `zig cc` for the target.
    pub fn cc(&self) -> &Path {
        &self.cc
    }

    /// `zig ar`.
    pub fn ar(&self) -> &Path {
        &self.ar
    }

    /// `zig ranlib`.
    pub fn ranlib(&self) -> &Path {
        &self.ranlib
    }

    /// Where zig keeps its compiled libc. Other scripts have another folder: the names in the debug information of the libc
    /// follow from them, and zig does not see the difference.
    pub fn zig_cache(&self, store: &Store) -> PathBuf {
        store.entry_path(&format!("zig/{}", self.sha256.short()))
    }

    /// Digest of the scripts without the path of zig: the same scripts in two home folders are the same input.
    pub fn sha256(&self) -> &Digest {
        &self.sha256
    }

    #[cfg(test)]
    pub(super) fn of_machine(cc: PathBuf, sha256: Digest) -> Self {
        Self { cc, ar: "ar".into(), ranlib: "ranlib".into(), sha256 }
    }
}

/// zig reads `-march=a-b` as "a minus b" and fails; OpenBLAS then continues without AVX-512 and without a message.
/// The CPU of the build machine must not influence the archive, so `native` is an error.
///
/// Without `-O`, zig takes a call for a debug build and adds the sanitizer of undefined behaviour. A link has no `-O`: zig would
/// compile the runtime of the sanitizer for it, 15 s beside the 50 s of its libc, and link nothing of it. A later flag of the
/// caller turns the sanitizer on again, and the rule `no-sanitizer-runtime` judges the result.
///
/// zig compiles its libc with debug information and no flag to map paths. The names in it are those that zig has for its library
/// folder and for its cache, and that clang has for its current folder (`PWD` when it is the same folder). All three get names that
/// are equal on every machine and for every user; the rule `mapped-debug-paths` judges the result.
const CC: &str = r#"#!/bin/sh
left=$#
while [ "$left" -gt 0 ]; do
  argument=$1
  shift
  left=$((left - 1))
  case $argument in
    -march=native | -mtune=native | -mcpu=native)
      echo "error: $argument would make the output depend on the build machine" >&2
      exit 1
      ;;
    -march=*-*)
      cpu=${argument#-march=}
      while :; do
        case $cpu in
          *-*) cpu=${cpu%%-*}_${cpu#*-} ;;
          *) break ;;
        esac
      done
      argument=-mcpu=$cpu
      ;;
  esac
  set -- "$@" "$argument"
done
exec 9<'@ZIG_FOLDER@'
export ZIG_LIB_DIR=/proc/self/fd/9/lib PWD=/proc/self/cwd
if [ -n "${ZIG_GLOBAL_CACHE_DIR-}" ]; then
  mkdir -p "$ZIG_GLOBAL_CACHE_DIR"
  exec 8<"$ZIG_GLOBAL_CACHE_DIR"
  [ "${ZIG_LOCAL_CACHE_DIR-}" != "$ZIG_GLOBAL_CACHE_DIR" ] || export ZIG_LOCAL_CACHE_DIR=/proc/self/fd/8
  export ZIG_GLOBAL_CACHE_DIR=/proc/self/fd/8
fi
exec '@ZIG@' cc -target @TARGET@ -fno-sanitize=undefined "$@"
"#;
const AR: &str = "#!/bin/sh\nexec '@ZIG@' ar \"$@\"\n";
const RANLIB: &str = "#!/bin/sh\nexec '@ZIG@' ranlib \"$@\"\n";

pub(super) fn install(context: &BuildContext, zig: &Tool, target: &str) -> anyhow::Result<Wrappers> {
    // zig names targets without the vendor.
    let target = target.replacen("-unknown", "", 1);
    let scripts = [("cc", CC), ("ar", AR), ("ranlib", RANLIB)];
    let mut what = Fingerprint::default();
    for (name, text) in scripts {
        what.part(name, text.replace("@TARGET@", &target));
    }
    let sha256 = what.digest();
    let place = Fingerprint::default().part("scripts", &sha256).part("zig", zig.path.display()).digest();
    let entry = context.store.get_or_create(&format!("wrappers/{}", place.short()), |staging| {
        let mut record = Record::default();
        for (name, text) in scripts {
            let path = staging.join(name);
            let folder = zig.path.parent().unwrap_or(Path::new("/")).to_string_lossy();
            let text = text.replace("@TARGET@", &target).replace("@ZIG_FOLDER@", &folder);
            let text = text.replace("@ZIG@", &zig.path.to_string_lossy());
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            record.add_file(staging, name)?;
        }
        Ok(record)
    })?;
    let path = |name| entry.path.join(name);
    Ok(Wrappers { cc: path("cc"), ar: path("ar"), ranlib: path("ranlib"), sha256 })
}

/// Links an empty program. zig compiles its libc, unwinder and start files at the first link, which takes most of a minute; in
/// parallel with the native libraries this costs no elapsed time. With a warm cache it is one small link.
pub(crate) fn warm_linker(context: &BuildContext, wrappers: &Wrappers, jobs: &Jobs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("creating a folder for a first link")?;
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n")?;
    let mut cc = context.command(&wrappers.cc);
    cc.arg(&source).args(["-static", "-lunwind", "-o"]).arg(folder.path().join("empty"));
    for name in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
        cc.env(name, wrappers.zig_cache(&context.store));
    }
    let _token = jobs.token()?;
    context.runner.run(Task::new("link a first program", cc)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Runs the script with `echo` in place of zig and returns the arguments that zig would get.
    fn arguments(given: &[&str]) -> Result<String, String> {
        let script =
            super::CC.replace("'@ZIG@'", "echo").replace("@TARGET@", "t").replace("@ZIG_FOLDER@", "/");
        let output = Command::new("sh").arg("-c").arg(script).arg("cc").args(given).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_string();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    #[test]
    fn replaces_dashes_in_march() {
        assert_eq!(
            arguments(&["-march=skylake-avx512", "-c", "a b.c"]).unwrap(),
            "cc -target t -fno-sanitize=undefined -mcpu=skylake_avx512 -c a b.c"
        );
        assert_eq!(
            arguments(&["-march=x86-64-v3"]).unwrap(),
            "cc -target t -fno-sanitize=undefined -mcpu=x86_64_v3"
        );
        assert_eq!(
            arguments(&["-march=haswell"]).unwrap(),
            "cc -target t -fno-sanitize=undefined -march=haswell"
        );
    }

    #[test]
    fn rejects_the_cpu_of_the_build_machine() {
        insta::assert_snapshot!(arguments(&["-march=native"]).unwrap_err(), @"error: -march=native would make the output depend on the build machine");
    }
}
