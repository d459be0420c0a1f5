// Checkpoint makes checkpoints out of others. Nothing is downloaded and no text is encoded:
//
//	go run ./examples/checkpoint info DIR
//	go run ./examples/checkpoint average -to OUT [-weights 2,1,1] DIR DIR ...
//	go run ./examples/checkpoint trim -from DIR -to OUT TEXTS ...
//	go run ./examples/checkpoint export -base DIR -tuned DIR -to PACK [-density 0.02]
//	go run ./examples/checkpoint apply -from DIR -to OUT PACK ...
//
// average writes the mean of checkpoints of one model (JaColBERTv2.5). trim leaves out the tokens that TEXTS do not
// need: text files with a text a line, or .jsonl files with title and text. export writes what fine-tuning changed as
// a delta pack; apply lays packs, or LoRA adapters of PEFT, over a checkpoint and writes the result. OUT and PACK must
// not exist. All take -dictionary DIR for checkpoints whose tokenizer finds Japanese words with MeCab.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/delta"
	"github.com/golbert/golbert/encoder/japanese"
	"github.com/golbert/golbert/encoder/tokenizer"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkpoint:", err)
		os.Exit(1)
	}
}

var commands = map[string]func(args []string, w io.Writer) error{
	"info": info, "average": average, "trim": trim, "export": export, "apply": apply,
}

func run(args []string, w io.Writer) error {
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: checkpoint info|average|trim|export|apply ...")
		return flag.ErrHelp
	}
	return commands[args[0]](args[1:], w)
}

// parse reads a command's flags. Those in must are needed, and at least rest further arguments.
func parse(f *flag.FlagSet, args []string, rest int, must ...*string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	ok := f.NArg() >= rest
	for _, m := range must {
		ok = ok && *m != ""
	}
	if !ok {
		f.Usage()
		return flag.ErrHelp
	}
	return nil
}

// A dictionary finds the words of Japanese text, for checkpoints that want MeCab.
type dictionary struct{ dir *string }

func dictionaryFlag(f *flag.FlagSet) dictionary {
	return dictionary{f.String("dictionary", "", "compiled MeCab dictionary, for Japanese tokenizers: see package encoder/japanese")}
}

// words opens the dictionary, if there is one.
func (d dictionary) words() (tokenizer.WordSplitter, error) {
	if *d.dir == "" {
		return nil, nil
	}
	return japanese.Open(*d.dir)
}

func (d dictionary) open(dir string) (*checkpoint.Checkpoint, error) {
	words, err := d.words()
	if err != nil {
		return nil, err
	}
	return checkpoint.OpenWith(dir, &checkpoint.Options{Words: words})
}

// describe opens a directory and prints what it holds.
func (d dictionary) describe(dir string, w io.Writer) error {
	c, err := d.open(dir)
	if err != nil {
		return err
	}
	return errors.Join(c.Describe(w), c.Close())
}

func info(args []string, w io.Writer) error {
	f := flag.NewFlagSet("info", flag.ContinueOnError)
	dict := dictionaryFlag(f)
	if err := parse(f, args, 1); err != nil {
		return err
	}
	for _, dir := range f.Args() {
		fmt.Fprintln(w, dir)
		if err := dict.describe(dir, w); err != nil {
			return err
		}
	}
	return nil
}

func average(args []string, w io.Writer) error {
	f := flag.NewFlagSet("average", flag.ContinueOnError)
	to := f.String("to", "", "directory to write")
	dict := dictionaryFlag(f)
	list := f.String("weights", "", "weights of the checkpoints, with commas between; equal ones if empty")
	if err := parse(f, args, 2, to); err != nil {
		return err
	}
	var weights []float64
	if *list != "" {
		for _, s := range strings.Split(*list, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return fmt.Errorf("-weights: %q is not a number", s)
			}
			weights = append(weights, v)
		}
	}
	if err := checkpoint.AverageDirs(*to, f.Args(), weights); err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote  %s, the mean of %d checkpoints\n", *to, f.NArg())
	return dict.describe(*to, w)
}

func trim(args []string, w io.Writer) error {
	f := flag.NewFlagSet("trim", flag.ContinueOnError)
	from, to := f.String("from", "", "checkpoint to read"), f.String("to", "", "directory to write")
	dict := dictionaryFlag(f)
	chars := f.Bool("characters", false, "keep all tokens of one character, too")
	keep := f.String("keep", "", "further tokens to keep, with spaces between")
	if err := parse(f, args, 1, from, to); err != nil {
		return err
	}
	words, err := dict.words()
	if err != nil {
		return err
	}
	r, err := checkpoint.Trim(*from, *to, func() iter.Seq2[string, error] { return texts(f.Args()) },
		&checkpoint.TrimOptions{Keep: strings.Fields(*keep), Characters: *chars, Words: words})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote  %s: %d of %d tokens for %d texts, %.1f MB less\n", *to, r.After, r.Before, r.Texts, float64(r.Saved)/1e6)
	return nil
}

// texts reads files: a text a line, or JSON objects with title and text.
func texts(files []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range files {
			if more, err := fileTexts(name, yield); err != nil {
				yield("", err)
				return
			} else if !more {
				return
			}
		}
	}
}

func fileTexts(name string, yield func(string, error) bool) (more bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for n := 1; s.Scan(); n++ {
		text := s.Text()
		if strings.HasSuffix(name, ".jsonl") {
			var j struct{ Title, Text string }
			if err := json.Unmarshal(s.Bytes(), &j); err != nil {
				return false, fmt.Errorf("%s, line %d: %w", name, n, err)
			}
			if text = j.Text; j.Title != "" {
				text = j.Title + " " + text
			}
		}
		if text != "" && !yield(text, nil) {
			return false, nil
		}
	}
	if err := s.Err(); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

func export(args []string, w io.Writer) (err error) {
	f := flag.NewFlagSet("export", flag.ContinueOnError)
	base, tuned := f.String("base", "", "checkpoint that fine-tuning started from"), f.String("tuned", "", "checkpoint that it ended with")
	to := f.String("to", "", "pack to write")
	dict := dictionaryFlag(f)
	density := f.Float64("density", 0, "share of each matrix to keep, the largest differences first; 0 keeps all")
	if err := parse(f, args, 0, base, tuned, to); err != nil {
		return err
	}
	a, err := dict.open(*base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := dict.open(*tuned)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := delta.Diff(*to, a, b, &delta.DiffOptions{Density: *density}); err != nil {
		return err
	}
	fmt.Fprintln(w, "wrote ", *to)
	return nil
}

func apply(args []string, w io.Writer) (err error) {
	f := flag.NewFlagSet("apply", flag.ContinueOnError)
	dict := dictionaryFlag(f)
	from, to := f.String("from", "", "checkpoint to read"), f.String("to", "", "directory to write")
	if err := parse(f, args, 1, from, to); err != nil {
		return err
	}
	c, err := dict.open(*from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := delta.Apply(c, f.Args()...); err != nil {
		return err
	}
	if err := checkpoint.Save(*to, c); err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote  %s with %d packs\n", *to, f.NArg())
	return dict.describe(*to, w)
}
