#!/usr/bin/env python3
"""Losses, their gradients and steps of optimizers by torch 2.11, PyLate 1.6 and schedulefree 1.4:
   train.py OUT.json"""
import json, sys
import numpy as np, torch
import torch.nn.functional as F
from pylate import losses
import schedulefree

rng = np.random.default_rng(8)


class Model(torch.nn.Module):
    """Gives PyLate's losses what they ask a model for; the score metric below ignores its vectors."""
    skiplist, do_query_expansion = [], True

    def forward(self, feature):
        return {"token_embeddings": feature["vectors"]}


def pylate(loss, queries, documents, scores, labels=None):
    feature = lambda n: {"vectors": torch.ones(n, 1, 2), "input_ids": torch.ones(n, 1, dtype=torch.long), "attention_mask": torch.ones(n, 1, dtype=torch.long)}
    features = [feature(queries)] + [feature(n) for n in documents]
    loss.score_metric = lambda *a, **k: scores
    v = loss(features, labels)
    v.backward()
    return v.item(), scores.grad



out = {"contrastive": [], "softmax": [], "distillation": [], "optimizers": []}
for q, ways, temperature, spread in [(3, 1, 1.0, 3.0), (4, 3, 1.0, 5.0), (5, 2, 0.05, 0.3), (2, 2, 1.0, 300.0)]:
    s = torch.tensor(np.round(rng.normal(size=(q, q * ways)) * spread, 3), dtype=torch.float32, requires_grad=True)
    l = losses.Contrastive(Model(), temperature=temperature)
    v, g = pylate(l, q, [q] * ways, s)
    out["contrastive"].append(dict(ways=ways, temperature=temperature, scores=s.tolist(), loss=v, grad=g.tolist()))
for q, ways, temperature, spread in [(3, 2, 1.0, 3.0), (4, 8, 0.5, 5.0), (2, 3, 1.0, 500.0)]:
    s = torch.tensor(np.round(rng.normal(size=(q, ways)) * spread, 3), dtype=torch.float32, requires_grad=True)
    v = F.cross_entropy(s / temperature, torch.zeros(q, dtype=torch.long))
    v.backward()
    out["softmax"].append(dict(temperature=temperature, scores=s.tolist(), loss=v.item(), grad=s.grad.tolist()))
for q, ways, normalize, spread in [(3, 4, True, 3.0), (2, 32, True, 8.0), (3, 5, False, 2.0), (2, 4, True, 4000.0)]:
    s = torch.tensor(np.round(rng.normal(size=(q, ways)) * spread, 3), dtype=torch.float32, requires_grad=True)
    t = torch.tensor(np.round(rng.normal(size=(q, ways)) * 4, 3), dtype=torch.float32)
    labels = t
    if normalize:
        lo, hi = t.min(dim=1, keepdim=True).values, t.max(dim=1, keepdim=True).values
        labels = (t - lo) / (hi - lo + 1e-8)
    v, g = pylate(losses.Distillation(Model(), normalize_scores=normalize), q, [q * ways], s, labels)
    out["distillation"].append(dict(normalize=normalize, scores=s.tolist(), teacher=t.tolist(), loss=v, grad=g.tolist()))

# Optimizers: two parameters, the second without weight decay; the gradients are given.
steps, n = 12, 7
start = np.round(rng.normal(size=(2, n)), 4)
grads = np.round(rng.normal(size=(steps, 2, n)) * 10.0 ** rng.integers(-4, 2, size=(steps, 1, 1)), 8)
for name, options in [
    ("adamw", dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
    ("adamw", dict(lr=0.003, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.2)),
    ("schedulefree", dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, warmup_steps=5)),
    ("schedulefree", dict(lr=0.02, betas=(0.95, 0.99), eps=1e-8, weight_decay=0.0, warmup_steps=0)),
]:
    params = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float32)) for v in start]
    make = torch.optim.AdamW if name == "adamw" else schedulefree.AdamWScheduleFree
    o = dict(options)
    decay = o.pop("weight_decay")
    opt = make([dict(params=params[:1], weight_decay=decay), dict(params=params[1:], weight_decay=0.0)], **o, foreach=False)
    after, evaluated = [], []
    for step in range(steps):
        if name == "schedulefree":
            opt.train()
        for p, g in zip(params, grads[step]):
            p.grad = torch.tensor(g, dtype=torch.float32)
        opt.step()
        after.append([p.tolist() for p in params])
        if name == "schedulefree":
            opt.eval()
            evaluated.append([p.tolist() for p in params])
    out["optimizers"].append(dict(name=name, options={**options, "betas": list(options["betas"])}, after=after, evaluated=evaluated))
out["start"], out["grads"] = start.tolist(), grads.tolist()


def short(x):
    if isinstance(x, dict):
        return {k: short(v) for k, v in x.items()}
    if isinstance(x, list):
        return [short(v) for v in x]
    return float(f"{x:.9g}") if isinstance(x, float) else x


json.dump(short(out), open(sys.argv[1], "w"))
