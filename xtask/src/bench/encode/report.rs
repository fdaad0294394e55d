//! The result of a run: rows, ratios, shares of the peak, and the judgement of the vectors.

use diag::Diagnostic;
use serde_json::{Value, json};

use super::super::{NOT_MEASURED, VECTORS_DIFFER};
use super::DISTURBED;
use super::accuracy::{Accuracy, bound};
use super::bench_case::{BenchCase, Precision, Program, Route, Workload};
use super::samples::{PROBE_SHARE_MIN, Samples};

/// Operations per second of all cores.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    /// The best probe of the run.
    pub f32: f64,
    pub bf16: Option<f64>,
    pub int8: Option<f64>,
}

impl Peaks {
    pub fn of(&self, precision: Precision) -> Option<f64> {
        match precision {
            Precision::F32 => Some(self.f32),
            Precision::Bf16 => self.bf16,
            Precision::Int8 => self.int8,
            // Of which instruction depends on the CPU.
            Precision::Auto => None,
        }
    }
}

/// A case with a result.
pub struct Measured {
    pub version: String,
    pub setting: Value,
    pub accuracy: Accuracy,
    pub batch: Samples,
    pub single: Samples,
}

impl Measured {
    pub fn samples(&self, workload: Workload) -> &Samples {
        match workload {
            Workload::Batch => &self.batch,
            Workload::Single => &self.single,
        }
    }
}

pub struct Row {
    pub case: BenchCase,
    /// Or why there is no result.
    pub result: Result<Measured, String>,
}

/// The texts of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub texts: usize,
    pub tokens: u64,
    /// Without padding.
    pub operations: f64,
}

pub struct EncodeReport {
    /// CPU, cores and kernel.
    pub machine: String,
    pub isa: String,
    pub cores: usize,
    pub peaks: Peaks,
    pub batch: Work,
    pub single: Work,
    pub rows: Vec<Row>,
}

impl EncodeReport {
    pub fn work(&self, workload: Workload) -> Work {
        match workload {
            Workload::Batch => self.batch,
            Workload::Single => self.single,
        }
    }

    /// Seconds of a row; `None` when it is not measured or disturbed.
    pub fn seconds(&self, row: &Row, workload: Workload) -> Option<f64> {
        row.result.as_ref().ok()?.samples(workload).best(self.peaks.f32)
    }

    /// Useful operations per second as a share of the peak of the row's precision.
    pub fn share_of_peak(&self, row: &Row, workload: Workload) -> Option<f64> {
        let peak = self.peaks.of(row.case.precision)?;
        Some(self.work(workload).operations / self.seconds(row, workload)? / peak)
    }

    /// Seconds at the peak.
    pub fn floor(&self, precision: Precision, workload: Workload) -> Option<f64> {
        Some(self.work(workload).operations / self.peaks.of(precision)?)
    }

    /// Time of a peer as a multiple of inferd's, at the same precision: in-process where inferd offers it, else over HTTP.
    pub fn ratio(&self, row: &Row, workload: Workload) -> Option<f64> {
        if row.case.program == Program::Inferd {
            return None;
        }
        Some(self.seconds(row, workload)? / self.seconds(self.inferd(row.case.precision)?, workload)?)
    }

    /// inferd's row that peers of a precision are compared with.
    pub fn inferd(&self, precision: Precision) -> Option<&Row> {
        [Route::InProcess, Route::Http].into_iter().find_map(|route| {
            let case = BenchCase { program: Program::Inferd, precision, route };
            self.rows.iter().find(|row| row.case == case && row.result.is_ok())
        })
    }

    /// What makes the run a failure: rows of inferd without a result or with wrong vectors, and rows without an undisturbed sample.
    pub fn problems(&self) -> Vec<Diagnostic> {
        self.rows.iter().flat_map(|row| self.problems_of(row)).collect()
    }

    fn problems_of(&self, row: &Row) -> Vec<Diagnostic> {
        let (case, is_inferd) = (row.case, row.case.program == Program::Inferd);
        let measured = match &row.result {
            Ok(measured) => measured,
            Err(reason) if is_inferd => {
                return vec![Diagnostic::new(&NOT_MEASURED, format!("{case} is not measured")).cause(reason)];
            }
            // A peer that is missing is a row of the report.
            Err(_) => return Vec::new(),
        };
        let mut problems = Vec::new();
        let bound = bound(case.precision);
        if is_inferd && !measured.accuracy.is_within(bound) {
            let problem = Diagnostic::new(&VECTORS_DIFFER, format!("{case}: {}", VECTORS_DIFFER.summary));
            problems.push(problem.expected(bound.to_string()).found(measured.accuracy.to_string()));
        }
        for workload in Workload::ALL.into_iter().filter(|workload| self.seconds(row, *workload).is_none()) {
            let message = format!("{case}, {}: {}", workload.name(), DISTURBED.summary);
            let count = measured.samples(workload).void_count(self.peaks.f32);
            let expected = format!("probes of at least {:.0} % of the best one", PROBE_SHARE_MIN * 100.0);
            problems.push(
                Diagnostic::new(&DISTURBED, message)
                    .expected(expected)
                    .found(format!("{count} void samples")),
            );
        }
        problems
    }

    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let work =
            |work: Work| json!({ "texts": work.texts, "tokens": work.tokens, "operations": work.operations });
        json!({
            "machine": self.machine, "isa": self.isa, "cores": self.cores, "threads": self.cores,
            "peak_gops": { "f32": self.peaks.f32 / 1e9, "bf16": self.peaks.bf16.map(|rate| rate / 1e9), "int8": self.peaks.int8.map(|rate| rate / 1e9) },
            "batch": work(self.batch), "single": work(self.single), "rows": rows,
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let BenchCase { program, precision, route } = row.case;
        let mut value =
            json!({ "program": program.name(), "precision": precision.name(), "route": route.name() });
        let measured = match &row.result {
            Ok(measured) => measured,
            Err(reason) => {
                value["not_measured"] = json!(reason);
                return value;
            }
        };
        value["version"] = json!(measured.version);
        value["setting"] = measured.setting.clone();
        value["worst_cosine"] = json!(measured.accuracy.worst_cosine);
        value["max_abs"] = json!(measured.accuracy.max_abs);
        for workload in Workload::ALL {
            let mut times = measured.samples(workload).json(self.peaks.f32);
            times["share_of_peak"] = json!(self.share_of_peak(row, workload));
            times["ratio"] = json!(self.ratio(row, workload));
            value[workload.name()] = times;
        }
        value
    }
}
