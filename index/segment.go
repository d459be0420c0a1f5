package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime/debug"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

// Segment is one immutable run of documents, numbered from 0 (ordinals), and the documents of it that a
// snapshot sees as deleted. Methods are safe for concurrent use until the snapshot is closed. An ordinal
// that is not below NumDocs is a programmer's mistake and panics; what the file holds never does: damage
// gives a *CorruptError.
type Segment struct {
	f   *segFile
	cb  *quant.Codebook // that decodes it: own, or the newest that extends own
	own *quant.Codebook // that coded it
	del *roaring.Bitmap // nil: none

	number uint64
	delGen uint64 // generation that wrote the deletions file, 0: none
	live   uint64 // token vectors of documents that are not deleted
}

// NumDocs counts the documents, deleted ones included. Ordinals are below it.
func (s *Segment) NumDocs() int { return int(s.f.toc.docs) }

// NumLive counts the documents that are not deleted.
func (s *Segment) NumLive() int { return int(s.f.toc.docs - s.deleted()) }

func (s *Segment) deleted() uint64 {
	if s.del == nil {
		return 0
	}
	return s.del.GetCardinality()
}

// NumTokens counts the token vectors, those of deleted documents included.
func (s *Segment) NumTokens() uint64 { return s.f.toc.tokens }

// Name is the segment's file name.
func (s *Segment) Name() string { return s.f.name }

// MeanResidual is the mean L2 norm of what the centroids leave over of the segment's vectors. Compare it
// with the codebook's to see whether the codebook fits.
func (s *Segment) MeanResidual() float64 { return s.f.toc.residual }

// Codebook is what the segment was coded with. Segments of one snapshot may differ.
func (s *Segment) Codebook() *quant.Codebook { return s.cb }

// Deleted holds the ordinals of deleted documents; nil means none. Read-only.
func (s *Segment) Deleted() *roaring.Bitmap { return s.del }

// DocTokens counts a document's token vectors.
func (s *Segment) DocTokens(ord uint32) int {
	a, b := s.f.tokenRange(ord)
	return int(b - a)
}

// Codes appends to dst[:0] the centroid of each of a document's tokens, in order. Every code is below the
// codebook's K.
func (s *Segment) Codes(dst []uint32, ord uint32) (_ []uint32, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	r, err := s.f.codeRecord(ord)
	if err != nil {
		return nil, err
	}
	// The distinct codes go behind the place of the result, so that a dst of sufficient size is all it takes.
	t, n := int(r.tokens), int(r.n)
	dst = slices.Grow(dst[:0], t+n)[:t]
	d, err := s.f.distinct(dst[t:t], &r)
	if err != nil {
		return nil, err
	}
	if r.place == 0 {
		for i := range dst {
			dst[i] = d[0]
		}
		return dst, nil
	}
	if top := kernel.UnpackChosen(dst, d, r.places(s.f.toc.k)); uint64(top) >= uint64(n) {
		return nil, s.f.corrupt(secCodes, r.at, fmt.Sprintf("places below %d", n), top)
	}
	return dst, nil
}

// Prefetch asks the memory for what Codes and InvNorms will read of a document, so that it is there a little later.
func (s *Segment) Prefetch(ord uint32) {
	f := s.f
	a, b := f.tokenRange(ord)
	// Nothing is verified here, so that whatever does not fit is left to those who will read it.
	if n := &f.secs[secNorms]; b <= n.len && a < b {
		kernel.Prefetch(f.data[n.off+a : n.off+b])
	}
	f.prefetchSpan(secCodeOffs, uint64(ord), secCodes)
}

// DistinctCodes appends to dst[:0] a document's centroids, ascending, each once.
func (s *Segment) DistinctCodes(dst []uint32, ord uint32) (_ []uint32, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	r, err := s.f.codeRecord(ord)
	if err != nil {
		return nil, err
	}
	return s.f.distinct(slices.Grow(dst[:0], int(r.n)), &r)
}

// InvNorms appends to dst[:0] the inverse norms of a document's decoded vectors: each token's score is
// <q, c + residual> times it. They are stored in 8 bits, within NormError of the true value. Exactly 0 marks
// a vector of zeros, which scores 0 against every query: the residual bits beside it mean nothing, and
// decoding them with quant.Codebook.Decode must be followed by clearing that row.
func (s *Segment) InvNorms(dst []float32, ord uint32) (_ []float32, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	a, b := s.f.tokenRange(ord)
	dst = slices.Grow(dst[:0], int(b-a))[:b-a]
	if s.f.secs[secNorms].len == 0 {
		for i := range dst {
			dst[i] = s.f.toc.normLo
		}
		return dst, nil
	}
	p, err := s.f.bytes(secNorms, a, b-a)
	if err != nil {
		return nil, err
	}
	norm := s.f.norm
	for i, v := range p {
		dst[i] = norm[v]
	}
	return dst, nil
}

