//go:build darwin || linux || windows

package cuda

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/quant"
)

func errorsIsClosed(err error) bool { return errors.Is(err, ErrClosed) }

func TestNoDriver(t *testing.T) {
	t.Setenv(EnvDriver, filepath.Join(t.TempDir(), "libcuda.so"))
	_, err := Open(0)
	require.ErrorIs(t, err, ErrNoDriver)
	_, err = Devices()
	require.ErrorIs(t, err, ErrNoDriver)
	_, err = plaid.OpenDevice("cuda")
	require.ErrorIs(t, err, plaid.ErrDevice)
	require.ErrorIs(t, err, ErrNoDriver)
	_, err = plaid.OpenDevice("cuda:x")
	require.ErrorIs(t, err, plaid.ErrDevice)
	_, err = plaid.OpenDevice("metal")
	require.ErrorContains(t, err, "there are: cuda")
}

func TestDevices(t *testing.T) {
	useShim(t, 1<<20)
	infos, err := Devices()
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.Equal(t, Info{Name: "host emulation", Major: 8, Multiprocessors: 2, Clock: 1000000, Memory: 1 << 20, Driver: 12000}, infos[0])
	_, err = Open(1)
	require.ErrorIs(t, err, ErrNoDevice)
	_, err = Open(-1)
	require.ErrorIs(t, err, ErrNoDevice)
	dev, err := plaid.OpenDevice("cuda:0")
	require.NoError(t, err)
	require.Equal(t, "cuda:0 host emulation", dev.Name())
	require.NoError(t, dev.Close())
	require.NoError(t, dev.Close())
	_, _, err = dev.(*Device).Assign(bg, maxsim.New(1, 8), maxsim.New(1, 8))
	require.ErrorIs(t, err, ErrClosed)
}

// TestFaults lets every call of every function fail in turn, from opening the device to a search: an error that wraps what
// the driver said, nothing left in device memory (useShim looks), and the CPU still searches.
func TestFaults(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	cpu := plaid.NewSearcher(c.snap)
	want, err := cpu.Search(bg, c.queries[0], 3, nil)
	require.NoError(t, err)
	injected := 0
	for _, f := range []string{"cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuModuleLoadDataEx", "cuMemAlloc_v2", "cuMemHostAlloc",
		"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize", "cuEventCreate", "cuEventRecord", "cuEventQuery", "cuLaunchKernel"} {
		for nth := 1; ; nth++ {
			if testing.Short() && nth > 4 {
				break
			}
			shimReset(1 << 30)
			shimFail(f, nth, codeOutOfMemory)
			hits, err := searchOnce(c)
			if err == nil {
				sameHits(t, want, hits, c.queries[0].Rows)
				break // more calls than there are
			}
			injected++
			require.ErrorIs(t, err, ErrOutOfMemory, "%s %d", f, nth)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, f, e.Call)
			require.Zero(t, shimReset(1<<30), "%s %d: allocations left", f, nth)
			again, err := cpu.Search(bg, c.queries[0], 3, nil)
			require.NoError(t, err)
			require.Equal(t, want, again)
		}
	}
	require.Greater(t, injected, 15)
	t.Logf("faults=%d leaks=0", injected)
}

