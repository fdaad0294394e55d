//! The checked options of a server.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::admission::AdmissionLimits;
use super::allowed_host::AllowedHost;
use super::backends::Backends;
use super::listen::Listen;
use super::scheduler::BatchSettings;
use super::trusted_proxy::TrustedProxy;
use crate::memory::memory_max::MemoryMax;

/// Options of a server. The command line has a flag for each.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name and folder of each model.
    pub models: Vec<(String, PathBuf)>,
    /// What computes the products of each model.
    pub backends: Backends,
    /// Addresses; at least one.
    pub listen: Vec<Listen>,
    /// Addresses that serve probes and metrics only, with connections of their own.
    pub admin_listen: Vec<Listen>,
    /// Hosts that requests may name besides those of loopback; empty: checked on loopback only.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Peers whose headers about the client are trusted.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Permissions of unix sockets.
    pub socket_mode: u32,
    /// File of API keys; `None`: requests need no key.
    pub api_keys: Option<PathBuf>,
    /// Whether `/metrics` and the status page require a key.
    pub protect_metrics: bool,
    /// Compute threads.
    pub threads: NonZeroUsize,
    /// Sources of the options, for the log.
    pub sources: OptionSources,
    /// Whether a model is loaded at its first request.
    pub lazy_weights: bool,
    /// Bytes that must stay free; `None`: no memory check.
    pub memory_headroom: Option<u64>,
    /// Bound of the resident memory; `None`: the default.
    pub memory_max: Option<MemoryMax>,
    /// Limits on all concurrent requests.
    pub admission: AdmissionLimits,
    /// Limits on each request.
    pub requests: RequestLimits,
    /// Limits on connections.
    pub connections: ConnectionLimits,
    /// Formation of batches.
    pub batches: BatchSettings,
}

/// Sources of the options. They are logged at the start and have no other use.
#[derive(Debug, Clone, Default)]
pub struct OptionSources {
    /// Source of the number of threads.
    pub threads: String,
    /// Source of the kernels.
    pub kernels: String,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Possible typing errors.
    pub warnings: Vec<String>,
}

/// Limits on one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of the body.
    pub body_bytes_max: u64,
    /// Time to receive the body.
    pub body_timeout: Duration,
    /// Bytes per second of a body that takes longer than a few seconds; zero: no limit.
    pub body_rate_min: u64,
    /// Time for the whole request; zero: no limit.
    pub timeout: Duration,
    /// Inputs.
    pub inputs_max: usize,
    /// Whether inputs can be token ids.
    pub token_ids: bool,
}

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Open connections.
    pub connections_max: usize,
    /// Time from the start of a connection, or from the end of its previous response, to the end of the next headers.
    pub header_timeout: Duration,
    /// Time in which a client must read a response, or its part of a long one.
    pub write_timeout: Duration,
}
