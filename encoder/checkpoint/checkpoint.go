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
	HuggingFace          Layout = iota // a backbone only
	PyLate                             // modules.json, 1_Dense, config_sentence_transformers.json
	Stanford                           // artifact.metadata, linear.weight
	SentenceTransformers               // modules.json with MultiVectorMask, or a Dense after the pooling
	XTR                                // a T5 encoder and 2_Dense
	BGEM3                              // colbert_linear.pt
)

var layoutNames = [...]string{"huggingface", "pylate", "stanford", "sentence-transformers", "xtr", "bge-m3"}

// String returns "huggingface", "pylate", "stanford", "sentence-transformers", "xtr" or "bge-m3".
func (l Layout) String() string {
	if int(l) < len(layoutNames) {
		return layoutNames[l]
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

// Open reads the checkpoint in dir. The layout is recognised by its files: modules.json with a MultiVectorMask, or
// config_sentence_transformers.json of model_type MultiVectorEncoder, makes it SentenceTransformers; a PyLate
// module or the model_type ColBERT makes it PyLate; artifact.metadata or the architecture HF_ColBERT makes it
// Stanford; colbert_linear.pt makes it BGEM3; a T5 encoder with a narrow 2_Dense makes it XTR. A
// single-vector model whose modules.json has Dense modules is SentenceTransformers, too, with these projections
// applied to the tokens, as that library converts it. Anything else is a plain backbone, whose pooling and
// normalisation modules, if any, are not used. The error names the file and the field at fault and wraps
// ErrNotFound, ErrCorrupt or ErrUnsupported, or the tokenizer's errors of these kinds.
func Open(dir string) (*Checkpoint, error) { return OpenWith(dir, nil) }

// Options change how a checkpoint is opened. A nil pointer means the zero value.
type Options struct {
	// Words finds the words of Japanese text for checkpoints whose tokenizer is BertJapaneseTokenizer, in place of
	// MeCab: a Dictionary of package encoder/japanese. Without it they are ErrUnsupported. Others do not use it.
	Words tokenizer.WordSplitter
}

// OpenWith is Open with options.
func OpenWith(dir string, o *Options) (*Checkpoint, error) {
	if o == nil {
		o = new(Options)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", ErrNotFound, dir)
	}
	c := &Checkpoint{Dir: dir}
	if err := c.open(o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) open(o *Options) error {
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
	has := func(kind string) bool {
		return slices.ContainsFunc(modules, func(m module) bool { return m.kind() == kind })
	}
	t5 := c.Config.ModelType == "t5" || c.Config.ModelType == "mt5"
	switch {
	case has("MultiVectorMask") || len(modules) > 0 && p.ModelType == "MultiVectorEncoder":
		c.Layout = SentenceTransformers
	case len(modules) > 0 && (p.ModelType == "ColBERT" || slices.ContainsFunc(modules, module.isPyLate)):
		c.Layout = PyLate
	case artifact || slices.Contains(c.Config.Architectures, "HF_ColBERT"):
		c.Layout = Stanford
	case exists(filepath.Join(c.Dir, "colbert_linear.pt")):
		c.Layout = BGEM3
	case t5 && isXTR(c.Dir):
		c.Layout = XTR
	case has("Dense"):
		c.Layout = SentenceTransformers
	}

	tok, tc, err := readTokenizer(root, o.Words)
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
		if err := c.readHead(modules[1:], "identity"); err != nil {
			return err
		}
		return pylateRetrieval(c, &tc, &sentence, p)
	case Stanford:
		if err := stanfordHead(c, s); err != nil {
			return err
		}
		return stanfordRetrieval(c, &tc, s)
	case SentenceTransformers:
		return c.openNative(modules[1:], &tc, &sentence, p)
	case XTR:
		return c.openXTR(&tc)
	case BGEM3:
		return c.openBGEM3(&tc)
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
	if len(ms) > 0 && ms[0].kind() == "Router" {
		return nil, fmt.Errorf("%w: %s: module type %q: queries and documents with encoders of their own", ErrUnsupported, path, ms[0].Type)
	}
	if len(ms) == 0 || len(ms) > maxModules || ms[0].kind() != "Transformer" {
		return nil, &CorruptError{File: path, Offset: -1, Msg: "the first module is not a Transformer, or there are too many"}
	}
	return ms, nil
}

func (m module) isPyLate() bool { return strings.HasPrefix(m.Type, "pylate.") }

// kind is the class of the module without its path.
func (m module) kind() string { return m.Type[strings.LastIndexByte(m.Type, '.')+1:] }

// readHead reads the modules after the backbone. activation is that of a Dense which names none.
func (c *Checkpoint) readHead(modules []module, activation string) error {
	in := c.Config.HiddenSize
	for _, m := range modules {
		switch m.kind() {
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
		d, err := readDense(dir, in, activation)
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
	"embeddings.weight",                 // Mamba
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
