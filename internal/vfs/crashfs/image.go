package crashfs

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Mode says what a crash leaves of what was not durable.
type Mode int

const (
	// Lost leaves nothing of it.
	Lost Mode = iota
	// All leaves everything, and it is durable from then on.
	All
	// Names leaves all changes of names and no content: files may be empty, or full of zeros. So do file systems
	// that journal their metadata only.
	Names
	// Content leaves all content and no change of names.
	Content
	// Half leaves each change of names and each file's content with probability one half.
	Half
	// Ordered leaves the first so many changes of names of each directory, and content as Torn does.
	Ordered
	// Torn leaves any of the changes of names, and content that is cut short or has holes and garbage.
	Torn
	// Killed leaves everything as it is, durable or not: the process ended and the machine goes on.
	Killed

	// Modes is the number of modes.
	Modes
)

// String names the mode.
func (m Mode) String() string {
	return [...]string{"lost", "all", "names", "content", "half", "ordered", "torn", "killed"}[m]
}

// tearBlock is the unit in which content is torn. Disks write larger ones; small ones tear small files, too.
const tearBlock = 64

// Crash gives what is left after a crash at this moment, as a file system of its own without hooks. The original
// goes on.
func (f *FS) Crash(m Mode, r *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &crash{mode: m, r: r, made: make(map[*node]*node)}
	return &FS{root: c.node(f.root), Windows: f.Windows}
}

type crash struct {
	mode Mode
	r    *rand.Rand
	made map[*node]*node
}

// node copies a node as the crash leaves it.
func (c *crash) node(n *node) *node {
	if m := c.made[n]; m != nil {
		return m
	}
	m := &node{}
	c.made[n] = m
	if n.live == nil {
		if c.mode == Killed {
			m.data, m.durable = n.data[:len(n.data):len(n.data)], n.durable
		} else {
			m.data = c.content(n)
			m.data = m.data[:len(m.data):len(m.data)]
			m.durable = m.data
		}
		return m
	}
	if c.mode == Killed {
		m.live, m.kept = c.entries(n.live), c.entries(n.kept)
		for _, ch := range n.log {
			ch.n = c.node(ch.n)
			m.log = append(m.log, ch)
		}
		return m
	}
	kept := maps.Clone(n.kept)
	first := c.r.IntN(len(n.log) + 1)
	share := c.r.Float64()
	for i, ch := range n.log {
		unset := true
		switch c.mode {
		case Lost, Content:
			continue
		case Half:
			if c.r.IntN(2) == 0 {
				continue
			}
		case Ordered:
			if i >= first {
				continue
			}
		case Torn:
			if c.r.Float64() < share {
				continue
			}
			unset = ch.set == "" || c.r.IntN(4) > 0
		}
		ch.apply(kept, unset)
	}
	m.live = c.entries(kept)
	m.kept = maps.Clone(m.live)
	return m
}

func (c *crash) entries(m map[string]*node) map[string]*node {
	out := make(map[string]*node, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) { // in order, so that a seed gives one image
		out[name] = c.node(m[name])
	}
	return out
}

// content gives what is left of a file's content.
func (c *crash) content(n *node) []byte {
	if len(n.data) == len(n.durable) && (len(n.data) == 0 || &n.data[0] == &n.durable[0]) {
		return n.durable // all of it was synced
	}
	switch c.mode {
	case Lost:
		return n.durable
	case All, Content:
		return n.data
	case Names:
		if c.r.IntN(2) == 0 {
			return n.durable
		}
		// The length is there, the content is not.
		out := make([]byte, max(len(n.data), len(n.durable)))
		copy(out, n.durable)
		return out
	case Half:
		if c.r.IntN(2) == 0 {
			return n.durable
		}
		return n.data
	}
	if c.r.IntN(2) == 0 { // cut short
		if len(n.data) > len(n.durable) {
			return n.data[:len(n.durable)+c.r.IntN(len(n.data)-len(n.durable)+1)]
		}
		return n.data[:c.r.IntN(len(n.data)+1)]
	}
	out := make([]byte, len(n.data))
	copy(out, n.durable)
	for at := 0; at < len(out); at += tearBlock {
		end := min(at+tearBlock, len(out))
		if end <= len(n.durable) && string(out[at:end]) == string(n.data[at:end]) {
			continue // synced
		}
		switch c.r.IntN(6) {
		case 0, 1, 2:
			copy(out[at:end], n.data[at:end])
		case 3: // what lay on the disk there before
			for i := max(at, min(len(n.durable), end)); i < end; i++ {
				out[i] = byte(c.r.Uint32())
			}
		}
	}
	return out
}

// Hash identifies the visible content.
func (f *FS) Hash() [32]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := sha256.New()
	f.walk("", f.root, func(path string, n *node) {
		fmt.Fprintf(h, "%q %d %v\n", path, len(n.data), n.live != nil)
		h.Write(n.data)
	})
	return [32]byte(h.Sum(nil))
}
