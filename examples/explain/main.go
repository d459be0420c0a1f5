// Explain shows why a text matches a query: the similarity of every word of the query with every word of the
// text, drawn as a heat map, and the match that each query word found.
//
//	go run ./examples/explain "how long do owls live" "In captivity the birds reach an age of thirty years."
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/golbertmini"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "explain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fl := flag.NewFlagSet("explain", flag.ContinueOnError)
	fl.SetOutput(stderr)
	width := fl.Int("width", 40, "text tokens per block of the map")
	special := fl.Bool("special", false, "show the tokens that the model adds as well")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() != 2 {
		return errors.New("usage: explain [flags] query text")
	}
	if *width < 1 {
		return fmt.Errorf("-width %d: want at least 1", *width)
	}
	model, err := golbertmini.Open()
	if err != nil {
		return err
	}
	defer model.Close()
	e, err := colbert.Explain(ctx, model, fl.Arg(0), fl.Arg(1))
	if err != nil {
		return err
	}
	var rows, cols []int
	for i, t := range e.Query {
		if *special || !t.Special {
			rows = append(rows, i)
		}
	}
	for j, t := range e.Document {
		if *special || !t.Special {
			cols = append(cols, j)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "score %.2f over %d query tokens\n%s\n\n", e.Score, len(e.Query), e.Mark("*", "*"))
	for len(cols) > 0 {
		n := min(*width, len(cols))
		heatMap(&b, e, rows, cols[:n])
		cols = cols[n:]
	}
	for _, i := range rows {
		fmt.Fprintf(&b, "%-16s %.2f  %s\n", e.Query[i].Text, e.Max[i], e.Document[e.Best[i]].Text)
	}
	_, err = io.WriteString(stdout, b.String())
	return err
}

// shades go from no similarity to 1; a cell is as dark as its two tokens are alike.
var shades = []rune(" .:-=+*#%@")

// heatMap draws the similarities of query tokens (rows) with some of the text's tokens (columns). The
// columns' names run downwards.
func heatMap(b *strings.Builder, e *colbert.Explanation, rows, cols []int) {
	names := make([][]rune, len(cols))
	height := 0
	for c, j := range cols {
		names[c] = []rune(e.Document[j].Text)
		height = max(height, len(names[c]))
	}
	left := 0
	for _, i := range rows {
		left = max(left, utf8.RuneCountInString(e.Query[i].Text))
	}
	for line := range height {
		b.WriteString(strings.Repeat(" ", left+1))
		for _, name := range names {
			r := ' '
			if at := line - (height - len(name)); at >= 0 { // the names end above their columns
				r = name[at]
			}
			b.WriteRune(r)
			b.WriteByte(' ')
		}
		b.WriteByte('\n')
	}
	for _, i := range rows {
		name := e.Query[i].Text
		fmt.Fprintf(b, "%s%s ", strings.Repeat(" ", left-utf8.RuneCountInString(name)), name)
		for _, j := range cols {
			s := min(max(e.Similarity(i, j), 0), 1)
			shade := shades[int(s*float32(len(shades)-1)+0.5)]
			b.WriteRune(shade)
			if e.Best[i] == j {
				b.WriteByte('<') // the match that counts
			} else {
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}
