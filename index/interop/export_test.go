package interop

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
)

var writers = map[Format]func(dir string, snap *index.Snapshot, o *ExportOptions) (*ExportResult, error){
	ColBERTAI: func(dir string, snap *index.Snapshot, o *ExportOptions) (*ExportResult, error) {
		return WriteColBERTAI(ctx, dir, snap, o)
	},
	FastPLAID: func(dir string, snap *index.Snapshot, o *ExportOptions) (*ExportResult, error) {
		return WriteFastPLAID(ctx, dir, snap, o)
	},
}

// all collects a source's documents.
func all(t testing.TB, s *Source) []Document {
	t.Helper()
	var out []Document
	for d, err := range s.Documents(ctx) {
		require.NoError(t, err)
		d.Codes, d.Residuals = slices.Clone(d.Codes), slices.Clone(d.Residuals)
		out = append(out, d)
	}
	require.Len(t, out, s.NumDocs())
	return out
}

// TestGoldenRoundTrip: an index that came from a peer goes back to either, byte for byte.
func TestGoldenRoundTrip(t *testing.T) {
	for _, g := range goldenIndexes {
		for format, write := range writers {
			t.Run(g.name+" to "+string(format), func(t *testing.T) {
				src, snap, _ := imported(t, golden(t, g.name), nil)
				to := filepath.Join(t.TempDir(), "out")
				o := &ExportOptions{ChunkTokens: 700}
				res, err := write(to, snap, o)
				if g.format == NextPLAID && format == ColBERTAI {
					require.ErrorIs(t, err, ErrLossy)
					var le *LossyError
					require.ErrorAs(t, err, &le)
					require.NoFileExists(t, to)
					o.RoundCentroids = true
					res, err = write(to, snap, o)
					require.NoError(t, err)
					require.Equal(t, le.MaxError, res.MaxCentroidError)
					require.Less(t, res.MaxCentroidError, float32(3e-4))
					require.NotEmpty(t, res.Notes)
				} else {
					require.NoError(t, err)
				}
				require.False(t, res.Reencoded)
				require.Greater(t, res.Chunks, 3)
				require.Equal(t, g.docs, res.Documents)
				require.Equal(t, src.NumTokens(), res.Tokens)
				back, err := Open(ctx, to, &Options{Lists: ListsRefuse})
				require.NoError(t, err)
				require.Equal(t, format, back.Format())
				require.Empty(t, back.Notes())
				want, got := all(t, src), all(t, back)
				require.Equal(t, want, got)
				require.Equal(t, src.Codebook().Cutoffs(), back.Codebook().Cutoffs())
				require.Equal(t, src.Codebook().Weights(), back.Codebook().Weights())
				if o.RoundCentroids {
					cent, _ := quant.RoundHalf(src.Codebook().Centroids())
					require.Equal(t, cent, back.Codebook().Centroids())
				} else {
					require.Equal(t, src.Codebook().Centroids(), back.Codebook().Centroids())
				}
			})
		}
	}
}

const testDim = 32

func unitRows(r *rand.Rand, rows int) maxsim.Matrix {
	m := maxsim.New(rows, testDim)
	for i := range rows {
		c, sum := r.IntN(30), 0.0
		for j := range m.Row(i) {
			v := math.Sin(float64(c*31+j*7)) + 0.5*r.NormFloat64()
			m.Row(i)[j] = float32(v)
			sum += v * v
		}
		for j := range m.Row(i) {
			m.Row(i)[j] /= float32(math.Sqrt(sum))
		}
	}
	return m
}

