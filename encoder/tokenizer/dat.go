package tokenizer

import "fmt"

// dat is a double-array trie of byte strings with an id each. Compared with trie it costs some time to build and
// saves some at every step of a walk: the children of a node lie within 256 units of each other.
//
// The child by byte c of a node with base b is unit b^c, if that carries the label c. A label tells the parent
// since no two nodes share a base. A unit holds the base in its lower 31 bits, then label+1 in 9 bits (0 for a
// free unit), then id+1 in 24 bits. The root is unit 0; the rest of the first 256 units stays free, and nodes
// without children have base 0.
type dat struct{ units []uint64 }

const (
	datBase  = 1<<31 - 1
	datLabel = 1<<9 - 1
)

// newDAT indexes the tokens of a vocabulary. Of equal tokens the last one's id counts.
func newDAT(v *vocab) (*dat, error) {
	t, err := v.trie()
	if err != nil {
		return nil, err
	}
	return t.pack()
}

// pack turns a trie into a double array.
func (t *trie) pack() (*dat, error) {
	// The edges, sorted by node.
	nodes := len(t.ids)
	start := make([]uint32, nodes+1)
	for _, e := range t.slots {
		if e != 0 {
			start[e>>40+1]++
		}
	}
	for i := range nodes {
		start[i+1] += start[i]
	}
	labels, children := make([]byte, t.edges), make([]uint32, t.edges)
	fill := append([]uint32(nil), start...)
	for _, e := range t.slots {
		if e != 0 {
			at := &fill[e>>40]
			labels[*at], children[*at] = byte(e>>32), uint32(e)
			*at++
		}
	}

	p := packer{units: make([]uint64, 256, 256+nodes*5/4/256*256+256), used: make([]uint64, 4)}
	p.units[0] = uint64(uint32(t.ids[0]+1)) << 40
	place := make([]uint32, nodes) // the unit of each node
	queue := make([]uint32, 1, nodes)
	for i := 0; i < len(queue); i++ { // breadth first: the nodes that most walks pass lie together
		node := queue[i]
		from, to := start[node], start[node+1]
		if from == to {
			continue
		}
		base := p.fit(labels[from:to])
		if base > datBase-256 {
			return nil, fmt.Errorf("%w: vocabulary is too large", ErrUnsupported)
		}
		p.units[place[node]] |= uint64(base)
		for k := from; k < to; k++ {
			child := children[k]
			at := base ^ uint32(labels[k])
			p.take(at)
			p.units[at] = (uint64(labels[k])+1)<<31 | uint64(uint32(t.ids[child]+1))<<40
			place[child] = at
			queue = append(queue, child)
		}
	}
	return &dat{p.units}, nil
}

// packer finds places for the children of nodes.
type packer struct {
	units []uint64
	used  []uint64 // bases in use, a bit each
	// next and prev link the free units, from head on; 0 ends the list. They lag behind units by no more than
	// grow adds.
	next, prev []uint32
	head, tail uint32
}

// grow adds 256 free units.
func (p *packer) grow() {
	from := uint32(len(p.units))
	p.units = append(p.units, make([]uint64, 256)...)
	p.used = append(p.used, 0, 0, 0, 0)
	for len(p.next) < len(p.units) {
		p.next, p.prev = append(p.next, 0), append(p.prev, 0)
	}
	for i := from; i < from+256; i++ {
		p.prev[i] = p.tail
		if p.tail == 0 {
			p.head = i
		} else {
			p.next[p.tail] = i
		}
		p.tail = i
	}
}

// take removes a unit from the list of free ones.
func (p *packer) take(i uint32) {
	if p.prev[i] == 0 {
		p.head = p.next[i]
	} else {
		p.next[p.prev[i]] = p.next[i]
	}
	if p.next[i] == 0 {
		p.tail = p.prev[i]
	} else {
		p.prev[p.next[i]] = p.prev[i]
	}
	p.units[i] = 1 << 31 // no longer free
}

// fit returns an unused base with free units for all labels.
func (p *packer) fit(labels []byte) uint32 {
	// The oldest free units are the hardest to use, and some always stay: try the latest ones too.
	for free, tries := p.head, 0; free != 0 && tries < 16; free, tries = p.next[free], tries+1 {
		if base, ok := p.try(free, labels); ok {
			return base
		}
	}
	for free, tries := p.tail, 0; free != 0 && tries < 48; free, tries = p.prev[free], tries+1 {
		if base, ok := p.try(free, labels); ok {
			return base
		}
	}
	p.grow()
	base, ok := p.try(uint32(len(p.units)-256), labels)
	if !ok {
		panic("tokenizer: no place in an empty block") // cannot happen: its bases are unused
	}
	return base
}

// try reports whether the first label may go to a free unit.
func (p *packer) try(free uint32, labels []byte) (uint32, bool) {
	base := free ^ uint32(labels[0])
	if p.used[base>>6]>>(base&63)&1 != 0 {
		return 0, false
	}
	for _, c := range labels[1:] {
		if p.units[base^uint32(c)] != 0 {
			return 0, false
		}
	}
	p.used[base>>6] |= 1 << (base & 63)
	return base, true
}
