package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/torchpt"
)

// readAll opens a directory and reads every document.
func readAll(dir string, o *Options) error {
	s, err := Open(ctx, dir, o)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, err := range s.Documents(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// named says whether an error is one that callers can tell.
func named(err error) bool {
	return err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrUnknown)
}

// needed are the files without which an index of each format is not read.
func needed(files map[string][]byte) []string {
	var out []string
	for f := range files {
		switch {
		case f == "plan.json", strings.HasPrefix(f, "avg_"), strings.HasPrefix(f, "cluster_"), strings.HasSuffix(f, ".metadata.json"):
		default:
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// TestTruncated: every file that is read, cut at every length (at some, where files are long).
func TestTruncated(t *testing.T) {
	for _, format := range []Format{ColBERTAI, FastPLAID} {
		files, err := smallFiles[format]()
		require.NoError(t, err)
		dir := smallIndex(t, format)
		require.NoError(t, readAll(dir, &Options{Lists: ListsRefuse}))
		for _, f := range needed(files) {
			whole := files[f]
			step := max(len(whole)/20, 1)
			for n := 0; n < len(whole); n += step {
				put(t, dir, f, whole[:n])
				err := readAll(dir, &Options{Lists: ListsRefuse})
				require.ErrorIs(t, err, ErrCorrupt, "%s cut to %d of %d bytes", f, n, len(whole))
				var fe *FileError
				require.ErrorAs(t, err, &fe)
			}
			require.NoError(t, os.Remove(filepath.Join(dir, f)))
			err := readAll(dir, &Options{Lists: ListsRefuse})
			switch {
			case f == "ivf.npy" || f == "ivf.pid.pt" || f == "metadata.json" && format == ColBERTAI: // plan.json has it as well
				require.NoError(t, err, f)
			case f == "centroids.pt" || f == "centroids.npy" || f == "metadata.json":
				require.ErrorIs(t, err, ErrUnknown, f)
			default:
				require.ErrorIs(t, err, ErrCorrupt, f)
				require.ErrorIs(t, err, os.ErrNotExist, f)
			}
			put(t, dir, f, whole)
		}
	}
}

// TestDamaged flips bytes: never a panic, and only errors with a name.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, format := range []Format{ColBERTAI, FastPLAID} {
		files, err := smallFiles[format]()
		require.NoError(t, err)
		dir := smallIndex(t, format)
		refused := 0
		for _, f := range needed(files) {
			for range 15 {
				b := bytes.Clone(files[f])
				for range 1 + r.IntN(3) {
					b[r.IntN(len(b))] = byte(r.IntN(256))
				}
				put(t, dir, f, b)
				err := readAll(dir, nil)
				require.True(t, named(err), "%s: %v", f, err)
				if err != nil {
					refused++
				}
			}
			put(t, dir, f, files[f])
		}
		require.NotZero(t, refused)
	}
}

// TestHostile: wrong shapes, types and huge declared sizes in every file.
func TestHostile(t *testing.T) {
	pt := func(dtype torchpt.DType, n int, shape ...int) *torchpt.Tensor {
		return &torchpt.Tensor{DType: dtype, Shape: shape, Data: make([]byte, n)}
	}
	npyHead := func(descr, shape string, n int) []byte {
		h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", descr, shape)
		return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8)), append([]byte(h), make([]byte, n)...)...)
	}
	for _, c := range []struct {
		format Format
		file   string
		b      []byte
		pt     []*torchpt.Tensor
		want   string
	}{
		{format: ColBERTAI, file: "centroids.pt", pt: []*torchpt.Tensor{pt(torchpt.Half, 128, 64)}, want: "shape"},
		{format: ColBERTAI, file: "centroids.pt", pt: []*torchpt.Tensor{pt(torchpt.Int, 256, 4, 16)}, want: "floating-point"},
		{format: ColBERTAI, file: "centroids.pt", pt: []*torchpt.Tensor{pt(torchpt.Half, 0, 0, 16)}, want: "centroid"},
		{format: ColBERTAI, file: "centroids.pt", pt: []*torchpt.Tensor{pt(torchpt.Half, 4*32*2, 4, 32)}, want: "dimension 32"},
		{format: ColBERTAI, file: "centroids.pt", pt: []*torchpt.Tensor{pt(torchpt.Half, 128, 4, 16), pt(torchpt.Half, 128, 4, 16)}, want: "holds 2 values"},
		{format: ColBERTAI, file: "buckets.pt", pt: []*torchpt.Tensor{pt(torchpt.Float, 16, 4)}, want: "holds 1"},
		{format: ColBERTAI, file: "buckets.pt", pt: []*torchpt.Tensor{pt(torchpt.Float, 20, 5), pt(torchpt.Float, 24, 6)}, want: "weights"},
		{format: ColBERTAI, file: "buckets.pt", pt: []*torchpt.Tensor{pt(torchpt.Float, 28, 7), pt(torchpt.Float, 32, 8)}, want: "weights"},
		{format: ColBERTAI, file: "buckets.pt", pt: []*torchpt.Tensor{pt(torchpt.Float, 60, 15), pt(torchpt.Float, 64, 16)}, want: "16 weights"},
		{format: ColBERTAI, file: "0.codes.pt", pt: []*torchpt.Tensor{intTensor(0, 0, 0, 0, 0, 4)}, want: "code 4"},
		{format: ColBERTAI, file: "0.codes.pt", pt: []*torchpt.Tensor{intTensor(0, 0, 0, 0, 0, -1)}, want: "code -1"},
		{format: ColBERTAI, file: "0.codes.pt", pt: []*torchpt.Tensor{intTensor(0, 0, 0, 0, 0)}, want: "5 codes"},
		{format: ColBERTAI, file: "0.codes.pt", pt: []*torchpt.Tensor{pt(torchpt.Float, 24, 6)}, want: "integers"},
		{format: ColBERTAI, file: "0.codes.pt", b: hugeTensor("IntStorage"), want: "data.pkl"},
		{format: ColBERTAI, file: "0.residuals.pt", pt: []*torchpt.Tensor{pt(torchpt.Byte, 48, 6, 8)}, want: "shape"},
		{format: ColBERTAI, file: "0.residuals.pt", pt: []*torchpt.Tensor{pt(torchpt.Int, 96, 6, 4)}, want: "bytes"},
		{format: ColBERTAI, file: "0.residuals.pt", pt: []*torchpt.Tensor{pt(torchpt.Byte, 28, 7, 4)}, want: "28 bytes"},
		{format: ColBERTAI, file: "0.residuals.pt", b: hugeTensor("ByteStorage"), want: "data.pkl"},
		{format: ColBERTAI, file: "doclens.0.json", b: []byte("[2, 1, 4]"), want: "7 tokens"},
		{format: ColBERTAI, file: "doclens.0.json", b: []byte("[4294967295, 4294967295, 4294967295, 9]"), want: "tokens"},
		{format: ColBERTAI, file: "doclens.0.json", b: []byte("[2, -1, 5]"), want: "doclens.0.json"},
		{format: ColBERTAI, file: "doclens.0.json", b: []byte("[99999999999999999999]"), want: "doclens.0.json"},
		{format: ColBERTAI, file: "metadata.json", b: []byte(`{"num_chunks": 4294967296}`), want: "num_chunks"},
		{format: ColBERTAI, file: "metadata.json", b: []byte(`{"num_chunks": 2147483647}`), want: "doclens.3.json"},
		{format: ColBERTAI, file: "metadata.json", b: []byte(`{"num_chunks": -1}`), want: "num_chunks"},
		{format: ColBERTAI, file: "metadata.json", b: []byte(`{"num_chunks": 3, "config": {"dim": 128}}`), want: "dim"},
		{format: ColBERTAI, file: "metadata.json", b: []byte(`{"num_chunks": 3, "config": {"nbits": 4}}`), want: "4"},
		{format: ColBERTAI, file: "ivf.pid.pt", pt: []*torchpt.Tensor{intTensor(0, 1), longTensor(1, 1, 1, 1)}, want: "list 2"},
		{format: ColBERTAI, file: "ivf.pid.pt", pt: []*torchpt.Tensor{intTensor(0, 1), longTensor(1, 1)}, want: "2 lists"},
		{format: ColBERTAI, file: "ivf.pid.pt", pt: []*torchpt.Tensor{intTensor(0, 7), longTensor(1, 1, 0, 0)}, want: "below 7"},
		{format: ColBERTAI, file: "ivf.pid.pt", pt: []*torchpt.Tensor{intTensor(0, -7), longTensor(1, 1, 0, 0)}, want: "below 7"},
		{format: ColBERTAI, file: "ivf.pid.pt", pt: []*torchpt.Tensor{intTensor(0, 1), intTensor(-1, 2, 0, 0)}, want: "length -1"},
		{format: FastPLAID, file: "centroids.npy", b: npyHead("<f2", "(4611686018427387904, 16)", 128), want: "centroids.npy"},
		{format: FastPLAID, file: "centroids.npy", b: npyHead("<f4", "(4, 0)", 0), want: "centroid"},
		{format: FastPLAID, file: "centroids.npy", b: npyHead("<f4", "(64,)", 256), want: "dimensions"},
		{format: FastPLAID, file: "centroids.npy", b: npyHead("<i4", "(4, 16)", 256), want: "floating-point"},
		{format: FastPLAID, file: "0.codes.npy", b: npyHead("|O", "(6,)", 48), want: "pickles"},
		{format: FastPLAID, file: "0.codes.npy", b: npyHead("<i8", "(6, 1)", 48), want: "shape"},
		{format: FastPLAID, file: "0.codes.npy", b: npyHead("<f8", "(6,)", 48), want: "integers"},
		{format: FastPLAID, file: "0.codes.npy", b: npyHead("<i8", "(1000000000000,)", 48), want: "bytes"},
		{format: FastPLAID, file: "0.residuals.npy", b: npyHead("<u1", "(6, 5)", 30), want: "shape"},
		{format: FastPLAID, file: "0.residuals.npy", b: npyHead("<i1", "(6, 4)", 24), want: "bytes"},
		{format: FastPLAID, file: "bucket_weights.npy", b: npyHead("<f4", "(3,)", 12), want: "weights"},
		{format: FastPLAID, file: "ivf_lengths.npy", b: npyHead("<i4", "(5,)", 20), want: "5 lists"},
		{format: FastPLAID, file: "ivf.npy", b: npyHead("<i8", "(2, 2)", 32), want: "shape"},
		{format: FastPLAID, file: "metadata.json", b: []byte(`{"num_chunks": 3, "nbits": 4}`), want: "4"},
		{format: FastPLAID, file: "metadata.json", b: []byte(`{"nbits": 2}`), want: "num_chunks"},
		{format: FastPLAID, file: "metadata.json", b: []byte(`[]`), want: "metadata.json"},
	} {
		t.Run(fmt.Sprint(c.format, c.file, c.want), func(t *testing.T) {
			dir := smallIndex(t, c.format)
			if c.pt != nil {
				putPT(t, dir, c.file, c.pt...)
			} else {
				put(t, dir, c.file, c.b)
			}
			err := readAll(dir, &Options{Lists: ListsRefuse})
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// hugeTensor is a torch file that declares a storage and a tensor of 287,454,020 elements and has one.
func hugeTensor(class string) []byte {
	var b bytes.Buffer
	dtype := torchpt.DType(strings.TrimSuffix(class, "Storage"))
	_ = torchpt.Write(&b, "x", &torchpt.Tensor{DType: dtype, Shape: []int{1}, Data: make([]byte, dtype.Size())})
	return bytes.ReplaceAll(b.Bytes(), []byte("J\x01\x00\x00\x00"), []byte("J\x44\x33\x22\x11"))
}

// TestForeignPickles: no file of an index may name anything but tensors.
func TestForeignPickles(t *testing.T) {
	evil := func() []byte {
		var b bytes.Buffer
		_ = torchpt.Write(&b, "x", intTensor(1))
		// The same length, so that the archive around it stays sound but for its checksum.
		return bytes.Replace(b.Bytes(), []byte("collections\nOrderedDict\n"), []byte("posix\nsystem\n#########\n\n"), 1)
	}()
	for _, f := range []string{"centroids.pt", "buckets.pt", "0.codes.pt", "0.residuals.pt", "ivf.pid.pt"} {
		dir := smallIndex(t, ColBERTAI)
		put(t, dir, f, evil)
		err := readAll(dir, nil)
		require.ErrorIs(t, err, ErrForbidden, f)
		require.ErrorIs(t, err, ErrCorrupt, f)
		require.ErrorContains(t, err, f)
		require.ErrorContains(t, err, "posix system")
	}
}

// TestCancelled: a context that is over ends reading.
func TestCancelled(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	s := opened(t, dir, nil)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := Open(cancelled, dir, nil)
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range s.Documents(cancelled) {
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = Import(cancelled, filepath.Join(t.TempDir(), "x"), s, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestChangesUnderneath: an index that changes between Open and Documents is an error.
func TestChangesUnderneath(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	s := opened(t, dir, nil)
	files, err := smallFiles[ColBERTAI]()
	require.NoError(t, err)
	for _, f := range []string{"doclens.0.json", "0.codes.pt", "0.residuals.pt"} {
		put(t, dir, f, files[strings.Replace(f, "0", "2", 1)])
	}
	for _, err := range s.Documents(ctx) {
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func fuzzOpen(f *testing.F, format Format) {
	files, err := smallFiles[format]()
	require.NoError(f, err)
	names := needed(files)
	for i, n := range names {
		f.Add(i, files[n])
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		dir := smallIndex(t, format)
		put(t, dir, names[uint(i)%uint(len(names))], b)
		err := readAll(dir, nil)
		require.True(t, named(err), "%v", err)
	})
}

func FuzzColBERTAI(f *testing.F) { fuzzOpen(f, ColBERTAI) }
func FuzzFastPLAID(f *testing.F) { fuzzOpen(f, FastPLAID) }

// FuzzIDs puts anything in the place of the files that name documents.
func FuzzIDs(f *testing.F) {
	names := []string{ragDocIDs, ragCollection, ragMetadata, golbertIDs, pylateToDoc, pylateToPlad}
	for i, s := range []string{`{"0": "a", "1": "a"}`, `["a", "b"]`, `{"0": {"x": [1]}}`, `["a"]`, "\x80\x02}K\x00X\x01\x00\x00\x00as.", "\x80\x04}\x94."} {
		f.Add(i, []byte(s))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		dir := smallIndex(t, ColBERTAI)
		name := names[uint(i)%uint(len(names))]
		if name == pylateToPlad {
			put(t, dir, pylateToDoc, []byte("\x80\x02}."))
		}
		put(t, dir, name, b)
		err := readAll(dir, nil)
		require.True(t, named(err), "%v", err)
	})
}
