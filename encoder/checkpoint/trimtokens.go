package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// tokenizerFile is a tokenizer's files taken apart as far as token ids go.
type tokenizerFile struct {
	dir   string
	lines []string                   // of vocab.txt, when there is no tokenizer.json
	top   map[string]json.RawMessage // tokenizer.json
	model map[string]json.RawMessage
	kind  string
	byID  map[string]int32                      // WordPiece and BPE
	list  [][2]json.RawMessage                  // Unigram: token and score
	pairs [][2]string                           // BPE's merges
	rest  map[string]map[string]json.RawMessage // tokenizer_config.json and added_tokens.json
}

// readTokenizerFile reads tokenizer.json, or vocab.txt.
func readTokenizerFile(dir string) (*tokenizerFile, error) {
	f := &tokenizerFile{dir: dir, rest: map[string]map[string]json.RawMessage{}}
	for _, name := range []string{"tokenizer_config.json", "added_tokens.json"} {
		var j map[string]json.RawMessage
		if found, err := optional(readJSON(filepath.Join(dir, name), &j)); err != nil {
			return nil, err
		} else if found {
			f.rest[name] = j
		}
	}
	path := filepath.Join(dir, "tokenizer.json")
	b, err := readFile(path, maxTokenizer)
	if found, err := optional(err); err != nil {
		return nil, err
	} else if !found {
		b, err := readFile(filepath.Join(dir, "vocab.txt"), maxTokenizer)
		if found, err := optional(err); err != nil {
			return nil, err
		} else if !found {
			return nil, fmt.Errorf("%w: %s has neither tokenizer.json nor vocab.txt: its vocabulary cannot be trimmed", ErrUnsupported, dir)
		}
		f.kind = "WordPiece"
		f.lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		return f, nil
	}
	if err := decodeJSON(path, b, &f.top); err != nil {
		return nil, err
	}
	if err := decodeJSON(path, f.top["model"], &f.model); err != nil {
		return nil, err
	}
	vocab := f.model["vocab"]
	if raw, ok := f.model["type"]; ok {
		if err := decodeJSON(path, raw, &f.kind); err != nil {
			return nil, err
		}
	} else if len(vocab) > 0 && vocab[0] == '[' { // older files do not say
		f.kind = "Unigram"
	} else if f.model["merges"] != nil {
		f.kind = "BPE"
	} else {
		f.kind = "WordPiece"
	}
	switch f.kind {
	case "Unigram":
		return f, decodeJSON(path, vocab, &f.list)
	case "WordPiece":
		return f, decodeJSON(path, vocab, &f.byID)
	case "BPE":
		if err := decodeJSON(path, vocab, &f.byID); err != nil {
			return nil, err
		}
		return f, f.readMerges(path)
	}
	return nil, fmt.Errorf("%w: %s: vocabulary of a %q model", ErrUnsupported, path, f.kind)
}

// readMerges reads "a b" or ["a", "b"].
func (f *tokenizerFile) readMerges(path string) error {
	var raw []json.RawMessage
	if err := decodeJSON(path, f.model["merges"], &raw); err != nil {
		return err
	}
	f.pairs = make([][2]string, len(raw))
	for i, r := range raw {
		if len(r) > 0 && r[0] == '[' {
			if err := decodeJSON(path, r, &f.pairs[i]); err != nil {
				return err
			}
			continue
		}
		var s string
		if err := decodeJSON(path, r, &s); err != nil {
			return err
		}
		a, b, ok := strings.Cut(s, " ")
		if !ok || strings.Contains(b, " ") {
			return &CorruptError{File: path, Field: "merges", Offset: -1, Msg: fmt.Sprintf("merge %d is %q", i, s)}
		}
		f.pairs[i] = [2]string{a, b}
	}
	return nil
}

