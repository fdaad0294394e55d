//! Texts, reference vectors and models of the peers: made once by `prepare.py`, kept in the target folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use process::Task;
use release::context::BuildContext;
use release::plan::Plan;
use serde_json::Value;
use store::Digest;

/// Calibration and compilation of nncf take a minute.
const TIMEOUT: Duration = Duration::from_mins(15);

pub struct Inputs {
    /// The folder of the model.
    pub model: PathBuf,
    /// What `prepare.py` wrote.
    pub folder: PathBuf,
    pub texts: Vec<String>,
    /// Tokens of each text.
    pub lengths: Vec<u64>,
    pub single: String,
    pub single_length: u64,
    /// Vectors of the texts and of the single one, in f32.
    pub reference: Vec<Vec<f32>>,
}

/// Runs `prepare.py` unless its results are there. `requirements` are the versions in the environment of `python`.
pub fn prepare(
    plan: &Plan,
    context: &BuildContext,
    python: &Path,
    requirements: &str,
    model: PathBuf,
) -> anyhow::Result<Inputs> {
    let scripts = super::scripts(plan);
    let goldens = plan.paths.root.join("fixtures/goldens/all-MiniLM-L6-v2");
    let mut key = format!("{requirements}{}\n", model.display()).into_bytes();
    for file in [scripts.join("prepare.py"), scripts.join("bert_onnx.py"), goldens.with_extension("f32")] {
        key.extend(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
    }
    let folder = plan.paths.work.join("bench-encode").join(Digest::of(&key).short());
    let ready = folder.join("ready");
    if !ready.is_file() {
        context
            .events()
            .step("making the models of the peers: ONNX, int8 for onnxruntime, int8 for OpenVINO");
        let mut command = context.command(python);
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(scripts.join("prepare.py"));
        command.arg(&model).arg(&goldens).arg(&folder);
        context.runner.run(Task::new("make the models of the peers", command).timeout(TIMEOUT))?;
        // Written last, so an interrupted run starts again.
        std::fs::write(&ready, "").with_context(|| format!("writing {}", ready.display()))?;
    }
    Inputs::read(model, folder)
}

impl Inputs {
    fn read(model: PathBuf, folder: PathBuf) -> anyhow::Result<Self> {
        let path = folder.join("texts.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let described: Value =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let list = |key: &str| described[key].as_array().cloned().unwrap_or_default();
        let texts: Vec<String> =
            list("texts").iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect();
        let lengths: Vec<u64> = list("lengths").iter().filter_map(Value::as_u64).collect();
        ensure!(
            !texts.is_empty() && texts.len() == lengths.len(),
            "{}: texts without lengths",
            path.display()
        );
        let single = described["single"].as_str().context("texts.json has no `single`")?.to_owned();
        let single_length =
            described["single_length"].as_u64().context("texts.json has no `single_length`")?;
        let mut inputs = Self { model, folder, texts, lengths, single, single_length, reference: Vec::new() };
        inputs.reference = inputs.read_vectors(&inputs.folder.join("reference.f32"))?;
        Ok(inputs)
    }

    /// Vectors of all texts and of the single one from a file of little-endian f32.
    pub fn read_vectors(&self, path: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let rows = self.texts.len() + 1;
        split_rows(&bytes, rows).with_context(|| format!("{}: not {rows} vectors", path.display()))
    }

    pub fn tokens(&self) -> u64 {
        self.lengths.iter().sum()
    }

    /// One text per line; the words of the texts contain no newline.
    pub fn batch_lines(&self) -> String {
        self.texts.iter().map(|text| format!("{text}\n")).collect()
    }

    pub fn single_line(&self) -> String {
        format!("{}\n", self.single)
    }

    pub fn all_lines(&self) -> String {
        self.batch_lines() + &self.single_line()
    }
}

/// Equal parts of a sequence of f32; `None` when it has no such parts.
fn split_rows(bytes: &[u8], rows: usize) -> Option<Vec<Vec<f32>>> {
    let row_bytes = bytes.len() / rows;
    if row_bytes == 0 || !bytes.len().is_multiple_of(rows) || !row_bytes.is_multiple_of(4) {
        return None;
    }
    let floats =
        |row: &[u8]| row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Some(bytes.chunks_exact(row_bytes).map(floats).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What prepare.py writes, for two texts.
    fn inputs(folder: &Path) -> anyhow::Result<Inputs> {
        let described = r#"{"texts": ["first text", "second"], "lengths": [4, 3], "single": "the first", "single_length": 34}"#;
        std::fs::write(folder.join("texts.json"), described)?;
        let vectors: Vec<u8> = (0..6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        std::fs::write(folder.join("reference.f32"), vectors)?;
        Inputs::read(PathBuf::new(), folder.into())
    }

    #[test]
    fn every_program_gets_the_texts_in_their_order_and_the_single_one_last() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs(folder.path()).unwrap();
        assert_eq!(inputs.batch_lines(), "first text\nsecond\n");
        assert_eq!(inputs.single_line(), "the first\n");
        assert_eq!(inputs.all_lines(), "first text\nsecond\nthe first\n");
        assert_eq!((inputs.tokens(), inputs.single_length), (7, 34));
        assert_eq!(inputs.reference, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]);
    }

    #[test]
    fn texts_without_lengths_or_vectors_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        inputs(folder.path()).unwrap();
        let read = || Inputs::read(PathBuf::new(), folder.path().into()).map(|_| ()).unwrap_err().to_string();
        let read = || read().replace(&folder.path().display().to_string(), "FOLDER");
        std::fs::write(folder.path().join("reference.f32"), [0; 8]).unwrap();
        insta::assert_snapshot!(read(), @"FOLDER/reference.f32: not 3 vectors");
        std::fs::write(folder.path().join("texts.json"), r#"{"texts": ["a", "b"], "lengths": [3]}"#).unwrap();
        insta::assert_snapshot!(read(), @"FOLDER/texts.json: texts without lengths");
    }

    #[test]
    fn vectors_are_equal_parts_of_the_file() {
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(split_rows(&bytes, 2), Some(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
        assert_eq!(split_rows(&bytes, 3), None);
        assert_eq!(split_rows(&bytes[..12], 2), None);
        assert_eq!(split_rows(&[], 2), None);
    }
}
