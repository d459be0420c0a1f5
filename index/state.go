package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// state is one commit, open. It is immutable and counted; each state holds one reference to each of its
// segment files.
type state struct {
	man     *manifest
	manSize int64
	segs    []*Segment
	books   map[string]*quant.Codebook
	over    map[string]*quant.Codebook // see newestForms
	refs    atomic.Int64
}

func (st *state) retain() { st.refs.Add(1) }

func (st *state) release() {
	if st.refs.Add(-1) == 0 {
		for _, s := range st.segs {
			s.f.unref()
		}
	}
}

// newestBook gives the codebook for what is added next, nil when there is none.
func (st *state) newestBook() (*quant.Codebook, *manCodebook) {
	if n := len(st.man.Codebooks); n > 0 {
		return st.books[st.man.Codebooks[n-1].ID], &st.man.Codebooks[n-1]
	}
	return nil, nil
}

// newestManifest gives the highest generation in a directory, 0 when there is none.
func newestManifest(names []string) uint64 {
	var gen uint64
	for _, n := range names {
		if k, g := classify(n); k == kindManifest {
			gen = max(gen, g)
		}
	}
	return gen
}

// findNewest lists a directory and gives the highest generation in it, 0 when there is none. Listing is not atomic:
// while a writer puts one manifest in the place of another, a listing may have neither. So where there are other
// files of an index it is done again.
func findNewest(fsys vfs.FS, dir string) (gen uint64, err error) {
	for range 50 {
		names, err := fsys.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("index: %w", err)
		}
		if gen = newestManifest(names); gen > 0 {
			break
		}
		if !slices.ContainsFunc(names, func(n string) bool { k, _ := classify(n); return k != kindForeign }) {
			break
		}
	}
	return gen, nil
}

// loadNewest opens the newest commit in a directory. A writer may replace it meanwhile and remove its
// files; then the next newest is tried. What base, if not nil, has open already is not opened again.
func loadNewest(ctx context.Context, fsys vfs.FS, dir string, base *state) (*state, error) {
	var failed error
	for last := uint64(0); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		gen, err := findNewest(fsys, dir)
		if err != nil {
			return nil, err
		}
		if gen == 0 {
			if failed != nil {
				return nil, failed
			}
			return nil, fmt.Errorf("%s: %w", dir, ErrNotFound)
		}
		if gen == last {
			return nil, failed // the same commit again: its files are really missing
		}
		if base != nil && gen == base.man.Generation {
			base.retain()
			return base, nil
		}
		st, err := loadState(ctx, fsys, dir, gen, base)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		last, failed = gen, err
	}
}

// missing turns a failure to open a file that the manifest names into a CorruptError when it is absent.
func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &CorruptError{File: name, Offset: -1, Err: err}
	}
	var ce *CorruptError
	if errors.As(err, &ce) || errors.Is(err, ErrVersion) {
		return err
	}
	return fmt.Errorf("index: %s: %w", name, err)
}

// loadState opens one generation. Everything that it opens is released again on failure.
func loadState(ctx context.Context, fsys vfs.FS, dir string, gen uint64, base *state) (_ *state, err error) {
	name := manifestName(gen)
	b, err := fsys.ReadFile(filepath.Join(dir, name), maxManifestBytes)
	if err != nil {
		return nil, missing(name, err)
	}
	m, err := parseManifest(b, name)
	if err != nil {
		return nil, err
	}
	if m.Generation != gen {
		return nil, &CorruptError{File: name, Section: "generation", Offset: -1, Want: gen, Got: m.Generation}
	}
	st := &state{man: m, manSize: int64(len(b)), books: make(map[string]*quant.Codebook)}
	st.refs.Store(1)
	defer func() {
		if err != nil {
			st.release()
		}
	}()
	for _, c := range m.Codebooks {
		cb := base.openBook(c)
		if cb == nil {
			if cb, err = loadCodebook(fsys, dir, c, m.Dim, false); err != nil {
				return nil, err
			}
		}
		st.books[c.ID] = cb
	}
	var tokens uint64
	for _, s := range m.Segments {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		seg, err := base.openSegment(fsys, dir, s)
		if err == nil && seg == nil {
			seg, err = loadSegment(fsys, dir, s, st.books[s.Codebook])
		}
		if err != nil {
			return nil, err
		}
		st.segs = append(st.segs, seg)
		tokens += seg.live
	}
	if tokens != m.Tokens {
		return nil, &CorruptError{File: name, Section: "tokens", Offset: -1, Want: tokens, Got: m.Tokens}
	}
	if base != nil && slices.Equal(m.Codebooks, base.man.Codebooks) {
		st.over = base.over
	} else {
		st.over = newestForms(m.Codebooks, st.books)
	}
	lift(st.segs, st.over)
	return st, nil
}

