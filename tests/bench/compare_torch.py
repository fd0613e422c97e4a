#!/usr/bin/env python3
"""Training speed and memory beside PyTorch: one LoRA step of the same shape, machine and threads, in turns.

Each round runs `lorikeet bench --train` on every model and then the same step in PyTorch: random frozen weights, LoRA of
rank 8 on all seven matrices, batch 1, AdamW.  "keep" holds every activation, "recompute" only the inputs of layers
(torch.utils.checkpoint).  Printed are medians over the rounds, and ratios of rounds (ours / PyTorch), so that a machine
whose speed drifts does not favour one.  Every measurement is a process of its own; peak is its largest resident set.

  tests/bench/compare_torch.py --model qwen2.5-0.5b=MODEL.gguf [--model llama-3.2-1b=MODEL.gguf]...
      [--variants bf16-keep,f32-recompute] [--tokens 256] [--threads 2] [--rounds 3] [--isa avx2] [--json OUT.json]

MODEL.gguf is of the named shape in any quantization; empty (`qwen2.5-0.5b=`): only PyTorch is measured.  PyTorch comes
from --python (Debian's python3-torch); where that has none, only our column is printed.  PyTorch's float32 products are
the system's BLAS: for a fair column that is OpenBLAS on OpenMP (libopenblas0-openmp), not the plain one, which makes a
step ten times slower; the table says how fast they were.  --wrap PREFIX runs every measurement through another program,
for machines that are shared.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = {
    "qwen2.5-0.5b": {"layers": 24, "width": 896, "heads": 14, "kv_heads": 2, "head": 64, "ffn": 4864, "vocab": 151936,
                     "bias": True, "rope_base": 1e6},
    "llama-3.2-1b": {"layers": 16, "width": 2048, "heads": 32, "kv_heads": 8, "head": 64, "ffn": 8192, "vocab": 128256,
                     "bias": False, "rope_base": 5e5},
}
VARIANTS = ["bf16-keep", "bf16-recompute", "f32-keep", "f32-recompute"]
RANK = 8
ALPHA = 16


# --- PyTorch: runs in a process of its own, `compare_torch.py --step JSON` ---


def choose_product(torch, dtype):
    """Of F.linear and oneDNN's product the faster one, and what it is: a float32 F.linear is the system's BLAS."""
    one_dnn = lambda x, w, b=None: torch._C._nn.mkldnn_linear(x.to_mkldnn(), w, b).to_dense()
    x, w = torch.randn(256, 1024).to(dtype), torch.randn(4096, 1024).to(dtype)
    choices = {"oneDNN": torch.nn.functional.linear} if dtype == torch.bfloat16 else {
        "BLAS": torch.nn.functional.linear, "oneDNN": one_dnn}
    rates = {}
    for name, product in choices.items():
        with torch.no_grad():
            for _ in range(4):
                start = time.perf_counter()
                product(x, w)
                rates[name] = max(rates.get(name, 0), 2e-9 * x.numel() * len(w) / (time.perf_counter() - start))
    best = max(rates, key=rates.get)
    return choices[best], f"{best}, {rates[best]:.0f} GFLOPS"


class Step:
    """Weights, adapters and one optimizer step of a transformer of `shape`."""

    def __init__(self, torch, shape, variant, tokens):
        precision, self.plan = variant.split("-")
        self.torch, self.shape = torch, shape
        self.dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[precision]
        self.linear, self.product = choose_product(torch, self.dtype)
        width, kv = shape["width"], shape["kv_heads"] * shape["head"]
        sizes = {"q": (width, width), "k": (kv, width), "v": (kv, width), "o": (width, width),
                 "gate": (shape["ffn"], width), "up": (shape["ffn"], width), "down": (width, shape["ffn"])}
        self.embedding = self.random(shape["vocab"], width)
        self.layers = [{name: self.module(name, *size) for name, size in sizes.items()}
                       for _ in range(shape["layers"])]
        # Adapters are float32, as PEFT has them beside bfloat16 weights too.
        parameters = [m[f] for layer in self.layers for m in layer.values() for f in ("a", "b")]
        self.parameter_count = sum(p.numel() for p in parameters)
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3)
        ids = torch.randint(0, shape["vocab"], (tokens + 1,))
        self.inputs, self.targets = ids[:-1], ids[1:]
        frequencies = shape["rope_base"] ** (-torch.arange(0, shape["head"], 2).float() / shape["head"])
        angles = torch.outer(torch.arange(tokens).float(), frequencies).repeat(1, 2)
        self.cos, self.sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        self.mask = torch.full((tokens, tokens), float("-inf")).triu(1).to(self.dtype)

    def random(self, rows, columns):
        weights = self.torch.empty(rows, columns, dtype=self.dtype)
        for block in weights.split(8192):  # so that no float32 copy of a whole table stays in the peak
            block.copy_(self.torch.randn(len(block), columns) * 0.02)
        return weights

    def module(self, name, rows, columns):
        bias = self.random(1, rows)[0] if self.shape["bias"] and name in "qkv" else None
        return {"w": self.random(rows, columns), "bias": bias,
                "a": (self.torch.randn(RANK, columns) * 0.02).requires_grad_(),
                "b": self.torch.zeros(rows, RANK).requires_grad_()}

    def adapted(self, module, x):
        linear = self.torch.nn.functional.linear
        low = linear(linear(x, module["a"].to(self.dtype)), module["b"].to(self.dtype))
        return self.linear(x, module["w"], module["bias"]).add_(low, alpha=ALPHA / RANK)

    def norm(self, x):
        wide = x.float()
        return (wide * (wide.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()).to(self.dtype)

    def rope(self, x):
        half = x.shape[-1] // 2
        return x * self.cos + self.torch.cat((-x[..., half:], x[..., :half]), -1) * self.sin

    def attention(self, layer, x):
        tokens, heads, kv, size = len(x), self.shape["heads"], self.shape["kv_heads"], self.shape["head"]
        split = lambda name, count: self.adapted(layer[name], x).view(tokens, count, size).transpose(0, 1)
        q, k, v = self.rope(split("q", heads)), self.rope(split("k", kv)), split("v", kv)
        q = q.reshape(kv, heads // kv * tokens, size)  # heads that share keys lie together: nothing is repeated
        scores = self.torch.bmm(q, k.transpose(1, 2)).view(heads, tokens, tokens) * size**-0.5 + self.mask
        shares = scores.softmax(-1).view(kv, heads // kv * tokens, tokens)
        return self.torch.bmm(shares, v).view(heads, tokens, size).transpose(0, 1).reshape(tokens, heads * size)

    def layer(self, layer, x):
        x = x + self.adapted(layer["o"], self.attention(layer, self.norm(x)))
        h = self.norm(x)
        gated = self.torch.nn.functional.silu(self.adapted(layer["gate"], h)) * self.adapted(layer["up"], h)
        return x + self.adapted(layer["down"], gated)

    def run(self):
        from torch.utils.checkpoint import checkpoint
        x = self.embedding[self.inputs]
        if self.plan == "recompute":
            x.requires_grad_()  # a checkpoint without an input to differentiate would drop its parameters
        for layer in self.layers:
            x = checkpoint(self.layer, layer, x) if self.plan == "recompute" else self.layer(layer, x)
        logits = self.linear(self.norm(x), self.embedding)
        loss = self.torch.nn.functional.cross_entropy(logits, self.targets)  # in the model's own type: the fastest
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def torch_step(options):
    import torch
    torch.set_num_threads(options["threads"])
    torch.manual_seed(1)
    step = Step(torch, SHAPES[options["shape"]], options["variant"], options["tokens"])
    seconds, losses = [], []
    for _ in range(1 + options["repeat"]):  # the first warms up
        start = time.perf_counter()
        losses.append(step.run())
        seconds.append(time.perf_counter() - start)
    rates = [options["tokens"] / s for s in seconds[1:]]
    print(json.dumps({"tokens_per_s": statistics.median(rates), "best_tokens_per_s": max(rates), "losses": losses,
                      "parameters": step.parameter_count, "products": step.product,
                      "torch": torch.__version__}))


# --- the comparison ---


def run(args, command):
    """Returns (the JSON document of standard output, peak resident MB)."""
    command = args.wrap.split() + command
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}\nended with {status}: {err.strip()[-2000:]}")
    return json.loads(out), usage.ru_maxrss * 1024 / 1e6


def ours(args, model, plan):
    command = [args.lorikeet, "bench", "--model", model, "--threads", str(args.threads), "--train", str(args.tokens),
               "--train-plan", plan, "--repeat", str(args.repeat), "--prompt", "1", "--gen", "0", "--json"]
    if args.isa:
        command += ["--isa", args.isa]
    train = run(args, command)[0]["train"]
    # Not the peak of the process, which then runs forward passes beside it.
    return {"tokens_per_s": train["tokens_per_s"], "best_tokens_per_s": train["best_tokens_per_s"],
            "peak_MB": train["peak_rss"] / 1e6, "working_set_MB": train["working_set"] / 1e6,
            "forward_tokens_per_s": train["forward_tokens_per_s"]}


def peers(args, shape, variant):
    options = {"shape": shape, "variant": variant, "tokens": args.tokens, "threads": args.threads,
               "repeat": args.repeat}
    result, peak = run(args, [args.python, os.path.abspath(__file__), "--step", json.dumps(options)])
    return {**result, "peak_MB": peak}


def has_torch(python):
    try:
        found = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    except OSError:
        found = False
    if not found:
        print(f"skipped PyTorch: expected a Python with torch (Debian: python3-torch), got {python} without")
    return found


def row(name, values):
    print(f"{name:28}" + "".join(f"{value:>13}" for value in values), flush=True)


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def report(shape, model, our_rounds, peer_rounds):
    print(f"\n{shape}, {os.path.basename(model) or 'PyTorch only'}")
    row("", ["tokens/s", "best", "peak MB", "x ours: speed", "lowest", "highest", "memory"])
    for plan, rounds in our_rounds.items():
        row(f"ours, {plan}", [f"{median(rounds, 'tokens_per_s'):.1f}", f"{median(rounds, 'best_tokens_per_s'):.1f}",
                              f"{median(rounds, 'peak_MB'):.0f}"])
        row("  of it not the file", ["", "", f"{median(rounds, 'working_set_MB'):.0f}"])
    for variant, rounds in peer_rounds.items():
        values = [f"{median(rounds, 'tokens_per_s'):.1f}", f"{median(rounds, 'best_tokens_per_s'):.1f}",
                  f"{median(rounds, 'peak_MB'):.0f}"]
        like = our_rounds.get(variant.split("-")[1])
        if like:
            speed = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(like, rounds)]
            memory = [b["peak_MB"] / a["peak_MB"] for a, b in zip(like, rounds)]
            values += [f"{statistics.median(speed):.2f}", f"{min(speed):.2f}", f"{max(speed):.2f}",
                       f"1/{statistics.median(memory):.1f}"]
        row(f"PyTorch {variant}", values + [f"  ({rounds[-1]['products']})"])


def measure(args, shape, model):
    our_rounds, peer_rounds = {}, {}
    for _ in range(args.rounds):
        for plan in sorted({variant.split("-")[1] for variant in args.variants}) if model else []:
            our_rounds.setdefault(plan, []).append(ours(args, model, plan))
        for variant in args.variants if args.has_torch else []:
            peer_rounds.setdefault(variant, []).append(peers(args, shape, variant))
    report(shape, model, our_rounds, peer_rounds)
    return {"shape": shape, "ours": our_rounds, "torch": peer_rounds}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", default=[], metavar="SHAPE=FILE",
                        help=f"shapes: {', '.join(SHAPES)}")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="of PyTorch; ours follow")
    parser.add_argument("--lorikeet", default="build/bin/lorikeet")
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has torch")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="steps a process, behind one that warms up")
    parser.add_argument("--isa")
    parser.add_argument("--wrap", default="", help="program and options that every measurement runs through")
    parser.add_argument("--json", help="keep every round here")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.variants = args.variants.split(",")
    for variant in args.variants:
        if variant not in VARIANTS:
            parser.error(f"--variants: expected some of {', '.join(VARIANTS)}, got {variant}")
    args.model = [named.partition("=")[::2] for named in args.model]
    for shape, _ in args.model:
        if shape not in SHAPES:
            parser.error(f"--model: expected SHAPE=FILE with a shape of {', '.join(SHAPES)}, got {shape}")
    return args


def main():
    args = parse()
    if args.step:
        torch_step(json.loads(args.step))
        return
    args.has_torch = has_torch(args.python)
    kept = {}
    for shape, model in args.model:
        kept[os.path.basename(model) or shape] = measure(args, shape, model)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)


if __name__ == "__main__":
    main()
