package index

import (
	"encoding/binary"
	"fmt"
	"math"
)

// formatVersion is the version that this package writes and the only one that it reads.
const formatVersion = 2

const (
	segMagic     = "GBSEG\r\n\x1a" // a text-mode copy damages it
	segEndMagic  = "GBSEGEND"
	delMagic     = "GBDEL\r\n\x1a"
	segHeaderLen = 64
	segFooterLen = 64
	sectionAlign = 64
	// farApart is how far the tail is from its copy at least in files that are sixteen times as long: no single
	// sector of a disk then holds the same part of both.
	farApart = 4096
)

// Section kinds of a segment file. Numbers are never used again. A reader passes over kinds that it does
// not know when optionalSection is set, and refuses the file otherwise.
const (
	secResiduals  = 1
	secTokens     = 2 // first token of each document, packed
	secCodes      = 3
	secCodeOffs   = 4 // where each document's record starts in secCodes, packed
	secNorms      = 5
	secCentroids  = 6 // the centroids that have postings, packed, ascending
	secPostOffs   = 7 // where each of their lists starts in secPostings, packed
	secPostings   = 8
	secIDs        = 9
	secIDOffs     = 10
	secIDHashes   = 11
	secIDOrds     = 12
	secColumns    = 13
	secTextOffs   = 14 // where each document's text starts, uncompressed, packed
	secTextBlocks = 15 // where each compressed block starts in secText, packed
	secText       = 16

	numSections     = 17
	optionalSection = 1 << 31
)

// sectionNames are what errors and Info call the sections.
func sectionName(kind uint32) string {
	names := [numSections]string{"", "residuals", "token offsets", "codes", "code offsets", "norms", "posting centroids",
		"posting offsets", "postings", "ids", "id offsets", "id hashes", "id ordinals", "columns", "text offsets",
		"text block offsets", "text"}
	if kind < numSections {
		return names[kind]
	}
	return fmt.Sprintf("section %d", kind)
}

// section is one entry of the table of contents.
type section struct {
	kind  uint32
	width uint32 // bits per value of a packed array, else 0
	off   uint64
	len   uint64
	count uint64 // values of a packed array, else 0
}

// toc is the table of contents of a segment file: what cannot be told from the sections, and where they are.
type toc struct {
	segment   uint64 // the segment's number, as in its name
	codebook  string // quant.Codebook.ID
	dim       uint32
	nbits     uint32
	k         uint32
	rowBytes  uint32
	docs      uint64
	tokens    uint64
	distinct  uint64 // sum over documents of distinct centroids = number of postings
	textBytes uint64 // uncompressed
	normLo    float32
	normHi    float32
	residual  float64 // mean L2 norm of vector minus centroid
	secs      []section
	cols      []byte // directory of the columns
}

func (t *toc) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, t.segment)
	b = le.AppendUint32(b, t.dim)
	b = le.AppendUint32(b, t.nbits)
	b = le.AppendUint32(b, t.k)
	b = le.AppendUint32(b, t.rowBytes)
	b = le.AppendUint64(b, t.docs)
	b = le.AppendUint64(b, t.tokens)
	b = le.AppendUint64(b, t.distinct)
	b = le.AppendUint64(b, t.textBytes)
	b = le.AppendUint32(b, math.Float32bits(t.normLo))
	b = le.AppendUint32(b, math.Float32bits(t.normHi))
	b = le.AppendUint64(b, math.Float64bits(t.residual))
	b = le.AppendUint32(b, uint32(len(t.codebook)))
	b = le.AppendUint32(b, uint32(len(t.secs)))
	b = le.AppendUint64(b, uint64(len(t.cols)))
	b = append(b, t.codebook...)
	for _, s := range t.secs {
		b = le.AppendUint32(b, s.kind)
		b = le.AppendUint32(b, s.width)
		b = le.AppendUint64(b, s.off)
		b = le.AppendUint64(b, s.len)
		b = le.AppendUint64(b, s.count)
	}
	return append(b, t.cols...)
}

const (
	tocFixedLen   = 88
	tocSectionLen = 32
)

