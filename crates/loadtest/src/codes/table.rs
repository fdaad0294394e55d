//! The codes of the load tests.
//!
//! This file is also part of `xtask`, which explains the codes of all programs without a dependency on their crates. It holds
//! nothing but the table.

diag::codes! {
    /// A response under overload that is neither 200 nor 429 with `Retry-After`, or no response.
    pub UNEXPECTED_RESPONSE = Violation "load-unexpected-response": "an overloaded server answered with another status than 200 or 429, or not at all" {
        "catches": "internal errors, dropped connections and rejections without `Retry-After`, which clients cannot retry correctly",
        "fix": "reproduce with `cargo xtask loadtest overload` and read the server's log; every rejection must pass the admission control",
    }
    /// No request was rejected, so the server was never overloaded.
    pub NOT_SATURATED = Violation "load-not-saturated": "no request was rejected, so the run proves nothing about overload" {
        "catches": "a load generator that is slower than the server",
        "fix": "raise `--clients`, or give the load generator processors of its own",
    }
    /// More threads than the CPU quota allows.
    pub QUOTA_THREADS = Violation "load-quota-threads": "the number of threads does not follow the CPU quota" {
        "catches": "a count of the affinity mask, with which the threads of one product wait for each other's time slices",
        "fix": "run `inferd serve --print-config` in a container with `--cpus 1`; it has the source of `threads`",
    }
    /// An overloaded server accepts less than it can compute.
    pub ACCEPTED_RATE = Violation "load-accepted-rate": "an overloaded server accepted too few requests" {
        "catches": "rejections that take the time of accepted requests, or a `--queue-timeout` that leaves the compute threads idle",
        "fix": "compare `inferd_batch_tokens` on /metrics during the overload with `--batch-tokens`",
    }
    /// Accepted requests take longer than the queue explains.
    pub LATENCY = Violation "load-latency": "the 99th percentile of accepted requests is above its limit" {
        "catches": "a queue that is longer than `--max-inflight` admits, or batches that starve",
        "fix": "run again on an idle machine; if it stays, compare `inferd_queue_duration_seconds` with `inferd_batch_duration_seconds` on /metrics",
    }
    /// Resident memory is not constant under load.
    pub MEMORY_GROWTH = Violation "load-memory-growth": "resident memory is not constant under load" {
        "catches": "buffers that grow with the number of requests instead of the number of requests in flight",
        "fix": "compare `inferd_memory_anonymous_bytes` with `inferd_memory_estimate_bytes` on /metrics during the run",
    }
    /// The number of threads changes under load.
    pub THREAD_COUNT = Violation "load-thread-count": "the number of threads changed under load" {
        "catches": "threads that are created per request or per connection",
        "fix": "list /proc/PID/task/*/comm of the server during the run",
    }
    /// The kernel killed the server in its container.
    pub OOM_KILL = Violation "load-oom-kill": "the server did not survive the memory limit of its container" {
        "catches": "an estimate of memory that is too low",
        "fix": "compare the estimate with the measurement: `cargo xtask bench memory`",
    }
    /// A model that cannot fit is not refused at the start.
    pub MEMORY_REFUSAL = Violation "load-memory-refusal": "a model that does not fit into the memory limit was not refused at the start" {
        "catches": "a server that loads first and is killed later",
        "fix": "run `inferd serve` under the same limit and read its first log line",
    }
    /// A request that reached the server during a drain got no response.
    pub DRAIN_LOST_REQUEST = Violation "drain-lost-request": "a request that reached the server during a drain was not answered" {
        "catches": "connections that are reset with a request in them, in the accept backlog or kept alive",
        "fix": "reproduce with `cargo xtask loadtest drain`; the first lost request is in `found`",
    }
    /// The drain did not happen under load.
    pub DRAIN_NOT_UNDER_LOAD = Violation "drain-not-under-load": "no request arrived during or after the drain, so the run proves nothing" {
        "catches": "a drain that ends before the load reaches it",
        "fix": "run it again on an idle machine",
    }
    /// The server did not exit in time after SIGTERM.
    pub DRAIN_DEADLINE = Violation "drain-deadline": "the server did not exit with 0 within `--drain-timeout`" {
        "catches": "work or connections that outlive the drain",
        "fix": "read the server's log from `draining` on",
    }
    /// A malformed request or a misbehaving client got another response than expected, or harmed other clients.
    pub FAULT_RESPONSE = Violation "fault-response": "a misbehaving client got another response than expected, or a valid request failed afterwards" {
        "catches": "missing time limits, size limits and error handling",
        "fix": "send the request of that check by hand; `expected` lists the allowed outcomes",
    }
    /// The response to a malformed request is not documented.
    pub MALFORMED_RESPONSE = Violation "malformed-response": "a malformed request got a response that /openapi.json does not document, or another outcome than it must" {
        "catches": "an internal error for invalid input, an invalid value that is accepted, an error without the envelope, a request that is read in two ways, a connection that stays open",
        "fix": "`found` quotes the request; run again with the same `--seed` and `--requests`, and compare the handler with /openapi.json",
    }
    /// The server panicked.
    pub PANIC = Violation "load-panic": "the server panicked or ended" {
        "catches": "input that reaches an `unwrap`, an index or an arithmetic overflow",
        "fix": "the log line in `found` names the place",
    }
    /// Memory grows over the time of a soak.
    pub SOAK_GROWTH = Violation "soak-growth": "resident memory grows under a constant load" {
        "catches": "a leak, and memory that each spike leaves behind",
        "fix": "run `cargo xtask loadtest soak --minutes 60`, and compare the allocator's values on /metrics between two periods",
    }
    /// The samples of a soak do not determine the slope.
    pub SOAK_NOISE = Violation "soak-noise": "memory varies so much that growth would not be seen" {
        "catches": "a run that is too short, and a load that is not constant",
        "fix": "raise `--minutes`, or run it on an idle machine",
    }
    /// A client caused more memory than its limit allows.
    pub BOUNDED_MEMORY = Violation "fault-memory": "a client caused more memory than the limits of the server allow" {
        "catches": "bytes that are held before or without being counted: responses, tokens, lines of the log",
        "fix": "compare `inferd_inflight_bytes` with `process_resident_memory_bytes` on /metrics during the run",
    }
    /// Permits or threads remain after all clients have left.
    pub RESOURCE_LEAK = Violation "fault-resource-leak": "permits or threads remain after all misbehaving clients have left" {
        "catches": "requests whose work does not end with their connection",
        "fix": "compare `inferd_inflight_requests` and `process_threads` on /metrics before and after",
    }
    /// One client's connections or bodies kept another client from service.
    pub CLIENT_BLOCKED = Violation "load-client-blocked": "one client kept another client, or a probe, from service" {
        "catches": "limits that one client can exhaust alone: bytes, permits or connections",
        "fix": "run the scenario against a server with `--log-format json`; /metrics has the bytes, permits and connections in use",
    }
    /// A connection without progress stayed open.
    pub NO_PROGRESS = Violation "load-no-progress": "a request without progress was not ended in time" {
        "catches": "bodies that hold memory and a permit without a minimum rate",
        "fix": "send the head of a request by hand and wait; docs/server.md has the minimum rate",
    }
    /// A request above its time limit had another end than 504.
    pub TIMEOUT_STATUS = Violation "load-timeout-status": "a request above its time limit did not end with status 504" {
        "catches": "time limits that do not end the wait of the client, or end it with another status",
        "fix": "send a large request with the header `x-request-timeout-ms: 400` by hand; the log has its `phase`",
    }
    /// The time limit passed before the computation.
    pub TIMEOUT_PHASE = NotMeasured "timeout-phase": "most time limits passed before the computation began" {
        "cause": "the machine tokenizes too slowly, or is busy",
        "fix": "run `cargo xtask loadtest timeouts` on an idle machine",
    }
    /// A request after a timeout was slower than one without load.
    pub AFTER_TIMEOUT = Violation "load-after-timeout": "the request after a timeout was slower than requests without load" {
        "catches": "cancelled work that continues to occupy the compute threads",
        "fix": "run `cargo xtask loadtest timeouts` on an idle machine; the engine must check for cancellation before every layer",
    }
    /// The server did not recover from a lack of file descriptors.
    pub DESCRIPTORS = Violation "fault-descriptors": "the server did not recover after it ran out of file descriptors" {
        "catches": "an accept loop that ends or spins on EMFILE",
        "fix": "run the server under `ulimit -n 40` and open 120 connections",
    }
    /// New times of a weights file without new bytes took its model out of service.
    pub TOUCHED_WEIGHTS = Violation "disk-touched-weights": "a weights file with new times and the same bytes took its model out of service" {
        "catches": "changes of a file that are judged by its times",
        "fix": "compare the content when only the times of a file differ",
    }
    /// A truncated weights file ended the server or gave a result.
    pub TRUNCATED_WEIGHTS = Violation "disk-truncated-weights": "a weights file that was truncated under the server did not become a 503" {
        "catches": "SIGBUS on mapped weights that ends the process, and vectors computed from missing pages",
        "fix": "reproduce with `cargo xtask loadtest disk`; the SIGBUS guard must cover every read of the mapping",
    }
    /// A reload did not restore service.
    pub RELOAD = Violation "disk-reload": "a reload after the weights were restored did not restore service" {
        "catches": "a model that stays marked as broken",
        "fix": "read the server's log after SIGHUP",
    }
    /// The loaded model did not outlive its files.
    pub MODEL_REMOVED = Violation "disk-model-removed": "the loaded model did not stay in service after its files were removed" {
        "catches": "a failed reload that replaces the loaded model",
        "fix": "read the server's log after SIGHUP: `reload_failed` must be there",
    }
    /// Memory stays allocated after the load has ended.
    pub SPIKE_RETURN = Violation "spike-return": "resident memory did not return to the idle level after the load" {
        "catches": "free memory that the allocator keeps, and buffers that outlive their requests",
        "fix": "run `cargo xtask loadtest spike` and compare `inferd_memory_anonymous_bytes` with `inferd_allocator_pages` and `inferd_memory_collections_total` on /metrics",
    }
    /// A repeated load needs more memory than the first one.
    pub SPIKE_PEAK_GROWTH = Violation "spike-peak-growth": "the same load needed more memory than before" {
        "catches": "leaks and fragmentation",
        "fix": "raise the number of loads; a leak grows with each one",
    }
    /// Model and load of the large host need too little memory.
    pub BIG_HOST_TOO_SMALL = NotMeasured "big-host-too-small": "model and load needed less memory than the run is about" {
        "cause": "the server rejected most requests",
        "fix": "run it on an idle machine; `--max-inflight-bytes` of the scenario bounds the responses",
    }
    /// The load of a spike needs hardly any memory.
    pub SPIKE_TOO_SMALL = NotMeasured "spike-too-small": "the load needed too little memory to show that it is returned" {
        "cause": "the server rejected most requests, or the machine is too slow",
        "fix": "run it on an idle machine",
    }
    /// The server could not be started.
    pub SERVER_NOT_STARTED = Environment "loadtest-server-not-started": "the server under test did not start" {
        "cause": "the binary, the model or the container engine does not work on this machine",
        "fix": "run the quoted command by hand",
    }
    /// The server did not answer where a scenario needs it to.
    pub NOT_MEASURED = NotMeasured "loadtest-not-measured": "a value that a check needs could not be measured" {
        "cause": "the server under test did not answer before the load began, or /metrics lacks a value",
        "fix": "run `inferd serve` by hand and request /metrics",
    }
    /// The scenario `container` needs an image.
    pub NO_IMAGE = Usage "loadtest-no-image": "the scenario `container` needs an image" {
        "cause": "`--image` is missing; `cargo xtask loadtest` passes it",
        "fix": "pass `--image ID` with the ID of an image that the container engine holds, or name other scenarios",
    }
}
