"""Writes testdata/tiny: a small MeCab dictionary of invented words, compiled by MeCab itself (fugashi-build-dict), and
testdata/tiny.json with the words that MeCab finds with it; and testdata/unidic.json with those of unidic-lite 1.0.8.

    python encoder/japanese/_gen/tiny.py
"""
import json, os, random, shutil, subprocess, tempfile, unicodedata
import fugashi, unidic_lite

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testdata")
r = random.Random(4)
work = tempfile.mkdtemp()
CONTEXTS = 7
CATEGORIES = ["DEFAULT", "SPACE", "KANJI", "HIRAGANA", "KATAKANA", "ALPHA", "NUMERIC", "SYMBOL", "GREEK"]


def write(name, lines):
    with open(os.path.join(work, name), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


context = lambda: r.randrange(CONTEXTS)
write("char.def", ["DEFAULT 0 1 0", "SPACE 0 1 0", "KANJI 0 0 2", "HIRAGANA 0 1 2", "KATAKANA 1 1 0", "ALPHA 1 1 0", "NUMERIC 1 1 0", "SYMBOL 1 1 3", "GREEK 0 0 15",
                   "0x0020 SPACE", "0x000A SPACE", "0x0009 SPACE", "0x4E00..0x9FA5 KANJI", "0x3041..0x309F HIRAGANA", "0x30A1..0x30FF KATAKANA", "0x30FC KATAKANA HIRAGANA",
                   "0x0041..0x005A ALPHA", "0x0061..0x007A ALPHA", "0x0030..0x0039 NUMERIC", "0x4E00 KANJI NUMERIC", "0x0021..0x002F SYMBOL", "0x3001..0x3002 SYMBOL", "0x0391..0x03C9 GREEK ALPHA"])
write("unk.def", [f"{c},{context()},{context()},{r.randint(500, 5000)},unknown" for c in CATEGORIES for _ in range(r.randint(1, 3))])
write("matrix.def", [f"{CONTEXTS} {CONTEXTS}"] + [f"{i} {j} {r.randint(-2000, 2000) // 500 * 500}" for i in range(CONTEXTS) for j in range(CONTEXTS)])
write("dicrc", ["cost-factor = 700", "max-grouping-size = 6", "bos-feature = BOS/EOS", "eval-size = 1", "unk-eval-size = 1", "config-charset = UTF-8", "dictionary-charset = UTF-8"])
alphabet = "あいうえおかきアイウーン一二三日本語人ab1α、"
words = {"".join(r.choice(alphabet) for _ in range(r.choice([1, 1, 2, 2, 3, 4, 6]))) for _ in range(250)}
write("words.csv", [f"{w},{context()},{context()},{r.randint(-1000, 6000) // 250 * 250},known" for w in sorted(words) for _ in range(r.choice([1, 1, 1, 2, 4])) if w[0] != "#"])
for name in "left-id.def", "right-id.def":
    write(name, [f"{i} c{i}" for i in range(CONTEXTS)])
write("rewrite.def", ["[unigram rewrite]", "*\t$1", "[left rewrite]", "*\t$1", "[right rewrite]", "*\t$1"])
write("pos-id.def", ["* 0"])
write("feature.def", ["UNIGRAM U:%F[0]"])
out = os.path.join(here, "tiny")
os.makedirs(out, exist_ok=True)
fugashi.build_dictionary(f"mecab-dict-index -d {work} -o {out} -f utf8 -t utf8")
shutil.copy(work + "/dicrc", out)


def found(dictionary, texts):
    tagger = fugashi.GenericTagger(f'-r "{os.devnull}" -d "{dictionary}"')
    return [dict(text=t, words=[w.surface for w in tagger(t)]) for t in texts]


texts = ["", " ", "\n a", "a ", "a" * 40, "あ" * 40, "ア" * 6, "ア" * 7, "α" * 20, "\uffff\uffff", "😀あ😀", "\x01\x02", "1一二1", "ーーあー"]
for _ in range(400):
    texts.append("".join(r.choice([r.choice(alphabet), r.choice(sorted(words)), r.choice(" \n\t"), r.choice("漢字ぬヌzZ9!/。Ω一é\u3000")]) for _ in range(r.choice([1, 3, 8, 20]))))
with open(here + "/tiny.json", "w", encoding="utf-8") as f:
    json.dump(found(out, texts), f, ensure_ascii=False, separators=(",", ":"))

SENTENCES = """すもももももももものうち
東京都に住んでいます。
日本語の文章を単語に分けるのは、思ったより難しい。
後期の相互作用モデルは、質問と文書のトークンごとのベクトルを比べます。
検索エンジンは何百万もの文書から答えを探し出す。
２０２４年１０月３日（木）、ＡＢＣ社は新製品を発表しました！
ｶﾞｯｺｳでプログラミングを学ぶ
㍿ゴルベルトの代表は誰ですか？
「吾輩」という言葉は、今ではあまり使われない。
彼女は静かに窓を開けて、外の空気を吸い込んだ。
https://example.org/検索?q=ことば を見てください
１，２３４円（税込）でした。。。
コーヒーを飲みながら、ゆっくり本を読むのが好きだ
外国人参政権
きゃりーぱみゅぱみゅ
ｗｗｗｗｗ草
今日は、いい天気ですね。  明日は雨かもしれません。
Goで書かれたColBERTの実装は、CPUだけで速く動く。
𠮷野家で牛丼を食べた😀
αとβとγの和は180°である
Что такое поиск?
가나다라 한국어 문장
東京特許許可局許可局長
いろはにほへとちりぬるを""".split("\n")
with open(here + "/unidic.json", "w", encoding="utf-8") as f:
    json.dump(found(unidic_lite.DICDIR, [unicodedata.normalize("NFKC", s) for s in SENTENCES]), f, ensure_ascii=False, indent=0)
