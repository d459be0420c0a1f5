package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// RepairReport says what Repair saved and what is lost.
type RepairReport struct {
	Generation uint64 // of the damaged index; 0 when its manifest is lost
	// ManifestLost says that the manifest could not be read: what was saved comes from the files that lay
	// there, so documents may have come back that were deleted, and options and attributes are lost.
	ManifestLost bool
	Saved        int // documents in the new index
	Lost         int // live documents that are not, as far as their number is known
	// LostIDs names those of them whose ids could be read, in order.
	LostIDs  []string
	Segments []SegmentRepair
	Problems []error // what was found to be damaged
}

// SegmentRepair says what became of one segment.
type SegmentRepair struct {
	Name  string
	Saved int
	Lost  int
	// Returned says that the list of its deleted documents is lost: they are back, unless a document of the
	// same id replaced them.
	Returned bool
	Err      error // the first damage met, nil when it was whole
}

// WriteTo writes the report for people.
func (r *RepairReport) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "saved %d documents, lost %d\n", r.Saved, r.Lost)
	if r.ManifestLost {
		b.WriteString("the manifest is lost: deleted documents may be back, options and attributes are not\n")
	}
	for _, s := range r.Segments {
		state := "whole"
		if s.Err != nil {
			state = s.Err.Error()
		}
		if s.Returned {
			state += "; its deleted documents are back"
		}
		fmt.Fprintf(&b, "%s: saved %d, lost %d: %s\n", s.Name, s.Saved, s.Lost, state)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "damage: %v\n", p)
	}
	for _, id := range r.LostIDs {
		fmt.Fprintf(&b, "lost: %q\n", id)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// String is what WriteTo writes.
func (r *RepairReport) String() string {
	var b strings.Builder
	_, _ = r.WriteTo(&b)
	return b.String()
}

// Repair makes a new index in dst, which must be absent or empty, of all documents of the index in dir that
// are whole: vectors, text, metadata and id. It changes nothing in dir, takes no lock there, and works on a
// sound index, too. The report lists what is lost. The error is for a repair that could not be made; then
// dst holds nothing of use. If even the manifest is lost, Repair gathers what the segment files hold.
func Repair(ctx context.Context, dir, dst string) (*RepairReport, error) {
	return repair(ctx, vfs.OS{}, dir, dst)
}

func repair(ctx context.Context, fsys vfs.FS, dir, dst string) (_ *RepairReport, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("index: repair: %w", err)
	}
	r := &RepairReport{}
	m, err := r.manifest(fsys, dir, names)
	if err != nil {
		return nil, err
	}
	books := make(map[string]*quant.Codebook)
	for _, c := range m.Codebooks {
		cb, err := loadCodebook(fsys, dir, c, m.Dim, true)
		if err != nil {
			r.Problems = append(r.Problems, err)
			b := unflipped(fsys, filepath.Join(dir, c.File), c.Length, c.SHA256)
			if cb, err = quant.ParseCodebook(b); err != nil || cb.ID() != c.ID || cb.Dim() != m.Dim {
				continue
			}
		}
		books[c.ID] = cb
	}
	opts, err := m.options()
	if err != nil {
		return nil, err
	}
	opts.fs = fsys
	if n := len(m.Codebooks); m.FixedCodebook && books[m.Codebooks[n-1].ID] != nil {
		opts.Codebook, opts.Centroids = books[m.Codebooks[n-1].ID], 0
	}
	ix, err := Create(ctx, dst, opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := ix.Close(); err == nil {
			err = cerr
		}
	}()
	if err := r.salvage(ctx, ix, dir, m, books); err != nil {
		return nil, err
	}
	if _, err := check(ctx, fsys, dst); err != nil {
		return nil, fmt.Errorf("index: repair: the new index: %w", err)
	}
	return r, nil
}

