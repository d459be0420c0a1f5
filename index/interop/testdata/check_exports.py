#!/usr/bin/env python3
"""Opens and searches exported indexes with the programs that they are for.

  GOLBERT_EXPORTS=DIR go test -run TestWriteForPeers ./index/interop
  python check_exports.py fast-plaid DIR GOLDEN      # fast_plaid 1.4.6, pylate 1.6.0, torch 2.11
  python check_exports.py colbert-ai DIR GOLDEN      # colbert-ai 0.2.22, torch 2.11 (CPU), transformers < 5

GOLDEN is shared/data/golden/plaid. DIR/expected.json holds what golbert's exhaustive search finds in each export.
Per export and query the other program's top 10 is compared with it: equal lists, or equal but for pairs whose
scores golbert puts closer together than EPS (fast_plaid computes in float16). Exit status 1 when any differs.

colbert-ai compiles four C++ extensions at its first run, which takes minutes. With COLBERT_PYTHON=1 the script puts
functions of torch in their place (segmented_maxsim, segmented_lookup, decompress_residuals; filter_pids keeps all,
as it does here anyway); loading, candidates and ranking stay colbert-ai's own.
"""
import json, os, sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

torch.set_num_threads(1)
program, out, golden = sys.argv[1:4]
EPS = {"fast-plaid": 0.02, "colbert-ai": 1e-3}[program]
K = 10
Q = torch.from_numpy(np.load(golden + "/d64/queries.f16.npy").astype(np.float32))
expected = [e for e in json.load(open(out + "/expected.json")) if e["format"] == program]


def compare(name, got, want):
    """got: per query [(id, score)]; want: per query {id: score} of all or the best documents."""
    same = near = 0
    worst = 0.0
    for g, w in zip(got, want):
        order = sorted(w, key=lambda i: (-w[i], i))[:K]
        ids = [i for i, _ in g[:K]]
        worst = max([worst] + [abs(s - w[i]) for i, s in g[:K] if i in w])
        if ids == order:
            same += 1
        elif len(ids) == K and all(i in w and abs(w[i] - w[j]) < EPS for i, j in zip(ids, order)):
            near += 1
        else:
            print("  differs:", list(zip(ids, order)))
    print(f"{name}: top {K} equal for {same} of {len(want)} queries, equal but for near-ties for {near}; scores within {worst:.2g}")
    return same + near == len(want)


ok = True
if program == "fast-plaid":
    from fast_plaid import search
    for e in expected:
        d = os.path.join(out, e["name"])
        want = [dict(map(tuple, t)) for t in e["top"]]
        inner = d + "/fast_plaid_index" if e["pylate"] else d
        fp = search.FastPlaid(index=inner, device="cpu")
        r = fp.search(Q.half(), top_k=20, n_ivf_probe=32, n_full_scores=4096)
        ok &= compare(e["name"], [[(e["positions"][i], s) for i, s in x] for x in r], want)
        if e["pylate"]:
            from pylate import indexes
            ix = indexes.PLAID(index_folder=out, index_name=e["name"], override=False, n_ivf_probe=32, n_full_scores=4096, device="cpu", show_progress=False)
            r = ix(Q.half(), k=20)
            ok &= compare(e["name"] + " through PyLate", [[(x["id"], x["score"]) for x in y] for y in r], want)
        if e["source"].startswith("fp_n4") and "_" not in e["source"][5:]:
            # The original directory, beside our copy: everything must be the same.
            orig = search.FastPlaid(index=os.path.join(out, "copy-" + e["source"]), device="cpu") if os.path.isdir(os.path.join(out, "copy-" + e["source"])) else None
            if orig:
                o = orig.search(Q.half(), top_k=20, n_ivf_probe=8, n_full_scores=4096)
                n = fp.search(Q.half(), top_k=20, n_ivf_probe=8, n_full_scores=4096)
                eq = o == n
                ok &= eq
                print(f"  results of the original and of its copy are {'equal' if eq else 'NOT equal'}")
            # The copy can be updated and searched again.
            docs = [Q[0][:9].half(), Q[1][:5].half()]
            fp.update(documents_embeddings=docs, start_from_scratch=0)
            r = fp.search(Q.half(), top_k=20, n_ivf_probe=32, n_full_scores=4096)
            n = len(e["positions"])
            print("  after an update fast_plaid finds the new documents:", n in [i for i, _ in r[0]] and n + 1 in [i for i, _ in r[1]])
            ok &= n in [i for i, _ in r[0]]
else:
    from colbert.infra import ColBERTConfig
    from colbert.modeling.colbert import ColBERT
    from colbert.search.index_storage import IndexScorer
    if os.environ.get("COLBERT_PYTHON"):
        from colbert.search.strided_tensor import StridedTensor

        def decompress(pids, lengths, offsets, weights, rev, combos, residuals, codes, centroids, dim, nbits):
            at = torch.cat([torch.arange(int(offsets[p]), int(offsets[p]) + int(lengths[p])) for p in pids.tolist()])
            levels = combos[rev[residuals[at].long()].long()].reshape(len(at), dim)
            return centroids[codes[at].long()] + weights[levels.long()]

        ColBERT.segmented_maxsim = staticmethod(lambda s, n: torch.stack([x.max(0).values.clamp(min=0).sum() for x in s.split(n.tolist())]))
        StridedTensor.segmented_lookup = staticmethod(lambda x, pids, n, off: torch.cat([x[o : o + l] for o, l in zip(off.tolist(), n.tolist())]))
        IndexScorer.decompress_residuals = staticmethod(decompress)
        IndexScorer.filter_pids = staticmethod(lambda pids, *rest: pids)
        for c in (ColBERT, StridedTensor, IndexScorer):
            c.loaded_extensions = True
    else:
        ColBERT.try_load_torch_extensions(False)
    for e in expected:
        d = os.path.join(out, e["name"])
        want = [dict(map(tuple, t)) for t in e["clamped"]]
        s = IndexScorer(d, use_gpu=False)
        c = ColBERTConfig.load_from_index(d)
        c.configure(ncells=512, centroid_score_threshold=0.0, ndocs=4096)
        got = []
        for i in range(len(Q)):
            pids, scores = s.rank(c, Q[i : i + 1])
            got.append([(e["positions"][p], x) for p, x in zip(pids[:20], scores[:20])])
        ok &= compare(e["name"], got, want)
sys.exit(0 if ok else 1)
