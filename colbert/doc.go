// Package colbert is the front door of golbert: text in, hits out. It puts an encoder, which turns a text
// into one vector per token, together with an index of such vectors on disk, and ranks documents by late
// interaction (ColBERT): every query token looks for its best match in the document, and the sum of those
// matches is the score.
//
// # Index and search
//
//	enc, err := golbertmini.Open()                        // the embedded model; encoder.Open for a checkpoint
//	ix, err := colbert.Create(ctx, "docs.golbert", enc, nil)
//	res, err := ix.Add(ctx, slices.Values(docs), nil)     // one atomic, durable commit
//	hits, err := ix.Search(ctx, "how do I wait for goroutines", 10, nil)
//	err = ix.Close()
//
// Documents have string ids of the caller's own. Adding an id again replaces the document; in one call the
// last document of an id wins. Add encodes in batches while it feeds the index, so a stream of any length
// needs bounded memory; AddFrom takes an iterator that can itself fail, such as the reader of a file. Any
// failure leaves the index as it was and names the document.
//
// Open takes the encoder again, since vectors of another model would be compared without meaning: the index
// remembers the model's name and dimension, and Open refuses another one with ErrModelMismatch.
//
// # Without an index
//
// Rerank orders the hits of any other search by exact MaxSim. Explain shows why a document matched: the
// similarity of every query token with every document token, and Explanation.Mark marks the words of a text
// that matched best, for display. SearchVectors takes query vectors made elsewhere, and MaxSim scores two
// token matrices.
//
// # Languages
//
// Encoders with a part per language (ColBERT-XM) want to know the language of a text: Document.Language and
// SearchOptions.Language say it per document and per query, Options.Language for a whole index, and WithLanguage
// for functions that take an encoder. Where nothing is said the encoder detects it (encoder.Options.Detector, package
// encoder/langdetect) or assumes its own default. The language of each document is stored under LanguageKey:
//
//	hits, err := ix.Search(ctx, "wo liegt Bern", 10, &colbert.SearchOptions{
//		Language: "de", Filter: index.In(colbert.LanguageKey, "fr", "it")})
//
// A query in one language searches documents of all.
//
// # Errors
//
// Every failure can be told apart with errors.Is and the sentinels of this package, most of which are those
// of the packages below under a second name. A *DocumentError names the document at fault.
//
// # Caveats
//
// An Index is safe for concurrent use by any number of goroutines; searches never wait for a writer. Scores
// of an index are those of its quantised vectors, slightly off the exact ones that Rerank and Explain give.
// The encoder belongs to the caller: closing the index does not close it.
package colbert
