//! A straight line through samples of memory, and how well they determine its slope.

/// The slope of memory over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Bytes per minute.
    pub slope: f64,
    /// Half of the 95 % confidence interval, in bytes per minute.
    pub half_width: f64,
    /// Mean of the samples, in bytes.
    pub mean: f64,
}

/// Quantile of the normal distribution for a two-sided interval of 95 %.
const Z: f64 = 1.959964;

impl Trend {
    /// Least squares over pairs of minutes and bytes; `None` below four pairs or without a spread in time.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 4 {
            return None;
        }
        let mean_of = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
        let (time, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let spread: f64 = points.iter().map(|(t, _)| (t - time).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(t, bytes)| (t - time) * (bytes - mean)).sum::<f64>() / spread;
        let residuals: Vec<f64> = points.iter().map(|(t, bytes)| bytes - mean - slope * (t - time)).collect();
        let squares: f64 = residuals.iter().map(|residual| residual.powi(2)).sum();
        // Memory stays at a level for a while, so neighbouring samples say partly the same: they count as fewer samples.
        let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = if squares > 0.0 { (products / squares).clamp(0.0, 0.95) } else { 0.0 };
        let inflation = ((1.0 + correlation) / (1.0 - correlation)).sqrt();
        let freedom = n - 2.0;
        let error = (squares / freedom / spread).sqrt() * inflation;
        Some(Self { slope, half_width: student(freedom) * error, mean })
    }

    /// Whether the slope is above `bytes_per_minute`, and not by chance.
    pub fn exceeds(&self, bytes_per_minute: f64) -> bool {
        self.slope - self.half_width > bytes_per_minute
    }
}

/// Quantile of Student's distribution for a two-sided interval of 95 %, by the expansion of Cornish and Fisher: within 1 % from
/// three degrees of freedom on.
fn student(freedom: f64) -> f64 {
    let z = Z;
    z + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const KIB: f64 = 1024.0;

    /// An hour of memory at 100 MiB with noise of 64 KiB, steps that last five samples, and a leak.
    fn hour(leak_kib_per_minute: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut level = 0.0;
        (0..120_u64)
            .map(|index| {
                let minute = index as f64 / 2.0;
                let mut rng = Rng::new(seed, index);
                let noise = rng.below(128) as f64 - 64.0;
                if index % 5 == 0 {
                    level = rng.below(128) as f64 - 64.0;
                }
                (minute, (102_400.0 + noise + level + leak_kib_per_minute * minute) * KIB)
            })
            .collect()
    }

    #[test]
    fn finds_the_slope_of_a_line() {
        let line: Vec<_> =
            (0..10).map(|minute| (f64::from(minute), 1e6 + 300.0 * f64::from(minute))).collect();
        let trend = Trend::fit(&line).unwrap();
        assert!((trend.slope - 300.0).abs() < 1e-6 && trend.half_width < 1e-6, "{trend:?}");
    }

    #[test]
    fn constant_memory_with_noise_does_not_grow() {
        for seed in 0..50 {
            let trend = Trend::fit(&hour(0.0, seed)).unwrap();
            assert!(!trend.exceeds(1.0 * KIB), "{trend:?} with seed {seed}");
        }
    }

    #[test]
    fn a_leak_of_4_kib_per_minute_is_found_in_noise_of_64_kib() {
        for seed in 0..50 {
            let trend = Trend::fit(&hour(4.0, seed)).unwrap();
            assert!(trend.exceeds(1.0 * KIB), "{trend:?} with seed {seed}");
        }
    }

    #[test]
    fn a_process_that_leaks_is_found() {
        // The memory of this process, which a test of another thread may change by far less.
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
        };
        let mut leaked = Vec::new();
        let samples: Vec<_> = (0..20)
            .map(|sample| {
                leaked.push(vec![1_u8; 1 << 20]);
                (f64::from(sample) / 60.0, resident())
            })
            .collect();
        let trend = Trend::fit(&samples).unwrap();
        assert!(trend.exceeds(20.0 * 1024.0 * KIB), "{trend:?} with {} MiB", leaked.len());
    }

    #[test]
    fn too_few_samples_have_no_trend() {
        assert_eq!(Trend::fit(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), None);
        assert_eq!(Trend::fit(&[(1.0, 1.0); 8]), None);
    }

    #[test]
    fn quantiles_are_those_of_the_table() {
        for (freedom, quantile) in [(3.0, 3.182), (5.0, 2.571), (20.0, 2.086), (1e6, 1.960)] {
            assert!((student(freedom) / quantile - 1.0).abs() < 0.01, "{freedom}");
        }
    }
}
