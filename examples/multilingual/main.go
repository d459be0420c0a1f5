// Multilingual indexes passages in several languages with a multilingual ColBERT checkpoint, searches them across
// languages, and measures every pair of a query language and a document language.
//
//	go run ./examples/multilingual -model DIR                                 # XQuAD in en, es, tr and vi, see -data
//	go run ./examples/multilingual -model DIR de=PATH ja=PATH                 # folders in BEIR's format
//	go run ./examples/multilingual -model DIR -query "who wrote Faust" -query-lang en -filter 'lang = "de"'
//
// Folders whose queries and passages share ids, as XQuAD's translations do, judge each other's: a question in
// Turkish finds the English passage that answers it. A passage's language chooses its part of the model (the XMOD
// adapter) and is stored in the index, where the filter finds it.
//
// DIR is a checkpoint with a part per language, such as antoinelouis/colbert-xm, or any other ColBERT checkpoint.
// encoder/testdata/layouts/stanford_xmod is a tiny XMOD with random weights. With it everything runs, but random
// weights rank at random: its figures mean nothing.
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
	"strings"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/langdetect"
	"github.com/golbert/golbert/index"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "multilingual:", err)
		os.Exit(1)
	}
}

// A setup is what the flags say.
type setup struct {
	model, data, dir    string
	detect              bool
	limit, queries      int
	query, lang, filter string
	pool                float64
	languages, folders  []string
	stdout, stderr      io.Writer
	collections         []*collection
}

const noModel = `say where the checkpoint is with -model DIR: the folder of antoinelouis/colbert-xm, for example.
encoder/testdata/layouts/stanford_xmod is a tiny one with random weights, which runs, but ranks at random`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := setup{stdout: stdout, stderr: stderr}
	fl := flag.NewFlagSet("multilingual", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&s.model, "model", "", "folder of the checkpoint")
	fl.StringVar(&s.data, "data", "../shared/data/ir", "folder with xquad-en, xquad-es and so on, when no LANGUAGE=FOLDER is given")
	fl.StringVar(&s.dir, "index", "", "folder of the index to make; empty for one that is removed in the end")
	fl.BoolVar(&s.detect, "detect", false, "detect the languages of passages and queries instead of taking those of the folders")
	fl.IntVar(&s.limit, "passages", 0, "most passages per language, 0 for all")
	fl.IntVar(&s.queries, "queries", 200, "most queries per language that are measured, 0 for all")
	fl.Float64Var(&s.pool, "pool", 1, "merge the vectors of passages, until one is left for every so many")
	fl.StringVar(&s.query, "query", "", "search for this instead of measuring")
	fl.StringVar(&s.lang, "query-lang", "", "language of -query")
	fl.StringVar(&s.filter, "filter", "", `restrict -query to documents, such as: lang = "de"`)
	if err := fl.Parse(args); err != nil {
		return err
	}
	if s.model == "" {
		return errors.New(noModel)
	}
	if err := s.sources(fl.Args()); err != nil {
		return err
	}
	var filter index.Filter
	if s.filter != "" {
		var err error
		if filter, err = index.ParseFilter(s.filter); err != nil {
			return fmt.Errorf("-filter: %w", err)
		}
	}
	enc, err := s.open()
	if err != nil {
		return err
	}
	defer enc.Close()
	for i, lang := range s.languages {
		c, err := load(lang, s.folders[i], s.limit, s.queries)
		if err != nil {
			return err
		}
		s.collections = append(s.collections, c)
	}
	if s.dir == "" {
		tmp, err := os.MkdirTemp("", "multilingual")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		s.dir = filepath.Join(tmp, "index")
	}
	ix, err := s.build(ctx, enc)
	if err != nil {
		return err
	}
	defer ix.Close()
	if s.query != "" {
		return s.search(ctx, ix, filter)
	}
	return s.measure(ctx, ix)
}

// sources reads the arguments LANGUAGE=FOLDER.
func (s *setup) sources(args []string) error {
	if len(args) == 0 {
		for _, lang := range []string{"en", "es", "tr", "vi"} {
			args = append(args, lang+"="+filepath.Join(s.data, "xquad-"+lang))
		}
	}
	for _, a := range args {
		lang, folder, ok := strings.Cut(a, "=")
		if !ok || folder == "" {
			return fmt.Errorf("argument %q: want LANGUAGE=FOLDER", a)
		}
		code, err := encoder.LanguageCode(lang)
		if err != nil {
			return fmt.Errorf("argument %q: %w", a, err)
		}
		s.languages, s.folders = append(s.languages, code), append(s.folders, folder)
	}
	return nil
}

// open opens the checkpoint and checks that it has the languages, before anything takes time.
func (s *setup) open() (*encoder.Model, error) {
	var o encoder.Options
	if s.detect {
		d, err := langdetect.New(&langdetect.Options{Languages: s.languages})
		if err != nil {
			return nil, err
		}
		o.Detector = d
	}
	start := time.Now()
	enc, err := encoder.Open(s.model, &o)
	if err != nil {
		return nil, err
	}
	for _, l := range s.languages {
		if _, err := enc.EncodeQuery(context.Background(), l, &encoder.TextOptions{Language: l}); err != nil {
			enc.Close()
			return nil, err
		}
	}
	i := enc.Info()
	fmt.Fprintf(s.stderr, "%s: %s, %d layers, %d languages, opened with %s in %.2f s\n",
		i.Name, i.Architecture, i.Layers, len(enc.Languages()), strings.Join(s.languages, ", "), time.Since(start).Seconds())
	return enc, nil
}

// search answers one query.
func (s *setup) search(ctx context.Context, ix *colbert.Index, filter index.Filter) error {
	hits, err := ix.Search(ctx, s.query, 10, &colbert.SearchOptions{Language: s.lang, Filter: filter})
	if err != nil {
		return err
	}
	for _, h := range hits {
		text := strings.Join(strings.Fields(h.Text), " ")
		if r := []rune(text); len(r) > 90 {
			text = string(r[:90]) + "..."
		}
		fmt.Fprintf(s.stdout, "%2d  %6.3f  %-7v  %s  %s\n", h.Rank, h.Score, h.Meta[colbert.LanguageKey], h.ID, text)
	}
	return nil
}
