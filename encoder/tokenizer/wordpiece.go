package tokenizer

import "unicode/utf8"

// wordPiece is the model of BERT: the longest token that starts the word, then the longest continuation ("##")
// that follows, and so on. A word that cannot be spelt so, or one that is too long, is one unknown token.
type wordPiece struct {
	vocab *vocab
	trie  *trie
	// cont is the trie's node of the continuation prefix; noCont is true when no token has the prefix.
	cont     uint32
	noCont   bool
	unk      int32
	maxChars int // longest word in code points
}

// newWordPiece builds the model's trie.
func newWordPiece(v *vocab, prefix string, unk int32, maxChars int) (*wordPiece, error) {
	t, err := v.trie()
	if err != nil {
		return nil, err
	}
	m := &wordPiece{vocab: v, trie: t, unk: unk, maxChars: maxChars}
	node, ok := t.walk(0, prefix)
	m.cont, m.noCont = node, !ok
	return m, nil
}

// tokenize implements model.
func (m *wordPiece) tokenize(dst []piece, word []byte, _ *scratch) []piece {
	if len(word) > m.maxChars && utf8.RuneCount(word) > m.maxChars {
		return append(dst, piece{m.unk, span{0, int32(len(word))}})
	}
	if id, ok := m.vocab.id(word); ok { // most words of running text are tokens
		return append(dst, piece{id, span{0, int32(len(word))}})
	}
	first := len(dst)
	node := uint32(0)
	for at := 0; at < len(word); {
		id, n := m.trie.longest(node, word[at:])
		if n == 0 || at > 0 && m.noCont {
			return append(dst[:first], piece{m.unk, span{0, int32(len(word))}})
		}
		dst = append(dst, piece{id, span{int32(at), int32(at + n)}})
		at += n
		node = m.cont
	}
	return dst
}
