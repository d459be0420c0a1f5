package colbert_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

// A model is an encoder for this package.
var _ colbert.Encoder = (*encoder.Model)(nil)

// words is a small deterministic encoder: each word is a random unit vector drawn from its hash, so that equal
// words have similarity 1 and different ones about 0. The first token is a marker. It misbehaves on demand.
type words struct {
	dim       int    // 0: 64
	name      string // "": words
	max       int    // words taken of a document; 0: 1000
	madeDim   int    // dimension of what comes out; 0: dim
	noTokens  bool   // returns no tokens
	short     bool   // returns one result too few
	fail      error  // of every call
	failWord  string // a document with this word fails with a TextError
	nanWord   string // a document with this word has a NaN
	block     chan struct{}
	calls     atomic.Int64
	inFlight  atomic.Int64
	mostCalls atomic.Int64
	queries   atomic.Int64 // texts encoded as queries

	mu        sync.Mutex
	languages []string // of every call
}

func (w *words) Dim() int {
	if w.dim == 0 {
		return 64
	}
	return w.dim
}

func (w *words) Name() string {
	if w.name == "" {
		return "words"
	}
	return w.name
}

func (w *words) EncodeQueries(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	w.queries.Add(int64(len(texts)))
	return w.encode(ctx, texts, o, 32, "[Q]")
}

func (w *words) EncodeDocuments(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	most := w.max
	if most == 0 {
		most = 1000
	}
	return w.encode(ctx, texts, o, most, "[D]")
}

func (w *words) encode(ctx context.Context, texts []string, o *encoder.TextOptions, most int, marker string) ([]encoder.Encoded, error) {
	w.calls.Add(1)
	n := w.inFlight.Add(1)
	defer w.inFlight.Add(-1)
	for old := w.mostCalls.Load(); n > old && !w.mostCalls.CompareAndSwap(old, n); old = w.mostCalls.Load() {
	}
	if w.block != nil {
		select {
		case <-w.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o != nil {
		w.mu.Lock()
		w.languages = append(w.languages, o.Language)
		w.mu.Unlock()
	}
	if w.fail != nil {
		return nil, w.fail
	}
	out := make([]encoder.Encoded, 0, len(texts))
	for i, t := range texts {
		e, err := w.one(t, most, marker)
		if err != nil {
			return nil, &encoder.TextError{Index: i, Err: err}
		}
		out = append(out, e)
	}
	if w.short {
		out = out[1:]
	}
	return out, nil
}

var errBadWord = errors.New("a word that cannot be encoded")

func (w *words) one(text string, most int, marker string) (encoder.Encoded, error) {
	dim := w.madeDim
	if dim == 0 {
		dim = w.Dim()
	}
	var e encoder.Encoded
	var rows [][]float32
	add := func(t encoder.Token) {
		e.Tokens = append(e.Tokens, t)
		rows = append(rows, vector(strings.ToLower(t.Text), dim))
	}
	add(encoder.Token{Text: marker, Special: true})
	for start := 0; start < len(text); {
		begin := start + strings.IndexFunc(text[start:], inWord)
		if begin < start {
			break
		}
		end := begin + strings.IndexFunc(text[begin:], func(r rune) bool { return !inWord(r) })
		if end < begin {
			end = len(text)
		}
		if len(e.Tokens) > most {
			e.Truncated = true
			break
		}
		word := text[begin:end]
		if word == w.failWord {
			return e, errBadWord
		}
		add(encoder.Token{Text: word, Start: begin, End: end})
		if word == w.nanWord {
			rows[len(rows)-1][0] = float32(math.NaN())
		}
		start = end
	}
	if w.noTokens {
		return e, nil
	}
	e.Vectors, _ = maxsim.FromRows(rows)
	return e, nil
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func vector(word string, dim int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(word))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	m := maxsim.New(1, dim)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	m.Normalize()
	return m.Data
}

// fruit is a collection in which every document has words of its own.
func fruit() []colbert.Document {
	return []colbert.Document{
		{ID: "apple", Text: "An apple a day keeps the doctor away"},
		{ID: "banana", Text: "Yellow banana from the tropics"},
		{ID: "cherry", Text: "Cherry blossom in the spring"},
		{ID: "pair", Text: "Apple and banana in one bowl"},
	}
}

// numbered makes n documents with the ids d0, d1, ..., each with a word of its own.
func numbered(n int) []colbert.Document {
	docs := make([]colbert.Document, n)
	for i := range docs {
		docs[i] = colbert.Document{ID: fmt.Sprint("d", i), Text: fmt.Sprintf("common text and number%d", i)}
	}
	return docs
}

func create(t testing.TB, enc colbert.Encoder, o *colbert.Options) (*colbert.Index, string) {
	dir := t.TempDir() + "/ix"
	ix, err := colbert.Create(t.Context(), dir, enc, o)
	require.NoError(t, err)
	t.Cleanup(func() { ix.Close() })
	return ix, dir
}

func ids(hits []colbert.Hit) []string {
	out := []string{}
	for _, h := range hits {
		out = append(out, h.ID)
	}
	return out
}
