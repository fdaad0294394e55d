#!/usr/bin/env python3
"""One runtime with one precision, for `cargo xtask bench encode`: loads, chooses its best setting, and measures on request.

    VENV/bin/python xtask/src/bench/encode/peer.py onnxruntime|openvino|torch f32|bf16|int8 MODEL_DIR PREPARED_DIR tuned|untuned

PREPARED_DIR is what prepare.py wrote. A warm process that computes nothing between two requests:

  stdin   one workload per line: `batch` (all texts) or `single` (one text)
  stdout  one JSON object per line; the first one describes the process and names the file with its vectors, and each further one
          has `seconds`, from the texts to their vectors, and `seconds_without_tokenizer`, from token ids to vectors

tuned: all texts are sorted by length and computed in batches of equal size. Before its first line, the process tries all cores on one
batch and one batch on each core, then batch sizes, and keeps the fastest setting. untuned: batches of 32 in the order of the texts,
all cores on one batch.

Exit codes: 0 the input ended, 2 not measured.
"""

import itertools
import json
import os
import pathlib
import queue
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import common

# The first one is used to choose the rest of the setting.
BATCHES = (8, 4, 16, 32)
UNTUNED_BATCH = 32
# Rounds of a setting that is tried; the first one compiles kernels for new shapes and does not count.
TRIALS = 3
# Calls of one measurement of a single text; the median counts.
SINGLE_CALLS = 60
SINGLE_WARM_UP = 20


class OnnxRuntime:
    """`graph` is one of the forms of bert_onnx.py; the faster one counts."""

    precisions = {"f32": "", "int8": "-int8"}
    graphs = ("plain", "fused")

    def __init__(self, precision, model_dir, prepared, graph, streams, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        path = f"{prepared}/{graph}{self.precisions[precision]}.onnx"
        # Sessions share no threads, so one session for each stream; weights are 90 MB.
        make = lambda: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.sessions = [make() for _ in range(streams)]
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.setting = {"graph": graph}

    def run(self, stream, ids, mask):
        return self.sessions[stream].run(None, {"input_ids": ids, "attention_mask": mask})[0]


class OpenVino:
    precisions = {"f32": "plain.onnx", "bf16": "plain.onnx", "int8": "openvino-int8.xml"}
    graphs = ("plain",)

    def __init__(self, precision, model_dir, prepared, graph, streams, threads):
        import openvino
        core = openvino.Core()
        model = core.read_model(f"{prepared}/{self.precisions[precision]}")
        settings = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
        # int8: the operators that stay in floating point have the default precision of the CPU, as users get it.
        if precision != "int8":
            settings["INFERENCE_PRECISION_HINT"] = precision
        compiled = core.compile_model(model, "CPU", settings)
        self.requests = [compiled.create_infer_request() for _ in range(streams)]
        self.version = f"openvino {openvino.__version__.split('-')[0]}"
        self.setting = {"float_precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()}

    def run(self, stream, ids, mask):
        # The tensors are shared, not copied; the result is copied, because the next call overwrites it.
        result = self.requests[stream].infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True, share_outputs=True)
        return result[0].copy()


class Torch:
    """The model of sentence-transformers with mean pooling and normalization, without its Python layers above them."""

    precisions = {"f32": "float32", "bf16": "bfloat16"}
    graphs = ("plain",)

    def __init__(self, precision, model_dir, prepared, graph, streams, threads):
        import torch
        import transformers
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        model = transformers.AutoModel.from_pretrained(model_dir, dtype=getattr(torch, self.precisions[precision]))
        self.model = model.eval()
        self.version = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
        self.setting = {}

    def run(self, stream, ids, mask):
        torch = self.torch
        with torch.inference_mode():
            ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weights = mask.unsqueeze(-1).float()
            mean = (states * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean, dim=-1).numpy()


RUNTIMES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "torch": Torch}


