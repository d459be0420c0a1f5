package checkpoint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// The layout of sentence-transformers' MultiVectorEncoder (6.x): modules.json lists a Transformer, Dense modules
// that read token_embeddings, MultiVectorMask with the skiplist, Normalize and perhaps HierarchicalTokenPooling.
// Markers are prompts, that is text; lengths and query expansion stand in the Transformer's configuration.

// queryExpansion tells how short queries are filled up.
type queryExpansion struct {
	Strategy string  `json:"strategy"` // "fixed": to Length and cut there; "min": at least to Length
	Attend   bool    `json:"attend"`
	Token    *string `json:"token"` // null is the mask token, or the end of text
	Length   int     `json:"length"`
}

// maskConfig is the config.json of MultiVectorMask.
type maskConfig struct {
	Words []string  `json:"skiplist_words"`
	Tasks *[]string `json:"skiplist_tasks"` // nil: documents
	Keep  []int32   `json:"keep_only_token_ids"`
}

// poolingConfig is the config.json of HierarchicalTokenPooling.
type poolingConfig struct {
	Factor    *float64  `json:"pool_factor"`
	Protected *int      `json:"num_protected_tokens"`
	Normalize bool      `json:"normalize_embeddings"` // files without it are from before it was the default
	Tasks     *[]string `json:"tasks"`
}

// moduleConfig is what Dense and Normalize say about where they read.
type moduleConfig struct {
	Input  string `json:"module_input_name"`
	Output string `json:"module_output_name"`
}

// forTasks says which texts a list of tasks means.
func forTasks(file, field string, tasks *[]string) (queries, documents bool, err error) {
	if tasks == nil {
		return false, true, nil
	}
	for _, t := range *tasks {
		switch t {
		case "query":
			queries = true
		case "document":
			documents = true
		default:
			return false, false, fmt.Errorf("%w: %s: %s %q", ErrUnsupported, file, field, t)
		}
	}
	return queries, documents, nil
}

// openNative reads the modules after the Transformer and the settings.
func (c *Checkpoint) openNative(modules []module, tc *tokenizerConfig, s *sentenceConfig, p *pylateConfig) error {
	file := filepath.Join(c.Dir, "modules.json")
	r := &c.Retrieval
	*r = Retrieval{LowerCase: s.LowerCase, ExpansionID: tc.expansionID(c.Tokenizer)}
	var dense []module
	single := slices.ContainsFunc(modules, func(m module) bool { return m.kind() == "Pooling" })
	normalized, pooled := false, false
	for _, m := range modules {
		dir, err := within(c.Dir, "modules.json", "path", m.Path)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, "config.json")
		if pooled && m.kind() != "Normalize" {
			return fmt.Errorf("%w: %s: %s after HierarchicalTokenPooling", ErrUnsupported, file, m.kind())
		}
		switch m.kind() {
		case "Dense", "Normalize":
			var j moduleConfig
			if _, err := optional(readJSON(path, &j)); err != nil {
				return err
			}
			tokens := j.Input == "token_embeddings" && (j.Output == "" || j.Output == j.Input)
			if m.kind() == "Dense" {
				// Older files do not name the input; a single-vector model's projection moves to its tokens.
				if !tokens && !single && j.Input != "" {
					return fmt.Errorf("%w: %s: Dense from %q to %q, not of token_embeddings", ErrUnsupported, path, j.Input, j.Output)
				}
				if normalized {
					return fmt.Errorf("%w: %s: Dense after Normalize", ErrUnsupported, file)
				}
				dense = append(dense, m)
			}
			normalized = normalized || tokens && m.kind() == "Normalize"
		case "Pooling": // of a single-vector model: tokens are not pooled
		case "MultiVectorMask":
			if err := c.readMask(path); err != nil {
				return err
			}
		case "HierarchicalTokenPooling":
			if !normalized {
				return fmt.Errorf("%w: %s: HierarchicalTokenPooling before Normalize", ErrUnsupported, file)
			}
			if err := c.readPooling(path); err != nil {
				return err
			}
			pooled = true
		default:
			return fmt.Errorf("%w: %s: module type %q", ErrUnsupported, file, m.Type)
		}
	}
	if !normalized && !single {
		return fmt.Errorf("%w: %s: no Normalize of token_embeddings; golbert's vectors have unit length", ErrUnsupported, file)
	}
	if err := c.readHead(dense, "tanh"); err != nil { // as sentence-transformers' Dense has it
		return err
	}
	switch p.SimilarityFn {
	case "", "MaxSim", "maxsim":
	case "meanmaxsim":
		r.Similarity = Mean
	case "cosine", "dot":
		if single {
			break
		}
		fallthrough
	default:
		return fmt.Errorf("%w: %s: similarity_fn_name %q", ErrUnsupported, p.file, p.SimilarityFn)
	}
	r.QueryPrompt, r.DocumentPrompt = c.prompt(or(p.Prompts["query"], "")), c.prompt(or(p.Prompts["document"], ""))
	return c.nativeLengths(tc, s)
}

