//! The codes of the server.
//!
//! This file is also part of `xtask`, which explains the codes of all programs without a dependency on their crates. It holds
//! nothing but the table.

diag::codes! {
    /// The command line holds an invalid value.
    pub INVALID_ARGUMENT = Usage "invalid-argument": "the command line holds an invalid value" {
        "cause": "a value has the wrong form, or an option does not exist",
        "fix": "correct the value; `inferd COMMAND --help` lists the options with their forms",
    }
    /// The configuration file is unreadable or invalid.
    pub INVALID_CONFIG = Usage "invalid-config": "the configuration file is unreadable or invalid" {
        "cause": "the file of `--config` cannot be read, is not TOML, or has an unknown option or an invalid value",
        "fix": "write `option = value`, one per line, as TOML; `inferd serve --help` lists the options; replace `-` by `_`",
    }
    /// No model is configured.
    pub NO_MODEL = Usage "no-model": "no model is configured" {
        "fix": "pass `--model DIR`, set `INFERD_MODEL`, or write `model = [\"DIR\"]` into the file of `--config`",
    }
    /// A model has no name, or two models have the same name.
    pub MODEL_NAME = Usage "model-name": "the name of a model is empty or not unique" {
        "cause": "without `NAME=` the last part of the path is the name",
        "fix": "name each model: `--model NAME=DIR`",
    }
    /// The files of a model cannot be used.
    pub MODEL_UNUSABLE = Environment "model-unusable": "a model cannot be opened" {
        "cause": "a file is missing, damaged, or of an architecture that this server does not support",
        "fix": "check the path; the folder needs config.json, tokenizer.json and model.safetensors",
    }
    /// A model opened, but an embedding failed.
    pub EMBEDDING_FAILED = Environment "embedding-failed": "a text cannot be embedded" {
        "cause": "the tokenizer rejects the text, a worker panicked, or the weights hold values that are not finite",
        "fix": "check the text; compare the digest of model.safetensors with its source",
    }
    /// The models need more memory than the limits allow.
    pub INSUFFICIENT_MEMORY = Environment "insufficient-memory": "the models do not fit into the memory limit" {
        "cause": "anonymous memory beyond the limit makes the kernel kill the process; \
                  weights that do not fit are read from disk for every batch",
        "fix": "raise the limit or `--memory-max`, serve fewer or smaller models, load them at their first request with \
                `--lazy-weights`, lower `--threads`, `--max-inflight-bytes`, `--batch-tokens` or `--memory-headroom`, \
                or pass `--no-memory-check`",
    }
    /// The kernels of `--blas-core` cannot be used.
    pub BLAS_CORE = Usage "blas-core": "the kernels of `--blas-core` cannot be used" {
        "cause": "this CPU lacks their instructions, or the build does not have them",
        "fix": "leave `--blas-core` out: OpenBLAS then uses the best kernels for this CPU",
    }
    /// Options of the computation exclude each other.
    pub COMPUTE_OPTIONS = Usage "compute-options": "options of the computation exclude each other" {
        "cause": "OpenBLAS computes in f32 only, and options of one kind of kernels have no effect on the other; or `--dtype` is repeated, or names \
                  a model that is not served",
        "fix": "leave `--gemm openblas` out for `--isa` and other precisions than f32, and `--blas-core` without it",
    }
    /// An address or a socket cannot be bound.
    pub LISTEN_FAILED = Environment "listen-failed": "the server cannot listen on an address" {
        "cause": "another process uses the address, a file is in the way, or permissions are missing",
        "fix": "choose another `--listen` address; `ss -ltnp` and `ss -lxp` list the sockets in use",
    }
    /// The file of API keys is unreadable or invalid.
    pub INVALID_API_KEYS = Usage "invalid-api-keys": "the file of API keys is unreadable or invalid" {
        "fix": "write one `KEY` or `NAME KEY` per line; `#` begins a comment; create keys with `openssl rand -hex 24`",
    }
    /// A thread or a signal handler cannot be set up.
    pub SYSTEM_RESOURCE = Environment "system-resource": "the system refuses a thread or a signal handler" {
        "cause": "a limit on threads or memory is reached",
        "fix": "raise the limits on processes (`ulimit -u`, `pids.max`) and memory",
    }
    /// A line of stdin is not a usable text.
    pub INVALID_INPUT = Usage "invalid-input": "an input text is too long, not UTF-8, or unreadable" {
        "fix": "pass one UTF-8 text per line of at most 1 MiB; `iconv -t UTF-8` converts, long documents must be split",
    }
    /// stdout cannot be written.
    pub STDOUT_FAILED = Environment "stdout-failed": "stdout cannot be written" {
        "fix": "check where stdout is redirected to",
    }
    /// `healthcheck` received no HTTP response.
    pub NO_RESPONSE = Environment "no-response": "the server does not respond" {
        "fix": "check that the server runs and listens on the address of `--address`",
    }
    /// A fatal signal ended the program.
    pub CRASH = Environment "crash": "a fatal signal ended the program" {
        "cause": "a bug (access of unmapped memory, stack overflow, abort), an instruction that this CPU does not have, \
                  or a signal that another process sent",
        "fix": "resolve the backtrace with the `.debug` file of the build-id: `addr2line -Cfipe FILE.debug ADDRESS…`; report it \
                with the whole text",
    }
    /// The system refused memory, and the program could not go on.
    pub OUT_OF_MEMORY = Environment "out-of-memory": "an allocation failed" {
        "cause": "a limit on address space, data or mappings, or the system's limit on committed memory, is reached",
        "fix": "raise the limit that the report names, or lower `--threads`, `--max-inflight-bytes` or `--batch-tokens`",
    }
    /// The program has a bug.
    pub INTERNAL_ERROR = Environment "internal-error": "the program has a bug" {
        "fix": "report it with the output of `inferd --version`",
    }
}
