//! `model.safetensors`, mapped and used in place: opening a model copies no weights, and processes that run the same
//! model share its pages.
//!
//! The safetensors crate parses the header and verifies that tensors do not overlap and fill the file exactly. This
//! module additionally checks alignment, element type and shape of every tensor that the model requests.
//!
//! `sigbus_guard` detects a file that changes while it is mapped; model files are replaced by rename.
//!
//! Not here: conversion of element types. The engine reads F32 only.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors};

use crate::error::{EngineError, ModelError, ModelErrorKind};
use crate::model_files::{ModelFile, WeightBytes};

/// The position of the floats of one tensor in the map. [`Weights::floats`] resolves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorRef {
    /// From the start of the file; a multiple of 4.
    pub offset_bytes: usize,
    /// Number of elements.
    pub len: usize,
}

/// The weights of an open model.
pub(crate) struct Weights {
    bytes: WeightBytes,
}

impl Weights {
    /// Fails when the file changed after it was opened, so results computed from it may be wrong.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.bytes.is_intact() { Ok(()) } else { Err(EngineError::WeightsChanged) }
    }

    /// The same without reading the file, so the answer can be late.
    pub fn check_without_reading(&self) -> Result<(), EngineError> {
        if self.bytes.seems_intact() { Ok(()) } else { Err(EngineError::WeightsChanged) }
    }

    /// Starts to read the content, for comparisons when the times of the file change.
    pub fn remember_content(&self) {
        self.bytes.remember_content();
    }

    /// Drops the pages of a tensor from memory; a later access reads them from the file again.
    pub fn release_pages(&self, tensor: TensorRef) {
        self.bytes.release_pages(tensor.offset_bytes..tensor.offset_bytes + 4 * tensor.len);
    }

    /// The floats of a tensor.
    pub fn floats(&self, tensor: TensorRef) -> &[f32] {
        let bytes = &self.bytes[tensor.offset_bytes..tensor.offset_bytes + 4 * tensor.len];
        // SAFETY: every bit pattern is a valid f32, and the middle part that `align_to` returns is aligned.
        let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
        assert!(before.is_empty() && after.is_empty(), "`WeightsReader::tensor` checks the alignment");
        floats
    }
}

/// An open weight file while the model looks up its tensors. Collects missing tensors, so that one error names all.
pub(crate) struct WeightsReader {
    file: PathBuf,
    bytes: WeightBytes,
    metadata: Metadata,
    data_start: usize,
    /// "bert." when the file was saved from a model with a head (`BertForMaskedLM`), else "".
    prefix: &'static str,
    missing: Vec<String>,
}

impl WeightsReader {
    pub fn open(file: &ModelFile) -> Result<WeightsReader, ModelError> {
        let bytes = file.map()?;
        let (header_len, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| header_error(file, &bytes, error))?;
        let has_head = metadata.info("bert.embeddings.word_embeddings.weight").is_some();
        Ok(WeightsReader {
            file: file.to_path_buf(),
            bytes,
            metadata,
            data_start: 8 + header_len,
            prefix: if has_head { "bert." } else { "" },
            missing: Vec::new(),
        })
    }

    /// Bytes of all tensors that the header lists.
    pub fn tensor_bytes(&self) -> u64 {
        let ranges = self.metadata.tensors();
        ranges.values().map(|info| (info.data_offsets.1 - info.data_offsets.0) as u64).sum()
    }

    /// The named tensor after all checks. Records a missing tensor for [`WeightsReader::finish`] and returns an empty one.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<TensorRef, ModelError> {
        let name = format!("{}{name}", self.prefix);
        let Some(info) = self.metadata.info(&name) else {
            self.missing.push(name);
            return Ok(TensorRef { offset_bytes: 0, len: 0 });
        };
        if info.dtype != Dtype::F32 {
            let (expected, found) = (format!("`{name}` as F32"), format!("{:?}", info.dtype));
            let hint = "convert the weights: load the model with torch_dtype=torch.float32 and save it again";
            return Err(ModelError::new(ModelErrorKind::WrongDtype, &self.file, expected, found, hint));
        }
        if info.shape != shape {
            let (expected, found) = (format!("`{name}` of shape {shape:?}"), format!("{:?}", info.shape));
            let hint = "config.json and model.safetensors come from different models: fetch the folder again";
            return Err(ModelError::new(ModelErrorKind::WrongShape, &self.file, expected, found, hint));
        }
        let offset_bytes = self.data_start + info.data_offsets.0;
        if !offset_bytes.is_multiple_of(align_of::<f32>()) {
            let expected = format!("`{name}` at a multiple of {} bytes", align_of::<f32>());
            let found = format!("byte {offset_bytes}");
            let hint = "save the weights again with safetensors 0.3.1 or newer, which aligns them";
            return Err(ModelError::new(ModelErrorKind::Misaligned, &self.file, expected, found, hint));
        }
        Ok(TensorRef { offset_bytes, len: shape.iter().product() })
    }

    /// The weights, or one error that names all missing tensors.
    pub fn finish(self) -> Result<Weights, ModelError> {
        if !self.missing.is_empty() {
            let expected = match self.missing.len() {
                1 => "this tensor".to_owned(),
                n => format!("these {n} tensors"),
            };
            let found = format!("none named {}", self.missing.join(", "));
            let hint = "config.json requires more tensors than the weights contain: fetch the folder again";
            return Err(ModelError::new(ModelErrorKind::MissingTensor, &self.file, expected, found, hint));
        }
        // The kernel reads the pages while the model is being built.
        self.bytes.read_ahead();
        Ok(Weights { bytes: self.bytes })
    }
}

fn header_error(file: &Path, bytes: &[u8], error: SafeTensorError) -> ModelError {
    let hint = format!(
        "compare `sha256sum {}` with the publisher's digest and fetch the file again",
        file.display()
    );
    let length = format!("{} bytes", bytes.len());
    let wrong_length =
        |expected: String| ModelError::new(ModelErrorKind::WrongLength, file, expected, &length, &hint);
    match error {
        SafeTensorError::HeaderTooSmall => {
            wrong_length("a safetensors file (8 bytes of header length first)".into())
        }
        SafeTensorError::InvalidHeaderLength => {
            let stated = u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default());
            wrong_length(format!("8 + {stated} bytes of header, as its first 8 bytes state"))
        }
        SafeTensorError::MetadataIncompleteBuffer => wrong_length(
            stated_length(bytes).map_or("the length that the header states".into(), |n| format!("{n} bytes")),
        ),
        other => ModelError::malformed(file, "a safetensors header", other),
    }
}

/// The length of the whole file according to its header. Only used when the actual length differs.
fn stated_length(bytes: &[u8]) -> Option<usize> {
    let header_len = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
    let header: serde_json::Value =
        serde_json::from_slice(bytes.get(8..8usize.checked_add(header_len)?)?).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    usize::try_from(ends.max()?).ok()?.checked_add(8 + header_len)
}