// complete marks the tokens that the used ones need.
func (f *tokenizerFile) complete(used []bool) error {
	path := filepath.Join(f.dir, "tokenizer.json")
	mark := func(id int32) {
		if id >= 0 && int(id) < len(used) {
			used[id] = true
		}
	}
	switch f.kind {
	case "Unigram":
		// The score of an unknown character is 10 below the least score: its token must stay.
		least, at := 0.0, int32(-1)
		for i, p := range f.list {
			var score float64
			if err := decodeJSON(path, p[1], &score); err != nil {
				return err
			}
			if at < 0 || score < least {
				least, at = score, int32(i)
			}
			var token string
			if err := decodeJSON(path, p[0], &token); err != nil {
				return err
			}
			if isByte(token) {
				mark(int32(i))
			}
		}
		mark(at)
	case "BPE":
		prefix := ""
		if raw := f.model["continuing_subword_prefix"]; raw != nil && string(raw) != "null" {
			if err := decodeJSON(path, raw, &prefix); err != nil {
				return err
			}
		}
		parts := make(map[string][]int, len(f.pairs))
		for i, p := range f.pairs {
			product := p[0] + strings.TrimPrefix(p[1], prefix)
			parts[product] = append(parts[product], i)
		}
		var todo []string
		for token, id := range f.byID {
			if utf8.RuneCountInString(token) == 1 || isByte(token) {
				mark(id)
			}
			if id >= 0 && int(id) < len(used) && used[id] {
				todo = append(todo, token)
			}
		}
		seen := map[string]bool{}
		for len(todo) > 0 {
			token := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[token] {
				continue
			}
			seen[token] = true
			if id, ok := f.byID[token]; ok {
				mark(id)
			}
			for _, i := range parts[token] {
				todo = append(todo, f.pairs[i][0], f.pairs[i][1])
			}
		}
	}
	return nil
}

// isByte recognises the tokens of byte fall-back, <0x00> to <0xFF>.
func isByte(token string) bool {
	return len(token) == 6 && strings.HasPrefix(token, "<0x") && token[5] == '>'
}

