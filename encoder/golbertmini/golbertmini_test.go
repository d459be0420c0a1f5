package golbertmini

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

var ctx = context.Background()

func TestModel(t *testing.T) {
	m, err := Open()
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, Name, m.Name())
	require.Equal(t, 128, m.Dim())
	info := m.Info()
	require.Equal(t, encoder.Info{Name: Name, Architecture: "bert", Layout: "huggingface", Layers: 6, Hidden: 384, Heads: 12, Dim: 128,
		Vocab: 30522, Parameters: info.Parameters, QueryTokens: queryTokens, DocTokens: documentTokens, Similarity: "cosine", Instructions: encoder.Float32.Instructions()}, info)
	require.EqualValues(t, 22_565_376+128*384, info.Parameters)
	require.LessOrEqual(t, len(file), 25_000_000)
}

// TestRanking asks the model what it is for.
func TestRanking(t *testing.T) {
	m, err := Open()
	require.NoError(t, err)
	defer m.Close()
	docs := []string{
		"Venus is often called Earth's twin because of its similar size and proximity.",
		"Mars, known for its reddish appearance, is often referred to as the Red Planet.",
		"Jupiter, the largest planet in our solar system, has a prominent red spot.",
		"WaitGroup waits for a collection of goroutines to finish.",
		"The mitral valve lies between the left atrium and the left ventricle of the heart.",
	}
	enc, err := m.EncodeDocuments(ctx, docs, nil)
	require.NoError(t, err)
	for query, want := range map[string]int{
		"Which planet is known as the Red Planet?":           1,
		"which planet has about the size of Earth":           0,
		"how do I wait until several goroutines are done":    3,
		"Where in the heart is the mitral valve?":            4,
		"which is the biggest of all planets around the sun": 2,
	} {
		q, err := m.EncodeQuery(ctx, query, nil)
		require.NoError(t, err)
		require.Equal(t, 128, q.Vectors.Dim)
		best, top := -1, float32(0)
		for i, d := range enc {
			s, err := maxsim.Score(q.Vectors, d.Vectors)
			require.NoError(t, err)
			if best < 0 || s > top {
				best, top = i, s
			}
		}
		require.Equal(t, want, best, query)
	}
}

