package transformer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// adapters are XMOD's parts per language: a bottleneck of two dense layers after every feed-forward layer. Of
// a checkpoint's 81 languages a program uses few, and each has millions of weights, so a language's adapters
// stay in the mapped file until the first batch that needs them.
type adapters struct {
	hidden, bottleneck int
	before             adapterNorm
	residualAfterNorm  bool // ln_before_adapter: the residual is the normalised input
	layers             int
	src                checkpoint.Tensors
	prefix             string
	precision          Precision
	languages          []*language
	preferred          int // default_language; -1 for none
	params             int64
}

// adapterNorm is the normalisation of the adapter's input.
type adapterNorm uint8

const (
	adapterNoNorm    adapterNorm = iota
	adapterReuseNorm             // adapter_reuse_layer_norm: the layer's last norm, which is applied again afterwards
	adapterOwnNorm               // adapter_layer_norm
)

// language is one language's adapters, loaded at their first use.
type language struct {
	name string
	gone bool // listed in the configuration, without any weights

	once   sync.Once
	layers []adapter
	err    error
}

type adapter struct{ down, up linear }

// stretch is a number of successive rows in one language.
type stretch struct {
	end  int // one past the last row
	lang *language
}

// xmodConfig is what config.json says beyond BERT's settings, with XmodConfig's defaults.
type xmodConfig struct {
	PreNorm   bool     `json:"pre_norm"`
	Reduction int      `json:"adapter_reduction_factor"`
	OwnNorm   bool     `json:"adapter_layer_norm"`
	ReuseNorm bool     `json:"adapter_reuse_layer_norm"`
	Before    bool     `json:"ln_before_adapter"`
	Languages []string `json:"languages"`
	Default   string   `json:"default_language"`
}

// Bounds on what a configuration may list.
const (
	maxLanguages    = 4096
	maxLanguageName = 64
)

func readXMOD(g *checkpoint.Config) (xmodConfig, error) {
	c := xmodConfig{Reduction: 2, ReuseNorm: true, Before: true, Languages: []string{"en_XX"}}
	if err := json.Unmarshal(g.Raw, &c); err != nil {
		return c, fmt.Errorf("XMOD configuration: %w: %w", err, ErrUnsupported)
	}
	switch {
	case c.Reduction < 1 || c.Reduction > g.HiddenSize:
		return c, fmt.Errorf("XMOD with adapter_reduction_factor %d and hidden size %d: %w", c.Reduction, g.HiddenSize, ErrUnsupported)
	case len(c.Languages) == 0 || len(c.Languages) > maxLanguages:
		return c, fmt.Errorf("XMOD with %d languages, 1 to %d are possible: %w", len(c.Languages), maxLanguages, ErrUnsupported)
	}
	seen := make(map[string]bool, len(c.Languages))
	for i, l := range c.Languages {
		if l == "" || len(l) > maxLanguageName || strings.ContainsRune(l, '.') || seen[l] {
			return c, fmt.Errorf("XMOD language %d is called %.80q, which is empty, long, has a dot or comes twice: %w", i, l, ErrUnsupported)
		}
		seen[l] = true
	}
	if c.Default != "" && !seen[c.Default] {
		return c, fmt.Errorf("XMOD default_language %.80q is none of its %d languages: %w", c.Default, len(c.Languages), ErrUnsupported)
	}
	return c, nil
}

// adapters checks the names and shapes of all languages' tensors, without reading their data. A language of
// which the checkpoint holds nothing is left out: smaller checkpoints are made that way.
func (l *loader) adapters(c *xmodConfig, hidden, layers int) *adapters {
	a := &adapters{
		hidden: hidden, bottleneck: hidden / c.Reduction, layers: layers,
		residualAfterNorm: c.Before, src: l.src, prefix: l.prefix, precision: l.precision, preferred: -1,
	}
	switch {
	case c.OwnNorm:
		a.before = adapterOwnNorm
	case c.ReuseNorm:
		a.before = adapterReuseNorm
	}
	present := map[string]bool{}
	for _, n := range l.src.Names() {
		if _, n, ok := strings.Cut(n, ".output.adapter_modules."); ok {
			n, _, _ = strings.Cut(n, ".")
			present[n] = true
		}
	}
	for i, name := range c.Languages {
		lang := &language{name: name, gone: !present[name]}
		if name == c.Default {
			a.preferred = i
			lang.gone = false // so that the tensors are missed by name
		}
		if !lang.gone && l.count < maxFaults {
			check := &loader{src: l.src, prefix: l.prefix}
			a.read(check, name, make([]adapter, layers), (*loader).tensorOf)
			for _, f := range check.faults {
				l.fault("%s", f)
			}
			l.count += check.count - len(check.faults)
			a.params = check.params
		}
		a.languages = append(a.languages, lang)
	}
	if !slices.ContainsFunc(a.languages, func(l *language) bool { return !l.gone }) {
		l.fault("%s is missing, as are the adapters of all %d languages", l.prefix+adapterName(0, c.Languages[0])+"dense1.weight", len(c.Languages))
	}
	return a
}