class Encoder:
    """A runtime with one batch size, on one stream with all cores or on one stream for each core."""

    def __init__(self, numpy, runtime, streams, batch, by_length=True):
        self.numpy, self.runtime, self.batch, self.streams, self.by_length = numpy, runtime, batch, streams, by_length
        self.pool = ThreadPoolExecutor(streams) if streams > 1 else None
        self.free = queue.SimpleQueue()
        for stream in range(streams):
            self.free.put(stream)

    def encode(self, token_ids):
        """Vectors in the order of the texts."""
        order = list(range(len(token_ids)))
        if self.by_length:
            order.sort(key=lambda i: len(token_ids[i]), reverse=True)
        parts = [order[first : first + self.batch] for first in range(0, len(order), self.batch)]
        compute = lambda part: self.compute([token_ids[i] for i in part])
        results = list(self.pool.map(compute, parts) if self.pool else map(compute, parts))
        vectors = self.numpy.empty((len(token_ids), results[0].shape[1]), dtype=self.numpy.float32)
        for part, result in zip(parts, results):
            vectors[part] = result
        return vectors

    def compute(self, rows):
        ids = self.numpy.zeros((len(rows), max(map(len, rows))), dtype=self.numpy.int64)
        mask = self.numpy.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        stream = self.free.get()
        try:
            return self.runtime.run(stream, ids, mask)
        finally:
            self.free.put(stream)


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def best_setting(numpy, make, graphs, cores, token_ids):
    """The fastest encoder for all texts, its setting, and every setting that was tried with its seconds. First graph and streams
    are chosen, then the batch size."""
    tried = []

    def attempt(runtime, streams, batch):
        encoder = Encoder(numpy, runtime, streams, batch)
        seconds = min([seconds_of(lambda: encoder.encode(token_ids)) for _ in range(TRIALS)][1:])
        tried.append({**runtime.setting, "streams": streams, "batch": batch, "seconds": round(seconds, 4)})
        return seconds, encoder, tried[-1]

    fastest = lambda attempts: min(attempts, key=lambda attempt: attempt[0])
    settings = [(make(graph, streams, cores // streams), streams) for graph in graphs for streams in sorted({1, cores})]
    best = fastest(attempt(runtime, streams, BATCHES[0]) for runtime, streams in settings if runtime is not None)
    runtime, streams = best[1].runtime, best[1].streams
    best = fastest([best, *(attempt(runtime, streams, batch) for batch in BATCHES[1:])])
    return best[1], best[2], tried


def untuned_setting(numpy, make, graphs, cores):
    """What [`best_setting`] returns, without a choice: the first graph, all cores on one batch, the order of the texts."""
    runtime = make(graphs[0], 1, cores)
    setting = {**runtime.setting, "streams": 1, "batch": UNTUNED_BATCH, "order": "given"}
    return Encoder(numpy, runtime, 1, UNTUNED_BATCH, by_length=False), setting, []


def best_single(numpy, make, graphs, cores, token_ids):
    """The fastest encoder for one text, on all cores."""
    encoders = [Encoder(numpy, make(graph, 1, cores), 1, 1) for graph in graphs]
    return min(encoders, key=lambda encoder: median_of_calls(lambda: encoder.encode(token_ids)))


def median_of_calls(call):
    for _ in range(SINGLE_WARM_UP):
        call()
    return statistics.median(seconds_of(call) for _ in range(SINGLE_CALLS))


def main():
    if len(sys.argv) != 6 or sys.argv[1] not in RUNTIMES or sys.argv[5] not in ("tuned", "untuned"):
        raise common.NotMeasured(__doc__)
    name, precision, model_dir, prepared, tuning = sys.argv[1:]
    runtime = RUNTIMES[name]
    if precision not in runtime.precisions:
        raise common.NotMeasured(f"{name} has {', '.join(runtime.precisions)}, and not {precision}")

    import numpy
    cores = len(os.sched_getaffinity(0))
    tokenizer = common.tokenizer(model_dir)
    tokenize = lambda texts: [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
    inputs = json.loads(pathlib.Path(prepared, "texts.json").read_text())
    texts, single_text = inputs["texts"], [inputs["single"]]
    ids, single_ids = tokenize(texts), tokenize(single_text)

    def make(graph, streams, threads):
        # torch has one pool of threads for the process.
        return None if name == "torch" and streams > 1 else runtime(precision, model_dir, prepared, graph, streams, threads)

    if tuning == "tuned":
        encoder, setting, tried = best_setting(numpy, make, runtime.graphs, cores, ids)
    else:
        encoder, setting, tried = untuned_setting(numpy, make, runtime.graphs, cores)
    single = best_single(numpy, make, runtime.graphs, cores, single_ids)
    vectors = pathlib.Path(prepared, f"vectors-{name}-{precision}.f32")
    numpy.concatenate([encoder.encode(ids), single.encode(single_ids)]).astype("<f4").tofile(vectors)

    def answer(line):
        print(json.dumps(line), flush=True)

    answer({"version": encoder.runtime.version, "setting": setting, "single_setting": single.runtime.setting,
            "tried": tried, "cores": cores, "vectors": str(vectors)})
    for line in sys.stdin:
        match line.strip():
            case "batch":
                answer({"seconds": seconds_of(lambda: encoder.encode(tokenize(texts))),
                        "seconds_without_tokenizer": seconds_of(lambda: encoder.encode(ids))})
            case "single":
                answer({"seconds": median_of_calls(lambda: single.encode(tokenize(single_text))),
                        "seconds_without_tokenizer": median_of_calls(lambda: single.encode(single_ids))})
            case other:
                raise common.NotMeasured(f"there is no workload `{other}`")
    return 0


if __name__ == "__main__":
    common.run(main)
