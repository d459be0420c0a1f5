"""Writes testdata/pipelines.json: random tokenizers of the supported components, texts, and what Hugging Face
tokenizers makes of them.

    python encoder/tokenizer/_gen/pipelines.py > encoder/tokenizer/testdata/pipelines.json
"""
import json, random
import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

r = random.Random(11)
PIECES = ["a", "b", "c", "ab", "abc", "q", "d", "1", "é", "e", "中", "[", "]", "!", "##a", "##b", "##c", "##ab", "##e", "##1", "@@a", "@@b", "x y", "A", "B", "##B", "İ", "i", "▁", " ", "##[", "_"]
NAMES = ["[Q] ", "[D]", "<m>", "ab", "AB", "É", " x", "x ", "a b", "[Q", "_", "ca", "\tz", "b", "中", "é"]
WORDS = ["\ua953", "\u3099", "\u302e", "\u0345", "\x0b", "\u0f77", "각", "ab", "AB", "abc", "É", "é", "e\u0301", " ", "  ", "\t", "\n", "\u3000", "[Q] ", "[Q]", "[D]", "<m>", "<M>", "[CLS]", "[SEP]", "[UNK]", "x", " x", "x ", "x y", "a b", "!", "中", "_", "1", "İ", "zzz", "ca", "\tz", "\u0301", "aaaaaaaaaaaa", "\0", "b", "-"]

# Marks that canonical ordering moves, with a character between them that is dropped before.
MOVED = ["\ua953\0\u3099t", "b\u0345\x0b\u302e/\u1b44\u200b\u302e\u0301q"]

out = []
for _ in range(50):
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}
    for p in r.sample(PIECES, r.randint(8, len(PIECES))):
        vocab[p] = len(vocab)
    prefix = r.choice(["##"] * 4 + ["@@", ""])
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=r.choice([100, 100, 5, 11])))
    b = lambda: r.random() < .5
    if r.random() < .85:
        t.normalizer = normalizers.BertNormalizer(clean_text=b(), handle_chinese_chars=b(), strip_accents=r.choice([None, True, False]), lowercase=b())
    if r.random() < .85:
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    for n in r.sample(NAMES, r.randint(0, 6)):
        a = AddedToken(n, single_word=r.random() < .3, lstrip=r.random() < .3, rstrip=r.random() < .3, normalized=b())
        (t.add_special_tokens if r.random() < .3 else t.add_tokens)([a])
    k = r.random()
    if k < .4:
        t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    elif k < .8:
        t.post_processor = processors.TemplateProcessing(
            single=r.choice(["[CLS] $A [SEP]", "[CLS] [CLS] $A", "$A [SEP]", "$A", "[CLS]:1 $A:1 [SEP]:1"]),
            pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    cases = []
    for text in MOVED + ["".join(r.choice(WORDS) for _ in range(r.randint(0, 9))) for _ in range(13)]:
        t.encode_special_tokens = False
        e = t.encode(text)
        n = r.randint(t.num_special_tokens_to_add(False) + 1, 8)
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False)
        cases.append(dict(text=text, ids=e.ids, offsets=[x for o in e.offsets for x in o], special=e.special_tokens_mask, plain=plain.ids))
    out.append(dict(tokenizer=json.loads(t.to_str()), size=max(t.get_vocab().values()) + 1, cases=cases))
print(json.dumps(dict(tokenizers=tokenizers.__version__, pipelines=out), ensure_ascii=False, separators=(",", ":")))
