package train

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/transformer"
)

// OpenModel opens a checkpoint for training: a BERT, ELECTRA, RoBERTa, XLM-R or XMOD backbone in any layout that package
// encoder reads. The model must be closed.
//
// Errors wrap ErrOptions, ErrUnsupported, or are those of encoder.Open.
func OpenModel(dir string, o *ModelOptions) (*Model, error) {
	if o == nil {
		o = new(ModelOptions)
	}
	var co checkpoint.Options
	if o.Texts != nil {
		co.Words = o.Texts.Words
	}
	c, err := checkpoint.OpenWith(dir, &co)
	if err != nil {
		return nil, err
	}
	m, err := newModel(c, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), c.Close())
	}
	m.opened = co
	return m, nil
}

// newModel makes a model of an open checkpoint, which stays open when that fails.
func newModel(c *checkpoint.Checkpoint, o *ModelOptions) (*Model, error) {
	g := &c.Config
	switch g.ModelType {
	case "bert", "electra", "roberta", "xlm-roberta", "camembert", "xmod":
	default:
		return nil, fmt.Errorf("%w: architecture %q", ErrUnsupported, g.ModelType)
	}
	if p := g.PositionEmbeddingType; p != "" && p != "absolute" {
		return nil, fmt.Errorf("%w: %q positions", ErrUnsupported, p)
	}
	if err := o.check(g); err != nil {
		return nil, err
	}
	if len(o.Languages) > 0 { // new adapters are made by the configuration's sizes, which are checked with the tensors'
		if _, err := transformer.New(c, &transformer.Options{ShapeOnly: true}); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	l := &loader{tensors: newTensors(c.Tensors, c.Prefix), cfg: g}
	languages, err := l.languages(o)
	if err != nil {
		return nil, err
	}
	l.learns = o.learner(languages)
	if err := l.checkFreeze(o, c.Head); err != nil {
		return nil, err
	}
	c.Tensors = l.tensors
	var to encoder.Options
	if o.Texts != nil {
		to = *o.Texts
	}
	to.TokensOnly, to.Precision = true, encoder.Float32
	texts, err := encoder.New(c, &to)
	if err != nil {
		c.Tensors = l.base
		return nil, err
	}
	m := &Model{ckpt: c, texts: texts, part: o.Part, tensors: l.tensors, crew: newCrew(o.workers(), o.Precision == encoder.BFloat16)}
	// From here on the checkpoint belongs to texts.
	err = func() error {
		if o.Part == HeadOnly {
			if m.frozen, err = transformer.New(c, &transformer.Options{Precision: o.Precision}); err != nil {
				return err
			}
			s := m.frozen.Shape()
			m.net = &network{hidden: s.Hidden, vocab: s.Vocab, most: s.MaxTokens, padding: -1, languages: len(texts.LanguageParts())}
		} else if m.net, err = l.backbone(); err != nil {
			return err
		}
		for _, name := range languages {
			if err := m.net.adapters.load(m.net.adapters.part(name)); err != nil {
				return err
			}
		}
		if m.net.head, err = l.projections(c.Head); err != nil {
			return err
		}
		if m.params = l.params; len(m.params) == 0 {
			return fmt.Errorf("%w: nothing is left to learn", ErrOptions)
		}
		return nil
	}()
	if err != nil {
		c.Tensors = keepOpen{l.tensors} // the caller closes it
		err = errors.Join(err, texts.Close())
		c.Tensors = l.base
		return nil, err
	}
	return m, nil
}

// keepOpen is tensors that Close leaves open.
type keepOpen struct{ checkpoint.Tensors }

func (keepOpen) Close() error { return nil }

func (o *ModelOptions) check(g *checkpoint.Config) error {
	var faults []error
	if o.Part > AdaptersOnly {
		faults = append(faults, fmt.Errorf("option Part is %v", o.Part))
	}
	if o.Precision > encoder.BFloat16 {
		faults = append(faults, fmt.Errorf("option Precision is %v", o.Precision))
	}
	if o.Workers < 0 {
		faults = append(faults, fmt.Errorf("option Workers is %d", o.Workers))
	}
	if len(o.Languages) > 0 && g.ModelType != "xmod" {
		faults = append(faults, fmt.Errorf("option Languages is set, but %q models have no adapters", g.ModelType))
	}
	if len(o.Languages) > 0 && o.Part == HeadOnly {
		faults = append(faults, errors.New("option Languages is set, but adapters do not learn with the head only"))
	}
	if o.LikeLanguage != "" && len(o.Languages) == 0 {
		faults = append(faults, errors.New("option LikeLanguage is set, and Languages is empty"))
	}
	if o.Part == AdaptersOnly && len(o.Languages) == 0 {
		faults = append(faults, errors.New("option Part is adapters, and Languages is empty"))
	}
	if t := o.Texts; t != nil && t.Dim != 0 {
		faults = append(faults, errors.New("option Texts.Dim cuts vectors, which is not trained"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
	}
	return nil
}

// languages gives the checkpoint's names of those whose adapters learn, and adds those that it lacks.
func (l *loader) languages(o *ModelOptions) ([]string, error) {
	if len(o.Languages) == 0 {
		return nil, nil
	}
	var n network
	if err := l.xmod(&n); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x61646170746572))
	var out []string
	like := o.LikeLanguage
	if like != "" {
		var err error
		if like, err = n.adapters.find(like); err == nil && n.adapters.part(like) < 0 {
			err = encoder.ErrLanguage
		}
		if err != nil {
			return nil, fmt.Errorf("%w: option LikeLanguage: %q: %w", ErrOptions, o.LikeLanguage, err)
		}
	}
	for _, asked := range o.Languages {
		name, err := n.adapters.find(asked)
		if err != nil {
			return nil, fmt.Errorf("%w: option Languages: %q: %w", ErrOptions, asked, err)
		}
		if slices.Contains(out, name) {
			return nil, fmt.Errorf("%w: option Languages names %q twice", ErrOptions, asked)
		}
		out = append(out, name)
		if _, ok := l.Tensor(l.prefix + adapterKey(0, name) + "dense1.weight"); ok {
			continue
		}
		cfg, err := l.cfg.WithLanguages(name)
		if err != nil {
			return nil, err
		}
		*l.cfg = cfg
		if err := l.newAdapters(&n, name, like, rng); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// newAdapters gives a language adapters: those of another language, or random ones.
func (l *loader) newAdapters(n *network, name, like string, rng *rand.Rand) error {
	h, width := l.cfg.HiddenSize, l.cfg.HiddenSize/n.adapters.reduction
	for i := range l.cfg.NumLayers {
		for _, part := range []struct {
			key   string
			shape []int
		}{
			{"dense1.weight", []int{width, h}}, {"dense1.bias", []int{width}},
			{"dense2.weight", []int{h, width}}, {"dense2.bias", []int{h}},
		} {
			w := &weight{key: adapterKey(i, name) + part.key, shape: part.shape}
			switch {
			case like != "":
				x, scale, err := l.raw(adapterKey(i, like)+part.key, part.shape...)
				if err != nil {
					return fmt.Errorf("%w: option LikeLanguage: %w", ErrOptions, err)
				}
				w.value = floatsOf(x, scale)
			case part.key == "dense1.weight":
				w.value = make([]float32, width*h)
				for j := range w.value {
					w.value[j] = float32(0.02 * rng.NormFloat64())
				}
			default:
				w.value = make([]float32, tensor.Shape(part.shape).TotalSize())
			}
			l.add(w)
		}
	}
	return nil
}

// learner says which tensors learn.
func (o *ModelOptions) learner(languages []string) func(key string) bool {
	return func(key string) bool {
		for _, f := range o.Freeze {
			if strings.HasPrefix(key, f) {
				return false
			}
		}
		if _, rest, ok := strings.Cut(key, ".output.adapter_modules."); ok {
			name, _, _ := strings.Cut(rest, ".")
			return o.Part != HeadOnly && slices.Contains(languages, name)
		}
		switch o.Part {
		case HeadOnly:
			return strings.HasPrefix(key, "head.")
		case AdaptersOnly:
			return false
		}
		return true
	}
}

// checkFreeze finds names that freeze nothing, which are mistyped.
func (l *loader) checkFreeze(o *ModelOptions, head []checkpoint.Dense) error {
	var keys []string
	for _, n := range l.names {
		keys = append(keys, strings.TrimPrefix(n, l.prefix))
	}
	for i := range head {
		for _, part := range []string{"weight", "bias", "residual"} {
			keys = append(keys, headKey(i, part))
		}
	}
	for _, f := range o.Freeze {
		if f == "" || !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, f) }) {
			return fmt.Errorf("%w: option Freeze: no tensor's name begins with %q", ErrOptions, f)
		}
	}
	return nil
}

// headKey is the name of a part of a projection.
func headKey(i int, part string) string { return fmt.Sprintf("head.%d.%s", i, part) }
