//! The number of compute threads.

use std::num::NonZeroUsize;

/// Parses a value of `--threads`. More threads than OpenBLAS was built for end the process at the first batch.
pub fn parse(text: &str) -> Result<NonZeroUsize, String> {
    let max = engine::threads_max();
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads <= max => Ok(threads),
        _ => Err(format!("expected a whole number from 1 to {max}, the maximum of this build")),
    }
}

/// The default of `--threads` and its source.
pub struct Available {
    /// The CPUs that the machine and the CPU quota allow, up to the maximum of the build; 1 when that is unknown.
    pub threads: NonZeroUsize,
    /// Why it is this number.
    pub source: String,
}

/// The default of `--threads`.
pub fn available() -> Available {
    let cpus = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    limited(cpus, engine::threads_max())
}

fn limited(cpus: NonZeroUsize, max: NonZeroUsize) -> Available {
    if cpus <= max {
        Available { threads: cpus, source: "CPUs and CPU quota".into() }
    } else {
        Available { threads: max, source: format!("the maximum of this build; the machine allows {cpus}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_more_cpus_than_the_build_supports_gets_the_maximum_of_the_build() {
        let of = |cpus: usize| {
            let available = limited(NonZeroUsize::new(cpus).unwrap(), NonZeroUsize::new(64).unwrap());
            (available.threads.get(), available.source)
        };
        assert_eq!(of(64), (64, "CPUs and CPU quota".into()));
        assert_eq!(of(128), (64, "the maximum of this build; the machine allows 128".into()));
    }
}
