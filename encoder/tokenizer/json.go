package tokenizer

import (
	"errors"
	"fmt"

	"github.com/golbert/golbert/internal/jsonscan"
)

const (
	// maxFile bounds the size of tokenizer files; those of the largest vocabularies have 40 MB.
	maxFile = 256 << 20
	// maxAdded bounds the number of added tokens.
	maxAdded = 1 << 16
	// maxTemplate bounds the number of special tokens around a text.
	maxTemplate = 64
)

// file is what FromJSON reads out of a tokenizer.json.
type file struct {
	added      []AddedToken
	normalizer normalizer
	pre        []any // preTokenizer or rewriter
	post       *postProcessor
	model      *jsonModel
}

// FromJSON reads a Hugging Face tokenizer.json. A component that is not implemented gives an *UnsupportedError,
// anything malformed ErrCorrupt with the byte offset. The stored truncation and padding are ignored.
func FromJSON(b []byte) (*Tokenizer, error) {
	t, err := fromJSON(b)
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("%w: tokenizer.json: %w", ErrCorrupt, syntax)
	}
	return t, err
}

func fromJSON(b []byte) (*Tokenizer, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: tokenizer.json of %d bytes", ErrCorrupt, len(b))
	}
	s := jsonscan.New(b)
	f := file{normalizer: verbatim{}}
	err := s.Object(func(key []byte) error {
		switch name := string(key); name {
		case "added_tokens":
			return s.Array(func(i int) error {
				if i == maxAdded {
					return s.Errorf("more than %d added tokens", maxAdded)
				}
				t, err := readAdded(s)
				f.added = append(f.added, t)
				return err
			})
		case "normalizer", "pre_tokenizer", "post_processor", "model":
			if null, err := s.Null(); null || err != nil {
				return err
			}
			kind, fields, err := readComponent(s, name)
			if err != nil {
				return err
			}
			switch name {
			case "normalizer":
				f.normalizer, err = readNormalizer(kind, fields)
			case "pre_tokenizer":
				f.pre, err = readPreTokenizer(nil, kind, fields)
			case "post_processor":
				f.post, err = readPost(kind, fields)
			default:
				f.model, err = readModel(kind, fields)
			}
			if err != nil {
				return relocate(err, name)
			}
			return nil
		}
		return s.Skip()
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return nil, err
	}
	if f.model == nil {
		return nil, fmt.Errorf("%w: tokenizer.json has no model", ErrCorrupt)
	}
	return f.build()
}

// build puts the parts together.
func (f *file) build() (*Tokenizer, error) {
	// A ByteLevel at the end, which nothing but the model sees, may be left to the model.
	_, byteLevel := last(f.pre).(byteLetters)
	m, unk, bytes, err := f.model.build(byteLevel)
	if err != nil {
		return nil, err
	}
	if bytes {
		f.pre = f.pre[:len(f.pre)-1]
	}
	marks, ok := last(f.pre).(*metaspace)
	if ok && marks.split {
		f.pre = f.pre[:len(f.pre)-1]
	} else {
		marks = nil
	}
	// The file does not say which token pads or masks; these are the names in use.
	names := [4][]string{{"[CLS]", "<s>"}, {"[SEP]", "</s>"}, {"[PAD]", "<pad>"}, {"[MASK]", "<mask>"}}
	t, err := build(f.model.vocab, f.normalizer, f.pre, m, f.added, names)
	if err != nil {
		return nil, err
	}
	t.unk, t.marks = unk, marks
	_, isBPE := m.(*bpe)
	_, isUnigram := m.(*unigram)
	t.cached = isBPE || isUnigram
	if f.post != nil {
		t.before, t.after = f.post.before, f.post.after
		t.setTrims(f.post.trims)
		if n := len(t.before); n > 0 && t.special[specialCLS] < 0 {
			t.special[specialCLS] = t.before[0]
		}
		if n := len(t.after); n > 0 && t.special[specialSEP] < 0 {
			t.special[specialSEP] = t.after[n-1]
		}
		for _, ids := range [][]int32{t.before, t.after} {
			for _, id := range ids {
				if id < 0 || int(id) >= t.size {
					return nil, fmt.Errorf("%w: tokenizer.json: post_processor: id %d is not in the vocabulary", ErrCorrupt, id)
				}
			}
		}
	}
	return t, nil
}

