#!/usr/bin/env python3
"""Markers and skiplists of ColBERT-XM with the real XLM-R tokenizer: xlmr_markers.py TOKENIZER.json OUT.json
stanford: colbert-ai 0.2 (QueryTokenizer.tensorize, DocTokenizer.tensorize, ColBERT's skiplist); pylate: PyLate 1.6's
skiplist, convert_tokens_to_ids; native: sentence-transformers 6.2's, which leaves out what is no token.
Made with transformers 5.3.0."""
import json, string, sys
from transformers import PreTrainedTokenizerFast

t = PreTrainedTokenizerFast(tokenizer_file=sys.argv[1], bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
                            pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
marks = list(string.punctuation)
stanford = sorted({t.encode(c, add_special_tokens=False)[0] for c in marks})
pylate = sorted({t.convert_tokens_to_ids(c) for c in marks})
vocab = t.get_vocab()
native = sorted({vocab[c] for c in marks if c in vocab})
q, d = t.convert_tokens_to_ids("[unused0]"), t.convert_tokens_to_ids("[unused1]")
cases = []
for text in ["Which planet is known as the Red Planet?", "¿Dónde está la biblioteca? ¡Aquí!", "東京の人口は?", "كم عدد سكان القاهرة؟", "a - b (c) \"d\" ~ e…",
             "Hvor ligger Bergen, og hvem bor der?", "x " * 60]:
    e = t(text, padding="max_length", truncation=True, max_length=31)["input_ids"]
    ids = e[:1] + [q] + e[1:]
    query = [t.mask_token_id if i == t.pad_token_id else i for i in ids]
    e = t(text, truncation=True, max_length=255)["input_ids"]
    doc = e[:1] + [d] + e[1:]
    cases.append(dict(text=text, query=query, document=doc, kept=[i for i in doc if i not in stanford]))
json.dump(dict(query_marker=q, document_marker=d, stanford=stanford, pylate=pylate, native=native, cases=cases), open(sys.argv[2], "w"), ensure_ascii=False)
