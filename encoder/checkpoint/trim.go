package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/internal/mmapfile"
	"github.com/golbert/golbert/internal/pytext"
)

// TrimOptions are the options of Trim. A nil pointer means the zero value.
type TrimOptions struct {
	// Keep are further tokens to keep, by their text. Those that the vocabulary lacks are an error.
	Keep []string
	// Characters keeps all tokens of a single character, too, so that words which the texts do not have fall apart
	// into characters before they become unknown. CJK vocabularies have thousands.
	Characters bool
	// Words is Options.Words for the checkpoint, which tokenizes the texts.
	Words tokenizer.WordSplitter
}

// TrimReport says what Trim did.
type TrimReport struct {
	Texts         int   // texts looked at
	Before, After int   // tokens of the vocabulary
	Saved         int64 // bytes of weights that are left out
}

// ErrTrim marks trimmed vocabularies that do not pass the check at the end. It is a fault of Trim, not of the input.
var ErrTrim = errors.New("checkpoint: trimming changes a text's tokens")

// Trim writes to out, which must not exist, the checkpoint in dir with the part of its vocabulary that texts need
// (Cahyawijaya et al., "idT5", 2023; Abdaoui et al., "Load What You Need", SustaiNLP 2020): the tokens that they
// have, special and added ones, markers and skiplists. Token ids change; the token vectors of a text that has only kept
// tokens do not, in any bit: WordPiece takes the longest match, Unigram the best path and BPE the merges of lowest
// rank, and none of these loses to another when those that lose are gone. For BPE that takes the
// tokens that kept ones are merged from as well.
//
// texts is iterated twice: the second time every text is tokenized with both vocabularies and compared. The
// tokenizer must be a tokenizer.json or BERT's vocab.txt. Errors name the file and wrap ErrUnsupported, ErrCorrupt,
// ErrNotFound or ErrTrim, or come from texts.
func Trim(dir, out string, texts func() iter.Seq2[string, error], o *TrimOptions) (*TrimReport, error) {
	if o == nil {
		o = new(TrimOptions)
	}
	c, err := OpenWith(dir, &Options{Words: o.Words})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t := &trimmer{c: c, words: o.Words, used: make([]bool, c.Tokenizer.VocabSize())}
	if err := t.root(); err != nil {
		return nil, err
	}
	for text, err := range texts() {
		if err != nil {
			return nil, err
		}
		t.report.Texts++
		for _, v := range t.variants(text) {
			t.use(v)
		}
	}
	if err := t.keep(o); err != nil {
		return nil, err
	}
	err = newDir(out, func(tmp string) error {
		if err := t.write(tmp); err != nil {
			return err
		}
		return t.verify(tmp, texts)
	})
	if err != nil {
		return nil, err
	}
	return &t.report, nil
}

// trimmer is the state of one call of Trim.
type trimmer struct {
	c       *Checkpoint
	words   tokenizer.WordSplitter
	folder  string // of the backbone, below the checkpoint's directory
	used    []bool
	ids     []int32 // new id by old one, -1 for tokens that go
	kept    []int32 // old ids in the order of the new ones
	rows    int     // of the embedding table
	tok     *tokenizerFile
	enc     tokenizer.Encoding
	report  TrimReport
	configs map[string]json.RawMessage
}

// root finds the backbone's folder and reads its files.
func (t *trimmer) root() error {
	modules, err := readModules(t.c.Dir)
	if err != nil {
		return err
	}
	t.folder = rootFolder(modules)
	root := filepath.Join(t.c.Dir, t.folder)
	if t.tok, err = readTokenizerFile(root); err != nil {
		return err
	}
	if err := readJSON(filepath.Join(root, "config.json"), &t.configs); err != nil {
		return err
	}
	for _, name := range t.c.Tensors.Names() {
		if x, _ := t.c.Tensors.Tensor(name); isEmbedding(name) && len(x.Shape) == 2 {
			t.rows = max(t.rows, x.Shape[0])
		}
	}
	if t.rows < len(t.used) {
		return &CorruptError{File: root, Field: "embeddings", Offset: -1, Msg: fmt.Sprintf("%d rows for %d tokens", t.rows, len(t.used))}
	}
	return nil
}

func isEmbedding(name string) bool {
	return slices.ContainsFunc(embeddingNames, func(e string) bool {
		rest, ok := strings.CutSuffix(name, e)
		return ok && (rest == "" || rest[len(rest)-1] == '.')
	})
}

