//! `model.safetensors`, mapped and used from the map: opening a model copies no weight, and processes that run the same
//! model share its pages.
//!
//! The header is read by the safetensors crate, which proves that tensors do not overlap and fill the file exactly. On
//! top of that: alignment, element type and shape of every tensor that the model asks for.
//!
//! A file that changes while it is mapped is found out, see [`crate::sigbus_guard`]; model files are replaced by rename.
//!
//! Deliberately not here: conversion of element types (f16 and bf16 come with an issue of their own).

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors};

use crate::config;
use crate::error::{EngineError, ModelError, ModelErrorKind as Kind};
use crate::model_files::{ModelFile, WeightBytes};

/// Floats of one tensor: where they lie in the map. Resolved by [`Weights::floats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorRef {
    /// From the start of the file; a multiple of 4.
    pub offset_bytes: usize,
    pub len: usize,
}

pub(crate) struct Weights {
    map: WeightBytes,
}

impl Weights {
    /// What was computed from them so far is right.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.map.intact() { Ok(()) } else { Err(EngineError::WeightsChanged) }
    }

    pub fn floats(&self, tensor: TensorRef) -> &[f32] {
        let bytes = &self.map[tensor.offset_bytes..tensor.offset_bytes + 4 * tensor.len];
        // SAFETY: every bit pattern is an f32.
        let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
        assert!(before.is_empty() && after.is_empty(), "alignment is checked when a tensor is found");
        floats
    }
}

/// An open weight file while the model looks for its tensors. Collects what is missing, so that one error names all.
pub(crate) struct WeightsReader {
    file: PathBuf,
    map: WeightBytes,
    metadata: Metadata,
    data_start: usize,
    /// "bert." when the file was saved from a model with a head (`BertForMaskedLM`), else "".
    prefix: &'static str,
    missing: Vec<String>,
}

impl WeightsReader {
    pub fn open(file: &ModelFile) -> Result<WeightsReader, ModelError> {
        let map = file.map()?;
        let (header_len, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| header_error(file, &map, error))?;
        let prefix =
            if metadata.info("bert.embeddings.word_embeddings.weight").is_some() { "bert." } else { "" };
        Ok(WeightsReader {
            file: file.to_path_buf(),
            map,
            metadata,
            data_start: 8 + header_len,
            prefix,
            missing: Vec::new(),
        })
    }

    /// Bytes of all tensors, as the header lists them.
    pub fn tensor_bytes(&self) -> u64 {
        let ranges = self.metadata.tensors();
        ranges.values().map(|info| (info.data_offsets.1 - info.data_offsets.0) as u64).sum()
    }

    /// The named tensor, checked. A missing one is remembered for [`WeightsReader::finish`] and stands in as empty.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<TensorRef, ModelError> {
        let name = format!("{}{name}", self.prefix);
        let Some(info) = self.metadata.info(&name) else {
            self.missing.push(name);
            return Ok(TensorRef { offset_bytes: 0, len: 0 });
        };
        if info.dtype != Dtype::F32 {
            let (expected, found) = (format!("`{name}` as F32"), format!("{:?}", info.dtype));
            let hint = "convert the weights: load the model with torch_dtype=torch.float32 and save it again";
            return Err(ModelError::new(Kind::WrongDtype, &self.file, expected, found, hint));
        }
        if info.shape != shape {
            let (expected, found) = (format!("`{name}` of shape {shape:?}"), format!("{:?}", info.shape));
            let hint = "config.json and model.safetensors come from different models: fetch the folder again";
            return Err(ModelError::new(Kind::WrongShape, &self.file, expected, found, hint));
        }
        let offset_bytes = self.data_start + info.data_offsets.0;
        if !offset_bytes.is_multiple_of(align_of::<f32>()) {
            let expected = format!("`{name}` at a multiple of {} bytes", align_of::<f32>());
            let found = format!("byte {offset_bytes}");
            let hint = "save the weights again with safetensors 0.3.1 or newer, which aligns them";
            return Err(ModelError::new(Kind::Misaligned, &self.file, expected, found, hint));
        }
        Ok(TensorRef { offset_bytes, len: shape.iter().product() })
    }

    pub fn finish(self) -> Result<Weights, ModelError> {
        if !self.missing.is_empty() {
            let expected = match self.missing.len() {
                1 => "this tensor".to_owned(),
                n => format!("these {n} tensors"),
            };
            let found = format!("none named {}", self.missing.join(", "));
            let hint = "config.json asks for more than the weights hold: fetch the folder again";
            return Err(ModelError::new(Kind::MissingTensor, &self.file, expected, found, hint));
        }
        // While the rest is being built.
        self.map.read_ahead();
        Ok(Weights { map: self.map })
    }
}

fn header_error(file: &Path, map: &[u8], error: SafeTensorError) -> ModelError {
    let hint = format!(
        "compare `sha256sum {}` with the publisher's digest and fetch the file again",
        file.display()
    );
    let length = format!("{} bytes", map.len());
    let truncated = |expected: String| ModelError::new(Kind::Truncated, file, expected, &length, &hint);
    match error {
        SafeTensorError::HeaderTooSmall => {
            truncated("a safetensors file (8 bytes of header length first)".into())
        }
        SafeTensorError::InvalidHeaderLength => {
            let promised = u64::from_le_bytes(map[..8].try_into().unwrap_or_default());
            truncated(format!("8 + {promised} bytes of header, as its first 8 bytes say"))
        }
        SafeTensorError::MetadataIncompleteBuffer => truncated(
            promised_length(map).map_or("as many bytes as the header says".into(), |n| format!("{n} bytes")),
        ),
        other => config::malformed(file, "a safetensors header", other),
    }
}

/// What the header says about the length of the whole file; only asked when that is not the length it has.
fn promised_length(map: &[u8]) -> Option<usize> {
    let header_len = usize::try_from(u64::from_le_bytes(map.get(..8)?.try_into().ok()?)).ok()?;
    let header: serde_json::Value =
        serde_json::from_slice(map.get(8..8usize.checked_add(header_len)?)?).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    usize::try_from(ends.max()?).ok()?.checked_add(8 + header_len)
}
