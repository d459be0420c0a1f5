"""Times Hugging Face tokenizers on one thread, for comparison with BenchmarkEncode or examples/bench -case tokenize.

    python encoder/tokenizer/_gen/speed.py ../shared/data TEXTS.jsonl [MEGABYTES]

TEXTS.jsonl has one object a line with a text or a title and a text. Each tokenizer encodes batches of texts, with
offsets; the best of three passes counts, by the time of the processor.
"""
import json, os, sys, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
root, path, limit = sys.argv[1], sys.argv[2], float(sys.argv[3] if len(sys.argv) > 3 else 4) * 1e6
sys.argv = [sys.argv[0], root]
import compare

texts, size = [], 0
for line in open(path, encoding="utf-8"):
    d = json.loads(line)
    text = " ".join(filter(None, (d.get("title"), d.get("text"))))
    texts.append(text)
    size += len(text.encode())
    if size > limit:
        break
for name, make, _ in compare.candidates(None):
    if name in ("all-minilm-l6-v2 tokenizer.json", "bert-base-multilingual-cased vocab.txt", "xlm-roberta tokenizer.json", "roberta-base merges.txt", "gpt2 merges.txt"):
        start = time.process_time()
        tok = make()
        load = time.process_time() - start
        best = 0
        for _ in range(3):
            start, tokens = time.process_time(), 0
            for at in range(0, len(texts), 64):
                tokens += sum(len(e) for e in tok.encode_batch(texts[at:at + 64]))
            best = max(best, size / (time.process_time() - start))
        print(json.dumps(dict(bench="tokenize", library="tokenizers " + compare.tokenizers.__version__, tokenizer=name, threads=1, load_ms=round(load * 1e3), mb_per_s=round(best / 1e6, 2), tokens_per_s=round(best / size * tokens))), flush=True)
