package tokenizer

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"unicode/utf8"
)

// bpe is the byte-pair encoding model: a word starts as single characters, and of all neighbours that may merge
// the pair with the lowest rank does, the leftmost first, until none is left.
type bpe struct {
	vocab  *vocab
	merges *mergeTable
	unk    int32 // -1: characters without a token are dropped
	// fuse makes one unknown token of a run of unknown characters.
	fuse bool
	// bytes are the tokens <0x00> to <0xFF> that spell unknown characters; nil for none.
	bytes *[256]int32
	// whole holds the tokens that a word may be without any merge (ignore_merges); nil for none.
	whole *vocab
	// prefix goes before every character but the first, suffix after the last, when they are looked up.
	prefix, suffix string
	// joins tells which characters stand side by side in a token; nil when words must not be parted.
	joins *joins
	// letters are the tokens of single bytes when the model reads bytes instead of their printable stand-ins:
	// by 2*(not the first) + (the last), then by byte. nil for a model that reads characters.
	letters *[4][256]int32
}

// symbol is a part of a word that is being merged.
type symbol struct {
	id         int32
	prev, next int32 // -1 for none
	size       int32 // bytes of the word; 0 once it is merged into the one before
}

// merge is a pair that may merge: the one at pos and the next.
type merge struct {
	rank, pos, id int32
}

// tokenize implements model.
func (m *bpe) tokenize(dst []piece, word []byte, s *scratch) []piece {
	if m.whole != nil {
		if id, ok := m.whole.id(word); ok {
			return append(dst, piece{id, span{0, int32(len(word))}})
		}
	}
	if m.joins == nil || len(word) < 4 {
		return m.merge(dst, word, 0, s)
	}
	// No token reaches across two characters that stand side by side in none, so that the word falls into parts
	// that merge by themselves: they are short, and they come again.
	first := len(dst)
	for at := 0; at < len(word); {
		end := m.joins.end(word, at, m.letters != nil)
		n := len(dst)
		part := word[at:end]
		if len(part) <= maxCached && len(part) < len(word) && m.whole == nil {
			found, hash, ok := s.cache.get(part)
			if ok {
				for _, p := range found {
					dst = append(dst, piece{p.id, span{p.start + int32(at), p.end + int32(at)}})
				}
			} else {
				dst = m.merge(dst, part, 0, s)
				s.cache.put(part, dst[n:], hash)
				for i := n; i < len(dst); i++ {
					dst[i].start += int32(at)
					dst[i].end += int32(at)
				}
			}
		} else {
			dst = m.merge(dst, part, int32(at), s)
		}
		if m.fuse && n > first && len(dst) > n && dst[n].id == m.unk && dst[n-1].id == m.unk {
			dst[n-1].end = dst[n].end
			dst = append(dst[:n], dst[n+1:]...)
		}
		at = end
	}
	return dst
}

// merge appends the pieces of a part of a word that starts at base in it.
func (m *bpe) merge(dst []piece, word []byte, base int32, s *scratch) []piece {
	if m.letters != nil {
		m.spellBytes(word, s)
	} else {
		m.spell(word, s)
	}
	if len(s.symbols) <= shortWord {
		m.mergeShort(s)
	} else {
		m.mergeLong(s)
	}
	at := int32(0)
	for _, y := range s.symbols {
		if y.size > 0 {
			// Bytes that spell a prefix or suffix count, so that pieces may lie beyond the word.
			end := min(at+y.size, int32(len(word)))
			dst = append(dst, piece{y.id, span{base + min(at, end-1), base + end}})
			at += y.size
		}
	}
	return dst
}

// joins is a set of pairs of characters, or of bytes; it may report pairs that it does not have.
type joins struct {
	bits  []uint64
	shift uint
}

func (j *joins) index(a, b rune) uint64 {
	return (uint64(a)<<32 | uint64(b)) * 0x9e3779b97f4a7c15 >> j.shift
}

func (j *joins) has(a, b rune) bool {
	i := j.index(a, b)
	return j.bits[i>>6]>>(i&63)&1 != 0
}

