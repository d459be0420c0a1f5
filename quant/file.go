package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/golbert/golbert/internal/kernel"
)

// The codebook file; see FORMAT.md.
const (
	fileMagic      = "GLBTCODE"
	fileVersion    = 1
	fileHeaderSize = 64

	centroidsHalf  = 1
	centroidsFloat = 2

	flagScales = 1 << 0
	flagFocus  = 1 << 1
	flagGroups = 1 << 2
)

// MarshalBinary returns the codebook's file. Equal codebooks give equal bytes. The error is always nil.
func (c *Codebook) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	ctype, csize := centroidsHalf, 2
	if !isHalf(c.centroids) {
		ctype, csize = centroidsFloat, 4
	}
	arrays := 4*(len(c.cutoffs)+len(c.weights)) + 2*len(c.scales) + 4*len(c.groups) + 4*c.focus.rank()*(c.dim+1)
	b := make([]byte, fileHeaderSize+arrays+csize*len(c.centroids)+4)
	copy(b, fileMagic)
	le.PutUint32(b[8:], fileVersion)
	le.PutUint32(b[12:], uint32(c.dim))
	le.PutUint32(b[16:], uint32(c.k))
	b[20] = byte(c.nbits)
	b[21] = byte(c.kind)
	b[22] = byte(ctype)
	if c.scales != nil {
		b[23] |= flagScales
	}
	if c.focus != nil {
		b[23] |= flagFocus
	}
	if c.groups != nil {
		b[23] |= flagGroups
	}
	le.PutUint64(b[24:], c.seed)
	le.PutUint64(b[32:], c.trainTokens)
	le.PutUint32(b[40:], math.Float32bits(c.meanResidual))
	le.PutUint32(b[44:], uint32(c.focus.rank()))
	le.PutUint32(b[48:], uint32(len(c.groups)))
	le.PutUint32(b[52:], uint32(c.probes))
	p := b[fileHeaderSize:]
	p = p[putFloats(p, c.cutoffs):]
	p = p[putFloats(p, c.weights):]
	encodeHalf(p, c.scales)
	p = p[2*len(c.scales):]
	for i, n := range c.groups {
		le.PutUint32(p[4*i:], n)
	}
	p = p[4*len(c.groups):]
	if c.focus != nil {
		p = p[putFloats(p, c.focus.dirs):]
		p = p[putFloats(p, c.focus.strength):]
	}
	if ctype == centroidsHalf {
		encodeHalf(p, c.centroids)
	} else {
		putFloats(p, c.centroids)
	}
	le.PutUint32(b[len(b)-4:], kernel.CRC32C(0, b[:len(b)-4]))
	return b, nil
}