// NormError bounds how far a value of InvNorms is from the one that was coded: half a step of the segment's
// range of inverse norms.
func (s *Segment) NormError() float32 { return (s.f.toc.normHi - s.f.toc.normLo) / 508 }

// LeastNorm is the least value of InvNorms that is not 0, or less.
func (s *Segment) LeastNorm() float32 { return s.f.toc.normLo }

// Postings appends to dst[:0] the ordinals of documents with a token at a centroid, ascending, deleted
// documents included. A centroid at which the segment has nothing, or not below K, gives an empty list.
func (s *Segment) Postings(dst []uint32, centroid uint32) (_ []uint32, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	dst = dst[:0]
	at, ok, err := s.f.centroid(centroid)
	if err != nil || !ok {
		return dst, err
	}
	from, to, err := s.f.span(secPostOffs, at, s.f.secs[secPostings].len)
	if err != nil {
		return nil, err
	}
	list, err := s.f.bytes(secPostings, from, to-from)
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, len(list)+15)[:len(list)+15] // an ordinal takes a byte at least
	n, bad := kernel.VarintGaps(dst, list, uint32(s.f.toc.docs))
	dst = dst[:n]
	if bad == len(list) {
		return dst, nil
	}
	v, size := binary.Uvarint(list[bad:])
	if size <= 0 {
		return nil, s.f.corrupt(secPostings, from+uint64(bad), nil, "varint runs over the end of the list")
	}
	next := uint64(0)
	if n > 0 {
		next = uint64(dst[n-1]) + 1
	}
	return nil, s.f.corrupt(secPostings, from+uint64(bad), fmt.Sprintf("an ordinal below %d", s.f.toc.docs), fmt.Sprintf("%d+%d", next, v))
}

// PrefetchPostings asks the memory for what Postings will read of a centroid's list.
func (s *Segment) PrefetchPostings(centroid uint32) {
	if at, ok, err := s.f.centroid(centroid); err == nil && ok { // else Postings will say what is wrong
		s.f.prefetchSpan(secPostOffs, at, secPostings)
	}
}

// prefetchSpan asks the memory for entry i of a section, as another section's offsets have it.
func (f *segFile) prefetchSpan(offsets int, i uint64, of int) {
	w := uint(f.secs[offsets].width)
	if w == 0 {
		return
	}
	offs, sec := f.data[f.secs[offsets].off:], &f.secs[of]
	if from, to := packedAt(offs, i, w), packedAt(offs, i+1, w); from < to && to <= sec.len {
		kernel.Prefetch(f.data[sec.off+from : sec.off+to])
	}
}

// ID gives a document's external id.
func (s *Segment) ID(ord uint32) (_ string, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	s.f.tokenRange(ord)
	b, err := s.f.id(uint64(ord))
	return string(b), err
}

// Text gives a document's text, "" when none was stored.
func (s *Segment) Text(ord uint32) (_ string, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	s.f.tokenRange(ord)
	t := s.f.toc
	if t.textBytes == 0 {
		return "", nil
	}
	from, to, err := s.f.span(secTextOffs, uint64(ord), t.textBytes)
	if err != nil || from == to {
		return "", err
	}
	if to-from > maxTextBytes {
		return "", s.f.corrupt(secTextOffs, 0, fmt.Sprintf("a text of at most %d bytes", maxTextBytes), to-from)
	}
	var buf []byte
	first, last := from/textBlock, (to-1)/textBlock
	for b := first; b <= last; b++ {
		if buf, err = s.f.textBlock(buf, b); err != nil {
			return "", err
		}
	}
	return string(buf[from-first*textBlock : to-first*textBlock]), nil
}

// textBlock appends an opened block of text.
func (f *segFile) textBlock(dst []byte, b uint64) ([]byte, error) {
	from, to, err := f.span(secTextBlocks, b, f.secs[secText].len)
	if err != nil {
		return dst, err
	}
	src, err := f.bytes(secText, from, to-from)
	if err != nil {
		return dst, err
	}
	dst, err = f.text.decode(dst, src, int(min(textBlock, f.toc.textBytes-b*textBlock)))
	if err != nil {
		return dst, &CorruptError{File: f.name, Section: sectionName(secText), Offset: int64(f.secs[secText].off + from), Err: err}
	}
	return dst, nil
}

