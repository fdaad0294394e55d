//! Programs only: `src/bin`.
