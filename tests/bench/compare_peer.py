#!/usr/bin/env python3
"""Speed and memory beside llama.cpp: the same files, machine and threads, in turns within one run.

Each round runs `lorikeet bench` and then `llama-bench` on every model; what is printed are medians over the rounds and
ratios of rounds (ours / peer), so that a machine whose speed drifts does not favour one.  Without --peer only our
column is measured.

  tests/bench/compare_peer.py --peer DIR_WITH_LLAMA_BENCH MODEL.gguf...
      [--threads 2] [--rounds 3] [--depth 2048] [--isa avx2] [--busy 2] [--adapter A.gguf] [--json OUT.json]

--busy N starts N processes that spin, to see what is left on a machine that is never idle.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys


def run(command):
    """Returns (standard output, peak resident MB)."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}\nended with {status}: {err.strip()[-2000:]}")
    return out, usage.ru_maxrss * 1024 / 1e6


def ours(args, model):
    command = [args.lorikeet, "bench", "--model", model, "--threads", str(args.threads), "--train", "0", "--repeat", "1",
               "--prompt", str(args.prompt), "--gen", str(args.gen), "--depth", str(args.depth), "--json"]
    if args.isa:
        command += ["--isa", args.isa]
    for adapter in args.adapter:
        command += ["--adapter", adapter]
    result = json.loads(run(command)[0])
    return {"prefill": result["prefill_tokens_per_s"]["median"], "decode": result["decode_tokens_per_s"]["median"],
            "memory_MB": result["peak_rss"] / 1e6, "anonymous_MB": result["anonymous_rss"] / 1e6,
            "share_of_memory": result["decode_share_of_memory"], "file_MB": result["model_bytes"] / 1e6,
            "first_token_s": result["first_token_seconds"]["median"], "open_s": result["open_seconds"],
            "isa": result["isa"]}


def peers(args, model):
    base = [os.path.join(args.peer, "llama-bench"), "-m", model, "-t", str(args.threads), "-r", "1", "-o", "json",
            "-d", str(args.depth)]
    out, memory = run(base + ["-p", str(args.prompt), "-n", str(args.gen)])
    rates = {("prefill" if test["n_prompt"] > 0 else "decode"): test["avg_ts"] for test in json.loads(out)}
    return {**rates, "memory_MB": memory}


def row(name, values):
    print(f"{name:34}" + "".join(f"{value:>13}" for value in values), flush=True)


def report(model, our_rounds, peer_rounds):
    median = lambda rounds, key: statistics.median(r[key] for r in rounds)
    print(f"\n{os.path.basename(model)} ({our_rounds[0]['isa']}, {our_rounds[0]['file_MB']:.0f} MB)")
    row("", ["ours", "peer", "ratio", "lowest", "highest"])
    for key in ("prefill", "decode", "memory_MB"):
        if not peer_rounds:
            row(key, [f"{median(our_rounds, key):.1f}"])
            continue
        ratios = [a[key] / b[key] for a, b in zip(our_rounds, peer_rounds)]
        row(key, [f"{median(our_rounds, key):.1f}", f"{median(peer_rounds, key):.1f}",
                  f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}"])
    row("decode, share of memory bandwidth", [f"{100 * median(our_rounds, 'share_of_memory'):.0f} %"])
    row("anonymous_MB", [f"{median(our_rounds, 'anonymous_MB'):.1f}"])
    row("open_s / first token of 16, s",
        [f"{median(our_rounds, 'open_s'):.2f}", f"{median(our_rounds, 'first_token_s'):.3f}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--lorikeet", default="build/bin/lorikeet")
    parser.add_argument("--peer", help="folder with llama-bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--isa")
    parser.add_argument("--adapter", action="append", default=[], help="for our column only")
    parser.add_argument("--busy", type=int, default=0, help="processes that spin meanwhile")
    parser.add_argument("--json", help="keep every round here")
    args = parser.parse_args()
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    kept = {}
    try:
        for model in args.models:
            our_rounds, peer_rounds = [], []
            for _ in range(args.rounds):
                our_rounds.append(ours(args, model))
                if args.peer:
                    peer_rounds.append(peers(args, model))
            report(model, our_rounds, peer_rounds)
            kept[os.path.basename(model)] = {"ours": our_rounds, "peer": peer_rounds}
    finally:
        for process in spinning:
            process.kill()
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)


if __name__ == "__main__":
    main()
