//! Where the server listens: TCP addresses and unix sockets.
//!
//! A unix socket is a file that outlives a server that was killed. Such a file is removed at the next start, but only when
//! it is a socket and nobody answers on it. At an orderly end the server removes its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

use super::client::Client;
use super::stall_guard::Stream;
use crate::failure::Failure;

const BACKLOG: u32 = 1024;
/// For a look whether somebody answers on a socket that is there already.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
const UNIX: &str = "unix:";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("expected a path after `unix:`".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "expected `IP:PORT` such as `127.0.0.1:8080`, or `unix:/path`".into()),
        }
    }
}

/// As it is given, and for TCP as it stands in a URL.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removed when dropped, if it is still the one that was made.
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
    /// `mode` is that of a unix socket.
    pub async fn bind(listen: &Listen, mode: u32) -> Result<Self, Failure> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(|error| {
                    Failure::new(error).context(format!("cannot listen on {address}")).hint(format!(
                        "See who does with `ss -ltnp`, or choose another `--listen {}:PORT`.",
                        address.ip()
                    ))
                })?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => {
                clear(path).await?;
                let failed = |error| {
                    let hint = "The folder must be there and writable, and the path shorter than 108 bytes.";
                    Failure::new(error).context(format!("cannot listen on {listen}")).hint(hint)
                };
                bind_unix(path, mode).map_err(failed)
            }
        }
    }

    /// With the port that the system chose.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_, file) => Ok(Listen::Unix(file.path.clone())),
        }
    }

    pub async fn accept(&self) -> io::Result<(Stream, Client)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is written whole: waiting for more would only delay it.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Client::from_address(peer.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map_or("unknown".into(), |peer| peer.uid().to_string());
                Ok((Box::new(stream), Client::from_name(&format!("uid {user}"))))
            }
        }
    }
}

/// The permissions are set between bind and listen: before, nobody can connect.
fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let meta = path.symlink_metadata()?;
    let file = SocketFile { path: path.to_owned(), inode: (meta.dev(), meta.ino()) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(Listener::Unix(socket.listen(BACKLOG)?, file))
}

/// Removes what a server that was killed has left behind, and nothing else.
async fn clear(path: &Path) -> Result<(), Failure> {
    let refuse = |what: &str, hint: String| {
        Err(Failure::message(format_args!("cannot listen on {UNIX}{}: {what}", path.display())).hint(hint))
    };
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return refuse(&error.to_string(), "May this user look into the folder?".into()),
    };
    if !meta.file_type().is_socket() {
        return refuse(
            "there is something that is not a socket, and it is left alone",
            format!("Look at it with `ls -l {}`, or choose another path.", path.display()),
        );
    }
    let answers = tokio::time::timeout(PROBE_TIME_MAX, UnixStream::connect(path)).await;
    match answers {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .or_else(|error| {
                refuse(
                    &format!("cannot remove the socket of a dead server: {error}"),
                    "Remove it by hand.".into(),
                )
            }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            refuse("the socket there is another user's", "Choose another path.".into())
        }
        // Also one that is too busy to answer.
        _ => refuse(
            "a server listens there already",
            format!("See who does with `ss -lxp src {}`, or choose another path.", path.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Listener, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listen = Listen::Unix(path.into());
        runtime.block_on(Listener::bind(&listen, 0o660)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn addresses_and_paths() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Listen::Tcp("127.0.0.1:80".parse().unwrap())));
        assert_eq!("unix:/run/x".parse(), Ok(Listen::Unix("/run/x".into())));
        assert!("unix:".parse::<Listen>().is_err() && "localhost:80".parse::<Listen>().is_err());
    }

    #[test]
    fn a_dead_servers_socket_is_replaced_and_ours_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // std leaves the file behind, as a killed server does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_server_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let live = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(bind(&path).err().unwrap().contains("a server listens there already"));
        assert!(path.exists());
        drop(live);
        let file = folder.path().join("f");
        std::fs::write(&file, "precious").unwrap();
        assert!(bind(&file).err().unwrap().contains("not a socket"));
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(bind(&link).err().unwrap().contains("not a socket"));
    }

    #[test]
    fn a_socket_that_another_server_made_meanwhile_is_not_removed() {
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
