package colbert

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
)

// Document is a text to index.
type Document struct {
	// ID is the caller's own, 1 to 512 bytes of valid UTF-8. Adding an id again replaces the document.
	ID string
	// Text is encoded and stored. Encoders cut long texts; all of Text is stored nevertheless.
	Text string
	// Meta is stored beside the text: strings, integers, floats, booleans and times.
	Meta index.Metadata
	// Language is the language of Text, as a code that encoder.LanguageCode knows, for encoders that have a part
	// per language and for filters; empty means that of the index, or else what the encoder detects or assumes.
	// What comes of it is stored as a code ("de" for de_DE) in the metadata under LanguageKey. Given, it wins
	// over the same key in Meta; detected or assumed, it does not. An entry of that key in Meta is the application's own
	// and says nothing to the encoder: whoever adds a document anew that it has read from an index takes Language with it.
	Language string
}

// LanguageKey is the metadata key of a document's language: index.Eq(LanguageKey, "de") and lang = "de" filter by it.
const LanguageKey = "lang"

// AddOptions change how documents are added. A nil pointer means the zero value.
type AddOptions struct {
	// BatchSize is the largest number of documents per call of the encoder; 0 means 128. Batches of long
	// texts are cut earlier, at about a million bytes.
	BatchSize int
	// Concurrency is the number of encoder calls in flight; 0 means 2, which keeps an encoder busy that
	// uses all cores in one call, as encoder.Model does. A remote or single-threaded encoder wants more.
	// Memory grows with BatchSize * Concurrency.
	Concurrency int
	// PoolFactor merges the vectors of every document that are near to each other, until one is left for every
	// PoolFactor of them (encoder.Options.PoolFactor); 0 leaves it to the encoder. Encoders other than
	// encoder.Model may not know it.
	PoolFactor float64
	// Skip, when set, is asked about every document that cannot be indexed by itself: empty text, invalid
	// UTF-8, vectors that are not finite. True leaves the document out and goes on; false, like a nil Skip,
	// makes Add fail. It runs on one goroutine at a time, in the documents' order.
	Skip func(*DocumentError) bool
	// Queries are examples of what will be asked, some dozens or more, for the case that the index trains a
	// codebook: its codes then err least where queries lie. Without any, pieces of the documents serve as queries,
	// which is nearly as good.
	Queries []string
	// Progress, when set, is called as documents are encoded and handed to the index, never concurrently.
	Progress func(Progress)
}

// Progress tells how far an Add has come.
type Progress struct {
	// Documents and Tokens count what has been encoded so far.
	Documents int
	Tokens    uint64
	// Truncated and Skipped count as in AddResult.
	Truncated, Skipped int
	// Index is the state of the index's own work, which goes on after the last document was encoded.
	Index index.Progress
}

// maxTruncatedIDs caps AddResult.TruncatedIDs, so that a result does not grow with the collection.
const maxTruncatedIDs = 100

// AddResult says what an Add did.
type AddResult struct {
	// Added counts documents whose ids are new, Replaced those that took the place of another one, be it
	// in the index or earlier in the same call: Added + Replaced is the number of documents given, less
	// Skipped.
	Added, Replaced int
	// Tokens is the number of token vectors stored.
	Tokens uint64
	// Truncated counts documents that were longer than the encoder takes, so that their ends cannot be
	// found; TruncatedIDs names the first 100.
	Truncated    int
	TruncatedIDs []string
	// Skipped counts documents that AddOptions.Skip left out.
	Skipped int
}

// Add encodes and stores documents in one atomic, durable commit: when it returns nil everything is on disk
// and the next search finds it; on any error, cancellation included, the index is as it was. Errors that are
// one document's own are a *DocumentError with its id.
//
// The sequence may be of any length and is read from the calling goroutine, a few batches ahead of the
// index. Of several documents with one id the last wins.
func (x *Index) Add(ctx context.Context, docs iter.Seq[Document], o *AddOptions) (AddResult, error) {
	return x.AddFrom(ctx, func(yield func(Document, error) bool) {
		for d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}, o)
}

