// Rerank orders the lines of another search by their meaning: it reads lines, scores each against the query by
// exact late interaction, and prints the best ones first.
//
//	grep -rhi timeout --include='*.md' . | go run ./examples/rerank "how long does the client wait for an answer"
//	go run ./examples/rerank -k 3 -jsonl "..." < results.jsonl      # lines {"id": ..., "text": ...}
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/golbertmini"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rerank:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fl := flag.NewFlagSet("rerank", flag.ContinueOnError)
	fl.SetOutput(stderr)
	k := fl.Int("k", 10, "number of lines to print")
	jsonl := fl.Bool("jsonl", false, `lines are JSON objects with "text" and perhaps "id"`)
	limit := fl.Int("limit", 10_000, "read at most this many lines")
	if err := fl.Parse(args); err != nil {
		return err
	}
	query := strings.Join(fl.Args(), " ")
	if query == "" {
		return errors.New("usage: rerank [flags] query < lines")
	}
	docs, err := read(stdin, *jsonl, *limit)
	if err != nil {
		return err
	}
	model, err := golbertmini.Open()
	if err != nil {
		return err
	}
	defer model.Close()
	hits, err := colbert.Rerank(ctx, model, query, docs, *k)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	for _, h := range hits {
		if *jsonl {
			err = enc.Encode(struct {
				Rank  int     `json:"rank"`
				ID    string  `json:"id"`
				Score float32 `json:"score"`
				Text  string  `json:"text"`
			}{h.Rank, h.ID, h.Score, h.Text})
		} else {
			_, err = fmt.Fprintf(stdout, "%.2f\t%s\n", h.Score, h.Text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read takes one document per line; empty lines and repeated texts are passed over, which grep's output is
// full of.
func read(r io.Reader, jsonl bool, limit int) ([]colbert.Document, error) {
	var docs []colbert.Document
	seen := map[string]bool{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan() && len(docs) < limit; line++ {
		d := colbert.Document{ID: strconv.Itoa(line), Text: strings.ToValidUTF8(s.Text(), string(utf8.RuneError))}
		if jsonl && len(bytes.TrimSpace(s.Bytes())) > 0 {
			var in struct{ ID, Text string }
			if err := json.Unmarshal(s.Bytes(), &in); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			d.Text = in.Text
			if in.ID != "" {
				d.ID = in.ID
			}
		}
		if strings.TrimSpace(d.Text) == "" || seen[d.Text] {
			continue
		}
		seen[d.Text] = true
		docs = append(docs, d)
	}
	return docs, s.Err()
}
