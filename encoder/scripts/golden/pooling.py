#!/usr/bin/env python3
"""Token pooling by PyLate 1.6, and by colbert-ai's formula (Checkpoint.pool_embeddings_hierarchical, spelled out below):
   pooling.py OUT.json
Vectors are random around a few centres, with exact repetitions, rounded so that JSON holds them exactly."""
import json, sys
import numpy as np, torch
from pylate.models import ColBERT
from scipy.cluster import hierarchy


def colbert_ai(v, factor, protected):
    n = len(v)
    rest = v[protected:]
    if len(rest) < 2:
        return torch.cat([rest, v[:protected]])
    dist = 1 - torch.mm(rest, rest.t()).numpy()
    z = hierarchy.linkage(dist, metric="euclidean", method="ward")
    k = max(1, n // factor)
    labels = hierarchy.fcluster(z, t=k, criterion="maxclust")
    rows = [rest[torch.tensor(labels == c)].mean(dim=0) for c in range(1, k + 1) if (labels == c).any()]
    return torch.stack(rows + list(v[:protected]))


rng = np.random.default_rng(5)
cases = []
for n, dim, factor, protected in [(1, 8, 2, 1), (2, 8, 2, 0), (3, 8, 2, 1), (12, 8, 2, 1), (24, 8, 3, 1), (40, 16, 2, 0), (61, 16, 4, 3), (90, 16, 6, 1), (30, 8, 100, 1), (20, 8, 1, 1)]:
    centres = rng.normal(size=(max(2, n // 5), dim))
    v = centres[rng.integers(len(centres), size=n)] + 0.6 * rng.normal(size=(n, dim))
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    t = torch.tensor(v, dtype=torch.float32)
    pylate = ColBERT.pool_embeddings_hierarchical(None, [t], pool_factor=factor, protected_tokens=protected)[0]
    cases.append(dict(factor=factor, protected=protected, vectors=t.tolist(), pylate=pylate.tolist(), colbert_ai=colbert_ai(t, factor, protected).tolist()))
def short(x):
    return [short(y) for y in x] if isinstance(x, list) else float(f"{x:.9g}")
for c in cases:
    for k in ("vectors", "pylate", "colbert_ai"):
        c[k] = short(c[k])
json.dump(cases, open(sys.argv[1], "w"))
