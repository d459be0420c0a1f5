// Package japanese finds the words of Japanese text, exactly as MeCab does, for checkpoints whose tokenizer is
// BertJapaneseTokenizer: the Japanese BERTs of Tohoku University and the ColBERTs made of them (JaColBERT).
//
// It needs a compiled MeCab dictionary, which is not part of this module: sys.dic, unk.dic, matrix.bin and char.bin
// in one directory. For those checkpoints it is unidic-lite, which the Python package of that name has in its folder
// dicdir (pip install unidic-lite). Open reads it, and encoder.Options.Words, or tokenizer.VocabOptions.Words for the
// tokenizer alone, take it:
//
//	words, err := japanese.Open("/usr/share/unidic-lite/dicdir")
//	model, err := encoder.Open("JaColBERTv2.5", &encoder.Options{Words: words})
//
// The words are the surfaces of the best path through MeCab's lattice (Kudo, Yamamoto and Matsumoto 2004: Applying
// conditional random fields to Japanese morphological analysis): the path with the least sum of word costs and of
// connection costs between neighbours. Parts of speech and readings are not read. Ties are decided as MeCab decides
// them, so that the words are the same.
//
// Caveats. The dictionary takes memory: about 110 MB for unidic-lite. A zero byte, at which MeCab stops reading, is a
// character like others here. Text that is not UTF-8 is read byte by byte.
package japanese
