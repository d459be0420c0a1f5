package index

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
	"slices"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// segBuilder writes one segment file. Residuals go to the file as they come; everything else, about a
// twentieth of it, is held until finish.
type segBuilder struct {
	cb   *quant.Codebook
	file vfs.File
	w    *blockWriter
	toc  toc

	tokens   []uint64 // first token of each document, and their total
	codes    []byte   // records
	codeOffs []uint64
	distinct []uint32 // distinct centroids of every document, end to end
	dlens    []uint32 // how many each document has
	norms    []float32
	ids      []byte
	idOffs   []uint64
	byID     map[string]uint32 // the live document of each id
	cols     columnsBuilder
	text     *textBuilder
	resSum   float64
	idsMem   int
	scratch  []uint32
}

func newSegBuilder(file vfs.File, number uint64, cb *quant.Codebook) (*segBuilder, error) {
	b := &segBuilder{
		cb:       cb,
		file:     file,
		w:        newBlockWriter(file),
		tokens:   []uint64{0},
		codeOffs: []uint64{0},
		idOffs:   []uint64{0},
		byID:     make(map[string]uint32),
		toc: toc{
			segment: number, codebook: cb.ID(), dim: uint32(cb.Dim()), nbits: uint32(cb.NBits()),
			k: uint32(cb.K()), rowBytes: uint32(cb.RowBytes()),
		},
	}
	head := make([]byte, segHeaderLen)
	copy(head, segMagic)
	binary.LittleEndian.PutUint32(head[8:], formatVersion)
	binary.LittleEndian.PutUint64(head[16:], number)
	_, err := b.w.Write(head)
	return b, err
}

// docs counts what was added.
func (b *segBuilder) docs() int { return len(b.tokens) - 1 }

// numTokens counts what was added.
func (b *segBuilder) numTokens() uint64 { return b.tokens[len(b.tokens)-1] }

// mem estimates the memory held.
func (b *segBuilder) mem() int {
	n := 8*(len(b.tokens)+len(b.codeOffs)+len(b.idOffs)) + len(b.codes) + 4*(len(b.distinct)+len(b.dlens)+len(b.norms)) + len(b.ids) + b.idsMem + b.cols.mem
	if b.text != nil {
		n += len(b.text.out) + 8*len(b.text.offs)
	}
	return n
}

// add appends one document. invNorms holds 0 for vectors of zeros; residual is the sum of the norms of what
// the centroids left over.
func (b *segBuilder) add(id, text string, meta Metadata, codes []uint32, residuals []byte, invNorms []float32, residual float64) error {
	ord := uint32(b.docs())
	if err := b.cols.add(ord, meta); err != nil {
		return err
	}
	if _, err := b.w.Write(residuals); err != nil {
		return err
	}
	b.tokens = append(b.tokens, b.numTokens()+uint64(len(codes)))
	b.addCodes(codes)
	b.norms = append(b.norms, invNorms...)
	b.ids = append(b.ids, id...)
	b.idOffs = append(b.idOffs, uint64(len(b.ids)))
	b.byID[id] = ord
	b.idsMem += 64 + len(id)
	b.resSum += residual
	if text != "" && b.text == nil {
		var err error
		if b.text, err = newTextBuilder(); err != nil {
			return err
		}
		for range ord { // the documents before this one had none
			b.text.add("")
		}
	}
	if b.text != nil {
		b.text.add(text)
	}
	return nil
}

// addCodes appends a document's record: its distinct centroids as gaps, then each token's place among them.
//
//	uvarint  number of distinct centroids n, at least 1
//	byte     width w of a gap
//	bits     first centroid (codeWidth), n-1 gaps less one (w each), tokens x place (bits.Len(n-1) each)
//
// A document without tokens has an empty record.
func (b *segBuilder) addCodes(codes []uint32) {
	d := append(b.scratch[:0], codes...)
	slices.Sort(d)
	d = slices.Compact(d)
	b.scratch = d
	b.distinct = append(b.distinct, d...)
	b.dlens = append(b.dlens, uint32(len(d)))
	if len(d) > 0 {
		var gap uint32
		for i := 1; i < len(d); i++ {
			gap = max(gap, d[i]-d[i-1]-1)
		}
		w := uint(bits.Len32(gap))
		b.codes = binary.AppendUvarint(b.codes, uint64(len(d)))
		bw := bitWriter{buf: append(b.codes, byte(w))}
		bw.put(uint64(d[0]), codeWidth(b.toc.k))
		for i := 1; i < len(d); i++ {
			bw.put(uint64(d[i]-d[i-1]-1), w)
		}
		if lw := uint(bits.Len(uint(len(d) - 1))); lw > 0 {
			for _, c := range codes {
				at, _ := slices.BinarySearch(d, c)
				bw.put(uint64(at), lw)
			}
		}
		b.codes = bw.flush()
	}
	b.codeOffs = append(b.codeOffs, uint64(len(b.codes)))
}

