"""Compares this package with MeCab (fugashi), and the tokens with BertJapaneseTokenizer when transformers is there, on
every Japanese text of the shared collections or on random ones.

    python encoder/japanese/_gen/compare.py ../shared/data [--dictionary DIR] [--fuzz NUMBER] [--tokens]

Without --dictionary it is that of the package unidic-lite. It ends with status 1 when anything differs.
"""
import argparse, io, json, os, random, struct, subprocess, sys, tempfile, time, unicodedata
import fugashi, zstandard

arg = argparse.ArgumentParser()
arg.add_argument("root")
arg.add_argument("--dictionary")
arg.add_argument("--fuzz", type=int)
arg.add_argument("--tokens", action="store_true")
arg.add_argument("--vocabulary")
arg = arg.parse_args()
if not arg.dictionary:
    import unidic_lite
    arg.dictionary = unidic_lite.DICDIR
SOURCES = ["ir/jaquad-dev/corpus", "ir/jaquad-dev/queries", "ir/jsquad-valid/corpus", "ir/jsquad-valid/queries", "train/jaquad/pairs", "train/enja-parallel/pairs", "train/tldr-crosslingual/pairs"]


def texts():
    seen = set()
    for name in SOURCES:
        with open(f"{arg.root}/{name}.jsonl.zst", "rb") as f:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(f), encoding="utf-8"):
                for k, v in json.loads(line).items():
                    if isinstance(v, str) and k not in ("_id", "group", "lang") and v not in seen:
                        seen.add(v)
                        yield v


def fuzz(n):
    r = random.Random(1)
    real = list(texts())
    ranges = [(0x3041, 0x3096)] * 4 + [(0x30a1, 0x30fc)] * 3 + [(0x4e00, 0x9fa5)] * 3 + [(0x20, 0x7e)] * 2 + [(0xff01, 0xff9f), (0x3000, 0x301f), (0x370, 0x3ff), (0x400, 0x45f), (0xa0, 0x17f), (0x2000, 0x22ff), (0x1, 0x20), (0xac00, 0xad00), (0x1f300, 0x1f600), (0x20000, 0x20100), (0xe000, 0xffff), (0x300, 0x345)]
    for _ in range(n):
        s = ""
        for _ in range(r.choice([1, 2, 5, 10])):
            k = r.random()
            if k < .4:
                t = r.choice(real)
                i = r.randrange(len(t)) if t else 0
                s += t[i:i + r.randint(1, 12)]
            elif k < .5:
                s += r.choice([" ", "  ", "\u3000", "\n", "\t", "123", "１２３", "ABC", "ー", "々", "、", "。", "…"]) * r.choice([1, 1, 1, 2, 30])
            else:
                lo, hi = r.choice(ranges)
                s += "".join(chr(r.randint(lo, hi)) for _ in range(r.choice([1, 2, 4, 30])))
        yield s


def main():
    work = tempfile.mkdtemp()
    exe = work + "/dump"
    subprocess.check_call(["go", "build", "-o", exe, "./encoder/japanese/_gen/dump"])
    every = list(texts()) if arg.fuzz is None else list(fuzz(arg.fuzz))
    every = [t.replace("\0", "") for t in every]
    # BertJapaneseTokenizer normalises before MeCab sees the text; its tokens are of the text as it stands.
    lines = every if arg.tokens else sorted({unicodedata.normalize("NFKC", t) for t in every})
    with open(work + "/texts", "wb") as f:
        for l in lines:
            b = l.encode("utf-8", "replace")
            f.write(struct.pack("<I", len(b)) + b)
    modes = [("words", [])]
    if arg.tokens:
        vocabulary = arg.vocabulary or work + "/vocab.txt"
        if not arg.vocabulary:  # all characters, and words and continuations of the texts at random
            r, known = random.Random(1), set()
            for l in r.sample(every, min(4000, len(every))):
                known.update(unicodedata.normalize("NFKC", l))
                for w in unicodedata.normalize("NFKC", l).split():
                    for _ in range(20):
                        i = r.randrange(len(w))
                        known.update([w[i:i + r.randint(1, 4)], "##" + w[i:i + r.randint(1, 3)]])
            with open(vocabulary, "w", encoding="utf-8", newline="\n") as f:
                f.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + sorted(k for k in known if k.strip() == k and k.isprintable())) + "\n")
        modes = [("wordpiece", [vocabulary]), ("character", [vocabulary, "character"])]
    failed = False
    for mode, args in modes:
        start = time.time()
        out = subprocess.run([exe, arg.dictionary] + args, stdin=open(work + "/texts", "rb"), stdout=subprocess.PIPE, check=True).stdout
        ours = time.time() - start
        start = time.time()
        if mode == "words":
            tagger = fugashi.GenericTagger(f'-r "{os.devnull}" -d "{arg.dictionary}"')
            want = [[w.surface for w in tagger(l)] for l in lines]
        else:
            from transformers import BertJapaneseTokenizer
            tok = BertJapaneseTokenizer(args[0], word_tokenizer_type="mecab", subword_tokenizer_type=mode, do_lower_case=False, mecab_kwargs={"mecab_dic": None, "mecab_option": f'-r "{os.devnull}" -d "{arg.dictionary}"'})
            want = [tok(l)["input_ids"] for l in lines]
        theirs = time.time() - start
        at, bad, total, size = 0, 0, 0, 0
        for l, w in zip(lines, want):
            n, = struct.unpack_from("<I", out, at)
            k = 2 if mode == "words" else 1
            v = struct.unpack_from(f"<{k * n}I", out, at + 4)
            at += 4 + 4 * k * n
            b = l.encode("utf-8", "replace")
            got = [b[v[i]:v[i + 1]].decode() for i in range(0, 2 * n, 2)] if mode == "words" else list(v)
            total += n
            size += len(b)
            if got != w:
                bad += 1
                if bad <= 5:
                    i = next((i for i, (x, y) in enumerate(zip(got, w)) if x != y), min(len(got), len(w)))
                    print(ascii(l[:80]), i, got[max(0, i - 2):i + 3], w[max(0, i - 2):i + 3], len(got), len(w))
        assert at == len(out)
        failed = failed or bad > 0
        print(f"{mode}: {bad} of {len(lines)} texts differ ({total} {'words' if mode == 'words' else 'tokens'}, {size} bytes; {ours:.1f} s, reference {theirs:.1f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
