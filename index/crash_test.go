package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/internal/vfs/crashfs"
	"github.com/golbert/golbert/quant"
)

// The crash tests run a random workload on a file system in memory and stop it before every call that changes
// the disk. Each such crash point gives an image for every crashfs.Mode (nothing, half or all of what was not synced,
// names without content, content without names, torn writes, a killed process), which is opened, compared with what
// was acknowledged, checked, written to and opened again. TestCrashRandomWorkloads makes ten thousand images; a
// long run is
//
//	GOLBERT_CRASH_POINTS=1000000 go test -run TestCrashRandomWorkloads -v -timeout 0 ./index

// The kinds of loss.
const (
	lossUnopenable  = "unopenable"      // the index does not open, or not for writing
	lossLost        = "lost"            // an acknowledged document is missing or not what it was
	lossResurrected = "resurrected"     // a document is there that was deleted or never acknowledged
	lossCheck       = "check"           // Check finds fault
	lossLitter      = "litter"          // files lie about that nobody needs
	lossUnstable    = "unstable"        // what one open showed, the next one after a power cut does not
	lossWrong       = "wrong"           // the workload itself went wrong, without any crash
	lossProtocol    = "protocol breach" // a mapped file was changed, something was left open
)

// crashLoss is what a crash test finds.
type crashLoss struct {
	kind  string
	where string
	err   error
}

func (l *crashLoss) Error() string { return fmt.Sprintf("%s: %s: %v", l.kind, l.where, l.err) }

func loss(kind, where, format string, a ...any) error {
	return &crashLoss{kind, where, fmt.Errorf(format, a...)}
}

const crashDir = "/top/db/ix"

// crashDim is small, so that an image takes a millisecond.
const crashDim = 4

// crashRun is one workload.
type crashRun struct {
	seed uint64
	r    *rand.Rand
	disk *crashfs.FS
	// wrap, when set, is the mutant: it stands between the index and the disk, in the images, too.
	wrap  func(*crashfs.FS) vfs.FS
	o     Options
	ix    *Index
	model map[string]Document
	now   map[string]string // what the newest acknowledged commit says; nil: there is no index
	names int
	held  *Snapshot
	says  map[string]string // what held says

	queue []crashImage
	onOp  func(crashfs.Op)

	points, images, distinct, nested int
}

// crashImage is what a crash left behind.
type crashImage struct {
	disk   *crashfs.FS
	where  string
	killed bool
	nest   bool // crash again while it is opened
}

func newCrashRun(seed uint64, wrap func(*crashfs.FS) vfs.FS) *crashRun {
	c := &crashRun{seed: seed, r: newRand(seed), disk: crashfs.New(), wrap: wrap, model: map[string]Document{}}
	c.o = Options{Dim: crashDim, NBits: []int{4, 2, 8, 16, 1}[seed%5], Seed: seed, Workers: 1}
	switch seed % 4 {
	case 0:
		c.o.Codebook = crashBook(c.o.NBits)
	case 1:
		c.o.Centroids = 3
	case 2:
		c.o.Centroids, c.o.spoolMem = 2, 1
	case 3:
		c.o.spoolMem = 300 // centroids by the number of tokens: trained again as the index grows
	}
	if seed%3 == 0 {
		c.o.SegmentTokens = 12
	}
	if seed%2 == 1 {
		c.o.earlySync = 1
	}
	c.disk.Windows = seed%7 == 6
	c.disk.Before = func(op crashfs.Op) error {
		if op.Mutates() {
			if c.onOp != nil {
				c.onOp(op)
			}
			c.cut("before " + op.String())
		}
		return nil
	}
	return c
}

var crashBooks sync.Map

// crashBook gives a codebook that is made once.
func crashBook(nbits int) *quant.Codebook {
	once, _ := crashBooks.LoadOrStore(nbits, sync.OnceValue(func() *quant.Codebook {
		cb, err := quant.Train(context.Background(), vectors(newRand(1), 40, crashDim), &quant.TrainOptions{NBits: nbits, Centroids: 3})
		if err != nil {
			panic(err)
		}
		return cb
	}))
	return once.(func() *quant.Codebook)()
}

func (c *crashRun) view(d *crashfs.FS) vfs.FS {
	if c.wrap != nil {
		return c.wrap(d)
	}
	return d
}

