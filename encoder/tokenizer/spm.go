package tokenizer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// SentencePieceOptions says how to use a SentencePiece model file. The zero value numbers the pieces as the file
// does and puts nothing around texts.
type SentencePieceOptions struct {
	// Fairseq numbers the pieces as XLM-R, XMOD and mBART do: <s> 0, <pad> 1, </s> 2, <unk> 3, then the file's
	// pieces from its fourth on, and <mask> last. Texts stand between <s> and </s>.
	Fairseq bool
	// Native normalises text as the SentencePiece library does. Without it that is done as by the fast
	// tokenizer that Hugging Face makes of the file, which models used through it have seen; the two differ for
	// combining marks and white space. Natively, scores are float32 and no added tokens are found in texts but
	// those of Added.
	Native bool
	// Before and After name the special tokens around a text.
	Before, After []string
	// Pad and Mask name special tokens; empty means <pad> and <mask>, if there.
	Pad, Mask string
	// Added are further tokens to find in text. Their ids are ignored: a token of the vocabulary has that id,
	// others are numbered after it.
	Added []AddedToken
}

// spmType is the type of a piece.
type spmType uint8

const (
	spmNormal spmType = iota + 1
	spmUnknown
	spmControl
	spmUserDefined
	spmUnused
	spmByte
)

// spmModel is what a model file holds, as far as it concerns tokenization.
type spmModel struct {
	text   []byte // all pieces
	ends   []int32
	scores []float32
	types  []spmType

	bpe          bool
	byteFallback bool
	unkPiece     string
	charsmap     []byte
	dummyPrefix  bool
	trim         bool // remove_extra_whitespaces
	escape       bool // escape_whitespaces
	suffix       bool // treat_whitespace_as_suffix
}

func (m *spmModel) piece(i int) []byte {
	start := int32(0)
	if i > 0 {
		start = m.ends[i-1]
	}
	return m.text[start:m.ends[i]]
}

// wire reads protocol buffers. Errors name the byte.
type wire struct {
	b    []byte
	base int // where b starts in the file
	pos  int
}

func (w *wire) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: sentencepiece model: byte %d: %s", ErrCorrupt, w.base+w.pos, fmt.Sprintf(format, args...))
}

// field reads the next field: a number, or bytes for what has a length.
func (w *wire) field() (num int, v uint64, b []byte, err error) {
	tag, n := binary.Uvarint(w.b[w.pos:])
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
		return 0, 0, nil, w.errorf("malformed tag")
	}
	w.pos += n
	left := w.b[w.pos:]
	switch tag & 7 {
	case 0:
		if v, n = binary.Uvarint(left); n <= 0 {
			return 0, 0, nil, w.errorf("malformed number")
		}
	case 1:
		if n = 8; len(left) < n {
			return 0, 0, nil, w.errorf("unexpected end")
		}
		v = binary.LittleEndian.Uint64(left)
	case 2:
		var size uint64
		if size, n = binary.Uvarint(left); n <= 0 || size > uint64(len(left)-n) {
			return 0, 0, nil, w.errorf("field of %d bytes in %d", size, len(left))
		}
		b = left[n : n+int(size)]
		n += int(size)
	case 5:
		if n = 4; len(left) < n {
			return 0, 0, nil, w.errorf("unexpected end")
		}
		v = uint64(binary.LittleEndian.Uint32(left))
	default:
		return 0, 0, nil, w.errorf("wire type %d", tag&7)
	}
	w.pos += n
	return int(tag >> 3), v, b, nil
}

// fields calls f for every field; inner reads a message within.
func (w *wire) fields(f func(num int, v uint64, b []byte, inner *wire) error) error {
	for w.pos < len(w.b) {
		num, v, b, err := w.field()
		if err != nil {
			return err
		}
		if err := f(num, v, b, &wire{b: b, base: w.base + w.pos - len(b)}); err != nil {
			return err
		}
	}
	return nil
}

