package interop

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
)

// ExportOptions say how an index is written for another program. A nil pointer means the zero value.
type ExportOptions struct {
	// Reencode allows coding the vectors anew where the other program cannot decode them as they are: under
	// a rotation, scales per centroid or float16 rows, or when segments have different codebooks. The
	// vectors are decoded and turned back, keep their centroids (those of several codebooks end to end, in
	// float16), and get new levels: every vector is then quantised twice. ExportResult.Cosine says how close
	// that is; NBits 8 loses next to nothing. Without it such an index is ErrReencode.
	Reencode bool
	// NBits of a vector that is coded anew: 1, 2, 4 or 8; 0 means the index's, or 8 for float16 rows.
	NBits int
	// RoundCentroids allows rounding centroids to float16 for colbert-ai, which keeps no others. Codes and
	// residuals stay. ExportResult.MaxCentroidError says what it changed. Without it that is ErrLossy.
	RoundCentroids bool
	// ChunkTokens is about the number of tokens in one chunk's files; 0 means 1,048,576. A chunk is held in
	// memory.
	ChunkTokens int
	// Checkpoint names the model in colbert-ai's configuration; empty means what the index's attributes say.
	Checkpoint string
	// PyLate lays PyLate's folder, with its maps of ids, around fast-plaid's.
	PyLate bool
	// Progress, when set, is called with the number of documents written and the number there is.
	Progress func(done, total int)
}

// ExportResult says what was written.
type ExportResult struct {
	Format     Format
	Documents  int
	Tokens     uint64
	Chunks     int
	Dim, NBits int
	Centroids  int
	// Reencoded says that vectors were coded anew, Cosine what their mean cosine with the index's is.
	Reencoded bool
	Cosine    float64
	// MaxCentroidError is the largest change of a centroid's value by rounding to float16, in the files or,
	// with fast-plaid, when it loads them.
	MaxCentroidError float32
	// ZeroVectors and EmptyDocuments were left out: the other programs cannot express vectors of zeros, and
	// no search returns documents without tokens.
	ZeroVectors    uint64
	EmptyDocuments int
	// Notes are sentences for people.
	Notes []string
}

const defaultChunkTokens = 1 << 20

// exporter is one export under way.
type exporter struct {
	snap  *index.Snapshot
	o     ExportOptions
	attrs map[string]string
	res   ExportResult

	plain bool                    // codes and residuals are copied
	book  *quant.Codebook         // of the target
	base  map[*quant.Codebook]int // first centroid in the target of each of the index's codebooks

	avgResidual []float64 // mean absolute residual per dimension, of a sample
	norms       []float32 // of the sample's residuals
	cosSum      float64
	cosN        int
}

// exported is one document on its way out. Slices are good until the next one.
type exported struct {
	seg       *index.Segment
	ord       uint32
	codes     []uint32
	residuals []byte
}

func newExporter(ctx context.Context, snap *index.Snapshot, format Format, o *ExportOptions) (*exporter, error) {
	e := &exporter{snap: snap, attrs: snap.Attributes()}
	if o != nil {
		e.o = *o
	}
	e.res.Format = format
	if e.o.ChunkTokens <= 0 {
		e.o.ChunkTokens = defaultChunkTokens
	}
	switch e.o.NBits {
	case 0, 1, 2, 4, 8:
	default:
		return nil, fmt.Errorf("NBits is %d, want 1, 2, 4 or 8: %w", e.o.NBits, index.ErrInvalidOptions)
	}
	if err := e.chooseBook(ctx); err != nil {
		return nil, err
	}
	dim, nbits := e.book.Dim(), e.book.NBits()
	unit := 8
	if format == ColBERTAI {
		unit = 8 * nbits // colbert-ai's own condition
	}
	if format == ColBERTAI && dim%unit != 0 || dim*nbits%8 != 0 {
		return nil, fmt.Errorf("dimension %d with %d bits is not one that %s takes; Reencode with other NBits may be: %w", dim, nbits, format, ErrUnsupported)
	}
	e.res.Dim, e.res.NBits, e.res.Centroids = dim, nbits, e.book.K()
	return e, nil
}

