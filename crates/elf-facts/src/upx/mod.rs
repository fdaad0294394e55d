//! The layout that UPX writes around an ELF file.
//!
//! The outer headers of a packed file prove nothing about run time: the stub hands the *decompressed* program headers to the
//! libc. [`detect`] therefore reads the layout, recomputes every checksum in it (UPX never checks the one of the stub) and
//! decompresses the first block, which holds the original headers. [`unpack`] restores the whole original; callers request it
//! explicitly because of its cost.
//!
//! The module does not run the file, and it does not rely on `upx -t`, which accepts files that crash.

mod decompress;
mod detect;
mod error;
mod filter;
mod format;
mod nrv;
mod outer;
mod problem;
mod scanner;
mod types;
mod unpack;

pub use detect::detect;
pub use error::{DecompressError, UnpackError};
pub use format::method_name;
pub use format::{LINUX_AMD64, LINUX_ARM64};
pub use problem::{UpxPart, UpxProblem};
pub use types::{Block, Inner, InnerHeaders, LoaderInfo, PackHeader, ProgramInfo, UpxFacts};
pub use unpack::unpack;