// cut takes the images of this moment.
func (c *crashRun) cut(where string) {
	c.points++
	for m := range crashfs.Modes {
		c.images++
		c.queue = append(c.queue, crashImage{
			disk: c.disk.Crash(m, c.r), where: fmt.Sprintf("seed %d: %s, %v", c.seed, where, m),
			killed: m == crashfs.Killed, nest: m == crashfs.Killed && c.r.IntN(3) == 0 || c.r.IntN(30) == 0,
		})
	}
}

// crashDoc makes a small document.
func (c *crashRun) doc(id string) Document {
	d := Document{ID: id, Vectors: vectors(c.r, 1+c.r.IntN(4), crashDim), Text: fmt.Sprint("text ", c.names)}
	c.names++
	if c.r.IntN(2) == 0 {
		d.Meta = Metadata{"n": int64(c.names), "s": []string{"a", "b"}[c.r.IntN(2)]}
	}
	return d
}

// someIDs picks live ids.
func (c *crashRun) someIDs(share int) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(c.model)) {
		if c.r.IntN(share) == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// run does so many operations.
func (c *crashRun) run(steps int) error {
	ctx := context.Background()
	err := c.step("create", func() (map[string]Document, error) {
		c.o.fs = c.view(c.disk)
		if err := c.o.fs.Mkdir("/top"); err != nil {
			return nil, err
		}
		if err := c.o.fs.SyncDir("/"); err != nil { // the index is not to blame for what was there before
			return nil, err
		}
		var err error
		c.ix, err = Create(ctx, crashDir, &c.o)
		return c.model, err
	})
	for i := 0; i < steps && err == nil; i++ {
		err = c.operation(ctx, i)
		if err == nil && c.r.IntN(3) == 0 {
			err = c.snapshots()
		}
	}
	if err != nil {
		return err
	}
	if c.held != nil {
		if err := c.snapshots(); err != nil {
			return err
		}
	}
	if err := c.step("close", func() (map[string]Document, error) { return c.model, c.ix.Close() }); err != nil {
		return err
	}
	if in := c.disk.InUse(); len(in) > 0 {
		return loss(lossProtocol, fmt.Sprint("seed ", c.seed), "in use at the end: %v", in)
	}
	if v := c.disk.Violations(); len(v) > 0 {
		return loss(lossProtocol, fmt.Sprint("seed ", c.seed), "%v", v)
	}
	return nil
}

// snapshots opens or closes the snapshot that is held across commits.
func (c *crashRun) snapshots() (err error) {
	if c.held == nil {
		if c.held, err = c.ix.Snapshot(); err == nil {
			c.says, err = dump(c.held)
		}
		return err
	}
	got, err := dump(c.held)
	if err == nil && !reflect.DeepEqual(got, c.says) {
		err = loss(lossWrong, fmt.Sprint("seed ", c.seed), "an open snapshot has changed")
	}
	if err != nil {
		return err
	}
	return c.step("close of a snapshot", func() (map[string]Document, error) {
		err := c.held.Close()
		c.held = nil
		return c.model, err
	})
}

// operation does one random operation.
func (c *crashRun) operation(ctx context.Context, i int) error {
	add := func(ctx context.Context, upsert bool) (map[string]Document, error) {
		next := maps.Clone(c.model)
		var docs []Document
		for range 1 + c.r.IntN(5) {
			d := c.doc(fmt.Sprint("d", c.names))
			docs, next[d.ID] = append(docs, d), d
		}
		if upsert {
			for _, id := range c.someIDs(3) {
				d := c.doc(id)
				docs, next[id] = append(docs, d), d
			}
		}
		_, err := c.ix.Add(ctx, seq(docs), &AddOptions{Upsert: upsert})
		return next, err
	}
	switch op := c.r.IntN(24); {
	case i == 0 || op < 6:
		return c.step("add", func() (map[string]Document, error) { return add(ctx, false) })
	case op < 10:
		return c.step("upsert", func() (map[string]Document, error) { return add(ctx, true) })
	case op < 14:
		return c.step("delete", func() (map[string]Document, error) {
			next, ids := maps.Clone(c.model), c.someIDs(2+c.r.IntN(3)*3)
			if c.r.IntN(12) == 0 {
				ids = slices.Sorted(maps.Keys(c.model)) // all of them
			}
			for _, id := range ids {
				delete(next, id)
			}
			_, err := c.ix.Delete(ctx, ids, nil)
			return next, err
		})
	case op < 16:
		return c.step("reopen", func() (map[string]Document, error) {
			if err := c.ix.Close(); err != nil {
				return nil, err
			}
			var err error
			c.ix, err = Open(ctx, crashDir, &OpenOptions{fs: c.view(c.disk), Verify: op == 15})
			return c.model, err
		})
	case op < 18: // given up at some point
		return c.step("cancelled upsert", func() (map[string]Document, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			n := c.r.IntN(14)
			c.onOp = func(crashfs.Op) {
				if n--; n < 0 {
					cancel()
				}
			}
			defer func() { c.onOp = nil }()
			next, err := add(ctx, true)
			if errors.Is(err, context.Canceled) {
				return c.model, nil
			}
			return next, err
		})
	default:
		return c.extra(ctx)
	}
}

// extra does one of the operations that change no document.
func (c *crashRun) extra(ctx context.Context) error {
	f := crashExtras[c.r.IntN(len(crashExtras))]
	return c.step(f.name, func() (map[string]Document, error) { return f.do(ctx, c) })
}

// crashExtra is an operation beside adding and deleting; it gives the documents that should be there then.
type crashExtra struct {
	name string
	do   func(context.Context, *crashRun) (map[string]Document, error)
}

var crashExtras = []crashExtra{
	{"refused add", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		bad := c.doc("bad")
		bad.Vectors = vectors(c.r, 1, crashDim+1)
		_, err := c.ix.Add(ctx, seq([]Document{c.doc("good"), bad}), nil)
		var de *DocumentError
		if !errors.As(err, &de) {
			return nil, fmt.Errorf("want a DocumentError: %w", err)
		}
		return c.model, nil
	}},
	{"update", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		next, gone := maps.Clone(c.model), c.someIDs(3)
		for _, id := range gone {
			delete(next, id)
		}
		d := c.doc(fmt.Sprint("u", c.names))
		next[d.ID] = d
		if len(gone) > 0 { // one comes back
			d2 := c.doc(gone[0])
			next[d2.ID] = d2
			_, err := c.ix.Update(ctx, Batch{Delete: gone, Add: seq([]Document{d, d2})}, nil)
			return next, err
		}
		_, err := c.ix.Update(ctx, Batch{Add: seq([]Document{d})}, nil)
		return next, err
	}},
	{"compact", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		_, err := c.ix.Compact(ctx, nil)
		return c.model, err
	}},
	{"compact into small segments", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		_, err := c.ix.Compact(ctx, &CompactOptions{SegmentTokens: 7, Recode: true})
		return c.model, err
	}},
	{"retrain", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		_, err := c.ix.Compact(ctx, &CompactOptions{Retrain: true})
		if c.o.Codebook != nil && errors.Is(err, ErrFixedCodebook) {
			err = nil
		}
		return c.model, err
	}},
	{"cancelled compact", func(ctx context.Context, c *crashRun) (map[string]Document, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		n := c.r.IntN(8)
		c.onOp = func(crashfs.Op) {
			if n--; n < 0 {
				cancel()
			}
		}
		defer func() { c.onOp = nil }()
		_, err := c.ix.Compact(ctx, nil)
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return c.model, err
	}},
}

