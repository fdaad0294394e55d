//! A quantity over time: as text plot, and as numbers for programs.

use std::fmt::Write as _;

use serde::Serialize;

/// Resident memory of a server over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curve {
    /// Seconds since the start of the measurement.
    pub seconds: Vec<f64>,
    /// Resident memory in MiB, one value per entry of `seconds`.
    pub resident_mib: Vec<f64>,
    /// Begin of each phase, in seconds, and its name.
    pub phases: Vec<(f64, String)>,
}

const WIDTH: usize = 96;
const HEIGHT: usize = 16;

impl Curve {
    /// Adds a value.
    pub fn push(&mut self, seconds: f64, resident_mib: f64) {
        self.seconds.push(seconds);
        self.resident_mib.push(resident_mib);
    }

    /// Adds the begin of a phase.
    pub fn phase(&mut self, seconds: f64, name: &str) {
        self.phases.push((seconds, name.into()));
    }

    /// Values from `begin` to `end`, in seconds.
    pub fn between(&self, begin: f64, end: f64) -> impl Iterator<Item = (f64, f64)> {
        let values = self.seconds.iter().copied().zip(self.resident_mib.iter().copied());
        values.filter(move |(seconds, _)| (begin..end).contains(seconds))
    }

    /// A plot of the largest value of each column, with a line that marks the phases.
    pub fn plot(&self) -> String {
        let (Some(end), Some(top)) =
            (self.seconds.last().copied(), self.resident_mib.iter().copied().reduce(f64::max))
        else {
            return String::new();
        };
        let column = |seconds: f64| ((seconds / end.max(1e-9) * WIDTH as f64) as usize).min(WIDTH - 1);
        let mut highest = [0.0_f64; WIDTH];
        for (seconds, value) in self.seconds.iter().zip(&self.resident_mib) {
            let value_max = &mut highest[column(*seconds)];
            *value_max = value_max.max(*value);
        }
        // A column without a value continues the one before it.
        for index in 1..WIDTH {
            if highest[index] == 0.0 {
                highest[index] = highest[index - 1];
            }
        }
        let mut text = String::new();
        for row in (0..HEIGHT).rev() {
            let low = top * row as f64 / HEIGHT as f64;
            let line: String = highest.iter().map(|value| if *value > low { '#' } else { ' ' }).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:>8.0} |{}", top * (row + 1) as f64 / HEIGHT as f64, line.trim_end());
        }
        let mut marks = [' '; WIDTH];
        for (seconds, _) in &self.phases {
            marks[column(*seconds)] = '^';
        }
        let _ = writeln!(text, "{:>8} +{}", "MiB", "-".repeat(WIDTH));
        let _ = writeln!(text, "{:>8}  {}", "", marks.iter().collect::<String>().trim_end());
        let phases: Vec<_> =
            self.phases.iter().map(|(seconds, name)| format!("{seconds:.0} s {name}")).collect();
        let _ = writeln!(text, "{:>8}  {}; end {end:.0} s", "", phases.join(", "));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_the_largest_value_of_each_column() {
        let mut curve = Curve::default();
        curve.phase(0.0, "idle");
        curve.phase(50.0, "spike");
        for second in 0..100 {
            curve.push(f64::from(second), if second == 50 { 800.0 } else { 100.0 });
        }
        let plot = curve.plot();
        let lines: Vec<&str> = plot.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 3);
        assert_eq!((lines[0].matches('#').count(), lines[15].matches('#').count()), (1, WIDTH));
        insta::assert_snapshot!(plot, @"
        800 |                                                #
        750 |                                                #
        700 |                                                #
        650 |                                                #
        600 |                                                #
        550 |                                                #
        500 |                                                #
        450 |                                                #
        400 |                                                #
        350 |                                                #
        300 |                                                #
        250 |                                                #
        200 |                                                #
        150 |                                                #
        100 |################################################################################################
         50 |################################################################################################
        MiB +------------------------------------------------------------------------------------------------
             ^                                               ^
             0 s idle, 50 s spike; end 99 s
        ");
        assert_eq!(curve.between(49.0, 52.0).map(|(_, mib)| mib).fold(0.0, f64::max), 800.0);
        assert_eq!(Curve::default().plot(), "");
    }
}
