//! What every request sees: made once, never changed; what changes is behind its parts' own locks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::catalog::Catalog;
use super::keys::Keys;
use super::log::Log;
use super::metrics::{Metrics, Page, label};
use super::scheduler::Scheduler;
use crate::memory::process;

#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    pub body_bytes_max: u64,
    pub body_timeout: Duration,
    /// Zero: none.
    pub infer_timeout: Duration,
    pub inputs_max: usize,
}

/// What was estimated and what was then found, in bytes above what the program had before loading.
#[derive(Debug, Clone, Copy)]
pub struct MemoryReport {
    pub estimate_anonymous: u64,
    pub estimate_file: u64,
    pub measured_anonymous: Option<u64>,
}

pub struct App {
    pub limits: RequestLimits,
    pub catalog: Catalog,
    pub admission: Arc<Admission>,
    pub scheduler: Scheduler,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    /// `None`: whoever reaches the server may ask.
    pub keys: Option<Keys>,
    /// Whether `/metrics` and the status page ask for a key too.
    pub protect_metrics: bool,
    /// That compute.
    pub threads: usize,
    pub started: Instant,
    pub load_time: Mutex<Option<Duration>>,
    pub memory: OnceLock<MemoryReport>,
    /// Of the process: before the models are opened, then, and after the first full batch.
    pub anonymous_while_loading: OnceLock<Vec<Option<u64>>>,
}

impl App {
    pub fn loaded_in(&self, time: Duration) {
        *self.load_time.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    pub fn metrics_page(&self) -> String {
        let mut page = Page::default();
        self.metrics.write(&mut page);
        let (requests, bytes) = self.admission.held();
        page.single("inferd_requests_held", "gauge", "Requests that hold a permit.", requests);
        page.single("inferd_bytes_held", "gauge", "Bytes of bodies and answers that are held.", bytes);
        page.single(
            "inferd_queue_requests",
            "gauge",
            "Requests that wait for their turn.",
            self.scheduler.queued(),
        );
        page.single(
            "inferd_blas_threads",
            "gauge",
            "Threads that OpenBLAS may use now.",
            engine::blas_info().threads,
        );
        let info = crate::build_info::get();
        page.head("inferd_build_info", "gauge", "What runs here.");
        let labels = format!(
            "{{version=\"{}\",commit=\"{}\",blas=\"{}\"}}",
            label(info.version),
            label(info.commit),
            label(&engine::blas_info().core)
        );
        page.sample("inferd_build_info", &labels, 1);
        let up = self.started.elapsed().as_secs_f64();
        page.single("inferd_uptime_seconds", "gauge", "Time since start.", format!("{up:.3}"));
        if let Some(time) = *self.load_time.lock().unwrap_or_else(PoisonError::into_inner) {
            page.single(
                "inferd_load_seconds",
                "gauge",
                "Time of the last load of all models.",
                time.as_secs_f64(),
            );
        }
        page.head("inferd_model_loaded", "gauge", "Whether the model is in memory.");
        for entry in self.catalog.entries().iter() {
            let labels = format!("{{model=\"{}\"}}", label(&entry.name));
            page.sample("inferd_model_loaded", &labels, u8::from(entry.is_loaded()));
        }
        if let Some(report) = self.memory.get() {
            let help = "Estimated need of the models, before loading.";
            page.head("inferd_memory_estimate_bytes", "gauge", help);
            page.sample("inferd_memory_estimate_bytes", "{kind=\"anonymous\"}", report.estimate_anonymous);
            page.sample("inferd_memory_estimate_bytes", "{kind=\"file\"}", report.estimate_file);
            if let Some(measured) = report.measured_anonymous {
                let help = "Anonymous memory that loading and the first full batch took.";
                page.single("inferd_memory_loaded_bytes", "gauge", help, measured);
            }
        }
        if let Some(memory) = process::read(std::path::Path::new("/")) {
            page.single(
                "inferd_memory_anonymous_bytes",
                "gauge",
                "Anonymous memory of this process.",
                memory.anonymous,
            );
            page.single(
                "inferd_memory_resident_bytes",
                "gauge",
                "Resident memory of this process.",
                memory.resident,
            );
            page.single("inferd_threads", "gauge", "Threads of this process.", memory.threads);
        }
        if let Some(anonymous) = crate::memory::limits::own_anonymous(std::path::Path::new("/")) {
            let help = "`anon` in memory.stat of this process's cgroup.";
            page.single("inferd_cgroup_anonymous_bytes", "gauge", help, anonymous);
        }
        page.into_text()
    }
}
