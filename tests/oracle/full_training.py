#!/usr/bin/env python3
"""Full-parameter training against PyTorch: the same model, data and schedule in both.

PyTorch (Debian's python3-torch) is an oracle here, not a dependency: without it, or without the data,
the script says "skipped" and ends with 77.  (Debian's PyTorch multiplies by whatever libblas.so.3 is:
with OpenBLAS the long run below takes minutes, with the reference BLAS the better part of an hour.)  It

1. makes a Llama of about a million parameters with fresh weights (`lorikeet make-random --init
   training`), or takes --base;
2. trains it with `lorikeet finetune --form full`, which also writes down which windows of tokens made
   up each step (--write-batches);
3. compares the gradient of the first step with PyTorch's in float64, tensor by tensor (relative L2);
4. trains the same weights in PyTorch in float32 on the same windows with the same AdamW, schedule and
   clipping, and compares the held-out losses;
5. loads the file that was written in PyTorch and compares its held-out loss with what was reported.

    /usr/bin/python3 tests/oracle/full_training.py --lorikeet build/bin/lorikeet \\
        --data ../shared/data/tinystories/stories.jsonl --vocab ../shared/models/babyllama-tok361-f32.gguf
"""
import argparse
import json
import math
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77


class Gguf:
    """Metadata and F32 tensors of a GGUF file."""

    SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    STRING, ARRAY = 8, 9

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.position = 0
        magic, version, tensor_count, key_count = self.take("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{path}: expected GGUF version 2 or 3, got {magic} {version}")
        self.metadata = {}
        for _ in range(key_count):
            key = self.string()
            self.metadata[key] = self.value(self.take("<I")[0])
        infos = []
        for _ in range(tensor_count):
            name = self.string()
            dimensions = self.take("<I")[0]
            shape = self.take(f"<{dimensions}Q")
            kind, offset = self.take("<IQ")
            if kind != 0:
                raise ValueError(f"{path}: {name}: expected F32, got type {kind}")
            infos.append((name, shape, offset))
        alignment = self.metadata.get("general.alignment", 32)
        start = -(-self.position // alignment) * alignment
        self.tensors = {name: (shape, start + offset) for name, shape, offset in infos}

    def take(self, form):
        size = struct.calcsize(form)
        self.position += size
        return struct.unpack(form, self.bytes[self.position - size:self.position])

    def string(self):
        length = self.take("<Q")[0]
        return self.take(f"<{length}s")[0].decode("utf-8", "replace")

    def value(self, kind):
        if kind == self.STRING:
            return self.string()
        if kind == self.ARRAY:
            element, count = self.take("<IQ")
            if element == self.STRING:
                return [self.string() for _ in range(count)]
            return list(self.take(f"<{count}{self.SCALARS[element]}"))
        return self.take("<" + self.SCALARS[kind])[0]

    def floats(self, name):
        shape, begin = self.tensors[name]
        count = math.prod(shape)
        return shape, self.bytes[begin:begin + 4 * count]


class Llama:
    """The forward pass of the llama and qwen2 architectures, as plainly as possible."""

    def __init__(self, torch, path, dtype):
        self.torch, file = torch, Gguf(path)
        self.weights = {}
        for name in file.tensors:
            shape, data = file.floats(name)
            tensor = torch.frombuffer(bytearray(data), dtype=torch.float32).to(dtype)
            self.weights[name] = tensor.reshape(tuple(reversed(shape))).clone()
        architecture = file.metadata["general.architecture"]
        key = lambda suffix, missing=None: file.metadata.get(f"{architecture}.{suffix}", missing)
        self.layers = key("block_count")
        self.heads = key("attention.head_count")
        self.kv_heads = key("attention.head_count_kv", self.heads)
        self.head_size = key("attention.key_length", key("embedding_length") // self.heads)
        self.epsilon = key("attention.layer_norm_rms_epsilon", 1e-5)
        self.half_split = architecture != "llama"
        self.turning = key("rope.dimension_count", self.head_size)
        exponents = torch.arange(0, self.turning, 2, dtype=torch.float64) / self.turning
        self.frequencies = key("rope.freq_base", 10000.0) ** -exponents
        if "rope_freqs.weight" in self.weights:
            self.frequencies = self.frequencies / self.weights.pop("rope_freqs.weight").double()
        self.dtype = dtype

    def learn(self):
        for weight in self.weights.values():
            weight.requires_grad_(True)

    def norm(self, x, name):
        return x * self.torch.rsqrt((x * x).mean(-1, keepdim=True) + self.epsilon) * self.weights[name]

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def rotate(self, x):  # [B, T, H, D]
        angles = self.torch.arange(x.shape[1], dtype=self.torch.float64)[:, None] * self.frequencies
        cos, sin = (f(angles).to(self.dtype)[:, None, :] for f in (self.torch.cos, self.torch.sin))
        pairs = self.turning // 2
        turning, rest = x[..., :self.turning], x[..., self.turning:]
        if self.half_split:
            a, b = turning[..., :pairs], turning[..., pairs:]
        else:
            a, b = turning[..., 0::2], turning[..., 1::2]
        a, b = a * cos - b * sin, a * sin + b * cos
        turned = (self.torch.cat((a, b), -1) if self.half_split
                  else self.torch.stack((a, b), -1).flatten(-2))
        return self.torch.cat((turned, rest), -1)

    def attention(self, x, prefix):
        batch, time_steps, _ = x.shape
        split = lambda y, heads: y.view(batch, time_steps, heads, self.head_size)
        q = self.rotate(split(self.linear(x, prefix + "attn_q"), self.heads))
        k = self.rotate(split(self.linear(x, prefix + "attn_k"), self.kv_heads))
        v = split(self.linear(x, prefix + "attn_v"), self.kv_heads)
        group = self.heads // self.kv_heads
        q = q.transpose(1, 2)
        k, v = (y.transpose(1, 2).repeat_interleave(group, 1) for y in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_size)
        future = self.torch.ones(time_steps, time_steps, dtype=self.torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.linear((weights @ v).transpose(1, 2).flatten(2), prefix + "attn_output")

    def logits(self, tokens):
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.layers):
            prefix = f"blk.{layer}."
            x = x + self.attention(self.norm(x, prefix + "attn_norm.weight"), prefix)
            normed = self.norm(x, prefix + "ffn_norm.weight")
            gate = self.linear(normed, prefix + "ffn_gate")
            up = self.linear(normed, prefix + "ffn_up")
            x = x + self.linear(gate * self.torch.sigmoid(gate) * up, prefix + "ffn_down")
        x = self.norm(x, "output_norm.weight")
        return self.linear(x, "output" if "output.weight" in self.weights else "token_embd")

    def loss(self, sequences):
        """Sum of the token losses and their number; short sequences are padded behind their end."""
        longest = max(map(len, sequences))
        padded = self.torch.tensor([s + [0] * (longest - len(s)) for s in sequences])
        counts = self.torch.tensor([[i < len(s) for i in range(1, longest)] for s in sequences])
        logits = self.logits(padded[:, :-1])
        nll = self.torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), padded[:, 1:].flatten(), reduction="none")
        return (nll * counts.flatten()).sum(), int(counts.sum())


