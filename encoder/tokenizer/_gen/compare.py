"""Compares this package with Hugging Face tokenizers, ids and offsets, on every text of the shared collections or on
random ones, and prints mismatches per million texts.

    python encoder/tokenizer/_gen/compare.py ../shared/data [--fuzz NUMBER] [--seed S] [--sample NUMBER] [--only NAME,...]

Tokenizers: all of shared/data/tokenizers (vocab.txt, tokenizer.json, vocab.json with merges.txt; SentencePiece models
against the library itself, and against the fast tokenizer that transformers makes of them), and those of shapes.py,
trained on the shared collections. NAME may also be the path of a tokenizer.json. It ends with status 1 when
anything differs. Needs tokenizers, sentencepiece, zstandard; the committed tables are those of tokenizers 0.23.3.
"""
import argparse, collections, glob, gzip, io, json, os, random, struct, subprocess, sys, tempfile, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import sentencepiece, tokenizers, zstandard
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

arg = argparse.ArgumentParser()
arg.add_argument("root")
arg.add_argument("--fuzz", type=int)
arg.add_argument("--seed", type=int, default=1)
arg.add_argument("--sample", type=int)
arg.add_argument("--only")
arg = arg.parse_args()
sys.argv = sys.argv[:1]
import shapes

BERT = ["[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]"]


def from_vocab(path, cased):
    t = Tokenizer(models.WordPiece.from_file(path, unk_token="[UNK]"))
    t.add_special_tokens([s for s in BERT if t.token_to_id(s) is not None])
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=not cased)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    return t


