// Quickstart searches the documentation of the Go standard library, as it lies on this machine, with late
// interaction. The first run indexes it, which takes a minute or so; later ones open the index.
//
//	go run ./examples/quickstart "how do I wait for several goroutines to finish"
//	go run ./examples/quickstart -json "how do I wait for several goroutines to finish"
//	go run ./examples/quickstart        # questions with known answers: how good is it, beside BM25?
//
// Results go to standard output, everything else to standard error.
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

	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/examples/internal/stdlib"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "\nquickstart: interrupted; an index that was not finished is built at the next run")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fl := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.Usage = func() {
		fmt.Fprintln(stderr, "usage: quickstart [flags] [question]\nWithout a question, the built-in ones are evaluated.")
		fl.PrintDefaults()
	}
	asJSON := fl.Bool("json", false, "print one JSON object per hit: rank, id, score, text")
	dir := fl.String("index", "", "directory of the index (default: in the user's cache directory)")
	k := fl.Int("k", 5, "number of hits")
	bits := fl.Int("bits", 4, "bits per dimension of a new index: 1, 2, 4 or 8")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if *k < 1 {
		return fmt.Errorf("-k %d: want at least 1", *k)
	}
	if *bits != 1 && *bits != 2 && *bits != 4 && *bits != 8 {
		return fmt.Errorf("-bits %d: want 1, 2, 4 or 8", *bits)
	}

	start := time.Now()
	enc, err := golbertmini.Open()
	if err != nil {
		return err
	}
	defer enc.Close()
	modelTime := time.Since(start)
	root, err := stdlib.Root()
	if err != nil {
		return err
	}
	if *dir == "" {
		if *dir, err = defaultDir(stdlib.Version(root), enc.Name(), *bits); err != nil {
			return err
		}
	}
	lib := &library{dir: *dir, root: root, bits: *bits, enc: enc, stderr: stderr}
	ix, err := lib.open(ctx)
	if err != nil {
		return err
	}
	defer ix.Close()
	fmt.Fprintf(stderr, "model opened in %d ms, ready after %.2f s, index in %s\n",
		modelTime.Milliseconds(), time.Since(start).Seconds(), *dir)

	if question := strings.Join(fl.Args(), " "); question != "" {
		return ask(ctx, ix, question, *k, *asJSON, stdout, stderr)
	}
	return evaluate(ctx, lib, ix, *asJSON, stdout)
}

// defaultDir is where the index of a version of Go lies, unless the caller says otherwise.
func defaultDir(version, model string, bits int) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory (%w): say where the index shall be with -index", err)
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '_'
		}
		return r
	}, fmt.Sprintf("quickstart-%s-%s-%dbit", version, model, bits))
	return filepath.Join(cache, "golbert", name), nil
}