func seq(docs []index.Document) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// native makes an index of golbert's own: rotated codebooks, several segments, deletions, an empty document,
// and a document with a vector of zeros.
func native(t testing.TB, o *index.Options) (*index.Snapshot, map[string]index.Document) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	o.Dim, o.AllowEmpty = testDim, true
	ix, err := index.Create(ctx, filepath.Join(t.TempDir(), "ix"), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ix.Close() })
	live := map[string]index.Document{}
	n := 0
	for _, size := range []int{1, 1540} { // a document without tokens has a codebook that nothing else can use
		var docs []index.Document
		for range size {
			d := index.Document{ID: fmt.Sprintf("doc %d", n), Vectors: unitRows(r, 1+r.IntN(12)), Text: fmt.Sprintf("text \"%d\" ✓", n)}
			if n%3 == 0 {
				d.Meta = index.Metadata{"n": int64(n), "f": 0.5, "s": "x", "ok": n%2 == 0, "at": time.Unix(int64(n), 0).UTC()}
			}
			switch n {
			case 0:
				d.Vectors = maxsim.New(0, testDim)
			case 11:
				d.Vectors = unitRows(r, 3)
				clear(d.Vectors.Row(1))
			}
			docs = append(docs, d)
			live[d.ID] = d
			n++
		}
		_, err = ix.Add(ctx, seq(docs), nil)
		require.NoError(t, err)
	}
	gone := []string{"doc 1", "doc 39", "doc 700"}
	_, err = ix.Delete(ctx, gone, nil)
	require.NoError(t, err)
	for _, id := range gone {
		delete(live, id)
	}
	snap, err := ix.Snapshot()
	require.NoError(t, err)
	t.Cleanup(func() { _ = snap.Close() })
	return snap, live
}

// TestReencode: golbert's own indexes are refused by default, and coded anew on request.
func TestReencode(t *testing.T) {
	snap, live := native(t, &index.Options{SegmentTokens: 4000})
	books := map[string]bool{}
	for _, s := range snap.Segments() {
		books[s.Codebook().ID()] = true
	}
	require.Greater(t, len(books), 1, "several codebooks")
	r := rand.New(rand.NewPCG(3, 4))
	var qs []maxsim.Matrix
	for range 10 {
		qs = append(qs, unitRows(r, 16))
	}
	for format, write := range writers {
		for _, c := range []struct {
			nbits  int
			cosine float64
		}{{0, .99}, {2, .96}, {8, .999}} {
			t.Run(fmt.Sprint(format, c.nbits), func(t *testing.T) {
				if format == ColBERTAI && c.nbits == 8 {
					_, err := write(filepath.Join(t.TempDir(), "out"), snap, &ExportOptions{Reencode: true, NBits: 8})
					require.ErrorIs(t, err, ErrUnsupported, "32 dimensions of 8 bits")
					return
				}
				to := filepath.Join(t.TempDir(), "out")
				_, err := write(to, snap, &ExportOptions{NBits: c.nbits})
				require.ErrorIs(t, err, ErrReencode)
				require.ErrorContains(t, err, "Reencode")
				require.NoFileExists(t, to)
				last := 0
				res, err := write(to, snap, &ExportOptions{Reencode: true, NBits: c.nbits, ChunkTokens: 1000, Progress: func(done, total int) {
					require.Equal(t, len(live), total)
					last = done
				}})
				require.NoError(t, err)
				t.Logf("%+v", res)
				require.Equal(t, len(live), last)
				require.True(t, res.Reencoded)
				require.Greater(t, res.Cosine, c.cosine)
				require.Equal(t, 1, res.EmptyDocuments)
				require.Equal(t, uint64(1), res.ZeroVectors)
				require.Equal(t, len(live)-1, res.Documents)
				require.Zero(t, res.MaxCentroidError)

				src, back, _ := imported(t, to, &Options{Lists: ListsRefuse})
				require.Empty(t, src.Notes())
				require.Equal(t, len(live)-1, src.NumDocs())
				for _, d := range all(t, src) {
					want, ok := live[d.ID]
					require.True(t, ok)
					if format == ColBERTAI {
						require.Equal(t, want.Text, d.Text)
						require.Equal(t, len(want.Meta), len(d.Meta))
						if want.Meta != nil {
							require.Equal(t, want.Meta["n"], d.Meta["n"])
							require.Equal(t, want.Meta["at"].(time.Time).Format(time.RFC3339), d.Meta["at"])
						}
					}
				}
				// Scores move by no more than coding anew costs.
				for _, q := range qs {
					score := map[string]float32{}
					for _, h := range exhaustive(t, back, q) {
						score[h.ID] = h.Score
					}
					for _, h := range exhaustive(t, snap, q) {
						if h.ID != "doc 11" {
							require.InDelta(t, h.Score, score[h.ID], 16*2*math.Sqrt(2-2*c.cosine)/math.Sqrt(testDim)*2)
						}
					}
				}
			})
		}
	}
}