// TestShared checks that closing one model leaves the others alone, and that options are per model.
func TestShared(t *testing.T) {
	a, err := Open()
	require.NoError(t, err)
	b, err := OpenWith(&encoder.Options{MaxDocTokens: 16, Name: "other"})
	require.NoError(t, err)
	require.Equal(t, Name, b.Name())
	require.Equal(t, 16, b.Info().DocTokens)
	require.NoError(t, a.Close())
	_, err = a.EncodeQuery(ctx, "tides", nil)
	require.ErrorIs(t, err, encoder.ErrClosed)
	got, err := b.EncodeDocuments(ctx, []string{strings.Repeat("tides ", 100)}, nil)
	require.NoError(t, err)
	require.True(t, got[0].Truncated)
	require.LessOrEqual(t, got[0].Vectors.Rows, 16)
	require.NoError(t, b.Close())
	c, err := Open()
	require.NoError(t, err)
	_, err = c.EncodeQuery(ctx, "tides", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestDamagedFile(t *testing.T) {
	for _, n := range []int{0, 7, 100, len(file) / 2, len(file) - 1} {
		_, err := load(file[:n], encoder.Float32)
		require.ErrorIs(t, err, checkpoint.ErrCorrupt, "%d bytes", n)
	}
}

// TestAgainstOriginal compares the int8 weights with the original ones, through the same projection. The
// environment variable GOLBERT_MINILM names the folder with all-MiniLM-L6-v2.
func TestAgainstOriginal(t *testing.T) {
	dir := os.Getenv("GOLBERT_MINILM")
	if _, err := os.Stat(dir + "/model.safetensors"); dir == "" || err != nil {
		t.Skip("skipped: set GOLBERT_MINILM to a folder with all-MiniLM-L6-v2")
	}
	ts, err := checkpoint.ParseSafeTensors(file)
	require.NoError(t, err)
	proj, ok := ts.Tensor("projection.weight")
	require.True(t, ok)
	c, err := checkpoint.Open(dir)
	require.NoError(t, err)
	c.Head = []checkpoint.Dense{{In: 384, Out: 128, Weight: proj.Float32s(nil)}}
	original, err := encoder.New(c, &encoder.Options{MaxDocTokens: documentTokens, Skiplist: encoder.On})
	require.NoError(t, err)
	defer original.Close()
	m, err := Open()
	require.NoError(t, err)
	defer m.Close()
	texts := []string{"What is late interaction retrieval?", "ColBERT keeps one vector per token and scores with MaxSim.",
		"The mitral valve lies between the left atrium and the left ventricle of the heart.", "func (wg *WaitGroup) Go(f func())", "2 + 2 = 4, naïve café"}
	want, err := original.EncodeDocuments(ctx, texts, nil)
	require.NoError(t, err)
	got, err := m.EncodeDocuments(ctx, texts, nil)
	require.NoError(t, err)
	sum, n, least := 0.0, 0, float32(1)
	for i := range want {
		require.Equal(t, want[i].Tokens, got[i].Tokens)
		for r := range want[i].Vectors.Rows {
			d := kernel.Dot(want[i].Vectors.Row(r), got[i].Vectors.Row(r))
			sum, n, least = sum+float64(d), n+1, min(least, d)
		}
	}
	t.Logf("cosine of int8 with float32: mean %.5f, least %.5f of %d tokens", sum/float64(n), least, n)
	require.Greater(t, sum/float64(n), 0.995)
}

// BenchmarkLoad measures what the first Open of a process costs, on one core.
func BenchmarkLoad(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for b.Loop() {
		if _, err := load(file, encoder.Float32); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncode measures passages of about 130 tokens, on one core and on all.
func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The mitral valve lies between the left atrium and the left ventricle of the heart. ", 7)
	for _, bc := range []struct {
		name    string
		workers int
		texts   []string
		query   bool
	}{
		{"query", 1, []string{"where in the heart is the mitral valve"}, true},
		{"documents/workers=1", 1, repeat(text, 16), false},
		{"documents/workers=all", 0, repeat(text, 64), false},
	} {
		b.Run(bc.name+"/"+kernel.ISA(), func(b *testing.B) {
			m, err := OpenWith(&encoder.Options{Workers: bc.workers})
			require.NoError(b, err)
			defer m.Close()
			tokens := 0
			start := time.Now()
			for b.Loop() {
				f := m.EncodeDocuments
				if bc.query {
					f = m.EncodeQueries
				}
				out, err := f(ctx, bc.texts, nil)
				require.NoError(b, err)
				for _, e := range out {
					tokens += e.Vectors.Rows
				}
			}
			b.ReportMetric(float64(tokens)/time.Since(start).Seconds(), "tokens/s")
		})
	}
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestPrecisions: the precisions have weights of their own and vectors close to the exact ones.
func TestPrecisions(t *testing.T) {
	texts := []string{"What is late interaction retrieval?", "ColBERT keeps one vector per token and scores with MaxSim.", "tides"}
	exact, err := Open()
	require.NoError(t, err)
	defer exact.Close()
	want, err := exact.EncodeDocuments(ctx, texts, nil)
	require.NoError(t, err)
	for p, bound := range map[encoder.Precision]float64{encoder.BFloat16: .9999, encoder.Int8: .995} {
		m, err := OpenWith(&encoder.Options{Precision: p})
		require.NoError(t, err)
		defer m.Close()
		require.Equal(t, p, m.Info().Precision)
		require.Equal(t, p.Instructions(), m.Info().Instructions)
		got, err := m.EncodeDocuments(ctx, texts, nil)
		require.NoError(t, err)
		sum, n, equal := 0.0, 0, true
		for i := range texts {
			for r := range want[i].Vectors.Rows {
				c := float64(kernel.Dot(want[i].Vectors.Row(r), got[i].Vectors.Row(r)))
				sum, n, equal = sum+c, n+1, equal && c == 1
			}
		}
		require.False(t, equal)
		require.Greater(t, sum/float64(n), bound, "%v", p)

		again, err := m.With(nil)
		require.NoError(t, err)
		require.Equal(t, p, again.Info().Precision)
		require.NoError(t, again.Close())
		_, err = exact.With(&encoder.Options{Precision: p})
		require.ErrorIs(t, err, encoder.ErrOptions)
		require.ErrorContains(t, err, "Precision")
	}
	_, err = OpenWith(&encoder.Options{Precision: 3})
	require.ErrorIs(t, err, encoder.ErrOptions)
	_, err = load(file, 3)
	require.ErrorIs(t, err, encoder.ErrOptions)
}

// TestExport: the exported checkpoint has the vectors of the embedded model.
func TestExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "model")
	require.NoError(t, Export(dir))
	require.ErrorIs(t, Export(dir), fs.ErrExist)
	entries, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	e, err := encoder.Open(dir, nil)
	require.NoError(t, err)
	defer e.Close()
	m, err := Open()
	require.NoError(t, err)
	defer m.Close()
	texts := []string{"How do tides work, exactly?", "The moon's gravity (and the sun's) -- see [1].", strings.Repeat("a long text ", 200)}
	for _, query := range []bool{true, false} {
		encode := func(m *encoder.Model) []encoder.Encoded {
			f := m.EncodeDocuments
			if query {
				f = m.EncodeQueries
			}
			out, err := f(ctx, texts, nil)
			require.NoError(t, err)
			return out
		}
		want := encode(m)
		for i, got := range encode(e) {
			require.Equal(t, want[i].Tokens, got.Tokens)
			require.Equal(t, want[i].Truncated, got.Truncated)
			require.InDeltaSlice(t, want[i].Vectors.Data, got.Vectors.Data, 1e-5)
		}
	}
}
