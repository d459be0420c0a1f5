package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// Layout is the way in which a directory is arranged.
type Layout uint8

// The layouts that Open understands.
const (
	HuggingFace Layout = iota // a backbone only
	PyLate                    // modules.json, 1_Dense, config_sentence_transformers.json
	Stanford                  // artifact.metadata, linear.weight
)

// String returns "huggingface", "pylate" or "stanford".
func (l Layout) String() string {
	switch l {
	case HuggingFace:
		return "huggingface"
	case PyLate:
		return "pylate"
	case Stanford:
		return "stanford"
	}
	return fmt.Sprintf("layout %d", uint8(l))
}

// Checkpoint is an open model directory. Retrieval holds the checkpoint's own settings; callers may change them
// before they build an encoder.
type Checkpoint struct {
	Dir       string
	Layout    Layout
	Config    Config
	Tensors   Tensors
	Prefix    string  // what the names of the backbone's tensors start with: "", "bert.", "roberta." ...
	Head      []Dense // the projections after the backbone, in order; none for a plain backbone
	Retrieval Retrieval
	Tokenizer *tokenizer.Tokenizer
}

// module is an entry of modules.json.
type module struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Type string `json:"type"`
}

// maxModules bounds the length of modules.json.
const maxModules = 32

// Open reads the checkpoint in dir. The layout is recognised by its files: modules.json with a PyLate module, or
// config_sentence_transformers.json of model_type ColBERT, makes it PyLate; artifact.metadata or the architecture
// HF_ColBERT makes it Stanford; anything else is a plain backbone, whose pooling and normalisation modules, if
// any, are not used. The error names the file and the field at fault and wraps ErrNotFound, ErrCorrupt or
// ErrUnsupported, or the tokenizer's errors of these kinds.
func Open(dir string) (*Checkpoint, error) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", ErrNotFound, dir)
	}
	c := &Checkpoint{Dir: dir}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) open() error {
	modules, err := readModules(c.Dir)
	if err != nil {
		return err
	}
	p := &pylateConfig{file: filepath.Join(c.Dir, "config_sentence_transformers.json")}
	if _, err := optional(readJSON(p.file, p)); err != nil {
		return err
	}
	// The first module is the backbone, in older directories in a folder of its own.
	root := c.Dir
	if len(modules) > 0 {
		if root, err = within(c.Dir, "modules.json", "path", modules[0].Path); err != nil {
			return err
		}
	}
	if c.Config, err = readConfig(root); err != nil {
		return err
	}
	s := &stanfordConfig{file: filepath.Join(c.Dir, "artifact.metadata")}
	artifact, err := optional(readJSON(s.file, s))
	if err != nil {
		return err
	}
	switch {
	case len(modules) > 0 && (p.ModelType == "ColBERT" || slices.ContainsFunc(modules, module.isPyLate)):
		c.Layout = PyLate
	case artifact || slices.Contains(c.Config.Architectures, "HF_ColBERT"):
		c.Layout = Stanford
	}

	tok, tc, err := readTokenizer(root)
	if err != nil {
		return err
	}
	c.Tokenizer = tok
	ts, err := OpenWeights(root)
	if err != nil {
		return err
	}
	c.Tensors = ts
	c.Prefix = findPrefix(ts.Names())
	sentence, err := readSentenceConfig(root)
	if err != nil {
		return err
	}

	switch c.Layout {
	case PyLate:
		if err := c.readHead(modules[1:]); err != nil {
			return err
		}
		return pylateRetrieval(c, &tc, &sentence, p)
	case Stanford:
		if err := stanfordHead(c, s); err != nil {
			return err
		}
		return stanfordRetrieval(c, &tc, s)
	}
	for _, m := range modules {
		if strings.Contains(m.Type, "MultiVector") {
			return fmt.Errorf("%w: %s: module type %q", ErrUnsupported, filepath.Join(c.Dir, "modules.json"), m.Type)
		}
	}
	plainRetrieval(c, &tc, &sentence)
	return nil
}

// readModules reads modules.json; without that file there are none.
func readModules(dir string) ([]module, error) {
	path := filepath.Join(dir, "modules.json")
	var ms []module
	if found, err := optional(readJSON(path, &ms)); err != nil || !found {
		return nil, err
	}
	if len(ms) == 0 || len(ms) > maxModules || !strings.HasSuffix(ms[0].Type, ".Transformer") {
		return nil, &CorruptError{File: path, Offset: -1, Msg: "the first module is not a Transformer, or there are too many"}
	}
	return ms, nil
}

func (m module) isPyLate() bool { return strings.HasPrefix(m.Type, "pylate.") }

// readHead reads the modules after the backbone.
func (c *Checkpoint) readHead(modules []module) error {
	in := c.Config.HiddenSize
	for _, m := range modules {
		kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		switch kind {
		case "Normalize": // token vectors are always normalised
			continue
		case "Dense":
		default:
			return fmt.Errorf("%w: %s: module type %q", ErrUnsupported, filepath.Join(c.Dir, "modules.json"), m.Type)
		}
		dir, err := within(c.Dir, "modules.json", "path", m.Path)
		if err != nil {
			return err
		}
		d, err := readDense(dir, in)
		if err != nil {
			return err
		}
		c.Head = append(c.Head, d)
		in = d.Out
	}
	return nil
}

// embeddingNames are what the token embeddings are called in the architectures at hand.
var embeddingNames = []string{
	"embeddings.word_embeddings.weight", // BERT, RoBERTa, XMOD
	"embeddings.tok_embeddings.weight",  // ModernBERT
	"embed_tokens.weight",               // T5 encoders and decoders
	"shared.weight",                     // T5
}

// findPrefix finds what stands before the name of the token embeddings. The shortest prefix wins: checkpoints of
// pairs of models have several.
func findPrefix(names []string) string {
	best, found := "", false
	for _, name := range names {
		for _, e := range embeddingNames {
			prefix, ok := strings.CutSuffix(name, e)
			if ok && (prefix == "" || prefix[len(prefix)-1] == '.') && (!found || len(prefix) < len(best)) {
				best, found = prefix, true
			}
		}
	}
	return best
}

// Close unmaps the weights.
func (c *Checkpoint) Close() error {
	if c.Tensors == nil {
		return nil
	}
	return c.Tensors.Close()
}