func adapterName(layer int, language string) string {
	return fmt.Sprintf("encoder.layer.%d.output.adapter_modules.%s.", layer, language)
}

// read takes a language's tensors through f.
func (a *adapters) read(l *loader, name string, to []adapter, f func(l *loader, dst *linear, in, out int, names ...string)) {
	for i := range to {
		p := adapterName(i, name)
		f(l, &to[i].down, a.hidden, a.bottleneck, p+"dense1")
		f(l, &to[i].up, a.bottleneck, a.hidden, p+"dense2")
	}
}

// tensorOf checks a linear layer's tensors and reads nothing of them but the scales of int8 rows.
func (l *loader) tensorOf(_ *linear, in, out int, names ...string) {
	for _, n := range names {
		l.tensor(n+".weight", out, in)
		l.tensor(n+".bias", out)
	}
}

// load packs a language's adapters.
func (a *adapters) load(lang *language) error {
	lang.once.Do(func() {
		l := &loader{src: a.src, prefix: a.prefix, precision: a.precision}
		layers := make([]adapter, a.layers)
		a.read(l, lang.name, layers, (*loader).linear)
		if lang.err = l.done(); lang.err != nil {
			lang.err = fmt.Errorf("adapters of language %s: %w", lang.name, lang.err)
			return
		}
		lang.layers = layers
	})
	return lang.err
}

// width is the number of values per row that apply needs in its buffer.
func (a *adapters) width() int {
	if a == nil {
		return 0
	}
	return a.bottleneck
}

// runs finds the languages of a batch's rows and loads their adapters.
func (a *adapters) runs(b *Batch) ([]stretch, error) {
	if a == nil {
		return nil, nil
	}
	runs := make([]stretch, 0, 8)
	at := 0
	for i, n := range b.Lens {
		at += n
		k := a.preferred
		if b.Languages != nil {
			k = b.Languages[i]
		} else if k < 0 {
			return nil, batchError("sequence %d has no language, and the checkpoint has no default_language", i)
		}
		if k < 0 || k >= len(a.languages) {
			return nil, batchError("sequence %d has language number %d, the model has %d", i, k, len(a.languages))
		}
		lang := a.languages[k]
		if lang.gone {
			return nil, batchError("sequence %d is in language %s, whose adapters are not in the checkpoint", i, lang.name)
		}
		if r := len(runs) - 1; r >= 0 && runs[r].lang == lang {
			runs[r].end = at
			continue
		}
		if err := a.load(lang); err != nil {
			return nil, err
		}
		runs = append(runs, stretch{end: at, lang: lang})
	}
	return runs, nil
}

// apply adds the adapters' part to rows of x, the first of which is row at of the batch. norm is
// working memory of the same size.
//
// With the settings of the published models the input is normalised, and what is normalised is the residual,
// too; the caller then applies the same norm once more.
func (a *adapters) apply(s *scratch, layer int, x, norm []float32, at int, runs []stretch, l *bertLayer) {
	h := a.hidden
	n := len(x) / h
	in := x
	before := &l.outNorm
	if a.before == adapterOwnNorm {
		before = &l.adapterNorm
	}
	switch {
	case a.before == adapterNoNorm:
	case a.residualAfterNorm:
		before.to(x, x, n)
	default:
		in = norm
		before.to(in, x, n)
	}
	from := at
	for _, r := range runs {
		if r.end <= from {
			continue
		}
		to := min(r.end, at+n)
		part, rows := (from-at)*h, to-from
		ad := &r.lang.layers[layer]
		ad.down.apply(s, s.ffn, a.bottleneck, in[part:], h, rows, kernel.Epilogue{Act: kernel.GELU})
		ad.up.apply(s, x[part:], h, s.ffn, a.bottleneck, rows, kernel.Epilogue{Add: x[part:], LdAdd: h})
		if from = to; from == at+n {
			return
		}
	}
}

// Languages lists the languages' names; those without weights are "".
func (m *xmod) Languages() []string {
	names := make([]string, len(m.adapters.languages))
	for i, l := range m.adapters.languages {
		if !l.gone {
			names[i] = l.name
		}
	}
	return names
}

// DefaultLanguage gives the position of config.json's default_language, -1 for none.
func (m *xmod) DefaultLanguage() int { return m.adapters.preferred }

// LoadLanguage reads a language's adapters now instead of at their first use.
func (m *xmod) LoadLanguage(i int) error {
	if i < 0 || i >= len(m.adapters.languages) || m.adapters.languages[i].gone {
		return batchError("language number %d is not in the checkpoint", i)
	}
	return m.adapters.load(m.adapters.languages[i])
}

// xmod is a bert with adapters, which makes it a Multilingual.
type xmod struct{ *bert }
