#!/usr/bin/env python3
"""Logits of an F32 GGUF model with a PEFT adapter on it, computed as a Hugging Face model would: weights in
Hugging Face's order of rows, rotary pairs half a head apart.  Written against the formats, not against our code.

usage: peft_forward.py MODEL.gguf PEFT_DIR TOKENS.json EXPECTED.f32   (exit 1 if the logits differ)
"""
import json
import struct
import sys

import numpy as np


def read_gguf(path):
    data = open(path, "rb").read()
    at = 0

    def take(form):
        nonlocal at
        value = struct.unpack_from("<" + form, data, at)[0]
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size:at].decode("utf-8", "replace")

    scalars = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner = take("I")
            return [value(inner) for _ in range(take("Q"))]
        return take(scalars[kind])

    assert take("I") == 0x46554747 and take("I") == 3
    tensor_count, key_count = take("Q"), take("Q")
    keys = {}
    for _ in range(key_count):
        name = text()
        keys[name] = value(take("I"))
    infos = []
    for _ in range(tensor_count):
        name = text()
        shape = [take("Q") for _ in range(take("I"))]
        infos.append((name, shape, take("I"), take("Q")))
    start = (at + 31) // 32 * 32
    tensors = {}
    for name, shape, kind, offset in infos:
        assert kind == 0, "expected F32"
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(data, "<f4", count, start + offset).reshape(shape[::-1]).astype(np.float64)
    return keys, tensors


def read_safetensors(path):
    data = open(path, "rb").read()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + begin:8 + size + end], "<f4").reshape(entry["shape"])
    return tensors


def halves(weight, heads):
    """Rows (or elements) of interleaved rotary pairs as Hugging Face has them."""
    size = weight.shape[0] // heads
    return weight.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def rotate(x, base):
    positions, _, size = x.shape
    angle = np.outer(np.arange(positions), base ** (-np.arange(0, size, 2) / size))
    cos, sin = (np.concatenate([f(angle)] * 2, axis=1)[:, None, :] for f in (np.cos, np.sin))
    return x * cos + np.concatenate([-x[..., size // 2:], x[..., :size // 2]], axis=2) * sin


def main():
    keys, weights = read_gguf(sys.argv[1])
    lora = read_safetensors(sys.argv[2] + "/adapter_model.safetensors")
    config = json.load(open(sys.argv[2] + "/adapter_config.json"))
    tokens = json.load(open(sys.argv[3]))
    arch = keys["general.architecture"]
    heads = keys[arch + ".attention.head_count"]
    kv_heads = keys[arch + ".attention.head_count_kv"]
    epsilon = keys[arch + ".attention.layer_norm_rms_epsilon"]
    rope_base = keys.get(arch + ".rope.freq_base", 10000.0)
    scale = config["lora_alpha"] / config["r"]
    order = {"q": heads, "k": kv_heads} if arch == "llama" else {}

    def adapted(layer, gguf, peft, key=None):
        weight = weights["blk.%d.%s.weight" % (layer, gguf)]
        if key in order:
            weight = halves(weight, order[key])
        path = "base_model.model.model.layers.%d.%s.lora_" % (layer, peft)
        return weight + scale * lora[path + "B.weight"].astype(np.float64) @ lora[path + "A.weight"]

    def norm(x, name):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weights[name]

    x = weights["token_embd.weight"][tokens]
    count = len(tokens)
    mask = np.triu(np.full((count, count), -np.inf), 1)
    for layer in range(keys[arch + ".block_count"]):
        h = norm(x, "blk.%d.attn_norm.weight" % layer)
        made = {}
        for key, groups in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            y = h @ adapted(layer, "attn_" + key, "self_attn.%s_proj" % key, key).T
            y = y + weights.get("blk.%d.attn_%s.bias" % (layer, key), 0)
            made[key] = y.reshape(count, groups, -1)
        q, k, v = rotate(made["q"], rope_base), rotate(made["k"], rope_base), made["v"]
        k, v = (np.repeat(part, heads // kv_heads, axis=1) for part in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[2]) + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", scores, v).reshape(count, -1)
        x = x + attended @ adapted(layer, "attn_output", "self_attn.o_proj").T
        h = norm(x, "blk.%d.ffn_norm.weight" % layer)
        gate = h @ adapted(layer, "ffn_gate", "mlp.gate_proj").T
        up = h @ adapted(layer, "ffn_up", "mlp.up_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ adapted(layer, "ffn_down", "mlp.down_proj").T
    output = weights.get("output.weight", weights["token_embd.weight"])
    logits = norm(x, "output_norm.weight") @ output.T
    expected = np.fromfile(sys.argv[4], "<f4").reshape(logits.shape)
    error = np.abs(logits - expected).max()
    print("largest difference %.3g of logits up to %.3g" % (error, np.abs(expected).max()))
    return 0 if error < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