def held_out(model, sequences, batch):
    total, tokens = 0.0, 0
    with model.torch.no_grad():
        for begin in range(0, len(sequences), batch):
            loss, count = model.loss(sequences[begin:begin + batch])
            total, tokens = total + float(loss), tokens + count
    return total / tokens


def rate(options, step):
    if step <= options.warmup:
        return options.lr * step / (options.warmup + 1)
    done = (step - options.warmup - 1) / max(1, options.steps - options.warmup)
    return options.lr * 0.5 * (1 + math.cos(math.pi * done))


def train(torch, model, plan, options):
    """Held-out losses by step, training losses, tokens per second."""
    model.learn()
    decayed = [w for w in model.weights.values() if w.dim() > 1]
    others = [w for w in model.weights.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": options.weight_decay},
                                   {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.999), eps=1e-8)
    evaluated = {0: held_out(model, plan["eval"], options.batch)}
    losses, tokens, seconds = [], 0, 0.0
    for step, indices in enumerate(plan["steps"], 1):
        begin = time.monotonic()
        sequences = [plan["train"][i] for i in indices]
        loss, count = model.loss(sequences)
        optimizer.zero_grad()
        (loss / count).backward()
        if options.clip > 0:
            torch.nn.utils.clip_grad_norm_(decayed + others, options.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate(options, step)
        optimizer.step()
        seconds += time.monotonic() - begin
        tokens += sum(map(len, sequences))
        losses.append(float(loss) / count)
        if step % options.eval_every == 0 or step == options.steps:
            evaluated[step] = held_out(model, plan["eval"], options.batch)
            print(f"pytorch: step {step}, loss {losses[-1]:.4f}, held out {evaluated[step]:.4f}", flush=True)
    return evaluated, losses, tokens / seconds


def lorikeet(options, *arguments):
    command = [options.lorikeet, *map(str, arguments), "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: ended with {result.returncode}")
    return json.loads(result.stdout)


def gradient_error(torch, base, plan, options, folder):
    """Largest relative L2 distance of a tensor's gradient of the first step, and its name."""
    sequences = [plan["train"][i] for i in plan["steps"][0]]
    batch, out = os.path.join(folder, "batch.json"), os.path.join(folder, "gradients.f32")
    with open(batch, "w") as file:
        json.dump({"sequences": sequences}, file)
    ours = lorikeet(options, "gradients", "--full", "--model", base, "--batch", batch, "--out", out,
                    "--threads", options.threads)
    with open(out, "rb") as file:
        data = torch.frombuffer(bytearray(file.read()), dtype=torch.float32).double()
    model = Llama(torch, base, torch.float64)
    model.learn()
    loss, count = model.loss(sequences)
    (loss / count).backward()
    errors = {"loss": abs(ours["loss"] - float(loss) / count)}
    seen = set()
    for tensor in ours["tensors"]:
        want = model.weights[tensor["tensor"]].grad.flatten()
        got = data[tensor["offset_floats"]:][:want.numel()]
        errors[tensor["tensor"]] = float((got - want).norm() / want.norm())
        seen.add(tensor["tensor"])
    if seen != set(model.weights):
        sys.exit(f"gradients: expected one for each of {len(model.weights)} tensors, got {len(seen)}")
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lorikeet", required=True, help="the program")
    parser.add_argument("--data", required=True, help="text to train on")
    parser.add_argument("--vocab", help="GGUF file whose tokenizer a fresh model gets (default: synthetic)")
    parser.add_argument("--base", help="F32 GGUF file to start from instead of fresh weights")
    parser.add_argument("--shape", default="--layers 5 --embedding 128 --heads 8 --kv-heads 4 --head-size 16 --ffn 352",
                        help="of a fresh model, as make-random takes it")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--eval-split", type=float, default=0.02)
    parser.add_argument("--eval-every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of either side")
    parser.add_argument("--tolerance", type=float, default=0.03, help="of the held-out loss, relative")
    parser.add_argument("--gradient-tolerance", type=float, default=1e-4, help="relative L2 a tensor")
    return parser.parse_args()


def run(torch, options, folder):
    base = options.base
    if base is None:
        base = os.path.join(folder, "base.gguf")
        vocabulary = ["--vocab", options.vocab] if options.vocab else []
        lorikeet(options, "make-random", base, "--init", "training", *vocabulary, "--seed", options.seed,
                 "--context", options.context, *options.shape.split())
    data = options.data
    if not data.endswith((".txt", ".jsonl")):
        data = shutil.copy(data, os.path.join(folder, "data.txt"))
    out, plan_file = os.path.join(folder, "trained.gguf"), os.path.join(folder, "plan.json")
    ours = lorikeet(options, "finetune", "--form", "full", "--model", base, "--data", data, "--out", out,
                    "--write-batches", plan_file, "--steps", options.steps, "--batch", options.batch,
                    "--context", options.context, "--lr", options.lr, "--schedule", "cosine",
                    "--warmup", options.warmup, "--weight-decay", options.weight_decay, "--clip", options.clip,
                    "--eval-split", options.eval_split, "--eval-every", options.eval_every,
                    "--seed", options.seed, "--threads", options.threads)
    with open(plan_file) as file:
        plan = json.load(file)
    error, worst = gradient_error(torch, base, plan, options, folder)
    print(f"gradient of the first step: largest relative L2 distance {error:.2e} ({worst})", flush=True)
    model = Llama(torch, base, torch.float32)
    parameters = sum(w.numel() for w in model.weights.values())
    evaluated, losses, speed = train(torch, model, plan, options)

    print(f"{parameters} parameters, {options.steps} steps, {ours['tokens']} tokens; tokens/s: lorikeet "
          f"{ours['tokens_per_s']:.0f}, pytorch {speed:.0f}")
    print("step   held out: lorikeet  pytorch   difference")
    for point in ours["eval_loss"]:
        theirs = evaluated[point["step"]]
        print(f"{point['step']:>4} {point['loss']:>19.5f} {theirs:>8.5f} {point['loss'] / theirs - 1:>+11.3%}")
    first = max(abs(point["loss"] - loss) for point, loss in zip(ours["train_loss"][:10], losses))
    print(f"training loss of the first ten steps: largest difference {first:.2e}")
    best = min(point["loss"] for point in ours["eval_loss"])
    written = held_out(Llama(torch, out, torch.float32), plan["eval"], options.batch)
    print(f"held-out loss of the file that was written: {written:.5f}, reported {best:.5f}")
    difference = ours["eval_loss"][-1]["loss"] / evaluated[options.steps] - 1
    checks = {"gradient": error <= options.gradient_tolerance,
              "held-out loss": abs(difference) <= options.tolerance,
              "training loss": first <= 1e-3,
              "learned": best < ours["eval_loss"][0]["loss"],
              "file": abs(written - best) <= 1e-4}
    failed = [name for name, good in checks.items() if not good]
    print("failed: " + ", ".join(failed) if failed else "passed")
    return 1 if failed else 0


def main():
    options = parse()
    try:
        import torch
    except ImportError:
        print("skipped: no PyTorch for this Python")
        return SKIPPED
    for path in filter(None, (options.data, options.base, options.vocab)):
        if not os.path.exists(path):
            print(f"skipped: no file {path}")
            return SKIPPED
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="full-training-") as folder:
        return run(torch, options, folder)


if __name__ == "__main__":
    sys.exit(main())
