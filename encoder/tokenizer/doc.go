// Package tokenizer splits text into the tokens of a checkpoint, exactly as Hugging Face tokenizers do: the
// same ids, and for each token the bytes of the original text that it came from.
//
// A Tokenizer comes from a tokenizer.json (FromJSON), from a SentencePiece model file (FromSentencePiece), from
// the older files vocab.txt of BERT (FromVocab) or vocab.json and merges.txt of RoBERTa and GPT-2 (FromMerges), or
// from nothing at all for ByT5 (Bytes):
//
//	tok, err := tokenizer.FromJSON(data)
//	enc := tok.Encode("late interaction", tokenizer.EncodeOptions{AddSpecial: true, MaxLen: 300})
//	// enc.IDs = [101 2397 8290 102], enc.Offsets = [[0 0] [0 4] [5 16] [0 0]]
//
// Text runs through a pipeline: it is cut at added tokens, each piece between them is normalised, cut into
// words, the words into pieces by the model, and the post-processor puts special tokens around the result.
// Supported are the models WordPiece, Unigram, BPE and WordLevel; all normalizers; all pre-tokenizers but
// UnicodeScripts; all post-processors, for single texts. Regular expressions are those of GPT-2, Llama 3 and Qwen,
// which have scanners of their own, and others that Go's regexp matches in the same way. Anything else makes
// FromJSON fail with ErrUnsupported and its name.
//
// Caveats. Truncation and padding settings stored in a tokenizer.json are ignored: the retrieval settings of a
// checkpoint decide. The name of a special token in the text, such as "[SEP]", becomes that token, as in
// Hugging Face; EncodeOptions.NoSpecialInText turns this off for text that is not trusted. Bytes that are not
// UTF-8 count as U+FFFD, one each. Unicode properties are those that the reference implementation was built
// with, not those of this Go release, so that ids do not change with the tool chain; only the classes in other
// regular expressions are Go's. A Tokenizer remembers the pieces of recent words, up to about 10 MB for each
// goroutine that encodes at the same time.
package tokenizer
