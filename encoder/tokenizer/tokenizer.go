package tokenizer

import (
	"fmt"
	"math"
	"sync"
)

// Tokenizer turns text into token ids. It is immutable and safe for concurrent use.
type Tokenizer struct {
	vocab      *vocab
	added      []AddedToken // in the order of the file
	addedByID  map[int32]string
	addedID    map[string]int32
	raw        *addedSet // tokens looked for in the text as it stands
	normalized *addedSet // tokens looked for in normalised text
	normalizer normalizer
	pre        []any      // preTokenizer or rewriter, one after the other
	marks      *metaspace // a Metaspace that comes after them, with words for encodeMarked
	model      model
	cached     bool        // the model is slow enough for a wordCache
	trims      []trim      // what the post-processor does to offsets
	blanks     []blankEnds // for trims, by id
	before     []int32     // special tokens that the post-processor puts before the text
	after      []int32     // and after it
	size       int         // largest id + 1
	unk        int32
	special    [4]int32 // CLS, SEP, PAD, MASK; -1 for none
	pool       sync.Pool
}

const (
	specialCLS = iota
	specialSEP
	specialPad
	specialMask
)

// Encoding is the result of Encode. The three slices have one element per token.
type Encoding struct {
	// IDs are the token ids.
	IDs []int32
	// Offsets are byte ranges [start, end) of the text given to Encode; {0, 0} for the tokens that the
	// post-processor adds ([CLS], [SEP]).
	Offsets [][2]int
	// Special is true for the tokens that the post-processor adds, and only for those: "[SEP]" found in
	// the text is an ordinary token here, as in Hugging Face's special_tokens_mask.
	Special []bool
	// Truncated is true when MaxLen cut tokens off.
	Truncated bool
}

// EncodeOptions steers Encode. The zero value gives the bare tokens of the text.
type EncodeOptions struct {
	// AddSpecial lets the post-processor add its tokens ([CLS] ... [SEP]).
	AddSpecial bool
	// MaxLen is the largest number of tokens, special ones counted; 0 means no limit. The first tokens are
	// kept and the special tokens are always kept, even when MaxLen is below their number.
	MaxLen int
	// NoSpecialInText treats the names of special tokens in the text ("[SEP]") as ordinary text.
	NoSpecialInText bool
}

// MaxText is the longest text, in bytes, that Encode takes; longer texts are cut there, as if by MaxLen.
const MaxText = math.MaxInt32 - 16

// Encode tokenizes text. It never fails: bytes that are not UTF-8 count as U+FFFD, which BERT's normalizer drops.
func (t *Tokenizer) Encode(text string, o EncodeOptions) Encoding {
	var e Encoding
	if n := min(len(text)/4+4, 1<<16); o.MaxLen > 0 && o.MaxLen < n {
		e.grow(o.MaxLen + len(t.before) + len(t.after))
	} else {
		e.grow(n)
	}
	t.AppendEncode(&e, text, o)
	return e
}

// grow makes room for n tokens.
func (e *Encoding) grow(n int) {
	e.IDs, e.Offsets, e.Special = make([]int32, 0, n), make([][2]int, 0, n), make([]bool, 0, n)
}

// add appends one token.
func (e *Encoding) add(id int32, at [2]int, special bool) {
	e.IDs = append(e.IDs, id)
	e.Offsets = append(e.Offsets, at)
	e.Special = append(e.Special, special)
}

// AppendEncode is Encode into e, whose slices are overwritten and reused.
func (t *Tokenizer) AppendEncode(e *Encoding, text string, o EncodeOptions) {
	e.IDs, e.Offsets, e.Special, e.Truncated = e.IDs[:0], e.Offsets[:0], e.Special[:0], false
	if len(text) > MaxText {
		text, e.Truncated = text[:MaxText], true
	}
	limit := math.MaxInt
	if o.MaxLen > 0 {
		limit = o.MaxLen
		if o.AddSpecial {
			limit = max(0, limit-len(t.before)-len(t.after))
		}
	}
	if o.AddSpecial {
		for _, id := range t.before {
			e.add(id, [2]int{}, true)
		}
		if limit < math.MaxInt {
			limit += len(t.before)
		}
	}
	s, _ := t.pool.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	s.text, s.skipped = text, len(e.IDs)
	t.encodeText(e, text, o.NoSpecialInText, limit, s)
	s.text = ""
	if s.small() {
		t.pool.Put(s)
	}
	if len(e.IDs) > limit {
		e.IDs, e.Offsets, e.Special, e.Truncated = e.IDs[:limit], e.Offsets[:limit], e.Special[:limit], true
	}
	if o.AddSpecial {
		for _, id := range t.after {
			e.add(id, [2]int{}, true)
		}
	}
}

