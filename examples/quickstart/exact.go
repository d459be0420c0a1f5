package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/examples/internal/stdlib"
)

// exact finds what exhaustive search over unquantised float32 vectors finds for the built-in questions. It is
// an encoder that scores every passage against all questions as it passes through, so that the
// vectors (hundreds of megabytes for the standard library) need not be kept for it.
type exact struct {
	*encoder.Model
	questions []maxsim.Matrix
	ids       []string         // of the passages
	position  map[string][]int // of the passages with a text
	key       string           // what the result depends on

	mu     sync.Mutex
	scores [][]float32 // question x passage
	tokens int
}

// An exactResult is what the file beside the index holds.
type exactResult struct {
	Key    string       `json:"key"`
	Tokens int          `json:"tokens"` // of all passages
	Hits   [][]exactHit `json:"hits"`   // per question, the 100 best
}

type exactHit struct {
	ID    string  `json:"id"`
	Score float32 `json:"score"`
}

func newExact(ctx context.Context, model *encoder.Model, passages []stdlib.Passage) (*exact, error) {
	qs, err := questions()
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(qs))
	for i, q := range qs {
		texts[i] = q.Text
	}
	encoded, err := model.EncodeQueries(ctx, texts, nil)
	if err != nil {
		return nil, err
	}
	e := &exact{Model: model, position: map[string][]int{}, key: exactKey(model.Name(), passages)}
	for _, q := range encoded {
		e.questions = append(e.questions, q.Vectors)
		e.scores = append(e.scores, make([]float32, len(passages)))
	}
	for i, p := range passages {
		e.ids = append(e.ids, p.ID)
		e.position[p.Text] = append(e.position[p.Text], i)
	}
	return e, nil
}

// exactKey tells whether a stored result is of these passages, these questions and this model.
func exactKey(model string, passages []stdlib.Passage) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", model, questionsTSV)
	for _, p := range passages {
		fmt.Fprintf(h, " %q %q", p.ID, p.Text)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// EncodeDocuments encodes passages and scores them on the way.
func (e *exact) EncodeDocuments(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	out, err := e.Model.EncodeDocuments(ctx, texts, o)
	if err != nil {
		return nil, err
	}
	docs := make([]maxsim.Matrix, len(out))
	for i := range out {
		docs[i] = out[i].Vectors
	}
	for i, q := range e.questions {
		scores, err := maxsim.Scores(q, docs)
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		for j, s := range scores {
			for _, at := range e.position[texts[j]] {
				e.scores[i][at] = s
			}
		}
		e.mu.Unlock()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range docs {
		e.tokens += d.Rows
	}
	return out, nil
}

// result ranks the passages for every question; equal scores are in the order of ids, as in an index.
func (e *exact) result() exactResult {
	r := exactResult{Key: e.key, Tokens: e.tokens}
	for _, scores := range e.scores {
		hits := make([]exactHit, len(scores))
		for i, s := range scores {
			hits[i] = exactHit{e.ids[i], s}
		}
		slices.SortFunc(hits, func(a, b exactHit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID)) })
		r.Hits = append(r.Hits, hits[:min(100, len(hits))])
	}
	return r
}

func (r exactResult) save(file string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Written aside and renamed: an interrupted write leaves no half a file.
	if err := os.WriteFile(file+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// exact returns the stored result, or encodes all passages again when there is none for these questions.
func (l *library) exact(ctx context.Context) (exactResult, error) {
	passages, err := l.read()
	if err != nil {
		return exactResult{}, err
	}
	var r exactResult
	b, err := os.ReadFile(l.exactFile())
	if err == nil && json.Unmarshal(b, &r) == nil && r.Key == exactKey(l.enc.Name(), passages) {
		return r, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return exactResult{}, err
	}
	e, err := newExact(ctx, l.enc, passages)
	if err != nil {
		return exactResult{}, err
	}
	bar := progress.New(l.stderr, "encoding again for the exhaustive comparison", len(passages))
	done := 0
	for part := range slices.Chunk(passages, 256) {
		texts := make([]string, len(part))
		for i, p := range part {
			texts[i] = p.Text
		}
		if _, err := e.EncodeDocuments(ctx, texts, nil); err != nil {
			return exactResult{}, err
		}
		done += len(part)
		bar.Set(done)
	}
	bar.End()
	r = e.result()
	return r, r.save(l.exactFile())
}
