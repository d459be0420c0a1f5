package quant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
)

// The codebook file; see FORMAT.md.
const (
	fileMagic      = "GLBTCODE"
	fileVersion    = 1
	fileHeaderSize = 56

	centroidsHalf  = 1
	centroidsFloat = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary returns the codebook's file. Equal codebooks give equal bytes. The error is always nil.
func (c *Codebook) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	ctype, csize := centroidsHalf, 2
	if !isHalf(c.centroids) {
		ctype, csize = centroidsFloat, 4
	}
	levels := 4 * (len(c.cutoffs) + len(c.weights))
	b := make([]byte, fileHeaderSize+levels+csize*len(c.centroids)+4)
	copy(b, fileMagic)
	le.PutUint32(b[8:], fileVersion)
	le.PutUint32(b[12:], uint32(c.dim))
	le.PutUint32(b[16:], uint32(c.k))
	b[20] = byte(c.nbits)
	b[21] = byte(c.kind)
	b[22] = byte(ctype)
	le.PutUint64(b[24:], c.seed)
	le.PutUint64(b[32:], c.trainTokens)
	le.PutUint32(b[40:], math.Float32bits(c.meanResidual))
	p := b[fileHeaderSize:]
	for _, v := range [][]float32{c.cutoffs, c.weights} {
		p = p[putFloats(p, v):]
	}
	if ctype == centroidsHalf {
		encodeHalf(p, c.centroids)
	} else {
		putFloats(p, c.centroids)
	}
	le.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
	return b, nil
}

func isHalf(v []float32) bool {
	var b [512]byte
	var w [256]float32
	for len(v) > 0 {
		n := min(len(v), len(w))
		encodeHalf(b[:], v[:n])
		decodeHalf(w[:n], b[:])
		for i, x := range w[:n] {
			if x != v[i] {
				return false
			}
		}
		v = v[n:]
	}
	return true
}

func putFloats(b []byte, v []float32) int {
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return 4 * len(v)
}

func floats(b []byte, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// ParseCodebook reads a codebook file. Every field is checked before it is used, and memory is bounded by
// a small multiple of len(b), which is not kept. Errors are *FormatError and wrap ErrCorrupt or ErrVersion.
func ParseCodebook(b []byte) (*Codebook, error) {
	le := binary.LittleEndian
	if len(b) < fileHeaderSize+4 {
		return nil, corrupt("file length", 0, fmt.Sprintf("at least %d bytes", fileHeaderSize+4), len(b))
	}
	if string(b[:8]) != fileMagic {
		return nil, corrupt("magic", 0, fmt.Sprintf("%q", fileMagic), fmt.Sprintf("%q", b[:8]))
	}
	if v := le.Uint32(b[8:]); v != fileVersion {
		return nil, &FormatError{Field: "version", Offset: 8, Want: fileVersion, Got: v, Err: ErrVersion}
	}
	dim, k, nbits := le.Uint32(b[12:]), le.Uint32(b[16:]), int(b[20])
	switch {
	case dim < 1 || dim > MaxDim:
		return nil, corrupt("dim", 12, fmt.Sprintf("1 to %d", MaxDim), dim)
	case k < 1 || k > MaxCentroids:
		return nil, corrupt("centroids", 16, fmt.Sprintf("1 to %d", MaxCentroids), k)
	case checkBits(nbits) != nil:
		return nil, corrupt("bits", 20, "1, 2, 4, 8 or 16", nbits)
	case b[21] > byte(rotationHadamard):
		return nil, corrupt("rotation", 21, "0 or 1", b[21])
	case b[22] != centroidsHalf && b[22] != centroidsFloat:
		return nil, corrupt("centroid type", 22, "1 or 2", b[22])
	}
	cuts, weights, csize := 0, 0, uint64(2)
	if nbits < 16 {
		weights = 1 << nbits
		cuts = weights - 1
	}
	if b[22] == centroidsFloat {
		csize = 4
	}
	// At most 2^26 * 2^16 * 4 bytes: no overflow.
	if want := uint64(fileHeaderSize+4*(cuts+weights)) + uint64(k)*uint64(dim)*csize + 4; want != uint64(len(b)) {
		return nil, corrupt("file length", 0, want, len(b))
	}
	if sum, want := crc32.Checksum(b[:len(b)-4], castagnoli), le.Uint32(b[len(b)-4:]); sum != want {
		return nil, corrupt("checksum", len(b)-4, fmt.Sprintf("%08x", want), fmt.Sprintf("%08x", sum))
	}
	// The checksum holds; what follows is wrong only in files made to be wrong.
	if b[23] != 0 {
		return nil, corrupt("reserved", 23, 0, b[23])
	}
	for i, v := range b[44:fileHeaderSize] {
		if v != 0 {
			return nil, corrupt("reserved", 44+i, 0, v)
		}
	}
	c := &Codebook{
		dim:          int(dim),
		nbits:        nbits,
		kind:         rotationKind(b[21]),
		seed:         le.Uint64(b[24:]),
		trainTokens:  le.Uint64(b[32:]),
		meanResidual: math.Float32frombits(le.Uint32(b[40:])),
	}
	if c.kind == rotationNone && c.seed != 0 {
		return nil, corrupt("rotation seed", 24, 0, c.seed)
	}
	if r := c.meanResidual; !(r >= 0 && r <= math.MaxFloat32) {
		return nil, corrupt("mean residual", 40, "a finite number, not negative", r)
	}
	off := fileHeaderSize
	c.cutoffs = floats(b[off:], cuts)
	off += 4 * cuts
	c.weights = floats(b[off:], weights)
	off += 4 * weights
	n := int(k) * int(dim)
	if b[22] == centroidsHalf {
		c.centroids = make([]float32, n)
		decodeHalf(c.centroids, b[off:])
	} else {
		c.centroids = floats(b[off:], n)
		if isHalf(c.centroids) {
			return nil, corrupt("centroid type", 22, centroidsHalf, centroidsFloat)
		}
	}
	if err := c.init(); err != nil {
		what := "values in order"
		if errors.Is(err, maxsim.ErrNotFinite) {
			what = "finite values"
		}
		return nil, corrupt("levels and centroids", fileHeaderSize, what, err.Error())
	}
	return c, nil
}
