package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/internal/kernel"
)

// Lengths in tokens, as in the comparison with other engines.
const (
	encodeDocTokens   = 180
	encodeQueryTokens = 32
)

// precisions are the values of -precision.
var precisions = []encoder.Precision{encoder.Float32, encoder.BFloat16, encoder.Int8}

// openModel opens the checkpoint of -model, or the embedded model.
func (b *bench) openModel(o encoder.Options) (*encoder.Model, error) {
	o.Workers = b.threads
	if b.model == "" {
		return golbertmini.OpenWith(&o)
	}
	return encoder.Open(b.model, &o)
}

// runEncode measures an encoder: passages in one call, and single queries of 32 tokens. The vectors in bfloat16 and int8
// are compared with those in float32.
func runEncode(ctx context.Context, b *bench) error {
	docs, queries, err := b.encodeTexts()
	if err != nil {
		return err
	}
	var wanted []encoder.Precision
	for _, p := range precisions {
		if b.prec == p.String() || b.prec == "all" {
			wanted = append(wanted, p)
		}
	}
	if len(wanted) == 0 {
		return fmt.Errorf("-precision %q: want float32, bfloat16, int8 or all", b.prec)
	}
	var exact []encoder.Encoded // in float32
	for _, p := range wanted {
		opt := encoder.Options{Precision: p, MaxDocTokens: encodeDocTokens, Skiplist: encoder.Off}
		before := time.Now()
		m, err := b.openModel(opt)
		if err != nil {
			return err
		}
		opened := time.Since(before)
		r, err := b.encode(ctx, m, docs, queries, opened)
		if err == nil && p != encoder.Float32 {
			if exact == nil {
				if exact, err = b.exactVectors(ctx, docs); err != nil {
					return errors.Join(err, m.Close())
				}
			}
			r, err = b.compare(ctx, r, m, docs, exact)
		}
		if err := errors.Join(err, m.Close()); err != nil {
			return err
		}
		if err := b.out.print(r); err != nil {
			return err
		}
	}
	return nil
}

// encode measures one model.
func (b *bench) encode(ctx context.Context, m *encoder.Model, docs, queries []string, opened time.Duration) (record, error) {
	info := m.Info()
	queried, err := m.With(&encoder.Options{MaxQueryTokens: encodeQueryTokens, Expansion: encoder.On, Precision: info.Precision, Workers: b.threads})
	if errors.Is(err, encoder.ErrOptions) { // no token to expand with
		queried, err = m.With(&encoder.Options{MaxQueryTokens: encodeQueryTokens, Precision: info.Precision, Workers: b.threads})
	}
	if err != nil {
		return nil, err
	}
	defer queried.Close()
	var took []float64
	var out []encoder.Encoded
	for range 4 {
		t := time.Now()
		if out, err = m.EncodeDocuments(ctx, docs, nil); err != nil {
			return nil, err
		}
		took = append(took, time.Since(t).Seconds())
	}
	seconds := medianOf(took[1:]) // the first run warms up
	tokens, work := 0, 0.0
	weights := float64(info.Parameters) - float64(info.Vocab)*float64(info.Hidden)
	for _, e := range out {
		n := e.Vectors.Rows
		tokens += n
		work += float64(n) * (2*weights + 4*float64(info.Layers)*float64(info.Hidden)*float64(n))
	}
	var each []time.Duration
	rows := 0
	for round := range 6 {
		for _, q := range queries[:min(20, len(queries))] {
			t := time.Now()
			e, err := queried.EncodeQuery(ctx, q, nil)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				each, rows = append(each, time.Since(t)), rows+e.Vectors.Rows
			}
		}
	}
	lat := percentiles(each)
	return record{}.add("bench", "encoder", "peer", "golbert", "model", info.Name, "architecture", info.Architecture, "precision", info.Precision.String(),
		"threads", b.threads, "isa", info.Instructions, "docs", len(docs), "tokens", tokens, "seconds", round(seconds, 4),
		"docs_per_s", round(float64(len(docs))/seconds, 1), "tokens_per_s", round(float64(tokens)/seconds, 0), "gflops", round(work/seconds/1e9, 1),
		"query_ms", lat.get("p50"), "query_p95_ms", lat.get("p95"), "query_rows", round(float64(rows)/float64(len(each)), 1),
		"open_ms", ms(opened), "rss_mb", round(rss(), 1)), nil
}

// exactVectors are the documents' vectors in float32.
func (b *bench) exactVectors(ctx context.Context, docs []string) ([]encoder.Encoded, error) {
	m, err := b.openModel(encoder.Options{MaxDocTokens: encodeDocTokens, Skiplist: encoder.Off})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.EncodeDocuments(ctx, docs, nil)
}

// compare adds the cosines with the exact vectors to a line.
func (b *bench) compare(ctx context.Context, r record, m *encoder.Model, docs []string, exact []encoder.Encoded) (record, error) {
	got, err := m.EncodeDocuments(ctx, docs, nil)
	if err != nil {
		return nil, err
	}
	least, sum, n := math.Inf(1), 0.0, 0
	for i, e := range exact {
		for j := range e.Vectors.Rows {
			c := float64(kernel.Dot(e.Vectors.Row(j), got[i].Vectors.Row(j)))
			least, sum, n = min(least, c), sum+c, n+1
		}
	}
	return r.add("min_cosine", round(least, 5), "mean_cosine", round(sum/float64(n), 6)), nil
}

func medianOf(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// encodeTexts are -docs passages and -nq queries of -data (docs.jsonl and queries.jsonl, lines with a field "text"; passages
// from the 2,000th on, as the peers' script takes them), or made up.
func (b *bench) encodeTexts() (docs, queries []string, err error) {
	if b.data == "" {
		docs, queries = madeUpTexts(b.docs, b.queries, b.seed)
		return docs, queries, nil
	}
	const skip = 2000
	if docs, err = jsonTexts(filepath.Join(b.data, "docs.jsonl"), skip+b.docs); err != nil {
		return nil, nil, err
	}
	if len(docs) > skip {
		docs = docs[skip:]
	}
	queries, err = jsonTexts(filepath.Join(b.data, "queries.jsonl"), b.queries)
	if errors.Is(err, fs.ErrNotExist) {
		queries, err = docs, nil
	}
	return docs, queries, err
}

// jsonTexts reads the field "text" of up to n lines.
func jsonTexts(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var texts []string
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() && len(texts) < n {
		var line struct{ Text string }
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(texts)+1, err)
		}
		texts = append(texts, line.Text)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%s: no texts", path)
	}
	return texts, nil
}

// madeUpTexts strings common words together: documents of about 150 tokens and questions of ten.
func madeUpTexts(docs, queries int, seed uint64) (d, q []string) {
	words := strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you
		were her all she there would their we him been has when who will more no if out so said what up its about into than them can only other new
		some could time these two may then do first any my now such like our over man me even most made after also did many before must through back
		years where much your way well down should because each just those people how too little state good very make world still own see men work
		long get here between both life being under never day same another know while last might us great old year off come since against go came
		right used take three query index vector token passage retrieval ranking library language model document search engine memory processor`)
	r := rand.New(rand.NewPCG(seed, 9))
	text := func(n int) string {
		w := make([]string, n)
		for i := range w {
			w[i] = words[r.IntN(len(words))]
		}
		return strings.Join(w, " ") + "."
	}
	for range docs {
		d = append(d, text(60+r.IntN(160)))
	}
	for range queries {
		q = append(q, text(6+r.IntN(10)))
	}
	return d, q
}
