#!/usr/bin/env python3
"""Texts, reference vectors and the models of the peers for `cargo xtask bench encode`.

    VENV/bin/python xtask/src/bench/encode/prepare.py MODEL_DIR GOLDENS OUT_DIR

GOLDENS is `fixtures/goldens/NAME` without its suffix. Writes into OUT_DIR:

  plain.onnx, fused.onnx            f32, written from model.safetensors; see bert_onnx.py
  plain-int8.onnx, fused-int8.onnx  onnxruntime.quantization.quantize_dynamic
  openvino-int8.xml, .bin           nncf.quantize: weights and activations, calibrated on texts that are not measured
  texts.json                        {"texts": [...], "lengths": [tokens of each], "single": the beginning of one, "single_length": tokens}
  reference.f32                     vectors of the texts and of the single one, computed by plain.onnx one by one, without padding

The graphs must equal the golden vectors of sentence-transformers before anything is written under its name. Exit codes: 0 done,
2 not done.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import common

TEXTS = 256
SINGLE_TOKENS = 34
CALIBRATION_TEXTS = 300
# Bound of the graphs' difference from the golden vectors. The measured difference is below 1e-6.
GOLDEN_MAX_ABS = 1e-4


def goldens(path):
    import numpy
    described = json.loads(pathlib.Path(f"{path}.json").read_text())
    floats = numpy.fromfile(f"{path}.f32", "<f4")
    rows = [floats[text["vector"] :][: described["dimension"]] for text in described["texts"]]
    return [text["ids"] for text in described["texts"]], numpy.stack(rows)


def beginning(tokenizer, texts):
    """The first words of a text that are SINGLE_TOKENS tokens, and their ids."""
    for text in texts:
        words = text.split()
        for count in range(1, len(words) + 1):
            part = " ".join(words[:count])
            ids = tokenizer.encode(part).ids
            if len(ids) == SINGLE_TOKENS:
                return part, ids
    raise common.NotMeasured(f"no beginning of a text has {SINGLE_TOKENS} tokens")


def feed(numpy, ids):
    ids = numpy.array([ids], dtype=numpy.int64)
    return {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}


def embed_one_by_one(numpy, path, token_ids):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return numpy.concatenate([session.run(None, feed(numpy, ids))[0] for ids in token_ids])


def verify(numpy, path, golden):
    token_ids, expected = golden
    distance = float(numpy.abs(embed_one_by_one(numpy, path, token_ids) - expected).max())
    if not distance < GOLDEN_MAX_ABS:
        raise common.NotMeasured(f"{path} differs from the golden vectors by {distance:.1e}")
    return distance


def quantize_for_openvino(numpy, plain, token_ids, out):
    import nncf
    import openvino
    model = openvino.Core().read_model(plain)
    dataset = nncf.Dataset([feed(numpy, ids) for ids in token_ids])
    quantized = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(token_ids))
    openvino.save_model(quantized, out, compress_to_fp16=False)


def main():
    if len(sys.argv) != 4:
        raise common.NotMeasured(__doc__)
    model_dir, golden_path, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])

    import numpy
    import onnx
    from bert_onnx import Bert
    from onnxruntime.quantization import QuantType, quantize_dynamic

    tokenizer = common.tokenizer(model_dir)
    every = common.texts(tokenizer.get_vocab(), TEXTS + CALIBRATION_TEXTS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(every)]
    texts, measured, calibration = every[:TEXTS], ids[:TEXTS], ids[TEXTS:]
    single, single_ids = beginning(tokenizer, texts)

    out.mkdir(parents=True, exist_ok=True)
    golden = goldens(golden_path)
    bert = Bert(model_dir)
    for name in ("plain", "fused"):
        path = str(out / f"{name}.onnx")
        onnx.save(bert.model(name == "fused"), path)
        print(f"{name}.onnx: max-abs to the golden vectors {verify(numpy, path, golden):.1e}", file=sys.stderr)
        # The settings that Optimum and sentence-transformers use for CPUs with VNNI.
        quantize_dynamic(path, str(out / f"{name}-int8.onnx"), weight_type=QuantType.QInt8, per_channel=False, reduce_range=False,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    plain = str(out / "plain.onnx")
    quantize_for_openvino(numpy, plain, calibration, str(out / "openvino-int8.xml"))
    reference = embed_one_by_one(numpy, plain, [*measured, single_ids])
    reference.astype("<f4").tofile(out / "reference.f32")
    (out / "texts.json").write_text(json.dumps({
        "texts": texts, "lengths": [len(row) for row in measured], "single": single, "single_length": SINGLE_TOKENS,
    }))
    return 0


if __name__ == "__main__":
    common.run(main)