// write writes the tokenizer with the tokens that stay, under their new ids.
func (f *tokenizerFile) write(dir string, ids, kept []int32) error {
	if err := f.writeRest(dir, ids); err != nil {
		return err
	}
	if f.top == nil {
		return newFile(filepath.Join(dir, "vocab.txt"), func(w io.Writer) error {
			for _, id := range kept {
				if int(id) < len(f.lines) { // others are added tokens
					if _, err := io.WriteString(w, f.lines[id]+"\n"); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	path := filepath.Join(f.dir, "tokenizer.json")
	model := map[string]any{}
	for k, v := range f.model {
		model[k] = v
	}
	stays := func(id int32) bool { return id >= 0 && int(id) < len(ids) && ids[id] >= 0 }
	switch f.kind {
	case "Unigram":
		list := make([][2]json.RawMessage, 0, len(kept))
		for i, p := range f.list {
			if stays(int32(i)) {
				list = append(list, p)
			}
		}
		model["vocab"] = list
		if raw := f.model["unk_id"]; raw != nil && string(raw) != "null" {
			var unk int32
			if err := decodeJSON(path, raw, &unk); err != nil {
				return err
			}
			if !stays(unk) {
				return &CorruptError{File: path, Field: "unk_id", Offset: -1, Msg: fmt.Sprintf("%d is not a token", unk)}
			}
			model["unk_id"] = ids[unk]
		}
	default:
		vocab := make(map[string]int32, len(kept))
		for token, id := range f.byID {
			if stays(id) {
				vocab[token] = ids[id]
			}
		}
		model["vocab"] = vocab
		if f.kind == "BPE" {
			merges := make([]json.RawMessage, 0, len(f.pairs))
			var raw []json.RawMessage
			if err := decodeJSON(path, f.model["merges"], &raw); err != nil {
				return err
			}
			prefix := ""
			if p := f.model["continuing_subword_prefix"]; p != nil && string(p) != "null" {
				if err := decodeJSON(path, p, &prefix); err != nil {
					return err
				}
			}
			for i, p := range f.pairs {
				_, a := vocab[p[0]]
				_, b := vocab[p[1]]
				if _, ab := vocab[p[0]+strings.TrimPrefix(p[1], prefix)]; a && b && ab {
					merges = append(merges, raw[i])
				}
			}
			model["merges"] = merges
		}
	}
	top := map[string]any{}
	for k, v := range f.top {
		var x any
		if k == "model" || k == "normalizer" || k == "pre_tokenizer" || k == "decoder" || k == "version" {
			top[k] = v
			continue
		}
		if err := decodeJSON(path, v, &x); err != nil {
			return err
		}
		var err error
		if top[k], err = renumber(k, x, ids); err != nil {
			return &CorruptError{File: path, Field: k, Offset: -1, Msg: err.Error()}
		}
	}
	top["model"] = model
	return writeJSON(filepath.Join(dir, "tokenizer.json"), top)
}

// renumber replaces the token ids in the parts of tokenizer.json that have any: added_tokens, post_processor
// and padding.
func renumber(key string, v any, ids []int32) (any, error) {
	id := func(v any) (any, error) {
		n, ok := v.(float64)
		if !ok || n < 0 || int(n) >= len(ids) || ids[int(n)] < 0 {
			return nil, fmt.Errorf("%v is not the id of a token", v)
		}
		return ids[int(n)], nil
	}
	switch x := v.(type) {
	case []any:
		// BertProcessing and RobertaProcessing: "sep": ["[SEP]", 102].
		if (key == "sep" || key == "cls") && len(x) == 2 {
			n, err := id(x[1])
			return []any{x[0], n}, err
		}
		for i := range x {
			var err error
			if key == "ids" {
				x[i], err = id(x[i])
			} else {
				x[i], err = renumber(key, x[i], ids)
			}
			if err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k, sub := range x {
			var err error
			_, number := sub.(float64)
			switch {
			case k == "id" && number || k == "pad_id": // other ids are texts
				x[k], err = id(sub)
			default:
				x[k], err = renumber(k, sub, ids)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// writeRest writes tokenizer_config.json and added_tokens.json.
func (f *tokenizerFile) writeRest(dir string, ids []int32) error {
	for name, j := range f.rest {
		path := filepath.Join(f.dir, name)
		out := make(map[string]json.RawMessage, len(j))
		for k, v := range j {
			out[k] = v
		}
		if name == "added_tokens.json" {
			for token, raw := range j {
				var id int32
				if err := decodeJSON(path, raw, &id); err != nil {
					return err
				}
				if id < 0 || int(id) >= len(ids) || ids[id] < 0 {
					return &CorruptError{File: path, Field: token, Offset: -1, Msg: fmt.Sprintf("%d is not the id of a token", id)}
				}
				out[token] = fmt.Appendf(nil, "%d", ids[id])
			}
		} else if raw := j["added_tokens_decoder"]; raw != nil {
			var added map[string]json.RawMessage
			if err := decodeJSON(path, raw, &added); err != nil {
				return err
			}
			now := make(map[string]json.RawMessage, len(added))
			for key, token := range added {
				var id int
				if _, err := fmt.Sscanf(key, "%d", &id); err != nil || id < 0 || id >= len(ids) {
					return &CorruptError{File: path, Field: "added_tokens_decoder", Offset: -1, Msg: fmt.Sprintf("%.40q is not the id of a token", key)}
				}
				if ids[id] >= 0 {
					now[fmt.Sprint(ids[id])] = token
				}
			}
			b, err := json.Marshal(now)
			if err != nil {
				return fmt.Errorf("checkpoint: %s: %w", path, err)
			}
			out["added_tokens_decoder"] = b
		}
		if err := writeJSON(filepath.Join(dir, name), out); err != nil {
			return err
		}
	}
	return nil
}
