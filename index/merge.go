package index

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/quant"
)

// merging is a set of segments that become one, or as few as their size allows.
type merging struct {
	to     *quant.Codebook
	segs   []*Segment
	recode bool // even if to extends what coded them
}

// built is a finished segment that is not yet part of a commit.
type built struct {
	seg   *Segment
	entry manSegment
	dead  *roaring.Bitmap // documents that were deleted since they were copied
}

// moved says where the documents of a merged segment went.
type moved struct {
	from *Segment
	to   []place // by ordinal
}

// place is a document's new place: the output's number in merger.out, and the ordinal there.
type place struct{ out, ord uint32 }

var nowhere = place{^uint32(0), 0}

// merger writes merged segments.
type merger struct {
	c       *commit
	copier  copier
	max     uint64 // tokens after which an output is closed
	out     []built
	moves   []moved
	report  func(tokens int)
	b       *segBuilder
	written uint64
}

// merge copies the live documents of some segments, in order, into new ones.
func (m *merger) merge(g merging) error {
	m.copier.to, m.copier.force = g.to, g.recode
	for _, seg := range g.segs {
		mv := moved{from: seg, to: make([]place, seg.NumDocs())}
		for i := range mv.to {
			mv.to[i] = nowhere
		}
		err := m.copier.each(seg, seg.del, func(d *stored) error {
			if m.b == nil {
				b, err := m.c.newSegment(g.to)
				if err != nil {
					return err
				}
				m.b = b
			}
			mv.to[d.ord] = place{uint32(len(m.out)), uint32(m.b.docs())}
			if err := m.b.add(d.id, d.text, d.meta, d.codes, d.residuals, d.norms, d.residual); err != nil {
				return fmt.Errorf("index: %s: %w", segmentName(m.b.toc.segment), err)
			}
			m.written += uint64(len(d.codes))
			if m.report != nil {
				m.report(len(d.codes))
			}
			if m.b.numTokens() >= m.max || m.b.mem() >= segmentMemory {
				return m.flush()
			}
			return nil
		})
		if err != nil {
			return err
		}
		m.moves = append(m.moves, mv)
	}
	return m.flush()
}

func (m *merger) flush() error {
	b := m.b
	if b == nil {
		return nil
	}
	m.b = nil
	seg, entry, err := m.c.finishSegment(b)
	if err != nil {
		return err
	}
	m.out = append(m.out, built{seg: seg, entry: entry})
	return nil
}

// close gives up an output that was not finished.
func (m *merger) close() {
	if m.b != nil {
		_ = m.b.file.Close()
		m.b = nil
	}
}

// swap replaces the merged segments of the commit by the new ones. What was deleted since they were copied
// is deleted in the new ones, too.
func (m *merger) swap() error {
	for i := range m.moves {
		mv := &m.moves[i]
		at := slices.IndexFunc(m.c.man.Segments, func(s manSegment) bool { return s.Number == mv.from.number })
		for ord, p := range mv.to {
			if p != nowhere && (at < 0 || m.c.segs[at].del != nil && m.c.segs[at].del.Contains(uint32(ord))) {
				o := &m.out[p.out]
				if o.dead == nil {
					o.dead = roaring.New()
				}
				o.dead.Add(p.ord)
			}
		}
		if at >= 0 {
			m.c.man.Segments = slices.Delete(m.c.man.Segments, at, at+1)
			m.c.segs = slices.Delete(m.c.segs, at, at+1)
		}
	}
	for _, o := range m.out {
		at, _ := slices.BinarySearchFunc(m.c.man.Segments, o.entry.Number, func(s manSegment, n uint64) int { return cmp.Compare(s.Number, n) })
		m.c.man.Segments = slices.Insert(m.c.man.Segments, at, o.entry)
		m.c.segs = slices.Insert(m.c.segs, at, o.seg)
		if o.dead != nil {
			if err := m.c.delete(o.entry.Number, o.dead); err != nil {
				return err
			}
		}
	}
	return nil
}

// deadTokens counts the token vectors of a segment's deleted documents.
func (s *Segment) deadTokens() uint64 { return s.f.toc.tokens - s.live }
