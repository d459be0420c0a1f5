package interop

import (
	"encoding/json"
	"fmt"

	"github.com/golbert/golbert/internal/torchpt"
)

// colbertAI reads the directories that colbert-ai 0.2 writes: JSON, and torch files whose payloads begin
// anywhere (colbert-ai's own memory-mapped loader assumes byte 320, which newer torch moved).
type colbertAI struct{ dir string }

func (x *colbertAI) load() (params, error) {
	p := params{declared: map[string]int64{}}
	// As colbert-ai does: metadata.json, else plan.json.
	file := "metadata.json"
	if !exists(x.dir, file) {
		file = "plan.json"
	}
	var meta, config object
	if err := readJSON(x.dir, file, &meta); err != nil {
		return p, err
	}
	if raw := meta["config"]; raw != nil {
		if err := json.Unmarshal(raw, &config); err != nil {
			return p, bad(file, "config: %w", err)
		}
		p.config = raw
		_ = json.Unmarshal(config["checkpoint"], &p.checkpoint) // anything but a string says nothing
	}
	if err := p.counts(file, meta); err != nil {
		return p, err
	}
	t, err := x.tensors("centroids.pt", 1)
	if err != nil {
		return p, err
	}
	if err := wantShape("centroids", t[0].Shape, -1, -1); err != nil {
		return p, &FileError{File: "centroids.pt", Err: err}
	}
	p.dim = t[0].Shape[1]
	if p.centroids, err = t[0].Float32s(); err != nil {
		return p, &FileError{File: "centroids.pt", Err: err}
	}
	if d, ok, err := config.count(file, "dim"); err != nil {
		return p, err
	} else if ok && d != int64(p.dim) {
		return p, bad(file, "config.dim is %d, centroids.pt has dimension %d", d, p.dim)
	}
	b, err := x.tensors("buckets.pt", 2)
	if err != nil {
		return p, err
	}
	for i, dst := range []*[]float32{&p.cutoffs, &p.weights} {
		if err = wantShape("levels", b[i].Shape, -1); err == nil {
			*dst, err = b[i].Float32s()
		}
		if err != nil {
			return p, &FileError{File: "buckets.pt", Err: err}
		}
	}
	n, ok, err := config.count(file, "nbits")
	if err != nil {
		return p, err
	}
	return p, p.levels("buckets.pt", n, ok)
}

// counts reads what all formats' metadata declare. num_chunks is needed; the rest is compared later.
func (p *params) counts(file string, meta object) error {
	for _, key := range []string{"num_chunks", "num_embeddings", "num_partitions", "num_documents"} {
		n, ok, err := meta.count(file, key)
		if err != nil {
			return err
		}
		if ok {
			p.declared[key] = n
		}
	}
	n, ok := p.declared["num_chunks"]
	if !ok || n > maxDocuments {
		return bad(file, "num_chunks is missing or %d", n)
	}
	p.numChunks = int(n)
	return nil
}

// levels derives the bits per dimension from the levels and compares them with what is declared.
func (p *params) levels(file string, declared int64, ok bool) error {
	for p.nbits = 1; p.nbits < 8 && len(p.weights) > 1<<p.nbits; p.nbits++ {
	}
	if len(p.weights) != 1<<p.nbits || len(p.cutoffs) != 1<<p.nbits-1 {
		return bad(file, "%d cutoffs and %d weights are not those of 1 to 8 bits", len(p.cutoffs), len(p.weights))
	}
	if ok && declared != int64(p.nbits) {
		return bad(file, "%d weights are those of %d bits, the metadata says %d", len(p.weights), p.nbits, declared)
	}
	return nil
}

// tensors reads a torch file with one tensor, or a tuple of n. They are copies.
func (x *colbertAI) tensors(name string, n int) ([]*torchpt.Tensor, error) {
	var out []*torchpt.Tensor
	err := withFile(x.dir, name, func(b []byte) error {
		t, err := parseTensors(b, n)
		for _, v := range t {
			c := *v
			c.Data = append([]byte(nil), v.Data...)
			out = append(out, &c)
		}
		return err
	})
	return out, err
}

func parseTensors(b []byte, n int) ([]*torchpt.Tensor, error) {
	v, err := torchpt.Parse(b)
	if err != nil {
		return nil, err
	}
	l, ok := v.(torchpt.List)
	if !ok {
		l = torchpt.List{v}
	}
	if len(l) != n {
		return nil, fmt.Errorf("holds %d values, %d tensors were expected", len(l), n)
	}
	out := make([]*torchpt.Tensor, n)
	for i := range l {
		if out[i], ok = l[i].(*torchpt.Tensor); !ok {
			return nil, fmt.Errorf("holds a %T where a tensor was expected", l[i])
		}
	}
	return out, nil
}

func (x *colbertAI) chunk(i int, p *params) (_ *chunk, err error) {
	c := &chunk{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := readJSON(x.dir, fmt.Sprintf("doclens.%d.json", i), &c.lens); err != nil {
		return nil, err
	}
	if err := c.open(x.dir, fmt.Sprintf("%d.codes.pt", i), func(b []byte) error {
		t, err := parseTensors(b, 1)
		if err != nil {
			return err
		}
		if err := wantShape("codes", t[0].Shape, -1); err != nil {
			return err
		}
		c.codes, err = ptInts(t[0])
		return err
	}); err != nil {
		return nil, err
	}
	if err := c.open(x.dir, fmt.Sprintf("%d.residuals.pt", i), func(b []byte) error {
		t, err := parseTensors(b, 1)
		if err != nil {
			return err
		}
		if t[0].DType != torchpt.Byte {
			return fmt.Errorf("tensor of %s, bytes were expected", t[0].DType)
		}
		c.residuals = t[0].Data
		return wantShape("residuals", t[0].Shape, -1, p.dim*p.nbits/8)
	}); err != nil {
		return nil, err
	}
	return c, c.check(i, p)
}

// lists reads ivf.pid.pt, or the ivf.pt of old indexes, which lists tokens instead of documents. Both may have
// zeros behind the last list.
func (x *colbertAI) lists() (*lists, error) {
	l := &lists{file: "ivf.pid.pt", padded: true, removes: true}
	if !exists(x.dir, l.file) {
		l.file, l.tokens, l.removes = "ivf.pt", true, false
		if !exists(x.dir, l.file) {
			return nil, nil
		}
	}
	err := l.open(x.dir, l.file, func(b []byte) error {
		t, err := parseTensors(b, 2)
		if err != nil {
			return err
		}
		for i, dst := range []*ints{&l.ids, &l.lengths} {
			if err := wantShape("lists", t[i].Shape, -1); err != nil {
				return err
			}
			if *dst, err = ptInts(t[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return l, err
}
