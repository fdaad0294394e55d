//! The stages of a release, one module each. A stage consumes the value of the stage before it and returns the next one; no
//! other module constructs that value. [`crate::stage::STAGES`] is the table of all stages.
//!
//! Each type of a stage has an example that forges it and must not compile. Error codes of such examples are checked by a
//! nightly rustdoc only, so this example shows on every compiler that their paths and arguments exist; what remains is the
//! private field:
//!
//! ```
//! use release::artifact::Artifact;
//! use release::bill::LinkedCrates;
//! use release::gate::Judged;
//! use release::native_inputs::NativeInputs;
//! use release::resolution::{Rust, Tool};
//! use release::stages::image::{Image, ImageFacts};
//! use release::stages::link::Linked;
//! use release::stages::mutation::{DamagedPack, MutationReport, MutationTested};
//! use release::stages::native::{NativeLibs, PatchesLinked, StaticLib};
//! use release::stages::pack::Packed;
//! use release::stages::prove::Proved;
//! use release::stages::publish::{Manifest, Release};
//! use release::stages::sources::Sources;
//! use release::stages::strip::Stripped;
//! use release::stages::toolchain::{Toolchain, Wrappers};
//!
//! fn in_order(image: Image) -> Artifact {
//!     let proved: &Proved = image.proved();
//!     let tested: &MutationTested = proved.tested();
//!     let packed: &Packed = tested.packed();
//!     let stripped: &Stripped = packed.stripped();
//!     let linked: &Linked = stripped.linked();
//!     let (native, judged): (&NativeLibs, &Judged) = (linked.native(), linked.judged());
//!     let _: &LinkedCrates = linked.crates();
//!     let (toolchain, patches): (&Toolchain, &PatchesLinked) = (native.toolchain(), linked.patches());
//!     assert_eq!(patches.sha256(), judged.file().sha256());
//!     let _: (&Tool, &Rust, &Wrappers) = (toolchain.zig(), toolchain.rust(), toolchain.wrappers());
//!     let _: (&[NativeInputs], &[StaticLib]) = (native.inputs(), native.libraries());
//!     let _: (&MutationReport, &ImageFacts) = (tested.report(), image.facts());
//!     packed.file().clone()
//! }
//! fn other_values(_: DamagedPack, _: Sources, _: Manifest, _: Release) {}
//! ```

pub mod image;
pub mod link;
pub mod mutation;
pub mod native;
pub mod pack;
pub mod prove;
pub mod publish;
pub mod sources;
pub mod strip;
pub mod toolchain;
