package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/vfs"
)

// segFile is one open segment file. What parse checks may be relied on by the readers; everything else in
// the file is checked where it is read.
type segFile struct {
	name string
	data []byte
	foot *footer
	toc  *toc
	secs [numSections]section // by kind; len 0 when absent
	cols []column
	norm *[256]float32
	ver  *blockVerifier
	text textDecoder

	root string // what the manifest says of the tail
	lax  bool   // opened by salvageSegFile: token offsets are not checked
	path string // where it lies now
	m    vfs.Mapping
	refs atomic.Int64
	// drop, when set, is called once the last reference is gone, after unmapping.
	drop atomic.Pointer[func()]
}

// openSegFile maps and parses a file. name is what errors call it. The caller holds one reference.
func openSegFile(fs vfs.FS, path, name string) (*segFile, error) {
	return openSegFileAs(fs, path, name, parseSegFile)
}

func openSegFileAs(fs vfs.FS, path, name string, parse func([]byte, string) (*segFile, error)) (*segFile, error) {
	m, err := fs.Map(path)
	if err != nil {
		return nil, err
	}
	var f *segFile
	err = Guard(func() (err error) {
		f, err = parse(m.Bytes(), name)
		return err
	})
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	f.m, f.path = m, path
	f.refs.Store(1)
	return f, nil
}

func (f *segFile) ref() { f.refs.Add(1) }

func (f *segFile) unref() {
	switch n := f.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("index: segment file released too often")
	default:
		if f.m != nil {
			_ = f.m.Close()
		}
		if d := f.drop.Load(); d != nil {
			(*d)()
		}
	}
}

// corrupt makes an error about a place in a section.
func (f *segFile) corrupt(kind uint32, at uint64, want, got any) error {
	return &CorruptError{File: f.name, Section: sectionName(kind), Offset: int64(f.secs[kind].off + at), Want: want, Got: got}
}

// parseSegFile checks the structure of a segment file: footer, table of contents, section bounds, lengths
// against counts, the directory of columns, and the token offsets in full, because every other accessor relies on
// them.
func parseSegFile(data []byte, name string) (*segFile, error) {
	f := &segFile{name: name, data: data}
	bad := func(section string, off int64, format string, a ...any) error {
		return &CorruptError{File: name, Section: section, Offset: off, Got: fmt.Sprintf(format, a...)}
	}
	size := uint64(len(data))
	if size < segHeaderLen+segFooterLen {
		return nil, bad("", -1, "%d bytes, want at least %d", size, segHeaderLen+segFooterLen)
	}
	footOff := size - segFooterLen
	foot, err := parseFooter(data[footOff:])
	if errors.Is(err, ErrVersion) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		return nil, &CorruptError{File: name, Section: "footer", Offset: int64(footOff), Err: err}
	}
	if foot.fileLen != size {
		return nil, bad("footer", int64(footOff), "file length %d, the file has %d", foot.fileLen, size)
	}
	tocOff := foot.tableOff + foot.tableLen
	table, tocBytes := data[foot.tableOff:tocOff], data[tocOff:footOff]
	if got := crc32c(table); got != foot.tableCRC {
		return nil, &CorruptError{File: name, Section: "checksum table", Offset: int64(foot.tableOff), Want: hex32(foot.tableCRC), Got: hex32(got)}
	}
	if got := crc32c(tocBytes); got != foot.tocCRC {
		return nil, &CorruptError{File: name, Section: "table of contents", Offset: int64(tocOff), Want: hex32(foot.tocCRC), Got: hex32(got)}
	}
	if got := string(data[:8]); got != segMagic {
		return nil, &CorruptError{File: name, Section: "header", Offset: 0, Want: fmt.Sprintf("%q", segMagic), Got: fmt.Sprintf("%q", got)}
	}
	if err := f.setTail(foot, table, tocBytes); err != nil {
		if errors.Is(err, ErrVersion) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return nil, &CorruptError{File: name, Section: "table of contents", Offset: int64(tocOff), Err: err}
	}
	f.root = tailHash(data[foot.tableOff:])
	if err := f.checkTokens(); err != nil {
		return nil, err
	}
	return f, nil
}

