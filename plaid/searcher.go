package plaid

import (
	"context"
	"fmt"
	"math/bits"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
)

// Searcher searches one snapshot of an index. It is safe for any number of goroutines. It holds pooled
// scratch memory but no files: the snapshot stays the caller's, and must be open when a search starts.
type Searcher struct {
	snap      *index.Snapshot // nil in tests on segments in memory
	units     []unit
	spaces    []space
	dim       int
	live      int
	centroids int            // of the largest codebook
	shared    int            // sharedValues; tests lower it
	tuned     []index.Tuning // by ascending K
	masks     []mask         // per unit: the live documents
	pool      sync.Pool      // of *state
	device    DeviceIndex    // nil on the CPU
}

// NewSearcher returns a Searcher over s. It reads the segments' deletions and nothing else, so it is
// cheap enough to make one per snapshot.
func NewSearcher(s *index.Snapshot) *Searcher {
	segs := s.Segments()
	units := make([]unit, len(segs))
	for i, seg := range segs {
		units[i] = unit{seg: seg, pub: seg, reads: s.ReadsResiduals()}
	}
	sr := newSearcher(units, s.Dim())
	sr.snap, sr.tuned = s, s.Tunings()
	return sr
}

// hold keeps the snapshot's files mapped for the length of a call, until drop.
func (s *Searcher) hold() error {
	if s.snap == nil {
		return nil
	}
	return s.snap.Retain()
}

func (s *Searcher) drop() {
	if s.snap != nil {
		s.snap.Release()
	}
}

func newSearcher(units []unit, dim int) *Searcher {
	s := &Searcher{units: units, dim: dim, shared: sharedValues}
	known := map[*quant.Codebook]int{}
	for i := range units {
		u := &units[i]
		cb := u.seg.Codebook()
		sp, ok := known[cb]
		if !ok {
			sp = len(s.spaces)
			known[cb] = sp
			s.spaces = append(s.spaces, newSpace(cb))
		}
		s.spaces[sp].units = append(s.spaces[sp].units, i)
		s.spaces[sp].tokens += u.seg.NumTokens()
		u.space = sp
		u.live = liveWords(u.seg)
		m := mask{all: u.live == nil, n: u.seg.NumDocs(), docs: u.live}
		if !m.all {
			m.n = count(m.docs)
		}
		s.masks = append(s.masks, m)
		s.live += m.n
	}
	for i := range s.spaces {
		sp := &s.spaces[i]
		sp.coarseness = coarseness(sp.tokens, sp.cb.K())
		s.centroids = max(s.centroids, sp.cb.K())
	}
	return s
}

// Search returns the k documents with the highest MaxSim for the query q, whose rows are in the space of
// the vectors that were added (not rotated). Hits are ordered by score descending, then id ascending.
//
// Errors: ErrInvalidK, ErrEmptyQuery, ErrTooManyTokens, ErrInvalidOptions, maxsim.ErrDim,
// maxsim.ErrNotFinite, index.ErrClosed when the snapshot is closed, ErrDevice, the context's error, and whatever
// reading the index or the filter gives. A search that has begun finishes even if the snapshot is closed meanwhile.
func (s *Searcher) Search(ctx context.Context, q maxsim.Matrix, k int, o *Options) (hits []Hit, err error) {
	if err := s.hold(); err != nil {
		return nil, err
	}
	defer s.drop()
	err = index.Guard(func() (err error) {
		hits, err = s.search(ctx, q, k, o)
		return err
	})
	return hits, err
}

func (s *Searcher) search(ctx context.Context, q maxsim.Matrix, k int, o *Options) ([]Hit, error) {
	st := s.state()
	defer s.release(st)
	if err := s.plan(ctx, k, o, &st.own); err != nil {
		return nil, err
	}
	if err := s.checkQuery(q); err != nil {
		return nil, err
	}
	if s.device != nil {
		st.stats = Stats{}
		res, err := s.searchDevice(ctx, []maxsim.Matrix{q}, &st.own, &st.stats)
		if err != nil {
			return nil, err
		}
		if o != nil && o.Stats != nil {
			*o.Stats = st.stats
		}
		return res[0], nil
	}
	hits, err := st.search(ctx, q, &st.own)
	if err != nil {
		return nil, err
	}
	if o != nil && o.Stats != nil {
		*o.Stats = st.stats
	}
	return hits, nil
}

// plan is what the queries of one call have in common.
type plan struct {
	knobs
	masks    []mask // per unit
	allowed  int
	perSpace []int // allowed, per codebook
}

// plan fills pl, reusing its memory.
func (s *Searcher) plan(ctx context.Context, k int, o *Options, pl *plan) (err error) {
	if k < 1 {
		return fmt.Errorf("k is %d: %w", k, ErrInvalidK)
	}
	if err := o.validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if pl.masks, err = s.filter(o); err != nil {
		return err
	}
	pl.allowed, pl.perSpace = 0, grow(pl.perSpace, len(s.spaces))
	clear(pl.perSpace)
	for i, m := range pl.masks {
		pl.allowed += m.n
		pl.perSpace[s.units[i].space] += m.n
	}
	pl.knobs = s.resolve(k, o, pl.perSpace, pl.shortlist[:0])
	return nil
}

// filter gives the masks of a search: the live documents that o's filter allows.
func (s *Searcher) filter(o *Options) ([]mask, error) {
	if o == nil || o.Filter == nil {
		return s.masks, nil
	}
	out := make([]mask, len(s.units))
	for i := range s.units {
		u := &s.units[i]
		n := u.seg.NumDocs()
		b, err := o.Filter.Bitmap(u.pub)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		w := make([]uint64, words(n))
		if b != nil {
			it := b.ManyIterator()
			var buf [256]uint32
			for m := it.NextMany(buf[:]); m > 0; m = it.NextMany(buf[:]) {
				for _, ord := range buf[:m] {
					if int64(ord) < int64(n) {
						w[ord/64] |= 1 << (ord % 64)
					}
				}
			}
		}
		for j := range u.live {
			w[j] &= u.live[j]
		}
		out[i] = mask{n: count(w), docs: w}
	}
	return out, nil
}

// checkQuery names what is wrong with a query.
func (s *Searcher) checkQuery(q maxsim.Matrix) error {
	if err := q.Validate(); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	most := MaxQueryTokens
	if s.device != nil {
		most = min(most, s.device.Info().MaxQueryTokens)
	}
	switch {
	case q.Rows == 0:
		return ErrEmptyQuery
	case q.Rows > most:
		return fmt.Errorf("%d tokens, at most %d: %w", q.Rows, most, ErrTooManyTokens)
	case s.dim > 0 && q.Dim != s.dim:
		return fmt.Errorf("query has dimension %d, the index %d: %w", q.Dim, s.dim, maxsim.ErrDim)
	}
	return nil
}

func count(w []uint64) int {
	n := 0
	for _, x := range w {
		n += bits.OnesCount64(x)
	}
	return n
}
