package tokenizer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

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

// datKey is a token on its way into a double array.
type datKey struct {
	head uint64 // 8 bytes of it, big-endian: the first ones, then those around the depth that is looked at
	id   int32
	size int32
}

// newDAT indexes the tokens of a vocabulary. Of equal tokens the last one's id counts.
func newDAT(v *vocab) (*dat, error) {
	keys := sortedKeys(v)
	// A node is the range of the tokens that start with its string, the token that is its string left out.
	type node struct{ from, to, depth, place int32 }
	p := packer{units: make([]uint64, 256, 256+v.bytes/2), used: make([]uint64, 4)}
	queue := make([]node, 0, v.bytes/2+1)
	add := func(n node) {
		id := int32(-1)
		for n.from < n.to && keys[n.from].size == n.depth {
			id = max(id, keys[n.from].id)
			n.from++
		}
		p.units[n.place] |= uint64(uint32(id+1)) << 40
		if n.from < n.to {
			queue = append(queue, n)
		}
	}
	add(node{0, int32(len(keys)), 0, 0})
	var labels []byte
	var ends []int32
	for i := 0; i < len(queue); i++ { // breadth first: the nodes that most walks pass lie together
		n := queue[i]
		labels, ends = labels[:0], ends[:0]
		if n.depth > 0 && n.depth%8 == 0 {
			for k := n.from; k < n.to; k++ {
				keys[k].head = eightBytes(v.tokens[keys[k].id][n.depth:])
			}
		}
		shift := 56 - 8*(n.depth%8)
		for k := n.from; k < n.to; {
			c := byte(keys[k].head >> shift)
			for k++; k < n.to && byte(keys[k].head>>shift) == c; k++ {
			}
			labels, ends = append(labels, c), append(ends, k)
		}
		base := p.fit(labels)
		if base > datBase-256 {
			return nil, fmt.Errorf("%w: vocabulary of %d bytes is too large", ErrUnsupported, v.bytes)
		}
		p.units[n.place] |= uint64(base)
		from := n.from
		for k, c := range labels {
			place := base ^ uint32(c)
			p.take(place)
			p.units[place] = (uint64(c) + 1) << 31
			add(node{from, ends[k], n.depth + 1, int32(place)})
			from = ends[k]
		}
	}
	return &dat{p.units}, nil
}

// eightBytes are the first bytes of a string, big-endian, with zeros behind its end.
func eightBytes(s string) uint64 {
	if len(s) >= 8 {
		return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 | uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
	}
	var head [8]byte
	copy(head[:], s)
	return binary.BigEndian.Uint64(head[:])
}

// sortedKeys returns the tokens in the order of their bytes.
func sortedKeys(v *vocab) []datKey {
	keys := make([]datKey, 0, len(v.tokens))
	for id, token := range v.tokens {
		if v.known[id] && token != "" {
			keys = append(keys, datKey{eightBytes(token), int32(id), int32(len(token))})
		}
	}
	// By radix on the first 8 bytes, then by comparison among those that are equal there.
	other := make([]datKey, len(keys))
	for shift := 0; shift < 64; shift += 8 {
		var start [257]int32
		for i := range keys {
			start[keys[i].head>>shift&255+1]++
		}
		for c := range 256 {
			start[c+1] += start[c]
		}
		for _, k := range keys {
			c := k.head >> shift & 255
			other[start[c]] = k
			start[c]++
		}
		keys, other = other, keys
	}
	for i := 0; i < len(keys); {
		j := i + 1
		for j < len(keys) && keys[j].head == keys[i].head {
			j++
		}
		if j > i+1 {
			slices.SortFunc(keys[i:j], func(a, b datKey) int { return strings.Compare(v.tokens[a.id], v.tokens[b.id]) })
		}
		i = j
	}
	return keys
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