// prompt is a prompt as the tokenizer gets it: in lower case where texts are, except in front an added token.
func (c *Checkpoint) prompt(p string) string {
	if !c.Retrieval.LowerCase {
		return p
	}
	n := 0
	for _, a := range c.Tokenizer.AddedTokens() {
		if len(a.Content) > n && strings.HasPrefix(p, a.Content) {
			n = len(a.Content)
		}
	}
	return p[:n] + strings.ToLower(p[n:])
}

// nativeLengths reads lengths and query expansion.
func (c *Checkpoint) nativeLengths(tc *tokenizerConfig, s *sentenceConfig) error {
	const name = "sentence_bert_config.json"
	file := filepath.Join(c.Dir, name)
	switch {
	case s.Task != "" && s.Task != "feature-extraction":
		return fmt.Errorf("%w: %s: transformer_task %q", ErrUnsupported, file, s.Task)
	case s.Modalities["message"] != nil:
		return fmt.Errorf("%w: %s: modality_config %q: a chat template", ErrUnsupported, file, "message")
	case len(s.Processing) > 0:
		return fmt.Errorf("%w: %s: processing_kwargs", ErrUnsupported, file)
	}
	r := &c.Retrieval
	n := c.longest(s)
	if m := tc.MaxLength; m >= 1 && m < float64(n) {
		n = int(m)
	}
	r.QueryLength, r.DocumentLength = or(s.QueryLength, n), or(s.DocumentLength, n)
	e := s.Expansion
	if e == nil {
		return r.check(file, "query_length", "document_length")
	}
	if e.Length < 1 || e.Length > maxLength {
		return &CorruptError{File: file, Field: "query_expansion.length", Offset: -1, Msg: fmt.Sprintf("length %d is out of range", e.Length)}
	}
	r.Expansion, r.AttendExpansion, r.ExpansionLength = true, e.Attend, e.Length
	switch e.Strategy {
	case "fixed":
		r.QueryLength = e.Length
	case "min":
		r.QueryLength = max(r.QueryLength, e.Length)
	default:
		return fmt.Errorf("%w: %s: query_expansion strategy %q", ErrUnsupported, file, e.Strategy)
	}
	if e.Token != nil {
		id, ok := c.Tokenizer.ID(*e.Token)
		if !ok {
			return &CorruptError{File: file, Field: "query_expansion.token", Offset: -1, Msg: fmt.Sprintf("%q is not a token of the tokenizer", *e.Token)}
		}
		r.ExpansionID = id
	}
	if r.ExpansionID < 0 {
		return &CorruptError{File: file, Field: "query_expansion", Offset: -1, Msg: "the tokenizer has no token for it"}
	}
	return r.check(file, "query_length", "document_length")
}

// readMask reads MultiVectorMask.
func (c *Checkpoint) readMask(file string) error {
	var j maskConfig
	if err := readJSON(file, &j); err != nil {
		return err
	}
	if len(j.Keep) > 0 {
		return fmt.Errorf("%w: %s: keep_only_token_ids", ErrUnsupported, file)
	}
	queries, documents, err := forTasks(file, "skiplist_tasks", j.Tasks)
	if err != nil {
		return err
	}
	ids := SentenceTransformersSkiplist(c.Tokenizer, j.Words)
	if documents {
		c.Retrieval.Skiplist = ids
	}
	if queries {
		c.Retrieval.QuerySkiplist = ids
	}
	return nil
}

// SentenceTransformersSkiplist gives the ids that sentence-transformers drops: the tokens that are exactly these
// words. Words that are no token are ignored.
func SentenceTransformersSkiplist(t *tokenizer.Tokenizer, words []string) []int32 {
	var ids []int32
	for _, w := range words {
		if id, ok := t.ID(w); ok {
			ids = append(ids, id)
		}
	}
	return sorted(ids)
}

// maxFactor bounds what pooling may merge.
const maxFactor = 1 << 20

// readPooling reads HierarchicalTokenPooling.
func (c *Checkpoint) readPooling(file string) error {
	var j poolingConfig
	if err := readJSON(file, &j); err != nil {
		return err
	}
	p := Pooling{Factor: or(j.Factor, 1), Protected: or(j.Protected, 1), Normalize: j.Normalize}
	if !(p.Factor >= 1 && p.Factor <= maxFactor) || p.Protected < 0 || p.Protected > maxLength {
		return &CorruptError{File: file, Field: "pool_factor", Offset: -1, Msg: fmt.Sprintf("factor %g with %d protected tokens is out of range", p.Factor, p.Protected)}
	}
	var err error
	if p.Queries, p.Documents, err = forTasks(file, "tasks", j.Tasks); err != nil {
		return err
	}
	if p.Factor > 1 && (p.Queries || p.Documents) {
		c.Retrieval.Pooling = &p
	}
	return nil
}
