package quant

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/stretchr/testify/require"
)

// peerIndex is what another program's index directory holds of the codec.
type peerIndex struct {
	book      *Codebook
	codes     []uint32
	residuals []byte
}

func readPeer(t testing.TB, dir string, nbits int) peerIndex {
	shape, cent := npy(t, dir+"/centroids.npy")
	_, cuts := npy(t, dir+"/bucket_cutoffs.npy")
	_, weights := npy(t, dir+"/bucket_weights.npy")
	_, codes := npy(t, dir+"/0.codes.npy")
	rshape, res := npy(t, dir+"/0.residuals.npy")
	book, err := NewCodebook(shape[1], nbits, as[float32](cent), as[float32](cuts), as[float32](weights))
	require.NoError(t, err)
	require.Equal(t, []int{len(codes), book.RowBytes()}, rshape)
	return peerIndex{book, as[uint32](codes), as[uint8](res)}
}

// TestEncodeAsPeers encodes the golden documents with the peers' codebooks. next-plaid computes in float32,
// like us, and must agree to the bit; fast_plaid in float16, so a few near-ties fall elsewhere.
func TestEncodeAsPeers(t *testing.T) {
	docs, _ := goldenDocs(t)
	for _, c := range []struct {
		dir     string
		nbits   int
		differs float64 // share of codes and residual bytes that may differ
	}{{"np_n4", 4, 0}, {"fp_n4", 4, 0.001}, {"fp_n2", 2, 0.001}} {
		t.Run(c.dir, func(t *testing.T) {
			p := readPeer(t, c.dir, c.nbits)
			enc, err := p.book.Encode(context.Background(), docs.Slice(0, len(p.codes)), 0)
			require.NoError(t, err)
			codes, bytes := 0, 0
			for i := range p.codes {
				if enc.Codes[i] != p.codes[i] {
					codes++
				}
			}
			for i := range p.residuals {
				if enc.Residuals[i] != p.residuals[i] {
					bytes++
				}
			}
			require.LessOrEqual(t, float64(codes), c.differs*float64(len(p.codes)), "codes differ")
			require.LessOrEqual(t, float64(bytes), c.differs*float64(len(p.residuals)), "residual bytes differ")
		})
	}
}

func TestInverseNormsAsNextPlaid(t *testing.T) {
	docs, _ := goldenDocs(t)
	p := readPeer(t, "np_n4", 4)
	_, want := npy(t, "np_n4/0.inv_norms.npy")
	enc, err := p.book.Encode(context.Background(), docs.Slice(0, len(p.codes)), 0)
	require.NoError(t, err)
	for i, w := range want {
		require.InDelta(t, w, enc.InvNorms[i], 2e-6)
	}
}

// TestDecodeAsFastPlaid compares with the vectors that fast_plaid itself decodes, in float16 arithmetic.
func TestDecodeAsFastPlaid(t *testing.T) {
	p := readPeer(t, "fp_n4_del", 4)
	shape, want := npy(t, "fp_n4_del_decompressed_0_1_100.f32.npy")
	b, err := os.ReadFile("testdata/fp_n4_del/doclens.0.json")
	require.NoError(t, err)
	var lens []int
	require.NoError(t, json.Unmarshal(b, &lens))
	rb, row := p.book.RowBytes(), 0
	for _, doc := range []int{0, 1, 100} {
		off := 0
		for _, l := range lens[:doc] {
			off += l
		}
		n := lens[doc]
		got := make([]float32, n*shape[1])
		p.book.Decode(got, p.codes[off:off+n], p.residuals[off*rb:(off+n)*rb])
		for i, v := range got {
			require.InDelta(t, want[row*shape[1]+i], v, 1e-3, "document %d, value %d", doc, i)
		}
		row += n
	}
	require.Equal(t, shape[0], row)
}

// fidelity encodes the golden documents and ranks all of them for every query: the share of the true top 10
// that is found, and the root mean square of the score errors, their mean per query (which moves no
// document) taken out.
func fidelity(t testing.TB, c *Codebook) (recall, rms float64) {
	docs, lens := goldenDocs(t)
	enc, err := c.Encode(context.Background(), docs, 0)
	require.NoError(t, err)
	dec := maxsim.New(docs.Rows, docs.Dim)
	c.Decode(dec.Data, enc.Codes, enc.Residuals)
	var orig, coded []maxsim.Matrix
	off := 0
	for _, l := range lens {
		orig = append(orig, docs.Slice(off, off+l))
		coded = append(coded, dec.Slice(off, off+l))
		off += l
	}
	const n = 10
	queries := goldenQueries(t)
	for _, q := range queries {
		want, err := maxsim.Scores(q, orig)
		require.NoError(t, err)
		q = q.Clone()
		c.Rotate(q.Data, q.Data, q.Rows)
		got, err := maxsim.Scores(q, coded)
		require.NoError(t, err)
		found := top(got, n)
		for d := range top(want, n) {
			if found[d] {
				recall += 1 / float64(n*len(queries))
			}
		}
		var sum, squares float64
		for i := range got {
			e := float64(got[i] - want[i])
			sum += e
			squares += e * e
		}
		m := sum / float64(len(got))
		rms += math.Sqrt(squares/float64(len(got))-m*m) / float64(len(queries))
	}
	return recall, rms
}

func top(scores []float32, n int) map[int]bool {
	out := map[int]bool{}
	for range n {
		best, at := float32(math.Inf(-1)), -1
		for i, s := range scores {
			if s > best && !out[i] {
				best, at = s, i
			}
		}
		out[at] = true
	}
	return out
}

// TestTrainBeatsPeers trains on the golden documents, with half of the queries as the sample of queries, and
// compares with the peers' codebooks of the same number of centroids and bits.
func TestTrainBeatsPeers(t *testing.T) {
	docs, _ := goldenDocs(t)
	queries := maxsim.Matrix{Dim: docs.Dim}
	for _, q := range goldenQueries(t)[:4] {
		queries.Data = append(queries.Data, q.Data...)
		queries.Rows += q.Rows
	}
	for _, c := range []struct {
		dir   string
		nbits int
	}{{"fp_n4", 4}, {"np_n4", 4}, {"fp_n2", 2}} {
		p := readPeer(t, c.dir, c.nbits)
		theirCos := meanCosine(t, p.book, docs)
		theirRecall, theirErr := fidelity(t, p.book)
		for _, sample := range []maxsim.Matrix{{}, queries} {
			ours, err := Train(context.Background(), docs, &TrainOptions{NBits: c.nbits, Centroids: p.book.K(), Queries: sample})
			require.NoError(t, err)
			cos := meanCosine(t, ours, docs)
			recall, rms := fidelity(t, ours)
			t.Logf("%s, %d query vectors: cosine %.4f, theirs %.4f; score error %.4f, theirs %.4f; recall@10 %.3f, theirs %.3f",
				c.dir, sample.Rows, cos, theirCos, rms, theirErr, recall, theirRecall)
			if sample.Rows == 0 {
				require.Greater(t, 1-theirCos, 1.8*(1-cos))
			} else {
				require.Less(t, rms, 0.6*theirErr)
				require.Greater(t, recall, theirRecall-0.03) // of 80
			}
		}
	}
}