// manifest reads the newest manifest, or makes one up from the files that are there.
func (r *RepairReport) manifest(fsys vfs.FS, dir string, names []string) (*manifest, error) {
	gen, err := findNewest(fsys, dir)
	if err != nil {
		return nil, err
	}
	var lost error
	if gen > 0 {
		name := manifestName(gen)
		b, err := fsys.ReadFile(filepath.Join(dir, name), maxManifestBytes)
		if err == nil {
			m, perr := parseManifest(b, name)
			if perr == nil {
				r.Generation = gen
				return m, nil
			}
			err = perr
		}
		if errors.Is(err, ErrVersion) {
			return nil, err
		}
		lost = err
	}
	m := &manifest{
		Format: manifestFormat, Version: formatVersion, Generation: 1, Normalize: AsIs.String(), NextSegment: 1, AllowEmpty: true,
		MaxDocTokens: HardMaxDocTokens, SegmentTokens: DefaultSegmentTokens, Attributes: map[string]string{}, Codebooks: []manCodebook{}, Segments: []manSegment{},
	}
	found := m.gather(fsys, dir, names)
	if !found {
		if lost == nil {
			return nil, fmt.Errorf("%s: %w", dir, ErrNotFound)
		}
		return nil, fmt.Errorf("index: repair: no segment and codebook are left: %w", lost)
	}
	r.ManifestLost = true
	if lost == nil {
		lost = &CorruptError{File: "MANIFEST", Offset: -1, Got: "no manifest"}
	}
	r.Problems = append(r.Problems, lost)
	return m, nil
}

// gather fills in codebooks, segments and deletions from the files in a directory.
func (m *manifest) gather(fsys vfs.FS, dir string, names []string) bool {
	for _, n := range names {
		if filepath.Ext(n) != ".gbc" {
			continue
		}
		b, err := fsys.ReadFile(filepath.Join(dir, n), 1<<40)
		if err != nil {
			continue
		}
		cb, err := quant.ParseCodebook(b)
		if err != nil && unflip(b, func(b []byte) bool { return codebookName(sha256hex(b)[:32]) == n }) {
			cb, err = quant.ParseCodebook(b)
		}
		if err != nil || codebookName(cb.ID()) != n || m.Dim != 0 && m.Dim != cb.Dim() {
			continue
		}
		m.Dim, m.NBits = cb.Dim(), cb.NBits()
		m.Codebooks = append(m.Codebooks, manCodebook{ID: cb.ID(), File: n, Length: int64(len(b)), SHA256: sha256hex(b), CRC: codebookCRC(b), Tokens: max(cb.TrainTokens(), 1)})
	}
	slices.SortStableFunc(m.Codebooks, func(a, b manCodebook) int { // what is extended first
		return int(int64(a.Length) - int64(b.Length))
	})
	for _, n := range names {
		if k, _ := classify(n); k != kindData || filepath.Ext(n) != ".gbs" {
			continue
		}
		f, _, err := openDamaged(fsys, filepath.Join(dir, n), n)
		if err != nil {
			continue
		}
		t := f.toc
		s := manSegment{Number: t.segment, File: n, Length: int64(f.foot.fileLen), Tail: f.root, Codebook: t.codebook, Docs: t.docs, Tokens: t.tokens}
		f.unref()
		if segmentName(s.Number) != n {
			continue
		}
		s.Deleted = newestDeletions(fsys, dir, names, s)
		m.Segments = append(m.Segments, s)
		m.NextSegment = s.Number + 1
	}
	return len(m.Segments) > 0 && len(m.Codebooks) > 0
}

// newestDeletions finds the readable deletions file of the highest generation.
func newestDeletions(fsys vfs.FS, dir string, names []string, s manSegment) (best *manDel) {
	prefix := strings.TrimSuffix(deletionsName(s.Number, 0), fmt.Sprintf("%016x.gbd", 0))
	for _, n := range names { // sorted, so the last is the newest
		hex, ok := strings.CutPrefix(n, prefix)
		if k, _ := classify(n); !ok || k != kindData {
			continue
		}
		gen, err := strconv.ParseUint(strings.TrimSuffix(hex, ".gbd"), 16, 64)
		if err != nil {
			continue
		}
		b, err := fsys.ReadFile(filepath.Join(dir, n), 1<<32)
		if err != nil {
			continue
		}
		if d, err := parseDeletions(b, n); err == nil && d.segment == s.Number && d.docs == s.Docs {
			best = &manDel{Generation: gen, File: n, Length: int64(len(b)), SHA256: sha256hex(b), Docs: d.set.GetCardinality()}
		}
	}
	return best
}

