"""Writes tiny random checkpoints in the layouts that people use, with the token vectors of the reference
implementations. Usage:

    layouts.py pylate OUT     PyLate 1.6 (sentence-transformers 5.3, transformers 5.3, torch 2.11)
    layouts.py native OUT     sentence-transformers 6.2 (same transformers and torch)
    layouts.py formula OUT    colbert-ai, XTR and BGE-M3, whose tokenization and heads are spelled out below

Each OUT/<name>/ is a checkpoint with a golden.json: {"queries": [{"text", "vectors"}], "documents": [...]}.
"""
import json
import os
import shutil
import string
import sys

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

mode, out = sys.argv[1], sys.argv[2]
torch.manual_seed(11)
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

QUERIES = [
    "Which planet is red?",
    "  What's the name of the sea, and of the star  ",
    "moon",
    "the red sun and the green moon and the blue sea and the star of the sky and the red sun and the green moon",
]
DOCUMENTS = [
    "Mars, known for its red sky, is a planet.",
    "The sea (blue) - the moon; the stars: unknownxyz!",
    "A name.",
    "sun moon sea star sky " * 8,
]
WORDS = "the a of and red green blue sun moon sea star sky planet which what is name for known mars".split()


def wordpiece():
    """An uncased BERT tokenizer of a few words, letters and punctuation marks but "~"."""
    vocab = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab += [c for c in string.punctuation if c != "~"] + WORDS + list("abcdefghij") + ["##s", "##n", "##k"]
    vocab = list(dict.fromkeys(vocab + ["query", "text"]))
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 5)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=t, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        mask_token="[MASK]", model_max_length=40,
    )


def unigram(post, **special):
    """A Unigram tokenizer in the arrangement of XLM-R or T5."""
    marks = list(special["first"])
    pieces = [(m, 0.0) for m in marks]
    pieces += [("▁" + w, -3.0 - i / 50) for i, w in enumerate(WORDS)] + [("▁", -4.0), ("s", -5.0), ("n", -5.1)]
    pieces += [("▁" + c, -6.0) for c in "!?"] + [(c, -6.5) for c in "!?.,:;()-'"] + [(c, -8.0) for c in "abcdefghij"]
    if special.get("mask_token"):
        pieces.append((special["mask_token"], 0.0))
    unk = marks.index("<unk>")
    t = Tokenizer(models.Unigram(pieces, unk_id=unk, byte_fallback=False))
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.post_processor = processors.TemplateProcessing(
        single=post, special_tokens=[(m, marks.index(m)) for m in post.split() if m in marks]
    )
    return PreTrainedTokenizerFast(tokenizer_object=t, **{k: v for k, v in special.items() if k != "first"})


def randomize(model, scale=0.3):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * scale + (1.0 if p.dim() == 1 and scale < 0.2 else 0.0))
    return model.eval()


def bert(tokenizer, extra=0):
    return randomize(
        BertModel(
            BertConfig(
                vocab_size=len(tokenizer) + extra, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=40,
            )
        )
    )


def vectors(texts, encode):
    return [{"text": t, "vectors": [[round(float(x), 6) for x in row] for row in encode(t)]} for t in texts]


def finish(name, query, document, queries=QUERIES, documents=DOCUMENTS):
    path = f"{out}/{name}"
    with open(path + "/golden.json", "w") as f:
        json.dump({"queries": vectors(queries, query), "documents": vectors(documents, document)}, f)
    for junk in ("README.md", "special_tokens_map.json"):
        if os.path.exists(f"{path}/{junk}"):
            os.remove(f"{path}/{junk}")
    shutil.rmtree(f"{path}/.git", ignore_errors=True)


def fresh(name):
    shutil.rmtree(f"{out}/{name}", ignore_errors=True)
    os.makedirs(f"{out}/{name}")
    return f"{out}/{name}"