// TestFaultsLater lets the calls fail of batches, MaxSim and coding, on a device that goes on working after it.
func TestFaultsLater(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dev := openDevice(t)
	queries, most := []maxsim.Matrix{c.queries[0], c.queries[2]}, 12
	if testing.Short() {
		most = 3
	}
	sample := random(rand.New(rand.NewPCG(5, 5)), 90, 16)
	cb, err := quant.Train(bg, sample, &quant.TrainOptions{NBits: 2, Centroids: 8})
	require.NoError(t, err)
	type loaded struct {
		*plaid.Searcher
		docs  *Documents
		coder *Coder
	}
	uses := map[string]func(loaded) error{
		"probing": func(l loaded) error {
			_, err := l.SearchBatch(bg, queries, 3, &plaid.Options{NProbe: 4, NDocs: 25})
			return err
		},
		"exhaustive": func(l loaded) error {
			_, err := l.SearchBatch(bg, queries, 3, &plaid.Options{Exhaustive: true})
			return err
		},
		"MaxSim": func(l loaded) error {
			_, err := l.docs.Scores(bg, queries)
			return err
		},
		"coding": func(l loaded) error {
			_, err := l.coder.Encode(bg, sample)
			return err
		},
		"k-means": func(loaded) error {
			_, err := dev.KMeans(bg, sample, 5, &quant.KMeansOptions{Iterations: 2})
			return err
		},
		"a new coder": func(loaded) error {
			_, err := dev.Encode(bg, cb, sample)
			return err
		},
	}
	for what, use := range uses {
		for _, f := range []string{"cuMemAlloc_v2", "cuMemHostAlloc", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuEventQuery", "cuLaunchKernel"} {
			injected := 0
			for nth := 1; nth <= most; nth++ {
				var l loaded
				var err error
				l.Searcher, err = plaid.NewSearcherOn(bg, c.snap, dev, &plaid.DeviceOptions{HostResiduals: true})
				require.NoError(t, err)
				l.docs, err = dev.LoadDocuments(bg, queries, Float16)
				require.NoError(t, err)
				l.coder, err = dev.NewCoder(bg, cb)
				require.NoError(t, err)
				shimFail(f, nth, codeOutOfMemory)
				failed := use(l)
				shimFail(f, 1<<30, 0)
				require.NoError(t, use(l), "%s after %s %d", what, f, nth)
				require.NoError(t, l.Close())
				require.NoError(t, l.docs.Close())
				require.NoError(t, l.coder.Close())
				if failed == nil {
					break // more calls than there are
				}
				injected++
				require.ErrorIs(t, failed, ErrOutOfMemory, "%s: %s %d", what, f, nth)
			}
			require.Positive(t, injected, "%s: %s", what, f)
		}
	}
}

func searchOnce(c *collection) (hits []plaid.Hit, err error) {
	dev, err := Open(0)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	s, err := plaid.NewSearcherOn(bg, c.snap, dev, &plaid.DeviceOptions{HostResiduals: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Search(bg, c.queries[0], 3, nil)
}

// A device that is lost says so until it is opened again.
func TestLost(t *testing.T) {
	useShim(t, 1<<30)
	var c *collection
	t.Cleanup(func() {
		maps, err := os.ReadFile("/proc/self/maps")
		if err == nil {
			require.NotContains(t, string(maps), c.dir, "the snapshot is held by an index on a device that is gone")
		}
	})
	c = newCollection(t, 4, 16, 100, 70)
	dev, err := Open(0)
	require.NoError(t, err)
	s, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	_, err = s.Search(bg, c.queries[1], 3, nil)
	require.NoError(t, err)
	shimFail("cuLaunchKernel", 1, 719)
	_, err = s.Search(bg, c.queries[1], 3, nil)
	require.ErrorIs(t, err, ErrLost)
	require.ErrorIs(t, err, plaid.ErrDevice)
	shimFail("cuLaunchKernel", 1<<30, 0)
	_, err = s.Search(bg, c.queries[1], 3, nil)
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "cuLaunchKernel")
	require.ErrorContains(t, err, dev.Name(), "which device")
	require.ErrorIs(t, s.Close(), ErrLost)
	require.NoError(t, dev.Close())
	shimReset(1 << 30) // the memory is gone with the context
	got, err := searchOnce(c)
	require.NoError(t, err)
	require.Len(t, got, 3)
}

// An index that is larger than the device keeps its residuals on the host by itself; one that does not fit at all is an
// error.
func TestMemory(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 8, 48, 100, 20)
	dev, err := Open(0)
	require.NoError(t, err)
	defer dev.Close()
	residuals := int(c.snap.NumTokens()) * 48
	shimReset(residuals * 2)
	s, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	info, _ := s.Device()
	require.True(t, info.HostResiduals)
	require.NoError(t, s.Close())

	// An exhaustive search goes through all of them in parts.
	shimReset(residuals * 3 / 2)
	s, err = plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	want, err := plaid.NewSearcher(c.snap).Search(bg, c.queries[0], 20, &plaid.Options{Exhaustive: true})
	require.NoError(t, err)
	got, err := s.Search(bg, c.queries[0], 20, &plaid.Options{Exhaustive: true})
	require.NoError(t, err)
	sameHits(t, want, got, c.queries[0].Rows)
	require.NoError(t, s.Close())
	shimReset(residuals / 4)
	_, err = plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.ErrorIs(t, err, plaid.ErrDevice)
	_, err = dev.LoadDocuments(bg, []maxsim.Matrix{random(rand.New(rand.NewPCG(1, 2)), residuals/16/4, 16)}, Float32)
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.Zero(t, shimReset(1<<30))
}
