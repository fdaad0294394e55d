//! Listeners on TCP addresses and unix sockets.
//!
//! The file of a unix socket outlives a server that was killed. The next start removes it, but only when it is a socket
//! and no process accepts connections on it. A server that exits regularly removes its own file.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use diag::Diagnostic;
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

use super::client::Peer;
use super::write_timeout::Stream;
use crate::codes;

const BACKLOG: u32 = 1024;
/// Time limit of the connection attempt to an existing socket.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
const UNIX_PREFIX: &str = "unix:";

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// IP address and port.
    Tcp(SocketAddr),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX_PREFIX) {
            Some("") => Err("expected a path after `unix:`".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "expected `IP:PORT` such as `127.0.0.1:8080`, or `unix:/path`".into()),
        }
    }
}

/// The form that [`FromStr`] parses.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

/// A bound listener.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket. Dropping it removes the file, unless another process has replaced it.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// `mode` holds the permissions of a unix socket.
    pub async fn bind(listen: &Listen, mode: u32) -> Result<Self, Diagnostic> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(|error| {
                    failed(listen, &error).hint(format!(
                        "`ss -ltnp` lists the ports in use; `--listen {}:PORT` selects another one",
                        address.ip()
                    ))
                })?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => {
                remove_stale_socket(listen, path).await?;
                bind_unix(path, mode).map_err(|error| {
                    failed(listen, &error)
                        .hint("the folder must exist and be writable, and the path be shorter than 108 bytes")
                })
            }
        }
    }

    /// The address, with the port that the system selected.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_, file) => Ok(Listen::Unix(file.path.clone())),
        }
    }

    /// Whether only programs of this machine can connect over TCP.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener.local_addr().is_ok_and(|at| at.ip().to_canonical().is_loopback()),
            Self::Unix(..) => false,
        }
    }

    /// Accepts one connection. The address is that of the server, if it has one.
    pub async fn accept(&self) -> io::Result<(Stream, Peer, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Responses are written in one piece; Nagle's algorithm would delay them.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().ok().map(|local| local.ip());
                Ok((Box::new(stream), Peer::Ip(peer.ip()), local))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Box::new(stream), Peer::Unix(user), None))
            }
        }
    }
}

/// Sets the permissions between bind and listen, before any process can connect.
fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let meta = path.symlink_metadata()?;
    let file = SocketFile { path: path.to_owned(), inode: (meta.dev(), meta.ino()) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(Listener::Unix(socket.listen(BACKLOG)?, file))
}

fn failed(listen: &Listen, error: &io::Error) -> Diagnostic {
    codes::caused(&codes::LISTEN_FAILED, format!("cannot listen on {listen}"), error)
}

/// Removes the socket of a server that was killed, and no other file.
async fn remove_stale_socket(listen: &Listen, path: &Path) -> Result<(), Diagnostic> {
    let reject = |cause: &str, hint: String| {
        let diagnostic = Diagnostic::new(&codes::LISTEN_FAILED, format!("cannot listen on {listen}"));
        Err(diagnostic.cause(cause).hint(hint))
    };
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return reject(&error.to_string(), "check the permissions of the folder".into()),
    };
    if !meta.file_type().is_socket() {
        return reject(
            "the path exists and is not a socket; it is not removed",
            format!("inspect it with `ls -l {}`, or choose another path", path.display()),
        );
    }
    match tokio::time::timeout(PROBE_TIME_MAX, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .or_else(|error| {
                reject(&format!("cannot remove the stale socket: {error}"), "remove it manually".into())
            }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            reject("the socket belongs to another user", "choose another path".into())
        }
        // A timeout counts as a live server that is overloaded.
        _ => reject(
            "another server listens on the socket",
            format!("`ss -lxp src {}` names the process; or choose another path", path.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Listener, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listen = Listen::Unix(path.into());
        runtime.block_on(Listener::bind(&listen, 0o660)).map_err(|diagnostic| diagnostic.to_string())
    }

    #[test]
    fn parses_addresses_and_paths() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Listen::Tcp("127.0.0.1:80".parse().unwrap())));
        assert_eq!("unix:/run/x".parse(), Ok(Listen::Unix("/run/x".into())));
        assert!("unix:".parse::<Listen>().is_err() && "localhost:80".parse::<Listen>().is_err());
    }

    #[test]
    fn replaces_a_stale_socket_and_removes_its_own_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // std does not remove the file; neither does a server that is killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn keeps_the_socket_of_a_live_server_and_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let live = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused =
            |path: &Path| bind(path).err().unwrap().replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(refused(&path), @"
        cannot listen on unix:FOLDER/s
          because:  another server listens on the socket
        ");
        assert!(path.exists());
        drop(live);
        let file = folder.path().join("f");
        std::fs::write(&file, "precious").unwrap();
        insta::assert_snapshot!(refused(&file), @"
        cannot listen on unix:FOLDER/f
          because:  the path exists and is not a socket; it is not removed
        ");
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        insta::assert_snapshot!(refused(&link), @"
        cannot listen on unix:FOLDER/l
          because:  the path exists and is not a socket; it is not removed
        ");
    }

    #[test]
    fn keeps_a_socket_that_another_server_has_created_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(other);
    }
}