def backbone(path):
    tokenizer = wordpiece()
    bert(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def run_pylate():
    from pylate import models as pm

    def save(name, model):
        path = fresh(name)
        model.save(path, create_model_card=False)
        # Encode with what was written, not with what was in memory.
        m = pm.ColBERT(path, device="cpu")
        finish(
            name,
            lambda t: m.encode([t], is_query=True, show_progress_bar=False)[0],
            lambda t: m.encode([t], is_query=False, show_progress_bar=False)[0],
        )

    def dense(i, o, **kw):
        d = pm.Dense(i, o, **kw)
        return randomize(d)

    src = backbone("/tmp/golden-backbone")

    def base(dims, **kw):
        m = pm.ColBERT(src, device="cpu", embedding_size=8, **kw)
        while len(m) > 1:
            del m[len(m) - 1]
        for d in dims:
            m.append(d)
        return m

    save("pylate_expansion", base([dense(16, 8, bias=False)], query_length=12, document_length=24))
    save(
        "pylate_mlp",
        base(
            [
                dense(16, 16, bias=False, activation_function=torch.nn.GELU(), use_residual=True),
                dense(16, 12, bias=True, activation_function=torch.nn.SiLU(), use_residual=True),
                dense(12, 6, bias=True, activation_function=torch.nn.Tanh()),
            ],
            query_length=14, document_length=20, do_query_expansion=False, skiplist_words=["the", ",", "nothere"],
            query_prefix="[Q] ", document_prefix="",
            prompts={"x": "text: "}, default_prompt_name="x",
        ),
    )
    save(
        "pylate_attend",
        base([dense(16, 8, bias=False)], query_length=16, document_length=24, attend_to_expansion_tokens=True, skiplist_words=[]),
    )

    # A Stanford checkpoint, weights as a pickle. Every mark that Stanford's code drops is a token here but "~",
    # which does not occur: PyLate and colbert-ai agree on the rest.
    path = fresh("stanford_bert")
    tokenizer = wordpiece()
    model = bert(tokenizer)
    model.config.architectures = ["HF_ColBERT"]
    model.config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    state = {"bert." + k: v for k, v in model.state_dict().items()}
    state["linear.weight"] = torch.randn(8, 16)
    torch.save(state, path + "/pytorch_model.bin")
    config = json.load(open(path + "/config.json"))
    config["architectures"] = ["HF_ColBERT"]
    json.dump(config, open(path + "/config.json", "w"))
    json.dump(
        {
            "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 12, "doc_maxlen": 24, "dim": 8,
            "mask_punctuation": True, "attend_to_mask_tokens": False, "similarity": "cosine", "interaction": "colbert",
        },
        open(path + "/artifact.metadata", "w"),
    )
    stanford(path, "stanford_bert", model, torch.nn.functional.linear, state["linear.weight"], tokenizer, 12, 24, False)


def stanford(path, name, model, linear, weight, tokenizer, qlen, dlen, attend):
    """colbert-ai 0.2: QueryTokenizer.tensorize, DocTokenizer.tensorize, ColBERT.query and .doc."""
    q = tokenizer.convert_tokens_to_ids("[unused0]")
    d = tokenizer.convert_tokens_to_ids("[unused1]")
    skip = {tokenizer.encode(c, add_special_tokens=False)[0] for c in string.punctuation}

    def run(ids, mask):
        with torch.no_grad():
            h = model(input_ids=ids, attention_mask=mask).last_hidden_state
            return torch.nn.functional.normalize(linear(h, weight), p=2, dim=2)[0]

    def query(t):
        e = tokenizer(t, padding="max_length", truncation=True, return_tensors="pt", max_length=qlen - 1)
        ids = torch.cat([e["input_ids"][:, :1], torch.tensor([[q]]), e["input_ids"][:, 1:]], dim=1)
        mask = torch.cat([e["attention_mask"][:, :1], torch.tensor([[1]]), e["attention_mask"][:, 1:]], dim=1)
        ids[ids == tokenizer.pad_token_id] = tokenizer.mask_token_id
        if attend:
            mask[ids == tokenizer.mask_token_id] = 1
        return run(ids, mask)

    def document(t):
        e = tokenizer(t, padding="longest", truncation="longest_first", return_tensors="pt", max_length=dlen - 1)
        ids = torch.cat([e["input_ids"][:, :1], torch.tensor([[d]]), e["input_ids"][:, 1:]], dim=1)
        v = run(ids, torch.ones_like(ids))
        return v[[i for i, x in enumerate(ids[0].tolist()) if x not in skip and x != tokenizer.pad_token_id]]

    finish(name, query, document)


def run_native():
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask

    src = backbone("/tmp/golden-backbone")

    def save(name, expansion, mask, prompts, pooling=None, query_length=None, dense=None, bin=False, **kw):
        path = fresh(name)
        t = Transformer(src, query_expansion=expansion, query_length=query_length, document_length=24)
        d = randomize(Dense(16, 8, module_input_name="token_embeddings", **(dense or {"bias": False, "activation_function": None})))
        modules = [t, d, mask, Normalize(module_input_name="token_embeddings")]
        if pooling:
            modules.append(pooling)
        m = MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu", **kw)
        m.save_pretrained(path, create_model_card=False, safe_serialization=not bin)
        m = MultiVectorEncoder(path, device="cpu", local_files_only=True)
        finish(name, lambda t: m.encode_query([t])[0], lambda t: m.encode_document([t])[0])

    save(
        "native_fixed", {"strategy": "fixed", "length": 12}, MultiVectorMask(list(string.punctuation)),
        {"query": "[unused0] ", "document": "[unused1] "},
    )
    save(
        "native_min", {"strategy": "min", "length": 10, "attend": True, "token": "the"},
        MultiVectorMask(["the", "nothere", "?"], skiplist_tasks=["query", "document"]),
        {"query": "query: ", "document": ""}, query_length=20, bin=False,
        dense={"bias": True, "activation_function": torch.nn.Tanh(), "use_residual": True},
    )
    save("native_none", None, MultiVectorMask(), {}, query_length=9)
    save(
        "native_pooling", None, MultiVectorMask([","]), {}, query_length=30,
        pooling=HierarchicalTokenPooling(pool_factor=2.5, num_protected_tokens=1),
    )


def run_formula():
    from transformers import T5Config, T5EncoderModel, XLMRobertaConfig, XLMRobertaModel

    # colbert-ai with XLM-R: both markers are unknown, so both become <unk>, as with ColBERT-XM.
    special = dict(first=["<s>", "<pad>", "</s>", "<unk>"], bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    tokenizer = unigram("<s> $A </s>", **special)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=42, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, layer_norm_eps=1e-5,
    )
    path = fresh("stanford_xlmr")
    model = randomize(XLMRobertaModel(config))
    config.architectures = ["HF_ColBERT"]
    config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    state = {"roberta." + k: v for k, v in model.state_dict().items()}
    weight = state["linear.weight"] = torch.randn(8, 16)
    torch.save(state, path + "/pytorch_model.bin", _use_new_zipfile_serialization=False)
    json.dump(
        {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 12, "doc_maxlen": 24, "dim": None,
         "attend_to_mask_tokens": True},
        open(path + "/artifact.metadata", "w"),
    )
    stanford(path, "stanford_xlmr", model, torch.nn.functional.linear, weight, tokenizer, 12, 24, True)

    # BGE-M3: FlagEmbedding's BGEM3Model._colbert_embedding: linear, the first token dropped, normalised.
    path = fresh("bge_m3")
    config = XLMRobertaConfig(**{**config.to_dict(), "architectures": ["XLMRobertaModel"]})
    model = randomize(XLMRobertaModel(config, add_pooling_layer=False))
    torch.save(model.state_dict(), path + "/pytorch_model.bin")
    config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    linear = randomize(torch.nn.Linear(16, 16))
    torch.save(linear.state_dict(), path + "/colbert_linear.pt")

    def bge(t):
        e = tokenizer(t, truncation=True, max_length=40, return_tensors="pt")
        with torch.no_grad():
            h = model(input_ids=e["input_ids"], attention_mask=e["attention_mask"]).last_hidden_state
            return torch.nn.functional.normalize(linear(h[:, 1:]), dim=-1)[0]

    finish("bge_m3", bge, bge)

    # XTR: lower-cased texts, 32 and 512 tokens, T5 encoder, linear without bias, normalised.
    tokenizer = unigram("$A </s>", first=["<pad>", "</s>", "<unk>"], eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="relu",
        decoder_start_token_id=0,
    )
    path = fresh("xtr")
    model = randomize(T5EncoderModel(config))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    os.makedirs(path + "/2_Dense")
    linear = randomize(torch.nn.Linear(16, 8, bias=False))
    torch.save({"linear.weight": linear.weight.detach()}, path + "/2_Dense/pytorch_model.bin")
    json.dump(
        {"in_features": 16, "out_features": 8, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"},
        open(path + "/2_Dense/config.json", "w"),
    )

    def xtr(length):
        def encode(t):
            e = tokenizer(t.lower(), truncation=True, max_length=length, return_tensors="pt")
            with torch.no_grad():
                h = model(input_ids=e["input_ids"], attention_mask=e["attention_mask"]).last_hidden_state
                return torch.nn.functional.normalize(linear(h), dim=-1)[0]

        return encode

    finish("xtr", xtr(32), xtr(512), QUERIES + ["red sun and moon " * 12])

    # colbert-ai with ELECTRA.
    from transformers import ElectraConfig, ElectraModel

    path = fresh("stanford_electra")
    words = wordpiece()
    config = ElectraConfig(
        vocab_size=len(words), embedding_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )
    electra = randomize(ElectraModel(config))
    config.architectures = ["HF_ColBERT"]
    config.save_pretrained(path)
    words.save_pretrained(path)
    state = {"electra." + k: v for k, v in electra.state_dict().items()}
    weight = state["linear.weight"] = torch.randn(8, 16)
    torch.save(state, path + "/pytorch_model.bin")
    json.dump({"query_maxlen": 12, "doc_maxlen": 24}, open(path + "/artifact.metadata", "w"))
    stanford(path, "stanford_electra", electra, torch.nn.functional.linear, weight, words, 12, 24, False)


{"pylate": run_pylate, "native": run_native, "formula": run_formula}[mode]()
