//! Model files, tokenizers and forward passes.
//!
//! [`Embedder`] opens a model folder as sentence-transformers writes it and computes one vector per text, equal to the
//! reference within 1e-5 (see the golden tests). The flow of a call:
//!
//! ```text
//! texts -> tokenizer   on the thread team, one share of the texts per unit
//!       -> batch       divided into chunks of equal work, packed without padding
//!       -> bert        one forward pass per chunk, on the team; kernels of the crate `kernels`, or OpenBLAS
//!       -> vectors     in the order of the texts
//! ```
//!
//! | module | purpose |
//! |---|---|
//! | `model_files`, `config`, `weights` | strict parsing of a model folder |
//! | `tokenizer` | text to token ids |
//! | `bert` | the forward pass |
//! | [`GemmBackend`] | what computes the products |
//! | `compute_team`, `blas`, `blas_kernels`, `cost_model` | compute threads; thread count and kernels of OpenBLAS |
//! | `model`, `embedder` | one model; calls on it |
//! | [`memory`] | memory budget of a model before it is opened |
//! | [`codes`] | stable codes of all errors |
//!
//! Not here: HTTP, async, queues and deadlines, which belong to the server. The engine makes no decision from the
//! environment and prints nothing.
//!
//! ```no_run
//! use std::num::NonZeroUsize;
//!
//! let embedder = engine::Embedder::open("models/all-MiniLM-L6-v2".as_ref(), engine::GemmBackend::default(), NonZeroUsize::MIN)?;
//! let vectors = embedder.embed(&["a text", "another text"])?;
//! assert_eq!((vectors.len(), vectors[0].len()), (2, embedder.dimension()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod batch;
mod bert;
mod blas;
mod blas_kernels;
mod cancel;
pub mod codes;
mod compute_team;
mod config;
mod content_check;
mod cost_model;
mod embedder;
mod error;
mod gemm_backend;
mod idle_signal;
pub mod memory;
mod model;
mod model_files;
mod sigbus_guard;
mod stack;
mod tokenizer;
mod weights;

pub use blas::{BlasInfo, blas_info, threads_max};
pub use blas_kernels::{BlasKernels, KernelError, better_blas_kernels, select_blas_kernels};
pub use cancel::Cancel;
pub use compute_team::ComputeTeam;
pub use embedder::Embedder;
pub use error::{EngineError, ModelError, ModelErrorKind};
pub use gemm_backend::{GemmBackend, OwnKernels};
pub use idle_signal::IdleSignal;
pub use kernels::isa::{Isa, IsaError};
pub use kernels::linear::Precision;
pub use model_files::EmbeddedFiles;
pub use stack::STACK_SIZE_BYTES;
pub use tokenizer::{TextCursor, Token};
