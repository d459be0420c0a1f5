package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/examples/internal/progress"
)

// hitJSON is one line of -json.
type hitJSON struct {
	Rank  int     `json:"rank"`
	ID    string  `json:"id"`
	Score float32 `json:"score"`
	Text  string  `json:"text"`
}

// shownLines is how much of a passage is printed.
const shownLines = 6

// ask searches and prints the hits.
func ask(ctx context.Context, ix *colbert.Index, question string, k int, asJSON bool, stdout, stderr io.Writer) error {
	start := time.Now()
	hits, err := ix.Search(ctx, question, k, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "searched in %.1f ms\n", ms(time.Since(start)))
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		for _, h := range hits {
			if err := enc.Encode(hitJSON{h.Rank, h.ID, h.Score, h.Text}); err != nil {
				return err
			}
		}
		return nil
	}
	before, after := "*", "*"
	if progress.IsTerminal(stdout) {
		before, after = "\x1b[1m", "\x1b[0m"
	}
	for _, h := range hits {
		why, err := colbert.Explain(ctx, ix.Encoder(), question, h.Text)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%2d. %6.2f  %s\n", h.Rank, h.Score, h.ID)
		lines := strings.Split(why.Mark(before, after), "\n")
		for i, line := range lines {
			if i == shownLines {
				fmt.Fprintln(stdout, "        ...")
				break
			}
			fmt.Fprintln(stdout, strings.TrimRight("        "+line, " \t"))
		}
		fmt.Fprintln(stdout)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
