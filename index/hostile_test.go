package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"
)

// allocated gives the bytes that a call takes from the heap, freed or not.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

// hugeValues are what a liar would write for a length or a count.
var hugeValues = []uint64{1 << 20, 1<<31 - 1, 1 << 32, 1 << 40, 1<<63 - 1, math.MaxUint64}

// TestHostileSizes writes huge numbers wherever a number may stand, with right checksums. Nothing panics, every
// error is typed, and neither opening nor reading takes more memory than a small factor of the file.
func TestHostileSizes(t *testing.T) {
	stride := 4
	if testing.Short() {
		stride = 36
	}
	var openMost, readMost float64
	count, refused := 0, 0
	for _, nbits := range []int{1, 16} {
		whole := seedSegment(t, nbits)
		limit := uint64(8*len(whole) + 64<<10)
		for at := 0; at+8 <= len(whole); at += stride {
			for _, v := range hugeValues {
				b := bytes.Clone(whole)
				if v <= math.MaxUint32 {
					binary.LittleEndian.PutUint32(b[at:], uint32(v))
				} else {
					binary.LittleEndian.PutUint64(b[at:], v)
				}
				b = seal(b)
				count++
				var f *segFile
				var err error
				n := allocated(func() { f, err = parseSegFile(b, "s") })
				requireTyped(t, err)
				require.LessOrEqual(t, n, limit, "opening, %d at %d", v, at)
				openMost = max(openMost, float64(n)/float64(len(b)))
				if err != nil {
					refused++
					continue
				}
				if at%16 == 0 {
					// Everything is read twice over here, every answer has a buffer of its own, and errors are text.
					n = allocated(func() { exercise(t, f) })
					require.LessOrEqual(t, n, uint64(200*len(whole)+8<<20), "reading, %d at %d", v, at)
					readMost = max(readMost, float64(n)/float64(len(b)))
				}
			}
		}
	}
	t.Logf("hostile_sizes=%d refused_at_open=%d panics=0 memory_of_open<=%.1fx memory_of_reading_everything<=%.1fx", count, refused, openMost, readMost)
}

// TestHostileManifest puts huge, negative and odd numbers into every field of a manifest.
func TestHostileManifest(t *testing.T) {
	ctx := context.Background()
	m, _ := flipped(t)
	name := ""
	for n := range m.files {
		if isManifest(n) {
			name = n
		}
	}
	whole := m.files[name]
	body := whole[:bytes.LastIndex(whole, []byte(manifestTrailer))]
	number := regexp.MustCompile(`": [0-9]+`)
	count, most := 0, 0.0
	for _, at := range number.FindAllIndex(body, -1) {
		for _, v := range []string{"0", "-1", "1048577", "2147483647", "4294967296", "9223372036854775807", "18446744073709551615", "1e9", "null", "\"1\"", "[]"} {
			b := append(bytes.Clone(body[:at[0]+3]), v...)
			b = append(b, body[at[1]:]...)
			b = fmt.Appendf(b, "%s%08x\n", manifestTrailer, crc32c(b))
			if bytes.Equal(b, whole) {
				continue
			}
			count++
			m.files[name] = b
			var err error
			n := allocated(func() { _, err = read(m) })
			if err != nil { // a few, such as seed, are free to be anything
				requireTyped(t, err)
			}
			require.LessOrEqual(t, n, uint64(1<<20), "%s for %s", v, body[at[0]:at[1]])
			most = max(most, float64(n))
			_, err = check(ctx, m, "mem")
			if err != nil {
				requireTyped(t, err)
			}
		}
	}
	m.files[name] = whole
	// Depth and length: nested values and a long name.
	for _, b := range [][]byte{
		append(append(bytes.Repeat([]byte(`{"format":`), 20000), '1'), bytes.Repeat([]byte("}"), 20000)...),
		[]byte(`{"format":"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `"}`),
	} {
		b = append(b, '\n')
		b = fmt.Appendf(b, "%s%08x\n", manifestTrailer, crc32c(b))
		var err error
		n := allocated(func() { _, err = parseManifest(b, "m") })
		requireTyped(t, err)
		require.Error(t, err)
		require.LessOrEqual(t, n, uint64(40*len(b)))
		count++
	}
	require.True(t, json.Valid(body))
	t.Logf("hostile_manifests=%d panics=0 memory_of_open<=%.0f KiB", count, most/1024)
}

// TestHostileDeletions lies about counts and lengths.
func TestHostileDeletions(t *testing.T) {
	count, most := 0, 0.0
	dense := roaring.New()
	dense.AddRange(3, 900)
	for _, whole := range [][]byte{
		marshalDeletions(1, 2, 1000, roaring.BitmapOf(1, 5, 999)), marshalDeletions(1, 2, 1000, dense), marshalDeletions(1, 2, maxDocuments, roaring.BitmapOf(7)),
	} {
		for at := 0; at+8 <= len(whole)-4; at++ {
			for _, v := range append(hugeValues, 0, 1, 2) {
				b := bytes.Clone(whole)
				binary.LittleEndian.PutUint64(b[at:], v)
				b = binary.LittleEndian.AppendUint32(b[:len(b)-4], crc32c(b[:len(b)-4]))
				var err error
				n := allocated(func() { _, err = parseDeletions(b, "d") })
				requireTyped(t, err)
				require.LessOrEqual(t, n, uint64(20*len(b)+32<<10), "%d at %d", v, at)
				most = max(most, float64(n)/float64(len(b)))
				count++
			}
		}
	}
	t.Logf("hostile_deletions=%d panics=0 memory<=%.1fx", count, most)
}

// TestHostileExchangedFiles puts files of another index in the place of this one's: whole, of the same name, of
// the same length, with the same counts, and with right checksums. Only the manifest can tell.
func TestHostileExchangedFiles(t *testing.T) {
	ctx := context.Background()
	build := func(seed uint64) *memFS {
		ix, dir := create(t, &Options{Codebook: crashBook(4)})
		var docs []Document
		for i := range 6 {
			docs = append(docs, Document{ID: fmt.Sprint(i), Vectors: vectors(newRand(seed), 3, crashDim)})
		}
		mustAdd(t, ix, docs...)
		_, err := ix.Delete(ctx, []string{fmt.Sprint(seed)}, nil)
		require.NoError(t, err)
		require.NoError(t, ix.Close())
		return newMemFS(t, dir)
	}
	a, b := build(1), build(2)
	exchanged := 0
	for name, whole := range a.files {
		other := b.files[name]
		require.NotNil(t, other, "both have the same names")
		if isManifest(name) || bytes.Equal(whole, other) {
			continue
		}
		a.files[name] = other
		_, err := read(a)
		requireNamed(t, err, name)
		_, err = check(ctx, a, "mem")
		requireNamed(t, err, name)
		a.files[name] = whole
		exchanged++
	}
	require.Equal(t, 2, exchanged)
	t.Logf("exchanged_files=%d undetected=0", exchanged)
}