// setTail takes over a tail whose checksums hold. The error is about the table of contents.
func (f *segFile) setTail(foot *footer, table, contents []byte) (err error) {
	f.foot = foot
	f.ver = newBlockVerifier(f.data[:foot.copyOff], table)
	if f.toc, err = parseTOC(contents); err != nil {
		return err
	}
	if err := f.checkTOC(foot.copyOff); err != nil {
		return err
	}
	f.norm = normTable(f.toc.normLo, f.toc.normHi)
	f.cols, err = parseColumns(f.toc.cols, f.secs[secColumns].len, f.toc.docs)
	return err
}

// verifyCopy makes sure that the copy of the tail is one, and that nothing but zeros follow it.
func (f *segFile) verifyCopy() error {
	tail := f.data[f.foot.tableOff:]
	end := f.foot.copyOff + uint64(len(tail))
	if !bytes.Equal(f.data[f.foot.copyOff:end], tail) {
		return &CorruptError{File: f.name, Section: "copy of the tail", Offset: int64(f.foot.copyOff), Got: "not what the tail is"}
	}
	if i := slices.IndexFunc(f.data[end:f.foot.tableOff], func(b byte) bool { return b != 0 }); i >= 0 {
		return &CorruptError{File: f.name, Section: "copy of the tail", Offset: int64(end) + int64(i), Want: 0, Got: f.data[end+uint64(i)]}
	}
	return nil
}

func hex32(v uint32) string { return fmt.Sprintf("%08x", v) }

// checkTOC checks the table of contents against itself. end is where the sections end.
func (f *segFile) checkTOC(end uint64) error {
	t := f.toc
	switch {
	case t.dim < 1 || t.dim > MaxDim:
		return fmt.Errorf("dimension %d", t.dim)
	case t.nbits != 1 && t.nbits != 2 && t.nbits != 4 && t.nbits != 8 && t.nbits != 16:
		return fmt.Errorf("%d bits", t.nbits)
	case t.rowBytes != (t.dim*t.nbits+7)/8:
		return fmt.Errorf("%d bytes a row for dimension %d at %d bits", t.rowBytes, t.dim, t.nbits)
	case t.k < 1 || t.k > 1<<26:
		return fmt.Errorf("%d centroids", t.k)
	case t.docs < 1 || t.docs > maxDocuments:
		return fmt.Errorf("%d documents", t.docs)
	case t.tokens > uint64(len(f.data)) || t.distinct > t.tokens || (t.distinct == 0) != (t.tokens == 0):
		return fmt.Errorf("%d tokens with %d distinct codes", t.tokens, t.distinct)
	case !(t.normLo >= 0 && t.normLo <= t.normHi && t.normHi <= math.MaxFloat32) || !(t.residual >= 0 && t.residual <= math.MaxFloat64):
		return fmt.Errorf("norms from %v to %v, mean residual %v", t.normLo, t.normHi, t.residual)
	case t.textBytes > 1<<50:
		return fmt.Errorf("%d bytes of text", t.textBytes)
	}
	at := uint64(segHeaderLen)
	for _, s := range t.secs {
		// In the order of the file, without overlap, aligned: so no kind of damage can make two overlap.
		if s.off < at || s.off%sectionAlign != 0 || s.len == 0 || s.off > end || s.len > end-s.off {
			return fmt.Errorf("%s of %d bytes at %d", sectionName(s.kind), s.len, s.off)
		}
		at = s.off + s.len
		if s.kind >= numSections || s.kind == 0 {
			if s.kind&optionalSection == 0 {
				return fmt.Errorf("unknown section %d: %w", s.kind, ErrVersion)
			}
			continue
		}
		if f.secs[s.kind].len > 0 {
			return fmt.Errorf("%s appears twice", sectionName(s.kind))
		}
		f.secs[s.kind] = s
	}
	present := f.secs[secCentroids].count
	textBlocks := (t.textBytes + textBlock - 1) / textBlock
	type array struct {
		kind  uint32
		count uint64
		need  bool
	}
	hasText := t.textBytes > 0
	hasTokens := t.tokens > 0
	for _, a := range []array{
		{secTokens, t.docs + 1, true}, {secCodeOffs, t.docs + 1, true}, {secIDOffs, t.docs + 1, true},
		{secIDHashes, t.docs, true}, {secIDOrds, t.docs, true},
		{secCentroids, present, hasTokens}, {secPostOffs, present + 1, hasTokens},
		{secTextOffs, t.docs + 1, hasText}, {secTextBlocks, textBlocks + 1, hasText},
	} {
		s := f.secs[a.kind]
		if !a.need {
			if s.len != 0 {
				return fmt.Errorf("%s where there should be none", sectionName(a.kind))
			}
			continue
		}
		want, ok := packedLen(a.count, uint(s.width))
		if s.count != a.count || s.width < 1 || s.width > 57 || !ok || want != s.len {
			return fmt.Errorf("%s: %d values of %d bits in %d bytes, want %d values in %d bytes", sectionName(a.kind), s.count, s.width, s.len, a.count, want)
		}
	}
	// The products below cannot overflow: tokens and docs are bounded above, rowBytes is below 2^18.
	switch {
	case f.secs[secIDHashes].width != 32:
		return fmt.Errorf("id hashes of %d bits", f.secs[secIDHashes].width)
	case f.secs[secResiduals].len != t.tokens*uint64(t.rowBytes):
		return fmt.Errorf("residuals of %d bytes for %d tokens of %d", f.secs[secResiduals].len, t.tokens, t.rowBytes)
	case f.secs[secNorms].len != t.tokens && (f.secs[secNorms].len != 0 || t.normLo != t.normHi):
		return fmt.Errorf("norms of %d bytes for %d tokens", f.secs[secNorms].len, t.tokens)
	case f.secs[secIDs].len < t.docs:
		return fmt.Errorf("ids of %d bytes for %d documents", f.secs[secIDs].len, t.docs)
	case present > uint64(t.k) || present > t.distinct || hasTokens && present == 0:
		return fmt.Errorf("postings of %d centroids of %d", present, t.k)
	case f.secs[secPostings].len < t.distinct:
		return fmt.Errorf("postings of %d bytes for %d entries", f.secs[secPostings].len, t.distinct)
	case hasText && f.secs[secText].len < textBlocks:
		return fmt.Errorf("text of %d bytes for %d blocks", f.secs[secText].len, textBlocks)
	}
	return nil
}

