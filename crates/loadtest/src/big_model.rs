//! A model of several GB with random weights, in the form of a given one.
//!
//! The vectors mean nothing. What counts is that the weights are read for every batch and take real pages: the file has
//! no holes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// Width of the hidden states, and of the inner layer of the feed-forward part.
const HIDDEN: u64 = 4096;
const INNER: u64 = 4 * HIDDEN;
const HEADS: u64 = 32;
/// Few, so that the first full batch takes seconds.
const TOKENS_MAX: u64 = 64;
const BLOCK_FLOATS: usize = 1 << 18;
/// A header of a larger model is not a template.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// Writes the model into the folder `target`; `template` is the folder of a BERT model. Returns the bytes of its weights.
pub fn write(template: &Path, target: &Path) -> anyhow::Result<u64> {
    for file in ["modules.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(template.join(file), target.join(file)).with_context(|| format!("copying {file}"))?;
    }
    let config = read_json(&template.join("config.json"))?;
    let dimension = |key: &str| config[key].as_u64().with_context(|| format!("`{key}` in config.json"));
    let (hidden, inner) = (dimension("hidden_size")?, dimension("intermediate_size")?);
    let edited = [("hidden_size", HIDDEN), ("intermediate_size", INNER), ("num_attention_heads", HEADS)];
    edit(template, target, "config.json", &edited)?;
    edit(template, target, "sentence_bert_config.json", &[("max_seq_length", TOKENS_MAX)])?;
    std::fs::create_dir_all(target.join("1_Pooling"))?;
    edit(template, target, "1_Pooling/config.json", &[("word_embedding_dimension", HIDDEN)])?;
    let widened = |dimension: u64| match dimension {
        _ if dimension == hidden => HIDDEN,
        _ if dimension == inner => INNER,
        other => other,
    };
    let mut header = Map::new();
    let mut bytes = 0;
    for (name, tensor) in tensors(&template.join("model.safetensors"))? {
        // Position ids are no weights, and not of this type.
        if tensor["dtype"] != "F32" {
            continue;
        }
        let shape: Vec<u64> =
            tensor["shape"].as_array().into_iter().flatten().filter_map(Value::as_u64).map(widened).collect();
        let end = bytes + shape.iter().product::<u64>() * size_of::<f32>() as u64;
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [bytes, end] }));
        bytes = end;
    }
    let mut header = Value::Object(header).to_string();
    // The format allows spaces at the end; the tensors must start at a multiple of 8 bytes.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::new(File::create(target.join("model.safetensors"))?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let block = random_block();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len() as u64);
        file.write_all(&block[..part as usize])?;
        left -= part;
    }
    file.flush()?;
    Ok(bytes)
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Copies a file and replaces numbers in it.
fn edit(template: &Path, target: &Path, file: &str, values: &[(&str, u64)]) -> anyhow::Result<()> {
    let mut document = read_json(&template.join(file))?;
    for (key, value) in values {
        document[*key] = json!(value);
    }
    std::fs::write(target.join(file), document.to_string()).with_context(|| file.to_string())
}

fn tensors(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut reader = File::open(file).with_context(|| file.display().to_string())?;
    let mut length = [0; 8];
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    anyhow::ensure!(length <= HEADER_BYTES_MAX, "the header of {} has {length} bytes", file.display());
    let mut header = vec![0; length as usize];
    reader.read_exact(&mut header)?;
    let mut tensors: Map<String, Value> = serde_json::from_slice(&header)?;
    tensors.remove("__metadata__");
    Ok(tensors)
}

/// Small values around 0, as weights have them.
fn random_block() -> Vec<u8> {
    let mut state = 1_u64;
    let values = (0..BLOCK_FLOATS).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (state >> 40) as f32 / (1_u64 << 24) as f32;
        ((unit - 0.5) * 0.04).to_le_bytes()
    });
    values.collect()
}