// step does one operation, which gives the documents that should be there when it returns, and examines what
// every crash on the way would have left.
func (c *crashRun) step(name string, do func() (map[string]Document, error)) error {
	before := c.now
	at := fmt.Sprintf("seed %d: %s", c.seed, name)
	next, err := do()
	if err != nil {
		return loss(lossWrong, at, "%w", err)
	}
	if name != "close" {
		s, err := c.ix.Snapshot()
		if err != nil {
			return loss(lossWrong, at, "%w", err)
		}
		c.now, err = dump(s)
		if err == nil {
			err = modelSays(s, next)
		}
		_ = s.Close()
		if err != nil {
			return loss(lossWrong, at, "%w", err)
		}
	}
	c.model = next
	during := c.queue
	c.queue = nil
	c.cut("after " + name)
	after := c.queue
	c.queue = nil
	seen := map[[32]byte]bool{}
	for i, im := range slices.Concat(during, after) {
		allowed := []map[string]string{c.now}
		if i < len(during) && !reflect.DeepEqual(before, c.now) {
			allowed = []map[string]string{before, c.now}
		}
		if i == len(during) {
			clear(seen)
		}
		im.where += ", during " + name
		if !im.killed && !im.nest {
			h := im.disk.Hash()
			if seen[h] {
				continue
			}
			seen[h] = true
		}
		c.distinct++
		if err := c.examine(im, allowed); err != nil {
			return err
		}
	}
	return nil
}