// parseSPM reads a model file.
func parseSPM(b []byte) (*spmModel, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: sentencepiece model of %d bytes", ErrCorrupt, len(b))
	}
	m := &spmModel{unkPiece: "<unk>", dummyPrefix: true, trim: true, escape: true}
	w := &wire{b: b}
	err := w.fields(func(num int, v uint64, b []byte, inner *wire) error {
		switch num {
		case 1: // pieces
			if len(m.ends) == maxVocab {
				return w.errorf("more than %d pieces", maxVocab)
			}
			return m.readPiece(inner)
		case 2: // trainer_spec
			return inner.fields(func(num int, v uint64, b []byte, at *wire) error {
				switch num {
				case 3: // model_type
					if v != 1 && v != 2 {
						return &UnsupportedError{Component: "sentencepiece model", Name: fmt.Sprintf("model_type %d", v)}
					}
					m.bpe = v == 2
				case 24:
					m.suffix = v != 0
				case 35:
					m.byteFallback = v != 0
				case 45:
					if len(b) > 0 && utf8.Valid(b) {
						m.unkPiece = string(b)
					}
				}
				return nil
			})
		case 3: // normalizer_spec
			return inner.fields(func(num int, v uint64, b []byte, _ *wire) error {
				switch num {
				case 2:
					m.charsmap = b
				case 3:
					m.dummyPrefix = v != 0
				case 4:
					m.trim = v != 0
				case 5:
					m.escape = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && len(m.ends) == 0 {
		err = w.errorf("no pieces")
	}
	return m, err
}

// readPiece reads {1: piece, 2: score, 3: type}.
func (m *spmModel) readPiece(w *wire) error {
	typ, score := spmNormal, float32(0)
	err := w.fields(func(num int, v uint64, b []byte, _ *wire) error {
		switch num {
		case 1:
			if !utf8.Valid(b) {
				return w.errorf("piece %d is not UTF-8", len(m.ends))
			}
			if len(b) > maxToken {
				return w.errorf("piece %d has %d bytes", len(m.ends), len(b))
			}
			m.text = append(m.text, b...)
		case 2:
			score = math.Float32frombits(uint32(v))
			if score != score || math.IsInf(float64(score), 0) {
				return w.errorf("piece %d has score %v", len(m.ends), score)
			}
		case 3:
			if v < uint64(spmNormal) || v > uint64(spmByte) {
				return w.errorf("piece %d has type %d", len(m.ends), v)
			}
			typ = spmType(v)
		}
		return nil
	})
	m.ends, m.scores, m.types = append(m.ends, int32(len(m.text))), append(m.scores, score), append(m.types, typ)
	return err
}

// FromSentencePiece builds a tokenizer from the content of a SentencePiece model file (sentencepiece.bpe.model,
// spiece.model, tokenizer.model) of type Unigram or BPE.
func FromSentencePiece(b []byte, o SentencePieceOptions) (*Tokenizer, error) {
	m, err := parseSPM(b)
	if err != nil {
		return nil, err
	}
	if m.suffix {
		return nil, &UnsupportedError{Component: "sentencepiece model", Name: "treat_whitespace_as_suffix"}
	}
	unk := slices.Index(m.types, spmUnknown)
	if unk < 0 {
		return nil, fmt.Errorf("%w: sentencepiece model: no piece of type unknown", ErrCorrupt)
	}
	if o.Fairseq {
		if unk, err = m.fairseq(); err != nil {
			return nil, err
		}
		o.Before, o.After = []string{"<s>"}, []string{"</s>"}
	}
	v, err := pieceVocab(string(m.text), m.ends)
	if err != nil {
		return nil, err
	}
	added := o.Added
	if !o.Native { // what can be told from the file about its special tokens
		added = nil
		for i, typ := range m.types {
			name := string(m.piece(i))
			switch {
			case typ == spmControl || o.Fairseq && i == unk:
				added = append(added, AddedToken{Content: name, Special: true, LStrip: o.Fairseq && name == "<mask>"})
			case typ == spmUserDefined:
				added = append(added, AddedToken{Content: name})
			}
			if len(added) > maxAdded {
				return nil, fmt.Errorf("%w: sentencepiece model: more than %d special pieces", ErrCorrupt, maxAdded)
			}
		}
		added = append(added, o.Added...)
	}
	var mod model
	if m.bpe {
		mod, _, err = newBPE(m.bpeConfig(v), false)
		if b, ok := mod.(*bpe); ok && b != nil {
			b.unk = int32(unk)
		}
	} else {
		mod, err = m.unigram(v, int32(unk), o.Native)
	}
	if err != nil {
		return nil, fmt.Errorf("sentencepiece model: %w", err)
	}
	norm, pre, err := m.pipeline(o.Native)
	if err != nil {
		return nil, fmt.Errorf("sentencepiece model: %w", err)
	}
	or := func(name, def string) string {
		if name == "" {
			return def
		}
		return name
	}
	cls, sep := o.Before, o.After
	t, err := build(v, norm, nil, mod, added, [4][]string{cls, sep, {or(o.Pad, "<pad>")}, {or(o.Mask, "<mask>")}})
	if err != nil {
		return nil, err
	}
	t.unk, t.cached, t.marks = int32(unk), true, pre
	for _, list := range []struct {
		names []string
		ids   *[]int32
	}{{o.Before, &t.before}, {o.After, &t.after}} {
		for _, name := range list.names {
			id, ok := t.ID(name)
			if !ok {
				return nil, fmt.Errorf("%w: sentencepiece model: no special token %q", ErrCorrupt, name)
			}
			*list.ids = append(*list.ids, id)
		}
	}
	return t, nil
}

// fairseq renumbers the pieces, and returns the unknown token's id.
func (m *spmModel) fairseq() (int, error) {
	if len(m.ends) < 3 || string(m.piece(0)) != "<unk>" || string(m.piece(1)) != "<s>" || string(m.piece(2)) != "</s>" {
		return 0, fmt.Errorf("%w: sentencepiece model: first pieces are not <unk>, <s>, </s>, as Fairseq's numbering needs", ErrCorrupt)
	}
	text := append([]byte("<s><pad></s><unk>"), m.text[m.ends[2]:]...)
	ends := []int32{3, 8, 12, 17}
	shift := 17 - m.ends[2]
	for _, e := range m.ends[3:] {
		ends = append(ends, e+shift)
	}
	text = append(text, "<mask>"...)
	m.text, m.ends = text, append(ends, int32(len(text)))
	m.scores = append(append(make([]float32, 4), m.scores[3:]...), 0)
	types := append([]spmType{spmControl, spmControl, spmControl, spmUnknown}, m.types[3:]...)
	m.types = append(types, spmControl)
	return 3, nil
}

// unigram builds the Unigram model. The library keeps its special pieces out of texts; Hugging Face does not.
func (m *spmModel) unigram(v *vocab, unk int32, native bool) (model, error) {
	scores := make([]float64, len(m.scores))
	for i, s := range m.scores {
		scores[i] = float64(s)
	}
	if !native {
		return newUnigram(v, scores, unk, m.byteFallback)
	}
	lowest, highest := float32(math.MaxFloat32), float32(-math.MaxFloat32)
	keep := &vocab{tokens: v.tokens, known: slices.Clone(v.known), bytes: v.bytes, table: v.table, seed: v.seed}
	for i, typ := range m.types {
		switch typ {
		case spmNormal:
			lowest, highest = min(lowest, m.scores[i]), max(highest, m.scores[i])
		case spmUserDefined:
		default:
			keep.known[i] = false
		}
	}
	for i, typ := range m.types {
		if typ == spmUserDefined { // always the best choice
			scores[i] = float64(float32(len(m.piece(i)))*highest - 0.1)
		}
	}
	u, err := newUnigram(keep, scores, unk, m.byteFallback)
	if err != nil {
		return nil, err
	}
	u.single, u.unkScore = true, float64(lowest-unkPenalty)
	return u, nil
}

// bpeConfig makes merges of the pieces: every way to make a piece of two others is a merge, the best piece first.
func (m *spmModel) bpeConfig(v *vocab) bpeConfig {
	c := bpeConfig{vocab: v, unk: m.unkPiece, fuse: true, fallback: m.byteFallback}
	type ranked struct {
		parts       [2]string
		score       float32
		left, right int32 // ids of the parts
		nl, nr      int   // their lengths in characters
	}
	var all []ranked
	for i := range m.ends {
		id, ok := v.id(m.piece(i))
		if !ok || int(id) != i {
			continue
		}
		name := v.tokens[i]
		first := len(all)
		n := utf8.RuneCountInString(name)
		k := 0
		for at := range name {
			if at == 0 {
				continue
			}
			k++
			left, ok1 := v.id([]byte(name[:at]))
			if !ok1 {
				continue
			}
			if right, ok2 := v.id([]byte(name[at:])); ok2 {
				all = append(all, ranked{[2]string{name[:at], name[at:]}, m.scores[i], left, right, k, n - k})
			}
		}
		slices.SortStableFunc(all[first:], func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.nl, a.nl), cmp.Compare(b.nr, a.nr))
	})
	for _, r := range all {
		c.merges = append(c.merges, r.parts)
	}
	return c
}

// pipeline returns the normalizer, and the pre-tokenizer that may follow it.
func (m *spmModel) pipeline(native bool) (normalizer, *metaspace, error) {
	var charsmap *charsmap
	if len(m.charsmap) > 0 {
		var err error
		if charsmap, err = newCharsmap(m.charsmap); err != nil {
			return nil, nil, err
		}
	}
	if native {
		n := &spmNormalizer{charsmap: charsmap, dummyPrefix: m.dummyPrefix, trim: m.trim, space: " "}
		if m.escape {
			n.space = "▁"
		}
		for i, typ := range m.types {
			if typ == spmUserDefined && len(m.piece(i)) > 0 {
				if n.verbatim == nil {
					n.verbatim = newTrie(64)
				}
				if !n.verbatim.insert(string(m.piece(i)), int32(i)) {
					return nil, nil, fmt.Errorf("%w: too many user-defined pieces", ErrUnsupported)
				}
			}
		}
		return chain{n}, nil, nil
	}
	c := chain{strip{right: true}, &replacer{spaceRun(2), "▁"}}
	if charsmap != nil {
		c = append(chain{charsmap}, c...)
	}
	return c, &metaspace{mark: "▁", first: "▁"[0], always: m.dummyPrefix, split: true}, nil
}
