package interop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/torchpt"
	"github.com/golbert/golbert/quant"
)

// WriteColBERTAI writes a snapshot as a directory that colbert-ai 0.2 opens and searches, and RAGatouille too:
// dir, which must be absent or empty, and appears only when it is complete. Documents are numbered from 0 in
// the snapshot's order, deleted ones left out; pid_docid_map.json maps the numbers to ids, and collection.json
// and docid_metadata_map.json hold texts and metadata (times in RFC 3339). An index that was imported from
// RAGatouille gets its documents' ids back where several passages share one.
//
// Errors: ErrReencode, ErrLossy, ErrUnsupported, ErrExists, those of the index and of the file system.
func WriteColBERTAI(ctx context.Context, dir string, snap *index.Snapshot, o *ExportOptions) (*ExportResult, error) {
	return write(ctx, dir, snap, ColBERTAI, o, func(e *exporter, tmp string) (target, error) {
		_, worst := quant.RoundHalf(e.book.Centroids())
		if e.res.MaxCentroidError = worst; worst > 0 && !e.o.RoundCentroids {
			return nil, &LossyError{MaxError: worst}
		} else if worst > 0 {
			e.res.Notes = append(e.res.Notes, fmt.Sprintf("centroids were rounded to float16, values changed by up to %.3g", worst))
		}
		t := &colbertTarget{e: e, dir: tmp}
		return t, t.open()
	})
}

