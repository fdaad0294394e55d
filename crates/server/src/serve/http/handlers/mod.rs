//! One module per endpoint.

pub mod embeddings;
pub mod health;
pub mod infer;
pub mod metrics;
pub mod models;
pub mod openapi;
pub mod rerank;
pub mod status;
pub mod tokenize;
