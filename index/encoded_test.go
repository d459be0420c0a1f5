package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// coded codes documents as Add would.
func coded(t testing.TB, cb *quant.Codebook, docs []Document) []EncodedDocument {
	t.Helper()
	var out []EncodedDocument
	for _, d := range docs {
		v := d.Vectors.Clone()
		for i := range v.Rows {
			row := v.Row(i)
			require.NoError(t, (&Options{NBits: cb.NBits()}).acceptRow(row))
		}
		e, err := cb.Encode(context.Background(), v, 0)
		require.NoError(t, err)
		out = append(out, EncodedDocument{ID: d.ID, Text: d.Text, Meta: d.Meta, Codes: e.Codes, Residuals: e.Residuals})
	}
	return out
}

func codedSeq(docs []EncodedDocument) iter.Seq2[EncodedDocument, error] {
	return func(yield func(EncodedDocument, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func codebook(t testing.TB, nbits int) *quant.Codebook {
	t.Helper()
	sample := vectors(newRand(5), 600, testDim)
	for i := range sample.Rows {
		require.NoError(t, (&Options{NBits: nbits}).acceptRow(sample.Row(i)))
	}
	cb, err := quant.Train(context.Background(), sample, &quant.TrainOptions{NBits: nbits, Centroids: 16})
	require.NoError(t, err)
	return cb
}

// TestAddEncodedEqualsAdd: the same documents, coded before or by Add, make the same segments.
func TestAddEncodedEqualsAdd(t *testing.T) {
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		cb := codebook(t, nbits)
		docs := documents(1, 150)
		o := &Options{Codebook: cb, SegmentTokens: 400}
		want, _ := create(t, o)
		mustAdd(t, want, docs...)
		got, dir := create(t, o)
		res, err := got.AddEncoded(context.Background(), codedSeq(coded(t, cb, docs)), nil)
		require.NoError(t, err)
		require.Equal(t, len(docs), res.Added)
		a, err := want.Snapshot()
		require.NoError(t, err)
		b, err := got.Snapshot()
		require.NoError(t, err)
		require.Equal(t, res.Tokens, b.NumTokens())
		require.Greater(t, len(b.Segments()), 1)
		require.Equal(t, len(a.Segments()), len(b.Segments()))
		for i, x := range a.Segments() {
			y := b.Segments()[i]
			require.Equal(t, x.NumDocs(), y.NumDocs())
			require.InEpsilon(t, x.MeanResidual(), y.MeanResidual(), 0.35) // of the levels, not of the vectors
			for o := range uint32(x.NumDocs()) {
				c1, err := x.Codes(nil, o)
				require.NoError(t, err)
				c2, err := y.Codes(nil, o)
				require.NoError(t, err)
				require.Equal(t, c1, c2)
				r1, err := x.Residuals(o)
				require.NoError(t, err)
				r2, err := y.Residuals(o)
				require.NoError(t, err)
				require.Equal(t, r1, r2)
				n1, err := x.InvNorms(nil, o)
				require.NoError(t, err)
				n2, err := y.InvNorms(nil, o)
				require.NoError(t, err)
				for j := range n1 {
					require.InDelta(t, n1[j], n2[j], 2.1*float64(x.NormError()))
				}
				m1, err := x.Metadata(o)
				require.NoError(t, err)
				m2, err := y.Metadata(o)
				require.NoError(t, err)
				require.Equal(t, m1, m2)
				t1, err := x.Text(o)
				require.NoError(t, err)
				t2, err := y.Text(o)
				require.NoError(t, err)
				require.Equal(t, t1, t2)
			}
			for c := range uint32(cb.K()) {
				p1, err := x.Postings(nil, c)
				require.NoError(t, err)
				p2, err := y.Postings(nil, c)
				require.NoError(t, err)
				require.Equal(t, p1, p2)
			}
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		require.NoError(t, got.Close())
		report, err := Check(context.Background(), dir)
		require.NoError(t, err)
		require.NoError(t, report.Err())
	}
}

func TestAddEncodedRefuses(t *testing.T) {
	ctx := context.Background()
	cb := codebook(t, 4)
	good := func() EncodedDocument {
		return EncodedDocument{ID: "d", Codes: []uint32{1, 15}, Residuals: make([]byte, 2*cb.RowBytes())}
	}
	failed := errors.New("source failed")
	for name, c := range map[string]struct {
		change func(d *EncodedDocument)
		err    error
	}{
		"code":      {func(d *EncodedDocument) { d.Codes[1] = 16 }, ErrInvalidCodes},
		"short":     {func(d *EncodedDocument) { d.Residuals = d.Residuals[1:] }, ErrInvalidCodes},
		"long":      {func(d *EncodedDocument) { d.Residuals = append(d.Residuals, d.Residuals...) }, ErrInvalidCodes},
		"empty":     {func(d *EncodedDocument) { d.Codes, d.Residuals = nil, nil }, ErrEmptyDocument},
		"id":        {func(d *EncodedDocument) { d.ID = "" }, ErrInvalidID},
		"text":      {func(d *EncodedDocument) { d.Text = "\xff" }, ErrInvalidText},
		"meta":      {func(d *EncodedDocument) { d.Meta = Metadata{"x": struct{}{}} }, ErrInvalidMetadata},
		"many":      {func(d *EncodedDocument) { d.Codes, d.Residuals = make([]uint32, 9), make([]byte, 9*cb.RowBytes()) }, ErrTooManyTokens},
		"duplicate": {func(d *EncodedDocument) { d.ID = "first" }, ErrDuplicateID},
		"present":   {func(d *EncodedDocument) { d.ID = "there" }, ErrDuplicateID},
	} {
		t.Run(name, func(t *testing.T) {
			ix, _ := create(t, &Options{Codebook: cb, MaxDocTokens: 8})
			there := good()
			there.ID = "there"
			_, err := ix.AddEncoded(ctx, codedSeq([]EncodedDocument{there}), nil)
			require.NoError(t, err)
			first, bad := good(), good()
			first.ID = "first"
			c.change(&bad)
			_, err = ix.AddEncoded(ctx, codedSeq([]EncodedDocument{first, bad}), nil)
			require.ErrorIs(t, err, c.err)
			var de *DocumentError
			require.ErrorAs(t, err, &de)
			require.Equal(t, bad.ID, de.ID)
			require.Equal(t, 1, ix.Info().Documents, "a failed call leaves the index as it was")
			if name == "duplicate" || name == "present" {
				res, err := ix.AddEncoded(ctx, codedSeq([]EncodedDocument{first, bad}), &AddOptions{Upsert: true})
				require.NoError(t, err)
				require.Equal(t, map[string]int{"duplicate": 1, "present": 2}[name], res.Added)
				require.Equal(t, 2, ix.Info().Documents)
			}
		})
	}
	ix, _ := create(t, &Options{Codebook: cb})
	_, err := ix.AddEncoded(ctx, func(yield func(EncodedDocument, error) bool) { yield(good(), nil); yield(EncodedDocument{}, failed) }, nil)
	require.ErrorIs(t, err, failed)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = ix.AddEncoded(cancelled, codedSeq([]EncodedDocument{good()}), nil)
	require.ErrorIs(t, err, context.Canceled)
	res, err := ix.AddEncoded(ctx, codedSeq(nil), nil)
	require.NoError(t, err)
	require.Zero(t, res)
	plain, _ := create(t, nil)
	_, err = plain.AddEncoded(ctx, codedSeq([]EncodedDocument{good()}), nil)
	require.ErrorIs(t, err, ErrNoCodebook)

	half := codebook(t, 16)
	ix, _ = create(t, &Options{Codebook: half})
	inf := make([]byte, half.RowBytes())
	inf[7] = 0x7c
	_, err = ix.AddEncoded(ctx, codedSeq([]EncodedDocument{{ID: "inf", Codes: []uint32{0}, Residuals: inf}}), nil)
	require.ErrorIs(t, err, maxsim.ErrNotFinite)

	odd, err := quant.NewCodebook(3, 2, []float32{1, 0, 0}, []float32{-1, 0, 1}, []float32{-2, -.5, .5, 2})
	require.NoError(t, err)
	ix, _ = create(t, &Options{Codebook: odd})
	_, err = ix.AddEncoded(ctx, codedSeq([]EncodedDocument{{ID: "spare", Codes: []uint32{0}, Residuals: []byte{0b11111101}}}), nil)
	require.ErrorIs(t, err, ErrInvalidCodes)
	_, err = ix.AddEncoded(ctx, codedSeq([]EncodedDocument{{ID: "spare", Codes: []uint32{0}, Residuals: []byte{0b11111100}}}), nil)
	require.NoError(t, err)
}

// TestAddEncodedKeepsOddCentroids: centroids that are neither of unit length nor float16 values, as other
// programs make them, survive closing and opening.
func TestAddEncodedKeepsOddCentroids(t *testing.T) {
	ctx := context.Background()
	cent := vectors(newRand(3), 8, testDim)
	cb, err := quant.NewCodebook(testDim, 2, cent.Data, []float32{-.1, 0, .1}, []float32{-.2, -.05, .05, .2})
	require.NoError(t, err)
	ix, dir := create(t, &Options{Codebook: cb})
	var docs []EncodedDocument
	r := newRand(4)
	for i := range 20 {
		d := EncodedDocument{ID: fmt.Sprint(i)}
		for range 1 + r.IntN(5) {
			d.Codes = append(d.Codes, uint32(r.IntN(8)))
		}
		for range len(d.Codes) * cb.RowBytes() {
			d.Residuals = append(d.Residuals, byte(r.IntN(256)))
		}
		docs = append(docs, d)
	}
	_, err = ix.AddEncoded(ctx, codedSeq(docs), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	defer ix.Close()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	seg := s.Segments()[0]
	require.True(t, slices.Equal(cent.Data, seg.Codebook().Centroids()))
	for i, d := range docs {
		codes, err := seg.Codes(nil, uint32(i))
		require.NoError(t, err)
		require.Equal(t, d.Codes, codes)
	}
}