// checkTokens verifies the token offsets: from 0 to the number of tokens, never falling.
func (f *segFile) checkTokens() error {
	s := f.secs[secTokens]
	if err := f.verify(secTokens, 0, s.len); err != nil {
		return err
	}
	b, prev := f.data[s.off:], uint64(0)
	for i := range s.count {
		v := packedAt(b, i, uint(s.width))
		if v < prev || v > f.toc.tokens || i == 0 && v != 0 || i == s.count-1 && v != f.toc.tokens || v-prev > HardMaxDocTokens {
			return f.corrupt(secTokens, i*uint64(s.width)/8, fmt.Sprintf("document %d: %d to %d", i, prev, f.toc.tokens), v)
		}
		prev = v
	}
	return nil
}

// verify makes sure that bytes [from, from+n) of a section are what was written. The caller has checked
// that they lie in it.
func (f *segFile) verify(kind uint32, from, n uint64) error {
	off := f.secs[kind].off + from
	if bad := f.ver.ok(off, off+n); bad >= 0 {
		return f.mismatch(kind, bad)
	}
	return nil
}

// mismatch is the error of a block that is not what was written.
func (f *segFile) mismatch(kind uint32, at int64) error {
	return &CorruptError{File: f.name, Section: sectionName(kind), Offset: at, Got: "checksum mismatch in the block of 4 KiB that starts there"}
}

// bytes gives verified bytes of a section, or a CorruptError when they do not lie in it.
func (f *segFile) bytes(kind uint32, from, n uint64) ([]byte, error) {
	s := &f.secs[kind]
	if from > s.len || n > s.len-from {
		return nil, f.corrupt(kind, min(from, s.len), nil, fmt.Sprintf("%d bytes at %d of a section of %d", n, from, s.len))
	}
	if err := f.verify(kind, from, n); err != nil {
		return nil, err
	}
	return f.data[s.off+from : s.off+from+n : s.off+from+n], nil
}