// Metadata gives a document's metadata; nil when it has none.
func (s *Segment) Metadata(ord uint32) (_ Metadata, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	s.f.tokenRange(ord)
	var m Metadata
	for i := range s.f.cols {
		c := &s.f.cols[i]
		at, ok, err := s.f.columnRank(c, uint64(ord))
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		v, err := s.f.columnValue(c, at)
		if err != nil {
			return nil, err
		}
		if m == nil {
			m = make(Metadata)
		}
		m[c.name] = v.any()
	}
	return m, nil
}

// columnPacked reads value i of a packed part of a column; parse has checked the part's length.
func (f *segFile) columnPacked(p columnPart, i uint64, width uint) (uint64, error) {
	if width == 0 {
		return 0, nil
	}
	first := i * uint64(width) / 8
	last := ((i+1)*uint64(width) - 1) / 8
	if err := f.verify(secColumns, p.off+first, last-first+1); err != nil {
		return 0, err
	}
	return packedAt(f.data[f.secs[secColumns].off+p.off:], i, width), nil
}

// columnRank gives the place of a document's value, if it has one.
func (f *segFile) columnRank(c *column, ord uint64) (at uint64, ok bool, err error) {
	switch c.mode {
	case presentAll:
		return ord, true, nil
	case presentList:
		width := max(bitWidth(f.toc.docs-1), 1)
		lo, hi := uint64(0), c.count
		for lo < hi {
			mid := (lo + hi) / 2
			v, err := f.columnPacked(c.presence, mid, width)
			switch {
			case err != nil:
				return 0, false, err
			case v == ord:
				return mid, true, nil
			case v < ord:
				lo = mid + 1
			default:
				hi = mid
			}
		}
		return 0, false, nil
	}
	bitBytes := (f.toc.docs + 7) / 8
	step := ord / rankStep
	b, err := f.bytes(secColumns, c.presence.off+step*rankStep/8, ord/8-step*rankStep/8+1)
	if err != nil {
		return 0, false, err
	}
	if b[len(b)-1]>>(ord%8)&1 == 0 {
		return 0, false, nil
	}
	count, err := f.bytes(secColumns, c.presence.off+bitBytes+4*step, 4)
	if err != nil {
		return 0, false, err
	}
	at = uint64(binary.LittleEndian.Uint32(count))
	for _, x := range b[:len(b)-1] {
		at += uint64(bits.OnesCount8(x))
	}
	at += uint64(bits.OnesCount8(b[len(b)-1] & (1<<(ord%8) - 1)))
	if at >= c.count {
		return 0, false, f.corrupt(secColumns, c.presence.off, fmt.Sprintf("column %q: a place below %d", c.name, c.count), at)
	}
	return at, true, nil
}

// columnValue reads value at of a column.
func (f *segFile) columnValue(c *column, at uint64) (value, error) {
	v := value{typ: c.typ}
	n, err := f.columnPacked(c.values, at, c.width)
	if err != nil {
		return v, err
	}
	v.n = int64(n + c.base)
	switch c.typ {
	case colTime:
		nano, err := f.columnPacked(c.values2, at, c.width2)
		if err != nil {
			return v, err
		}
		if nano >= 1e9 {
			return v, f.corrupt(secColumns, c.values2.off, fmt.Sprintf("column %q: nanoseconds", c.name), nano)
		}
		v.nano = int64(nano)
	case colKeyword:
		if v.s, err = f.keyword(c, n); err != nil {
			return v, err
		}
	}
	return v, nil
}

// keyword reads entry n of a column's dictionary.
func (f *segFile) keyword(c *column, n uint64) (string, error) {
	if n >= c.dict {
		return "", f.corrupt(secColumns, c.values.off, fmt.Sprintf("column %q: an entry below %d", c.name, c.dict), n)
	}
	from, err := f.columnPacked(c.values2, n, c.width2)
	if err != nil {
		return "", err
	}
	to, err := f.columnPacked(c.values2, n+1, c.width2)
	if err != nil {
		return "", err
	}
	if from > to || to > c.strings.len || to-from > maxKeyword {
		return "", f.corrupt(secColumns, c.values2.off, fmt.Sprintf("column %q: a range within %d", c.name, c.strings.len), fmt.Sprintf("%d to %d", from, to))
	}
	b, err := f.bytes(secColumns, c.strings.off+from, to-from)
	return string(b), err
}
