#!/usr/bin/env python3
"""Gradients of tiny ColBERT models by torch's autograd in float64.
   train_gradients.py LAYOUTS TRANSFORMER OUTDIR
LAYOUTS is encoder/testdata/layouts, TRANSFORMER encoder/transformer/testdata, OUTDIR encoder/train/testdata/gradients.
For each checkpoint NAME.json holds token sequences, the MaxSim scores (queries x documents) and the loss
sum(c * tanh(scores / 4)); NAME.safetensors the gradients of all parameters, under the checkpoint's names.
Made with transformers 5.3.0 and torch 2.11."""
import json, os, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertModel, XLMRobertaModel, XmodModel

layouts, backbones, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
G = torch.Generator().manual_seed(1234)


def rand(n):
    return int(torch.randint(n, (1,), generator=G))


def side(lengths, vocab, shorter, languages):
    texts = []
    for n in lengths:
        ids = [4 + rand(vocab - 4) for _ in range(n)]
        keep = [bool(rand(4)) for _ in range(n)]
        keep[rand(n)] = True
        attended = max(1, n - shorter)
        texts.append(dict(ids=ids, keep=keep, attended=attended, part=rand(languages) if languages else -1))
    return texts


def run(name, folder, cls, queries, documents):
    cfg = AutoConfig.from_pretrained(folder)
    cfg._attn_implementation = "eager"
    f = f"{folder}/model.safetensors"
    w = load_file(f) if os.path.exists(f) else torch.load(f"{folder}/pytorch_model.bin")
    prefix = next((n[: -len("embeddings.word_embeddings.weight")] for n in w if n.endswith("embeddings.word_embeddings.weight")))
    model = cls(cfg, add_pooling_layer=False).double().eval()
    missing, _ = model.load_state_dict({k[len(prefix):]: v.double() for k, v in w.items() if k.startswith(prefix)}, strict=False)
    missing = [m for m in missing if "position_ids" not in m]
    assert not missing, missing
    head = torch.nn.Parameter(w["linear.weight"].double()) if "linear.weight" in w else None
    langs = len(getattr(cfg, "languages", [])) if cls is XmodModel else 0
    q, d = side(queries, cfg.vocab_size, 2, langs), side(documents, cfg.vocab_size, 0, langs)

    def vectors(t):
        n = len(t["ids"])
        extra = dict(lang_ids=torch.tensor([t["part"]])) if langs else {}
        mask = torch.tensor([[1] * t["attended"] + [0] * (n - t["attended"])])
        h = model(input_ids=torch.tensor([t["ids"]]), attention_mask=mask, **extra).last_hidden_state[0]
        if head is not None:
            h = h @ head.T
        return torch.nn.functional.normalize(h[torch.tensor(t["keep"])], dim=-1)

    vq, vd = [vectors(t) for t in q], [vectors(t) for t in d]
    scores = torch.stack([torch.stack([(x @ y.T).max(-1).values.sum() for y in vd]) for x in vq])
    c = torch.randn(scores.shape, generator=G, dtype=torch.float64)
    loss = (c * torch.tanh(scores / 4)).sum()
    loss.backward()
    grads = {prefix + n: p.grad.float().contiguous() for n, p in model.named_parameters() if p.grad is not None}
    if head is not None:
        grads["linear.weight"] = head.grad.float()
    save_file(grads, f"{out}/{name}.safetensors")
    json.dump(dict(folder=os.path.basename(folder), prefix=prefix, queries=q, documents=d, c=c.flatten().tolist(), scores=scores.flatten().tolist(), loss=loss.item()),
              open(f"{out}/{name}.json", "w"))


run("stanford_bert", f"{layouts}/stanford_bert", BertModel, [5, 3, 9], [9, 4, 1, 17])
run("stanford_xlmr", f"{layouts}/stanford_xlmr", XLMRobertaModel, [5, 3], [9, 4, 11])
run("stanford_xmod", f"{layouts}/stanford_xmod", XmodModel, [7, 4, 3, 9], [12, 5, 8, 19, 6])
run("xmod_prenorm", f"{backbones}/xmod_prenorm", XmodModel, [7, 4, 3], [12, 5, 8, 19])
