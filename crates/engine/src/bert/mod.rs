//! BERT: loading of its weights, and the forward pass.
//!
//! | module | purpose |
//! |---|---|
//! | `layout` | which tensors a layer consists of, and the widths of the matrices |
//! | `load` | finds the tensors in the weight file |
//! | `packed` | the input: sequences without padding |
//! | `scratch` | the matrices of one worker |
//! | `stage_times` | time per stage |
//! | `attention`, `encoder` | the computation |

mod attention;
mod encoder;
mod layout;
mod load;
mod packed;
mod scratch;
mod stage_times;
#[cfg(test)]
mod tests;

pub(crate) use encoder::Bert;
pub(crate) use layout::{products, scratch_floats};
pub(crate) use packed::PackedSequences;
pub(crate) use scratch::Scratch;
pub(crate) use stage_times::StageTimes;
