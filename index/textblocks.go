package index

import (
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Texts are stored end to end, cut every textBlock bytes, each block compressed by itself. Larger blocks
// compress better, smaller ones are quicker to open for one hit.
const textBlock = 16 << 10

// maxTextBytes bounds one document's text.
const maxTextBytes = 1 << 30

// textBuilder gathers the texts of a segment.
type textBuilder struct {
	enc    *zstd.Encoder
	block  []byte   // not yet compressed
	out    []byte   // compressed blocks
	blocks []uint64 // where each starts, and where the last ends
	offs   []uint64 // where each text starts in the uncompressed stream, and where the last ends
	total  uint64
}

func newTextBuilder() (*textBuilder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(textBlock), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("index: zstd: %w", err)
	}
	return &textBuilder{enc: enc, blocks: []uint64{0}, offs: []uint64{0}}, nil
}

func (t *textBuilder) add(s string) {
	t.total += uint64(len(s))
	t.offs = append(t.offs, t.total)
	for len(s) > 0 {
		n := min(textBlock-len(t.block), len(s))
		t.block = append(t.block, s[:n]...)
		s = s[n:]
		if len(t.block) == textBlock {
			t.cut()
		}
	}
}

// cut compresses the block at hand; one that does not shrink is stored as it is, which the reader knows by
// its length.
func (t *textBuilder) cut() {
	if len(t.block) == 0 {
		return
	}
	start := len(t.out)
	t.out = t.enc.EncodeAll(t.block, t.out)
	if len(t.out)-start >= len(t.block) {
		t.out = append(t.out[:start], t.block...)
	}
	t.blocks = append(t.blocks, uint64(len(t.out)))
	t.block = t.block[:0]
}

// textDecoder opens text blocks. It is safe for concurrent use.
type textDecoder struct{ pool sync.Pool }

func (d *textDecoder) decode(dst, src []byte, want int) ([]byte, error) {
	if len(src) == want {
		return append(dst, src...), nil
	}
	dec, _ := d.pool.Get().(*zstd.Decoder)
	if dec == nil {
		var err error
		// A block that claims to be larger than textBlock is refused before memory is taken for it.
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(textBlock), zstd.WithDecoderMaxWindow(textBlock))
		if err != nil {
			return dst, fmt.Errorf("zstd: %w", err)
		}
	}
	defer d.pool.Put(dec)
	start := len(dst)
	dst = slices.Grow(dst, want)
	// The decoder's bound on memory counts what the slice holds already, so it gets an empty one.
	out, err := dec.DecodeAll(src, dst[start:start])
	if err != nil {
		return dst, err
	}
	if len(out) != want {
		return dst, fmt.Errorf("block opens to %d bytes, want %d", len(out), want)
	}
	return append(dst, out...), nil
}
