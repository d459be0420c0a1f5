package train

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/transformer"
)

var (
	// ErrOptions reports options that contradict each other or the checkpoint; the message lists all faults.
	ErrOptions = errors.New("train: bad options")
	// ErrUnsupported reports a checkpoint that this package cannot train; the message names what it is.
	ErrUnsupported = errors.New("train: unsupported")
	// ErrBatch reports sequences that a model cannot take.
	ErrBatch = errors.New("train: bad batch")
	// ErrNotFinite reports a loss or a score that is NaN or infinite.
	ErrNotFinite = errors.New("train: not finite")
	// ErrClosed reports the use of a model after Close.
	ErrClosed = errors.New("train: model is closed")
)

// Part says which parameters learn.
type Part uint8

const (
	// Whole trains everything but the adapters of languages that ModelOptions.Languages does not name.
	Whole Part = iota
	// HeadOnly trains the projections after the backbone, which runs on the inference path.
	HeadOnly
	// AdaptersOnly trains XMOD's adapters of the languages in ModelOptions.Languages.
	AdaptersOnly
)

// String returns "whole", "head" or "adapters".
func (p Part) String() string {
	switch p {
	case Whole:
		return "whole"
	case HeadOnly:
		return "head"
	case AdaptersOnly:
		return "adapters"
	}
	return fmt.Sprintf("part %d", uint8(p))
}

// ModelOptions say what of a checkpoint learns. A nil pointer means the zero value: everything.
type ModelOptions struct {
	Part Part
	// Languages are those whose adapters learn, in XMOD checkpoints, by the checkpoint's own names ("de_DE") or by codes ("de").
	// One that the checkpoint lacks gets new adapters: copies of those of LikeLanguage, or when that is empty the first matrix
	// from a normal distribution of deviation 0.02 and the second zero, which is the backbone without an adapter.
	Languages    []string
	LikeLanguage string
	// Freeze lists further tensors that stay, by the beginnings of their names without the checkpoint's prefix
	// ("embeddings.", "encoder.layer.0."), or "head." for the projections.
	Freeze []string
	// Seed is that of new parameters.
	Seed uint64
	// Precision is that of the dense layers' products, forward and backward, Float32 or BFloat16. Parameters, gradients, sums
	// and everything else are float32 always. BFloat16 takes about two thirds of the time where the processor has AVX-512
	// BF16 (kernel level "avx512bf16"), and is slower where it has not.
	Precision encoder.Precision
	// Workers is the number of goroutines; 0 means GOMAXPROCS. Results do not depend on it.
	Workers int
	// Texts are the options by which texts become tokens; nil means the checkpoint's own.
	Texts *encoder.Options
}

// Param is a tensor that learns.
type Param struct {
	// Name is the tensor's name in the checkpoint without its prefix, or "head.0.weight" and so on for projections.
	Name  string
	Shape []int
	// Value is changed in place by whoever optimises. Grad is added to by Backward.
	Value, Grad []float32
	// Decay says that weight decay is usual: it is false for biases and norms.
	Decay bool
}

// Sequences are tokenised texts, laid end to end without padding. They must not be changed.
type Sequences struct {
	// IDs are the tokens of all texts. Text i has those from Offsets[i] to Offsets[i+1].
	IDs     []int32
	Offsets []int
	// Attended is for each text the number of its first tokens that others attend to.
	Attended []int
	// Keep says of each token whether its vector takes part in scores; at least one of every text does.
	Keep []bool
	// Parts is for each text the number of its language's adapters; nil in models without such parts.
	Parts []int
}

// Len is the number of texts.
func (s *Sequences) Len() int { return len(s.Offsets) - 1 }

// Slice returns texts from to to, which share memory with s.
func (s *Sequences) Slice(from, to int) *Sequences {
	a, b := s.Offsets[from], s.Offsets[to]
	p := &Sequences{IDs: s.IDs[a:b], Keep: s.Keep[a:b], Attended: s.Attended[from:to]}
	for _, o := range s.Offsets[from : to+1] {
		p.Offsets = append(p.Offsets, o-a)
	}
	if s.Parts != nil {
		p.Parts = s.Parts[from:to]
	}
	return p
}

// Select returns the texts with the given numbers, in that order.
func (s *Sequences) Select(texts []int) *Sequences {
	p := &Sequences{Offsets: []int{0}}
	for _, t := range texts {
		a, b := s.Offsets[t], s.Offsets[t+1]
		p.IDs, p.Keep = append(p.IDs, s.IDs[a:b]...), append(p.Keep, s.Keep[a:b]...)
		p.Offsets, p.Attended = append(p.Offsets, len(p.IDs)), append(p.Attended, s.Attended[t])
		if s.Parts != nil {
			p.Parts = append(p.Parts, s.Parts[t])
		}
	}
	return p
}

// LossFunc builds a loss, a scalar, of the scores of a batch (queries x documents, float32), from gorgonia's
// operations.
type LossFunc func(g *gorgonia.ExprGraph, scores *gorgonia.Node) (*gorgonia.Node, error)

// Model is a late-interaction model that can be differentiated. It is not safe for concurrent use.
type Model struct {
	ckpt    *checkpoint.Checkpoint
	opened  checkpoint.Options
	texts   *encoder.Model
	part    Part
	tensors *tensors
	net     *network
	frozen  transformer.Encoder // with HeadOnly, in the place of net's backbone
	crew    *crew
	mem     arena
	call    int // of Backward and Scores

	params []*Param
	closed bool
}

// Close releases the checkpoint's files, and the working memory, which is not the garbage collector's.
func (m *Model) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	m.mem.release()
	return m.texts.Close()
}

// Params lists the parameters that learn, in an order that depends on the checkpoint and the options alone.
func (m *Model) Params() []*Param { return slices.Clone(m.params) }

// Dim is the width of the token vectors.
func (m *Model) Dim() int { return m.net.dim() }

// Info describes the checkpoint.
func (m *Model) Info() encoder.Info { return m.texts.Info() }

// Sequences tokenises texts exactly as an encoder of the same checkpoint does its queries or documents: markers,
// truncation, expansion and skip lists. languages holds the language of each text, or is nil. Errors are those of
// encoder.Model.TokenizeQueries.
func (m *Model) Sequences(ctx context.Context, texts []string, query bool, languages []string) (*Sequences, error) {
	tokenize := m.texts.TokenizeDocuments
	if query {
		tokenize = m.texts.TokenizeQueries
	}
	list, err := tokenize(ctx, texts, &encoder.TextOptions{Languages: languages})
	if err != nil {
		return nil, err
	}
	s := &Sequences{Offsets: make([]int, 1, len(texts)+1)}
	for _, t := range list {
		at := len(s.IDs)
		s.IDs = append(s.IDs, t.IDs...)
		s.Keep = append(s.Keep, make([]bool, len(t.IDs))...)
		for _, k := range t.Keep {
			s.Keep[at+int(k)] = true
		}
		s.Offsets = append(s.Offsets, len(s.IDs))
		s.Attended = append(s.Attended, t.Attended)
		if t.Part >= 0 {
			s.Parts = append(s.Parts, t.Part)
		}
	}
	return s, nil
}

func (o *ModelOptions) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return runtime.GOMAXPROCS(0)
}
