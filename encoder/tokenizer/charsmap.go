package tokenizer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// charsmap is SentencePiece's table of replacements, a trie of byte strings ("precompiled_charsmap"), applied in
// the way of Hugging Face's Precompiled, which is not SentencePiece's: a grapheme cluster of less than 6 bytes is
// looked up as a whole, and the shortest entry that starts it replaces all of it; where there is none, and in
// longer clusters, every character is looked up by itself.
type charsmap struct {
	units []uint32 // Darts double array
	repl  string   // replacements, each ended by a zero byte
	// simple has a bit for each code point of the basic plane that has no entry and is a cluster of its own,
	// unless what follows joins it.
	simple [1 << 16 / 64]uint64
}

// newCharsmap reads the binary form: the size of the trie in bytes as a little-endian uint32, the trie, and the
// replacements.
func newCharsmap(b []byte) (*charsmap, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: charsmap of %d bytes", ErrCorrupt, len(b))
	}
	size := binary.LittleEndian.Uint32(b)
	if int64(size) > int64(len(b)-4) || size%4 != 0 || size == 0 {
		return nil, fmt.Errorf("%w: charsmap of %d bytes has a trie of %d", ErrCorrupt, len(b), size)
	}
	m := &charsmap{units: make([]uint32, size/4), repl: string(b[4+size:])}
	if !utf8.ValidString(m.repl) {
		return nil, fmt.Errorf("%w: charsmap: replacements are not UTF-8", ErrCorrupt)
	}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(b[4+4*i:])
	}
	var buf [utf8.UTFMax]byte
	for r := range rune(1 << 16) {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		if flagsOf(r)&(isJoin|isPrepend|isBreak|isPicto) != 0 || hangulClass(r) != 0 {
			continue
		}
		if _, _, ok := m.shortest(utf8.AppendRune(buf[:0], r)); !ok {
			m.simple[r>>6] |= 1 << (r & 63)
		}
	}
	return m, nil
}

// darts returns the fields of a unit of the double array.
func dartsOffset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

const dartsLabel = 1<<31 | 0xff

// shortest returns the replacement for the shortest entry that starts text, and that entry's length.
func (m *charsmap) shortest(text []byte) (repl string, n int, ok bool) {
	pos := dartsOffset(m.units[0])
	for i, c := range text {
		pos ^= uint32(c)
		if c == 0 || int(pos) >= len(m.units) {
			break
		}
		u := m.units[pos]
		if u&dartsLabel != uint32(c) {
			break
		}
		pos ^= dartsOffset(u)
		if u>>8&1 != 0 && int(pos) < len(m.units) {
			return m.value(m.units[pos] & (1<<31 - 1)), i + 1, true
		}
	}
	return "", 0, false
}

// longest is shortest for the longest entry, as SentencePiece itself wants it.
func (m *charsmap) longest(text []byte) (repl string, n int, ok bool) {
	pos := dartsOffset(m.units[0])
	value := uint32(0)
	for i, c := range text {
		pos ^= uint32(c)
		if c == 0 || int(pos) >= len(m.units) {
			break
		}
		u := m.units[pos]
		if u&dartsLabel != uint32(c) {
			break
		}
		pos ^= dartsOffset(u)
		if u>>8&1 != 0 && int(pos) < len(m.units) {
			value, n, ok = m.units[pos]&(1<<31-1), i+1, true
		}
	}
	if !ok {
		return "", 0, false
	}
	return m.value(value), n, true
}

// maxReplacement bounds, in bytes, what a file may have written in place of a few characters, so that a short text
// stays one. The longest replacement in use has 33.
const maxReplacement = 256

// value returns the replacement at an offset; a malformed or huge one is empty.
func (m *charsmap) value(at uint32) string {
	if int64(at) >= int64(len(m.repl)) {
		return ""
	}
	s := m.repl[at:min(int64(at)+maxReplacement+1, int64(len(m.repl)))]
	if end := strings.IndexByte(s, 0); end >= 0 {
		s = s[:end]
	}
	if len(s) > maxReplacement || !utf8.ValidString(s) { // the latter for an offset within a character
		return ""
	}
	return s
}

// run returns the end of the simple characters from i on, less the last one when what follows joins it.
func (m *charsmap) run(text []byte, i int) int {
	last := i
	for i < len(text) {
		c := text[i]
		if c < utf8.RuneSelf {
			if m.simple[c>>6]>>(c&63)&1 == 0 {
				return i // nothing below U+0080 joins
			}
			last = i
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r >= 1<<16 || m.simple[r>>6]>>(r&63)&1 == 0 {
			if flagsOf(r)&isJoin != 0 {
				return last
			}
			return i
		}
		last = i
		i += n
	}
	return i
}

// apply implements step.
func (m *charsmap) apply(dst, src *aligned, _ *scratch) bool {
	text := src.text
	i := m.run(text, 0)
	if i == len(text) {
		return false
	}
	start := 0 // what precedes is copied
	var e editor
	changed := false
	for i < len(text) {
		end := cluster(text, i)
		if end-i < 6 {
			if repl, _, ok := m.shortest(text[i:end]); ok {
				if !changed {
					changed, e = true, dst.edit(src)
				}
				e.copy(start, i)
				e.replace(text[i:end], repl)
				start = end
				i = end
				i = m.run(text, i)
				continue
			}
		}
		for i < end {
			_, n := utf8.DecodeRune(text[i:])
			if repl, _, ok := m.shortest(text[i : i+n]); ok {
				if !changed {
					changed, e = true, dst.edit(src)
				}
				e.copy(start, i)
				e.replace(text[i:i+n], repl)
				start = i + n
			}
			i += n
		}
		i = m.run(text, i)
	}
	if !changed {
		return false
	}
	e.copy(start, len(text))
	return true
}

// replace writes repl for old, as the reference does for its charsmap: surplus characters are new, and when
// there are fewer the last character written, be it of repl or before, takes the place of those that are gone.
func (e *editor) replace(old []byte, repl string) {
	diff := utf8.RuneCountInString(repl) - utf8.RuneCount(old)
	left := utf8.RuneCountInString(repl) - max(diff, 0)
	for _, r := range repl {
		if left > 0 {
			e.emit(r, 0)
		} else {
			e.emit(r, 1)
		}
		left--
	}
	if diff < 0 {
		e.amend(diff)
	}
}
