//! A worker's memory for one chunk, kept from chunk to chunk, and the clock that says where its time goes.
//!
//! The size is bounded by the token budget of a chunk (`batch::CHUNK_TOKENS_MAX`); a worker that has only seen short
//! requests holds less.

use std::time::{Duration, Instant};

/// Columns of the matrices that a model needs.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub hidden: usize,
    pub qkv: usize,
    pub wide: usize,
}

#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) x: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    wide: Vec<f32>,
    scores: Vec<f32>,
    keys: Vec<f32>,
    clock: Clock,
}

/// The matrices of one chunk, each exactly as long as its tokens need.
pub(super) struct Buffers<'a> {
    /// `[tokens, hidden]`: the hidden states, which every layer reads and adds to.
    pub x: &'a mut [f32],
    /// `[tokens, qkv]`
    pub qkv: &'a mut [f32],
    /// `[tokens, hidden]`: what attention has gathered.
    pub context: &'a mut [f32],
    /// `[tokens, wide]`: the inside of the feed-forward part.
    pub wide: &'a mut [f32],
    /// `[longest, longest]`: one head of one sequence.
    pub scores: &'a mut [f32],
    /// `[hidden, longest]`: the keys of one sequence, transposed.
    pub keys: &'a mut [f32],
}

/// What [`Scratch::for_chunk`] takes, in floats.
pub(super) fn floats(tokens: usize, longest: usize, widths: Widths) -> usize {
    tokens * (2 * widths.hidden + widths.qkv + widths.wide) + longest * (longest + widths.hidden)
}

impl Scratch {
    pub(super) fn for_chunk(
        &mut self,
        tokens: usize,
        longest: usize,
        widths: Widths,
    ) -> (Buffers<'_>, &mut Clock) {
        fn part(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
            if buffer.len() < len {
                *buffer = Vec::new(); // given back first: the old content is not needed
                *buffer = vec![0.0; len];
            }
            &mut buffer[..len]
        }
        let buffers = Buffers {
            x: part(&mut self.x, tokens * widths.hidden),
            qkv: part(&mut self.qkv, tokens * widths.qkv),
            context: part(&mut self.context, tokens * widths.hidden),
            wide: part(&mut self.wide, tokens * widths.wide),
            scores: part(&mut self.scores, longest * longest),
            keys: part(&mut self.keys, longest * widths.hidden),
        };
        self.clock.last = Some(Instant::now());
        (buffers, &mut self.clock)
    }

    /// Hands over the times measured since the last call.
    pub fn take_times(&mut self) -> StageTimes {
        std::mem::take(&mut self.clock.times)
    }
}

/// A part of the forward pass, for the time split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Embed,
    Qkv,
    Attention,
    AttentionOut,
    Norm,
    Up,
    Gelu,
    Down,
    Pool,
}

impl Stage {
    pub const ALL: [(Stage, &str); 9] = [
        (Stage::Embed, "embed"),
        (Stage::Qkv, "qkv sgemm"),
        (Stage::Attention, "attention"),
        (Stage::AttentionOut, "attention out sgemm"),
        (Stage::Norm, "layer norm"),
        (Stage::Up, "up sgemm"),
        (Stage::Gelu, "gelu"),
        (Stage::Down, "down sgemm"),
        (Stage::Pool, "pool"),
    ];
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StageTimes(pub [Duration; Stage::ALL.len()]);

impl StageTimes {
    pub fn add(&mut self, other: &StageTimes) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, time)| *sum += time);
    }
}

/// Always on: reading the clock ten times a layer costs less than a millionth of a chunk.
#[derive(Default)]
pub(super) struct Clock {
    last: Option<Instant>,
    times: StageTimes,
}

impl Clock {
    pub fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.times.0[stage as usize] += now - last;
        }
    }
}
