package japanese

import "unicode/utf8"

// node is a word in the lattice.
type node struct {
	cost       int64 // of the best path up to the end of the word
	start, end int32 // in the text; the white space before it does not count
	prev       int32 // the word before it on that path
	next       int32 // another word that ends there, added earlier; -1 for none
	right      uint16
}

// lattice is the working memory of one call.
type lattice struct {
	nodes []node
	ends  []int32 // by position: the last node added that ends there, or -1
	// Best predecessors at one position, by left context: words of the same context have the same one.
	lefts []leftBest
	path  []int32
}

type leftBest struct {
	cost int64
	node int32
	left uint16
}

// maxLength is the largest charInfo.length.
const maxLength = 1<<4 - 1

// maxLookup is how far ahead of a position MeCab looks for words, in bytes.
const maxLookup = 65535

// maxKept is the largest lattice, in nodes, that is kept for later calls.
const maxKept = 1 << 18

// AppendWords appends the byte ranges of the words of text to dst, from left to right. White space belongs to no
// word. The memory that it needs for the time being is about a hundred times the text. It implements
// tokenizer.WordSplitter.
func (d *Dictionary) AppendWords(dst [][2]int32, text []byte) [][2]int32 {
	if len(text) == 0 {
		return dst
	}
	l, _ := d.pool.Get().(*lattice)
	if l == nil {
		l = new(lattice)
	}
	dst = l.words(dst, d, text)
	if cap(l.nodes) <= maxKept && cap(l.ends) <= maxKept {
		d.pool.Put(l)
	}
	return dst
}

func (l *lattice) words(dst [][2]int32, d *Dictionary, text []byte) [][2]int32 {
	n := len(text)
	if cap(l.ends) <= n {
		l.ends = make([]int32, n+1+n/4)
	}
	ends := l.ends[:n+1]
	for i := range ends {
		ends[i] = -1
	}
	l.nodes = append(l.nodes[:0], node{prev: -1, next: -1}) // the start of the text, with context 0
	ends[0] = 0
	for pos := range n {
		if ends[pos] >= 0 {
			l.lefts = l.lefts[:0]
			l.add(d, text, pos, ends)
		}
	}
	last := n
	for ends[last] < 0 {
		last-- // white space at the end of the text
	}
	l.lefts = l.lefts[:0]
	l.path = l.path[:0]
	for i := l.best(d, ends[last], 0).node; i > 0; i = l.nodes[i].prev {
		l.path = append(l.path, i)
	}
	for i := len(l.path) - 1; i >= 0; i-- {
		w := &l.nodes[l.path[i]]
		dst = append(dst, [2]int32{w.start, w.end})
	}
	return dst
}

// infoAt returns what is known of the character at i, and its length in bytes. MeCab knows the basic plane; it
// takes other characters for U+0000.
func (d *Dictionary) infoAt(text []byte, i int) (charInfo, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return d.chars[c], 1
	}
	r, n := utf8.DecodeRune(text[i:])
	if r >= 1<<16 || n == 1 {
		r = 0
	}
	return d.chars[r], n
}

// run returns the end of the characters from i on of which each is of the kind of the one before, the first one of
// the kind of info; how many they are; and the character behind them. It looks at no more than limit characters.
func (d *Dictionary) run(text []byte, i int, info charInfo, limit int) (end, count int, behind charInfo, size int) {
	for i < len(text) && count < limit {
		if behind, size = d.infoAt(text, i); !info.isKindOf(behind) {
			break
		}
		i += size
		count++
		info = behind
	}
	return i, count, behind, size
}

// add puts the words that start at pos, or behind the white space there, into the lattice (MeCab's
// Tokenizer::lookup and connect). MeCab keeps words in lists and walks through them from the last one added to the
// first; among predecessors of equal cost the first one on its way wins.
func (l *lattice) add(d *Dictionary, text []byte, pos int, ends []int32) {
	start, _, info, size := d.run(text, pos, d.chars[' '], len(text))
	if start == len(text) {
		return
	}
	text = text[:min(len(text), start+maxLookup)]
	first := len(l.nodes)
	b := uint32(d.system.at(0).base)
	for i := start; ; i++ {
		if e := d.system.value(b); len(e) > 0 && i > start {
			l.put(d, e, pos, start, i, ends)
		}
		if i == len(text) {
			break
		}
		u := d.system.at(b + uint32(text[i]) + 1)
		if u.check != b {
			break
		}
		b = uint32(u.base)
	}
	if len(l.nodes) > first && info&invokeBit == 0 {
		l.link(first, ends)
		return
	}
	unknown := d.unknown[info.category()]
	end, grouped := start+size, -1
	if info&groupBit != 0 {
		// Runs longer than all that is compared with them need not be followed to their end.
		e, count, _, _ := d.run(text, end, info, max(d.group, maxLength)+1)
		if count <= d.group {
			l.put(d, unknown, pos, start, e, ends)
		}
		grouped = e
	}
	for i := 1; i <= info.length() && end != grouped; i++ {
		l.put(d, unknown, pos, start, end, ends)
		if end == len(text) {
			break
		}
		next, size := d.infoAt(text, end)
		if !info.isKindOf(next) {
			break
		}
		end += size
	}
	if len(l.nodes) == first {
		l.put(d, unknown, pos, start, end, ends)
	}
	l.link(first, ends)
}

// put appends the words of some entries, with the best path before them.
func (l *lattice) put(d *Dictionary, entries []entry, pos, start, end int, ends []int32) {
	for _, e := range entries {
		p := l.best(d, ends[pos], e.left)
		l.nodes = append(l.nodes, node{
			cost: p.cost + int64(e.cost), start: int32(start), end: int32(end), prev: p.node, right: e.right,
		})
	}
}

// best returns the cheapest way to reach a left context from the words in a list.
func (l *lattice) best(d *Dictionary, list int32, left uint16) leftBest {
	for i := range l.lefts {
		if l.lefts[i].left == left {
			return l.lefts[i]
		}
	}
	row := d.costs[d.lefts*int(left):][:d.lefts]
	p := leftBest{cost: 1<<63 - 1, node: -1, left: left}
	for i := list; i >= 0; i = l.nodes[i].next {
		w := &l.nodes[i]
		if c := w.cost + int64(row[w.right]); c < p.cost {
			p.cost, p.node = c, i
		}
	}
	l.lefts = append(l.lefts, p)
	return p
}

// link enters the words from first on into the lists of what ends where.
func (l *lattice) link(first int, ends []int32) {
	for i := len(l.nodes) - 1; i >= first; i-- {
		w := &l.nodes[i]
		w.next = ends[w.end]
		ends[w.end] = int32(i)
	}
}
