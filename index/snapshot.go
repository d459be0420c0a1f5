package index

import (
	"runtime/debug"
	"sync/atomic"
)

// Snapshot is one commit of the index, fixed for as long as it is open. It is safe for concurrent use.
//
// Its segments read mapped files, so they must not be used after the last Close or Release.
type Snapshot struct {
	st     *state
	reads  bool
	refs   atomic.Int64
	closed atomic.Bool
}

// Close gives the snapshot up. Files that nothing else needs are unmapped, and removed when a later commit
// dropped them, as soon as the last Retain is released. A second Close returns ErrClosed.
func (s *Snapshot) Close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	s.Release()
	return nil
}

// Retain keeps the snapshot's files mapped until a matching Release, even if it is closed in between. A
// search brackets itself with the two, so that a concurrent Close cannot pull the files from under it.
// On a snapshot that is closed it returns ErrClosed.
func (s *Snapshot) Retain() error {
	for {
		n := s.refs.Load()
		if n == 0 || s.closed.Load() {
			return ErrClosed
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// Release undoes one successful Retain.
func (s *Snapshot) Release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		s.st.release()
	case n < 0:
		panic("index: Snapshot.Release without Retain")
	}
}

// Segments gives the snapshot's segments, oldest first. The slice must not be changed.
func (s *Snapshot) Segments() []*Segment { return s.st.segs }

// ReadsResiduals tells whether the index was opened with OpenOptions.ReadResiduals: searches are to call
// Segment.ReadResiduals then.
func (s *Snapshot) ReadsResiduals() bool { return s.reads }

// NumDocs counts the live documents.
func (s *Snapshot) NumDocs() int { return int(s.st.man.Docs) }

// NumTokens counts the token vectors of the live documents.
func (s *Snapshot) NumTokens() uint64 { return s.st.man.Tokens }

// Dim is the dimension of the vectors.
func (s *Snapshot) Dim() int { return s.st.man.Dim }

// Generation numbers the commit. It grows by one with each.
func (s *Snapshot) Generation() uint64 { return s.st.man.Generation }

// Attributes gives the caller's attributes of the index; the map is a copy.
func (s *Snapshot) Attributes() map[string]string { return cloneAttributes(s.st.man.Attributes) }

// Lookup finds the live document with an id. ok is false when there is none, or when the part of a file
// that would tell is damaged (Find reports that).
func (s *Snapshot) Lookup(id string) (seg *Segment, ord uint32, ok bool) {
	seg, ord, ok, err := s.Find(id)
	return seg, ord, ok && err == nil
}

// Find is Lookup with the error that damage gives.
func (s *Snapshot) Find(id string) (seg *Segment, ord uint32, ok bool, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	i, ord, ok, err := findLive(s.st.segs, id, nil)
	if err != nil || !ok {
		return nil, 0, false, err
	}
	return s.st.segs[i], ord, true, nil
}
