package interop

import (
	"context"
	"errors"
	"fmt"

	"github.com/golbert/golbert/internal/mmapfile"
)

// lists are an index's inverted lists: for every centroid the documents (or, in old colbert-ai indexes, the
// tokens) that have it.
type lists struct {
	file    string
	ids     ints // of all centroids, end to end
	lengths ints // one per centroid
	tokens  bool // they list tokens
	padded  bool // there may be more ids than the lengths add up to
	removes bool // a document that is in no list has been removed
	files   []*mmapfile.File
}

func (l *lists) open(dir, name string, use func(b []byte) error) error {
	f, err := mapped(dir, name)
	if err != nil {
		return err
	}
	l.files = append(l.files, f)
	if err := use(f.Bytes()); err != nil {
		return &FileError{File: name, Err: err}
	}
	return nil
}

func (l *lists) close() {
	for _, f := range l.files {
		_ = f.Close()
	}
	l.files, l.ids.b, l.lengths.b = nil, nil, nil
}

// digest stands for one list, whatever its order: equal lists have equal digests, and unlike ones differ but
// for one case in 2^64. It lets the lists be compared in one pass over the documents.
type digest struct{ n, sum uint64 }

func (d *digest) add(id uint64) {
	// SplitMix64's finaliser.
	z := id + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	d.n++
	d.sum += z ^ z>>31
}

type bitset []uint64

func newBitset(n uint64) bitset                 { return make(bitset, (n+63)/64) }
func (b bitset) set(i uint64)                   { b[i/64] |= 1 << (i % 64) }
func (b bitset) contains(i uint64) bool         { return b != nil && b[i/64]>>(i%64)&1 != 0 }
func (l *lists) fault(f string, a ...any) error { return bad(l.file, f, a...) }

// digests reads all lists. bound is the number of documents, or tokens.
func (l *lists) digests(ctx context.Context, k int, bound uint64) (d []digest, seen bitset, err error) {
	if l.lengths.len() != k {
		return nil, nil, l.fault("%d lists for %d centroids", l.lengths.len(), k)
	}
	d, seen = make([]digest, k), newBitset(bound)
	at, end := 0, l.ids.len()
	for c := range d {
		if c%1024 == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		n := l.lengths.at(c)
		if n < 0 || n > int64(end-at) {
			return nil, nil, l.fault("list %d has length %d, %d ids are left", c, n, end-at)
		}
		for ; n > 0; n-- {
			id := l.ids.at(at)
			if id < 0 || uint64(id) >= bound {
				return nil, nil, l.fault("list %d holds %d, must be below %d", c, id, bound)
			}
			seen.set(uint64(id))
			d[c].add(uint64(id))
			at++
		}
	}
	if at < end && !l.padded {
		return d, seen, l.fault("%d ids behind the last list: %w", end-at, ErrLists)
	}
	return d, seen, nil
}

