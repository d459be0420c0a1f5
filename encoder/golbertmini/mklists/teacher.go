package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/encoder/transformer"
	"github.com/golbert/golbert/internal/bm25"
	"github.com/golbert/golbert/internal/kernel"
)

// pooling says how a text's token vectors become one.
type pooling uint8

const (
	meanOfTokens pooling = iota
	firstToken
)

// Weights of the teachers' standardised scores.
const (
	weightBM25   = 0.5
	weightVector = 1
)

// textTokens is the longest text that single vectors are made of, and batchTokens how many tokens go together.
const (
	textTokens  = 256
	batchTokens = 4096
)

// ensemble scores all passages for a query by several teachers.
type ensemble struct {
	members []member
	words   *bm25.Index
	n       int
	log     io.Writer
}

// member is a model of single vectors: those of the queries, and of the passages, packed.
type member struct {
	dim      int
	queries  []float32
	passages *kernel.Packed
}

// add computes the single vectors of a model.
func (e *ensemble) add(ctx context.Context, name string, c *checkpoint.Checkpoint, how pooling, instruction string, p *pool) error {
	enc, err := transformer.New(c, &transformer.Options{Precision: transformer.BFloat16})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s := single{name, c.Tokenizer, enc, how, e.log}
	queries := make([]string, len(p.queries))
	for i, q := range p.queries {
		queries[i] = instruction + q.text
	}
	m := member{dim: enc.Shape().Hidden}
	if m.queries, err = s.encode(ctx, "queries", queries); err != nil {
		return err
	}
	v, err := s.encode(ctx, "passages", p.passages)
	if err != nil {
		return err
	}
	m.passages = kernel.Pack(v, len(p.passages), m.dim)
	e.members, e.n = append(e.members, m), len(p.passages)
	return nil
}

func (e *ensemble) addBM25(passages []string) {
	var b bm25.Builder
	for i, t := range passages {
		b.Add(strconv.Itoa(i), t)
	}
	e.words, e.n = b.Build(), len(passages)
}

// scores fills dst with the ensemble's scores of all passages for query i, whose text is q. tmp is as long.
func (e *ensemble) scores(dst, tmp []float32, i int, q string) error {
	clear(dst)
	for _, m := range e.members {
		m.passages.Gemm(tmp, e.n, m.queries[i*m.dim:(i+1)*m.dim], m.dim, 1, nil)
		addStandardised(dst, tmp, weightVector)
	}
	clear(tmp)
	for _, h := range e.words.Search(q, e.n) {
		id, err := strconv.Atoi(h.ID)
		if err != nil {
			return err
		}
		tmp[id] = float32(h.Score)
	}
	addStandardised(dst, tmp, weightBM25)
	return nil
}

// addStandardised adds x, with a mean of 0 and a standard deviation of 1, times weight. x without any spread adds nothing.
func addStandardised(dst, x []float32, weight float64) {
	var sum, sq float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	for _, v := range x {
		sq += (float64(v) - mean) * (float64(v) - mean)
	}
	std := math.Sqrt(sq / float64(len(x)))
	if !(std > 1e-9) {
		return
	}
	for i, v := range x {
		dst[i] += float32(weight * (float64(v) - mean) / std)
	}
}

// single makes one vector of unit length of each text.
type single struct {
	name string
	tok  *tokenizer.Tokenizer
	enc  transformer.Encoder
	how  pooling
	log  io.Writer
}

func (s *single) encode(ctx context.Context, what string, texts []string) ([]float32, error) {
	ids := make([][]int32, len(texts))
	order := make([]int, len(texts))
	for i, t := range texts {
		ids[i], order[i] = s.tok.Encode(t, tokenizer.EncodeOptions{AddSpecial: true, MaxLen: textTokens}).IDs, i
	}
	// Texts of like length go together, so that batches take alike long; the longest first.
	slices.SortStableFunc(order, func(a, b int) int { return len(ids[b]) - len(ids[a]) })
	var batches [][]int
	for i := 0; i < len(order); {
		j, n := i, 0
		for j < len(order) && (j == i || n+len(ids[order[j]]) <= batchTokens) {
			n += len(ids[order[j]])
			j++
		}
		batches = append(batches, order[i:j])
		i = j
	}
	dim := s.enc.Shape().Hidden
	out := make([]float32, len(texts)*dim)
	var done atomic.Int64
	err := onWorkers(ctx, len(batches), func() func(b int) error {
		var hidden []float32
		return func(b int) error {
			if err := s.batch(ctx, out, &hidden, ids, batches[b]); err != nil {
				return err
			}
			if d := done.Add(1); d%100 == 0 || int(d) == len(batches) {
				fmt.Fprintf(s.log, "%s: %s %d%%\n", s.name, what, 100*int(d)/len(batches))
			}
			return nil
		}
	})
	return out, err
}

func (s *single) batch(ctx context.Context, out []float32, hidden *[]float32, ids [][]int32, texts []int) error {
	var b transformer.Batch
	for _, t := range texts {
		b.IDs, b.Lens = append(b.IDs, ids[t]...), append(b.Lens, len(ids[t]))
	}
	dim := s.enc.Shape().Hidden
	if n := len(b.IDs) * dim; cap(*hidden) < n {
		*hidden = make([]float32, n)
	}
	h := (*hidden)[:len(b.IDs)*dim]
	if err := s.enc.Forward(ctx, &b, h); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	for i, t := range texts {
		v, rows := out[t*dim:(t+1)*dim], b.Lens[i]
		copy(v, h[:dim])
		if s.how == meanOfTokens {
			for r := 1; r < rows; r++ {
				for j, x := range h[r*dim : (r+1)*dim] {
					v[j] += x
				}
			}
		}
		kernel.Normalize(v) // the mean's and the sum's direction are the same
		h = h[rows*dim:]
	}
	return nil
}