// AddFrom is Add for a sequence that can fail, such as one that reads a file: an error in it ends the call,
// comes back wrapped, and leaves the index as it was.
func (x *Index) AddFrom(ctx context.Context, docs iter.Seq2[Document, error], o *AddOptions) (AddResult, error) {
	var opt AddOptions
	if o != nil {
		opt = *o
	}
	if opt.BatchSize <= 0 {
		opt.BatchSize = 128
	}
	if opt.Concurrency <= 0 {
		opt.Concurrency = 2
	}
	inner, cancel := context.WithCancel(ctx)
	a := &adder{x: x, ctx: inner, cancel: cancel, opt: opt, batches: make(chan *batch, opt.Concurrency-1)}
	var (
		res  index.AddResult
		ierr error
		done = make(chan struct{})
	)
	// Also on a panic of the caller's sequence nothing may go on behind its back.
	defer func() {
		cancel()
		<-done
		a.encoding.Wait()
	}()
	go func() {
		defer close(done)
		defer cancel() // the reader stops when the index has
		res, ierr = x.ix.Add(inner, a.encoded(), &index.AddOptions{Upsert: true, Queries: a.trainingQueries, Progress: a.indexProgress})
	}()
	a.read(docs)
	<-done
	if ierr != nil {
		if a.err != nil {
			ierr = a.err // the cause itself, not what the index says about it
		}
		if de := (*index.DocumentError)(nil); errors.As(ierr, &de) {
			ierr = &DocumentError{ID: de.ID, Err: de.Err}
		}
		// Encoder and index may report a cancellation as such or by its cause, whichever of them sees it
		// first; the caller gets the cause. Any other failure keeps its own error.
		if cause := context.Cause(ctx); cause != nil && (errors.Is(ierr, ctx.Err()) || errors.Is(ierr, cause)) {
			ierr = cause
		}
		return AddResult{}, fmt.Errorf("colbert: add: %w", ierr)
	}
	x.committed()
	// The index counts as added every document that is there because of this call.
	a.res.Added = res.Added - res.Replaced
	a.res.Replaced = a.progress.Documents - a.res.Added
	a.res.Tokens = res.Tokens
	return a.res, nil
}

// adder is the state of one Add: the caller's goroutine reads documents into batches, each batch is encoded
// by a goroutine of its own, and the index's goroutine takes them in order. The channel's capacity bounds
// the batches in memory.
type adder struct {
	x        *Index
	ctx      context.Context
	cancel   context.CancelFunc
	opt      AddOptions
	batches  chan *batch
	encoding sync.WaitGroup

	// Owned by the index's goroutine.
	res      AddResult
	progress Progress
	err      error
}

type batch struct {
	docs []Document
	out  []encoder.Encoded
	errs []error // one per document
	err  error   // of the batch as a whole
	done chan struct{}
}

// maxBatchBytes cuts batches of long texts, to bound memory.
const maxBatchBytes = 1 << 20

// read gathers batches and starts their encoding until the sequence ends, fails, or nobody takes them.
func (a *adder) read(docs iter.Seq2[Document, error]) {
	whole := false
	defer func() {
		if !whole { // a panic of the sequence: what was read so far must not be committed
			a.cancel()
		}
		close(a.batches)
	}()
	b, bytes := &batch{}, 0
	flush := func() bool {
		if len(b.docs) == 0 && b.err == nil {
			return true
		}
		full := b
		b, bytes = &batch{}, 0
		full.done = make(chan struct{})
		select {
		case a.batches <- full:
		case <-a.ctx.Done():
			return false
		}
		a.encoding.Add(1)
		go func() {
			defer a.encoding.Done()
			defer close(full.done)
			full.encode(a.ctx, a.x.enc, encoder.TextOptions{Language: a.x.language, PoolFactor: a.opt.PoolFactor})
		}()
		return true
	}
	for d, err := range docs {
		if err != nil {
			flush() // errors come in the documents' order, whatever the timing
			b.err = err
			break
		}
		if a.ctx.Err() != nil {
			break
		}
		b.docs = append(b.docs, d)
		bytes += len(d.Text)
		if len(b.docs) >= a.opt.BatchSize || bytes >= maxBatchBytes {
			if !flush() {
				break
			}
		}
	}
	flush()
	whole = true
}

