//! Finds the tensors of a BERT in its weight file and decides how query, key and value are multiplied.

use super::{Bert, Embeddings, EncoderLayer, Linear, Norm, ProjectionBlock, Qkv};
use crate::config::ModelConfig;
use crate::error::{ModelError, ModelErrorKind};
use crate::kernels::Simd;
use crate::model_files::ModelFile;
use crate::weights::{TensorRef, Weights, WeightsReader};

/// Rows that mean nothing which one fused product may carry: two biases lie between three matrices. More would mean
/// that the file is laid out otherwise, and three products are then cheaper.
pub(super) const GAP_ROWS_MAX: usize = 8;

struct LayerTensors {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

pub(crate) fn open(file: &ModelFile, config: ModelConfig) -> Result<Bert, ModelError> {
    let bert = &config.bert;
    let (hidden, inner) = (bert.hidden_size, bert.intermediate_size);
    let mut finder = WeightsReader::open(file)?;
    let embeddings = Embeddings {
        words: finder.tensor("embeddings.word_embeddings.weight", &[bert.vocab_size, hidden])?,
        positions: finder
            .tensor("embeddings.position_embeddings.weight", &[bert.max_position_embeddings, hidden])?,
        token_types: finder
            .tensor("embeddings.token_type_embeddings.weight", &[bert.type_vocab_size, hidden])?,
        norm: norm(&mut finder, "embeddings.LayerNorm", hidden)?,
    };
    let mut layers = Vec::new();
    for i in 0..bert.num_hidden_layers {
        let mut linear = |part: &str, outputs: usize, inputs: usize| {
            linear(&mut finder, &format!("encoder.layer.{i}.{part}"), outputs, inputs)
        };
        layers.push(LayerTensors {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_out: linear("attention.output.dense", hidden, hidden)?,
            up: linear("intermediate.dense", inner, hidden)?,
            down: linear("output.dense", hidden, inner)?,
            attention_norm: norm(
                &mut finder,
                &format!("encoder.layer.{i}.attention.output.LayerNorm"),
                hidden,
            )?,
            output_norm: norm(&mut finder, &format!("encoder.layer.{i}.output.LayerNorm"), hidden)?,
        });
    }
    let weights = finder.finish()?;
    let layers = layers
        .into_iter()
        .map(|t| EncoderLayer {
            qkv: Qkv::plan(&weights, [&t.query, &t.key, &t.value], hidden),
            attention_out: t.attention_out,
            attention_norm: t.attention_norm,
            up: t.up,
            down: t.down,
            output_norm: t.output_norm,
        })
        .collect();
    if weights.check().is_err() {
        let expected = "a file that nobody writes to while it is read";
        let hint = "put a whole file there by rename, and try again";
        return Err(ModelError::new(ModelErrorKind::Unreadable, file, expected, "it changed", hint));
    }
    Ok(Bert { weights, config, simd: Simd::detect(), embeddings, layers })
}

fn linear(
    finder: &mut WeightsReader,
    name: &str,
    outputs: usize,
    inputs: usize,
) -> Result<Linear, ModelError> {
    let weight = finder.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
    Ok(Linear { weight, bias: finder.tensor(&format!("{name}.bias"), &[outputs])? })
}

fn norm(finder: &mut WeightsReader, name: &str, width: usize) -> Result<Norm, ModelError> {
    let weight = finder.tensor(&format!("{name}.weight"), &[width])?;
    Ok(Norm { weight, bias: finder.tensor(&format!("{name}.bias"), &[width])? })
}

impl Qkv {
    fn plan(weights: &Weights, parts: [&Linear; 3], hidden: usize) -> Qkv {
        let row_bytes = 4 * hidden;
        let offsets = parts.map(|part| part.weight.offset_bytes);
        let first = offsets[0].min(offsets[1]).min(offsets[2]);
        let last = offsets[0].max(offsets[1]).max(offsets[2]);
        let whole_rows = offsets.iter().all(|offset| (offset - first).is_multiple_of(row_bytes));
        let rows = (last - first) / row_bytes + hidden;
        if whole_rows && rows <= 3 * hidden + GAP_ROWS_MAX {
            let block = ProjectionBlock {
                weight: TensorRef { offset_bytes: first, len: rows * hidden },
                first_column: 0,
            };
            Qkv::new(weights, parts, rows, vec![block], offsets.map(|offset| (offset - first) / row_bytes))
        } else {
            let columns = [0, hidden, 2 * hidden];
            let blocks = parts.iter().zip(columns);
            let blocks = blocks
                .map(|(part, first_column)| ProjectionBlock { weight: part.weight, first_column })
                .collect();
            Qkv::new(weights, parts, 3 * hidden, blocks, columns)
        }
    }

    fn new(
        weights: &Weights,
        parts: [&Linear; 3],
        width: usize,
        blocks: Vec<ProjectionBlock>,
        columns: [usize; 3],
    ) -> Qkv {
        let mut bias = vec![0.0; width];
        for (part, column) in parts.iter().zip(columns) {
            bias[column..column + part.bias.len].copy_from_slice(weights.floats(part.bias));
        }
        let [query, key, value] = columns;
        Qkv { blocks, bias, query, key, value }
    }
}