// encodeText appends the tokens of the text. It stops when there are more than limit.
func (t *Tokenizer) encodeText(e *Encoding, text string, noSpecial bool, limit int, s *scratch) {
	s.parts = t.raw.split(s.parts[:0], text, noSpecial)
	for _, p := range s.parts {
		if p.tok != nil {
			t.addAdded(e, p.tok.ID, [2]int{int(p.start), int(p.end)}, text[p.start:p.end], s)
			continue
		}
		a := &s.norm
		a.reset(p.start)
		t.normalizer.normalize(a, text[p.start:p.end], s)
		if t.normalized == nil {
			if len(a.text) > 0 {
				t.encodeWords(e, span{0, int32(len(a.text))}, limit, s)
			}
		} else {
			normalized := string(a.text)
			s.inner = t.normalized.split(s.inner[:0], normalized, noSpecial)
			for _, q := range s.inner {
				if q.tok != nil {
					t.addAdded(e, q.tok.ID, a.origin(q.span), normalized[q.start:q.end], s)
				} else {
					t.encodeWords(e, q.span, limit, s)
				}
			}
		}
		if len(e.IDs) > limit {
			return
		}
	}
}

// encodeWords appends the tokens of a range of the normalised text, which is not empty.
func (t *Tokenizer) encodeWords(e *Encoding, in span, limit int, s *scratch) {
	a := &s.norm
	words := append(s.words[:0], in)
	next, k := s.nextWords, 0
	for _, st := range t.pre {
		next = next[:0]
		switch st := st.(type) {
		case preTokenizer:
			for _, w := range words {
				next = st.preTokenize(next, a, w)
			}
		case rewriter:
			dst := &s.rewritten[k&1]
			k++
			dst.reset(0)
			dst.toMapped()
			next = st.rewrite(next, dst, a, words)
			a = dst
		}
		words, next = next, words
	}
	s.words, s.nextWords = words, next
	if t.marks != nil {
		t.encodeMarked(e, a, words, limit, s)
		return
	}
	for _, w := range words {
		word := a.text[w.start:w.end]
		for _, p := range t.pieces(word, s) {
			t.addPiece(e, p.id, a.origin(span{w.start + p.start, w.start + p.end}), word[p.start:p.end], s)
		}
		if len(e.IDs) > limit {
			return
		}
	}
}

// pieces returns the pieces of a word, valid until the next call.
func (t *Tokenizer) pieces(word []byte, s *scratch) []piece {
	if !t.cached || len(word) > maxCached || len(word) == 0 {
		s.pieces = t.model.tokenize(s.pieces[:0], word, s)
		return s.pieces
	}
	found, hash, ok := s.cache.get(word)
	if ok {
		return found
	}
	s.pieces = t.model.tokenize(s.pieces[:0], word, s)
	s.cache.put(word, s.pieces, hash)
	return s.pieces
}

// ID returns the id of a token of the vocabulary or of an added token, by its exact text.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.addedID[token]; ok {
		return id, true
	}
	return t.vocab.id([]byte(token))
}

// Token returns the text of an id.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if s, ok := t.addedByID[id]; ok {
		return s, true
	}
	if id < 0 || int(id) >= len(t.vocab.tokens) || !t.vocab.known[id] {
		return "", false
	}
	return t.vocab.tokens[id], true
}

// VocabSize is the largest id, added tokens included, plus one: the rows that an embedding table needs.
func (t *Tokenizer) VocabSize() int { return t.size }

// AddedTokens lists the tokens that are found in text as they stand.
func (t *Tokenizer) AddedTokens() []AddedToken { return append([]AddedToken(nil), t.added...) }

// NumSpecial is the number of tokens that AddSpecial adds to a text.
func (t *Tokenizer) NumSpecial() int { return len(t.before) + len(t.after) }

// LowerCases reports whether the normalizer lower-cases.
func (t *Tokenizer) LowerCases() bool {
	switch n := t.normalizer.(type) {
	case *bertNormalizer:
		return n.lower
	case chain:
		return n.lowerCases()
	}
	return false
}

func (t *Tokenizer) specialID(i int) (int32, bool) { return max(t.special[i], 0), t.special[i] >= 0 }

// CLS returns the id of the token at the start of every text ([CLS], <s>), when there is one.
func (t *Tokenizer) CLS() (int32, bool) { return t.specialID(specialCLS) }

