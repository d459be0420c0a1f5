"""Writes testdata/components.json: like pipelines.py, with all models, normalizers, pre-tokenizers and
post-processors.

    python encoder/tokenizer/_gen/components.py [number [seed]] > encoder/tokenizer/testdata/components.json
"""
import base64, json, random, struct, sys
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as N, pre_tokenizers as P, processors

r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
b = lambda p=.5: r.random() < p


def charsmap(rules):
    """The binary form of rules: a Darts double array in which nodes lie where they fit first."""
    keys = {k.encode(): v.encode() for k, v in rules.items()}
    nodes = sorted({k[:i] for k in keys for i in range(len(k) + 1)}, key=lambda k: (len(k), k))
    children = {n: [m[-1] for m in nodes if len(m) == len(n) + 1 and m[:-1] == n] + [0] * (n in keys) for n in nodes}
    units, values, at, bases = {0: 0}, b"", {b"": 0}, set()
    for n in nodes:
        base = next(x for x in range(1, 1 << 16) if x not in bases and all(x ^ c not in units for c in children[n]))
        bases.add(base)
        units[at[n]] |= (base ^ at[n]) << 10 | (n in keys) << 8
        for c in children[n]:
            at[n + bytes([c])], units[base ^ c] = base ^ c, c
        if n in keys:
            units[base] = 1 << 31 | len(values)
            values += keys[n] + b"\0"
    trie = struct.pack(f"<{max(units) // 256 * 256 + 256}I", *(units.get(i, 0) for i in range(max(units) // 256 * 256 + 256)))
    return struct.pack("<I", len(trie)) + trie + values


RULES = {"ａ": "a", "ﬁ": "fi", "\x01": "", "\u200b": "", "\t": " ", "\n": " ", "\u3000": " ", "½": "1/2", "e\u0301": "é", "①": "1", "\u0301": "'", "か": "ka", "㍿": "kkk", "Ａ": "A", "\xa0": " ", "\u0600": "n", "ü": "", "\u1100": "g"}
WORDS = ["a", "b", "ab", "abc", "abcd", "é", "e\u0301", "e\u0323\u0302", "ａ", "ａ\u0308", "ﬁ", "ﬁ\u0301", "\x01", "\u200b", "½", "①\u0301", "か\u3099", "ü", "㍿", "\u0600a", "\u1100\u1161\u11a8", "\uac01", "\u1100\u0301", "©\u200d©", "\u0301", "\u0327",
         " ", " ", " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n ", "\xa0", "\u3000", "\u2028", "\x0b", "▁", "▁▁", "1", "12", "1234", "٣", "Ⅷ", "²", "'s", "'S", "'ſ", "'ll", "'re", "'ve", "'LL", "'", "''", "``", "!", "!?", "-", "_", "。", "«", "中", "中文", "日本", "ñ", "ß", "İ", "Σ", "A", "AB", "Ab", "ǅ", "😀", "\U0001d11e", "x", "xyz", "[Q]", "[Q] ", "<m>", "<s>", "</s>", "<unk>", "\ufeff", "\xad", "\x85", "\x7f", "\0"]
PATTERNS = [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            r"\p{N}{1,3}", r"\s+", r"[^\s]+", r"[\s]", r" {2,}", r" +", r"\d", r"[a-c]+|中", r"\S+", r"(ab|a)b?", r"[\r\n]"]
BEHAVIOURS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def pattern():
    return r.choice([" ", "a", "ab", "▁", "''", "\n"]) if b(.4) else Regex(r.choice(PATTERNS))


def replaced():
    p = r.choice([" ", "a", "ab", "▁", "``", "''", Regex(" {2,}"), Regex(" +"), Regex(r"\s+"), Regex(r"[\s]"), Regex("a+b?")])
    return N.Replace(p, r.choice(["▁", " ", "", "b", '"', "xé"]))


def normalizer(deep=False):
    k = r.randrange(13 if deep else 15)
    if k >= 13:
        return N.Sequence([normalizer(True) for _ in range(r.randint(0, 4))])
    return [lambda: N.NFC(), lambda: N.NFD(), lambda: N.NFKC(), lambda: N.NFKD(), lambda: N.Lowercase(), lambda: N.StripAccents(), lambda: N.Strip(b(), b()),
            replaced, lambda: N.Prepend(r.choice(["▁", "xy"])), lambda: N.Nmt(), lambda: N.Precompiled(MAP), lambda: N.ByteLevel(),
            lambda: N.BertNormalizer(b(), b(), r.choice([None, True, False]), b())][k]()


def pre_tokenizer(deep=False):
    k = r.randrange(9 if deep else 12)
    if k >= 9:
        return P.Sequence([pre_tokenizer(True) for _ in range(r.randint(0, 3))])
    return [lambda: P.Whitespace(), lambda: P.WhitespaceSplit(), lambda: P.BertPreTokenizer(),
            lambda: P.Metaspace(r.choice("▁▁_"), r.choice(["always", "first", "never"]), b(.7)),
            lambda: P.ByteLevel(add_prefix_space=b(.3), use_regex=b(.7)), lambda: P.Split(pattern(), r.choice(BEHAVIOURS), b(.3)),
            lambda: P.Punctuation(r.choice(BEHAVIOURS)), lambda: P.Digits(b()), lambda: P.CharDelimiterSplit(r.choice("a ▁"))][k]()


ALPHABET = sorted(P.ByteLevel.alphabet())
LETTERS = ["a", "b", "c", "d", "e", "é", "▁", " ", "1", "2", "中", "文", "A", "B", "'", "s", "l", "Ġ", "Ã", "©", "x", "y", "!", "\u0301", "k", "\"", "ß", "g"]


def model():
    k = r.random()
    if k < .45:  # BPE
        fallback, suffix, prefix = b(.3), r.choice(["", "", "", "</w>"]), r.choice(["", "", "", "##"])
        fallback = fallback and not suffix and not prefix  # else the reference gives offsets beyond the word
        letters = sorted(set(ALPHABET) | set(LETTERS)) if b(.6) else r.sample(LETTERS, r.randint(4, len(LETTERS)))
        vocab = {"<s>": 0, "</s>": 1, "<unk>": 2}
        add = lambda t: vocab.setdefault(t, len(vocab))
        for l in letters:
            for t in {l, prefix + l, l + suffix, prefix + l + suffix}:
                add(t)
        if fallback:
            for i in range(256):
                if b(.97) or i < 128:
                    add(f"<0x{i:02X}>")
        merges, parts = [], [t for t in vocab if t[:1] in LETTERS and t not in ("<s>", "</s>", "<unk>")] + [prefix + l for l in letters if l in LETTERS]
        for _ in range(r.randint(0, 60)):
            x, y = r.choice(parts), r.choice(parts)
            if not y.startswith(prefix) or (suffix and x.endswith(suffix)):
                continue
            t = x + y[len(prefix):]
            add(t)
            if (x, y) not in merges:
                merges.append((x, y))
                parts += [t] * 3
        options = dict(unk_token=r.choice([None, "<unk>", "<unk>"]), continuing_subword_prefix=prefix or None, end_of_word_suffix=suffix or None)
        return models.BPE(vocab, merges, fuse_unk=b(), byte_fallback=fallback, ignore_merges=b(.3), **{k: v for k, v in options.items() if v})
    if k < .85:
        pieces = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        for l in r.sample(LETTERS, r.randint(4, len(LETTERS))):
            pieces.append((l, -r.randint(1, 9) / r.choice([1, 3])))
        for _ in range(r.randint(0, 40)):
            pieces.append(("".join(r.choice(LETTERS[:8] + ["▁", "a"]) for _ in range(r.randint(2, 5))), -r.randint(1, 9) / r.choice([1, 3])))
        fallback = b(.3)
        if fallback:
            for i in range(256):
                if b(.97) or i < 128:
                    pieces.append((f"<0x{i:02X}>", -9.0))
        return models.Unigram(pieces, 2, fallback)
    vocab = {"<s>": 0, "</s>": 1, "<unk>": 2}
    for w in WORDS + ["##a", "##b"]:
        if b(.6):
            vocab.setdefault(w, len(vocab))
    return models.WordLevel(vocab, "<unk>") if b() else models.WordPiece(vocab, unk_token="<unk>")


MAP = charsmap(RULES)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    out = []
    while len(out) < count:
        t = Tokenizer(model())
        if b(.7):
            t.normalizer = normalizer()
        if b(.85):
            t.pre_tokenizer = pre_tokenizer()
        t.add_special_tokens(["<s>", "</s>", "<unk>"])
        # No two that are one after normalisation: the reference picks either.
        for n in r.sample(["[Q] ", "[Q]", "<m>", "ab", " x", r.choice(["\n\n", "  "]), "É"], r.randint(0, 3)):
            a = AddedToken(n, single_word=b(.2), lstrip=b(.3), rstrip=b(.3), normalized=b())
            (t.add_special_tokens if b(.3) else t.add_tokens)([a])
        template = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
        roberta = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=b(), add_prefix_space=b())
        level = processors.ByteLevel(trim_offsets=b(.7), add_prefix_space=b(), use_regex=b())
        post = r.choice([None, template, roberta, roberta, level, processors.Sequence([level, template])])
        if post:
            t.post_processor = post
        cases = []
        texts = ["".join(r.choice(WORDS) for _ in range(r.choice([0, 1, 3, 6, 12, 40]))) for _ in range(8)]
        try:
            for text in texts:
                t.encode_special_tokens = False
                e = t.encode(text)
                t.encode_special_tokens = True
                plain = t.encode(text, add_special_tokens=False)
                cases.append(dict(text=text, ids=e.ids, offsets=[x for o in e.offsets for x in o], special=e.special_tokens_mask, plain=plain.ids))
        except BaseException as err:  # the reference panics on some of what it makes itself
            print("skipped:", str(err)[:100], file=sys.stderr)
            continue
        out.append(dict(tokenizer=json.loads(t.to_str()), size=max(t.get_vocab().values()) + 1, cases=cases))
    print(json.dumps(dict(tokenizers=tokenizers.__version__, pipelines=out), ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
