"""Writes unicode_tables.go: the character properties that Hugging Face tokenizers 0.23.3 works with.

The reference implementation mixes several Unicode versions (its category tables are of Unicode 8, its NFD of
Unicode 12, lower-casing and white space of Unicode 17, its regular expressions have yet another), so the properties are measured: every code point goes
through the components of the Python package.

    python encoder/tokenizer/_gen/unicode.py > encoder/tokenizer/unicode_tables.go
"""
import struct
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

(CONTROL, SPACE, PUNCT, MN, CJK, NFD, UPPER, WORD, CCC, JOIN, PREPEND, BREAK, PICTO, LETTER, NUMBER, NUMERIC, MARK,
 NFCMAYBE, NFKC) = (1 << i for i in range(19))


def bert(**on):
    flags = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**flags, **on})


clean, cjk, strip, lower, nfd = bert(clean_text=True), bert(handle_chinese_chars=True), bert(strip_accents=True), bert(lowercase=True), normalizers.NFD()
pre = pre_tokenizers.BertPreTokenizer()
tok = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
tok.add_tokens([AddedToken("qqq", single_word=True, normalized=False)])
qqq = tok.token_to_id("qqq")



def charsmap():
    """A charsmap of single bytes: 'a' becomes X, any byte from 0x80 on Y. Precompiled replaces a whole grapheme
    cluster of less than 6 bytes by what its first byte becomes, so that it shows where clusters end."""
    units = [0] * 1024
    units[0] = 256 << 10
    for c in [ord("a"), *range(0x80, 0x100)]:
        units[256 ^ c] = c | 1 << 8 | ((256 ^ c) ^ (512 + c)) << 10
        units[512 + c] = 1 << 31 | (2 if c == ord("a") else 0)
    trie = struct.pack("<1024I", *units)
    return struct.pack("<I", len(trie)) + trie + b"Y\0X\0"


def matches(pattern):
    """The code points that the regular expression library (Oniguruma) counts to a class."""
    every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    left = set()
    for piece, _ in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str("".join(map(chr, every))):
        left.update(map(ord, piece))
    return {c for c in every if c not in left}


clusters = normalizers.Precompiled(charsmap())
nfc, nfkc, nfkd, accents, digits = normalizers.NFC(), normalizers.NFKC(), normalizers.NFKD(), normalizers.StripAccents(), pre_tokenizers.Digits(True)
letters, numbers, spaces, whitespace = matches(r"\p{L}"), matches(r"\p{N}"), matches(r"\s"), pre_tokenizers.Whitespace()
flags, lowers, pairs = [0] * 0x110000, [], []
for cp in range(0x110000):
    if 0xD800 <= cp < 0xE000:
        continue
    c, f = chr(cp), 0
    if clean.normalize_str("a" + c + "b") == "ab":
        f |= CONTROL
    words = [w for w, _ in pre.pre_tokenize_str("a" + c + "b")]
    if words == ["a", "b"]:
        f |= SPACE
    elif words == ["a", c, "b"]:
        f |= PUNCT
    if cjk.normalize_str(c) == " " + c + " ":
        f |= CJK
    d = nfd.normalize_str(c)
    if d != c:
        f |= NFD
    elif strip.normalize_str(c) == "":
        f |= MN
    # U+0345 has the largest combining class, so that it moves behind every other non-starter.
    if d == c and (cp == 0x345 or nfd.normalize_str("\u0345" + c)[0] != "\u0345"):
        f |= CCC
    l = lower.normalize_str(c)
    if l != c:
        f |= UPPER
        assert l[1:] in ("", "\u0307") and (len(l) == 1 or cp == 0x130)
        lowers.append((cp, ord(l[0]) - cp))
    if qqq not in tok.encode("qqq" + c, add_special_tokens=False).ids:
        f |= WORD
    assert (cp in spaces) == bool(f & SPACE), hex(cp)
    assert (whitespace.pre_tokenize_str(c) == []) == bool(f & SPACE), hex(cp)
    assert (len(whitespace.pre_tokenize_str("a" + c)) == 1) == bool(f & (SPACE | WORD)), hex(cp)
    if cp >= 0x80 and clusters.normalize_str("a" + c) == "X":
        f |= JOIN
    if cp >= 0x80 and clusters.normalize_str(c + "a") == "Y":
        f |= PREPEND
    if cp < 0x80:
        alone = cp < 32 or cp == 127
    elif cp < 0x10000:
        alone = clusters.normalize_str(c + "\u0301") != "Y"
    else:  # a cluster that starts with it is never short, but the marks after it may be one
        alone = clusters.normalize_str(c + "\u0301\u0301") == "YY"
    if alone:
        f |= BREAK
    if cp >= 0x80 and not f & JOIN and clusters.normalize_str("\xa9\u200d" + c) == "YYY":
        f |= PICTO
    if cp in letters:
        f |= LETTER
    if cp in numbers:
        f |= NUMBER
    if len(digits.pre_tokenize_str("-" + c)) == 2:
        f |= NUMERIC
    if accents.normalize_str(c) == "":
        f |= MARK
    if nfc.normalize_str(c) != c or f & CCC or 0x1161 <= cp <= 0x1175 or 0x11a7 <= cp <= 0x11c2:
        f |= NFCMAYBE
    if nfkc.normalize_str(c) != c:
        f |= NFKC
    else:
        assert nfkd.normalize_str(c) == d
    if d != c and nfc.normalize_str(c) == c and not 0xac00 <= cp <= 0xd7a3:
        first = nfc.normalize_str(d[:-1])
        assert len(first) == 1 and nfc.normalize_str(first + d[-1]) == c
        pairs.append((ord(first), ord(d[-1]), cp))
    flags[cp] = f
