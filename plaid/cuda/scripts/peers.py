#!/usr/bin/env python3
"""What others reach on the same device and the same vectors, as JSON lines beside those of examples/bench -case cuda.

    python3 plaid/cuda/scripts/peers.py DIR [--dim 128] [--bits 4] [--batches 1,32,256] [--device cuda]

DIR is a workload as examples/bench reads and writes it: doclens.i32.npy, d<dim>/docs.f16.npy, d<dim>/queries.f16.npy and,
if there, d<dim>/truth_ids.i32.npy. PyTorch scores all documents exactly, as one matrix product and a maximum over each
document's rows, and over documents padded to one length; fast-plaid (if it is installed) builds an index and searches it. Needs
torch and numpy. --device cpu runs the same on the host, to see that the script works.
"""
import argparse, json, os, shutil, sys, tempfile, time

import numpy as np
import torch

args = argparse.ArgumentParser()
args.add_argument("dir")
args.add_argument("--dim", type=int, default=128)
args.add_argument("--bits", type=int, default=4)
args.add_argument("--batches", default="1,32,256")
args.add_argument("--points", default="1:256,2:512,4:1024,8:4096,16:8192", help="fast-plaid's n_ivf_probe:n_full_scores")
args.add_argument("--nq", type=int, default=300)
args.add_argument("--topk", type=int, default=100)
args.add_argument("--seconds", type=float, default=1, help="least time of a measurement")
args.add_argument("--device", default="cuda")
args = args.parse_args()
batches = [int(b) for b in args.batches.split(",")]
device = torch.device(args.device)
name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


def emit(**line):
    print(json.dumps(line), flush=True)


def sync():
    if device.type == "cuda":
        torch.cuda.synchronize()


def repeat(f):
    """Seconds of one call: after two to warm up, as many as fill the time."""
    f(), f(), sync()
    start, n = time.perf_counter(), 0
    while True:
        f(), sync()
        n += 1
        took = time.perf_counter() - start
        if took >= args.seconds:
            return took / n


lens = np.load(os.path.join(args.dir, "doclens.i32.npy"))
docs = torch.from_numpy(np.load(os.path.join(args.dir, f"d{args.dim}", "docs.f16.npy")))
queries = torch.from_numpy(np.load(os.path.join(args.dir, f"d{args.dim}", "queries.f16.npy")))
numbers = np.linspace(0, len(queries) - 1, min(args.nq, len(queries))).astype(int)
queries = queries[torch.from_numpy(numbers)]
offsets = np.concatenate([[0], np.cumsum(lens)])


def some(n):
    return queries[torch.arange(n) % len(queries)]


def flat(rows, owner, qs):
    """Exact scores, queries x documents, rows of all documents one behind the other."""
    out = []
    for q in qs:
        best = torch.full((len(lens), len(q)), -torch.inf, dtype=rows.dtype, device=device)
        best.scatter_reduce_(0, owner[:, None].expand(-1, len(q)), rows @ q.T, "amax")
        out.append(best.float().sum(1))
    return torch.stack(out)


def padded(blocks, masks, qs):
    """The same over documents padded to the longest of their block."""
    out = []
    for q in qs:
        out.append(torch.cat([(b @ q.T).masked_fill(m, -torch.inf).amax(1).float().sum(1) for b, m in zip(blocks, masks)]))
    return torch.stack(out)


# The exact order, in float32.
owner = torch.repeat_interleave(torch.arange(len(lens)), torch.from_numpy(lens.astype(np.int64))).to(device)
truth_file = os.path.join(args.dir, f"d{args.dim}", "truth_ids.i32.npy")
if os.path.exists(truth_file):
    truth = np.load(truth_file)[numbers]
else:
    rows = docs.to(device, torch.float32)
    truth = torch.cat([flat(rows, owner, q[None].to(device, torch.float32)).topk(min(10, len(lens))).indices.cpu() for q in queries]).numpy()
    del rows


def recall(found):
    k = min(10, truth.shape[1])
    return float(np.mean([len(set(f[:k]) & set(t[:k].tolist())) / k for f, t in zip(found, truth)]))


for dtype in [torch.float32, torch.float16, torch.bfloat16]:
    rows = docs.to(device, dtype)
    order = np.argsort(lens, kind="stable")[::-1]
    blocks, masks = [], []
    for at in range(0, len(order), 4096):
        ids = order[at : at + 4096]
        longest = max(int(lens[ids[0]]), 1)
        index = torch.from_numpy(offsets[ids][:, None] + np.minimum(np.arange(longest), np.maximum(lens[ids] - 1, 0)[:, None]))
        blocks.append(rows[index.to(device)])
        masks.append((torch.arange(longest)[None] >= torch.from_numpy(lens[ids].astype(np.int64))[:, None]).to(device)[..., None])
    for batch in batches:
        if batch > 32:
            continue  # one query after the other: more of them change nothing
        qs = some(batch).to(device, dtype)
        for way, f in [("flat", lambda: flat(rows, owner, qs)), ("padded", lambda: padded(blocks, masks, qs))]:
            s = repeat(f)
            tokens, nq = len(docs), batch * queries.shape[1]
            emit(bench="cuda-maxsim", peer=f"torch {torch.__version__} {way}", device=name, format=str(dtype).removeprefix("torch."), batch=batch,
                 documents=len(lens), tokens=tokens, query_tokens=nq, ms=round(s * 1e3, 3), documents_s=round(len(lens) * batch / s),
                 gb_s=round(tokens * args.dim * rows.element_size() / s / 1e9, 1), tflop_s=round(2 * tokens * args.dim * nq / s / 1e12, 3))
    del rows, blocks, masks

try:
    from fast_plaid import search
except ImportError as e:
    emit(bench="cuda-search", peer="fast_plaid", error=str(e))
    sys.exit()

folder = tempfile.mkdtemp()
try:
    given = [docs[offsets[i] : offsets[i + 1]] for i in range(len(lens))]
    start = time.perf_counter()
    engine = search.FastPlaid(index=os.path.join(folder, "index"), device=args.device, low_memory=False)
    engine.create(documents_embeddings=given, nbits=args.bits)
    sync()
    emit(bench="cuda-build", peer="fast_plaid", device=name, nbits=args.bits, docs=len(lens), tokens=len(docs), seconds=round(time.perf_counter() - start, 2))
    for point in args.points.split(","):
        probe, full = map(int, point.split(":"))

        def run(qs):
            return engine.search(qs, top_k=args.topk, n_ivf_probe=probe, n_full_scores=full, show_progress=False)

        found = [[i for i, _ in hits] for hits in run(queries)]
        line = dict(bench="cuda-search", peer="fast_plaid", device=name, nbits=args.bits, point=point, topk=args.topk, nq=len(queries), recall10=round(recall(found), 4))
        for batch in batches:
            qs = some(batch)
            line[f"qps_batch{batch}"] = round(batch / repeat(lambda: run(qs)), 1)
        emit(**line)
finally:
    shutil.rmtree(folder, ignore_errors=True)
