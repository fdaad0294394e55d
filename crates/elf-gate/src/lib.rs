//! Facts of ELF files, policies about them, and verdicts.
