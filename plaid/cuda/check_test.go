//go:build linux

package cuda

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/quant"
)

// useChecked makes an emulation the driver of a test that looks at every access of the kernels (shim/check.h).
func useChecked(t *testing.T) {
	t.Helper()
	if shimPath == "" {
		t.Skip(shimWhy)
	}
	// Without the compiler's merging and vectorizing of accesses, which is not what the device does.
	path, lib, err := buildShim(t.TempDir(), "-O1", "-fsanitize=thread")
	if err != nil {
		t.Skipf("checks: %v", err)
	}
	plainPath, plainLib := shimPath, shimLib
	shimPath, shimLib = path, lib
	t.Cleanup(func() { shimPath, shimLib = plainPath, plainLib })
	useShim(t, 1<<30)
}

// shimReport is what the checks have found since the last call.
func shimReport() string {
	return cString((*byte)(pointer(shimCall("shim_report"))))
}

// pointer is an address that C gave.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// TestChecks: the checks find the faults that they are for, and nothing where there are none.
func TestChecks(t *testing.T) {
	useChecked(t)
	dev := openDevice(t)
	for name, want := range map[string]string{
		"faulty_race": "race", "faulty_warps": "race", "faulty_shuffle": "race", "faulty_blocks": "two writes race", "faulty_bounds": "out of bounds",
		"faulty_shared": "out of bounds", "faulty_alignment": "misaligned", "faulty_unwritten": "not written", "faultless": "",
	} {
		err := dev.withStream(bg, func(s *stream) error {
			return s.submit(bg, func() {
				c := append([]byte(name), 0)
				if dev.kernels[name], s.err = out[uintptr](dev.d, "cuModuleGetFunction", dev.modules[0], address(&c[0])); s.err != nil {
					return
				}
				words := 64
				switch name {
				case "faulty_alignment":
					words = 1 + 2*64
				case "faulty_bounds":
					words = 63
				}
				s.device["out"] = &mem{}
				*s.device["out"], s.err = dev.alloc(4 * words)
				blocks := 1
				if name == "faulty_blocks" {
					blocks = 2
				}
				s.run(name, blocks, 1, 64, 256, *s.device["out"])
			})
		})
		require.NoError(t, err)
		if report := shimReport(); want == "" {
			require.Empty(t, report, name)
		} else {
			require.Contains(t, report, want, name)
		}
	}
}

// TestAccesses runs every kernel under the checks: no access out of bounds, misaligned or of what was not written, and no
// race, between threads or between blocks.
func TestAccesses(t *testing.T) {
	useChecked(t)
	dev := openDevice(t)
	ran := map[string]bool{}
	dev.launched = func(kernel string) { ran[kernel] = true }
	clean := func(what string) {
		t.Helper()
		require.Empty(t, shimReport(), what)
	}
	r := rand.New(rand.NewPCG(21, 22))
	for _, dim := range []int{10, 64} {
		docs := []maxsim.Matrix{random(r, 1, dim), random(r, 33, dim), random(r, 16, dim), random(r, 5, dim), random(r, 7, dim)}
		for _, f := range []Format{Float32, Float16, BFloat16} {
			d, err := dev.LoadDocuments(bg, docs, f)
			require.NoError(t, err)
			_, err = d.Scores(bg, []maxsim.Matrix{docs[1], docs[3]})
			require.NoError(t, err)
			require.NoError(t, d.Close())
			clean(f.String())
		}
	}
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		if testing.Short() && nbits != 4 && nbits != 16 {
			continue
		}
		c := newCollection(t, nbits, 24, 80, 24)
		for _, host := range []bool{false, true} {
			if host && nbits != 4 {
				continue
			}
			s, err := plaid.NewSearcherOn(bg, c.snap, dev, &plaid.DeviceOptions{HostResiduals: host})
			require.NoError(t, err)
			for _, o := range []*plaid.Options{{NProbe: 3, NDocs: 25}, {Exhaustive: true}, {NDocs: 70}}[:map[bool]int{true: 3, false: 2}[nbits == 4]] {
				_, err = s.SearchBatch(bg, c.queries, 3, o)
				require.NoError(t, err)
				clean("a search")
			}
			require.NoError(t, s.Close())
		}
	}
	for _, dim := range []int{12, 33} {
		x := sharing(r, 90, dim)
		for _, nbits := range []int{1, 2, 4, 8, 16} {
			cb, err := quant.Train(bg, x, &quant.TrainOptions{NBits: nbits, Centroids: 7, Queries: x})
			require.NoError(t, err)
			_, err = dev.Encode(bg, cb, x)
			require.NoError(t, err)
			clean("coding")
		}
		_, err := dev.KMeans(bg, x, 5, &quant.KMeansOptions{Iterations: 2})
		require.NoError(t, err)
		clean("k-means")
	}
	require.Zero(t, shimReset(1<<20)) // whose copies are small
	_, err := dev.Peaks(bg)
	require.NoError(t, err)
	clean("peaks")
	for name := range dev.kernels {
		require.True(t, ran[name], "%s did not run", name)
	}
}