// chooseBook takes the index's codebook if the others can decode it, or makes one that they can.
func (e *exporter) chooseBook(ctx context.Context) error {
	var books []*quant.Codebook
	e.base = map[*quant.Codebook]int{}
	k := 0
	for _, s := range e.snap.Segments() {
		cb := s.Codebook()
		if _, ok := e.base[cb]; ok || s.NumLive() == 0 {
			continue
		}
		if i := slices.IndexFunc(books, func(b *quant.Codebook) bool { return b.ID() == cb.ID() }); i >= 0 {
			e.base[cb] = e.base[books[i]]
			continue
		}
		e.base[cb] = k
		k += cb.K()
		books = append(books, cb)
	}
	if len(books) == 0 {
		return fmt.Errorf("an index without documents: %w", ErrUnsupported)
	}
	reason := ""
	switch cb := books[0]; {
	case len(books) > 1:
		reason = fmt.Sprintf("its segments have %d codebooks", len(books))
	case cb.NBits() == 16:
		reason = "its residuals are float16 rows"
	case cb.Rotated():
		reason = "its codebook has a rotation"
	case cb.Scales() != nil:
		reason = "its codebook has a scale per centroid"
	case e.o.NBits != 0 && e.o.NBits != cb.NBits():
		reason = fmt.Sprintf("it has %d bits per dimension, %d were asked for", cb.NBits(), e.o.NBits)
	}
	if reason == "" {
		e.plain, e.book = true, books[0]
		return e.sample(ctx)
	}
	if !e.o.Reencode {
		return fmt.Errorf("%s, which %s does not know (set Reencode): %w", reason, e.res.Format, ErrReencode)
	}
	e.res.Reencoded = true
	return e.makeBook(ctx, books, k)
}

// makeBook makes a codebook without rotation and scales: the centroids turned back, end to end, and levels for
// what they leave over of the decoded vectors.
func (e *exporter) makeBook(ctx context.Context, books []*quant.Codebook, k int) error {
	dim := e.snap.Dim()
	if k > quant.MaxCentroids {
		return fmt.Errorf("%d centroids in all, at most %d: %w", k, quant.MaxCentroids, ErrUnsupported)
	}
	nbits := e.o.NBits
	if nbits == 0 {
		if nbits = books[0].NBits(); nbits == 16 {
			nbits = 8
		}
	}
	cent := make([]float32, 0, k*dim)
	for _, cb := range books {
		c := make([]float32, cb.K()*dim)
		cb.Unrotate(c, cb.Centroids(), cb.K())
		cent = append(cent, c...)
	}
	cent, _ = quant.RoundHalf(cent)
	var values []float32
	err := e.eachSample(ctx, func(code uint32, v []float32) {
		for t, c := range cent[int(code)*dim : int(code+1)*dim] {
			values = append(values, v[t]-c)
		}
	})
	if err != nil {
		return err
	}
	if len(values) == 0 {
		values = []float32{0} // nothing but vectors of zeros
	}
	cuts, weights, err := quant.Levels(slices.Clone(values), nbits)
	if err != nil {
		return err
	}
	if e.book, err = quant.NewCodebook(dim, nbits, cent, cuts, weights); err != nil {
		return err
	}
	e.measure(values)
	return nil
}

// sample measures the residuals of an index that is copied.
func (e *exporter) sample(ctx context.Context) error {
	dim := e.book.Dim()
	var values []float32
	err := e.eachSample(ctx, func(code uint32, v []float32) {
		for t, c := range e.book.Centroids()[int(code)*dim : int(code+1)*dim] {
			values = append(values, v[t]-c)
		}
	})
	e.measure(values)
	return err
}

// measure sums residuals up for avg_residual and cluster_threshold, which the others use when they add
// documents.
func (e *exporter) measure(values []float32) {
	dim := e.snap.Dim()
	e.avgResidual = make([]float64, dim)
	rows := len(values) / dim
	for i := range rows {
		sum := 0.0
		for t, v := range values[i*dim : (i+1)*dim] {
			e.avgResidual[t] += math.Abs(float64(v)) / float64(rows)
			sum += float64(v) * float64(v)
		}
		e.norms = append(e.norms, float32(math.Sqrt(sum)))
	}
	slices.Sort(e.norms)
}

// threshold is the 0.75-quantile of the residuals' norms, beyond which fast-plaid makes new centroids.
func (e *exporter) threshold() float32 {
	if len(e.norms) == 0 {
		return 0
	}
	return e.norms[(len(e.norms)-1)*3/4]
}

// sampleValues bounds the sample of residuals' values.
const sampleValues = 4 << 20

// eachSample decodes an even sample of the vectors, in input space, with their codes in the target.
func (e *exporter) eachSample(ctx context.Context, f func(code uint32, v []float32)) error {
	dim := e.snap.Dim()
	step := max(e.snap.NumTokens()*uint64(dim)/sampleValues, 1)
	at := uint64(0)
	var b docBuffer
	for _, seg := range e.snap.Segments() {
		for ord := range uint32(seg.NumDocs()) {
			if ord%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if del := seg.Deleted(); del != nil && del.Contains(ord) {
				continue
			}
			n := uint64(seg.DocTokens(ord))
			first := (step - at%step) % step
			at += n
			if first >= n {
				continue
			}
			if err := b.load(seg, ord); err != nil {
				return err
			}
			b.decode()
			for i := first; i < n; i += step {
				if b.norms[i] != 0 {
					f(b.codes[i]+uint32(e.base[seg.Codebook()]), b.vec[int(i)*dim:int(i+1)*dim])
				}
			}
		}
	}
	return nil
}