def from_merges(folder, prefix):
    t = Tokenizer(models.BPE.from_file(folder + "/vocab.json", folder + "/merges.txt"))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    i = t.token_to_id
    t.add_special_tokens([AddedToken(s, lstrip=s == "<mask>", special=True, normalized=False) for s in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>") if i(s) is not None])
    if i("<s>") is not None:
        t.post_processor = processors.RobertaProcessing(("</s>", i("</s>")), ("<s>", i("<s>")), add_prefix_space=prefix)
    return t


def varint(b, i):
    v = s = 0
    while True:
        v |= (b[i] & 127) << s
        s, i = s + 7, i + 1
        if b[i - 1] < 128:
            return v, i


def message(b):
    i, out = 0, collections.defaultdict(list)
    while i < len(b):
        tag, i = varint(b, i)
        if tag & 7 == 0:
            v, i = varint(b, i)
        elif tag & 7 == 2:
            n, i = varint(b, i)
            v, i = b[i:i + n], i + n
        else:
            n = 4 if tag & 7 == 5 else 8
            v, i = b[i:i + n], i + n
        out[tag >> 3].append(v)
    return out


def merges(vocab, scores):
    out = []
    for piece, score in scores:
        local = [(piece[:i], piece[i:], score) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        out += sorted(local, key=lambda x: (vocab[x[0]], vocab[x[1]]))
    return [x[:2] for x in sorted(out, key=lambda x: (x[2], len(x[0]), len(x[1])), reverse=True)]


def from_sentencepiece(path):
    m = message(open(path, "rb").read())
    trainer, norm = message(m[2][0]), message(m[3][0])
    pieces = [(p[1][0].decode(), struct.unpack("<f", p[2][0])[0] if p[2] else 0.0, p[3][0] if p[3] else 1) for p in map(message, m[1])]
    unk = next(i for i, p in enumerate(pieces) if p[2] == 2)
    fallback = bool(trainer[35] and trainer[35][0])
    if (trainer[3] or [1])[0] == 1:
        t = Tokenizer(models.Unigram([p[:2] for p in pieces], unk, fallback))
    else:
        vocab = {p[0]: i for i, p in enumerate(pieces)}
        t = Tokenizer(models.BPE(vocab, merges(vocab, [p[:2] for p in pieces]), unk_token=pieces[unk][0], fuse_unk=True, byte_fallback=fallback))
    steps = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    if norm[2] and norm[2][0]:
        steps.insert(0, normalizers.Precompiled(norm[2][0]))
    t.normalizer = normalizers.Sequence(steps)
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always" if not norm[3] or norm[3][0] else "never")
    t.add_tokens([AddedToken(p[0], normalized=False, special=p[2] == 3) for p in pieces if p[2] in (3, 4)])
    return t


def candidates(work):
    """Name, function that makes the reference, arguments of dump."""
    for d in sorted(glob.glob(arg.root + "/tokenizers/*")):
        name = os.path.basename(d)
        for path in sorted(glob.glob(d + "/tokenizer.json*")):
            read = gzip.open if path.endswith(".gz") else open
            yield f"{name} tokenizer.json", lambda path=path, read=read: Tokenizer.from_str(read(path, "rt", encoding="utf-8").read()), [path]
        if os.path.exists(d + "/vocab.txt"):
            cased = "uncased" not in name
            yield f"{name} vocab.txt", lambda d=d, cased=cased: from_vocab(d + "/vocab.txt", cased), [d + "/vocab.txt", "cased" if cased else "uncased"]
        if os.path.exists(d + "/merges.txt"):
            yield f"{name} merges.txt", lambda d=d: from_merges(d, False), [d + "/vocab.json"]
            yield f"{name} merges.txt with prefix space", lambda d=d: from_merges(d, True), [d + "/vocab.json", "prefix"]
        for path in sorted(glob.glob(d + "/*.model")):
            base = os.path.basename(path)
            yield f"{name} {base} fast", lambda path=path: from_sentencepiece(path), [path, "fast"]
            yield f"{name} {base} library", lambda path=path: sentencepiece.SentencePieceProcessor(model_file=path), [path, "native"]
    for make in shapes.SHAPES:
        def trained(make=make):
            t = make()
            t.save(f"{work}/tokenizer.json-{make.__name__}")
            return t
        yield f"shape of {make.__name__}", trained, [f"{work}/tokenizer.json-{make.__name__}"]


def texts():
    seen = set()
    for path in sorted(glob.glob(f"{arg.root}/ir/*/*.jsonl.zst") + glob.glob(f"{arg.root}/train/*/*.jsonl.zst")):
        with open(path, "rb") as f:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(f), encoding="utf-8"):
                for k, v in json.loads(line).items():
                    if isinstance(v, str) and k not in ("_id", "group", "lang"):
                        for text in {v, *v.split("\n")}:
                            h = hash(text)
                            if h not in seen:
                                seen.add(h)
                                yield text


# Scripts, as ranges of code points.
SCRIPTS = [(0x20, 0x7e), (0xa0, 0x17f), (0x180, 0x24f), (0x250, 0x2ff), (0x370, 0x3ff), (0x400, 0x52f), (0x530, 0x58f), (0x591, 0x5f4), (0x600, 0x6ff), (0x700, 0x74f),
           (0x900, 0x97f), (0x980, 0x9ff), (0xa00, 0xa7f), (0xb80, 0xbff), (0xc00, 0xc7f), (0xd00, 0xd7f), (0xd80, 0xdff), (0xe00, 0xe7f), (0xe80, 0xeff), (0xf00, 0xfda), (0x1000, 0x109f),
           (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x1200, 0x139f), (0x13a0, 0x13ff), (0x1680, 0x16ff), (0x1780, 0x17ff), (0x1800, 0x18af), (0x1e00, 0x1eff), (0x1f00, 0x1fff), (0x2000, 0x206f),
           (0x2070, 0x218f), (0x2190, 0x23ff), (0x2460, 0x24ff), (0x2600, 0x27bf), (0x2e80, 0x2fdf), (0x3000, 0x303f), (0x3040, 0x30ff), (0x3130, 0x318f), (0x3200, 0x33ff), (0x3400, 0x3fff),
           (0x4e00, 0x9fff), (0xa000, 0xa4cf), (0xa640, 0xa7ff), (0xa840, 0xabff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfb00, 0xfb4f), (0xfb50, 0xfdff), (0xfe00, 0xfe6f), (0xff00, 0xffef),
           (0x10000, 0x100ff), (0x10300, 0x104ff), (0x10a00, 0x10aff), (0x11000, 0x112ff), (0x13000, 0x1345f), (0x16f00, 0x16fff), (0x1b000, 0x1b2ff), (0x1d100, 0x1d1ff), (0x1d400, 0x1d7ff), (0x1e900, 0x1eeff),
           (0x1f100, 0x1f2ff), (0x1f300, 0x1faff), (0x20000, 0x20fff), (0x2f800, 0x2fa1d), (0x30000, 0x301ff), (0xe0000, 0xe01ef), (0xf0000, 0xf00ff)]
MARKS = [0x300, 0x301, 0x308, 0x323, 0x327, 0x302e, 0x302f, 0x340, 0x341, 0x343, 0x344, 0x345, 0x34f, 0x5b0, 0x64b, 0x3099, 0x309a, 0x93c, 0x94d, 0x9be, 0xa953, 0xd3f, 0xe38, 0xe48, 0xf71, 0xf72,
         0x1161, 0x11a8, 0x1b35, 0x1b44, 0x200d, 0x20dd, 0xfe0f, 0xfe0e, 0x1d165, 0x1d16e, 0x16ff0, 0xe0041, 0xe0100, 0x1f3fb]
CONTROLS = ["\0", "\x01", "\x08", "\t", "\n", "\x0b", "\x0c", "\r", "\r\n", "\x1b", "\x1f", "\x7f", "\x85", "\xa0", "\xad", "\u061c", "\u0600", "\u1680", "\u180e", "\u2000", "\u200b", "\u200c", "\u200e", "\u200f", "\u2028", "\u2029",
            "\u202a", "\u202e", "\u2060", "\u2066", "\u3000", "\ufeff", "\ufff9", "\ufffc", "\ufffd", "\uffff", "\U000e0001", "\U0001d173", "\U00013430", "\U0010ffff", "\ue000"]
EMOJI = ["😀", "❤️", "👩‍👩‍👧", "👨🏽‍💻", "🏳️‍🌈", "🇫🇷", "🇩🇪🇯", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "©\u200d©", "☎️", "👁️‍🗨️"]
ADDED = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[ SEP]", "[mask]", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<|endoftext|>", "<|begin_of_text|>", "<bos>", "<eos>", "[Q] ", "[Q]", "[D] ", "<0x41>", "##a", "##", "▁", "▁▁", "Ġ", "Ċ", "<table>", "<sep>", "<cls>", "<eop>"]
WORDS = ["the", "The", "HTTP", "don't", "DON'T", "we'll", "they'Re", "it'ſ", "I'M", "'s", "''", "``", "...", "--", "3.14", "1,000", "2024", "U.S.A.", "e.g.", "naïve", "Straße", "İstanbul", "ΣΑΣ", "Ångström", "ﬁne", "½", "①", "ａＢ", "ｶﾞ", "㍿", "﷽", "각", "한국어",
         "\u1100\u1161\u11a8", "日本語", "中文", "かが", "हिन्दी", "क्ष", "ไทย", "العربية", "עברית", "Москва", "ქართული", "አማርኛ", "ខ្មែរ", "Việt", "ǅ", "ß", "Ω", "K", "Å", "https://example.org/a_b?c=d#e", "foo_bar", "x²", "#tag", "@user", "a@b.co"]


def fuzz(n):
    """Random strings that mix scripts, marks, emoji, controls, white space, added tokens and long words, some within
    lines of the collections."""
    r = random.Random(arg.seed)
    real = [t[:120] for t in r.sample(list(texts()), 20000)]

    def char():
        lo, hi = base if r.random() < .7 else r.choice(SCRIPTS)
        return chr(r.randint(lo, hi))

    def part():
        k = r.random()
        if k < .30:
            return r.choice(WORDS) + r.choice(["", " "])
        if k < .62:
            return "".join(char() for _ in range(r.choice([1, 2, 3, 5, 8])))
        if k < .72:
            return char() + "".join(chr(r.choice(MARKS)) for _ in range(r.choice([1, 1, 2, 3, 6])))
        if k < .77:
            return r.choice(EMOJI)
        if k < .82:
            return r.choice(CONTROLS)
        if k < .87:
            return r.choice(ADDED)
        if k < .94:
            return " " * r.choice([1, 1, 1, 2, 3, 7])
        if k < .96:
            return r.choice(CONTROLS + ["\n", " "]) * r.randint(2, 5)
        while True:
            c = r.randint(0, 0x10ffff)
            if not 0xd800 <= c < 0xe000:
                return chr(c)

    for _ in range(n):
        base = r.choice(SCRIPTS)
        s = "".join(part() for _ in range(r.choice([0, 1, 2, 4, 8, 12, 16])))
        k = r.random()
        if k < .25:  # within real text
            t = r.choice(real)
            i = r.randint(0, len(t))
            s = t[:i] + s[:30] + t[i:]
        elif k < .26:  # long words
            s += (part() or "x") * r.randint(20, 300)
        elif k < .28:
            s = "".join(char() for _ in range(r.randint(90, 210)))
        yield s


def main():
    work = tempfile.mkdtemp()
    exe = work + "/dump"
    subprocess.check_call(["go", "build", "-o", exe, "./encoder/tokenizer/_gen/dump"])
    every = list(texts())
    r = random.Random(5)
    shapes.texts, shapes.scale = [t[:200] for t in r.sample(every, 8000)], 8
    lines = every if arg.fuzz is None else list(fuzz(arg.fuzz))
    if arg.sample:
        lines = r.sample(lines, min(arg.sample, len(lines)))
    del every
    print(f"tokenizers {tokenizers.__version__}, {len(lines)} different texts, {sum(len(l.encode()) for l in lines)} bytes", flush=True)
    with open(work + "/texts", "wb") as f:
        for l in lines:
            b = l.encode()
            f.write(struct.pack("<I", len(b)) + b)
    todo = list(candidates(work))
    if arg.only:
        wanted = arg.only.split(",")
        todo = [c for c in todo if any(w in c[0] for w in wanted)] + [(w, lambda w=w: Tokenizer.from_file(w), [w]) for w in wanted if w.endswith(".json") and os.path.exists(w)]
    failed = False
    for name, make, args in todo:
        start = time.time()
        tok = make()
        library = isinstance(tok, sentencepiece.SentencePieceProcessor)
        if not library:
            tok.no_truncation()
            tok.no_padding()
        p = subprocess.Popen([exe] + args, stdin=open(work + "/texts", "rb"), stdout=subprocess.PIPE)
        bad, shown, tokens = collections.Counter(), 0, 0
        for at in range(0, len(lines), 1000):
            batch = lines[at:at + 1000]
            want = [(ids, None) for ids in tok.encode(batch)] if library else [(e.ids, e.offsets) for e in tok.encode_batch(batch)]
            for line, (ids, offsets) in zip(batch, want):
                n, = struct.unpack("<I", p.stdout.read(4))
                v = struct.unpack(f"<{3 * n}i", p.stdout.read(12 * n))
                tokens += n
                got = list(v[0::3])
                if library and "\0" in line:  # its Python interface ends texts there
                    continue
                kind = "ids" if got != ids else None
                if not kind and offsets is not None and list(zip(v[1::3], v[2::3])) != offsets:
                    kind = "offsets"
                if kind:
                    bad[kind] += 1
                    if shown < 5:
                        shown += 1
                        where = list(zip(v[1::3], v[2::3]))
                        print(kind, ascii(line)[:300], [(a, b) for a, b in zip(zip(got, where), zip(ids, offsets or where)) if a != b][:3], len(got), len(ids))
        assert p.stdout.read() == b"" and p.wait() == 0, name
        failed = failed or bool(bad)
        ids, offsets = (f"{bad[k] * 1e6 / len(lines):.1f}" for k in ("ids", "offsets"))
        print(f"{name}: per million texts ids differ in {ids}{'' if library else f', offsets in {offsets}'} ({tokens} tokens, {time.time() - start:.0f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
