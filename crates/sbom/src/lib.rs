//! Bills of materials: what is in a program, where it comes from, and what made it.
//!
//! A [`Bill`] is data. [`Bill::to_cyclonedx`] writes it as CycloneDX 1.6, [`Bill::to_spdx`] as SPDX 2.3, both in JSON. The two
//! documents have the same parts and differ only in what a format can express: CycloneDX carries the text of a patch, SPDX its
//! digests.
//!
//! The same bill gives the same bytes: parts are sorted, and `serialNumber` and `documentNamespace` are derived from a digest
//! of the rest of the document. The crate opens no file, reads no clock, and knows no product; names of properties come from
//! the caller.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod codes;
mod cyclonedx;
mod identity;
mod licence;
mod model;
mod purl;
mod spdx;

pub use codes::{CODES, SBOM_INVALID};
pub use licence::spdx_expression;
pub use model::{Bill, Checksums, Part, Patch, Pedigree, Role, ShippedFile, Step};
pub use purl::Purl;
