package kernel

import "unsafe"

// Region is memory for float32 values outside of the garbage collector's heap: it neither counts towards the size at which
// the collector starts, nor does it wait for the collector once it is not needed. That matters to working memory of
// gigabytes. Where the system has no such memory, it is on the heap. A Region is not safe for concurrent use.
type Region struct {
	values []float32
	mapped []byte // nil on the heap
}

// NewRegion makes a region of n values, all zero, in large pages like Large.
func NewRegion(n int) *Region {
	b := mapAnonymous(n*4 + largePage)
	if b == nil {
		return &Region{values: Large[float32](n)}
	}
	return &Region{unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(inLargePages(b)))), n), b}
}

// Values are all of the region, until Free.
func (r *Region) Values() []float32 { return r.values }

// Free gives the memory back to the system. Values must not be used from then on.
func (r *Region) Free() {
	if r.mapped != nil {
		unmapAnonymous(r.mapped)
	}
	*r = Region{}
}