// TestFragments lays matrices into the registers of a warp as the PTX ISA says (Matrix Fragments for mma.m16n8k16 and
// mma.m16n8k32) and compares the emulation's product, also laid out as there, with the plain one.
func TestFragments(t *testing.T) {
	if shimPath == "" {
		t.Skip(shimWhy)
	}
	r := rand.New(rand.NewPCG(23, 24))
	for kind, name := range []string{"s8", "f16", "bf16"} {
		k, per := 16, 2 // elements of a register
		if name == "s8" {
			k, per = 32, 4
		}
		a, b := make([][]int, 16), make([][]int, k)
		for i := range a {
			a[i] = make([]int, k)
			for j := range a[i] {
				a[i][j] = r.IntN(15) - 7
			}
		}
		for i := range b {
			b[i] = make([]int, 8)
			for j := range b[i] {
				b[i][j] = r.IntN(15) - 7
			}
		}
		element := func(v int) uint32 {
			h := make([]uint16, 1)
			switch name {
			case "s8":
				return uint32(uint8(int8(v)))
			case "f16":
				kernel.F32ToF16(h, []float32{float32(v)})
			default:
				kernel.F32ToBF16(h, []float32{float32(v)})
			}
			return uint32(h[0])
		}
		ra, rb, rd := make([]uint32, 32*4), make([]uint32, 32*2), make([]uint32, 32*4)
		for lane := range 32 {
			group, inGroup := lane/4, lane%4 // groupID and threadID_in_group
			for i := range 4 * per {
				// m16n8k16: row = groupID for i in {0,1,4,5}, else groupID+8; col = threadID_in_group*2 + (i&1), +8 for i >= 4.
				// m16n8k32: row = groupID for i in 0-3 and 8-11; col = threadID_in_group*4 + (i&3), +16 for i >= 8.
				row, col := group, inGroup*per+i%per
				if i/per%2 == 1 {
					row += 8
				}
				if i >= 2*per {
					col += k / 2
				}
				ra[lane*4+i/per] |= element(a[row][col]) << (32 / per * (i % per))
			}
			for i := range 2 * per {
				// row = threadID_in_group*per + (i & (per-1)), + k/2 for i >= per; col = groupID.
				row := inGroup*per + i%per
				if i >= per {
					row += k / 2
				}
				rb[lane*2+i/per] |= element(b[row][group]) << (32 / per * (i % per))
			}
		}
		shimCall("shim_mma", uintptr(kind), address(&ra[0]), address(&rb[0]), address(&rd[0]))
		for lane := range 32 {
			for i := range 4 {
				row, col := lane/4, lane%4*2+i%2
				if i >= 2 {
					row += 8
				}
				want := 0
				for j := range k {
					want += a[row][j] * b[j][col]
				}
				got := int(int32(rd[lane*4+i]))
				if name != "s8" {
					got = int(*(*float32)(unsafe.Pointer(&rd[lane*4+i])))
				}
				require.Equal(t, want, got, "%s lane %d register %d", name, lane, i)
			}
		}
	}
}
