package interop

import (
	"encoding/json"
	"fmt"

	"github.com/golbert/golbert/internal/npy"
)

// npyIndex reads the directories of fast-plaid 1.4 and next-plaid 1.8: JSON and NumPy files. The element types
// change with updates and deletions (centroids float16 and float32, codes, list ids and lengths int32 and
// int64), and so do the keys of the metadata; nothing depends on them. Files that are pickles (buffer.npy,
// embeddings.npy) or caches (merged_*) hold nothing that the chunks do not, and are never opened.
type npyIndex struct {
	dir  string
	meta object
}

// detect tells the two programs apart. next-plaid also converts indexes of fast-plaid in place.
func (x *npyIndex) detect() (Format, error) {
	if err := readJSON(x.dir, "metadata.json", &x.meta); err != nil {
		return "", err
	}
	var binary bool
	_ = json.Unmarshal(x.meta["binary"], &binary)
	if binary {
		return "", fmt.Errorf("next-plaid's binary indexes keep signs instead of residuals: %w", ErrUnsupported)
	}
	for _, key := range []string{"next_plaid_compatible", "embedding_dim", "binary"} {
		if x.meta[key] != nil {
			return NextPLAID, nil
		}
	}
	if exists(x.dir, "0.inv_norms.npy") {
		return NextPLAID, nil
	}
	return FastPLAID, nil
}

func (x *npyIndex) load() (params, error) {
	p := params{declared: map[string]int64{}}
	if err := p.counts("metadata.json", x.meta); err != nil {
		return p, err
	}
	for _, f := range []struct {
		name string
		dst  *[]float32
		dims int
	}{{"centroids.npy", &p.centroids, 2}, {"bucket_cutoffs.npy", &p.cutoffs, 1}, {"bucket_weights.npy", &p.weights, 1}} {
		if err := withFile(x.dir, f.name, func(b []byte) error {
			a, err := npy.Parse(b)
			if err != nil {
				return err
			}
			if len(a.Shape) != f.dims {
				return fmt.Errorf("array of shape %v, %d dimensions were expected", a.Shape, f.dims)
			}
			if f.dims == 2 {
				p.dim = a.Shape[1]
			}
			*f.dst, err = a.Float32s()
			return err
		}); err != nil {
			return p, err
		}
	}
	if d, ok, err := x.meta.count("metadata.json", "embedding_dim"); err != nil {
		return p, err
	} else if ok && d != int64(p.dim) {
		return p, bad("metadata.json", "embedding_dim is %d, centroids.npy has dimension %d", d, p.dim)
	}
	n, ok, err := x.meta.count("metadata.json", "nbits")
	if err != nil {
		return p, err
	}
	for _, f := range []string{"buffer.npy", "embeddings.npy"} {
		if exists(x.dir, f) {
			p.notes = append(p.notes, f+" holds vectors that are in the index already; it was not opened")
		}
	}
	return p, p.levels("bucket_weights.npy", n, ok)
}

func (x *npyIndex) chunk(i int, p *params) (_ *chunk, err error) {
	c := &chunk{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := readJSON(x.dir, fmt.Sprintf("doclens.%d.json", i), &c.lens); err != nil {
		return nil, err
	}
	if err := c.open(x.dir, fmt.Sprintf("%d.codes.npy", i), func(b []byte) error {
		a, err := npy.Parse(b)
		if err != nil {
			return err
		}
		if err := wantShape("codes", a.Shape, -1); err != nil {
			return err
		}
		c.codes, err = npyInts(a)
		return err
	}); err != nil {
		return nil, err
	}
	if err := c.open(x.dir, fmt.Sprintf("%d.residuals.npy", i), func(b []byte) error {
		a, err := npy.Parse(b)
		if err != nil {
			return err
		}
		if a.DType != npy.Uint8 {
			return fmt.Errorf("elements are %v, bytes were expected", a.DType)
		}
		c.residuals = a.Data
		return wantShape("residuals", a.Shape, -1, p.dim*p.nbits/8)
	}); err != nil {
		return nil, err
	}
	return c, c.check(i, p)
}

// lists reads ivf.npy and ivf_lengths.npy. Indexes made with compress_only have neither.
func (x *npyIndex) lists() (*lists, error) {
	l := &lists{file: "ivf.npy"}
	if !exists(x.dir, l.file) {
		return nil, nil
	}
	for _, f := range []struct {
		name string
		dst  *ints
	}{{l.file, &l.ids}, {"ivf_lengths.npy", &l.lengths}} {
		if err := l.open(x.dir, f.name, func(b []byte) error {
			a, err := npy.Parse(b)
			if err != nil {
				return err
			}
			if err := wantShape("lists", a.Shape, -1); err != nil {
				return err
			}
			*f.dst, err = npyInts(a)
			return err
		}); err != nil {
			return l, err
		}
	}
	return l, nil
}
