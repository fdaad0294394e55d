//! Finds the tensors of a BERT in its weight file.

use super::layout::{Embeddings, LayerTensors, Linear, Norm};
use crate::config::BertConfig;
use crate::error::ModelError;
use crate::model_files::ModelFile;
use crate::weights::{Weights, WeightsReader};

/// All tensors of a model.
pub(super) struct Tensors {
    pub weights: Weights,
    pub embeddings: Embeddings,
    pub layers: Vec<LayerTensors>,
}

/// Opens a weight file and looks up every tensor that the configuration requires.
pub(super) fn load(file: &ModelFile, config: &BertConfig) -> Result<Tensors, ModelError> {
    let hidden = config.hidden_size;
    let mut reader = WeightsReader::open(file)?;
    let embeddings = Embeddings {
        words: reader.tensor("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?,
        positions: reader
            .tensor("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?,
        token_types: reader
            .tensor("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?,
        norm: norm(&mut reader, "embeddings.LayerNorm", hidden)?,
    };
    let mut layers = Vec::new();
    for i in 0..config.num_hidden_layers {
        layers.push(layer_tensors(&mut reader, &format!("encoder.layer.{i}"), config)?);
    }
    Ok(Tensors { weights: reader.finish()?, embeddings, layers })
}

fn layer_tensors(
    reader: &mut WeightsReader,
    layer: &str,
    config: &BertConfig,
) -> Result<LayerTensors, ModelError> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut linear = |part: &str, outputs: usize, inputs: usize| {
        linear(reader, &format!("{layer}.{part}"), outputs, inputs)
    };
    Ok(LayerTensors {
        query: linear("attention.self.query", hidden, hidden)?,
        key: linear("attention.self.key", hidden, hidden)?,
        value: linear("attention.self.value", hidden, hidden)?,
        attention_out: linear("attention.output.dense", hidden, hidden)?,
        up: linear("intermediate.dense", inner, hidden)?,
        down: linear("output.dense", hidden, inner)?,
        attention_norm: norm(reader, &format!("{layer}.attention.output.LayerNorm"), hidden)?,
        output_norm: norm(reader, &format!("{layer}.output.LayerNorm"), hidden)?,
    })
}

fn linear(
    reader: &mut WeightsReader,
    name: &str,
    outputs: usize,
    inputs: usize,
) -> Result<Linear, ModelError> {
    let weight = reader.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
    Ok(Linear { weight, bias: reader.tensor(&format!("{name}.bias"), &[outputs])? })
}

fn norm(reader: &mut WeightsReader, name: &str, width: usize) -> Result<Norm, ModelError> {
    let weight = reader.tensor(&format!("{name}.weight"), &[width])?;
    Ok(Norm { weight, bias: reader.tensor(&format!("{name}.bias"), &[width])? })
}
