// Convert turns an index of one late-interaction program into that of another:
//
//	go run ./examples/convert -from .ragatouille/colbert/indexes/my-index -to my-index.golbert
//	go run ./examples/convert -from my-index.golbert -to my-index.plaid -format fast-plaid -reencode
//
// It reads golbert, colbert-ai, RAGatouille, fast-plaid, PyLate and next-plaid, and writes golbert, colbert-ai
// (which RAGatouille opens) and fast-plaid (PyLate's with -pylate). No model is needed and no text is encoded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/index/interop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

const native = "golbert"

type convert struct {
	from, to, format string
	strict           bool
	source           interop.Options
	export           interop.ExportOptions
	w                io.Writer
}

func run(ctx context.Context, args []string, w io.Writer) error {
	c := convert{w: w}
	f := flag.NewFlagSet("convert", flag.ContinueOnError)
	f.StringVar(&c.from, "from", "", "directory of the index to read; it is not changed")
	f.StringVar(&c.to, "to", "", "directory to write; must be absent or empty")
	f.StringVar(&c.format, "format", native, "form to write: golbert, colbert-ai or fast-plaid")
	f.BoolVar(&c.strict, "strict", false, "refuse an index whose inverted lists differ from its codes")
	f.BoolVar(&c.source.PositionIDs, "positions", false, "take positions as ids, whatever the index's id files say")
	f.StringVar(&c.source.IDColumn, "id-column", "", "column of metadata.db that holds the ids")
	f.StringVar(&c.source.TextColumn, "text-column", "", "column of metadata.db that holds the texts")
	f.BoolVar(&c.export.Reencode, "reencode", false, "code vectors anew where the other program cannot decode them as they are")
	f.IntVar(&c.export.NBits, "nbits", 0, "bits per dimension of vectors that are coded anew: 1, 2, 4 or 8")
	f.BoolVar(&c.export.RoundCentroids, "round", false, "round centroids to float16 for colbert-ai")
	f.BoolVar(&c.export.PyLate, "pylate", false, "lay PyLate's folder around fast-plaid's")
	f.StringVar(&c.export.Checkpoint, "checkpoint", "", "model to name in colbert-ai's configuration")
	if err := f.Parse(args); err != nil {
		return err
	}
	if c.from == "" || c.to == "" || f.NArg() > 0 {
		f.Usage()
		return flag.ErrHelp
	}
	if c.strict {
		c.source.Lists = interop.ListsRefuse
	}
	return c.run(ctx)
}

func (c *convert) run(ctx context.Context) error {
	var out interop.Format
	switch c.format {
	case native:
	case string(interop.ColBERTAI), string(interop.FastPLAID):
		out = interop.Format(c.format)
	default:
		return fmt.Errorf("unknown -format %q: golbert, colbert-ai and fast-plaid can be written", c.format)
	}
	info, own, err := golbert(ctx, c.from)
	switch {
	case err != nil:
		return err
	case own && out == "":
		return fmt.Errorf("%s is golbert's already", c.from)
	case own:
		fmt.Fprintf(c.w, "found  golbert: %d documents, %d tokens, dimension %d, %d bits\n", info.Documents, info.Tokens, info.Dim, info.NBits)
		return c.write(ctx, c.from, out)
	case out == "":
		return c.read(ctx, c.to)
	}
	// From one foreign program to another: through golbert's form, which keeps every byte.
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(c.to)), ".convert-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	through := filepath.Join(tmp, "index")
	if err := c.read(ctx, through); err != nil {
		return err
	}
	return c.write(ctx, through, out)
}

// golbert says whether a directory holds an index of our own.
func golbert(ctx context.Context, dir string) (info index.Info, own bool, err error) {
	ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: true})
	if errors.Is(err, index.ErrNotFound) {
		return info, false, nil
	}
	if err != nil {
		return info, false, err
	}
	defer ix.Close()
	return ix.Info(), true, nil
}

// read imports.
func (c *convert) read(ctx context.Context, to string) error {
	start := time.Now()
	var bar *progress.Bar
	o := &colbert.ImportOptions{
		Source: c.source,
		Found: func(s *interop.Source) error {
			name := string(s.Format())
			if s.Wrapper() != interop.NoWrapper {
				name += ", with " + string(s.Wrapper())
			}
			fmt.Fprintf(c.w, "found  %s: %d documents, %d tokens, dimension %d, %d bits, %d centroids\n",
				name, s.NumDocs(), s.NumTokens(), s.Dim(), s.NBits(), s.Codebook().K())
			if s.Checkpoint() != "" {
				fmt.Fprintf(c.w, "       made with the model %s\n", s.Checkpoint())
			}
			for _, n := range s.Notes() {
				fmt.Fprintf(c.w, "note   %s\n", n)
			}
			bar = progress.New(c.w, "import", s.NumDocs())
			return nil
		},
		Progress: func(p index.Progress) { bar.Set(p.Docs) },
	}
	res, err := colbert.Import(ctx, to, c.from, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.w, "read   %d documents with %d tokens, %d removed ones left out, in %.1f s\n", res.Documents, res.Tokens, res.Removed, time.Since(start).Seconds())
	if to == c.to {
		fmt.Fprintf(c.w, "wrote  %s (golbert); open it with the encoder that it was made with\n", c.to)
	}
	return nil
}

// write exports.
func (c *convert) write(ctx context.Context, from string, format interop.Format) error {
	start := time.Now()
	o := c.export
	var bar *progress.Bar
	o.Progress = func(done, total int) {
		if bar == nil {
			bar = progress.New(c.w, "export", total)
		}
		bar.Set(done)
	}
	res, err := colbert.Export(ctx, c.to, from, format, &o)
	if errors.Is(err, colbert.ErrReencode) {
		return fmt.Errorf("%w\n(-reencode does it, at a small loss of precision; -nbits 8 makes it next to none)", err)
	}
	if errors.Is(err, colbert.ErrLossy) {
		return fmt.Errorf("%w\n(-round does it)", err)
	}
	if err != nil {
		return err
	}
	for _, n := range res.Notes {
		fmt.Fprintf(c.w, "note   %s\n", n)
	}
	fmt.Fprintf(c.w, "wrote  %s (%s): %d documents, %d tokens, %d bits, %d centroids, %d chunks, in %.1f s\n",
		c.to, format, res.Documents, res.Tokens, res.NBits, res.Centroids, res.Chunks, time.Since(start).Seconds())
	return nil
}
