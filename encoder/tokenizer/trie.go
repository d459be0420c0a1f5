package tokenizer

import "math/rand/v2"

// trie holds byte strings with an id each. Its edges lie in one hash table, keyed by node and byte: building
// costs a few nanoseconds a byte and needs no sorting, walking one probe a byte.
type trie struct {
	slots []uint64 // (node<<8 | byte) << 32 | child, child > 0; 0 is a free slot
	shift uint
	// mul is random: multiply-shift hashing with a random odd factor is universal, so that nobody can write a
	// vocabulary whose edges all collide.
	mul   uint64
	ids   []int32 // per node: the id of the string that ends there, or -1
	edges int
}

// maxNodes bounds the number of nodes, for which an edge's key has 24 bits.
const maxNodes = 1<<24 - 1

// newTrie returns an empty trie with room for about n edges.
func newTrie(n int) *trie {
	t := &trie{mul: rand.Uint64() | 1, ids: make([]int32, 1, n/2+2)}
	t.ids[0] = -1
	bits := uint(6)
	for 1<<bits < n {
		bits++
	}
	t.slots, t.shift = make([]uint64, 1<<bits), 64-bits
	return t
}

// child returns the node that follows node by byte c, 0 when there is none.
func (t *trie) child(node uint32, c byte) uint32 {
	key := node<<8 | uint32(c)
	slots := t.slots
	for i := uint64(key) * t.mul >> t.shift; ; i++ {
		s := slots[i&uint64(len(slots)-1)]
		if uint32(s>>32) == key && s != 0 {
			return uint32(s)
		}
		if s == 0 {
			return 0
		}
	}
}

func (t *trie) put(s uint64) {
	for i := uint64(uint32(s>>32)) * t.mul >> t.shift; ; i++ {
		if p := &t.slots[i&uint64(len(t.slots)-1)]; *p == 0 {
			*p = s
			return
		}
	}
}

// insert sets the id of a string; a string inserted again takes the new id. It reports false when the trie is
// full.
func (t *trie) insert(s string, id int32) bool {
	var node uint32
	for i := range len(s) {
		next := t.child(node, s[i])
		if next == 0 {
			if len(t.ids) >= maxNodes {
				return false
			}
			if t.edges*2 >= len(t.slots) {
				old := t.slots
				t.slots = make([]uint64, 2*len(old))
				t.shift--
				for _, e := range old {
					if e != 0 {
						t.put(e)
					}
				}
			}
			next = uint32(len(t.ids))
			t.ids = append(t.ids, -1)
			t.put(uint64(node<<8|uint32(s[i]))<<32 | uint64(next))
			t.edges++
		}
		node = next
	}
	t.ids[node] = id
	return true
}

// walk follows s from a node and reports whether the trie goes that far.
func (t *trie) walk(node uint32, s string) (uint32, bool) {
	for i := range len(s) {
		if node = t.child(node, s[i]); node == 0 {
			return 0, false
		}
	}
	return node, true
}

// longest returns the id and the length of the longest string that starts text, from a node on; length 0 means
// that there is none.
func (t *trie) longest(node uint32, text []byte) (id int32, n int) {
	for i, c := range text {
		if node = t.child(node, c); node == 0 {
			break
		}
		if v := t.ids[node]; v >= 0 {
			id, n = v, i+1
		}
	}
	return id, n
}
