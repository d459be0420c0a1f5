package tokenizer

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/golbert/golbert/internal/jsonscan"
)

// jsonModel is a model as the file describes it.
type jsonModel struct {
	kind  string
	vocab *vocab
	// WordPiece and WordLevel
	unk      string
	prefix   string
	maxChars int
	// Unigram
	scores   []float64
	unkID    int32
	fallback bool
	// BPE
	bpe bpeConfig
}

// build makes the model. With byteLevel it may read bytes instead of their printable stand-ins, and tells whether
// it does.
func (m *jsonModel) build(byteLevel bool) (_ model, unk int32, bytes bool, err error) {
	switch m.kind {
	case "Unigram":
		u, err := newUnigram(m.vocab, m.scores, m.unkID, m.fallback)
		return u, m.unkID, false, err
	case "BPE":
		b, bytes, err := newBPE(m.bpe, byteLevel)
		if err != nil {
			return nil, 0, false, fmt.Errorf("tokenizer.json: model: %w", err)
		}
		return b, b.unk, bytes, nil
	}
	unk, ok := m.vocab.id([]byte(m.unk))
	if !ok {
		return nil, 0, false, fmt.Errorf("%w: tokenizer.json: model: unk_token %q is not in the vocabulary", ErrCorrupt, m.unk)
	}
	if m.kind == "WordLevel" {
		return &wordLevel{m.vocab, unk}, unk, false, nil
	}
	w, err := newWordPiece(m.vocab, m.prefix, unk, m.maxChars)
	return w, unk, false, err
}

// wordLevel knows whole words only.
type wordLevel struct {
	vocab *vocab
	unk   int32
}

// tokenize implements model.
func (m *wordLevel) tokenize(dst []piece, word []byte, _ *scratch) []piece {
	id, ok := m.vocab.id(word)
	if !ok {
		id = m.unk
	}
	return append(dst, piece{id, span{0, int32(len(word))}})
}

func readModel(kind string, f fields) (*jsonModel, error) {
	if kind == "" { // old files do not name the type
		switch {
		case f["merges"] != nil:
			kind = "BPE"
		case f["max_input_chars_per_word"] != nil:
			kind = "WordPiece"
		case f["unk_id"] != nil:
			kind = "Unigram"
		}
	}
	noVocab := fmt.Errorf("%w: tokenizer.json: model: no vocab", ErrCorrupt)
	var read func(fields) (*jsonModel, error)
	switch kind {
	case "WordPiece", "WordLevel":
		read = func(f fields) (*jsonModel, error) { return readWordPiece(kind, f) }
	case "Unigram":
		read = readUnigram
	case "BPE":
		read = readBPE
	default:
		if kind == "" && f["vocab"] == nil {
			return nil, noVocab
		}
		return nil, &UnsupportedError{Component: "model", Name: kind}
	}
	if f["vocab"] == nil {
		return nil, noVocab
	}
	return read(f)
}

func readWordPiece(kind string, f fields) (*jsonModel, error) {
	known, unk := []string{"unk_token", "vocab"}, "<unk>"
	if kind == "WordPiece" {
		known, unk = append(known, "continuing_subword_prefix", "max_input_chars_per_word"), "[UNK]"
	}
	err := f.unknown("model", kind, known...)
	if err != nil {
		return nil, err
	}
	m := &jsonModel{kind: kind, maxChars: bertMaxChars}
	if m.unk, err = f.text("unk_token", unk); err != nil {
		return nil, err
	}
	if m.prefix, err = f.text("continuing_subword_prefix", bertPrefix); err != nil {
		return nil, err
	}
	if s := f["max_input_chars_per_word"]; s != nil {
		n, err := s.Int()
		if err != nil || n < 0 || n > 1<<20 {
			return nil, s.Errorf("max_input_chars_per_word is not a number from 0 to %d", 1<<20)
		}
		m.maxChars = int(n)
	}
	m.vocab, err = readVocab(f["vocab"])
	return m, err
}