// encode fills out and errs, one call of the encoder per language. o has the language of documents without one.
func (b *batch) encode(ctx context.Context, enc Encoder, o encoder.TextOptions) {
	if b.err != nil {
		return
	}
	b.out = make([]encoder.Encoded, len(b.docs))
	b.errs = make([]error, len(b.docs))
	groups := map[string][]int{}
	var order []string
	for i, d := range b.docs {
		lang := d.Language
		if lang == "" {
			lang = o.Language
		}
		if _, ok := groups[lang]; !ok {
			order = append(order, lang)
		}
		groups[lang] = append(groups[lang], i)
	}
	for _, lang := range order {
		texts := make([]string, len(groups[lang]))
		for i, p := range groups[lang] {
			texts[i] = b.docs[p].Text
		}
		to := o
		to.Language = lang
		out, errs, err := encodeEach(ctx, enc, document, texts, to)
		if errors.Is(err, ErrLanguage) && lang != o.Language { // the documents' own fault
			for _, p := range groups[lang] {
				b.errs[p] = err
			}
			continue
		}
		if err != nil {
			b.err = fmt.Errorf("encoding documents %q to %q: %w", b.docs[0].ID, b.docs[len(b.docs)-1].ID, err)
			return
		}
		for i, p := range groups[lang] {
			b.out[p], b.errs[p] = out[i], errs[i]
		}
	}
}

// encoded is the sequence that the index reads: every batch in order, once its encoding is done.
func (a *adder) encoded() iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for b := range a.batches {
			<-b.done
			if b.err != nil {
				a.err = b.err
				yield(index.Document{}, a.err)
				return
			}
			for i, d := range b.docs {
				skip, err := a.refused(d, b.out[i].Vectors, b.errs[i])
				if err != nil {
					a.err = err
					yield(index.Document{}, err)
					return
				}
				if skip {
					a.res.Skipped++
					continue
				}
				if b.out[i].Truncated {
					a.res.Truncated++
					if len(a.res.TruncatedIDs) < maxTruncatedIDs {
						a.res.TruncatedIDs = append(a.res.TruncatedIDs, d.ID)
					}
				}
				a.progress.Documents++
				a.progress.Tokens += uint64(b.out[i].Vectors.Rows)
				if !yield(d.stored(b.out[i]), nil) {
					return
				}
				b.out[i] = encoder.Encoded{} // the index is done with it: let it go before the batch ends
			}
			a.report()
		}
		// A reader that gave up because of the context closes the channel like one that came to its end.
		if err := a.ctx.Err(); err != nil {
			yield(index.Document{}, err)
		}
	}
}

// refused decides about a document that cannot be indexed by itself.
func (a *adder) refused(d Document, v maxsim.Matrix, err error) (skip bool, _ error) {
	if err == nil && v.Rows == 0 && a.opt.Skip != nil {
		// The index decides whether it takes empty documents; Skip may keep them from it.
		return a.opt.Skip(&DocumentError{ID: d.ID, Err: ErrEmptyDocument}), nil
	}
	if err == nil {
		return false, nil
	}
	de := &DocumentError{ID: d.ID, Err: err}
	if a.opt.Skip != nil && a.opt.Skip(de) {
		return true, nil
	}
	return false, de
}

// stored is what the index keeps of a document.
func (d Document) stored(e encoder.Encoded) index.Document {
	meta := d.Meta
	lang := e.Language
	if lang == "" { // an encoder that does not say
		lang = d.Language
	}
	if _, own := meta[LanguageKey]; lang != "" && (d.Language != "" || !own) {
		meta = maps.Clone(meta)
		if meta == nil {
			meta = index.Metadata{}
		}
		meta[LanguageKey] = lang
	}
	return index.Document{ID: d.ID, Vectors: e.Vectors, Text: d.Text, Meta: meta}
}

func (a *adder) indexProgress(p index.Progress) {
	a.progress.Index = p
	a.report()
}

func (a *adder) report() {
	if a.opt.Progress == nil {
		return
	}
	a.progress.Truncated, a.progress.Skipped = a.res.Truncated, a.res.Skipped
	a.opt.Progress(a.progress)
}

// Delete removes documents in one atomic, durable commit and returns how many there were. An id that the
// index does not hold gives ErrUnknownID, names the ids, and nothing is deleted.
func (x *Index) Delete(ctx context.Context, ids ...string) (int, error) {
	return x.delete(ctx, ids, false)
}

// DeleteExisting is Delete that passes over unknown ids.
func (x *Index) DeleteExisting(ctx context.Context, ids ...string) (int, error) {
	return x.delete(ctx, ids, true)
}

func (x *Index) delete(ctx context.Context, ids []string, ignoreMissing bool) (int, error) {
	n, err := x.ix.Delete(ctx, ids, &index.DeleteOptions{IgnoreMissing: ignoreMissing})
	if err != nil {
		return 0, fmt.Errorf("colbert: delete: %w", err)
	}
	x.committed()
	return n, nil
}