// codeWidth is the number of bits of a centroid's number.
func codeWidth(k uint32) uint { return uint(max(1, bits.Len32(k-1))) }

// finish writes what is left and returns the file's length and the hash that the manifest keeps. The file is
// neither synced nor closed.
func (b *segBuilder) finish() (length int64, root string, err error) {
	t := &b.toc
	t.docs, t.tokens, t.distinct = uint64(b.docs()), b.numTokens(), uint64(len(b.distinct))
	if t.tokens > 0 {
		t.residual = b.resSum / float64(t.tokens)
		t.secs = append(t.secs, section{kind: secResiduals, off: segHeaderLen, len: t.tokens * uint64(t.rowBytes)})
	}
	packed := func(kind uint32, v []uint64) func() error {
		return func() error {
			p, width := packUints(v, v[len(v)-1], 1)
			return b.section(kind, p, width, uint64(len(v)))
		}
	}
	steps := []func() error{
		packed(secTokens, b.tokens),
		func() error { return b.section(secCodes, b.codes, 0, 0) },
		packed(secCodeOffs, b.codeOffs),
		b.writeNorms,
		b.writePostings,
		func() error { return b.section(secIDs, b.ids, 0, 0) },
		packed(secIDOffs, b.idOffs),
		b.writeIDTable,
		func() error {
			var parts []byte
			t.cols, parts = b.cols.build(t.docs)
			return b.section(secColumns, parts, 0, 0)
		},
	}
	if b.text != nil {
		b.text.cut()
		t.textBytes = b.text.total
		steps = append(steps, packed(secTextOffs, b.text.offs), packed(secTextBlocks, b.text.blocks),
			func() error { return b.section(secText, b.text.out, 0, 0) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return 0, "", err
		}
	}
	return b.writeTail()
}

// section writes one section, unless it is empty.
func (b *segBuilder) section(kind uint32, p []byte, width uint, count uint64) error {
	if len(p) == 0 {
		return nil
	}
	if err := b.w.align(sectionAlign); err != nil {
		return err
	}
	b.toc.secs = append(b.toc.secs, section{kind: kind, width: uint32(width), off: b.w.off, len: uint64(len(p)), count: count})
	_, err := b.w.Write(p)
	return err
}

// writeNorms stores the inverse norms in 8 bits: 0 for a vector of zeros, 1 to 255 spread evenly over
// [normLo, normHi]. Where all are equal and none is 0, as with 16-bit residuals, the section is left out.
func (b *segBuilder) writeNorms() error {
	lo, hi, zeros := float32(math.Inf(1)), float32(0), false
	for _, v := range b.norms {
		if v == 0 {
			zeros = true
			continue
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	if hi == 0 { // nothing but zeros, or nothing
		lo = 0
	}
	b.toc.normLo, b.toc.normHi = lo, hi
	if lo == hi && !zeros {
		return nil
	}
	p := make([]byte, len(b.norms))
	scale := 0.0
	if hi > lo {
		scale = 254 / (float64(hi) - float64(lo))
	}
	for i, v := range b.norms {
		if v != 0 {
			p[i] = 1 + uint8(math.RoundToEven((float64(v)-float64(lo))*scale))
		}
	}
	return b.section(secNorms, p, 0, 0)
}

// normTable gives the inverse norm of each stored byte.
func normTable(lo, hi float32) *[256]float32 {
	var t [256]float32
	for i := 1; i < 256; i++ {
		t[i] = float32(float64(lo) + float64((float64(hi)-float64(lo))*float64(i-1))/254)
	}
	return &t
}

// writePostings inverts the documents' distinct centroids by counting.
func (b *segBuilder) writePostings() error {
	start := make([]uint32, b.toc.k+1) // segments are bounded to 2^31 tokens
	for _, c := range b.distinct {
		start[c+1]++
	}
	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}
	ords := make([]uint32, len(b.distinct))
	at := 0
	for ord, n := range b.dlens {
		for _, c := range b.distinct[at : at+int(n)] {
			// start[c] moves to the end of its list, which is where the list of c+1 began.
			ords[start[c]] = uint32(ord)
			start[c]++
		}
		at += int(n)
	}
	var (
		present []uint64
		offs    = []uint64{0}
		lists   = make([]byte, 0, 2*len(ords))
		from    uint32
	)
	for c := range b.toc.k {
		list := ords[from:start[c]]
		from = start[c]
		if len(list) == 0 {
			continue
		}
		present = append(present, uint64(c))
		prev := int64(-1)
		for _, o := range list {
			lists = binary.AppendUvarint(lists, uint64(int64(o)-prev-1))
			prev = int64(o)
		}
		offs = append(offs, uint64(len(lists)))
	}
	if len(present) == 0 {
		return nil
	}
	p, width := packUints(present, uint64(b.toc.k-1), 1)
	if err := b.section(secCentroids, p, width, uint64(len(present))); err != nil {
		return err
	}
	p, width = packUints(offs, uint64(len(lists)), 1)
	if err := b.section(secPostOffs, p, width, uint64(len(offs))); err != nil {
		return err
	}
	return b.section(secPostings, lists, 0, 0)
}

// writeIDTable writes the documents' id hashes in order, and the ordinals in the same order; documents of
// equal hash are ordered by id, those of equal id by ordinal.
func (b *segBuilder) writeIDTable() error {
	type entry struct{ hash, ord uint32 }
	id := func(o uint32) []byte { return b.ids[b.idOffs[o]:b.idOffs[o+1]] }
	es := make([]entry, b.docs())
	for i := range es {
		es[i] = entry{hashID(string(id(uint32(i)))), uint32(i)}
	}
	slices.SortFunc(es, func(x, y entry) int {
		if c := cmp.Compare(x.hash, y.hash); c != 0 {
			return c
		}
		if c := bytes.Compare(id(x.ord), id(y.ord)); c != 0 {
			return c
		}
		return cmp.Compare(x.ord, y.ord)
	})
	hashes := make([]byte, 0, 4*len(es))
	ords := make([]uint64, len(es))
	for i, e := range es {
		hashes = binary.LittleEndian.AppendUint32(hashes, e.hash)
		ords[i] = uint64(e.ord)
	}
	if err := b.section(secIDHashes, hashes, 32, uint64(len(es))); err != nil {
		return err
	}
	p, width := packUints(ords, uint64(len(es)-1), 1)
	return b.section(secIDOrds, p, width, uint64(len(es)))
}

// writeTail writes checksum table, table of contents and footer, twice.
func (b *segBuilder) writeTail() (int64, string, error) {
	if err := b.w.align(sectionAlign); err != nil {
		return 0, "", err
	}
	end := b.w.off
	tail := b.w.table()
	n := len(tail)
	tail = b.toc.append(tail)
	f := newFooter(end, tail[:n], tail[n:])
	tail = f.append(tail)
	for _, p := range [][]byte{tail, make([]byte, f.gap()-f.tail()), tail} {
		if _, err := b.w.w.Write(p); err != nil {
			return 0, "", err
		}
	}
	if err := b.w.w.Flush(); err != nil {
		return 0, "", err
	}
	return int64(f.fileLen), tailHash(tail), nil
}

// tailHash identifies a segment file by the SHA-256 of everything from the checksum table on. The table
// covers the rest block by block, so that opening a file can tell it from any other without reading it.
func tailHash(tail []byte) string {
	h := sha256.Sum256(tail)
	return hex.EncodeToString(h[:])
}

// syncError marks a failed fsync, after which a writer stops for good: the system may have dropped the
// pages that it could not write, and report success the next time.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }
