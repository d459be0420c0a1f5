package interop

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/torchpt"
	"github.com/golbert/golbert/quant"
)

// WriteFastPLAID writes a snapshot as a directory that fast-plaid 1.4 opens, searches and updates, or with
// ExportOptions.PyLate as PyLate's folder around one: dir, which must be absent or empty, and appears only
// when it is complete. Documents are numbered from 0 in the snapshot's order, deleted ones left out;
// golbert_ids.json, an array, maps the numbers to ids. Texts and metadata are not written. Centroids that
// are not float16 values are written as float32; fast-plaid itself computes with them in float16.
//
// Errors are as with WriteColBERTAI, but for ErrLossy.
func WriteFastPLAID(ctx context.Context, dir string, snap *index.Snapshot, o *ExportOptions) (*ExportResult, error) {
	return write(ctx, dir, snap, FastPLAID, o, func(e *exporter, tmp string) (target, error) {
		_, e.res.MaxCentroidError = quant.RoundHalf(e.book.Centroids())
		if e.res.MaxCentroidError > 0 {
			e.res.Notes = append(e.res.Notes, fmt.Sprintf("fast-plaid rounds centroids to float16 when it loads them, values change by up to %.3g", e.res.MaxCentroidError))
		}
		t := &fastTarget{e: e, top: tmp, dir: tmp}
		if e.o.PyLate {
			t.dir = filepath.Join(tmp, "fast_plaid_index")
			if err := os.Mkdir(t.dir, 0o755); err != nil {
				return nil, err
			}
		}
		var err error
		t.ids, err = newJSONStream(t.dir, golbertIDs, '[', ']')
		return t, err
	})
}

// fastTarget writes fast-plaid's files.
type fastTarget struct {
	e        *exporter
	top, dir string
	ids      *jsonStream
	extras   int // documents with text or metadata
}

func (t *fastTarget) abandon() { t.ids.abandon() }

func (t *fastTarget) reader() backend { return &npyIndex{dir: t.dir} }

func (t *fastTarget) document(_ int, d *exported) error {
	id, text, meta, err := docInfo(d)
	if err != nil {
		return err
	}
	if text != "" || len(meta) > 0 {
		t.extras++
	}
	return t.ids.add("", id)
}

// array writes a NumPy file with the header that fast-plaid itself writes: its own reader takes no other
// spelling of bytes than "<u1".
func (t *fastTarget) array(name, descr string, write func(io.Writer) error, shape ...int) error {
	var s strings.Builder
	for _, n := range shape {
		fmt.Fprintf(&s, "%d,", n)
	}
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, s.String())
	// Padded so that the data begin at a multiple of 16.
	h += strings.Repeat(" ", (16-(10+len(h)+1)%16)%16) + "\n"
	return createFile(t.dir, name, func(w io.Writer) error {
		if _, err := w.Write(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8))); err != nil {
			return err
		}
		if _, err := io.WriteString(w, h); err != nil {
			return err
		}
		return write(w)
	})
}

func (t *fastTarget) chunk(i, _ int, firstToken uint64, c *outChunk) error {
	n := len(c.codes)
	if err := writeCompact(t.dir, fmt.Sprintf("doclens.%d.json", i), c.lens); err != nil {
		return err
	}
	if err := t.array(fmt.Sprintf("%d.codes.npy", i), "<i8", func(w io.Writer) error { return writeInts(w, c.codes, 8) }, n); err != nil {
		return err
	}
	if err := t.array(fmt.Sprintf("%d.residuals.npy", i), "<u1", bytesOf(c.residuals), n, t.e.book.RowBytes()); err != nil {
		return err
	}
	return writeJSON(t.dir, fmt.Sprintf("%d.metadata.json", i), map[string]any{
		"embedding_offset": firstToken, "num_documents": len(c.lens), "num_embeddings": n,
	})
}

func (t *fastTarget) lists(total uint64, lengths []int32, write func(func([]uint32) error) error) error {
	if err := t.array("ivf.npy", "<i8", func(w io.Writer) error {
		return write(func(list []uint32) error { return writeInts(w, list, 8) })
	}, int(total)); err != nil {
		return err
	}
	return t.array("ivf_lengths.npy", "<i4", func(w io.Writer) error { return writeInts(w, lengths, 4) }, len(lengths))
}

func (t *fastTarget) finish() error {
	b, r, dim := t.e.book, &t.e.res, t.e.book.Dim()
	cent, descr := halvesOf(b.Centroids()), "<f2"
	if r.MaxCentroidError > 0 {
		cent, descr = floatsOf(b.Centroids()), "<f4"
	}
	avg := make([]float32, dim)
	for i, v := range t.e.avgResidual {
		avg[i] = float32(v)
	}
	for _, f := range []struct {
		name, descr string
		write       func(io.Writer) error
		shape       []int
	}{
		{"centroids.npy", descr, cent, []int{b.K(), dim}},
		{"bucket_cutoffs.npy", "<f4", floatsOf(b.Cutoffs()), []int{len(b.Cutoffs())}},
		{"bucket_weights.npy", "<f4", floatsOf(b.Weights()), []int{len(b.Weights())}},
		{"avg_residual.npy", "<f4", floatsOf(avg), []int{dim}},
		{"cluster_threshold.npy", "<f4", floatsOf([]float32{t.e.threshold()}), []int{1}},
	} {
		if err := t.array(f.name, f.descr, f.write, f.shape...); err != nil {
			return err
		}
	}
	if err := t.ids.finish(); err != nil {
		return err
	}
	if t.extras > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("texts and metadata of %d documents were left out: fast-plaid has no place for texts", t.extras))
	}
	if t.e.o.PyLate {
		if err := t.pylate(); err != nil {
			return err
		}
	}
	if err := writeJSON(t.dir, "plan.json", map[string]any{"nbits": b.NBits(), "num_chunks": r.Chunks}); err != nil {
		return err
	}
	return writeJSON(t.dir, "metadata.json", map[string]any{
		"avg_doclen": float64(r.Tokens) / float64(r.Documents), "compress_only": false, "nbits": b.NBits(), "num_chunks": r.Chunks,
		"num_documents": r.Documents, "num_embeddings": r.Tokens, "num_partitions": b.K(),
	})
}

// pylate writes the two maps of ids.
func (t *fastTarget) pylate() error {
	var ids []string
	if err := readJSON(t.dir, golbertIDs, &ids); err != nil {
		return err
	}
	dict := func(name string, pair func(i int) (any, any)) error {
		return createFile(t.top, name, func(w io.Writer) error {
			i := -1
			return torchpt.WriteDict(w, func() (any, any, bool) {
				if i++; i >= len(ids) {
					return nil, nil, false
				}
				k, v := pair(i)
				return k, v, true
			})
		})
	}
	if err := dict(pylateToPlad, func(i int) (any, any) { return ids[i], int64(i) }); err != nil {
		return err
	}
	return dict(pylateToDoc, func(i int) (any, any) { return int64(i), ids[i] })
}
