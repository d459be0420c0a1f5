// Fetch downloads a checkpoint from the Hugging Face hub and prints the folder that golbert opens:
//
//	go run ./examples/fetch lightonai/colbertv2.0
//	go run ./examples/fetch -revision 960de71d... antoinelouis/colbert-xm
//
// Only what golbert reads is downloaded, into the cache that Hugging Face's own tools use. HF_TOKEN, HF_HOME,
// HF_ENDPOINT and HF_HUB_OFFLINE count; see the documentation of encoder/hub.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/hub"
	"github.com/golbert/golbert/examples/internal/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, status io.Writer) error {
	var o hub.Options
	f := flag.NewFlagSet("fetch", flag.ContinueOnError)
	f.StringVar(&o.Revision, "revision", "", "branch, tag or commit; main if empty")
	f.StringVar(&o.CacheDir, "cache", "", "cache folder; that of Hugging Face's tools if empty")
	f.BoolVar(&o.Offline, "offline", false, "use the cache alone")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		f.Usage()
		return flag.ErrHelp
	}
	var bar *progress.Bar // made when the size is known
	o.Progress = func(p hub.Progress) {
		if bar == nil {
			bar = progress.New(status, fmt.Sprintf("download of %.1f MB", float64(p.AllSize)/1e6), 1000)
		}
		bar.Set(int(1000 * p.AllDone / max(p.AllSize, 1)))
	}
	dir, err := hub.Fetch(ctx, f.Arg(0), &o)
	if bar != nil {
		bar.End()
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, dir)
	c, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(c.Describe(status), c.Close())
}