// docBuffer holds a document of the index.
type docBuffer struct {
	cb        *quant.Codebook
	codes     []uint32
	residuals []byte // mapped
	norms     []float32
	vec       []float32 // in input space, after decode
}

func (b *docBuffer) load(seg *index.Segment, ord uint32) (err error) {
	b.cb = seg.Codebook()
	if b.codes, err = seg.Codes(b.codes, ord); err != nil {
		return err
	}
	if b.norms, err = seg.InvNorms(b.norms, ord); err != nil {
		return err
	}
	b.residuals, err = seg.Residuals(ord)
	return err
}

// decode gives unit vectors in input space. float16 rows keep their length in the index, but no other program
// keeps it.
func (b *docBuffer) decode() {
	n, dim := len(b.codes), b.cb.Dim()
	b.vec = slices.Grow(b.vec[:0], n*dim)[:n*dim]
	b.cb.Decode(b.vec, b.codes, b.residuals)
	b.cb.Unrotate(b.vec, b.vec, n)
	if b.cb.NBits() < 16 {
		return
	}
	for i := range n {
		row := b.vec[i*dim : (i+1)*dim]
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		if sum == 0 {
			b.norms[i] = 0
			continue
		}
		for t, v := range row {
			row[t] = float32(float64(v) / math.Sqrt(sum))
		}
	}
}

// documents calls f with every live document that has tokens, in the order of the snapshot.
func (e *exporter) documents(ctx context.Context, f func(d *exported) error) error {
	var b docBuffer
	var d exported
	total := e.snap.NumDocs()
	done := 0
	for _, seg := range e.snap.Segments() {
		base := uint32(e.base[seg.Codebook()])
		for ord := range uint32(seg.NumDocs()) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if del := seg.Deleted(); del != nil && del.Contains(ord) {
				continue
			}
			if err := b.load(seg, ord); err != nil {
				return err
			}
			d.seg, d.ord = seg, ord
			if err := e.recode(&b, base, &d); err != nil {
				return err
			}
			if done++; e.o.Progress != nil && (done%256 == 0 || done == total) {
				e.o.Progress(done, total)
			}
			if len(d.codes) == 0 {
				e.res.EmptyDocuments++
				continue
			}
			if err := f(&d); err != nil {
				return err
			}
		}
	}
	return nil
}

// recode fills d with the document's codes and residuals in the target's codebook, vectors of zeros left out.
func (e *exporter) recode(b *docBuffer, base uint32, d *exported) error {
	rb, dim := b.cb.RowBytes(), b.cb.Dim()
	if !e.plain {
		b.decode() // it also finds vectors of zeros among float16 rows
	}
	d.codes = d.codes[:0]
	kept := 0
	for i, c := range b.codes {
		if b.norms[i] == 0 {
			e.res.ZeroVectors++
			continue
		}
		d.codes = append(d.codes, c+base)
		if !e.plain && kept != i {
			copy(b.vec[kept*dim:(kept+1)*dim], b.vec[i*dim:(i+1)*dim])
		}
		kept++
	}
	switch {
	case !e.plain:
		m := maxsim.Matrix{Data: b.vec[:kept*dim], Rows: kept, Dim: dim}
		enc, err := e.book.EncodeAt(m, d.codes)
		if err != nil {
			return err
		}
		d.residuals = enc.Residuals
		e.compare(m, &enc)
	case kept == len(b.codes):
		d.residuals = b.residuals
	default:
		d.residuals = nil
		for i := range b.codes {
			if b.norms[i] != 0 {
				d.residuals = append(d.residuals, b.residuals[i*rb:(i+1)*rb]...)
			}
		}
	}
	return nil
}

// compare measures the first vector of a document before and after.
func (e *exporter) compare(m maxsim.Matrix, enc *quant.Encoded) {
	if m.Rows == 0 {
		return
	}
	i := e.cosN % m.Rows
	rb := e.book.RowBytes()
	v := make([]float32, m.Dim)
	e.book.Decode(v, enc.Codes[i:i+1], enc.Residuals[i*rb:(i+1)*rb])
	for t, x := range m.Row(i) {
		e.cosSum += float64(x) * float64(v[t])
	}
	e.cosN++
}

// finish completes the result.
func (e *exporter) finish() *ExportResult {
	r := &e.res
	if r.Reencoded && e.cosN > 0 {
		r.Cosine = e.cosSum / float64(e.cosN)
		r.Notes = append(r.Notes, fmt.Sprintf("the vectors were coded anew; the mean cosine with the index's is %.4f", r.Cosine))
	}
	if r.ZeroVectors > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d vectors of zeros were left out", r.ZeroVectors))
	}
	if r.EmptyDocuments > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d documents without tokens were left out", r.EmptyDocuments))
	}
	return r
}
