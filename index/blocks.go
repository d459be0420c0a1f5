package index

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
)

// blockSize is the unit of checksumming: a CRC32C for each so many bytes of a segment file. Disks fail by sectors
// of this size, and systems read files by pages of it: damage takes nothing with it that is whole, and the first
// look at a document reads no more than it needs.
const blockSize = 4 << 10

func crc32c(b []byte) uint32 { return kernel.CRC32C(0, b) }

// blockWriter writes a file front to back and keeps the checksum of each block.
type blockWriter struct {
	w    *bufio.Writer
	off  uint64
	crc  uint32
	sums []uint32
}

func newBlockWriter(w io.Writer) *blockWriter {
	return &blockWriter{w: bufio.NewWriterSize(w, 256<<10)}
}

// Write implements io.Writer.
func (w *blockWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(blockSize-int(w.off%blockSize), len(p))
		if m, err := w.w.Write(p[:n]); err != nil {
			return total - len(p) + m, err
		}
		w.crc = kernel.CRC32C(w.crc, p[:n])
		w.off += uint64(n)
		if w.off%blockSize == 0 {
			w.sums = append(w.sums, w.crc)
			w.crc = 0
		}
		p = p[n:]
	}
	return total, nil
}

// align pads with zeros to a multiple of n.
func (w *blockWriter) align(n uint64) error {
	var zero [64]byte
	if r := w.off % n; r != 0 {
		_, err := w.Write(zero[:n-r])
		return err
	}
	return nil
}

// table closes the last block and gives the checksums in file form.
func (w *blockWriter) table() []byte {
	if w.off%blockSize != 0 {
		w.sums = append(w.sums, w.crc)
		w.crc = 0
	}
	b := make([]byte, 0, 4*len(w.sums))
	for _, s := range w.sums {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return b
}

// blockVerifier checks blocks of mapped bytes when they are first touched.
type blockVerifier struct {
	data  []byte // the bytes that the table covers
	table []byte // four bytes per block
	done  []atomic.Uint64
}

func newBlockVerifier(data, table []byte) *blockVerifier {
	return &blockVerifier{data: data, table: table, done: make([]atomic.Uint64, (len(table)/4+63)/64)}
}

// ok verifies the blocks of data[from:to], and returns the offset of the first bad one, or -1. Two
// goroutines may verify the same block at once; both come to the same result.
func (v *blockVerifier) ok(from, to uint64) (bad int64) {
	if from >= to {
		return -1
	}
	for b, last := from/blockSize, (to-1)/blockSize; b <= last; {
		// As many blocks as share a word of done.
		word, n := b/64, min(64-b%64, last-b+1)
		mask := ^uint64(0) >> (64 - n) << (b % 64)
		if v.done[word].Load()&mask == mask {
			b += n
			continue
		}
		for end := b + n; b < end; b++ {
			if v.done[word].Load()>>(b%64)&1 == 1 {
				continue
			}
			block := v.data[b*blockSize : min((b+1)*blockSize, uint64(len(v.data)))]
			if crc32c(block) != binary.LittleEndian.Uint32(v.table[4*b:]) {
				return int64(b * blockSize)
			}
			v.done[word].Or(1 << (b % 64))
		}
	}
	return -1
}