// packed reads value i of a packed section; i is below its count.
func (f *segFile) packed(kind uint32, i uint64) (uint64, error) {
	s := &f.secs[kind]
	first := i * uint64(s.width) / 8
	last := ((i+1)*uint64(s.width) - 1) / 8
	if err := f.verify(kind, first, last-first+1); err != nil {
		return 0, err
	}
	return packedAt(f.data[s.off:], i, uint(s.width)), nil
}

// span reads values i and i+1 of a packed section of offsets into another and checks that they are a range
// of it.
func (f *segFile) span(kind uint32, i uint64, limit uint64) (from, to uint64, err error) {
	s := &f.secs[kind]
	first := i * uint64(s.width) / 8
	last := ((i+2)*uint64(s.width) - 1) / 8
	if err := f.verify(kind, first, last-first+1); err != nil {
		return 0, 0, err
	}
	b := f.data[s.off:]
	from, to = packedAt(b, i, uint(s.width)), packedAt(b, i+1, uint(s.width))
	if from > to || to > limit {
		return 0, 0, f.corrupt(kind, first, fmt.Sprintf("a range within %d", limit), fmt.Sprintf("%d to %d", from, to))
	}
	return from, to, nil
}

// tokenRange gives a document's tokens; parse has checked the offsets.
func (f *segFile) tokenRange(ord uint32) (from, to uint64) {
	if uint64(ord) >= f.toc.docs {
		panic(fmt.Sprintf("index: ordinal %d of a segment of %d documents", ord, f.toc.docs))
	}
	s := &f.secs[secTokens]
	b := f.data[s.off:]
	return packedAt(b, uint64(ord), uint(s.width)), packedAt(b, uint64(ord)+1, uint(s.width))
}

// codeRecord is a document's parsed record in secCodes.
type codeRecord struct {
	bits   []byte // starts at the first centroid; more than the record follows
	at     uint64 // offset in the section, for errors
	n      uint32 // distinct centroids
	gap    uint   // width of a gap
	place  uint   // width of a place
	tokens uint32
}

func (f *segFile) codeRecord(ord uint32) (codeRecord, error) {
	a, b := f.tokenRange(ord)
	r := codeRecord{tokens: uint32(b - a)}
	from, to, err := f.span(secCodeOffs, uint64(ord), f.secs[secCodes].len)
	if err != nil {
		return r, err
	}
	rec, err := f.bytes(secCodes, from, to-from)
	if err != nil {
		return r, err
	}
	r.at = from
	if r.tokens == 0 {
		if len(rec) != 0 {
			return r, f.corrupt(secCodes, from, "no codes", fmt.Sprintf("%d bytes", len(rec)))
		}
		return r, nil
	}
	n, hl := binary.Uvarint(rec)
	if hl <= 0 || hl >= len(rec) || n < 1 || n > uint64(r.tokens) || rec[hl] > 32 {
		return r, f.corrupt(secCodes, from, fmt.Sprintf("a record of %d codes", r.tokens), fmt.Sprintf("%d bytes with %d distinct codes", len(rec), n))
	}
	r.n, r.gap, r.place = uint32(n), uint(rec[hl]), uint(bits.Len32(uint32(n-1)))
	nbits := uint64(codeWidth(f.toc.k)) + (n-1)*uint64(r.gap) + uint64(r.tokens)*uint64(r.place)
	if want := uint64(hl) + 1 + (nbits+7)/8; want != uint64(len(rec)) {
		return r, f.corrupt(secCodes, from, fmt.Sprintf("%d bytes", want), len(rec))
	}
	r.bits = f.data[f.secs[secCodes].off+from+uint64(hl)+1:]
	return r, nil
}

// gaps are the record's distances between its centroids, and places are those of its tokens' among them.
func (r *codeRecord) gaps(k uint32) kernel.Bits {
	return kernel.Bits{Data: r.bits, At: uint64(codeWidth(k)), Width: r.gap}
}

func (r *codeRecord) places(k uint32) kernel.Bits {
	return kernel.Bits{Data: r.bits, At: uint64(codeWidth(k)) + uint64(r.n-1)*uint64(r.gap), Width: r.place}
}