// salvage copies every whole document into a new index, in one commit.
func (r *RepairReport) salvage(ctx context.Context, ix *Index, dir string, m *manifest, books map[string]*quant.Codebook) (err error) {
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	base, err := ix.current()
	if err != nil {
		return err
	}
	defer base.release()
	a := ix.newAdder(ctx, base, &UpdateOptions{NoCompact: true})
	defer a.close()
	for _, c := range m.Codebooks {
		if cb := books[c.ID]; cb != nil && opened(a.c, c.ID) == nil {
			if err := a.c.addCodebook(cb, c.Tokens); err != nil {
				return err
			}
		}
	}
	var lost []string
	for _, s := range m.Segments {
		sr, ids, err := a.salvageSegment(dir, s, opened(a.c, s.Codebook))
		if err != nil {
			return err
		}
		lost = append(lost, ids...)
		r.Segments = append(r.Segments, sr)
		r.Lost += sr.Lost
		if sr.Err != nil {
			r.Problems = append(r.Problems, sr.Err)
		}
	}
	if a.docs > 0 {
		if err := a.finish(); err != nil {
			return err
		}
	}
	if a.docs > 0 || len(a.c.man.Codebooks) != len(base.man.Codebooks) {
		if err := a.commit(); err != nil {
			return err
		}
	}
	r.Saved = a.res.Added
	// An id may be lost in one segment and live in another, where deletions came back.
	now, err := ix.current()
	if err != nil {
		return err
	}
	defer now.release()
	for _, id := range lost {
		if _, _, ok, err := findLive(now.segs, id, nil); err != nil {
			return err
		} else if !ok {
			r.LostIDs = append(r.LostIDs, id)
		}
	}
	return nil
}

// opened gives the commit's own instance of a codebook.
func opened(c *commit, id string) *quant.Codebook { return c.books[id] }

// salvageSegment adds the whole documents of one segment. The error is for what concerns the new index.
func (a *adder) salvageSegment(dir string, s manSegment, cb *quant.Codebook) (sr SegmentRepair, lost []string, err error) {
	sr = SegmentRepair{Name: s.File, Lost: int(s.Docs)}
	if s.Deleted != nil {
		sr.Lost -= int(s.Deleted.Docs)
	}
	f, damage, err := openDamaged(a.ix.fs, filepath.Join(dir, s.File), s.File)
	if err != nil {
		sr.Err = missing(s.File, err)
		return sr, nil, nil
	}
	defer f.unref()
	if damage == nil {
		// Damage in what is made anew, such as postings, costs no document and is told, too.
		damage = f.verifyAll(a.ctx)
		if a.ctx.Err() != nil {
			return sr, nil, context.Cause(a.ctx)
		}
	}
	sr.Err = damage
	del := roaring.New()
	if s.Deleted != nil {
		if d, derr := loadDeletions(a.ix.fs, dir, s); derr != nil {
			sr.Err = errors.Join(sr.Err, derr)
			b := unflipped(a.ix.fs, filepath.Join(dir, s.Deleted.File), s.Deleted.Length, s.Deleted.SHA256)
			if d, err := parseDeletions(b, s.Deleted.File); err == nil && d.docs == s.Docs {
				del = d.set
			} else {
				sr.Returned = true
				sr.Lost = int(s.Docs)
			}
		} else {
			del = d
		}
	}
	if cb == nil {
		if sr.Err == nil {
			sr.Err = &CorruptError{File: codebookName(s.Codebook), Offset: -1, Got: "damaged, and with it all that it coded"}
		}
		for ord := range uint32(f.toc.docs) {
			if b, err := f.id(uint64(ord)); err == nil && !del.Contains(ord) {
				lost = append(lost, string(b))
			}
		}
		return sr, lost, nil
	}
	if err := f.matches(s, cb); err != nil {
		sr.Err = err
		return sr, nil, nil
	}
	if err := a.switchTo(cb); err != nil {
		return sr, nil, err
	}
	seg := newSegment(f, cb)
	p := &copier{ctx: a.ctx, to: cb}
	text := textReader{f: f}
	for ord := range uint32(f.toc.docs) {
		if del.Contains(ord) {
			continue
		}
		if a.ctx.Err() != nil {
			return sr, nil, context.Cause(a.ctx)
		}
		d := stored{ord: ord}
		rerr := f.checkDoc(ord)
		if rerr == nil {
			rerr = p.read(seg, &text, &d)
		} else if b, err := f.id(uint64(ord)); err == nil {
			d.id = string(b)
		}
		if rerr == nil {
			rerr = checkID(d.id)
		}
		if rerr != nil {
			if sr.Err == nil {
				sr.Err = rerr
			}
			if d.id != "" {
				lost = append(lost, d.id)
			}
			continue
		}
		d.residual = seg.MeanResidual() * float64(len(d.codes))
		if err := a.put(&d); err != nil {
			return sr, nil, err
		}
		sr.Saved++
		sr.Lost--
	}
	return sr, lost, nil
}