// newJoins collects the pairs within the tokens that merges make.
func newJoins(made []string) *joins {
	n, size := 0, uint(12)
	for _, token := range made {
		n += len(token)
	}
	for 1<<size < 8*n && size < 22 {
		size++
	}
	j := &joins{bits: make([]uint64, 1<<size/64), shift: 64 - size}
	for _, token := range made {
		before := rune(-1)
		for _, r := range token {
			if before >= 0 {
				i := j.index(before, r)
				j.bits[i>>6] |= 1 << (i & 63)
			}
			before = r
		}
	}
	return j
}

// end returns the end of the part of the word that starts at at.
func (j *joins) end(word []byte, at int, bytes bool) int {
	if bytes {
		before := byteRunes[word[at]]
		for at++; at < len(word); at++ {
			r := byteRunes[word[at]]
			if !j.has(before, r) {
				break
			}
			before = r
		}
		return at
	}
	before, n := utf8.DecodeRune(word[at:])
	for at += n; at < len(word); {
		r, n := utf8.DecodeRune(word[at:])
		if !j.has(before, r) {
			break
		}
		before = r
		at += n
	}
	return at
}

func (s *scratch) addSymbol(id, size int32) {
	s.symbols = append(s.symbols, symbol{id: id, size: size})
}

// spellBytes fills s.symbols with the tokens of the bytes of a word. There is one for each byte.
func (m *bpe) spellBytes(word []byte, s *scratch) {
	s.symbols = s.symbols[:0]
	last := len(word) - 1
	for i, b := range word {
		k := 0
		if i > 0 {
			k = 2
		}
		if i == last {
			k++
		}
		s.addSymbol(m.letters[k][b], 1)
	}
}

// spell fills s.symbols with the tokens of the characters of a word.
func (m *bpe) spell(word []byte, s *scratch) {
	s.symbols = s.symbols[:0]
	unk := int32(0) // length of the unknown characters that wait to be added
	for i := 0; i < len(word); {
		size := 1
		if word[i] >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(word[i:])
		}
		letter := word[i : i+size]
		if i > 0 && m.prefix != "" || i+size == len(word) && m.suffix != "" {
			s.letter = s.letter[:0]
			if i > 0 {
				s.letter = append(s.letter, m.prefix...)
			}
			s.letter = append(s.letter, letter...)
			if i+size == len(word) {
				s.letter = append(s.letter, m.suffix...)
			}
			letter = s.letter
		}
		i += size
		if id, ok := m.vocab.id(letter); ok {
			if unk > 0 {
				s.addSymbol(m.unk, unk)
				unk = 0
			}
			s.addSymbol(id, int32(size))
			continue
		}
		if m.bytes != nil && m.spelt(letter) {
			for _, b := range letter { // before unknown characters that wait; so it is in the reference
				s.addSymbol(m.bytes[b], 1)
			}
			continue
		}
		if m.unk < 0 {
			continue
		}
		if unk > 0 && !m.fuse {
			s.addSymbol(m.unk, unk)
			unk = 0
		}
		unk += int32(size)
	}
	if unk > 0 {
		s.addSymbol(m.unk, unk)
	}
}

// spelt reports whether all bytes have tokens.
func (m *bpe) spelt(letter []byte) bool {
	for _, b := range letter {
		if m.bytes[b] < 0 {
			return false
		}
	}
	return true
}

// shortWord is the longest word, in symbols, for which looking at all pairs again after every merge is quicker
// than a heap.
const shortWord = 24

// mergeShort merges s.symbols, and leaves no merged ones behind.
func (m *bpe) mergeShort(s *scratch) {
	y := s.symbols
	n := len(y)
	if n < 2 {
		return
	}
	var pairs [shortWord]uint64 // rank and token of each symbol with the next
	for i := range n - 1 {
		pairs[i] = m.merges.get(y[i].id, y[i+1].id)
	}
	for {
		best, at := uint64(noMerge), 0
		for i, p := range pairs[:n-1] {
			if p < best {
				best, at = p, i
			}
		}
		if best == noMerge {
			break
		}
		y[at].id, y[at].size = int32(uint32(best)), y[at].size+y[at+1].size
		copy(y[at+1:n-1], y[at+2:n])
		copy(pairs[at:n-2], pairs[at+1:n-1])
		if n--; n < 2 {
			break
		}
		if at > 0 {
			pairs[at-1] = m.merges.get(y[at-1].id, y[at].id)
		}
		if at < n-1 {
			pairs[at] = m.merges.get(y[at].id, y[at+1].id)
		}
	}
	s.symbols = y[:n]
}

