//! Time per stage of the forward pass.

use std::time::{Duration, Instant};

/// A stage of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForwardStage {
    Embed,
    Qkv,
    Attention,
    AttentionOut,
    Norm,
    Up,
    Gelu,
    Down,
    Pool,
    Together,
}

impl ForwardStage {
    const ALL: [(ForwardStage, &str); 10] = [
        (ForwardStage::Embed, "embed"),
        (ForwardStage::Qkv, "qkv sgemm"),
        (ForwardStage::Attention, "attention"),
        (ForwardStage::AttentionOut, "attention out sgemm"),
        (ForwardStage::Norm, "layer norm"),
        (ForwardStage::Up, "up sgemm"),
        (ForwardStage::Gelu, "gelu"),
        (ForwardStage::Down, "down sgemm"),
        (ForwardStage::Pool, "pool"),
        (ForwardStage::Together, "layers, on all threads"),
    ];
}

/// Accumulated time per stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ForwardTimes {
    by_stage: [Duration; ForwardStage::ALL.len()],
}

impl ForwardTimes {
    pub fn add(&mut self, other: &ForwardTimes) {
        self.by_stage.iter_mut().zip(other.by_stage).for_each(|(sum, time)| *sum += time);
    }

    pub fn named(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        ForwardStage::ALL.iter().map(|(stage, name)| (*name, self.by_stage[*stage as usize]))
    }
}

/// Attributes elapsed time to stages. Always active: reading the clock ten times per layer costs less than a millionth of
/// a chunk.
#[derive(Default)]
pub(super) struct StageClock {
    last: Option<Instant>,
    times: ForwardTimes,
}

impl StageClock {
    pub fn start(&mut self) {
        self.last = Some(Instant::now());
    }

    /// Attributes the time since the start or the last call to `stage`.
    pub fn lap(&mut self, stage: ForwardStage) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.times.by_stage[stage as usize] += now - last;
        }
    }

    /// Returns and resets the accumulated times.
    pub fn take(&mut self) -> ForwardTimes {
        std::mem::take(&mut self.times)
    }
}
