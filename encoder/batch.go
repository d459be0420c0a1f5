package encoder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/encoder/transformer"
	"github.com/golbert/golbert/internal/kernel"
)

const (
	// window is how many texts are tokenised ahead, and with that the memory of a call.
	window = 4096
	// groupTokens is the size of one forward pass: enough rows for the matrix products, few enough that the
	// activations stay near the core.
	groupTokens = 512
)

// work is the memory of one worker, reused between calls.
type work struct {
	enc    tokenizer.Encoding
	batch  transformer.Batch
	hidden []float32
	head   [2][]float32
}

var workPool = sync.Pool{New: func() any { return new(work) }}

// encode takes texts through tokenizer, transformer and head.
func (m *Model) encode(ctx context.Context, texts []string, s *side, o *TextOptions) ([]Encoded, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	s, language, err := m.callOptions(texts, s, o)
	if err != nil {
		return nil, err
	}
	out := make([]Encoded, len(texts))
	for at := 0; at < len(texts); at += window {
		n := min(window, len(texts)-at)
		progress := func(done int) {
			if o != nil && o.Progress != nil {
				o.Progress(at+done, len(texts))
			}
		}
		if err := m.encodeWindow(ctx, out[at:at+n], texts[at:at+n], s, func(i int) string { return language(at + i) }, progress); err != nil {
			var te *TextError
			if errors.As(err, &te) {
				te.Index += at
			}
			return nil, err
		}
	}
	return out, nil
}

// encodeWindow encodes as many texts as are tokenised at a time. language gives what the caller says of a text's.
func (m *Model) encodeWindow(ctx context.Context, out []Encoded, texts []string, s *side, language func(i int) string, progress func(done int)) error {
	prep := make([]prepared, len(texts))
	if err := m.prepareAll(ctx, prep, texts, s, language); err != nil {
		return err
	}
	groups := group(prep, m.workerCount())
	// Fewer groups than workers: a single query, or a long document. Then each has several.
	spare := m.workerCount() / max(min(m.workerCount(), len(groups)), 1)
	var mu sync.Mutex
	done := 0
	return m.parallel(ctx, len(groups), func(w *work, i int) error {
		if err := m.forward(ctx, w, s, out, prep, groups[i], spare); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		done += len(groups[i])
		progress(done)
		return nil
	})
}

// group sorts the texts by length, longest first so that the last pieces of work are small, and cuts them
// into groups for one forward pass each.
func group(prep []prepared, workers int) [][]int {
	order := make([]int, len(prep))
	total := 0
	for i := range prep {
		order[i] = i
		total += len(prep[i].ids)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(prep[b].ids), len(prep[a].ids)) })
	most := min(groupTokens, max(total/workers, 1))
	var groups [][]int
	start, sum := 0, 0
	for i, t := range order {
		n := len(prep[t].ids)
		if i > start && sum+n > most {
			groups = append(groups, order[start:i:i])
			start, sum = i, 0
		}
		sum += n
	}
	if start < len(order) {
		groups = append(groups, order[start:])
	}
	// Texts of one language side by side go through its part of the model together.
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b int) int { return cmp.Compare(prep[a].part, prep[b].part) })
	}
	return groups
}

