package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// runTokenize measures a tokenizer: opening it, and encoding texts with offsets and special tokens. encoder/tokenizer/
// _gen/speed.py does the same with Hugging Face tokenizers. The processor's time is what tells on a busy machine.
func runTokenize(ctx context.Context, b *bench) error {
	if b.model == "" {
		return errors.New("-case tokenize needs -model: a tokenizer.json, vocab.txt, vocab.json or SentencePiece model, .gz or not, or their folder")
	}
	texts, err := b.texts()
	if err != nil {
		return err
	}
	path, err := tokenizerFile(b.model)
	if err != nil {
		return err
	}
	file, err := readPacked(path)
	if err != nil {
		return err
	}
	watch := startWatch()
	tok, err := openTokenizer(path, file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	load, loadCPU := watch.seconds()
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	var mb, cpuMB, perS float64
	for range 4 {
		if err := ctx.Err(); err != nil {
			return err
		}
		watch := startWatch()
		tokens := encodeAll(tok, texts, b.threads)
		wall, cpu := watch.seconds()
		mb = max(mb, float64(size)/wall/1e6)
		if cpu > 0 { // some systems do not tell
			cpuMB = max(cpuMB, float64(size)/cpu/1e6)
		}
		perS = max(perS, float64(tokens)/wall)
	}
	return b.out.print(record{}.add("bench", "tokenize", "tokenizer", filepath.Base(filepath.Dir(path))+" "+filepath.Base(path), "threads", b.threads,
		"load_ms", round(load*1e3, 3), "load_cpu_ms", round(loadCPU*1e3, 3), "mb_per_s", round(mb, 2), "mb_per_cpu_s", round(cpuMB, 2), "tokens_per_s", round(perS, 0)))
}

// encodeAll encodes texts in several goroutines and counts the tokens.
func encodeAll(tok *tokenizer.Tokenizer, texts []string, threads int) int64 {
	var next, tokens atomic.Int64
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			var e tokenizer.Encoding
			n := 0
			for i := next.Add(1) - 1; i < int64(len(texts)); i = next.Add(1) - 1 {
				tok.AppendEncode(&e, texts[i], tokenizer.EncodeOptions{AddSpecial: true})
				n += len(e.IDs)
			}
			tokens.Add(int64(n))
		})
	}
	wg.Wait()
	return tokens.Load()
}

// texts are those of docs.jsonl in the data folder, at most -docs of them, or invented ones.
func (b *bench) texts() ([]string, error) {
	if b.data == "" {
		return inventedTexts(b.seed, b.docs), nil
	}
	f, err := os.Open(filepath.Join(b.data, "docs.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	var texts []string
	for lines.Scan() && len(texts) < b.docs {
		var d struct{ Title, Text string }
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", f.Name(), len(texts)+1, err)
		}
		texts = append(texts, strings.TrimLeft(d.Title+" "+d.Text, " "))
	}
	return texts, lines.Err()
}

// inventedTexts are words of letters, the frequent ones often.
func inventedTexts(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 3))
	words := make([]string, 20_000)
	for i := range words {
		for range 1 + r.IntN(4) {
			words[i] += string("bcdfglmnprst"[r.IntN(12)]) + []string{"a", "e", "i", "o", "u", "é"}[r.IntN(6)]
		}
	}
	texts := make([]string, n)
	for i := range texts {
		var s strings.Builder
		for range 50 + r.IntN(100) {
			x := r.Float64()
			s.WriteString(words[int(x*x*x*float64(len(words)))])
			s.WriteString([]string{" ", " ", " ", " ", ", ", ". "}[r.IntN(6)])
		}
		texts[i] = s.String()
	}
	return texts
}

// tokenizerFile finds the tokenizer's file in a folder; a file is itself.
func tokenizerFile(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return path, err
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.json.gz", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return filepath.Join(path, name), nil
		}
	}
	return "", fmt.Errorf("no tokenizer in %s", path)
}

func readPacked(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || filepath.Ext(path) != ".gz" {
		return b, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}

// openTokenizer reads a tokenizer by the name of its file. Of vocab.txt the folder's name tells the case.
func openTokenizer(path string, b []byte) (*tokenizer.Tokenizer, error) {
	switch name := strings.TrimSuffix(filepath.Base(path), ".gz"); {
	case name == "vocab.json":
		merges, err := os.ReadFile(filepath.Join(filepath.Dir(path), "merges.txt"))
		if err != nil {
			return nil, err
		}
		return tokenizer.FromMerges(b, merges, tokenizer.MergesOptions{})
	case filepath.Ext(name) == ".model":
		return tokenizer.FromSentencePiece(b, tokenizer.SentencePieceOptions{})
	case filepath.Ext(name) == ".txt":
		return tokenizer.FromVocab(b, tokenizer.VocabOptions{Cased: !strings.Contains(path, "uncased")})
	}
	return tokenizer.FromJSON(b)
}