// modelSays compares ids, texts, metadata and lengths with the documents that were given.
func modelSays(s *Snapshot, model map[string]Document) error {
	if s.NumDocs() != len(model) {
		return fmt.Errorf("%d documents, want %d", s.NumDocs(), len(model))
	}
	for id, d := range model {
		seg, ord, ok, err := s.Find(id)
		if err != nil || !ok {
			return fmt.Errorf("document %s: %v %w", id, ok, err)
		}
		text, err := seg.Text(ord)
		if err != nil {
			return err
		}
		meta, err := seg.Metadata(ord)
		if err != nil {
			return err
		}
		if text != d.Text || seg.DocTokens(ord) != d.Vectors.Rows || !reflect.DeepEqual(meta, d.Meta) {
			return fmt.Errorf("document %s is not the one that was added", id)
		}
	}
	return nil
}

// examine opens an image and compares it with what may be there; nil stands for no index.
func (c *crashRun) examine(im crashImage, allowed []map[string]string) error {
	ctx := context.Background()
	fsys := c.view(im.disk)
	var again []crashImage
	cutAgain := func() {
		if im.nest {
			for _, m := range []crashfs.Mode{crashfs.Lost, crashfs.Torn} {
				c.nested++
				again = append(again, crashImage{disk: im.disk.Crash(m, c.r), where: fmt.Sprintf("%s, then again %v", im.where, m)})
			}
		}
	}
	im.disk.Before = func(op crashfs.Op) error {
		if op.Mutates() {
			cutAgain()
		}
		return nil
	}
	ix, err := Open(ctx, crashDir, &OpenOptions{fs: fsys})
	im.disk.Before = nil
	if errors.Is(err, ErrNotFound) {
		if !slices.ContainsFunc(allowed, func(m map[string]string) bool { return m == nil }) {
			return loss(lossLost, im.where, "%w", err)
		}
		o := c.o
		o.fs = fsys
		if err := fsys.Mkdir("/top"); err != nil {
			return err
		}
		if ix, err = Create(ctx, crashDir, &o); err != nil {
			return loss(lossUnopenable, im.where, "create again: %w", err)
		}
		return ix.Close()
	}
	if err != nil {
		return loss(lossUnopenable, im.where, "%w", err)
	}
	got, err := c.look(ix, im.where, allowed)
	if err != nil {
		return err
	}
	for _, a := range again { // while it was opened: any state that was allowed; it may be less than opening showed
		if err := c.examine(a, allowed); err != nil {
			return err
		}
	}
	// What it has shown, it must keep.
	if im.nest {
		after := crashImage{disk: im.disk.Crash(crashfs.Lost, c.r), where: im.where + ", then again after opening"}
		if err := c.examine(after, []map[string]string{got}); err != nil {
			return loss(lossUnstable, im.where, "%w", err)
		}
	}
	// It takes another document.
	if _, err := ix.Add(ctx, seq([]Document{{ID: "one more", Vectors: vectors(newRand(3), 2, crashDim)}}), nil); err != nil {
		return loss(lossUnopenable, im.where, "add: %w", err)
	}
	s, err := ix.Snapshot()
	if err != nil {
		return err
	}
	_, _, ok := s.Lookup("one more")
	n, want := s.NumDocs(), len(got)
	_ = s.Close()
	if err := ix.Close(); err != nil || !ok || n != want {
		return loss(lossUnopenable, im.where, "after another Add: %v, %d documents, want %d, %v", ok, n, want, err)
	}
	rep, err := check(ctx, fsys, crashDir)
	if err != nil || rep.Documents != n {
		return loss(lossCheck, im.where, "%+v: %w", rep, err)
	}
	if in := im.disk.InUse(); len(in) > 0 {
		return loss(lossProtocol, im.where, "in use at the end: %v", in)
	}
	return nil
}

