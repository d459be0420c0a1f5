"""Tiny random checkpoints in PyLate's layout over backbones other than BERT, with the token vectors that PyLate gives.

    python encoder/scripts/golden/pylate_backbones.py encoder/testdata/layouts

Made with PyLate 1.6, sentence-transformers 5.3, transformers 5.3 and torch 2.11. Each OUT/<name>/ is a checkpoint with
a golden.json as layouts.py writes it: {"queries": [{"text", "vectors"}], "documents": [...]}. Texts are encoded one at
a time, so that no text sees another's padding.
"""
import json
import os
import shutil
import sys

import torch
import transformers
from pylate import models as pm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (EuroBertConfig, EuroBertModel, Lfm2Config, Lfm2Model, ModernBertConfig, ModernBertModel,
                          PreTrainedTokenizerFast, Qwen3Config, Qwen3Model)

OUT = sys.argv[1]
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

QUERIES = ["Which planet is red?", "  What's the name of the sea, and of the star  ", "moon", "Größe — 東京 🌙 " * 6]
DOCUMENTS = ["Mars, known for its red sky, is a planet.", "The sea (blue) - the moon; the stars: 2,000!", "a", "sun moon sea star sky " * 20]


def bpe(bos, eos, mask):
    """A byte-level BPE tokenizer in ModernBERT's arrangement, or without a mask token in that of decoders."""
    special = list(dict.fromkeys([s for s in (bos, eos, "<pad>", "<unk>", mask) if s]))
    t = Tokenizer(models.BPE(unk_token=None))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(QUERIES + DOCUMENTS, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    end = f" {eos}" if mask else ""
    t.post_processor = processors.TemplateProcessing(single=f"{bos} $A{end}", special_tokens=[(s, t.token_to_id(s)) for s in {bos, eos}])
    if mask:
        t.add_special_tokens([AddedToken(mask, lstrip=True, special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token=bos, eos_token=eos, cls_token=bos if mask else None, sep_token=eos if mask else None,
                                   pad_token="<pad>", unk_token="<unk>", mask_token=mask, model_max_length=96)


def randomise(m, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in m.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if p.dim() >= 2:
                p.copy_(r * (0.6 if "embed" in n or p.dim() == 3 else 1.3 / p.shape[-1] ** 0.5))
            else:
                p.copy_(0.2 * r + (0 if "bias" in n else 1))
    return m.eval()


def save(name, backbone, tokenizer, seed, **settings):
    src, path = f"/tmp/golden-{name}", f"{OUT}/{name}"
    for p in src, path:
        shutil.rmtree(p, ignore_errors=True)
    randomise(backbone, seed).save_pretrained(src)
    tokenizer.save_pretrained(src)
    m = pm.ColBERT(src, device="cpu", embedding_size=8, **settings)
    randomise(m, seed)
    m.save(path, create_model_card=False)
    m = pm.ColBERT(path, device="cpu")  # what was written, not what was in memory

    def encode(texts, query):
        rows = [m.encode([t], is_query=query, show_progress_bar=False)[0] for t in texts]
        return [{"text": t, "vectors": [[round(float(x), 6) for x in r] for r in v]} for t, v in zip(texts, rows)]

    json.dump({"queries": encode(QUERIES, True), "documents": encode(DOCUMENTS, False)}, open(f"{path}/golden.json", "w"))
    for junk in "README.md", "special_tokens_map.json":
        if os.path.exists(f"{path}/{junk}"):
            os.remove(f"{path}/{junk}")
    shutil.rmtree(src)
    print(name, len(tokenizer), sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs))


common = dict(hidden_size=16, intermediate_size=24, num_attention_heads=2, vocab_size=300, pad_token_id=2)
tok = bpe("[CLS]", "[SEP]", "[MASK]")
save("pylate_modernbert", ModernBertModel(ModernBertConfig(**dict(common, vocab_size=len(tok)), num_hidden_layers=3, max_position_embeddings=128, local_attention=8, reference_compile=False)),
     tok, 1, query_length=24, document_length=60, do_query_expansion=False)
save("pylate_modernbert_expansion", ModernBertModel(ModernBertConfig(**dict(common, vocab_size=len(tok)), num_hidden_layers=1, max_position_embeddings=128, local_attention=64)),
     tok, 2, query_length=16, document_length=60, attend_to_expansion_tokens=True)
tok = bpe("<s>", "</s>", None)
kv = dict(dict(common, vocab_size=len(tok)), num_key_value_heads=1, max_position_embeddings=128, bos_token_id=0, eos_token_id=1)
save("pylate_eurobert", EuroBertModel(EuroBertConfig(**kv, num_hidden_layers=2)), tok, 3, query_length=20, document_length=60)
save("pylate_qwen3", Qwen3Model(Qwen3Config(**kv, num_hidden_layers=2, head_dim=8, is_causal=False)), tok, 4, query_length=20, document_length=60, attend_to_expansion_tokens=True)
save("pylate_lfm2", Lfm2Model(Lfm2Config(**kv, num_hidden_layers=2, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False)), tok, 5, query_length=20, document_length=60)
