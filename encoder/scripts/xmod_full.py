#!/usr/bin/env python3
"""Writes a checkpoint of the size of ColBERT-XM (853M parameters, 81 languages, 3.4 GB) with random weights in the
Stanford layout, to measure opening and memory with:
   xmod_full.py OUTDIR TOKENIZER.json
   GOLBERT_XMOD=OUTDIR go test ./encoder -run TestFullSize -v"""
import json, os, shutil, sys
import numpy as np

out, tokenizer = sys.argv[1:3]
os.makedirs(out, exist_ok=True)
LANGUAGES = json.load(open(os.path.join(os.path.dirname(__file__), "../transformer/testdata/xmod_languages/config.json")))["languages"]
H, F, L, V, P, A = 768, 3072, 12, 250002, 514, 384
config = dict(architectures=["HF_ColBERT"], model_type="xmod", vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=12,
              intermediate_size=F, hidden_act="gelu", layer_norm_eps=1e-5, max_position_embeddings=P, type_vocab_size=1, pad_token_id=1,
              bos_token_id=0, eos_token_id=2, pre_norm=False, adapter_reduction_factor=2, adapter_layer_norm=False,
              adapter_reuse_layer_norm=True, ln_before_adapter=True, languages=LANGUAGES, default_language="en_XX")
json.dump(config, open(f"{out}/config.json", "w"))
json.dump(dict(query_maxlen=32, doc_maxlen=256, dim=128, mask_punctuation=True, attend_to_mask_tokens=True, similarity="cosine",
               query_token_id="[unused0]", doc_token_id="[unused1]"), open(f"{out}/artifact.metadata", "w"))
json.dump(dict(mask_token="<mask>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>"), open(f"{out}/tokenizer_config.json", "w"))
shutil.copy(tokenizer, f"{out}/tokenizer.json")

tensors = [("linear.weight", (128, H))]
def linear(name, o, i):
    tensors.extend([(name + ".weight", (o, i)), (name + ".bias", (o,))])
def norm(name):
    tensors.extend([(name + ".weight", (H,)), (name + ".bias", (H,))])
e = "roberta.embeddings."
tensors += [(e + "word_embeddings.weight", (V, H)), (e + "position_embeddings.weight", (P, H)), (e + "token_type_embeddings.weight", (1, H))]
norm(e + "LayerNorm")
for l in range(L):
    p = f"roberta.encoder.layer.{l}."
    for n in ("query", "key", "value"):
        linear(p + "attention.self." + n, H, H)
    linear(p + "attention.output.dense", H, H)
    norm(p + "attention.output.LayerNorm")
    linear(p + "intermediate.dense", F, H)
    linear(p + "output.dense", H, F)
    norm(p + "output.LayerNorm")
    for lang in LANGUAGES:
        linear(p + f"output.adapter_modules.{lang}.dense1", A, H)
        linear(p + f"output.adapter_modules.{lang}.dense2", H, A)
linear("roberta.pooler.dense", H, H)

header, at = {"__metadata__": {"format": "pt"}}, 0
for name, shape in tensors:
    n = 4 * int(np.prod(shape))
    header[name] = dict(dtype="F32", shape=list(shape), data_offsets=[at, at + n])
    at += n
raw = json.dumps(header).encode()
raw += b" " * (-len(raw) % 8)
rng = np.random.default_rng(1)
with open(f"{out}/model.safetensors", "wb") as f:
    f.write(len(raw).to_bytes(8, "little") + raw)
    for name, shape in tensors:
        n = int(np.prod(shape))
        block = (0.03 * rng.standard_normal(min(n, 1 << 20))).astype("<f4") + ("LayerNorm.weight" in name)
        while n > 0:
            f.write(block[:n].astype("<f4").tobytes())
            n -= len(block)
print(f"{at / 4e6:.1f}M parameters, {at / 1e9:.2f} GB")