// mergeLong is mergeShort in O(n log n). It leaves merged symbols behind, with size 0.
func (m *bpe) mergeLong(s *scratch) {
	y := s.symbols
	s.heap = s.heap[:0]
	for i := range y {
		y[i].prev, y[i].next = int32(i-1), int32(i+1)
		if i+1 < len(y) {
			s.offer(m, int32(i), int32(i+1))
		}
	}
	y[len(y)-1].next = -1
	for len(s.heap) > 0 {
		top := s.pop()
		a := &y[top.pos]
		if a.size == 0 || a.next < 0 {
			continue
		}
		b := &y[a.next]
		if p := m.merges.get(a.id, b.id); p == noMerge || int32(uint32(p)) != top.id {
			continue // the pair is gone
		}
		a.id, a.size, a.next = top.id, a.size+b.size, b.next
		b.size = 0
		if a.next >= 0 {
			y[a.next].prev = top.pos
			s.offer(m, top.pos, a.next)
		}
		if a.prev >= 0 {
			s.offer(m, a.prev, top.pos)
		}
	}
}

// offer puts the pair of symbols i and j on the heap, if it can merge.
func (s *scratch) offer(m *bpe, i, j int32) {
	p := m.merges.get(s.symbols[i].id, s.symbols[j].id)
	if p == noMerge {
		return
	}
	h := append(s.heap, merge{})
	x := merge{rank: int32(p >> 32), pos: i, id: int32(uint32(p))}
	k := len(h) - 1
	for k > 0 {
		parent := (k - 1) / 2
		if !x.before(h[parent]) {
			break
		}
		h[k] = h[parent]
		k = parent
	}
	h[k] = x
	s.heap = h
}

// pop takes the first merge off the heap.
func (s *scratch) pop() merge {
	h := s.heap
	top, x := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for k := 0; k < len(h); {
		child := 2*k + 1
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if child >= len(h) || !h[child].before(x) {
			h[k] = x
			break
		}
		h[k] = h[child]
		k = child
	}
	s.heap = h
	return top
}

func (a merge) before(b merge) bool { return a.rank < b.rank || a.rank == b.rank && a.pos < b.pos }

// mergeTable maps pairs of tokens to rank<<32 | token; open addressing, a line of memory per lookup.
type mergeTable struct {
	slots []mergeSlot
	mul   uint64 // random and odd, so that nobody can write merges that all collide
	shift uint
}

type mergeSlot struct{ pair, value uint64 } // pair 0 is a free slot

const noMerge = 1<<64 - 1

// newMergeTable makes room for n merges.
func newMergeTable(n int) *mergeTable {
	size := uint(6)
	for 1<<size < 2*n {
		size++
	}
	return &mergeTable{slots: make([]mergeSlot, 1<<size), mul: rand.Uint64() | 1, shift: 64 - size}
}

// pairKey is never 0.
func pairKey(a, b int32) uint64 { return (uint64(uint32(a))+1)<<32 | uint64(uint32(b)) }

// hash mixes the pair's halves: without the multiplication's upper half, the tokens' low bits would count little.
func (t *mergeTable) hash(key uint64) uint64 {
	hi, lo := bits.Mul64(key, t.mul)
	return (hi ^ lo) * t.mul >> t.shift
}

// get returns rank<<32 | token, or noMerge.
func (t *mergeTable) get(a, b int32) uint64 {
	key := pairKey(a, b)
	mask := uint64(len(t.slots) - 1)
	for i := t.hash(key); ; i++ {
		s := &t.slots[i&mask]
		if s.pair == key {
			return s.value
		}
		if s.pair == 0 {
			return noMerge
		}
	}
}