// last returns the last step, nil for none.
func last(steps []any) any {
	if len(steps) == 0 {
		return nil
	}
	return steps[len(steps)-1]
}

// fields are the members of a component but for its type, by name, unread.
type fields map[string]*jsonscan.Scanner

// relocate names the component in a syntax error, whose offset counts within that component's field.
func relocate(err error, name string) error {
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%w: tokenizer.json: %s: %s", ErrCorrupt, name, syntax.Msg)
	}
	return err
}

// readComponent reads an object with a type.
func readComponent(s *jsonscan.Scanner, name string) (string, fields, error) {
	kind, f := "", fields{}
	err := s.Object(func(key []byte) error {
		k := string(key)
		if k == "type" {
			var err error
			kind, err = s.Text()
			return err
		}
		if _, again := f[k]; again || len(f) == 64 {
			return s.Errorf("%s: duplicate field %q, or too many", name, k)
		}
		raw, err := s.Raw()
		f[k] = jsonscan.New(raw)
		return err
	})
	return kind, f, err
}

// unknown refuses fields that are not listed: they would change what the component does.
func (f fields) unknown(component, kind string, known ...string) error {
next:
	for k := range f {
		for _, n := range known {
			if k == n {
				continue next
			}
		}
		return &UnsupportedError{Component: component, Name: kind + "." + k}
	}
	return nil
}

// bool reads an optional boolean; null means absent.
func (f fields) bool(name string, def bool) (bool, error) {
	s := f[name]
	if s == nil {
		return def, nil
	}
	if null, err := s.Null(); null || err != nil {
		return def, err
	}
	v, err := s.Bool()
	if err != nil {
		return def, s.Errorf("%s: %v", name, err)
	}
	return v, nil
}

// text reads an optional string; null means absent.
func (f fields) text(name, def string) (string, error) {
	s := f[name]
	if s == nil {
		return def, nil
	}
	if null, err := s.Null(); null || err != nil {
		return def, err
	}
	v, err := s.Text()
	if err != nil {
		return def, s.Errorf("%s: %v", name, err)
	}
	return v, nil
}

// readAdded reads one added token.
func readAdded(s *jsonscan.Scanner) (AddedToken, error) {
	var t AddedToken
	var content bool
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "id":
			var id int64
			if id, err = s.Int(); err == nil && (id < 0 || id >= maxVocab) {
				err = s.Errorf("added token has id %d", id)
			}
			t.ID = int32(id)
		case "content":
			content = true
			t.Content, err = s.Text()
		case "single_word":
			t.SingleWord, err = s.Bool()
		case "lstrip":
			t.LStrip, err = s.Bool()
		case "rstrip":
			t.RStrip, err = s.Bool()
		case "normalized":
			t.Normalized, err = s.Bool()
		case "special":
			t.Special, err = s.Bool()
		default:
			err = s.Skip()
		}
		return err
	})
	if err == nil && !content {
		err = s.Errorf("added token without content")
	}
	return t, err
}

// readVocab reads {"token": id, ...}.
func readVocab(s *jsonscan.Scanner) (*vocab, error) {
	type entry struct{ end, id int32 }
	var text []byte // all tokens in one, so that they share one allocation
	var entries []entry
	maxID := int64(-1)
	err := s.Object(func(key []byte) error {
		text = append(text, key...)
		id, err := s.Int()
		if err == nil && (id < 0 || id >= maxVocab || len(entries) == maxVocab) {
			err = s.Errorf("token %q has id %d", text[len(text)-len(key):], id)
		}
		entries = append(entries, entry{int32(len(text)), int32(id)})
		maxID = max(maxID, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	v, err := newVocab(len(entries), int(maxID))
	if err != nil {
		return nil, err
	}
	all, start := string(text), int32(0)
	for _, e := range entries {
		if err := v.add(all[start:e.end], int(e.id)); err != nil {
			return nil, err
		}
		start = e.end
	}
	return v, nil
}