// parseTOC reads what append wrote. It allocates no more than a small factor of len(b).
func parseTOC(b []byte) (*toc, error) {
	le := binary.LittleEndian
	if len(b) < tocFixedLen {
		return nil, fmt.Errorf("%d bytes, want at least %d", len(b), tocFixedLen)
	}
	t := &toc{
		segment:   le.Uint64(b),
		dim:       le.Uint32(b[8:]),
		nbits:     le.Uint32(b[12:]),
		k:         le.Uint32(b[16:]),
		rowBytes:  le.Uint32(b[20:]),
		docs:      le.Uint64(b[24:]),
		tokens:    le.Uint64(b[32:]),
		distinct:  le.Uint64(b[40:]),
		textBytes: le.Uint64(b[48:]),
		normLo:    math.Float32frombits(le.Uint32(b[56:])),
		normHi:    math.Float32frombits(le.Uint32(b[60:])),
		residual:  math.Float64frombits(le.Uint64(b[64:])),
	}
	idLen, n := uint64(le.Uint32(b[72:])), uint64(le.Uint32(b[76:]))
	cols := le.Uint64(b[80:])
	if want := tocFixedLen + idLen + n*tocSectionLen; uint64(len(b)) < want || uint64(len(b))-want != cols {
		return nil, fmt.Errorf("%d bytes, want %d for %d sections and %d for columns", len(b), want, n, cols)
	}
	t.codebook = string(b[tocFixedLen : tocFixedLen+idLen])
	b = b[tocFixedLen+idLen:]
	t.secs = make([]section, n)
	for i := range t.secs {
		t.secs[i] = section{kind: le.Uint32(b), width: le.Uint32(b[4:]), off: le.Uint64(b[8:]), len: le.Uint64(b[16:]), count: le.Uint64(b[24:])}
		b = b[tocSectionLen:]
	}
	t.cols = b
	return t, nil
}

// footer is the last segFooterLen bytes of a segment file, and of the copy of its tail. Later versions of the
// format keep its last 16 bytes as they are, so that a reader can tell a newer file from a damaged one.
//
// The tail is the checksum table, the table of contents and the footer. Without it nothing of a file can be read,
// so Repair has a copy of it to turn to.
type footer struct {
	tableOff, tableLen uint64 // where the tail starts
	copyOff            uint64 // where its copy starts, and what the checksums cover ends
	tocLen             uint64
	tableCRC, tocCRC   uint32
	fileLen            uint64
	version            uint32
}

// newFooter lays out the tail of a file whose sections end at an offset, which is aligned.
func newFooter(end uint64, table, toc []byte) footer {
	f := footer{
		copyOff: end, tableLen: uint64(len(table)), tocLen: uint64(len(toc)), tableCRC: crc32c(table), tocCRC: crc32c(toc),
		version: formatVersion,
	}
	f.tableOff = end + f.gap()
	f.fileLen = f.tableOff + f.tail()
	return f
}

// tail is the length of the tail.
func (f *footer) tail() uint64 { return f.tableLen + f.tocLen + segFooterLen }

// gap is the distance from the copy of the tail to the tail.
func (f *footer) gap() uint64 {
	n := (f.tail() + sectionAlign - 1) / sectionAlign * sectionAlign
	if f.copyOff >= 16*farApart {
		n = max(n, farApart)
	}
	return n
}

// check makes sure that the parts fit, in a file of the length that the footer says.
func (f *footer) check() error {
	blocks := (f.copyOff + blockSize - 1) / blockSize
	if f.fileLen > 1<<56 || f.copyOff < segHeaderLen || f.copyOff > f.fileLen || f.copyOff%sectionAlign != 0 || f.tableLen != 4*blocks ||
		f.tocLen > f.fileLen || f.tableOff != f.copyOff+f.gap() || f.fileLen != f.tableOff+f.tail() {
		return fmt.Errorf("tail of %d + %d bytes at %d and %d of %d does not fit", f.tableLen, f.tocLen, f.copyOff, f.tableOff, f.fileLen)
	}
	return nil
}

func (f *footer) append(b []byte) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint64(b, f.tableOff)
	b = le.AppendUint64(b, f.tableLen)
	b = le.AppendUint64(b, f.copyOff)
	b = le.AppendUint64(b, f.tocLen)
	b = le.AppendUint32(b, f.tableCRC)
	b = le.AppendUint32(b, f.tocCRC)
	b = le.AppendUint64(b, f.fileLen)
	b = le.AppendUint32(b, f.version)
	b = le.AppendUint32(b, crc32c(b[start:]))
	return append(b, segEndMagic...)
}

// parseFooter reads the last bytes of a segment file.
func parseFooter(b []byte) (*footer, error) {
	le := binary.LittleEndian
	if got := string(b[56:64]); got != segEndMagic {
		return nil, fmt.Errorf("magic: want %q, got %q", segEndMagic, got)
	}
	if want, got := le.Uint32(b[52:]), crc32c(b[:52]); want != got {
		return nil, fmt.Errorf("checksum: want %08x, got %08x", want, got)
	}
	f := &footer{
		tableOff: le.Uint64(b), tableLen: le.Uint64(b[8:]),
		copyOff: le.Uint64(b[16:]), tocLen: le.Uint64(b[24:]),
		tableCRC: le.Uint32(b[32:]), tocCRC: le.Uint32(b[36:]),
		fileLen: le.Uint64(b[40:]), version: le.Uint32(b[48:]),
	}
	if f.version != formatVersion {
		return nil, fmt.Errorf("version %d, this program reads %d: %w", f.version, formatVersion, ErrVersion)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// hashID is the hash of the id table: FNV-1a of 64 bits, mixed, the upper half. It is part of the format.
func hashID(id string) uint32 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return uint32(h >> 32)
}