// look compares an opened image with what is allowed, and gives what it says.
func (c *crashRun) look(ix *Index, where string, allowed []map[string]string) (map[string]string, error) {
	s, err := ix.Snapshot()
	if err != nil {
		return nil, loss(lossUnopenable, where, "%w", err)
	}
	defer s.Close()
	got, err := dump(s)
	if err != nil {
		return nil, loss(lossUnopenable, where, "%w", err)
	}
	if !slices.ContainsFunc(allowed, func(m map[string]string) bool { return m != nil && reflect.DeepEqual(m, got) }) {
		return nil, diffStates(where, got, allowed)
	}
	// Nothing lies about.
	names, err := ix.fs.List(crashDir)
	if err != nil {
		return nil, err
	}
	used := s.st.man.files()
	for _, n := range names {
		if n != lockName && n != manifestName(s.Generation()) && !used[n] {
			return nil, loss(lossLitter, where, "%s is left, of %v", n, names)
		}
	}
	return got, nil
}

func diffStates(where string, got map[string]string, allowed []map[string]string) error {
	for _, want := range allowed {
		for id := range want {
			if got[id] != want[id] && id != "" {
				return loss(lossLost, where, "document %q says %q, want %q; %d allowed states", id, got[id], want[id], len(allowed))
			}
		}
	}
	return loss(lossResurrected, where, "%v documents, want one of %d states", len(got)-1, len(allowed))
}

