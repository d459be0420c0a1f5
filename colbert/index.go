package colbert

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// Keys under which an index remembers what it was built with. Attributes of the caller's own may have any
// other name.
const (
	attrModel    = "colbert.model"
	attrDim      = "colbert.dim"
	attrNetwork  = "colbert.network"
	attrLanguage = "colbert.language"
)

// Options shape a new index. A nil pointer means the zero value, which is a good default.
type Options struct {
	// Index holds the storage options: bits per dimension, seed, limits. Dim is taken from the encoder and
	// must be 0 or equal to it. Attributes are stored beside those of this package, whose names start
	// with "colbert.".
	Index index.Options
	// Language is the language of documents and queries that do not say their own. It is stored with the
	// index.
	Language string
}

// OpenOptions change how an index is opened. A nil pointer means the zero value.
type OpenOptions struct {
	// ReadOnly opens for searching only: no lock is taken and nothing is written.
	ReadOnly bool
	// ReadResiduals keeps resident memory small; see index.OpenOptions.
	ReadResiduals bool
	// AnyModel skips the comparison of the model's name and network, for a checkpoint that was renamed. The
	// dimension must fit all the same.
	AnyModel bool
}

// Index is a searchable collection of texts on disk together with the encoder that reads them. It is safe
// for concurrent use; writers exclude each other, and searches see the last commit that finished before they
// began.
type Index struct {
	ix       *index.Index
	enc      Encoder
	language string

	mu     sync.Mutex
	view   *view // of the last commit; nil until a search needs it
	closed bool
}

// view is a snapshot and its searcher, shared by the searches of one generation. The Index owns the snapshot;
// searches retain it, so that it outlives a commit or Close in the midst of them.
type view struct {
	snap     *index.Snapshot
	searcher *plaid.Searcher
}

// Create makes an index in dir, which must be absent or empty (ErrExists otherwise), for texts that enc
// encodes. The encoder stays the caller's to close.
func Create(ctx context.Context, dir string, enc Encoder, o *Options) (*Index, error) {
	if enc == nil {
		return nil, fmt.Errorf("%w: nil encoder", ErrEncoder)
	}
	var opt Options
	if o != nil {
		opt = *o
	}
	io := opt.Index
	if io.Dim != 0 && io.Dim != enc.Dim() {
		return nil, fmt.Errorf("colbert: options say dimension %d, encoder %q has %d: %w", io.Dim, enc.Name(), enc.Dim(), ErrDim)
	}
	io.Dim = enc.Dim()
	io.Attributes = maps.Clone(io.Attributes)
	if io.Attributes == nil {
		io.Attributes = map[string]string{}
	}
	maps.Copy(io.Attributes, describe(enc))
	if opt.Language != "" {
		io.Attributes[attrLanguage] = opt.Language
	}
	ix, err := index.Create(ctx, dir, &io)
	if err != nil {
		return nil, fmt.Errorf("colbert: create: %w", err)
	}
	return &Index{ix: ix, enc: enc, language: opt.Language}, nil
}

// Open opens the index in dir with the encoder that built it. Another model, by name, dimension or shape of
// network, is refused with a *ModelMismatchError; no index there gives ErrNotFound.
func Open(ctx context.Context, dir string, enc Encoder, o *OpenOptions) (*Index, error) {
	if enc == nil {
		return nil, fmt.Errorf("%w: nil encoder", ErrEncoder)
	}
	var opt OpenOptions
	if o != nil {
		opt = *o
	}
	ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: opt.ReadOnly, ReadResiduals: opt.ReadResiduals})
	if err != nil {
		return nil, fmt.Errorf("colbert: open: %w", err)
	}
	if err := checkModel(ix, enc, opt.AnyModel); err != nil {
		ix.Close()
		return nil, err
	}
	return &Index{ix: ix, enc: enc, language: ix.Attributes()[attrLanguage]}, nil
}

// describe gives the attributes that tie an index to its model.
func describe(enc Encoder) map[string]string {
	a := map[string]string{attrModel: enc.Name(), attrDim: strconv.Itoa(enc.Dim())}
	if n := network(enc); n != "" {
		a[attrNetwork] = n
	}
	return a
}

// network describes the shape of a model, where the encoder tells. Model names come from folder names, which
// two models may share; two with the same name and shape remain indistinguishable.
func network(enc Encoder) string {
	for {
		l, ok := enc.(*languageEncoder)
		if !ok {
			break
		}
		enc = l.Encoder
	}
	m, ok := enc.(interface{ Info() encoder.Info })
	if !ok {
		return ""
	}
	i := m.Info()
	return fmt.Sprintf("%s, %d layers, hidden %d, vocabulary %d, %d parameters", i.Architecture, i.Layers, i.Hidden, i.Vocab, i.Parameters)
}

func checkModel(ix *index.Index, enc Encoder, anyModel bool) error {
	had, has := ix.Attributes(), describe(enc)
	e := &ModelMismatchError{
		IndexModel: had[attrModel], IndexDim: ix.Dim(), IndexNetwork: had[attrNetwork],
		EncoderModel: has[attrModel], EncoderDim: enc.Dim(), EncoderNetwork: has[attrNetwork],
	}
	switch {
	case e.IndexDim != e.EncoderDim:
		return e
	case anyModel, e.IndexModel == "": // made by the index package directly, with vectors of unknown origin
		return nil
	case e.IndexModel != e.EncoderModel:
		return e
	case e.IndexNetwork != "" && e.EncoderNetwork != "" && e.IndexNetwork != e.EncoderNetwork:
		return e
	}
	return nil
}

// Close releases the index. Searches that run finish first or fail with ErrClosed; a second Close does
// nothing. The encoder is not closed.
func (x *Index) Close() error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil
	}
	x.closed = true
	err := x.dropView()
	x.mu.Unlock()
	if cerr := x.ix.Close(); err == nil {
		err = cerr
	}
	return err
}

// Encoder returns the encoder that the index was opened with.
func (x *Index) Encoder() Encoder { return x.enc }

// acquire returns the view of the last commit; give it back with view.release.
func (x *Index) acquire() (*view, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, fmt.Errorf("colbert: %w", ErrClosed)
	}
	if x.view == nil {
		snap, err := x.ix.Snapshot()
		if err != nil {
			return nil, err
		}
		x.view = &view{snap: snap, searcher: plaid.NewSearcher(snap)}
	}
	return x.view, x.view.snap.Retain()
}

func (v *view) release() { v.snap.Release() }

// committed makes the next search see what was just written.
func (x *Index) committed() {
	x.mu.Lock()
	defer x.mu.Unlock()
	_ = x.dropView()
}

func (x *Index) dropView() error {
	v := x.view
	if v == nil {
		return nil
	}
	x.view = nil
	return v.snap.Close()
}

// Check verifies every checksum and invariant of the index in dir, without an encoder. Damage is listed in
// the report; the error is for a check that could not be made.
func Check(ctx context.Context, dir string) (*index.Report, error) { return index.Check(ctx, dir) }
