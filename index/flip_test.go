package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/quant"
)

// flipped makes the index whose bits are flipped: small, with every kind of file and of section.
func flipped(t *testing.T) (m *memFS, want map[string]string) {
	t.Helper()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := Create(ctx, dir, &Options{Dim: crashDim, Centroids: 2})
	require.NoError(t, err)
	c := &crashRun{r: newRand(6)}
	docs := []Document{c.doc("a"), c.doc("b"), c.doc("c"), c.doc("d")}
	docs[0].Meta = Metadata{"n": int64(7), "s": "x"}
	docs[1].Meta = Metadata{"s": "y", "f": 1.5}
	docs[2].Text = strings.Repeat("compressible ", 9)
	mustAdd(t, ix, docs...)
	_, err = ix.Delete(ctx, []string{"b"}, nil)
	require.NoError(t, err)
	s, err := ix.Snapshot()
	require.NoError(t, err)
	want, err = dump(s)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, ix.Close())
	return newMemFS(t, dir), want
}

// TestFlipEveryBit flips each bit of each file of a small index. Opening and reading everything gives an error
// that names the file, or what was there before; Check and Open with Verify give an error in any case; and the
// file alone, without the manifest that would tell, is refused, too.
func TestFlipEveryBit(t *testing.T) {
	m, want := flipped(t)
	ctx := context.Background()
	stride := 1
	if testing.Short() {
		stride = 19
	}
	type job struct {
		name string
		at   int
	}
	jobs := make(chan job, 64)
	var mu sync.Mutex
	var wg sync.WaitGroup
	caught, total, size := map[string]int{}, 0, 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			mine, local, n := &memFS{files: maps.Clone(m.files)}, map[string]int{}, 0
			for j := range jobs {
				whole := m.files[j.name]
				b := slices.Clone(whole)
				mine.files[j.name] = b
				for bit := range 8 {
					b[j.at] ^= 1 << bit
					n++
					how, err := flipOutcome(ctx, mine, j.name, want, (j.at+bit)%8 == 0)
					if err != nil {
						t.Errorf("%s, byte %d, bit %d: %v", j.name, j.at, bit, err)
					}
					local[how]++
					b[j.at] ^= 1 << bit
				}
				mine.files[j.name] = whole
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
			for k, v := range local {
				caught[k] += v
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		size += len(m.files[name])
		tail := len(m.files[name]) - segFooterLen - 8 // the footer and some of what is before are never passed over
		for at := range m.files[name] {
			if at%stride == 0 || at > tail {
				jobs <- job{name, at}
			}
		}
		if filepath.Ext(name) == ".gbs" {
			f, err := parseSegFile(m.files[name], name)
			require.NoError(t, err)
			jobs <- job{name, int(f.foot.tableOff)} // the checksum table
		}
	}
	close(jobs)
	wg.Wait()
	for _, k := range slices.Sorted(maps.Keys(caught)) {
		t.Logf("caught by %s: %d", k, caught[k])
	}
	// Damage is reported as what it is, not by whatever goes wrong later.
	for _, k := range []string{"gbs: checksum table", "gbs: table of contents", "gbs: footer", "gbd: sha256", "gbc: sha256", "manifest: checksum"} {
		require.Positive(t, caught["opening, "+k], k)
	}
	t.Logf("files=%d bytes=%d flips=%d undetected=%d wrong_results=0", len(m.files), size, total, caught["nothing"])
}

// flipOutcome says what caught a flip. always asks for the expensive checks even when reading failed.
func flipOutcome(ctx context.Context, m *memFS, name string, want map[string]string, always bool) (string, error) {
	names := func(err error) error {
		var ce *CorruptError
		if errors.As(err, &ce) && ce.File == name && strings.Contains(err.Error(), name) {
			return nil
		}
		return fmt.Errorf("want an error that names the file, got %w", err)
	}
	if err := aloneRefused(ctx, name, m.files[name]); err != nil {
		return "nothing", err
	}
	ix, err := Open(ctx, "mem", &OpenOptions{ReadOnly: true, fs: m})
	how := ""
	if err == nil {
		var got map[string]string
		s, serr := ix.Snapshot()
		if serr != nil {
			return "nothing", serr
		}
		if got, err = dump(s); err == nil && !reflect.DeepEqual(got, want) {
			return "nothing", errors.New("wrong results")
		}
		_, _ = s.Close(), ix.Close()
		if err != nil {
			how = "reading, checksum of a block"
		}
	} else {
		kind := strings.TrimLeft(filepath.Ext(name), ".")
		if kind == "" {
			kind = "manifest"
		}
		section := "structure"
		var ce *CorruptError
		if errors.As(err, &ce) && ce.Section != "" {
			section = ce.Section
		}
		how = fmt.Sprintf("opening, %s: %s", kind, section)
	}
	if err != nil {
		if err := names(err); err != nil {
			return "nothing", err
		}
	}
	if err == nil || always {
		if _, cerr := check(ctx, m, "mem"); cerr == nil || names(cerr) != nil {
			return "nothing", fmt.Errorf("check: %w", cerr)
		}
		if _, verr := Open(ctx, "mem", &OpenOptions{ReadOnly: true, Verify: true, fs: m}); verr == nil || names(verr) != nil {
			return "nothing", fmt.Errorf("open with Verify: %w", verr)
		}
	}
	if how == "" {
		how = "Check and Verify, in bytes that nothing reads"
	}
	return how, nil
}

// aloneRefused makes sure that a damaged file is refused by its own checksums.
func aloneRefused(ctx context.Context, name string, b []byte) error {
	var err error
	switch filepath.Ext(name) {
	case ".gbs":
		var f *segFile
		if f, err = parseSegFile(b, name); err == nil {
			err = f.verifyAll(ctx)
		}
	case ".gbd":
		_, err = parseDeletions(b, name)
	case ".gbc":
		_, err = quant.ParseCodebook(b)
	default:
		_, err = parseManifest(b, name)
	}
	if err == nil {
		return errors.New("accepted without its manifest")
	}
	return nil
}

// TestFlipBig makes random damage to an index of several blocks: flipped bits, cut ends, zeroed and exchanged
// blocks. GOLBERT_FLIPS=1000000 makes a long run.
func TestFlipBig(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, NBits: 8, SegmentTokens: 6000})
	mustAdd(t, ix, documents(1, 2000)...)
	want := stateOf(t, ix)
	require.NoError(t, ix.Close())
	m := newMemFS(t, dir)
	names := slices.Sorted(maps.Keys(m.files))
	n := 2000
	if testing.Short() {
		n = 200
	}
	if s := os.Getenv("GOLBERT_FLIPS"); s != "" {
		_, err := fmt.Sscan(s, &n)
		require.NoError(t, err)
	}
	r := newRand(3)
	kinds := [4]int{}
	atOpen, reading, unread := 0, 0, 0
	for i := range n {
		name := names[r.IntN(len(names))]
		whole := m.files[name]
		b := slices.Clone(whole)
		kind := r.IntN(4)
		at := r.IntN(len(b))
		end := min(at+1+r.IntN(5000), len(b))
		switch kind {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b = b[:at]
		case 2:
			clear(b[at:end])
		case 3:
			from := r.IntN(len(b))
			copy(b[at:end], whole[from:])
		}
		if string(b) == string(whole) {
			continue
		}
		kinds[kind]++
		m.files[name] = b
		_, err := Open(ctx, "mem", &OpenOptions{ReadOnly: true, Verify: true, fs: m})
		requireNamed(t, err, name)
		if i%10 == 0 { // blocks are verified when they are read
			ix, err := Open(ctx, "mem", &OpenOptions{ReadOnly: true, fs: m})
			if err == nil {
				require.NoError(t, ix.Close())
				var got map[string]string
				if got, err = read(m); err == nil {
					unread++
					require.Equal(t, want, got, name)
				} else {
					reading++
				}
			} else {
				atOpen++
			}
			if err != nil {
				requireNamed(t, err, name)
			}
		}
		m.files[name] = whole
	}
	t.Logf("flips=%d truncations=%d zeroed=%d exchanged=%d undetected=0", kinds[0], kinds[1], kinds[2], kinds[3])
	t.Logf("read without Verify: caught_at_open=%d caught_while_reading=%d in_bytes_that_nothing_reads=%d wrong_results=0", atOpen, reading, unread)
}
