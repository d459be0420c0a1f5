package index

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"
)

func TestPackedArrays(t *testing.T) {
	r := newRand(1)
	for _, width := range []uint{0, 1, 2, 7, 8, 13, 31, 32, 33, 56, 57, 64} {
		for _, n := range []int{0, 1, 2, 63, 64, 65, 200} {
			v := make([]uint64, n)
			for i := range v {
				v[i] = r.Uint64() & lowBits(width)
			}
			b, w := packUints(v, lowBits(width), 0)
			require.Equal(t, width, w)
			want, ok := packedLen(uint64(n), width)
			require.True(t, ok)
			require.Equal(t, int(want), len(b))
			b = append(b, make([]byte, 8)...)
			for i := range v {
				require.Equal(t, v[i], packedAt(b, uint64(i), w), "%d of width %d", i, width)
			}
		}
	}
	require.Equal(t, uint(64), bitWidth(1<<57))
	require.Equal(t, uint(57), bitWidth(1<<57-1))
	for _, c := range []struct {
		n     uint64
		width uint
	}{{math.MaxUint64, 64}, {math.MaxUint64, 2}, {1 << 62, 3}} {
		_, ok := packedLen(c.n, c.width)
		require.False(t, ok)
	}
}

// TestEveryFlippedBitOfABlock is what the checksum is for.
func TestEveryFlippedBitOfABlock(t *testing.T) {
	var out bytes.Buffer
	w := newBlockWriter(&out)
	r := newRand(1)
	data := make([]byte, 70*blockSize+1000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for at := 0; at < len(data); { // in uneven pieces
		n := min(1+r.IntN(30_000), len(data)-at)
		_, err := w.Write(data[at : at+n])
		require.NoError(t, err)
		at += n
	}
	table := w.table()
	require.NoError(t, w.w.Flush())
	require.Equal(t, data, out.Bytes())
	require.Len(t, table, 71*4)
	require.Equal(t, int64(-1), newBlockVerifier(data, table).ok(0, uint64(len(data))))
	require.Equal(t, int64(-1), newBlockVerifier(data, table).ok(5, 5))
	for i := 0; i < len(data); i += 2777 {
		data[i] ^= 1 << (i % 8)
		v := newBlockVerifier(data, table)
		require.Equal(t, int64(i/blockSize*blockSize), v.ok(0, uint64(len(data))))
		require.Equal(t, int64(i/blockSize*blockSize), v.ok(uint64(i), uint64(i)+1), "a bad block is bad every time")
		data[i] ^= 1 << (i % 8)
	}
}

func TestDeletionsRoundTrip(t *testing.T) {
	r := newRand(1)
	for _, docs := range []uint64{1, 2, 9, 1000, 100_000} {
		for _, share := range []float64{0, .001, .3, .99, 1} {
			del := roaring.New()
			for o := range docs {
				if r.Float64() < share {
					del.Add(uint32(o))
				}
			}
			del.Add(uint32(docs - 1))
			b := marshalDeletions(3, 4, docs, del)
			require.LessOrEqual(t, len(b), int(docs/8+docs/64+100))
			d, err := parseDeletions(b, "d")
			require.NoError(t, err)
			require.True(t, del.Equals(d.set))
			require.Equal(t, uint64(3), d.segment)
		}
	}
}

func TestClassify(t *testing.T) {
	for name, want := range map[string]fileKind{
		"LOCK":                                kindLock,
		manifestName(12):                      kindManifest,
		segmentName(1):                        kindData,
		deletionsName(1, 2):                   kindData,
		codebookName(strings.Repeat("a", 32)): kindData,
		segmentName(1) + ".tmp":               kindTemp,
		manifestName(1) + ".tmp":              kindTemp,
		spoolName:                             kindTemp,
		"MANIFEST-1":                          kindForeign,
		"MANIFEST-00000000000000AB":           kindForeign,
		"MANIFEST-000000000000000g":           kindForeign,
		"seg-1.gbs":                           kindForeign,
		"seg-000000000000000A.gbs":            kindForeign,
		"codebook-../../x.gbc":                kindForeign,
		"x.tmp":                               kindForeign,
		"LOCK.tmp":                            kindForeign,
		"del-0000000000000001.gbd":            kindForeign,
		"":                                    kindForeign,
	} {
		got, _ := classify(name)
		require.Equal(t, want, got, name)
	}
}

// TestHostileCounts puts numbers into the table of contents that the file cannot back, and measures memory.
func TestHostileCounts(t *testing.T) {
	whole := seedSegment(t, 4)
	f, err := parseSegFile(whole, "s")
	require.NoError(t, err)
	foot, err := parseFooter(whole[len(whole)-segFooterLen:])
	require.NoError(t, err)
	var before, after runtime.MemStats
	for _, v := range []uint64{0, 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32, 1 << 40, 1 << 61, math.MaxInt64, math.MaxUint64} {
		for field := range 6 {
			for s := range f.toc.secs {
				if field < 3 && s > 0 {
					continue // a field of the whole, not of a section
				}
				c := *f.toc
				c.secs = append([]section(nil), f.toc.secs...)
				switch field {
				case 0:
					c.docs = v
				case 1:
					c.tokens = v
				case 2:
					c.textBytes, c.distinct = v, v
				case 3:
					c.secs[s].count = v
				case 4:
					c.secs[s].len = v
				case 5:
					c.secs[s].off = v
				}
				b := bytes.Clone(whole)
				copy(b[foot.tableOff+foot.tableLen:], c.append(nil))
				runtime.ReadMemStats(&before)
				sf, err := parseSegFile(seal(b), "s")
				requireTyped(t, err)
				if err == nil {
					exercise(t, sf)
				}
				runtime.ReadMemStats(&after)
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
			}
		}
	}
}

func TestDimensions(t *testing.T) {
	for _, dim := range []int{1, 3, 48, 100, 1024} {
		for _, nbits := range []int{1, 2, 16} {
			o := &Options{Dim: dim, NBits: nbits}
			ix, dir := create(t, o)
			d := Document{ID: "a", Vectors: vectors(newRand(1), 7, dim)}
			mustAdd(t, ix, d)
			requireModel(t, snapshot(t, ix), o, map[string]Document{"a": d})
			_, err := Check(context.Background(), dir)
			require.NoError(t, err)
		}
	}
}
