package kernel

import "math"

// Fields returns the levels in the form that a table look-up by bytes wants: for each value of a packed byte, the int8
// levels of its fields in order, the first one in the lowest byte. With 1 bit per dimension the index is a nibble, of
// whose four fields the most significant bit is the first.
func (l *Levels) Fields() (t [256]uint32) {
	per, width, mask := 8/l.nbits, 8, uint8(1<<l.nbits-1)
	if l.nbits == 1 {
		per, width = 4, 4
	}
	for v := range 1 << width {
		for f := range per {
			t[v] |= uint32(uint8(l.level[uint8(v)>>(width-(f+1)*l.nbits)&mask])) << (8 * f)
		}
	}
	return t
}

// Int8Row rounds a row to int8 as ResidualQuery does: v[i] is about scale * dst[i]. It panics when dst is too short.
func Int8Row(dst []int8, v []float32) (scale float32) {
	scale, inv := int8Scale(v)
	for i, x := range v {
		dst[i] = int8(math.RoundToEven(float64(x * inv)))
	}
	return scale
}