func isHalf(v []float32) bool {
	var b [512]byte
	var w [256]float32
	for len(v) > 0 {
		n := min(len(v), len(w))
		encodeHalf(b[:], v[:n])
		kernel.LoadF16(w[:n], b[:])
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

func floats(v []float32, b []byte) {
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

// loadFloats reads len(v) values of size bytes, 2 or 4.
func loadFloats(v []float32, b []byte, size int) {
	if size == 2 {
		kernel.LoadF16(v, b)
	} else {
		floats(v, b)
	}
}

// blockValues is how many values are read from a file before they are looked at: 32 KB of float32.
const blockValues = 8 << 10

// ParseCodebook reads a codebook file. Every field is checked before it is used, and memory is bounded by
// a small multiple of len(b), which is not kept. Errors are *FormatError and wrap ErrCorrupt or ErrVersion.
func ParseCodebook(b []byte) (*Codebook, error) {
	c, err := parseCodebook(b)
	if err != nil {
		return nil, err
	}
	// A codebook has one form only, so that these are the bytes that MarshalBinary gives.
	c.idOnce.Do(func() { c.id = idOf(b) })
	return c, nil
}

// ParseCodebookAs is ParseCodebook for a file whose ID the caller knows, and that it is the file: making the ID takes
// longer than everything else.
func ParseCodebookAs(b []byte, id string) (*Codebook, error) {
	c, err := parseCodebook(b)
	if err != nil {
		return nil, err
	}
	c.idOnce.Do(func() { c.id = id })
	return c, nil
}

func parseCodebook(b []byte) (*Codebook, error) {
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
	dim, k, nbits, flags := le.Uint32(b[12:]), le.Uint32(b[16:]), int(b[20]), b[23]
	rank, groups, probes := le.Uint32(b[44:]), le.Uint32(b[48:]), le.Uint32(b[52:])
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
	case flags&^(flagScales|flagFocus|flagGroups) != 0 || nbits == 16 && flags&^flagGroups != 0:
		return nil, corrupt("flags", 23, "0 to 7, with 16 bits 0 or 4", flags)
	case groups > k || (groups > 0) != (flags&flagGroups != 0):
		return nil, corrupt("groups", 48, fmt.Sprintf("1 to %d with the flag, 0 without", k), groups)
	case probes > groups || (probes > 0) != (groups > 0):
		return nil, corrupt("probes", 52, fmt.Sprintf("1 to %d with groups, 0 without", groups), probes)
	case rank > maxFocus || (rank > 0) != (flags&flagFocus != 0):
		return nil, corrupt("directions", 44, fmt.Sprintf("1 to %d with the flag, 0 without", maxFocus), rank)
	}
	cuts, weights, scales, csize := 0, 0, 0, uint64(2)
	if nbits < 16 {
		weights = 1 << nbits
		cuts = weights - 1
	}
	if flags&flagScales != 0 {
		scales = int(k)
	}
	if b[22] == centroidsFloat {
		csize = 4
	}
	// At most 2^26 * 2^16 * 4 bytes and little more: no overflow.
	if want := uint64(fileHeaderSize+4*(cuts+weights)+4) + 2*uint64(scales) + 4*uint64(groups) + 4*uint64(rank)*uint64(dim+1) + uint64(k)*uint64(dim)*csize; want != uint64(len(b)) {
		return nil, corrupt("file length", 0, want, len(b))
	}
	if sum, want := kernel.CRC32C(0, b[:len(b)-4]), le.Uint32(b[len(b)-4:]); sum != want {
		return nil, corrupt("checksum", len(b)-4, fmt.Sprintf("%08x", want), fmt.Sprintf("%08x", sum))
	}
	// The checksum holds; what follows is wrong only in files made to be wrong.
	for i, v := range b[56:fileHeaderSize] {
		if v != 0 {
			return nil, corrupt("reserved", 56+i, 0, v)
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
	at := map[string]int{} // where each array begins
	off := fileHeaderSize
	next := func(name string, n, size int) []float32 {
		at[name] = off
		if n == 0 {
			return nil
		}
		v := kernel.LargeUnset[float32](n)
		loadFloats(v, b[off:], size)
		off += n * size
		return v
	}
	c.cutoffs = next("cutoffs", cuts, 4)
	c.weights = next("weights", weights, 4)
	c.scales = next("scales", scales, 2)
	if groups > 0 {
		c.groups, c.probes = make([]uint32, groups), int(probes)
		sum := uint64(0)
		for i := range c.groups {
			n := le.Uint32(b[off+4*i:])
			if n == 0 {
				return nil, corrupt("group sizes", off+4*i, "at least 1", n)
			}
			c.groups[i] = n
			sum += uint64(n)
		}
		if sum != uint64(k) {
			return nil, corrupt("group sizes", off, fmt.Sprintf("a sum of %d", k), sum)
		}
		off += 4 * len(c.groups)
	}
	if rank > 0 {
		c.focus = &focus{dim: c.dim, dirs: next("directions", int(rank*dim), 4), strength: next("strengths", int(rank), 4)}
	}
	// The centroids are most of it, and are looked at while they are in cache.
	at["centroids"] = off
	c.centroids = kernel.LargeUnset[float32](int(k) * int(dim))
	square := float32(0)
	for i, rows := 0, c.dim*max(blockValues/c.dim, 1); i < len(c.centroids); i += rows {
		part := c.centroids[i:min(i+rows, len(c.centroids))]
		loadFloats(part, b[off+i*int(csize):], int(csize))
		square = max(square, longest(part, c.dim))
	}
	finite := square <= math.MaxFloat32 // and so is every value
	if csize == 4 && isHalf(c.centroids) {
		return nil, corrupt("centroid type", 22, centroidsHalf, centroidsFloat)
	}
	sizes := map[string]int{"scales": 2, "centroids": int(csize)}
	for _, p := range c.parts() {
		if p.name == "centroids" && finite {
			continue
		}
		i, err := p.check()
		if err == nil {
			continue
		}
		want := "a finite number"
		switch {
		case p.ascending:
			want += ", not below the one before it"
		case p.positive:
			want += " above 0"
		}
		size := 4
		if s, ok := sizes[p.name]; ok {
			size = s
		}
		return nil, corrupt(p.name, at[p.name]+i*size, want, p.v[i])
	}
	c.k = int(k)
	c.derive()
	if finite {
		c.normOnce.Do(func() { c.maxNorm = float32(math.Sqrt(float64(square))) })
	}
	return c, nil
}
