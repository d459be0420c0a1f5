package testdata

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Npy is an array read from a NumPy file, in C order. Exactly one of the slices is set.
type Npy struct {
	Shape []int
	F32   []float32 // from f4, f2 and f8
	I64   []int64   // from the integer types
}

var (
	npyDescr   = regexp.MustCompile(`'descr'\s*:\s*'([^']*)'`)
	npyFortran = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`'shape'\s*:\s*\(([^)]*)\)`)
)

// ReadNpy reads a little-endian .npy file and fails the test when it cannot.
func ReadNpy(t testing.TB, path string) *Npy {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseNpy(b)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

// ParseNpy reads the .npy format, versions 1 to 3, of little-endian numbers in C order.
func ParseNpy(b []byte) (*Npy, error) {
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("not an npy file")
	}
	start, n := 10, int(binary.LittleEndian.Uint16(b[8:]))
	if b[6] >= 2 {
		start, n = 12, int(binary.LittleEndian.Uint32(b[8:]))
	}
	if n < 0 || start+n > len(b) {
		return nil, fmt.Errorf("npy header of %d bytes in a file of %d", n, len(b))
	}
	head, data := string(b[start:start+n]), b[start+n:]
	descr, order, dims := npyDescr.FindStringSubmatch(head), npyFortran.FindStringSubmatch(head), npyShape.FindStringSubmatch(head)
	if descr == nil || order == nil || dims == nil || order[1] == "True" {
		return nil, fmt.Errorf("npy header %q", head)
	}
	a, size := &Npy{}, 1
	for _, s := range strings.Split(dims[1], ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.Atoi(s)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("npy shape %q", dims[1])
		}
		a.Shape = append(a.Shape, d)
		size *= d
	}
	kind := strings.TrimLeft(descr[1], "<|=")
	if len(kind) != 2 {
		return nil, fmt.Errorf("npy type %q", descr[1])
	}
	width := int(kind[1] - '0')
	if len(data) < size*width {
		return nil, fmt.Errorf("npy data of %d bytes, shape %v needs %d", len(data), a.Shape, size*width)
	}
	le := binary.LittleEndian
	switch kind {
	case "f2", "f4", "f8":
		a.F32 = make([]float32, size)
	case "i1", "u1", "b1", "i2", "u2", "i4", "u4", "i8", "u8":
		a.I64 = make([]int64, size)
	default:
		return nil, fmt.Errorf("npy type %q", descr[1])
	}
	for i := range size {
		p := data[i*width:]
		switch kind {
		case "f2":
			a.F32[i] = half(le.Uint16(p))
		case "f4":
			a.F32[i] = math.Float32frombits(le.Uint32(p))
		case "f8":
			a.F32[i] = float32(math.Float64frombits(le.Uint64(p)))
		case "i1":
			a.I64[i] = int64(int8(p[0]))
		case "u1", "b1":
			a.I64[i] = int64(p[0])
		case "i2":
			a.I64[i] = int64(int16(le.Uint16(p)))
		case "u2":
			a.I64[i] = int64(le.Uint16(p))
		case "i4":
			a.I64[i] = int64(int32(le.Uint32(p)))
		case "u4":
			a.I64[i] = int64(le.Uint32(p))
		default:
			a.I64[i] = int64(le.Uint64(p))
		}
	}
	return a, nil
}

// half widens a float16.
func half(h uint16) float32 {
	sign, exp, man := uint32(h>>15)<<31, int(h>>10&31), uint32(h&1023)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case 0:
		f := float32(man) / (1 << 24)
		if sign != 0 {
			f = -f
		}
		return f
	}
	return math.Float32frombits(sign | uint32(exp+112)<<23 | man<<13)
}