// forward encodes one group on up to workers goroutines.
func (m *Model) forward(ctx context.Context, w *work, s *side, out []Encoded, prep []prepared, group []int, workers int) error {
	b := &w.batch
	b.IDs, b.Lens, b.Attend, b.Languages = b.IDs[:0], b.Lens[:0], b.Attend[:0], b.Languages[:0]
	masked, kept := false, 0
	for _, t := range group {
		p := &prep[t]
		b.IDs, b.Lens = append(b.IDs, p.ids...), append(b.Lens, len(p.ids))
		p.rows = len(p.ids)
		for i := range p.ids {
			b.Attend = append(b.Attend, i < p.attended)
		}
		b.Languages = append(b.Languages, p.part)
		masked = masked || p.attended < len(p.ids)
		kept += len(p.keep)
	}
	batch := *b
	batch.Workers = workers
	if !masked {
		batch.Attend = nil
	}
	if m.lang.parts == nil {
		batch.Languages = nil
	}
	h := m.w.enc.Shape().Hidden
	if n := len(b.IDs) * h; cap(w.hidden) < n {
		w.hidden = make([]float32, n, n+n/4)
	}
	hidden := w.hidden[:len(b.IDs)*h]
	if err := m.w.enc.Forward(ctx, &batch, hidden); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("encoder: %w", unsupported(err))
	}
	if batch.Kept != nil {
		kept = drop(prep, group, batch.Kept, m.w.tok)
	}
	// Only kept rows go through the head; they move up in place.
	at, row := 0, 0
	for _, t := range group {
		for _, k := range prep[t].keep {
			copy(hidden[row*h:(row+1)*h], hidden[(at+int(k))*h:(at+int(k)+1)*h])
			row++
		}
		at += prep[t].rows
	}
	vec := m.w.head.apply(hidden[:kept*h], kept, &w.head)
	dim, width := m.Dim(), m.w.dim()
	row = 0
	for _, t := range group {
		p := &prep[t]
		v := maxsim.New(len(p.keep), dim)
		for i := range v.Rows {
			copy(v.Row(i), vec[row*width:])
			row++
			if n := kernel.Normalize(v.Row(i)); math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
				return &TextError{Index: t, Err: fmt.Errorf("%w: token %d %q", ErrNotFinite, i, p.tokens[i].Text)}
			}
		}
		if s.pool != nil && s.pool.factor > 1 {
			v, p.tokens = s.pool.apply(v, p.tokens)
		}
		out[t] = Encoded{Vectors: v, Tokens: p.tokens, Truncated: p.truncated, Language: p.language}
		*p = prepared{}
	}
	return nil
}

// drop takes the tokens that the transformer deleted out of the texts of a group and returns how many vectors are left.
// left lists the tokens of the group that have a row. Positions in keep become those of rows.
func drop(prep []prepared, group []int, left []int32, tok *tokenizer.Tokenizer) int {
	at, total := int32(0), 0
	for _, t := range group {
		p := &prep[t]
		n := 0
		for n < len(left) && left[n] < at+int32(len(p.ids)) {
			n++
		}
		own := left[:n]
		left = left[n:]
		p.rows = n
		next := 0
		for i, k := range p.keep {
			if r, found := slices.BinarySearch(own, at+k); found {
				p.keep[next], p.tokens[next] = int32(r), p.tokens[i]
				next++
			}
		}
		p.keep, p.tokens = p.keep[:next], p.tokens[:next]
		if next == 0 {
			// Nothing is left but tokens of the skiplist: a text always has a vector.
			id := p.ids[own[0]-at]
			text, _ := tok.Token(id)
			p.keep, p.tokens = append(p.keep, 0), append(p.tokens, Token{ID: id, Text: text})
		}
		total += len(p.keep)
		at += int32(len(p.ids))
	}
	return total
}

func (m *Model) workerCount() int {
	if m.workers > 0 {
		return m.workers
	}
	return runtime.GOMAXPROCS(0)
}

// parallel runs f for 0 to n-1 on the model's workers until one fails or the context ends. Of several errors
// the one with the lowest number is returned.
func (m *Model) parallel(ctx context.Context, n int, f func(w *work, i int) error) error {
	workers := min(m.workerCount(), n)
	var next atomic.Int64
	var failed atomic.Bool
	var mu sync.Mutex
	first, fault := n, error(nil)
	run := func() {
		w := workPool.Get().(*work)
		defer workPool.Put(w)
		for !failed.Load() {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			err := ctx.Err()
			if err == nil {
				err = f(w, i)
			}
			if err != nil {
				mu.Lock()
				if i < first {
					first, fault = i, err
				}
				mu.Unlock()
				failed.Store(true)
				return
			}
		}
	}
	if workers <= 1 {
		run()
		return fault
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(run)
	}
	wg.Wait()
	return fault
}