// bitsAt reads width <= 57 bits at a bit offset.
func bitsAt(b []byte, bit uint64, width uint) uint64 {
	return binary.LittleEndian.Uint64(b[bit>>3:]) >> (bit & 7) & (1<<width - 1)
}

// distinct appends the record's centroids.
func (f *segFile) distinct(dst []uint32, r *codeRecord) ([]uint32, error) {
	if r.n == 0 {
		return dst, nil
	}
	c := uint32(bitsAt(r.bits, 0, codeWidth(f.toc.k)))
	from := len(dst)
	dst = slices.Grow(append(dst, c), int(r.n)-1)[:from+int(r.n)]
	// They ascend, so the last is the largest.
	if last := kernel.UnpackAscending(dst[from+1:], c, r.gaps(f.toc.k)); last >= uint64(f.toc.k) {
		return nil, f.corrupt(secCodes, r.at, fmt.Sprintf("codes below %d", f.toc.k), last)
	}
	return dst, nil
}

// centroid finds a centroid's place among those with postings.
func (f *segFile) centroid(c uint32) (at uint64, ok bool, err error) {
	s := &f.secs[secCentroids]
	if s.count == 0 || c >= f.toc.k {
		return 0, false, nil
	}
	// Entries ascend and are below k: centroid c can neither be after place c nor far before it.
	missing := uint64(f.toc.k) - s.count
	lo, hi := uint64(0), min(uint64(c)+1, s.count)
	if uint64(c) > missing {
		lo = min(uint64(c)-missing, hi)
	}
	for lo < hi {
		mid := (lo + hi) / 2
		v, err := f.packed(secCentroids, mid)
		switch {
		case err != nil:
			return 0, false, err
		case v == uint64(c):
			return mid, true, nil
		case v < uint64(c):
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false, nil
}

// id gives a document's external id as mapped bytes.
func (f *segFile) id(ord uint64) ([]byte, error) {
	from, to, err := f.span(secIDOffs, ord, f.secs[secIDs].len)
	if err != nil {
		return nil, err
	}
	if to == from || to-from > MaxIDBytes {
		return nil, f.corrupt(secIDs, from, fmt.Sprintf("an id of 1 to %d bytes", MaxIDBytes), to-from)
	}
	return f.bytes(secIDs, from, to-from)
}

// lookup gives the ordinals of the documents with an id, ascending: more than one when a document was
// replaced within one Add.
func (f *segFile) lookup(id string) (_ []uint32, err error) {
	defer f.catch(debug.SetPanicOnFault(true), &err)
	h := uint64(hashID(id))
	// The first entry that is not below (h, id).
	lo, hi := uint64(0), f.toc.docs
	for lo < hi {
		mid := (lo + hi) / 2
		c, _, err := f.compareEntry(mid, h, id)
		if err != nil {
			return nil, err
		}
		if c < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	var ords []uint32
	for ; lo < f.toc.docs; lo++ {
		c, ord, err := f.compareEntry(lo, h, id)
		if err != nil {
			return nil, err
		}
		if c != 0 {
			break
		}
		ords = append(ords, ord)
	}
	return ords, nil
}

// compareEntry compares entry i of the id table with a hash and an id; ord is valid when the hashes are
// equal.
func (f *segFile) compareEntry(i, hash uint64, id string) (c int, ord uint32, err error) {
	v, err := f.packed(secIDHashes, i)
	if err != nil {
		return 0, 0, err
	}
	if v != hash {
		if v < hash {
			return -1, 0, nil
		}
		return 1, 0, nil
	}
	o, err := f.packed(secIDOrds, i)
	if err != nil {
		return 0, 0, err
	}
	if o >= f.toc.docs {
		return 0, 0, f.corrupt(secIDOrds, i*uint64(f.secs[secIDOrds].width)/8, fmt.Sprintf("an ordinal below %d", f.toc.docs), o)
	}
	got, err := f.id(o)
	if err != nil {
		return 0, 0, err
	}
	switch s := string(got); {
	case s < id:
		return -1, 0, nil
	case s > id:
		return 1, 0, nil
	}
	return 0, uint32(o), nil
}
