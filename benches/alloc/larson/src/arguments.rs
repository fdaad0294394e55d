//! The command line.

use std::time::Duration;

/// The size class of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// 8 to 128 bytes, uniform, as in mimalloc-bench.
    Small,
    /// 1 byte to 1 MiB. The logarithm is uniform, as sizes of real programs are: a mean of 77 KiB.
    Large,
}

impl Sizes {
    /// Slots of one array. There are two for each thread; those of `Large` are 40 MB of live blocks for 8
    /// threads.
    pub fn slots(self) -> usize {
        match self {
            Sizes::Small => 5000,
            Sizes::Large => 32,
        }
    }

    /// Replacements before an array is exchanged.
    pub fn round(self) -> usize {
        match self {
            Sizes::Small => 5000,
            Sizes::Large => 64,
        }
    }

    /// Rounds of a thread; then a new thread continues.
    pub fn rounds_per_thread(self) -> usize {
        match self {
            Sizes::Small => 100,
            Sizes::Large => 160,
        }
    }

    /// A size; `random` has 64 random bits.
    pub fn size(self, random: u64) -> usize {
        match self {
            Sizes::Small => 8 + (random % 121) as usize,
            Sizes::Large => {
                let exponent = random % 20;
                let low = 1_usize << exponent;
                low + ((random >> 8) as usize & (low - 1)) + usize::from(exponent == 19 && random >> 63 == 1)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sizes::Small => "small",
            Sizes::Large => "large",
        }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What to run.
#[derive(Debug)]
pub struct Arguments {
    /// Running threads.
    pub threads: usize,
    /// Time of the load.
    pub duration: Duration,
    /// Sizes of the blocks.
    pub sizes: Sizes,
}

pub const USAGE: &str = "usage: larson-ALLOCATOR THREADS SECONDS small|large";

impl Arguments {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.collect();
        let [threads, seconds, sizes] = arguments.as_slice() else {
            return Err(format!("expected 3 arguments, found {}", arguments.len()));
        };
        let number = |name: &str, text: &str, max: u64| match text.parse::<u64>() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(format!("expected {name} of 1 to {max}, found `{text}`")),
        };
        let sizes = match sizes.as_str() {
            "small" => Sizes::Small,
            "large" => Sizes::Large,
            other => return Err(format!("expected `small` or `large`, found `{other}`")),
        };
        Ok(Self {
            threads: number("THREADS", threads, 64)? as usize,
            duration: Duration::from_secs(number("SECONDS", seconds, 3600)?),
            sizes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_their_class_and_reach_both_ends() {
        let mut random = crate::workload::Random::new(1);
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..2_000_000 {
            small.push(Sizes::Small.size(random.next()));
            large.push(Sizes::Large.size(random.next()));
        }
        assert_eq!((small.iter().min(), small.iter().max()), (Some(&8), Some(&128)));
        assert_eq!(large.iter().min(), Some(&1));
        assert!((1_040_000..=1 << 20).contains(large.iter().max().unwrap()));
    }

    #[test]
    fn rejects_what_it_cannot_run() {
        let parse = |text: &str| Arguments::parse(text.split(' ').map(String::from));
        assert!(parse("8 60 small").is_ok());
        for text in ["0 60 small", "65 60 small", "8 0 small", "8 60 medium", "8 60"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
