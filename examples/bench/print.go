package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// A record is one line of output: names and values, in order.
type record []field

type field struct {
	name  string
	value any
}

// add appends names and values in turn.
func (r record) add(pairs ...any) record {
	for i := 0; i < len(pairs); i += 2 {
		r = append(r, field{pairs[i].(string), pairs[i+1]})
	}
	return r
}

func (r record) get(name string) any {
	for _, f := range r {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// MarshalJSON keeps the order of the fields.
func (r record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		v, err := json.Marshal(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		fmt.Fprintf(&b, "%q:%s", f.name, v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// printer writes records and remembers them for the plot.
type printer struct {
	w     io.Writer
	json  bool
	lines []record
}

func (p *printer) print(r record) error {
	p.lines = append(p.lines, r)
	if p.json {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.w, "%s\n", b)
		return err
	}
	for i, f := range r {
		sep := "  "
		if i == 0 {
			sep = ""
		}
		var err error
		if r, ok := f.value.(record); ok {
			b, _ := json.Marshal(r)
			_, err = fmt.Fprintf(p.w, "%s%s=%s", sep, f.name, b)
		} else {
			_, err = fmt.Fprintf(p.w, "%s%s=%v", sep, f.name, f.value)
		}
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(p.w)
	return err
}

// round keeps n digits after the point.
func round(v float64, n int) float64 {
	s := math.Pow10(n)
	return math.Round(v*s) / s
}
