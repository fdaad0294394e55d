//! Reproducible container images without a daemon.
