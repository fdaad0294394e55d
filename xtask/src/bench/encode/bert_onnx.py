"""A BERT sentence encoder as an ONNX graph, written from the tensors of model.safetensors.

Inputs `input_ids` and `attention_mask`, both int64 [batch, tokens]; output `embedding`, f32 [batch, hidden]. The masks, mean pooling
and normalization are in the graph. The token type is 0 for a single text, so its row is added to the positions here.

Two forms with the same result:
- `plain`: standard operators in the form that exporters write, which runtimes recognise and fuse;
- `fused`: attention as the operator `com.microsoft.Attention`, the form that the optimizer of onnxruntime makes of it.
"""

import json
import math
import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

OPSET = 17
# Versions of the file format from this one on may be unknown to a runtime.
IR_VERSION = 10
# Added to the scores of padding; softmax gives exactly 0 for it.
MASKED = -10000.0


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(numpy.ascontiguousarray(value), name))
        return name

    def add(self, operator, inputs, name, outputs=None, **attributes):
        outputs = outputs or [name]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]


class Bert:
    def __init__(self, model_dir):
        folder = pathlib.Path(model_dir)
        self.config = json.loads((folder / "config.json").read_text())
        if self.config["hidden_act"] != "gelu":
            raise ValueError(f"hidden_act is {self.config['hidden_act']}; the graph has the exact GELU only")
        with safe_open(folder / "model.safetensors", "numpy") as file:
            self.tensors = {name.removeprefix("bert."): file.get_tensor(name) for name in file.keys()}
        self.hidden = self.config["hidden_size"]
        self.heads = self.config["num_attention_heads"]

    def weight(self, name):
        """PyTorch stores [outputs, inputs]; MatMul takes [inputs, outputs]."""
        return self.tensors[f"{name}.weight"].T

    def bias(self, name):
        return self.tensors[f"{name}.bias"]

    def linear(self, g, x, name, tensors=None):
        weight, bias = tensors or (self.weight(name), self.bias(name))
        product = g.add("MatMul", [x, g.constant(f"{name}.weight", weight)], f"{name}.product")
        return g.add("Add", [product, g.constant(f"{name}.bias", bias)], name)

    def norm(self, g, x, name):
        inputs = [x, g.constant(f"{name}.weight", self.tensors[f"{name}.weight"]), g.constant(f"{name}.bias", self.bias(name))]
        return g.add("LayerNormalization", inputs, name, axis=-1, epsilon=self.config["layer_norm_eps"])

    def embed(self, g):
        table = "embeddings.{}_embeddings.weight"
        positions = self.tensors[table.format("position")] + self.tensors[table.format("token_type")][0]
        words = g.add("Gather", [g.constant("words", self.tensors[table.format("word")]), "input_ids"], "words.rows")
        tokens = g.add("Gather", [g.add("Shape", ["input_ids"], "shape"), g.constant("one", numpy.array([1]))], "tokens")
        rows = [g.constant("positions", positions), g.constant("zero", numpy.array([0])), tokens]
        positions = g.add("Slice", rows, "positions.rows")
        return self.norm(g, g.add("Add", [words, positions], "embeddings.sum"), "embeddings.LayerNorm")

    def attention_plain(self, g, x, layer, mask):
        name, size = f"{layer}.attention", self.hidden // self.heads

        def heads(part, permutation):
            split = g.add("Reshape", [self.linear(g, x, f"{name}.self.{part}"), "heads"], f"{name}.{part}.split")
            return g.add("Transpose", [split], f"{name}.{part}.heads", perm=permutation)

        query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        scores = g.add("MatMul", [query, key], f"{name}.scores")
        scaled = g.add("Div", [scores, g.constant(f"{name}.scale", numpy.float32(math.sqrt(size)))], f"{name}.scaled")
        weights = g.add("Softmax", [g.add("Add", [scaled, mask], f"{name}.masked")], f"{name}.weights", axis=-1)
        context = g.add("MatMul", [weights, value], f"{name}.context")
        return g.add("Reshape", [g.add("Transpose", [context], f"{name}.rows", perm=[0, 2, 1, 3]), "merged"], f"{name}.merged")

    def attention_fused(self, g, x, layer, mask):
        name, parts = f"{layer}.attention", ("query", "key", "value")
        weight = numpy.concatenate([self.weight(f"{name}.self.{part}") for part in parts], axis=1)
        bias = numpy.concatenate([self.bias(f"{name}.self.{part}") for part in parts])
        inputs = [x, g.constant(f"{name}.qkv", weight), g.constant(f"{name}.qkv.bias", bias), mask]
        return g.add("Attention", inputs, f"{name}.context", domain="com.microsoft", num_heads=self.heads)

    def gelu(self, g, x, name):
        """x / 2 * (1 + erf(x / sqrt(2))) in the order of exporters, which the runtimes replace by one operator."""
        scaled = g.add("Div", [x, "sqrt_two"], f"{name}.scaled")
        shifted = g.add("Add", [g.add("Erf", [scaled], f"{name}.erf"), "one_float"], f"{name}.shifted")
        return g.add("Mul", [g.add("Mul", [x, shifted], f"{name}.doubled"), "half"], name)

    def pool(self, g, x):
        mask = g.add("Unsqueeze", ["mask.float", g.constant("last", numpy.array([-1]))], "pool.mask")
        total = g.add("ReduceSum", [g.add("Mul", [x, mask], "pool.masked"), "one"], "pool.sum", keepdims=0)
        count = g.add("ReduceSum", [mask, "one"], "pool.count", keepdims=0)
        mean = g.add("Div", [total, count], "pool.mean")
        length = g.add("ReduceL2", [mean], "pool.length", axes=[-1], keepdims=1)
        return g.add("Div", [mean, length], "embedding")

    def model(self, fused):
        g = Graph()
        for name, value in [("one_float", 1.0), ("sqrt_two", math.sqrt(2)), ("half", 0.5)]:
            g.constant(name, numpy.float32(value))
        if not fused:
            g.constant("heads", numpy.array([0, 0, self.heads, self.hidden // self.heads]))
            g.constant("merged", numpy.array([0, 0, self.hidden]))
        x = self.embed(g)
        g.add("Cast", ["attention_mask"], "mask.float", to=TensorProto.FLOAT)
        if fused:
            # Padding is at the end of a row, so the number of tokens says which positions are masked.
            count = g.add("ReduceSum", ["attention_mask", "one"], "mask.count", keepdims=0)
            mask = g.add("Cast", [count], "mask.index", to=TensorProto.INT32)
        else:
            padding = g.add("Sub", ["one_float", "mask.float"], "mask.padding")
            penalty = g.add("Mul", [padding, g.constant("masked", numpy.float32(MASKED))], "mask.penalty")
            mask = g.add("Unsqueeze", [penalty, g.constant("mask.axes", numpy.array([1, 2]))], "mask.scores")
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            attention = self.attention_fused if fused else self.attention_plain
            out = self.linear(g, attention(g, x, layer, mask), f"{layer}.attention.output.dense")
            x = self.norm(g, g.add("Add", [out, x], f"{layer}.attention.sum"), f"{layer}.attention.output.LayerNorm")
            up = self.gelu(g, self.linear(g, x, f"{layer}.intermediate.dense"), f"{layer}.gelu")
            out = self.linear(g, up, f"{layer}.output.dense")
            x = self.norm(g, g.add("Add", [out, x], f"{layer}.sum"), f"{layer}.output.LayerNorm")
        self.pool(g, x)
        ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")]
        out = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", self.hidden])]
        domains = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid("com.microsoft", 1)] if fused else [])
        graph = helper.make_graph(g.nodes, "bert", ids, out, g.constants)
        model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model