// variants gives the texts that the encoder would tokenize for a text.
func (t *trimmer) variants(text string) []string {
	r := &t.c.Retrieval
	var out []string
	for _, p := range []string{"", r.QueryPrompt, r.DocumentPrompt} {
		s := text
		if r.StripSpace {
			if s = strings.TrimRightFunc(s, unicode.IsSpace); p == "" { // a prompt stands before the space
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
		}
		if r.LowerCase {
			s, _ = pytext.Lower(s)
		}
		if s = p + s; !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (t *trimmer) use(text string) {
	t.c.Tokenizer.AppendEncode(&t.enc, text, tokenizer.EncodeOptions{AddSpecial: true})
	for _, id := range t.enc.IDs {
		t.used[id] = true
	}
}

// keep completes the used tokens with those that settings and tokenizer need, and numbers them.
func (t *trimmer) keep(o *TrimOptions) error {
	tok, r := t.c.Tokenizer, &t.c.Retrieval
	mark := func(id int32) {
		if id >= 0 && int(id) < len(t.used) {
			t.used[id] = true
		}
	}
	for _, a := range tok.AddedTokens() {
		mark(a.ID)
	}
	for _, f := range []func() (int32, bool){tok.CLS, tok.SEP, tok.PAD, tok.MASK, tok.UNK} {
		if id, ok := f(); ok {
			mark(id)
		}
	}
	for _, m := range []Marker{r.Query, r.Document} {
		if m.Token != "" {
			mark(m.ID)
		}
	}
	mark(r.ExpansionID)
	for _, id := range append(slices.Clone(r.Skiplist), r.QuerySkiplist...) {
		mark(id)
	}
	for _, c := range punctuation { // how Stanford's skiplist is found
		t.use(string(c))
	}
	for _, k := range o.Keep {
		id, ok := tok.ID(k)
		if !ok {
			return fmt.Errorf("%w: token %q to keep is not in the vocabulary", ErrNotFound, k)
		}
		mark(id)
	}
	if o.Characters {
		for id := range t.used {
			s, ok := tok.Token(int32(id))
			s = strings.TrimPrefix(strings.TrimPrefix(s, "##"), "▁")
			t.used[id] = t.used[id] || ok && utf8.RuneCountInString(s) <= 1
		}
	}
	for _, id := range tokenIDs(t.configs) {
		mark(id)
	}
	switch t.c.Config.ModelType {
	case "roberta", "xlm-roberta", "xmod", "camembert":
		// Positions count from the padding token's id, which must stay.
		for id := range t.c.Config.PadTokenID {
			mark(int32(id))
		}
	}
	if err := t.tok.complete(t.used); err != nil {
		return err
	}
	t.ids = make([]int32, len(t.used))
	for id, used := range t.used {
		t.ids[id] = -1
		if used {
			t.ids[id] = int32(len(t.kept))
			t.kept = append(t.kept, int32(id))
		}
	}
	t.report.Before, t.report.After = len(t.used), len(t.kept)
	return nil
}

// write makes all files of the new checkpoint.
func (t *trimmer) write(tmp string) error {
	parts, err := folders(t.c.Dir)
	if err != nil {
		return err
	}
	if !slices.Contains(parts, t.folder) {
		parts = append(parts, t.folder)
	}
	own := []string{
		"config.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt",
		"sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "generation_config.json",
	}
	for _, part := range parts {
		src, dst := filepath.Join(t.c.Dir, part), filepath.Join(tmp, part)
		if part != t.folder {
			if err := copySettings(dst, src); err != nil {
				return err
			}
			if err := copyWeights(dst, src); err != nil {
				return err
			}
			continue
		}
		if err := copySettings(dst, src, own...); err != nil {
			return err
		}
		if err := t.tok.write(dst, t.ids, t.kept); err != nil {
			return err
		}
		if err := t.writeConfig(dst); err != nil {
			return err
		}
		if err := newFile(filepath.Join(dst, "model.safetensors"), t.writeWeights); err != nil {
			return err
		}
	}
	if head := filepath.Join(t.c.Dir, "colbert_linear.pt"); exists(head) {
		return copyFile(filepath.Join(tmp, "colbert_linear.pt"), head)
	}
	return nil
}

// copyWeights copies a module's weights as they are.
func copyWeights(dst, src string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	for _, e := range entries {
		n := e.Name()
		if strings.HasPrefix(n, "model") && strings.HasSuffix(n, ".safetensors") || strings.HasPrefix(n, "pytorch_model") && strings.HasSuffix(n, ".bin") || strings.HasSuffix(n, ".index.json") {
			if err := copyFile(filepath.Join(dst, n), filepath.Join(src, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(dst, src string) error {
	return newFile(dst, func(w io.Writer) error {
		f, err := os.Open(src)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

// writeConfig writes config.json with the new number of tokens and the new ids.
func (t *trimmer) writeConfig(dir string) error {
	j := make(map[string]json.RawMessage, len(t.configs))
	for k, v := range t.configs {
		if isTokenID(k) {
			var ids []int32
			one := json.Unmarshal(v, &ids) != nil
			if one {
				ids = make([]int32, 1)
				if json.Unmarshal(v, &ids[0]) != nil || string(v) == "null" {
					j[k] = v
					continue
				}
			}
			for i, id := range ids {
				if id >= 0 && int(id) < len(t.ids) {
					ids[i] = t.ids[id]
				}
			}
			if one {
				v = fmt.Appendf(nil, "%d", ids[0])
			} else {
				var err error
				if v, err = json.Marshal(ids); err != nil {
					return fmt.Errorf("checkpoint: config.json: %s: %w", k, err)
				}
			}
		}
		j[k] = v
	}
	j["vocab_size"] = fmt.Appendf(nil, "%d", len(t.kept))
	return writeJSON(filepath.Join(dir, "config.json"), j)
}

func isTokenID(key string) bool { return strings.HasSuffix(key, "_token_id") }

// tokenIDs lists the ids that a configuration names.
func tokenIDs(j map[string]json.RawMessage) []int32 {
	var out []int32
	for k, v := range j {
		if !isTokenID(k) {
			continue
		}
		var id int32
		var ids []int32
		if json.Unmarshal(v, &id) == nil && string(v) != "null" {
			out = append(out, id)
		} else if json.Unmarshal(v, &ids) == nil {
			out = append(out, ids...)
		}
	}
	return out
}

func writeJSON(path string, v any) error {
	return newFile(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	})
}

// unusedHeads are tensors with a row for every token that golbert does not read.
var unusedHeads = []string{"decoder.weight", "decoder.bias", "predictions.bias", "lm_head.weight", "lm_head.bias"}

// writeWeights streams the tensors, of the embeddings only the rows that stay.
func (t *trimmer) writeWeights(w io.Writer) error {
	var specs, sources []Tensor
	for _, name := range t.c.Tensors.Names() {
		x, _ := t.c.Tensors.Tensor(name)
		spec := x
		stem := strings.TrimSuffix(name, "_scale")
		switch {
		case isEmbedding(stem) && len(x.Shape) > 0 && x.Shape[0] == t.rows:
			spec.Shape = append([]int{len(t.kept)}, x.Shape[1:]...)
		case len(x.Shape) > 0 && x.Shape[0] == t.rows && slices.ContainsFunc(unusedHeads, func(h string) bool { return strings.HasSuffix(name, h) }):
			t.report.Saved += int64(len(x.Data))
			continue
		}
		specs, sources = append(specs, spec), append(sources, x)
	}
	return StreamSafeTensors(w, specs, map[string]string{"format": "pt"}, func(i int, w io.Writer) error {
		x := sources[i]
		return mmapfile.Guard(func() error {
			if slices.Equal(specs[i].Shape, x.Shape) {
				_, err := w.Write(x.Data)
				return err
			}
			row := len(x.Data) / t.rows
			t.report.Saved += int64(row * (t.rows - len(t.kept)))
			for _, id := range t.kept {
				if _, err := w.Write(x.Data[int(id)*row : (int(id)+1)*row]); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// verify opens the result and tokenizes all texts with both.
func (t *trimmer) verify(dir string, texts func() iter.Seq2[string, error]) error {
	n, err := OpenWith(dir, &Options{Words: t.words})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTrim, err)
	}
	defer n.Close()
	same := func(a, b []int32) bool {
		a = slices.Clone(a)
		for i, id := range a {
			a[i] = t.ids[id]
		}
		slices.Sort(a)
		return slices.Equal(a, b)
	}
	was, now := &t.c.Retrieval, &n.Retrieval
	if was.ExpansionID >= 0 && t.ids[was.ExpansionID] != now.ExpansionID || !same(was.Skiplist, now.Skiplist) || !same(was.QuerySkiplist, now.QuerySkiplist) ||
		was.Query.Token != "" && t.ids[was.Query.ID] != now.Query.ID || was.Document.Token != "" && t.ids[was.Document.ID] != now.Document.ID {
		return fmt.Errorf("%w: markers, expansion token or skiplists", ErrTrim)
	}
	var e tokenizer.Encoding
	at := 0
	for text, err := range texts() {
		if err != nil {
			return err
		}
		for _, v := range t.variants(text) {
			t.c.Tokenizer.AppendEncode(&t.enc, v, tokenizer.EncodeOptions{AddSpecial: true})
			n.Tokenizer.AppendEncode(&e, v, tokenizer.EncodeOptions{AddSpecial: true})
			ok := len(e.IDs) == len(t.enc.IDs)
			for i := 0; ok && i < len(e.IDs); i++ {
				ok = e.IDs[i] == t.ids[t.enc.IDs[i]] && e.Offsets[i] == t.enc.Offsets[i]
			}
			if !ok {
				return fmt.Errorf("%w: text %d: %.200q", ErrTrim, at, text)
			}
		}
		at++
	}
	return nil
}