// put stores a merge; of a pair that comes again the later rank counts, as in the reference.
func (t *mergeTable) put(a, b int32, rank int, id int32) {
	key := pairKey(a, b)
	mask := uint64(len(t.slots) - 1)
	for i := t.hash(key); ; i++ {
		if s := &t.slots[i&mask]; s.pair == 0 || s.pair == key {
			*s = mergeSlot{key, uint64(rank)<<32 | uint64(uint32(id))}
			return
		}
	}
}

// bpeConfig is a BPE model as a file describes it.
type bpeConfig struct {
	vocab          *vocab
	merges         [][2]string
	unk            string // "" for none
	prefix, suffix string
	fuse, fallback bool
	ignoreMerges   bool
}

// newBPE builds the model. With byteLevel the model reads bytes, if its vocabulary has all of them; it reports
// whether it does.
func newBPE(c bpeConfig, byteLevel bool) (m *bpe, bytes bool, err error) {
	m = &bpe{vocab: c.vocab, unk: -1, fuse: c.fuse, prefix: c.prefix, suffix: c.suffix, merges: newMergeTable(len(c.merges))}
	if c.unk != "" {
		if id, ok := c.vocab.id([]byte(c.unk)); ok {
			m.unk = id
		}
	}
	var buf []byte
	made, unkMerges := make([]string, 0, len(c.merges)), false
	for i, p := range c.merges {
		var ids [3]int32
		if len(p[1]) < len(c.prefix) {
			return nil, false, fmt.Errorf("%w: merge %d of %q and %q: the second part lacks the prefix %q", ErrCorrupt, i+1, p[0], p[1], c.prefix)
		}
		buf = append(append(buf[:0], p[0]...), p[1][len(c.prefix):]...)
		for k, name := range [][]byte{[]byte(p[0]), []byte(p[1]), buf} {
			id, ok := c.vocab.id(name)
			if !ok {
				return nil, false, fmt.Errorf("%w: merge %d of %q and %q: %q is not in the vocabulary", ErrCorrupt, i+1, p[0], p[1], name)
			}
			ids[k] = id
		}
		m.merges.put(ids[0], ids[1], i, ids[2])
		made = append(made, c.vocab.tokens[ids[2]])
		unkMerges = unkMerges || ids[0] == m.unk || ids[1] == m.unk
	}
	if c.fallback {
		m.bytes = c.vocab.byteTokens()
	}
	// Parting words must not change what is told of characters that have no token.
	if c.prefix == "" && c.suffix == "" && !unkMerges && (m.unk >= 0 && m.bytes == nil || m.bytes != nil && slices.Min(m.bytes[:]) >= 0) {
		m.joins = newJoins(made)
	}
	if c.ignoreMerges {
		m.whole = c.vocab
	}
	if byteLevel {
		bytes, err = m.readBytes(made)
	}
	return m, bytes, err
}

// readBytes, given the tokens that merges make, makes the model read bytes instead of printable stand-ins for them, if the vocabulary has all.
func (m *bpe) readBytes(made []string) (bool, error) {
	var letters [4][256]int32
	for k := range letters {
		for b := range letters[k] {
			var name []byte
			if k >= 2 {
				name = append(name, m.prefix...)
			}
			name = utf8.AppendRune(name, byteRunes[b])
			if k%2 == 1 {
				name = append(name, m.suffix...)
			}
			id, ok := m.vocab.id(name)
			if !ok {
				return false, nil
			}
			letters[k][b] = id
		}
	}
	m.letters = &letters
	if m.joins == nil && m.prefix == "" && m.suffix == "" { // every byte has a token
		m.joins = newJoins(made)
	}
	if m.whole == nil {
		return true, nil
	}
	n, maxID := 0, len(m.vocab.tokens)-1
	for _, known := range m.vocab.known {
		if known {
			n++
		}
	}
	whole, err := newVocab(n, maxID)
	if err != nil {
		return false, err
	}
	for id, token := range m.vocab.tokens {
		if !m.vocab.known[id] || token == "" {
			continue
		}
		if b, ok := fromByteLevel(nil, token); ok {
			if err := whole.add(string(b), id); err != nil {
				return false, err
			}
		}
	}
	m.whole = whole
	return true, nil
}
