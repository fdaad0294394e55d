//! Rounds of measurements, each between two probes of the machine.
//!
//! A sample whose probe is far below the best one of the run is void: something else had the cores, or the two virtual CPUs were
//! on one core. Void samples are repeated, a bounded number of times.

use serde_json::{Value, json};

/// Smallest share of the best probe at which a sample counts.
pub const PROBE_SHARE_MIN: f64 = 0.95;

/// Seconds that a program reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// From texts to vectors.
    pub seconds: f64,
    /// From token ids to vectors, for programs that accept token ids.
    pub without_tokenizer: Option<f64>,
}

/// A measurement and the probes around it, in f32 FLOP/s of all cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub times: Times,
    pub probe_before: f64,
    pub probe_after: f64,
}

impl Sample {
    fn probe(&self) -> f64 {
        self.probe_before.min(self.probe_after)
    }

    fn is_void(&self, best_probe: f64) -> bool {
        self.probe() < PROBE_SHARE_MIN * best_probe
    }

    fn json(&self, best_probe: f64) -> Value {
        json!({
            "seconds": self.times.seconds, "seconds_without_tokenizer": self.times.without_tokenizer,
            "probe_before_gflops": self.probe_before / 1e9, "probe_after_gflops": self.probe_after / 1e9,
            "void": self.is_void(best_probe),
        })
    }
}

/// All samples of one workload of one case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    fn valid(&self, best_probe: f64) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| !sample.is_void(best_probe))
    }

    /// The fastest sample that counts.
    pub fn best(&self, best_probe: f64) -> Option<f64> {
        self.valid(best_probe).map(|sample| sample.times.seconds).min_by(f64::total_cmp)
    }

    /// The same from token ids.
    pub fn best_without_tokenizer(&self, best_probe: f64) -> Option<f64> {
        self.valid(best_probe).filter_map(|sample| sample.times.without_tokenizer).min_by(f64::total_cmp)
    }

    pub fn void_count(&self, best_probe: f64) -> usize {
        self.0.len() - self.valid(best_probe).count()
    }

    pub fn json(&self, best_probe: f64) -> Value {
        json!({
            "seconds": self.best(best_probe), "seconds_without_tokenizer": self.best_without_tokenizer(best_probe),
            "disturbed": self.best(best_probe).is_none(),
            "samples": self.0.iter().map(|sample| sample.json(best_probe)).collect::<Vec<_>>(),
        })
    }
}

/// How often each cell is measured.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Samples that count.
    pub wanted: usize,
    /// All samples, void ones included.
    pub most: usize,
}

/// The best probe of the run; `first` is the best one before the first sample.
pub fn best_probe(first: f64, cells: &[Samples]) -> f64 {
    let samples = cells.iter().flat_map(|cell| &cell.0);
    samples.map(|sample| sample.probe_before.max(sample.probe_after)).fold(first, f64::max)
}

/// Measures `cells` cells in rounds: each round takes one sample of each cell that needs one, so that a change of the machine
/// affects all of them. `measure` gets the number of a cell; a cell that returns `None` is measured no more.
pub fn collect(
    cells: usize,
    rounds: Rounds,
    first_probe: f64,
    mut measure: impl FnMut(usize) -> anyhow::Result<Option<Sample>>,
) -> anyhow::Result<Vec<Samples>> {
    let mut collected = vec![Samples::default(); cells];
    let mut ended = vec![false; cells];
    loop {
        let best = best_probe(first_probe, &collected);
        let needs = |cell: &Samples| cell.valid(best).count() < rounds.wanted && cell.0.len() < rounds.most;
        let next: Vec<usize> = (0..cells).filter(|i| !ended[*i] && needs(&collected[*i])).collect();
        if next.is_empty() {
            return Ok(collected);
        }
        for cell in next {
            match measure(cell)? {
                Some(sample) => collected[cell].0.push(sample),
                None => ended[cell] = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, probe_before: f64, probe_after: f64) -> Sample {
        Sample { times: Times { seconds, without_tokenizer: None }, probe_before, probe_after }
    }

    const ROUNDS: Rounds = Rounds { wanted: 2, most: 4 };

    #[test]
    fn a_sample_with_one_slow_probe_is_void_and_repeated() {
        for (before, after) in [(94.9, 100.0), (100.0, 94.9)] {
            let mut samples =
                [sample(1.0, before, after), sample(2.0, 100.0, 95.0), sample(3.0, 100.0, 100.0)].into_iter();
            let cells = collect(1, ROUNDS, 0.0, |_| Ok(samples.next())).unwrap();
            assert_eq!(cells[0].0.len(), 3);
            assert_eq!((cells[0].best(100.0), cells[0].void_count(100.0)), (Some(2.0), 1));
        }
    }

    /// A machine that was slow from the start is recognised when it becomes fast.
    #[test]
    fn a_later_best_probe_voids_earlier_samples() {
        let mut taken = 0;
        let cells = collect(2, ROUNDS, 0.0, |_| {
            taken += 1;
            let probe = if taken == 1 { 50.0 } else { 100.0 };
            Ok(Some(sample(1.0, probe, probe)))
        });
        assert_eq!(cells.unwrap().iter().map(|cell| cell.0.len()).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn the_probe_before_the_first_sample_counts() {
        let cells = collect(1, ROUNDS, 100.0, |_| Ok(Some(sample(1.0, 50.0, 50.0)))).unwrap();
        assert_eq!((cells[0].0.len(), best_probe(100.0, &cells)), (4, 100.0));
    }

    #[test]
    fn repeats_are_bounded_and_a_cell_without_a_valid_sample_has_no_time() {
        let cells = collect(2, ROUNDS, 0.0, |cell| {
            Ok(Some(sample(1.0, if cell == 0 { 10.0 } else { 100.0 }, 100.0)))
        })
        .unwrap();
        assert_eq!((cells[0].0.len(), cells[1].0.len()), (4, 2));
        assert_eq!((cells[0].best(100.0), cells[1].best(100.0)), (None, Some(1.0)));
        assert_eq!(cells[0].json(100.0)["disturbed"], true);
        assert_eq!(best_probe(0.0, &cells), 100.0);
    }

    #[test]
    fn a_cell_that_fails_is_not_measured_again_and_the_others_are() {
        let mut calls = [0, 0];
        let cells = collect(2, ROUNDS, 0.0, |cell| {
            calls[cell] += 1;
            Ok((cell == 1).then(|| sample(1.0, 100.0, 100.0)))
        });
        assert_eq!(cells.unwrap()[1].0.len(), 2);
        assert_eq!(calls, [1, 2]);
    }
}
