package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"unicode/utf8"

	"github.com/golbert/golbert/internal/vfs"
)

// Report is what Check found.
type Report struct {
	Generation uint64
	Files      int   // files examined
	Bytes      int64 // their size
	Segments   int
	Documents  int     // live
	Deleted    int     // still on disk
	Tokens     uint64  // live
	Problems   []error // each names its file; *CorruptError mostly
}

// Err joins the problems; nil when there is none.
func (r *Report) Err() error { return errors.Join(r.Problems...) }

// maxProblems bounds what one segment contributes to a report.
const maxProblems = 20

// Check opens the index in dir read-only and verifies every checksum and every invariant: codes in range,
// postings and codes saying the same, ids unique and found by their table, texts and metadata readable,
// counts. The error is nil for a sound index; otherwise it wraps the problems that the report lists
// (ErrCorrupt). The report is nil only when the directory has no index or cannot be read, or the context
// was cancelled. A file that is damaged does not keep the others from being examined.
func Check(ctx context.Context, dir string) (*Report, error) { return check(ctx, vfs.OS{}, dir) }

func check(ctx context.Context, fsys vfs.FS, dir string) (_ *Report, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	st, err := loadNewest(ctx, fsys, dir, nil)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			return nil, err
		}
		return checkPieces(ctx, fsys, dir, err)
	}
	defer st.release()
	m := st.man
	r := &Report{
		Generation: m.Generation, Segments: len(st.segs), Documents: int(m.Docs), Tokens: m.Tokens,
		Files: 1 + len(m.files()), Bytes: st.manSize,
	}
	for _, c := range m.Codebooks {
		r.Bytes += c.Length
		if _, err := loadCodebook(fsys, dir, c, m.Dim, true); err != nil {
			r.Problems = append(r.Problems, err)
		}
	}
	for i, s := range m.Segments {
		r.Bytes += s.Length
		if s.Deleted != nil {
			r.Bytes += s.Deleted.Length
			r.Deleted += int(s.Deleted.Docs)
		}
		if err := checkSegment(ctx, st, i, r); err != nil {
			return nil, err
		}
	}
	return r, r.Err()
}

// checkPieces examines the files of an index one by one when it does not open as a whole.
func checkPieces(ctx context.Context, fsys vfs.FS, dir string, first error) (*Report, error) {
	gen, err := findNewest(fsys, dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Generation: gen, Files: 1}
	name := manifestName(r.Generation)
	b, err := fsys.ReadFile(filepath.Join(dir, name), maxManifestBytes)
	if err != nil {
		r.Problems = []error{missing(name, err)}
		return r, r.Err()
	}
	r.Bytes = int64(len(b))
	m, err := parseManifest(b, name)
	if err != nil {
		r.Problems = []error{err}
		return r, r.Err()
	}
	r.Segments, r.Documents, r.Tokens = len(m.Segments), int(m.Docs), m.Tokens
	st := &state{man: m}
	defer func() {
		for _, s := range st.segs {
			s.f.unref()
		}
	}()
	problem := func(err error) { r.Problems = append(r.Problems, err) }
	for _, c := range m.Codebooks {
		r.Files++
		r.Bytes += c.Length
		if _, err := loadCodebook(fsys, dir, c, m.Dim, true); err != nil {
			problem(err)
		}
	}
	for _, s := range m.Segments {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Files++
		r.Bytes += s.Length
		if s.Deleted != nil {
			r.Files++
			r.Bytes += s.Deleted.Length
			r.Deleted += int(s.Deleted.Docs)
		}
		f, err := openSegFile(fsys, filepath.Join(dir, s.File), s.File)
		if err != nil {
			problem(missing(s.File, err))
			continue
		}
		err = f.verifyAll(ctx)
		f.unref()
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			problem(err)
		}
	}
	if len(r.Problems) == 0 { // such as a segment that is whole but not the one that the manifest means
		problem(first)
	}
	return r, r.Err()
}

