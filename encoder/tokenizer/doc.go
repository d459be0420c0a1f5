// Package tokenizer splits text into the tokens of a checkpoint, exactly as Hugging Face tokenizers do: the
// same ids, and for each token the bytes of the original text that it came from.
//
// A Tokenizer comes from a tokenizer.json (FromJSON) or from BERT's older vocab.txt (FromVocab):
//
//	tok, err := tokenizer.FromJSON(data)
//	enc := tok.Encode("late interaction", tokenizer.EncodeOptions{AddSpecial: true, MaxLen: 300})
//	// enc.IDs = [101 2397 8290 102], enc.Offsets = [[0 0] [0 4] [5 16] [0 0]]
//
// Text runs through a pipeline: it is cut at added tokens, each piece between them is normalised, cut into
// words, the words into pieces by the model, and the post-processor puts special tokens around the result.
// Supported today: BertNormalizer, BertPreTokenizer, WordPiece, TemplateProcessing and BertProcessing, and
// added tokens with all their flags. Any other component makes FromJSON fail with ErrUnsupported and its name.
//
// Caveats. Truncation and padding settings stored in a tokenizer.json are ignored: the retrieval settings of a
// checkpoint decide. The name of a special token in the text, such as "[SEP]", becomes that token, as in
// Hugging Face; EncodeOptions.NoSpecialInText turns this off for text that is not trusted. Bytes that are not
// UTF-8 count as U+FFFD, one each. Unicode properties are those that the reference implementation was built
// with, not those of this Go release, so that ids do not change with the tool chain.
package tokenizer
