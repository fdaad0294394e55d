//! Real static programs in image archives.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use oci_image::{ImageFile, ImageSpec, OciImage};

/// Calls what an image must provide for.
pub const NEEDY: &str = "\
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <time.h>
const char *X509_get_default_cert_file(void) { return \"/etc/ssl/cert.pem\"; }
int main(int argc, char **argv) {
    struct tm tm; struct passwd pw, *found; char buffer[64]; struct addrinfo *list; time_t now = argc;
    setlocale(LC_ALL, argv[0]);
    return !localtime_r(&now, &tm) + getaddrinfo(argv[0], 0, 0, &list) + X509_get_default_cert_file()[argc]
        + getpwnam_r(argv[0], &pw, buffer, sizeof buffer, &found);
}
";

/// A static program of the C compiler of this machine, with symbols.
pub fn compiled(source: &str, folder: &Path) -> Vec<u8> {
    let (input, output) = (folder.join("program.c"), folder.join("program"));
    std::fs::write(&input, source).unwrap();
    let mut cc = Command::new("cc");
    let done = cc.args(["-static", "-O1", "-w", "-o"]).args([&output, &input]).output().expect("cc runs");
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "static linking needs the static C library (Debian: libc6-dev): {log}");
    std::fs::read(output).unwrap()
}

/// A docker archive with one layer; `program` is the entrypoint.
pub fn archive(files: &[(&str, &[u8])], env: &[&str], program: &str) -> Vec<u8> {
    let image = OciImage::build(&ImageSpec {
        files: files.iter().map(|(path, bytes)| ImageFile::from_bytes(path, 0o555, bytes.to_vec())).collect(),
        entrypoint: vec![program.into()],
        cmd: vec![],
        env: env.iter().map(|pair| pair.to_string()).collect(),
        user: "65532:65532".into(),
        workdir: "/".into(),
        labels: BTreeMap::new(),
        exposed_ports: vec![],
        architecture: "amd64".into(),
        created_unix_seconds: 0,
        reference: "program:1".into(),
    })
    .unwrap();
    let mut archive = Vec::new();
    image.write_docker_tar(&mut archive).unwrap();
    archive
}
