"""Makes golden.json: random judgements and runs with the values that ir_measures gives for them.

Made with ir_measures 0.4.3 and pytrec_eval-terrier 0.5.11 under Python 3.11:
    pip install ir_measures==0.4.3 pytrec_eval-terrier==0.5.11
    python make_golden.py > golden.json
"""
import json
import random

import ir_measures
from ir_measures import AP, RR, P, R, Success, nDCG, Qrel, ScoredDoc

rng = random.Random(20260101)
docs = [f"d{i:03d}" for i in range(120)]
qrels, run = [], []
for q in range(40):
    qid = f"q{q:02d}"
    judged = rng.sample(docs, rng.choice([1, 2, 5, 30]))
    for d in judged:
        # q07 has judgements but nothing relevant; negative judgements occur in real collections.
        qrels.append((qid, d, 0 if q == 7 else rng.choice([-1, 0, 0, 1, 1, 2, 3])))
    if q in (3, 11):
        continue  # judged, no results
    rel = {d: r for i, d, r in qrels if i == qid}
    found = rng.sample(docs, rng.choice([3, 20, 110]))
    found += [d for d in sorted(rel) if d not in found and rng.random() < 0.6]
    # Multiples of 1/8 are exact in float32, trec_eval's type, and are drawn without repetition: no ties. The
    # judged documents are lifted, so that the measures have something to tell.
    free = list(range(-400, 400))
    for d in found:
        s = rng.choice(free) if rng.random() < 0.3 else rng.choice(free[len(free) * (3 + rel.get(d, 0)) // 7 - 60:])
        free.remove(s)
        run.append((qid, d, s / 8))
for d in docs[:5]:
    run.append(("unjudged", d, 1.0 + docs.index(d)))

# Ties throughout: scores from a handful of values.
tied = [(q, d, float(rng.randrange(4))) for q, d, _ in run if q != "unjudged"]

measures = {
    "ndcg@10": nDCG @ 10, "ndcg@3": nDCG @ 3, "ndcg": nDCG,
    "mrr@10": RR @ 10, "mrr@2": RR @ 2, "mrr": RR,
    "recall@100": R @ 100, "recall@5": R @ 5,
    "map": AP, "map@10": AP @ 10, "map(rel=2)": AP(rel=2), "recall(rel=2)@20": R(rel=2) @ 20,
    "success@1": Success @ 1, "success@5": Success @ 5,
    "p@1": P @ 1, "p@10": P @ 10,
}


def values(run):
    qs = [Qrel(*x) for x in qrels]
    rs = [ScoredDoc(*x) for x in run]
    per = {}
    for m in ir_measures.iter_calc(list(measures.values()), qs, rs):
        name = next(n for n, mm in measures.items() if str(mm) == str(m.measure))
        per.setdefault(name, {})[m.query_id] = m.value
    agg = ir_measures.calc_aggregate(list(measures.values()), qs, rs)
    return {"mean": {n: agg[m] for n, m in measures.items()}, "per_query": per}


print(json.dumps({
    "made_with": "ir_measures 0.4.3, pytrec_eval-terrier 0.5.11, make_golden.py",
    "qrels": qrels, "run": run, "tied": tied,
    "want": values(run), "want_tied": values(tied),
}, separators=(",", ":")))
