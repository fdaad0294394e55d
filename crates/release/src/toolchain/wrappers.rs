//! Small shell scripts that make zig look like a C compiler and like binutils, with the target fixed.
//!
//! They are scripts and not this program under other names, so that their bytes (which are part of a native build's
//! fingerprint) change only when what they do changes.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::{Site, Tool};
use crate::jobs::Jobs;
use process::Task;
use store::Record;
use store::{Digest, Fingerprint};

#[derive(Debug, Clone, Serialize)]
pub struct Wrappers {
    #[serde(skip)]
    pub cc: PathBuf,
    #[serde(skip)]
    pub ar: PathBuf,
    #[serde(skip)]
    pub ranlib: PathBuf,
    /// Of the scripts with the path of zig left out: the same scripts in two home folders are the same input.
    pub sha256: Digest,
}

/// zig reads `-march=a-b` as "a minus b" and refuses; OpenBLAS then builds on without AVX-512 and says nothing.
/// A CPU of the build machine must not get into the archive, so `native` is refused loudly.
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
exec '@ZIG@' cc -target @TARGET@ "$@"
"#;
const AR: &str = "#!/bin/sh\nexec '@ZIG@' ar \"$@\"\n";
const RANLIB: &str = "#!/bin/sh\nexec '@ZIG@' ranlib \"$@\"\n";

pub fn provide(site: &Site, zig: &Tool, target: &str) -> anyhow::Result<Wrappers> {
    // zig names targets without the vendor.
    let target = target.replacen("-unknown", "", 1);
    let scripts = [("cc", CC), ("ar", AR), ("ranlib", RANLIB)];
    let mut what = Fingerprint::default();
    for (name, text) in scripts {
        what.part(name, text.replace("@TARGET@", &target));
    }
    let sha256 = what.digest();
    let place = Fingerprint::default().part("scripts", &sha256).part("zig", zig.path.display()).digest();
    let entry = site.store.get_or_create(&format!("wrappers/{}", place.short()), |staging| {
        let mut record = Record::default();
        for (name, text) in scripts {
            let path = staging.join(name);
            let text = text.replace("@TARGET@", &target).replace("@ZIG@", &zig.path.to_string_lossy());
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            record.add_file(staging, name)?;
        }
        Ok(record)
    })?;
    let path = |name| entry.path.join(name);
    Ok(Wrappers { cc: path("cc"), ar: path("ar"), ranlib: path("ranlib"), sha256 })
}

/// zig compiles its libc, unwinder and start files at the first link, which takes half a minute. Done while OpenBLAS is
/// compiled, it costs nobody any waiting. With a warm cache this is one small link.
pub fn warm_linker(site: &Site, wrappers: &Wrappers, jobs: &Jobs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("making a folder for a first link")?;
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n")?;
    let mut cc = site.command(&wrappers.cc);
    cc.arg(&source).args(["-static", "-lunwind", "-o"]).arg(folder.path().join("empty"));
    for name in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
        cc.env(name, site.store.entry_path("zig"));
    }
    let _token = jobs.token()?;
    site.runner.run(Task::new("link a first program", cc)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Runs the script with `echo` in zig's place and gives back the arguments that zig would have got.
    fn arguments(given: &[&str]) -> Result<String, String> {
        let script = super::CC.replace("'@ZIG@'", "echo").replace("@TARGET@", "t");
        let output = Command::new("sh").arg("-c").arg(script).arg("cc").args(given).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_string();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    #[test]
    fn dashes_in_march_do_not_reach_zig() {
        assert_eq!(
            arguments(&["-march=skylake-avx512", "-c", "a b.c"]).unwrap(),
            "cc -target t -mcpu=skylake_avx512 -c a b.c"
        );
        assert_eq!(arguments(&["-march=x86-64-v3"]).unwrap(), "cc -target t -mcpu=x86_64_v3");
        assert_eq!(arguments(&["-march=haswell"]).unwrap(), "cc -target t -march=haswell");
    }

    #[test]
    fn the_build_machines_cpu_is_refused() {
        assert!(arguments(&["-march=native"]).unwrap_err().contains("depend on the build machine"));
    }
}