for _, second, _ in pairs:
    flags[second] |= NFCMAYBE

# The code points of one class share their flags; a page is 128 code points, equal pages are stored once.
classes = sorted(set(flags))
pages, index = {}, []
for at in range(0, 0x110000, 128):
    page = bytes(classes.index(f) for f in flags[at:at + 128])
    index.append(pages.setdefault(page, len(pages)))
assert len(pages) < 65536 and len(classes) < 256

# Runs of letters with equal distance to their lower case, every step-th code point.
runs = []
for cp, d in lowers:
    if runs:
        lo, hi, step, delta = runs[-1]
        if d == delta and (cp - hi == step or (lo == hi and cp - hi <= 2)):
            runs[-1] = (lo, cp, cp - hi, delta)
            continue
    runs.append((cp, cp, 1, d))


def hexes(values, width, per=16):
    for at in range(0, len(values), per):
        yield "\t" + " ".join(f"0x{v:0{width}x}," for v in values[at:at + per])


def strings(raw, per=48):
    for at in range(0, len(raw), per):
        end = " +" if at + per < len(raw) else ""
        yield '\t"' + "".join(f"\\x{b:02x}" for b in raw[at:at + per]) + '"' + end


print("// Code generated by _gen/unicode.py from tokenizers %s; DO NOT EDIT." % tokenizers.__version__)
print("\npackage tokenizer\n")
print("// classFlags are the flags of a class of code points.")
print("var classFlags = [%d]runeFlags{" % len(classes))
print("\n".join(hexes(classes, 5)))
print("}\n")
print("// pageIndex gives the page of each 128 code points, a little-endian uint16 each.")
print('const pageIndex = "" +')
print("\n".join(strings(b"".join(i.to_bytes(2, "little") for i in index))))
print("\n// pageClasses holds %d pages of 128 classes." % len(pages))
print('const pageClasses = "" +')
print("\n".join(strings(b"".join(pages))))
print("\n// lowerRuns maps capital letters to small ones: lo, lo+step ... hi move by delta.")
print("var lowerRuns = [...]lowerRun{")
for lo, hi, step, delta in runs:
    print(f"\t{{0x{lo:x}, 0x{hi:x}, {step}, {delta}}},")
print("}\n")
print("// compositions are the pairs of code points that NFC makes one, but for Hangul: first, second, both in one.")
print("var compositions = [...][3]rune{")
for a, b, c in sorted(pairs):
    print(f"\t{{0x{a:x}, 0x{b:x}, 0x{c:x}}},")
print("}")