// readUnigram reads {"unk_id": 3, "vocab": [["<s>", 0.0], ...], "byte_fallback": false}.
func readUnigram(f fields) (*jsonModel, error) {
	if err := f.unknown("model", "Unigram", "unk_id", "vocab", "byte_fallback"); err != nil {
		return nil, err
	}
	m := &jsonModel{kind: "Unigram"}
	fallback, err1 := f.bool("byte_fallback", false)
	unk, err2 := f.int("unk_id", -1)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	m.fallback = fallback
	var text []byte // all pieces in one, so that they share one allocation
	var ends []int32
	s := f["vocab"]
	err := s.Array(func(i int) error {
		if i == maxVocab {
			return s.Errorf("more than %d pieces", maxVocab)
		}
		return s.Array(func(k int) error {
			switch k {
			case 0:
				b, err := s.Bytes()
				text = append(text, b...)
				ends = append(ends, int32(len(text)))
				return err
			case 1:
				v, err := s.Float()
				m.scores = append(m.scores, v)
				return err
			}
			return s.Errorf("piece %d has more than a text and a score", i)
		})
	})
	if err == nil && (len(ends) != len(m.scores) || len(ends) == 0) {
		err = s.Errorf("%d pieces with %d scores", len(ends), len(m.scores))
	}
	if err == nil && (unk < -1 || unk >= int64(len(ends))) {
		err = s.Errorf("unk_id %d of %d pieces", unk, len(ends))
	}
	if err != nil {
		return nil, err
	}
	m.unkID = int32(unk)
	m.vocab, err = pieceVocab(string(text), ends)
	return m, err
}

// pieceVocab numbers pieces, which are given as the ends of parts of one string. Of pieces that come twice the
// last one counts.
func pieceVocab(text string, ends []int32) (*vocab, error) {
	v, err := newVocab(len(ends), len(ends)-1)
	if err != nil {
		return nil, err
	}
	start := int32(0)
	for id, end := range ends {
		if err := v.add(text[start:end], id); err != nil {
			return nil, err
		}
		start = end
	}
	return v, nil
}

func readBPE(f fields) (*jsonModel, error) {
	err := f.unknown("model", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
		"byte_fallback", "ignore_merges", "vocab", "merges")
	if err != nil {
		return nil, err
	}
	m := &jsonModel{kind: "BPE"}
	if s := f["dropout"]; s != nil {
		if null, err := s.Null(); err != nil || !null {
			if v, err := s.Float(); err != nil || v != 0 {
				return nil, &UnsupportedError{Component: "model", Name: "BPE.dropout"}
			}
		}
	}
	var errs [7]error
	c := &m.bpe
	c.unk, errs[0] = f.text("unk_token", "")
	c.prefix, errs[1] = f.text("continuing_subword_prefix", "")
	c.suffix, errs[2] = f.text("end_of_word_suffix", "")
	c.fuse, errs[3] = f.bool("fuse_unk", false)
	c.fallback, errs[4] = f.bool("byte_fallback", false)
	c.ignoreMerges, errs[5] = f.bool("ignore_merges", false)
	if f["merges"] == nil {
		return nil, fmt.Errorf("%w: tokenizer.json: model: no merges", ErrCorrupt)
	}
	c.merges, errs[6] = readMerges(f["merges"])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	c.vocab, err = readVocab(f["vocab"])
	m.vocab = c.vocab
	return m, err
}

// mergeList collects merges in one text, so that they share one allocation.
type mergeList struct {
	text []byte
	ends [][2]int32
}

func (l *mergeList) list() [][2]string {
	all, start := string(l.text), int32(0)
	merges := make([][2]string, len(l.ends))
	for i, e := range l.ends {
		merges[i] = [2]string{all[start:e[0]], all[e[0]:e[1]]}
		start = e[1]
	}
	return merges
}

func (l *mergeList) add(a, b []byte) {
	l.text = append(l.text, a...)
	mid := int32(len(l.text))
	l.text = append(l.text, b...)
	l.ends = append(l.ends, [2]int32{mid, int32(len(l.text))})
}

// addLine adds a merge in its old form, "a b". Lines with the version are passed over.
func (l *mergeList) addLine(line []byte) error {
	if bytes.HasPrefix(line, []byte("#version")) {
		return nil
	}
	a, b, ok := bytes.Cut(line, []byte(" "))
	if !ok || bytes.IndexByte(b, ' ') >= 0 {
		return fmt.Errorf("%w: merge %d is %q, want two parts", ErrCorrupt, len(l.ends)+1, line)
	}
	l.add(a, b)
	return nil
}

// readMerges reads ["a b", ...] or [["a", "b"], ...].
func readMerges(s *jsonscan.Scanner) ([][2]string, error) {
	var l mergeList
	err := s.Array(func(i int) error {
		if i == maxVocab {
			return s.Errorf("more than %d merges", maxVocab)
		}
		if s.Peek() != jsonscan.Array {
			line, err := s.Bytes()
			if err != nil {
				return err
			}
			return l.addLine(line)
		}
		var pair [2][]byte
		n := 0
		err := s.Array(func(k int) error {
			b, err := s.Bytes()
			if n = k + 1; k < 2 {
				pair[k] = append(pair[k], b...)
			}
			return err
		})
		if err == nil && n != 2 {
			err = s.Errorf("merge %d has %d parts", i+1, n)
		}
		l.add(pair[0], pair[1])
		return err
	})
	return l.list(), err
}
