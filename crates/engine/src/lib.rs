//! Model files, tokenizers and forward passes.
