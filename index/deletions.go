package index

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

const delHeaderLen = 64

// marshalDeletions gives the deletions file of a segment: in the form of a column's presence, either a
// packed list of ordinals or a bitmap, whichever is smaller.
func marshalDeletions(segment, generation, docs uint64, del *roaring.Bitmap) []byte {
	mode, payload := encodePresence(del.ToArray(), docs)
	le := binary.LittleEndian
	b := make([]byte, 0, delHeaderLen+len(payload)+4)
	b = append(b, delMagic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, uint32(mode))
	b = le.AppendUint64(b, segment)
	b = le.AppendUint64(b, generation)
	b = le.AppendUint64(b, docs)
	b = le.AppendUint64(b, del.GetCardinality())
	b = le.AppendUint64(b, uint64(len(payload)))
	b = le.AppendUint64(b, 0)
	b = append(b, payload...)
	return le.AppendUint32(b, crc32c(b))
}

// deletions is a parsed deletions file.
type deletions struct {
	segment, generation, docs uint64
	set                       *roaring.Bitmap
}

// parseDeletions reads a deletions file. Errors are *CorruptError, or wrap ErrVersion. It allocates no more
// than a small factor of len(b).
func parseDeletions(b []byte, name string) (*deletions, error) {
	bad := func(off int64, format string, a ...any) error {
		return &CorruptError{File: name, Offset: off, Got: fmt.Sprintf(format, a...)}
	}
	le := binary.LittleEndian
	if len(b) < delHeaderLen+4 {
		return nil, bad(-1, "%d bytes, want at least %d", len(b), delHeaderLen+4)
	}
	if got := string(b[:8]); got != delMagic {
		return nil, &CorruptError{File: name, Section: "header", Offset: 0, Want: fmt.Sprintf("%q", delMagic), Got: fmt.Sprintf("%q", got)}
	}
	end := len(b) - 4
	if want, got := le.Uint32(b[end:]), crc32c(b[:end]); want != got {
		return nil, &CorruptError{File: name, Section: "checksum", Offset: int64(end), Want: hex32(want), Got: hex32(got)}
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads %d: %w", name, v, formatVersion, ErrVersion)
	}
	mode := le.Uint32(b[12:])
	d := &deletions{segment: le.Uint64(b[16:]), generation: le.Uint64(b[24:]), docs: le.Uint64(b[32:])}
	count, length, zero := le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[56:])
	payload := b[delHeaderLen:end]
	if length != uint64(len(payload)) || zero != 0 || d.docs < 1 || d.docs > maxDocuments || count < 1 || count > d.docs ||
		mode > presentBitmap || mode == presentAll && count > 1<<20 {
		return nil, bad(0, "%d of %d documents in %d bytes, mode %d", count, d.docs, length, mode)
	}
	if want, ok := presenceLen(uint8(mode), count, d.docs); !ok || want != length {
		return nil, bad(delHeaderLen, "%d of %d documents in %d bytes, want %d", count, d.docs, length, want)
	}
	d.set = roaring.New()
	last := int64(-1)
	add := func(ord uint64) bool {
		if int64(ord) <= last || ord >= d.docs {
			return false
		}
		last = int64(ord)
		d.set.Add(uint32(ord))
		return true
	}
	switch mode {
	case presentAll:
		d.set.AddRange(0, d.docs)
	case presentList:
		width := max(bitWidth(d.docs-1), 1)
		padded := append(payload[:len(payload):len(payload)], make([]byte, 8)...)
		for i := range count {
			if ord := packedAt(padded, i, width); !add(ord) {
				return nil, bad(delHeaderLen+int64(i*uint64(width)/8), "ordinal %d after %d", ord, last)
			}
		}
	case presentBitmap:
		for i, x := range payload[:(d.docs+7)/8] {
			for ; x != 0; x &= x - 1 {
				if ord := uint64(i)*8 + uint64(bits.TrailingZeros8(x)); !add(ord) {
					return nil, bad(delHeaderLen+int64(i), "ordinal %d of %d", ord, d.docs)
				}
			}
		}
	}
	if got := d.set.GetCardinality(); got != count {
		return nil, bad(delHeaderLen, "%d ordinals, want %d", got, count)
	}
	return d, nil
}

func sha256hex(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