// readWhole reads a file that the manifest names, and checks length and hash.
func readWhole(fsys vfs.FS, dir, name string, length int64, sum string) ([]byte, error) {
	b, err := fsys.ReadFile(filepath.Join(dir, name), length)
	if err != nil {
		if size, serr := fsys.Size(filepath.Join(dir, name)); serr == nil && size > length {
			return nil, &CorruptError{File: name, Section: "length", Offset: -1, Want: length, Got: size}
		}
		return nil, missing(name, err)
	}
	if int64(len(b)) != length {
		return nil, &CorruptError{File: name, Section: "length", Offset: -1, Want: length, Got: len(b)}
	}
	if got := sha256hex(b); got != sum {
		return nil, &CorruptError{File: name, Section: "sha256", Offset: -1, Want: sum, Got: got}
	}
	return b, nil
}

// loadCodebook reads a codebook that a manifest names. Unless whole is set, its checksum tells that it is the one. The file
// is mapped while it is parsed, which is quicker than reading it into memory that has to come into being first.
func loadCodebook(fsys vfs.FS, dir string, c manCodebook, dim int, whole bool) (cb *quant.Codebook, err error) {
	m, err := fsys.Map(filepath.Join(dir, c.File))
	if err != nil {
		return nil, missing(c.File, err)
	}
	defer m.Close()
	if n := int64(len(m.Bytes())); n != c.Length {
		return nil, &CorruptError{File: c.File, Section: "length", Offset: -1, Want: c.Length, Got: n}
	}
	err = Guard(func() (err error) {
		cb, err = parseCodebook(m.Bytes(), c, dim, whole)
		return err
	})
	if err != nil {
		return nil, err
	}
	return cb, nil
}

func parseCodebook(b []byte, c manCodebook, dim int, whole bool) (*quant.Codebook, error) {
	if !whole && c.CRC == codebookCRC(b) {
		if cb, err := quant.ParseCodebookAs(b, c.ID); err == nil && cb.Dim() == dim {
			return cb, nil
		}
	}
	// A codebook's identity is the first half of its file's hash: no need to hash a whole one twice.
	cb, err := quant.ParseCodebook(b)
	if err != nil || !strings.HasPrefix(c.SHA256, cb.ID()) {
		if got := sha256hex(b); got != c.SHA256 {
			return nil, &CorruptError{File: c.File, Section: "sha256", Offset: -1, Want: c.SHA256, Got: got}
		}
	}
	if errors.Is(err, quant.ErrVersion) {
		return nil, fmt.Errorf("%s: %w: %w", c.File, ErrVersion, err)
	}
	if err != nil {
		return nil, &CorruptError{File: c.File, Offset: -1, Err: err}
	}
	if cb.Dim() != dim || cb.ID() != c.ID {
		return nil, &CorruptError{File: c.File, Offset: -1, Want: fmt.Sprintf("codebook %s of dimension %d", c.ID, dim), Got: fmt.Sprintf("codebook %s of dimension %d", cb.ID(), cb.Dim())}
	}
	return cb, nil
}

// codebookCRC is the checksum that ends a codebook's file, whatever it is worth, in hexadecimal.
func codebookCRC(file []byte) string {
	if len(file) < 4 {
		return ""
	}
	return hex32(binary.LittleEndian.Uint32(file[len(file)-4:]))
}

// openBook gives a codebook that the state has open, nil when it does not.
func (st *state) openBook(c manCodebook) *quant.Codebook {
	if st != nil && slices.Contains(st.man.Codebooks, c) {
		return st.books[c.ID]
	}
	return nil
}

