"""Compares FromSentencePiece with the SentencePiece library (ids), and with the fast tokenizer that Hugging Face
transformers makes of the same file (ids and offsets), on texts of the shared collections and on random ones.

    python encoder/tokenizer/_gen/spm.py ../shared/data NUMBER
"""
import collections, glob, random, struct, subprocess, sys, tempfile
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

sys.argv = [sys.argv[0], sys.argv[1], "--import", sys.argv[2]]
import oracle


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


def fast(path):
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


def main():
    n = int(sys.argv[3])
    exe = tempfile.mktemp()
    subprocess.check_call(["go", "build", "-o", exe, "./encoder/tokenizer/_gen/dump"])
    lines = list(oracle.texts())
    lines = random.Random(9).sample(lines, min(n, len(lines))) + random.Random(9).sample(list(oracle.blocks(n)), n)
    lines = [l for l in lines if "\0" not in l]
    with tempfile.NamedTemporaryFile(delete=False) as f:
        for l in lines:
            b = l.encode()
            f.write(struct.pack("<I", len(b)) + b)
    for path in sorted(glob.glob(f"{sys.argv[1]}/tokenizers/*/*.model")):
        for mode in "native", "fast":
            out = subprocess.run([exe, path, mode], stdin=open(f.name, "rb"), stdout=subprocess.PIPE, check=True).stdout
            want = (sentencepiece.SentencePieceProcessor(model_file=path).encode(lines) if mode == "native"
                    else [(e.ids, e.offsets) for e in fast(path).encode_batch(lines)])
            at, bad, offsets, shown = 0, 0, 0, 0
            for l, w in zip(lines, want):
                k, = struct.unpack_from("<I", out, at)
                v = struct.unpack_from(f"<{3 * k}i", out, at + 4)
                at += 4 + 12 * k
                ids, offs = list(v[0::3]), list(zip(v[1::3], v[2::3]))
                wrong = ids != (w if mode == "native" else w[0])
                bad += wrong
                off = mode == "fast" and not wrong and offs != w[1]
                offsets += off
                if (wrong or off) and shown < 4:
                    shown += 1
                    print(ascii(l)[:200], ids[:40], (w if mode == "native" else w[0])[:40], [x for x in zip(offs, w[1]) if x[0] != x[1]][:3] if off else "")
            print(f"{path.split('/')[-1]} {mode}: ids differ in {bad}, offsets in {offsets} of {len(lines)} texts", flush=True)


if __name__ == "__main__":
    main()
