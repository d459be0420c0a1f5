"""Compares this package with Hugging Face tokenizers on every text of the shared collections, and on random ones.

    python encoder/tokenizer/_gen/oracle.py ../shared/data [--fuzz N]

Prints the number of texts whose ids or offsets differ, and the first few of them.
"""
import collections, glob, gzip, io, json, os, random, struct, subprocess, sys, tempfile, time

import zstandard
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = sys.argv[1]


def from_vocab(path, cased):
    t = Tokenizer(models.WordPiece.from_file(path, unk_token="[UNK]"))
    t.add_special_tokens([s for s in ("[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]") if t.token_to_id(s) is not None])
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=not cased)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    return t


def whole(t):
    t.no_truncation()
    t.no_padding()
    return t


def load(name):
    d = f"{ROOT}/tokenizers/{name}"
    if os.path.exists(d + "/merges.txt"):
        t = Tokenizer(models.BPE.from_file(d + "/vocab.json", d + "/merges.txt"))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        i = t.token_to_id
        t.add_special_tokens([AddedToken(s, lstrip=s == "<mask>", special=True, normalized=False) for s in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>") if i(s) is not None])
        if i("<s>") is not None:
            t.post_processor = processors.RobertaProcessing(("</s>", i("</s>")), ("<s>", i("<s>")), add_prefix_space=False)
        return t, [d + "/vocab.json"]
    if name.endswith(".json"):
        return whole(Tokenizer.from_file(name)), [name]
    if os.path.exists(d + "/tokenizer.json"):
        return whole(Tokenizer.from_file(d + "/tokenizer.json")), [d + "/tokenizer.json"]
    if os.path.exists(d + "/tokenizer.json.gz") and not os.path.exists(d + "/vocab.txt"):
        return whole(Tokenizer.from_str(gzip.open(d + "/tokenizer.json.gz", "rt", encoding="utf-8").read())), [d + "/tokenizer.json.gz"]
    cased = name != "bert-base-uncased"
    return from_vocab(d + "/vocab.txt", cased), [d + "/vocab.txt", "cased" if cased else "uncased"]


def texts():
    for path in sorted(glob.glob(f"{ROOT}/ir/*/*.jsonl.zst") + glob.glob(f"{ROOT}/train/*/*.jsonl.zst")):
        with open(path, "rb") as f:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(f), encoding="utf-8"):
                for k, v in json.loads(line).items():
                    if isinstance(v, str) and k not in ("_id", "group", "lang") and v:
                        yield from v.split("\n")


def blocks(n):
    """Random strings that mix scripts, marks, controls, white space and special tokens."""
    r = random.Random(7)
    marks = [0x300, 0x301, 0x302e, 0x302f, 0x345, 0x34f, 0x3099, 0x94d, 0xa953, 0x1d165, 0x200d, 0xfe0f, 0xe0041, 0x16ff0, 0x1b44]
    odd = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[ SEP]", "##a", "##", " ", "  ", "\t", "\n", "\r\n", "\0", "\ufffd", "\xad",
           "\u200b", "\ufeff", "\x85", "\u2028", "\u3000", "\x0b", "İ", "ß", "Σ", "ﬁ", "Å", "한", "½", "…", "①", "ａ", "ｶﾞ", "㍿", "▁", "<unk>", "<s>", "<mask>", "\u1100\u1161\u0301", "\u0915\u094d\u0937", "\u0600", "©\u200d©", "\u0301", "\u3099", "か", "\x01", "각", "中", "豈", "\u0f77", "\u0344"]
    for _ in range(n):
        s = []
        base = r.choice([0x20, 0xc0, 0x370, 0x400, 0x590, 0x600, 0x900, 0xe00, 0x1100, 0x1e00, 0x2000, 0x2e00, 0x3000, 0x4e00, 0xa000, 0xac00, 0xf900, 0xfb00, 0x10000, 0x11000, 0x1d100, 0x1f300, 0x20000, 0x2f800, 0xe0000])
        for _ in range(r.randint(0, 40)):
            k = r.random()
            if k < .45: s.append(chr(r.randint(0x20, 0x7e)))
            elif k < .75:
                c = base + r.randint(0, 255)
                s.append(chr(c))
            elif k < .83: s.append(chr(r.choice(marks)))
            elif k < .93: s.append(r.choice(odd))
            else:
                c = r.randint(0, 0x10ffff)
                if not 0xd800 <= c < 0xe000: s.append(chr(c))
        yield "".join(s)
    for cp in range(0x110000):
        if not 0xd800 <= cp < 0xe000:
            yield "a" + chr(cp) + "b " + chr(cp) + "\u0301x"


def main():
    exe = tempfile.mktemp()
    subprocess.check_call(["go", "build", "-o", exe, "./encoder/tokenizer/_gen/dump"])
    lines = list(texts()) if "--fuzz" not in sys.argv else list(blocks(int(sys.argv[sys.argv.index("--fuzz") + 1])))
    names = sys.argv[sys.argv.index("--tokenizers") + 1].split(",") if "--tokenizers" in sys.argv else [
        "all-minilm-l6-v2", "bert-base-uncased", "bert-base-cased", "bert-base-chinese", "bert-base-multilingual-cased"]
    if "--sample" in sys.argv:
        n = int(sys.argv[sys.argv.index("--sample") + 1])
        lines = random.Random(5).sample(lines, min(n, len(lines)))
    print(len(lines), "texts", sum(len(l.encode()) for l in lines), "bytes")
    with tempfile.NamedTemporaryFile(delete=False) as f:
        for l in lines:
            b = l.encode()
            f.write(struct.pack("<I", len(b)) + b)
    for name in names:
        tok, args = load(name)
        p = subprocess.Popen([exe] + args, stdin=open(f.name, "rb"), stdout=subprocess.PIPE)
        bad, shown, start = collections.Counter(), 0, time.time()
        for at in range(0, len(lines), 2000):
            batch = lines[at:at + 2000]
            for l, e in zip(batch, tok.encode_batch_fast(batch) if False else tok.encode_batch(batch)):
                n, = struct.unpack("<I", p.stdout.read(4))
                v = struct.unpack(f"<{3 * n}i", p.stdout.read(12 * n))
                ids, offs = list(v[0::3]), list(zip(v[1::3], v[2::3]))
                kind = "ids" if ids != e.ids else "offsets" if offs != e.offsets else None
                if kind:
                    bad[kind] += 1
                    if shown < 10:
                        shown += 1
                        print(kind, ascii(l)[:300], [(a, b) for a, b in zip(zip(ids, offs), zip(e.ids, e.offsets)) if a != b][:3], len(ids), len(e.ids))
        print(f"{name}: ids differ in {bad['ids']}, offsets in {bad['offsets']} of {len(lines)} texts ({time.time() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
