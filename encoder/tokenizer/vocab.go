package tokenizer

import (
	"fmt"
	"hash/maphash"
)

// vocab maps tokens to ids and back. The table is open-addressed, with a part of the hash beside the id, so
// that a lookup costs one probe and one comparison.
type vocab struct {
	tokens []string // by id; parts of one string
	known  []bool   // by id: false for holes in the numbering
	table  []uint64 // hash's upper half << 32 | id + 1; 0 is a free slot
	seed   maphash.Seed
	bytes  int
}

// maxVocab bounds ids; the largest vocabularies in use have 256,000 tokens.
const maxVocab = 1 << 24

// maxToken bounds the length of tokens, in bytes: models look ahead as far as the longest token at every place of a
// text. The longest in use have a few hundred.
const maxToken = 1 << 12

func tooLong(what string, n int) error {
	return &UnsupportedError{Component: what, Name: fmt.Sprintf("of %d bytes; the limit is %d", n, maxToken)}
}

// newVocab returns an empty vocabulary for n tokens with ids up to maxID.
func newVocab(n, maxID int) (*vocab, error) {
	if maxID >= maxVocab || maxID > 4*n+1<<16 { // a small file must not ask for much memory
		return nil, fmt.Errorf("%w: vocabulary of %d tokens has an id %d", ErrCorrupt, n, maxID)
	}
	size := 64
	for size < 2*n {
		size *= 2
	}
	return &vocab{
		tokens: make([]string, maxID+1), known: make([]bool, maxID+1),
		table: make([]uint64, size), seed: maphash.MakeSeed(),
	}, nil
}

// id returns the id of a token.
func (v *vocab) id(token []byte) (int32, bool) {
	h := maphash.Bytes(v.seed, token)
	mask := uint64(len(v.table) - 1)
	for i := h; ; i++ {
		s := v.table[i&mask]
		if s == 0 {
			return 0, false
		}
		if s>>32 == h>>32 {
			if id := int32(uint32(s)) - 1; v.tokens[id] == string(token) {
				return id, true
			}
		}
	}
}

// add gives a token an id, at most as many times as newVocab was told. A token that comes again takes the later
// id, as in the reference; two tokens with one id are an error. The string is kept.
func (v *vocab) add(token string, id int) error {
	if id < 0 || id >= len(v.tokens) {
		return fmt.Errorf("%w: token %q has id %d", ErrCorrupt, token, id)
	}
	if len(token) > maxToken {
		return tooLong("token", len(token))
	}
	if v.known[id] {
		if v.tokens[id] == token {
			return nil
		}
		return fmt.Errorf("%w: id %d is given to %q and %q", ErrCorrupt, id, v.tokens[id], token)
	}
	v.tokens[id], v.known[id] = token, true
	v.bytes += len(token)
	v.put(maphash.String(v.seed, token), int32(id))
	return nil
}

// put stores an id under a hash, in place of the same token's earlier one.
func (v *vocab) put(h uint64, id int32) {
	mask := uint64(len(v.table) - 1)
	for i := h; ; i++ {
		s := v.table[i&mask]
		if s == 0 || s>>32 == h>>32 && v.tokens[uint32(s)-1] == v.tokens[id] {
			v.table[i&mask] = h>>32<<32 | uint64(id+1)
			return
		}
	}
}

// trie returns a trie of all tokens.
func (v *vocab) trie() (*trie, error) {
	t := newTrie(v.bytes)
	for id, token := range v.tokens {
		if v.known[id] && token != "" {
			if !t.insert(token, int32(id)) {
				return nil, fmt.Errorf("%w: vocabulary of %d bytes is too large", ErrUnsupported, v.bytes)
			}
		}
	}
	return t, nil
}