// crashImages gives the number of images that a test should make.
func crashImages(t *testing.T, ordinary int) int {
	if testing.Short() {
		ordinary /= 5
	}
	if s := os.Getenv("GOLBERT_CRASH_POINTS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return ordinary
}

// TestCrashRandomWorkloads is the main crash test.
func TestCrashRandomWorkloads(t *testing.T) {
	want := crashImages(t, 10_000)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var points, images, distinct, nested int
	losses := map[string]int{}
	next := uint64(0)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				if images >= want || len(losses) > 0 {
					mu.Unlock()
					return
				}
				seed := next
				next++
				mu.Unlock()
				c := newCrashRun(seed, nil)
				err := c.run(12)
				mu.Lock()
				points, images, distinct, nested = points+c.points, images+c.images, distinct+c.distinct, nested+c.nested
				if err != nil {
					kind := lossWrong
					var l *crashLoss
					if errors.As(err, &l) {
						kind = l.kind
					}
					losses[kind]++
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("crash_points=%d images=%d distinct=%d crashes_in_recovery=%d workloads=%d lost=%d unopenable=%d resurrected=%d other=%d",
		points, images, distinct, nested, next, losses[lossLost]+losses[lossUnstable], losses[lossUnopenable], losses[lossResurrected],
		losses[lossCheck]+losses[lossLitter]+losses[lossWrong]+losses[lossProtocol])
}

// mutant is a way to get durability wrong, as a layer above the disk. It reports what it has broken by hits.
type mutant struct {
	name string
	wrap func(d *crashfs.FS, hits *int) vfs.FS
}

// ignoring makes a mutant that skips some syncs. manifestLast says whether a manifest was renamed since the
// directory was synced last.
func ignoring(what func(op crashfs.Op, base string, manifestLast bool) bool) func(d *crashfs.FS, hits *int) vfs.FS {
	return func(d *crashfs.FS, hits *int) vfs.FS {
		last := false
		d.After = func(op crashfs.Op) error {
			if op.Kind == crashfs.Rename {
				last = isManifest(op.Path)
			}
			return nil
		}
		d.Ignore = func(op crashfs.Op) bool {
			ignore := what(op, filepath.Base(op.Path), last)
			if op.Kind == crashfs.SyncDir {
				last = false
			}
			if ignore {
				*hits++
			}
			return ignore
		}
		return d
	}
}

func syncOf(glob string) func(d *crashfs.FS, hits *int) vfs.FS {
	return ignoring(func(op crashfs.Op, base string, _ bool) bool {
		ok, _ := filepath.Match(glob, base)
		return ok && op.Kind == crashfs.Sync
	})
}

func isManifest(path string) bool {
	k, _ := classify(filepath.Base(path))
	return k == kindManifest
}

// manifestFirst renames the manifest before the data files.
type manifestFirst struct {
	*crashfs.FS
	hits  *int
	later [][2]string
}

func (m *manifestFirst) Rename(from, to string) error {
	if !isManifest(to) {
		m.later = append(m.later, [2]string{from, to})
		return nil
	}
	err := m.FS.Rename(from, to)
	for _, r := range m.later {
		*m.hits++
		err = errors.Join(err, m.FS.Rename(r[0], r[1]))
	}
	m.later = nil
	return err
}

// manifestInPlace writes the manifest under its final name at once.
type manifestInPlace struct {
	*crashfs.FS
	hits *int
}

func (m *manifestInPlace) Create(path string) (vfs.File, error) {
	if base := path[:len(path)-len(filepath.Ext(path))]; filepath.Ext(path) == tmpSuffix && isManifest(base) {
		*m.hits++
		path = base
	}
	return m.FS.Create(path)
}

func (m *manifestInPlace) Rename(from, to string) error {
	if isManifest(to) {
		return nil
	}
	return m.FS.Rename(from, to)
}

// removeEarly removes the manifest before before the new one is there.
type removeEarly struct {
	*crashfs.FS
	hits *int
}

func (m *removeEarly) Rename(from, to string) error {
	if isManifest(to) {
		names, err := m.FS.List(filepath.Dir(to))
		if err != nil {
			return err
		}
		for _, n := range names {
			if isManifest(n) {
				*m.hits++
				_ = m.FS.Remove(filepath.Join(filepath.Dir(to), n))
			}
		}
	}
	return m.FS.Rename(from, to)
}

// TestCrashMutants breaks durability in one way after the other and makes sure that the crash test notices.
func TestCrashMutants(t *testing.T) {
	inIndex := func(op crashfs.Op) bool {
		return op.Kind == crashfs.SyncDir && filepath.Clean(op.Path) == filepath.Clean(crashDir)
	}
	mutants := []mutant{
		{"no sync of segments", syncOf("seg-*")},
		{"no sync of codebooks", syncOf("codebook-*")},
		{"no sync of deletions", syncOf("del-*")},
		{"no sync of manifests", syncOf("MANIFEST-*")},
		{"no sync of the directory before the manifest's rename", ignoring(func(op crashfs.Op, _ string, manifestLast bool) bool {
			return inIndex(op) && !manifestLast && op.N > 0
		})},
		{"no sync of the directory after the manifest's rename", ignoring(func(op crashfs.Op, _ string, manifestLast bool) bool {
			return inIndex(op) && manifestLast
		})},
		{"no sync of the directory before cleaning", func(d *crashfs.FS, hits *int) vfs.FS {
			opened := false
			d.After = func(op crashfs.Op) error {
				if op.Kind == crashfs.Create {
					opened = true // a commit has begun: from here on directories are synced
				}
				return nil
			}
			d.Ignore = func(op crashfs.Op) bool {
				if inIndex(op) && !opened {
					*hits++
					return true
				}
				return false
			}
			return d
		}},
		{"no sync of the directories above a new index", ignoring(func(op crashfs.Op, _ string, _ bool) bool {
			return op.Kind == crashfs.SyncDir && !inIndex(op) && op.Path != "/"
		})},
		{"manifest renamed before the data files", func(d *crashfs.FS, hits *int) vfs.FS { return &manifestFirst{FS: d, hits: hits} }},
		{"manifest written under its final name", func(d *crashfs.FS, hits *int) vfs.FS { return &manifestInPlace{d, hits} }},
		{"old manifest removed before the new one is there", func(d *crashfs.FS, hits *int) vfs.FS { return &removeEarly{d, hits} }},
	}
	caught := 0
	for _, m := range mutants {
		hits, images := 0, 0
		var err error
		for seed := uint64(0); seed < 40 && err == nil; seed++ {
			c := newCrashRun(seed, func(d *crashfs.FS) vfs.FS { return m.wrap(d, &hits) })
			err = c.run(12)
			images += c.distinct
		}
		var l *crashLoss
		if assertErr := errors.As(err, &l); !assertErr || l.kind == lossWrong || hits == 0 {
			t.Errorf("%s: not noticed in %d images (%d hits): %v", m.name, images, hits, err)
			continue
		}
		caught++
		t.Logf("%s: noticed in image %d: %s", m.name, images, l.kind)
	}
	t.Logf("mutants=%d caught=%d", len(mutants), caught)
}