// verifyAll checks every block of the file. The error names the first bad one.
func (f *segFile) verifyAll(ctx context.Context) (err error) {
	defer f.catch(debug.SetPanicOnFault(true), &err)
	const step = 1024 * blockSize
	for at := uint64(0); at < uint64(len(f.ver.data)); at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if bad := f.ver.ok(at, min(at+step, uint64(len(f.ver.data)))); bad >= 0 {
			return &CorruptError{File: f.name, Section: f.sectionAt(uint64(bad)), Offset: bad, Got: "checksum mismatch in the block of 4 KiB that starts there"}
		}
	}
	return f.verifyCopy()
}

// sectionAt names the first section that touches the block at an offset.
func (f *segFile) sectionAt(off uint64) string {
	for _, s := range f.toc.secs {
		if s.off+s.len > off && s.off < off+blockSize {
			return sectionName(s.kind)
		}
	}
	return "header"
}

// segChecker examines one segment.
type segChecker struct {
	seg      *Segment
	r        *Report
	problems int
	distinct []uint32 // of all documents, end to end
	start    []int    // where each document's begin
}

func checkSegment(ctx context.Context, st *state, i int, r *Report) error {
	c := &segChecker{seg: st.segs[i], r: r}
	if err := c.seg.f.verifyAll(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// What lies in a damaged block would only give more errors about the same thing.
		c.problem(err)
		return nil
	}
	for ord := range uint32(c.seg.NumDocs()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.document(ord)
		c.unique(st, i, ord)
		if c.problems > maxProblems {
			return nil
		}
	}
	for _, examine := range []func(context.Context) error{c.postings, c.idTable, c.texts} {
		if err := examine(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *segChecker) problem(err error) {
	if c.problems++; c.problems <= maxProblems {
		c.r.Problems = append(c.r.Problems, err)
	}
}

func (c *segChecker) bad(kind uint32, format string, a ...any) {
	c.problem(&CorruptError{File: c.seg.f.name, Section: sectionName(kind), Offset: int64(c.seg.f.secs[kind].off), Got: fmt.Sprintf(format, a...)})
}

// document reads everything of one document.
func (c *segChecker) document(ord uint32) {
	s := c.seg
	c.start = append(c.start, len(c.distinct))
	if d, err := s.DistinctCodes(nil, ord); err != nil {
		c.problem(err)
	} else {
		c.distinct = append(c.distinct, d...)
	}
	if _, err := s.Codes(nil, ord); err != nil {
		c.problem(err)
	}
	if _, err := s.InvNorms(nil, ord); err != nil {
		c.problem(err)
	}
	if rows, err := s.Residuals(ord); err != nil {
		c.problem(err)
	} else if s.f.toc.nbits == 16 {
		for i := 0; i+1 < len(rows); i += 2 {
			if binary.LittleEndian.Uint16(rows[i:])&0x7c00 == 0x7c00 {
				c.bad(secResiduals, "document %d, token %d is not finite", ord, i/int(s.f.toc.rowBytes))
				break
			}
		}
	}
	if m, err := s.Metadata(ord); err != nil {
		c.problem(err)
	} else {
		for k, v := range m {
			if x, ok := v.(string); ok && !utf8.ValidString(x) {
				c.bad(secColumns, "document %d: column %q is not UTF-8", ord, k)
			}
		}
	}
	if s.f.toc.textBytes > 0 {
		if _, _, err := s.f.span(secTextOffs, uint64(ord), s.f.toc.textBytes); err != nil {
			c.problem(err)
		}
	}
}

// unique makes sure that a live document is the only one of its id, and that its segment's table finds it.
func (c *segChecker) unique(st *state, i int, ord uint32) {
	id, err := c.seg.ID(ord)
	if err != nil {
		c.problem(err)
		return
	}
	if err := checkID(id); err != nil {
		c.bad(secIDs, "document %d: %v", ord, err)
		return
	}
	if c.seg.del != nil && c.seg.del.Contains(ord) {
		return
	}
	at, found, ok, err := findLive(st.segs, id, nil)
	switch {
	case err != nil:
		c.problem(err)
	case !ok:
		c.bad(secIDHashes, "document %d, id %q: not found", ord, clip(id))
	case at != i || found != ord:
		c.bad(secIDs, "document %d, id %q: also document %d of %s", ord, clip(id), found, st.segs[at].f.name)
	}
}

// postings compares the lists with the documents' codes: in both, centroids ascend within a document.
func (c *segChecker) postings(ctx context.Context) error {
	s := c.seg
	f := s.f
	if uint64(len(c.distinct)) != f.toc.distinct {
		c.bad(secCodes, "%d distinct codes, want %d", len(c.distinct), f.toc.distinct)
		return nil
	}
	c.start = append(c.start, len(c.distinct))
	next := append([]int(nil), c.start[:len(c.start)-1]...)
	var list []uint32
	prev := int64(-1)
	for i := range f.secs[secCentroids].count {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := f.packed(secCentroids, i)
		if err != nil {
			c.problem(err)
			return nil
		}
		if int64(v) <= prev || v >= uint64(f.toc.k) {
			c.bad(secCentroids, "centroid %d after %d of %d", v, prev, f.toc.k)
			return nil
		}
		prev = int64(v)
		if list, err = s.Postings(list, uint32(v)); err != nil {
			c.problem(err)
			return nil
		}
		if len(list) == 0 {
			c.bad(secPostings, "centroid %d: empty list", v)
		}
		for _, ord := range list {
			if n := next[ord]; n >= c.start[ord+1] || c.distinct[n] != uint32(v) {
				c.bad(secPostings, "centroid %d lists document %d, which does not have it", v, ord)
				return nil
			}
			next[ord]++
		}
	}
	for ord, n := range next {
		if n != c.start[ord+1] {
			c.bad(secPostings, "document %d has centroid %d, which does not list it", ord, c.distinct[n])
			return nil
		}
	}
	return nil
}

// idTable makes sure that the table is in order and holds every document.
func (c *segChecker) idTable(ctx context.Context) error {
	f := c.seg.f
	seen := make([]bool, f.toc.docs)
	var prevHash uint64
	var prevID []byte
	for i := range f.toc.docs {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := f.packed(secIDHashes, i)
		if err != nil {
			c.problem(err)
			return nil
		}
		o, err := f.packed(secIDOrds, i)
		if err != nil {
			c.problem(err)
			return nil
		}
		if o >= f.toc.docs || seen[o] {
			c.bad(secIDOrds, "entry %d: document %d of %d, or twice", i, o, f.toc.docs)
			return nil
		}
		seen[o] = true
		id, err := f.id(o)
		if err != nil {
			c.problem(err)
			return nil
		}
		if uint64(hashID(string(id))) != h || h < prevHash || h == prevHash && bytes.Compare(prevID, id) > 0 {
			c.bad(secIDHashes, "entry %d: hash %08x of id %q", i, h, clip(string(id)))
			return nil
		}
		prevHash, prevID = h, id
	}
	return nil
}

// texts opens every block of text, and makes sure that the offsets cover it.
func (c *segChecker) texts(ctx context.Context) error {
	f := c.seg.f
	if f.toc.textBytes == 0 {
		return nil
	}
	var buf []byte
	var err error
	for b := range (f.toc.textBytes + textBlock - 1) / textBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		if buf, err = f.textBlock(buf[:0], b); err != nil {
			c.problem(err)
			return nil
		}
	}
	first, err := f.packed(secTextOffs, 0)
	if err == nil {
		var last uint64
		if last, err = f.packed(secTextOffs, f.toc.docs); err == nil && (first != 0 || last != f.toc.textBytes) {
			c.bad(secTextOffs, "texts from %d to %d of %d bytes", first, last, f.toc.textBytes)
		}
	}
	if err != nil {
		c.problem(err)
	}
	return nil
}
