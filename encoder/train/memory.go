package train

import (
	"slices"

	"github.com/golbert/golbert/internal/kernel"
)

// arena is the memory of the values of a pass, which end takes back all together, for the next one. It belongs to one
// goroutine.
//
// Passes are of all sizes, so that memory that fits one seldom fits the next: the arena keeps one region, as large as the
// largest pass of late needed, and cuts values from it at the first place that is large enough. The region is not the garbage
// collector's, which would let as much again lie about before it looks.
type arena struct {
	regions []*region // more than one only in a pass that needs more than those before
	used    map[*float32]place
	live    int // values in use, as they are rounded
	peak    int // the most of live in this pass
	next    int // the size of the region that the next pass begins with; 0 for what it asks for
	passes  int
	lately  [2]int // the most of peak in this window of passes and in the one before
}

// region is memory of which some is in use.
type region struct {
	*kernel.Region
	free []hole // ascending, none touching the next
}

type hole struct{ from, to int }

// place says where values in use are.
type place struct {
	in *region
	hole
}

const (
	// grain is what sizes of values are multiples of: a line of the cache.
	grain = 16
	// leastRegion is the size below which regions are not worth their while.
	leastRegion = 1 << 14
	// needWindow is how many passes a window has: a region that is twice as large as what two of them needed is let go.
	needWindow = 64
)

// get gives n values of any content.
func (a *arena) get(n int) []float32 {
	if n == 0 {
		return nil
	}
	size := (n + grain - 1) / grain * grain
	p, ok := a.cut(size)
	if !ok {
		a.grow(size)
		p, _ = a.cut(size)
	}
	v := p.in.Values()[p.from : p.from+n : p.from+n]
	if a.used == nil {
		a.used = map[*float32]place{}
	}
	a.used[&v[0]] = p
	a.live += size
	a.peak = max(a.peak, a.live)
	return v
}

// cut takes values from the first hole that is large enough.
func (a *arena) cut(size int) (place, bool) {
	for _, r := range a.regions {
		for i, h := range r.free {
			if h.to-h.from < size {
				continue
			}
			p := place{r, hole{h.from, h.from + size}}
			if r.free[i].from += size; r.free[i].from == h.to {
				r.free = slices.Delete(r.free, i, i+1)
			}
			return p, true
		}
	}
	return place{}, false
}

// grow adds a region in which there is room for size values. Regions without values in use go first: they are too small.
func (a *arena) grow(size int) {
	total := 0
	a.regions = slices.DeleteFunc(a.regions, func(r *region) bool {
		n := len(r.Values())
		if len(r.free) == 1 && r.free[0] == (hole{0, n}) {
			r.Free()
			return true
		}
		total += n
		return false
	})
	n := max(size, total/8, leastRegion)
	if total == 0 {
		n = max(n, a.next)
	}
	a.regions = append(a.regions, &region{kernel.NewRegion(n), []hole{{0, n}}})
}

// put takes back what get gave.
func (a *arena) put(v []float32) {
	if len(v) == 0 {
		return
	}
	p, ok := a.used[&v[0]]
	if !ok {
		panic("train: memory that is not the arena's, or that was given back before")
	}
	delete(a.used, &v[0])
	a.live -= p.to - p.from
	f := p.in.free
	i, _ := slices.BinarySearchFunc(f, p.from, func(h hole, from int) int { return h.from - from })
	before, after := i > 0 && f[i-1].to == p.from, i < len(f) && f[i].from == p.to
	switch {
	case before && after:
		f[i-1].to = f[i].to
		f = slices.Delete(f, i, i+1)
	case before:
		f[i-1].to = p.to
	case after:
		f[i].from = p.from
	default:
		f = slices.Insert(f, i, p.hole)
	}
	p.in.free = f
}

// end takes everything back. When that was more than one region, or a region that has become far too large, the next pass
// gets another one, which is at most twice as large as what passes of late needed.
func (a *arena) end() {
	total := a.size()
	whole := len(a.regions) > 0 && len(a.regions[0].Values()) >= a.peak
	for _, r := range a.regions {
		r.free = append(r.free[:0], hole{0, len(r.Values())})
	}
	clear(a.used)
	a.lately[0] = max(a.lately[0], a.peak)
	need := max(a.lately[0], a.lately[1])
	switch {
	case len(a.regions) > 1 && whole: // there was enough, but in pieces
		a.release()
		a.next = min(total, 2*need)
	case len(a.regions) > 1, total > max(2*need, leastRegion):
		a.release()
		a.next = need + need/8
	}
	if a.passes++; a.passes%needWindow == 0 {
		a.lately = [2]int{0, a.lately[0]}
	}
	a.live, a.peak = 0, 0
}

// size is how many values the arena has memory for.
func (a *arena) size() int {
	n := 0
	for _, r := range a.regions {
		n += len(r.Values())
	}
	return n
}

// release gives all memory back. Nothing of it may be in use.
func (a *arena) release() {
	for _, r := range a.regions {
		r.Free()
	}
	a.regions = nil
}
