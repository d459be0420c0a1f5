package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder"
)

// adapterNorm is the normalisation of the adapters' input.
type adapterNorm uint8

const (
	adapterNoNorm    adapterNorm = iota
	adapterReuseNorm             // adapter_reuse_layer_norm: the layer's last norm, which is applied again afterwards
	adapterOwnNorm               // adapter_layer_norm
)

// adapters are XMOD's bottlenecks per language (Pfeiffer et al., NAACL 2022).
type adapters struct {
	loader            *loader
	hidden, width     int
	layers            int
	reduction         int
	norm              adapterNorm
	residualAfterNorm bool
	names             []string
	loaded            map[int][]adapter
}

type adapter struct{ down, up *dense }

// xmod reads what XMOD has beyond XLM-R. The configuration was checked by package transformer.
func (l *loader) xmod(n *network) error {
	c := struct {
		PreNorm   bool     `json:"pre_norm"`
		Reduction int      `json:"adapter_reduction_factor"`
		OwnNorm   bool     `json:"adapter_layer_norm"`
		ReuseNorm bool     `json:"adapter_reuse_layer_norm"`
		Before    bool     `json:"ln_before_adapter"`
		Languages []string `json:"languages"`
	}{Reduction: 2, ReuseNorm: true, Before: true, Languages: []string{"en_XX"}}
	if err := json.Unmarshal(l.cfg.Raw, &c); err != nil {
		return fmt.Errorf("%w: XMOD configuration: %w", ErrUnsupported, err)
	}
	a := &adapters{loader: l, hidden: n.hidden, width: n.hidden / c.Reduction, layers: l.cfg.NumLayers, reduction: c.Reduction, residualAfterNorm: c.Before, names: c.Languages, loaded: map[int][]adapter{}}
	switch {
	case c.OwnNorm:
		a.norm = adapterOwnNorm
	case c.ReuseNorm:
		a.norm = adapterReuseNorm
	}
	n.adapters, n.preNorm, n.languages = a, c.PreNorm, len(c.Languages)
	return nil
}

func adapterKey(layer int, language string) string {
	return fmt.Sprintf("encoder.layer.%d.output.adapter_modules.%s.", layer, language)
}

// load reads a language's adapters.
func (a *adapters) load(part int) error {
	if a.loaded[part] != nil {
		return nil
	}
	if part < 0 || part >= len(a.names) {
		return fmt.Errorf("%w: language number %d, the model has %d", ErrBatch, part, len(a.names))
	}
	var list []adapter
	for i := range a.layers {
		p := adapterKey(i, a.names[part])
		list = append(list, adapter{
			down: a.loader.dense(a.hidden, a.width, p+"dense1"),
			up:   a.loader.dense(a.width, a.hidden, p+"dense2"),
		})
	}
	if err := a.loader.err; err != nil {
		a.loader.err = nil
		return fmt.Errorf("%w: language %s: %w", ErrBatch, a.names[part], err)
	}
	a.loaded[part] = list
	return nil
}

// of gives a language's adapters, which load has read.
func (a *adapters) of(part int) []adapter { return a.loaded[part] }

// find gives the checkpoint's own name of a language, which may be asked for by its code. One that the checkpoint lacks keeps
// the name that it was given.
func (a *adapters) find(asked string) (string, error) {
	if a.part(asked) >= 0 {
		return asked, nil
	}
	code, err := encoder.LanguageCode(asked)
	if err != nil || strings.ContainsRune(asked, '.') {
		return "", errors.Join(err, encoder.ErrLanguage)
	}
	for _, have := range a.names {
		if c, err := encoder.LanguageCode(have); err == nil && c == code {
			return have, nil
		}
	}
	return asked, nil
}

// part finds a language by the checkpoint's own name.
func (a *adapters) part(name string) int { return slices.Index(a.names, name) }
