#!/usr/bin/env python3
"""Does personalizing help real people?  Runs `lorikeet personalize` over users of a samples.jsonl set.

Personas are made from other users' text: the remaining users are grouped by simple habits of writing (k-means), each
group's training lines seed one persona.  Each test user's `train` lines train and `test` lines judge.  Prints a row a
user and the means; --json FILE keeps everything.

  tests/bench/personalize_users.py --lorikeet build/bin/lorikeet --model M.gguf --data samples.jsonl --users 20
"""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict


def habits(texts):
    joined = " ".join(texts)
    words = max(1, len(joined.split()))
    rate = lambda pattern: (100.0 * len(re.findall(pattern, joined)) / words) ** 0.5
    return [(words / len(texts)) ** 0.5, len(joined) / words, rate(r"!"), rate(r"\?"), rate(r","), rate(r"'"),
            rate(r"\bI\b"), rate(r"\b(thou|thy|thee)\b"), rate(r"\b(sir|lord|majesty|grace)\b")]


def standardize(points):
    columns = list(zip(*points))
    scaled = []
    for column in columns:
        mean = sum(column) / len(column)
        deviation = (sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5 or 1.0
        scaled.append([(x - mean) / deviation for x in column])
    return list(zip(*scaled))


def distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b))


def kmeans(points, k, rng):
    centers = [points[rng.randrange(len(points))]]
    while len(centers) < k:  # the point furthest from all centers so far
        centers.append(max(points, key=lambda p: min(distance(p, c) for c in centers)))
    for _ in range(30):
        groups = [min(range(k), key=lambda i: distance(p, centers[i])) for p in points]
        for i in range(k):
            members = [p for p, g in zip(points, groups) if g == i]
            if members:
                centers[i] = [sum(c) / len(members) for c in zip(*members)]
    return groups


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with {result.returncode}: {result.stderr.strip()}")
    return json.loads(result.stdout) if result.stdout.strip() else {}


def write_jsonl(path, texts):
    with open(path, "w", encoding="utf-8") as out:
        for text in texts:
            out.write(json.dumps({"text": text}) + "\n")


def take(texts_by_user, limit, rng):
    """Texts in turn from each user until about `limit` bytes."""
    queues = [list(texts) for texts in texts_by_user]
    rng.shuffle(queues)
    taken, size, index = [], 0, 0
    while size < limit and any(queues):
        queue = queues[index % len(queues)]
        index += 1
        if queue:
            text = queue.pop(0)
            taken.append(text)
            size += len(text)
    return taken


def build_catalog(args, train, others, folder, rng):
    base = [args.lorikeet, "persona"]
    common = ["--model", args.model, "--json"] + (["--threads", str(args.threads)] if args.threads else [])
    groups = kmeans(standardize([habits(train[u]) for u in others]), args.personas, rng)
    seeds = {}
    for group in range(args.personas):
        members = [train[u] for u, g in zip(others, groups) if g == group]
        if len(members) >= 3:
            seeds[f"group{group}"] = take(members, args.seed_bytes, rng)
    public = os.path.join(folder, "public.jsonl")
    write_jsonl(public, take([train[u] for u in others], 12000, rng))
    catalog = os.path.join(folder, "catalog.gguf")
    run(base + ["init"] + common + ["--data", public, "--out", catalog, "--rank", str(args.rank)])
    for name, texts in seeds.items():
        path = os.path.join(folder, name + ".jsonl")
        write_jsonl(path, texts)
        report = run(base + ["train"] + common + ["--catalog", catalog, "--id", name, "--data", path])
        print(f"persona {name}: {len(texts)} texts; {report['sentence']}", flush=True)
    return catalog


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lorikeet", default="build/bin/lorikeet")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="samples.jsonl")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--personas", type=int, default=5)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed-bytes", type=int, default=16000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", help="write all results here")
    parser.add_argument("extra", nargs="*", help="after --: more options for personalize")
    args = parser.parse_args()
    rng = random.Random(args.seed)

    train, test = defaultdict(list), defaultdict(list)
    with open(args.data, encoding="utf-8") as lines:
        for line in lines:
            sample = json.loads(line)
            if sample["split"] in ("train", "test") and sample["text"].strip():
                (train if sample["split"] == "train" else test)[sample["user"]].append(sample["text"])
    users = sorted(u for u in train if u in test)
    rng.shuffle(users)
    tested, others = sorted(users[:args.users]), users[args.users:]

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        catalog = build_catalog(args, train, others, folder, rng)
        print(f"{'user':28} {'persona':8} {'base':>7} {'persona':>8} {'personal':>8} {'seconds':>8}  outcome")
        for number, user in enumerate(tested):
            start = time.time()
            out = os.path.join(folder, f"{number}.gguf")
            report = run([args.lorikeet, "personalize", "--model", args.model, "--catalog", catalog, "--data",
                          args.data, "--user", user, "--out", out, "--json"] + args.extra +
                         (["--threads", str(args.threads)] if args.threads else []))
            report["user"] = user
            rows.append(report)
            print(f"{user[:28]:28} {report['chosen']:8} {report['loss_base']:7.3f} {report['loss_persona']:8.3f} "
                  f"{report['loss_after']:8.3f} {time.time() - start:8.1f}  {report['outcome']}", flush=True)

    mean = lambda key: sum(row[key] for row in rows) / len(rows)
    helped = [r for r in rows if r["loss_after"] < min(r["loss_base"], r["loss_persona"])]
    print(f"\n{len(rows)} users: mean held-out loss base {mean('loss_base'):.3f}, chosen persona "
          f"{mean('loss_persona'):.3f}, personalized {mean('loss_after'):.3f} nats a token")
    print(f"better than base and persona: {len(helped)} of {len(rows)}; not: "
          f"{', '.join(r['user'] for r in rows if r not in helped) or 'nobody'}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(rows, out, indent=1)
    return 0 if mean("loss_after") < min(mean("loss_base"), mean("loss_persona")) else 1


if __name__ == "__main__":
    sys.exit(main())