// write is what the exports share.
func write(ctx context.Context, dir string, snap *index.Snapshot, f Format, o *ExportOptions, open func(e *exporter, tmp string) (target, error)) (*ExportResult, error) {
	if err := snap.Retain(); err != nil {
		return nil, err
	}
	defer snap.Release()
	e, err := newExporter(ctx, snap, f, o)
	if err == nil {
		err = place(dir, func(tmp string) error {
			t, err := open(e, tmp)
			if err != nil {
				return err
			}
			defer t.abandon()
			return e.run(ctx, t)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("interop: export to %s: %w", f, err)
	}
	return e.finish(), nil
}

// colbertTarget writes colbert-ai's files, and RAGatouille's beside them.
type colbertTarget struct {
	e           *exporter
	dir         string
	ids, texts  *jsonStream
	meta        *jsonStream // nil until a document has some
	grouped     bool        // ids of passages are those of their documents
	metaWritten map[string]bool
}

func (t *colbertTarget) open() (err error) {
	t.grouped = t.e.attrs[AttrWrapper] == string(RAGatouille)
	t.metaWritten = map[string]bool{}
	if t.ids, err = newJSONStream(t.dir, ragDocIDs, '{', '}'); err != nil {
		return err
	}
	t.texts, err = newJSONStream(t.dir, ragCollection, '[', ']')
	return err
}

func (t *colbertTarget) abandon() {
	t.ids.abandon()
	t.texts.abandon()
	t.meta.abandon()
}

func (t *colbertTarget) reader() backend { return &colbertAI{dir: t.dir} }

func (t *colbertTarget) document(pos int, d *exported) error {
	id, text, meta, err := docInfo(d)
	if err != nil {
		return err
	}
	if name, ok := meta[MetaDocument].(string); ok && t.grouped {
		id = name
		delete(meta, MetaDocument)
		delete(meta, MetaPassage)
	}
	if err := t.ids.add(strconv.Itoa(pos), id); err != nil {
		return err
	}
	if err := t.texts.add("", text); err != nil {
		return err
	}
	if len(meta) == 0 || t.metaWritten[id] {
		return nil
	}
	if t.meta == nil {
		if t.meta, err = newJSONStream(t.dir, ragMetadata, '{', '}'); err != nil {
			return err
		}
	}
	if t.grouped { // otherwise ids differ
		t.metaWritten[id] = true
	}
	return t.meta.add(id, jsonable(meta))
}

// jsonable replaces numbers that JSON does not have.
func jsonable(m map[string]any) map[string]any {
	for k, v := range m {
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			m[k] = strconv.FormatFloat(f, 'g', -1, 64)
		}
	}
	return m
}

func (t *colbertTarget) tensor(name string, v ...torchpt.Stream) error {
	return createFile(t.dir, name+".pt", func(w io.Writer) error { return torchpt.WriteStreams(w, name, v...) })
}

func bytesOf(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

func floatsOf(v []float32) func(io.Writer) error {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return bytesOf(b)
}

func halvesOf(v []float32) func(io.Writer) error {
	h := make([]uint16, len(v))
	kernel.F32ToF16(h, v)
	b := make([]byte, 0, 2*len(v))
	for _, x := range h {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return bytesOf(b)
}

func (t *colbertTarget) chunk(i, first int, firstToken uint64, c *outChunk) error {
	n := len(c.codes)
	if err := writeCompact(t.dir, fmt.Sprintf("doclens.%d.json", i), c.lens); err != nil {
		return err
	}
	if err := t.tensor(fmt.Sprintf("%d.codes", i), torchpt.Stream{DType: torchpt.Int, Shape: []int{n}, WriteTo: func(w io.Writer) error {
		return writeInts(w, c.codes, 4)
	}}); err != nil {
		return err
	}
	if err := t.tensor(fmt.Sprintf("%d.residuals", i), torchpt.Stream{
		DType: torchpt.Byte, Shape: []int{n, t.e.book.RowBytes()}, WriteTo: bytesOf(c.residuals),
	}); err != nil {
		return err
	}
	return writeJSON(t.dir, fmt.Sprintf("%d.metadata.json", i), map[string]any{
		"passage_offset": first, "num_passages": len(c.lens), "num_embeddings": n, "embedding_offset": firstToken,
	})
}

func writeCompact(dir, name string, v any) error {
	return createFile(dir, name, func(w io.Writer) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
}

func (t *colbertTarget) lists(total uint64, lengths []int32, write func(func([]uint32) error) error) error {
	return t.tensor("ivf.pid",
		torchpt.Stream{DType: torchpt.Int, Shape: []int{int(total)}, WriteTo: func(w io.Writer) error {
			return write(func(list []uint32) error { return writeInts(w, list, 4) })
		}},
		torchpt.Stream{DType: torchpt.Long, Shape: []int{len(lengths)}, WriteTo: func(w io.Writer) error {
			return writeInts(w, lengths, 8)
		}})
}

func (t *colbertTarget) finish() error {
	b, dim := t.e.book, t.e.book.Dim()
	if err := t.tensor("centroids", torchpt.Stream{DType: torchpt.Half, Shape: []int{b.K(), dim}, WriteTo: halvesOf(b.Centroids())}); err != nil {
		return err
	}
	if err := t.tensor("buckets",
		torchpt.Stream{DType: torchpt.Float, Shape: []int{len(b.Cutoffs())}, WriteTo: floatsOf(b.Cutoffs())},
		torchpt.Stream{DType: torchpt.Float, Shape: []int{len(b.Weights())}, WriteTo: floatsOf(b.Weights())}); err != nil {
		return err
	}
	mean := 0.0
	for _, v := range t.e.avgResidual {
		mean += v / float64(dim)
	}
	if err := t.tensor("avg_residual", torchpt.Stream{DType: torchpt.Float, WriteTo: floatsOf([]float32{float32(mean)})}); err != nil {
		return err
	}
	r := &t.e.res
	config := t.config()
	avg := float64(r.Tokens) / float64(r.Documents)
	if err := writeJSON(t.dir, "plan.json", map[string]any{
		"config": config, "num_chunks": r.Chunks, "num_partitions": b.K(), "num_embeddings_est": float64(r.Tokens), "avg_doclen_est": avg,
	}); err != nil {
		return err
	}
	if err := t.ids.finish(); err != nil {
		return err
	}
	if err := t.texts.finish(); err != nil {
		return err
	}
	if t.meta != nil {
		if err := t.meta.finish(); err != nil {
			return err
		}
	}
	return writeJSON(t.dir, "metadata.json", map[string]any{
		"config": config, "num_chunks": r.Chunks, "num_partitions": b.K(), "num_embeddings": r.Tokens, "avg_doclen": avg,
	})
}

// config gives colbert-ai's settings: those that an imported index came with, or its defaults.
func (t *colbertTarget) config() map[string]any {
	c := map[string]any{
		"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]",
		"ncells": nil, "centroid_score_threshold": nil, "ndocs": nil, "load_index_with_mmap": false, "index_path": nil,
		"index_bsize": 64, "kmeans_niters": 4, "resume": false, "similarity": "cosine", "query_maxlen": 32,
		"attend_to_mask_tokens": false, "interaction": "colbert", "doc_maxlen": 220, "mask_punctuation": true,
		"checkpoint": "none", "nranks": 1, "gpus": 0, "amp": true, "rank": 0,
	}
	if m := t.e.attrs["colbert.model"]; m != "" {
		c["checkpoint"] = m
	}
	if raw := t.e.attrs[AttrConfig]; raw != "" {
		_ = json.Unmarshal([]byte(raw), &c) // it was valid when it was stored; else the defaults stay
	}
	if t.e.o.Checkpoint != "" {
		c["checkpoint"] = t.e.o.Checkpoint
	}
	c["dim"], c["nbits"] = t.e.book.Dim(), t.e.book.NBits()
	return c
}
