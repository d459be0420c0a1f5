package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/golbert/golbert/encoder/train"
	"github.com/golbert/golbert/examples/internal/stdlib"
)

// read reads the files and divides them into what is trained on and what is held out; it sets the number of steps when the
// flags do not.
func (c *command) read() (sources []train.Source, held []train.Example, err error) {
	if len(c.data) == 0 {
		all, err := documentation()
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, train.Source{Name: "Go's documentation", Examples: all})
	}
	for _, d := range c.data {
		path, weight := d, 0.0
		if i := strings.LastIndexByte(d, ','); i >= 0 {
			if weight, err = strconv.ParseFloat(d[i+1:], 64); err != nil || !(weight > 0) {
				return nil, nil, fmt.Errorf("-data %s: %q is no weight", d, d[i+1:])
			}
			path = d[:i]
		}
		s := train.Source{Name: path, Weight: weight}
		for e, err := range train.ReadExamples(path, &train.ReadOptions{Titles: c.titles, Language: c.lang, Limit: c.limit}) {
			if err != nil {
				return nil, nil, err
			}
			s.Examples = append(s.Examples, e)
		}
		sources = append(sources, s)
	}
	total := 0
	var tests [][]train.Example
	for i := range sources {
		s := &sources[i]
		var learn, test []train.Example
		for _, e := range s.Examples {
			if e.HeldOut(c.heldOut) {
				test = append(test, e)
			} else {
				learn = append(learn, e)
			}
		}
		if len(learn) == 0 {
			return nil, nil, fmt.Errorf("%s: none of %d examples is left to train on with -held-out %v", s.Name, len(s.Examples), c.heldOut)
		}
		fmt.Fprintf(c.stdout, "%s: %d examples, %d held out\n", s.Name, len(learn), len(test))
		s.Examples = learn
		total += len(learn)
		tests = append(tests, test)
	}
	if c.steps == 0 {
		c.steps = max(1, total/max(1, c.batch*max(1, c.accumulate)))
	}
	return sources, interleave(tests), nil
}

// interleave takes from all lists in turn, so that a beginning of the result has of all.
func interleave(lists [][]train.Example) (out []train.Example) {
	for i := 0; ; i++ {
		more := false
		for _, l := range lists {
			if i < len(l) {
				out, more = append(out, l[i]), true
			}
		}
		if !more {
			return out
		}
	}
}

// documentation makes pairs of Go's own documentation: the first sentence of a comment asks for the rest of it. A package
// is a group.
func documentation() ([]train.Example, error) {
	root, err := stdlib.Root()
	if err != nil {
		return nil, err
	}
	passages, err := stdlib.Read(root)
	if err != nil {
		return nil, err
	}
	var out []train.Example
	for _, p := range passages {
		head, body, _ := strings.Cut(p.Text, "\n")
		first, rest, ok := strings.Cut(strings.ReplaceAll(body, "\n", " "), ". ")
		_, first, ok2 := strings.Cut(first, " ") // the symbol's name gives the answer away
		if !ok || !ok2 || len(strings.Fields(first)) < 4 || len(strings.Fields(rest)) < 8 || strings.Contains(p.ID, "#") {
			continue
		}
		name, _, _ := strings.Cut(head, ":")
		out = append(out, train.Example{Query: first, Positive: head + " " + rest, Group: name, Source: p.ID})
	}
	if len(out) == 0 {
		return nil, errors.New("the standard library has no documentation")
	}
	return out, nil
}

// warmupSteps turns the flag into steps.
func (c *command) warmupSteps() (int, error) {
	switch {
	case c.warmup >= 0 && c.warmup < 1:
		return int(math.Round(c.warmup * float64(c.steps))), nil
	case c.warmup >= 1 && c.warmup == math.Trunc(c.warmup) && c.warmup < 1e9:
		return int(c.warmup), nil
	}
	return 0, fmt.Errorf("-warmup %v is neither a part of the steps nor a number of them", c.warmup)
}
