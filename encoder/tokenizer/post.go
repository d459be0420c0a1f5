package tokenizer

import (
	"errors"
	"fmt"

	"github.com/golbert/golbert/internal/jsonscan"
)

// postProcessor holds the special tokens that stand before and after a single text, and what becomes of offsets.
type postProcessor struct {
	before, after []int32
	trims         []trim
}

func readPost(kind string, f fields) (*postProcessor, error) {
	switch kind {
	case "BertProcessing":
		return readBertProcessing(kind, f)
	case "TemplateProcessing":
		return readTemplate(f)
	case "RobertaProcessing":
		p, err := readBertProcessing(kind, f, "trim_offsets", "add_prefix_space")
		if err != nil {
			return nil, err
		}
		return p, p.readTrim(f)
	case "ByteLevel":
		if err := f.unknown("post_processor", kind, "add_prefix_space", "trim_offsets", "use_regex"); err != nil {
			return nil, err
		}
		p := &postProcessor{}
		return p, p.readTrim(f)
	case "Sequence":
		p := &postProcessor{}
		err := f.sequence("post_processor", kind, "processors", func(kind string, f fields) error {
			q, err := readPost(kind, f)
			if err != nil {
				return err
			}
			p.before = append(append([]int32(nil), q.before...), p.before...)
			p.after = append(p.after, q.after...)
			p.trims = append(p.trims, q.trims...)
			if len(p.before)+len(p.after) > maxTemplate || len(p.trims) > maxTemplate {
				return fmt.Errorf("%w: tokenizer.json: post_processor: more than %d special tokens", ErrCorrupt, maxTemplate)
			}
			return nil
		})
		return p, err
	}
	return nil, &UnsupportedError{Component: "post_processor", Name: kind}
}

// readTrim reads the options of byte-level post-processors.
func (p *postProcessor) readTrim(f fields) error {
	on, err1 := f.bool("trim_offsets", true)
	prefix, err2 := f.bool("add_prefix_space", true)
	if on {
		p.trims = append(p.trims, trim{prefixSpace: prefix})
	}
	return errors.Join(err1, err2)
}

// readBertProcessing reads {"sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}.
func readBertProcessing(kind string, f fields, more ...string) (*postProcessor, error) {
	if err := f.unknown("post_processor", kind, append(more, "sep", "cls")...); err != nil {
		return nil, err
	}
	token := func(name string) ([]int32, error) {
		s := f[name]
		if s == nil {
			return nil, fmt.Errorf("%w: tokenizer.json: %s lacks %q", ErrCorrupt, kind, name)
		}
		id := int32(-1)
		err := s.Array(func(i int) error {
			if i == 0 {
				return s.Skip()
			}
			v, err := readID(s)
			id = v
			return err
		})
		if err == nil && id < 0 {
			err = s.Errorf("%s has no id", name)
		}
		return []int32{id}, err
	}
	cls, err1 := token("cls")
	sep, err2 := token("sep")
	return &postProcessor{before: cls, after: sep}, errors.Join(err1, err2)
}

func readID(s *jsonscan.Scanner) (int32, error) {
	v, err := s.Int()
	if err == nil && (v < 0 || v >= maxVocab) {
		err = s.Errorf("id %d", v)
	}
	return int32(v), err
}

// readTemplate reads the template for single texts: special tokens, the text once, special tokens. The template
// for pairs of texts does not concern retrieval.
func readTemplate(f fields) (*postProcessor, error) {
	err := f.unknown("post_processor", "TemplateProcessing", "single", "pair", "special_tokens")
	if err != nil {
		return nil, err
	}
	special := map[string][]int32{}
	if s := f["special_tokens"]; s != nil {
		err := s.Object(func(key []byte) error {
			if len(special) == maxTemplate {
				return s.Errorf("more than %d special tokens", maxTemplate)
			}
			name := string(key)
			var ids []int32
			err := s.Object(func(key []byte) error {
				if string(key) != "ids" {
					return s.Skip()
				}
				return s.Array(func(i int) error {
					if i == maxTemplate {
						return s.Errorf("special token %q has more than %d ids", name, maxTemplate)
					}
					id, err := readID(s)
					ids = append(ids, id)
					return err
				})
			})
			special[name] = ids
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	s := f["single"]
	if s == nil {
		return nil, fmt.Errorf("%w: tokenizer.json: TemplateProcessing lacks \"single\"", ErrCorrupt)
	}
	p := &postProcessor{}
	texts := 0
	err = s.Array(func(int) error {
		return s.Object(func(key []byte) error {
			switch string(key) {
			case "Sequence":
				texts++
				return s.Object(func(key []byte) error {
					if string(key) != "id" {
						return s.Skip()
					}
					id, err := s.Text()
					if err == nil && id != "A" {
						err = s.Errorf("template for one text names text %q", id)
					}
					return err
				})
			case "SpecialToken":
				var name string
				if err := s.Object(func(key []byte) (err error) {
					if string(key) != "id" {
						return s.Skip()
					}
					name, err = s.Text()
					return err
				}); err != nil {
					return err
				}
				ids, ok := special[name]
				if !ok {
					return s.Errorf("template names %q, which is not among its special_tokens", name)
				}
				if len(p.before)+len(p.after)+len(ids) > maxTemplate {
					return s.Errorf("template of more than %d special tokens", maxTemplate)
				}
				if texts == 0 {
					p.before = append(p.before, ids...)
				} else {
					p.after = append(p.after, ids...)
				}
				return nil
			}
			return s.Errorf("template has a part %q", key)
		})
	})
	if err != nil {
		return nil, err
	}
	if texts != 1 {
		return nil, &UnsupportedError{Component: "post_processor", Name: fmt.Sprintf("TemplateProcessing with the text %d times", texts)}
	}
	return p, nil
}