// TestReencodeHalf: float16 rows become 8 bits.
func TestReencodeHalf(t *testing.T) {
	snap, live := native(t, &index.Options{NBits: 16})
	to := filepath.Join(t.TempDir(), "out")
	_, err := WriteFastPLAID(ctx, to, snap, nil)
	require.ErrorIs(t, err, ErrReencode)
	res, err := WriteFastPLAID(ctx, to, snap, &ExportOptions{Reencode: true, PyLate: true})
	require.NoError(t, err)
	require.Equal(t, 8, res.NBits)
	require.Greater(t, res.Cosine, .999)
	require.Equal(t, uint64(1), res.ZeroVectors)
	for _, dir := range []string{to, filepath.Join(to, "fast_plaid_index")} {
		src, err := Open(ctx, dir, nil)
		require.NoError(t, err)
		require.Equal(t, PyLate, src.Wrapper())
		require.Empty(t, src.Notes())
		for _, d := range all(t, src) {
			require.Contains(t, live, d.ID)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	snap, _ := native(t, &index.Options{})
	dir := t.TempDir()
	_, err := WriteFastPLAID(ctx, filepath.Dir(dir), snap, &ExportOptions{Reencode: true})
	require.ErrorIs(t, err, ErrExists)
	_, err = WriteFastPLAID(ctx, dir, snap, &ExportOptions{Reencode: true, NBits: 3})
	require.ErrorIs(t, err, index.ErrInvalidOptions)
	empty, err := index.Create(ctx, filepath.Join(t.TempDir(), "ix"), &index.Options{Dim: 8})
	require.NoError(t, err)
	defer empty.Close()
	s, err := empty.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	for _, write := range writers {
		_, err = write(filepath.Join(dir, "x"), s, nil)
		require.ErrorIs(t, err, ErrUnsupported)
		require.NoDirExists(t, filepath.Join(dir, "x"))
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "failed exports leave nothing behind")
	_, err = WriteFastPLAID(ctx, dir, snap, &ExportOptions{Reencode: true})
	require.NoError(t, err, "an empty directory will do")
}

// TestInvertInPieces: lists do not depend on the memory that they are made in.
func TestInvertInPieces(t *testing.T) {
	snap, _ := native(t, &index.Options{})
	dir := t.TempDir()
	e, err := newExporter(ctx, snap, FastPLAID, &ExportOptions{Reencode: true, ChunkTokens: 500})
	require.NoError(t, err)
	ids, err := newJSONStream(dir, golbertIDs, '[', ']')
	require.NoError(t, err)
	target := &fastTarget{e: e, top: dir, dir: dir, ids: ids}
	require.NoError(t, e.run(ctx, target))
	src, err := Open(ctx, dir, &Options{Lists: ListsRefuse})
	require.NoError(t, err)
	counts := make([]int32, src.Codebook().K())
	for _, d := range all(t, src) {
		slices.Sort(d.Codes)
		for _, c := range slices.Compact(d.Codes) {
			counts[c]++
		}
	}
	var want [][]uint32
	for i, memory := range []int{1 << 30, 1000, 1} {
		var got [][]uint32
		require.NoError(t, e.invert(ctx, target.reader(), counts, memory, func(l []uint32) error {
			got = append(got, slices.Clone(l))
			return nil
		}))
		if i == 0 {
			want = got
		}
		require.Equal(t, want, got)
	}
}