// openSegment gives a segment that the state has open, with the deletions of another generation and a
// reference of its own; nil when it does not.
func (st *state) openSegment(fsys vfs.FS, dir string, s manSegment) (*Segment, error) {
	if st == nil {
		return nil, nil
	}
	i, ok := slices.BinarySearchFunc(st.man.Segments, s.Number, func(e manSegment, n uint64) int { return cmp.Compare(e.Number, n) })
	if !ok {
		return nil, nil
	}
	had, seg := st.man.Segments[i], st.segs[i]
	del := had.Deleted
	had.Deleted = s.Deleted
	if had != s {
		return nil, nil
	}
	switch d := s.Deleted; {
	case d == nil:
		seg = newSegment(seg.f, seg.own)
	case del == nil || *del != *d:
		set, err := loadDeletions(fsys, dir, s)
		if err != nil {
			return nil, err
		}
		seg = newSegment(seg.f, seg.own).with(set, d.Generation)
	}
	seg.f.ref()
	return seg, nil
}

// loadDeletions reads the deletions of a segment that has some.
func loadDeletions(fsys vfs.FS, dir string, s manSegment) (*roaring.Bitmap, error) {
	d := s.Deleted
	b, err := readWhole(fsys, dir, d.File, d.Length, d.SHA256)
	if err != nil {
		return nil, err
	}
	del, err := parseDeletions(b, d.File)
	if err != nil {
		return nil, err
	}
	if del.segment != s.Number || del.generation != d.Generation || del.docs != s.Docs || del.set.GetCardinality() != d.Docs {
		return nil, &CorruptError{File: d.File, Offset: -1, Want: fmt.Sprintf("%d of %d documents of segment %d", d.Docs, s.Docs, s.Number),
			Got: fmt.Sprintf("%d of %d of segment %d", del.set.GetCardinality(), del.docs, del.segment)}
	}
	return del.set, nil
}

func loadSegment(fsys vfs.FS, dir string, s manSegment, cb *quant.Codebook) (_ *Segment, err error) {
	f, err := openSegFile(fsys, filepath.Join(dir, s.File), s.File)
	if err != nil {
		return nil, missing(s.File, err)
	}
	defer func() {
		if err != nil {
			f.unref()
		}
	}()
	if err := f.matches(s, cb); err != nil {
		return nil, err
	}
	seg := newSegment(f, cb)
	if d := s.Deleted; d != nil {
		del, err := loadDeletions(fsys, dir, s)
		if err != nil {
			return nil, err
		}
		if err := Guard(func() error { seg = seg.with(del, d.Generation); return nil }); err != nil {
			return nil, err
		}
	}
	return seg, nil
}

// matches compares an open file with what the manifest says of it.
func (f *segFile) matches(s manSegment, cb *quant.Codebook) error {
	t := f.toc
	for _, c := range []struct {
		what      string
		want, got any
	}{
		{"length", s.Length, int64(f.foot.fileLen)},
		{"tail_sha256", s.Tail, f.root},
		{"number", s.Number, t.segment},
		{"codebook", s.Codebook, t.codebook},
		{"documents", s.Docs, t.docs},
		{"tokens", s.Tokens, t.tokens},
		{"dimension", uint32(cb.Dim()), t.dim},
		{"bits", uint32(cb.NBits()), t.nbits},
		{"centroids", uint32(cb.K()), t.k},
	} {
		if c.want != c.got {
			return &CorruptError{File: s.File, Section: c.what, Offset: -1, Want: c.want, Got: c.got}
		}
	}
	return nil
}

// newSegment gives an open file as a segment without deletions.
func newSegment(f *segFile, cb *quant.Codebook) *Segment {
	return &Segment{f: f, cb: cb, own: cb, number: f.toc.segment, live: f.toc.tokens}
}

// with gives the segment with other deletions, which generation gen wrote.
func (s *Segment) with(del *roaring.Bitmap, gen uint64) *Segment {
	c := *s
	c.del, c.delGen, c.live = del, gen, s.f.toc.tokens
	if del != nil {
		for it := del.Iterator(); it.HasNext(); {
			c.live -= uint64(s.DocTokens(it.Next()))
		}
	}
	return &c
}
