package tokenizer

import "hash/maphash"

// wordCache remembers the pieces of recent words. It belongs to one scratch, so that it needs no locks, and it
// is bounded: a slot per hash value, and when the texts fill their room everything is forgotten.
type wordCache struct {
	seed   maphash.Seed
	slots  []cacheSlot
	text   []byte
	pieces []piece
	stored int // since the slots were last cleared
}

// cacheSlot is one word: n bytes of text at text, k pieces at pieces; n == 0 is a free slot.
type cacheSlot struct {
	hash, text, pieces uint32
	n, k               uint16
}

const (
	maxCached     = 64      // longest word, in bytes
	minCacheSlots = 1 << 8  // at first, so that a single query does not pay for more
	maxCacheSlots = 1 << 14 // then as many as the words need
	maxCacheText  = 1 << 19
)

// get returns the pieces of a word, valid until the next put.
func (c *wordCache) get(word []byte) (pieces []piece, hash uint64, ok bool) {
	if c.slots == nil {
		c.seed = maphash.MakeSeed()
		c.slots = make([]cacheSlot, minCacheSlots)
	}
	hash = maphash.Bytes(c.seed, word)
	s := &c.slots[hash&uint64(len(c.slots)-1)]
	if s.hash == uint32(hash>>32) && int(s.n) == len(word) && string(c.text[s.text:s.text+uint32(s.n)]) == string(word) {
		return c.pieces[s.pieces : s.pieces+uint32(s.k)], hash, true
	}
	return nil, hash, false
}

// put stores the pieces of a word of 1 to maxCached bytes under the hash that get gave.
func (c *wordCache) put(word []byte, pieces []piece, hash uint64) {
	if grow := c.stored >= len(c.slots) && len(c.slots) < maxCacheSlots; grow ||
		len(c.text)+len(word) > maxCacheText || len(c.pieces)+len(pieces) > maxCacheText {
		if grow {
			c.slots = make([]cacheSlot, 4*len(c.slots))
		} else {
			clear(c.slots)
		}
		c.text, c.pieces, c.stored = c.text[:0], c.pieces[:0], 0
	}
	c.slots[hash&uint64(len(c.slots)-1)] = cacheSlot{
		hash: uint32(hash >> 32), text: uint32(len(c.text)), pieces: uint32(len(c.pieces)),
		n: uint16(len(word)), k: uint16(len(pieces)),
	}
	c.text = append(c.text, word...)
	c.pieces = append(c.pieces, pieces...)
	c.stored++
}