// SEP returns the id of the token at the end of every text ([SEP], </s>), when there is one.
func (t *Tokenizer) SEP() (int32, bool) { return t.specialID(specialSEP) }

// PAD returns the id of the padding token, when there is one.
func (t *Tokenizer) PAD() (int32, bool) { return t.specialID(specialPad) }

// MASK returns the id of the mask token, when there is one.
func (t *Tokenizer) MASK() (int32, bool) { return t.specialID(specialMask) }

// UNK returns the id of the unknown token, when there is one.
func (t *Tokenizer) UNK() (int32, bool) { return max(t.unk, 0), t.unk >= 0 }

// build puts a tokenizer together: it numbers the added tokens as the reference does (the vocabulary's id when
// the token is there, else the next free one) and looks up the special tokens.
func build(v *vocab, norm normalizer, pre []any, m model, added []AddedToken, names [4][]string) (*Tokenizer, error) {
	t := &Tokenizer{
		vocab: v, normalizer: norm, pre: pre, model: m,
		addedByID: make(map[int32]string, len(added)), addedID: make(map[string]int32, len(added)),
		size: len(v.tokens),
	}
	for _, a := range added {
		if a.Content == "" {
			continue
		}
		if len(a.Content) > maxToken {
			return nil, tooLong("added token", len(a.Content))
		}
		id, ok := t.ID(a.Content)
		if !ok {
			id = int32(t.size)
		}
		if int(id) >= t.size {
			t.size = int(id) + 1
		}
		if other, taken := t.addedByID[id]; taken && other != a.Content {
			return nil, fmt.Errorf("%w: id %d is given to added tokens %q and %q", ErrCorrupt, id, other, a.Content)
		}
		a.ID = id
		if _, again := t.addedID[a.Content]; again { // the last one counts
			for i := range t.added {
				if t.added[i].ID == id {
					t.added[i] = a
				}
			}
		} else {
			t.added = append(t.added, a)
		}
		t.addedByID[id], t.addedID[a.Content] = a.Content, id
	}
	if err := t.index(); err != nil {
		return nil, err
	}
	for i, list := range names {
		t.special[i] = -1
		for _, name := range list {
			if id, ok := t.ID(name); ok {
				t.special[i] = id
				break
			}
		}
	}
	return t, nil
}

// WithBERT returns the tokenizer with other settings of its BertNormalizer: lower-casing, accent stripping and
// the splitting of Chinese characters; nil keeps one as it is, and accents follow the case when only that is
// given. Tokenizers with another normalizer are returned as they are.
func (t *Tokenizer) WithBERT(lowerCase, stripAccents, cjk *bool) *Tokenizer {
	n, ok := t.normalizer.(*bertNormalizer)
	if !ok {
		return t
	}
	lower, strip, split := n.lower, n.strip, n.cjk
	if lowerCase != nil && *lowerCase != lower {
		lower, strip = *lowerCase, *lowerCase
	}
	if stripAccents != nil {
		strip = *stripAccents
	}
	if cjk != nil {
		split = *cjk
	}
	if lower == n.lower && strip == n.strip && split == n.cjk {
		return t
	}
	c := &Tokenizer{
		vocab: t.vocab, added: t.added, addedByID: t.addedByID, addedID: t.addedID, pre: t.pre, model: t.model,
		marks: t.marks, cached: t.cached, trims: t.trims, blanks: t.blanks, before: t.before, after: t.after, size: t.size, unk: t.unk, special: t.special,
		normalizer: newBertNormalizer(n.clean, split, strip, lower),
	}
	if err := c.index(); err != nil {
		panic(err) // cannot happen: this normalizer makes a text at most four times as long
	}
	return c
}

// index builds the two sets of added tokens.
func (t *Tokenizer) index() error {
	var raw, normalized []AddedToken
	var rawText, normalizedText []string
	var s scratch
	for _, a := range t.added {
		if a.Normalized {
			s.norm.reset(0)
			t.normalizer.normalize(&s.norm, a.Content, &s)
			if len(s.norm.text) > 16*maxToken {
				return tooLong("normalised added token", len(s.norm.text))
			}
			normalized, normalizedText = append(normalized, a), append(normalizedText, string(s.norm.text))
		} else {
			raw, rawText = append(raw, a), append(rawText, a.Content)
		}
	}
	t.raw, t.normalized = newAddedSet(raw, rawText), newAddedSet(normalized, normalizedText)
	return nil
}