// scan opens every chunk, checks every code, counts, and compares the lists with those of the codes.
func (s *Source) scan(ctx context.Context) error {
	for i := range s.p.numChunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := s.b.chunk(i, &s.p)
		if err != nil {
			return err
		}
		s.chunks = append(s.chunks, chunkInfo{uint64(len(c.lens)), uint64(c.codes.len())})
		s.docs += uint64(len(c.lens))
		s.tokens += uint64(c.codes.len())
		c.close()
		if s.docs > maxDocuments {
			return fmt.Errorf("over %d documents: %w", maxDocuments, ErrUnsupported)
		}
	}
	s.compareCounts()

	k := s.book.K()
	var l *lists
	if s.o.Lists != ListsIgnore || s.format == ColBERTAI {
		var err error
		l, err = s.b.lists()
		if l != nil {
			defer l.close()
		}
		switch {
		case err != nil && s.o.Lists == ListsIgnore:
			s.note("the inverted lists are damaged (%v); documents that were removed only there cannot be told", err)
			l = nil
		case err != nil:
			return err
		case l == nil:
			s.note("the index has no inverted lists; they are made from the codes")
		}
	}
	var (
		want, have []digest
		seen       bitset
		fault      error
	)
	if l != nil {
		bound := s.docs
		if l.tokens {
			bound = s.tokens
		}
		var err error
		want, seen, err = l.digests(ctx, k, bound)
		switch {
		case err == nil:
		case errors.Is(err, ErrLists):
			fault = err
		case s.o.Lists == ListsIgnore && errors.Is(err, ErrCorrupt):
			s.note("the inverted lists are damaged (%v); documents that were removed only there cannot be told", err)
			l = nil
		default:
			return err
		}
	}
	have, err := s.scanCodes(ctx, k, l, seen)
	if err != nil {
		return err
	}
	if l == nil || s.o.Lists == ListsIgnore {
		return nil
	}
	wrong := 0
	for c := range want {
		if want[c] != have[c] {
			if wrong++; wrong == 1 && fault == nil {
				fault = l.fault("list %d has %d entries, the codes make one of %d with other members or another length: %w", c, want[c].n, have[c].n, ErrLists)
			}
		}
	}
	if fault == nil {
		return nil
	}
	if s.o.Lists == ListsRefuse {
		return fault
	}
	s.note("%d of %d inverted lists differ from the codes; the codes are taken (%v)", wrong, k, fault)
	return nil
}

// scanCodes checks all codes, finds removed documents, and gives the digests of the lists that the codes make.
func (s *Source) scanCodes(ctx context.Context, k int, l *lists, seen bitset) ([]digest, error) {
	have := make([]digest, k)
	last := make([]uint32, k) // 1 + the last document that had the centroid
	var doc, token, byLength, byLists, liveTokens uint64
	for i := range s.chunks {
		c, err := s.chunk(i)
		if err != nil {
			return nil, err
		}
		at := 0
		for _, n := range c.lens {
			if doc%1024 == 0 && ctx.Err() != nil {
				c.close()
				return nil, ctx.Err()
			}
			removed := l != nil && l.removes && n > 0 && !seen.contains(doc)
			switch {
			case n == 0:
				byLength++
			case removed:
				if s.absent == nil {
					s.absent = newBitset(s.docs)
				}
				s.absent.set(doc)
				byLists++
			default:
				s.live++
				liveTokens += uint64(n)
				s.maxTokens = max(s.maxTokens, int(n))
			}
			for range n {
				code, err := c.code(at, k)
				if err != nil {
					c.close()
					return nil, bad(fmt.Sprintf("chunk %d", i), "%w", err)
				}
				if l != nil && l.tokens {
					have[code].add(token)
				} else if !removed && last[code] != uint32(doc)+1 {
					last[code] = uint32(doc) + 1
					have[code].add(doc)
				}
				at++
				token++
			}
			doc++
		}
		c.close()
	}
	if byLists > 0 && s.live == 0 {
		return nil, l.fault("%d documents have tokens and none is in a list: %w", byLists, ErrLists)
	}
	if byLength > 0 {
		s.note("%d documents without tokens (removed, or empty) are left out", byLength)
	}
	if byLists > 0 {
		s.note("%d documents are in no inverted list: they have been removed, and are left out", byLists)
	}
	s.tokens = liveTokens
	return have, nil
}

// compareCounts notes where the metadata is wrong. It is no reason to refuse an index: colbert-ai's own add
// writes wrong counts, and other updates drop them.
func (s *Source) compareCounts() {
	for _, c := range []struct {
		key  string
		have uint64
	}{{"num_embeddings", s.tokens}, {"num_documents", s.docs}, {"num_partitions", uint64(s.book.K())}} {
		if n, ok := s.p.declared[c.key]; ok && uint64(n) != c.have {
			s.note("the metadata declares %s %d, the files hold %d", c.key, n, c.have)
		}
	}
	next := fmt.Sprintf("doclens.%d.json", s.p.numChunks)
	if exists(s.dir, next) {
		s.note("%s lies beyond the %d chunks of the metadata and was not read", next, s.p.numChunks)
	}
}
