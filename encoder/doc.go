// Package encoder turns texts into token vectors with a ColBERT checkpoint: one unit vector per token, which
// late interaction compares one by one (Khattab and Zaharia, "ColBERT", SIGIR 2020).
//
//	m, err := encoder.Open("/models/colbertv2.0", nil)
//	defer m.Close()
//	q, err := m.EncodeQuery(ctx, "how do tides work", nil)
//	docs, err := m.EncodeDocuments(ctx, texts, nil)
//	score, err := maxsim.Score(q.Vectors, docs[0].Vectors)
//
// Open reads folders in the plain Hugging Face, the PyLate and the Stanford (colbert-ai) layout and follows the
// checkpoint's own settings: query and document markers, query expansion with MASK tokens, attention to
// them, the punctuation skiplist, lengths, projections. Options replace single settings. Package golbertmini
// holds a small model that needs no files.
//
// A call tokenises all its texts, sorts them by length, packs them end to end without padding, and runs the
// groups on one goroutine per core; a single text is shared out among the cores that are idle. The results come in the
// order of the texts and depend neither on which texts were encoded together nor on the number of goroutines. Every row
// comes with its token and the token's place in the text, so that a match can be shown.
//
// Options.Precision does the matrix products in bfloat16 or int8 in place of float32: a half or a quarter of the memory,
// and a half or a third of the time on processors with instructions for them, for a small loss of exactness. Other
// precisions give other vectors: keep to one for an index and its queries where every digit counts.
//
// Models with a part for each language (XMOD, the network of ColBERT-XM) take the language of a text from TextOptions,
// from Options.Detector, or from the checkpoint's default; Model.Languages lists what there is. The part of a language
// is read from the mapped file when it is first needed. A query in one language finds documents in all.
//
// Options.PoolFactor merges near vectors of documents, as PyLate and colbert-ai do; Options.ExpansionRule makes the
// number of expansion tokens follow a query's length (JaColBERTv2.5); QueryPrompt and DocumentPrompt put an instruction
// in front of every text.
//
// Caveats. Queries and documents are encoded differently and must not be mixed up. Text beyond the model's
// length is cut off and flagged, not refused. A text that consists of skiplisted tokens only keeps them: every
// text has at least one vector. Names of special tokens in a text, such as "[SEP]", become these tokens unless
// Options.NoSpecialInText is set, as in the reference implementations. Package transformer lists the architectures;
// anything else gives ErrUnsupported.
package encoder
