"""Writes testdata/shapes.json: small tokenizers of the shape of GPT-2, Llama 3, Qwen, Gemma, ModernBERT, mmBERT, Llama 2, CLIP, DeBERTa,
ALBERT and T5, trained on the texts of testdata/minilm_texts.json, and what Hugging Face tokenizers makes of texts.

    python encoder/tokenizer/_gen/shapes.py > encoder/tokenizer/testdata/shapes.json
"""
import json, os, random
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as N, pre_tokenizers as P, processors, trainers
import components

texts = [g["text"] for g in json.load(open(os.path.dirname(os.path.abspath(__file__)) + "/../testdata/minilm_texts.json", encoding="utf-8"))]
scale = 1  # compare.py trains larger vocabularies on longer texts
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
template = lambda before, after: processors.TemplateProcessing(
    single=" ".join(before + ["$A"] + after), pair=" ".join(before + ["$A", "$B"] + after), special_tokens=[(s, i) for i, s in enumerate(before + after)])
byte_level = lambda pattern: P.Sequence([P.Split(Regex(pattern), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])


def bpe(normalizer, pre, special=(), alphabet=(), size=600, **options):
    t = Tokenizer(models.BPE(**options))
    t.normalizer, t.pre_tokenizer = normalizer or N.Sequence([]), pre or P.Sequence([])
    suffix = {k: options[k] for k in ("end_of_word_suffix", "continuing_subword_prefix") if k in options}
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size * scale, special_tokens=list(special), initial_alphabet=list(alphabet), show_progress=False, max_token_length=12, **suffix))
    return t


def gpt2():
    t = bpe(None, P.ByteLevel(add_prefix_space=False), ["<|endoftext|>"], P.ByteLevel.alphabet())
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    return t


def llama3():
    t = bpe(None, byte_level(CL100K), ["<|begin_of_text|>"], P.ByteLevel.alphabet())
    m = json.loads(t.to_str())
    m["model"]["ignore_merges"] = True
    t = Tokenizer.from_str(json.dumps(m))
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(["<|begin_of_text|>"], [])])
    return t


def qwen():
    return bpe(N.NFC(), byte_level(QWEN), ["<|endoftext|>"], P.ByteLevel.alphabet())


def modernbert():
    t = bpe(N.NFC(), P.ByteLevel(add_prefix_space=False), ["[CLS]", "[SEP]", "[PAD]"], P.ByteLevel.alphabet())
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in (2, 3, 4)])
    t.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    t.add_tokens([AddedToken("[Q] ", normalized=False)])
    t.post_processor = template(["[CLS]"], ["[SEP]"])
    return t


FALLBACK = [f"<0x{i:02X}>" for i in range(256)]


def gemma(runs=("\n", "\n\n", "▁▁", "▁▁▁")):
    t = bpe(N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous"), ["<pad>", "<eos>", "<bos>", "<unk>"] + FALLBACK, size=900, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    m = json.loads(t.to_str())
    m["added_tokens"] = m["added_tokens"][:4]
    t = Tokenizer.from_str(json.dumps(m))
    t.add_tokens([AddedToken(s, normalized=False) for s in runs])
    return t


def mmbert():
    """Gemma 2's vocabulary between <bos> and <eos>, with its runs of line ends, tabs and spaces, and tags, as added tokens."""
    t = gemma([c * n for c in "\n▁\t" for n in range(1 if c != "▁" else 2, 32)] + ["<table>", "</h1>", "<start_of_turn>", "[multimodal]"])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    t.add_tokens([AddedToken("[Q] ", normalized=False), AddedToken("[D] ", normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>", special_tokens=[("<bos>", t.token_to_id("<bos>")), ("<eos>", t.token_to_id("<eos>"))])
    return t


def llama2():
    t = bpe(N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None, ["<unk>", "<s>", "</s>"] + FALLBACK, size=900, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    m = json.loads(t.to_str())
    m["added_tokens"] = m["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(m))


def clip():
    return bpe(N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]), byte_level(QWEN), ["<|endoftext|>"], P.ByteLevel.alphabet(), unk_token="<|endoftext|>", end_of_word_suffix="</w>", size=800)


def unigram(normalizer, pre, special):
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=500 if scale == 1 else 16000, special_tokens=list(special), unk_token="<unk>", show_progress=False))
    return t


def deberta():
    return unigram(N.Sequence([N.Strip(), N.Precompiled(components.MAP), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(prepend_scheme="always"), ["[CLS]", "[SEP]", "<unk>"])


def albert():
    return unigram(N.Sequence([N.Replace("``", '"'), N.Replace("''", '"'), N.NFKD(), N.StripAccents(), N.Lowercase(), N.Precompiled(components.MAP), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(), ["<pad>", "<unk>"])


def t5():
    t = unigram(N.Precompiled(components.MAP), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), ["<pad>", "</s>", "<unk>"])
    t.post_processor = template([], ["</s>"])
    return t


SHAPES = gpt2, llama3, qwen, modernbert, gemma, mmbert, llama2, clip, deberta, albert, t5

if __name__ == "__main__":
    out = []
    for make in SHAPES:
        r = random.Random(2)
        t = make()
        some = r.sample(texts, 25) + ["".join(r.choice(components.WORDS) for _ in range(r.choice([2, 6, 20, 40]))) for _ in range(25)]
        cases = []
        for text in some:
            t.encode_special_tokens = False
            e = t.encode(text[:200])
            t.encode_special_tokens = True
            plain = t.encode(text[:200], add_special_tokens=False)
            cases.append(dict(text=text[:200], ids=e.ids, offsets=[x for o in e.offsets for x in o], special=e.special_tokens_mask, plain=plain.ids))
        out.append(dict(tokenizer=json.loads(t.to_str()), size=max(t.get_vocab().values()) + 1, cases=cases))
    print(json.dumps(dict(tokenizers=tokenizers.__version__, pipelines=out), ensure_ascii=False, separators=(",", ":")))
