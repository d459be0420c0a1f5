package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
)

// TestAddLanguage measures steps of training adapters for a new language in a checkpoint of the size of ColBERT-XM. The
// environment variable GOLBERT_XMOD names its folder; encoder/scripts/xmod_full.py makes one.
func TestAddLanguage(t *testing.T) {
	dir := os.Getenv("GOLBERT_XMOD")
	if dir == "" {
		t.Skip("skipped: set GOLBERT_XMOD to a folder with ColBERT-XM")
	}
	for _, p := range []encoder.Precision{encoder.Float32, encoder.BFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			start := time.Now()
			m, err := OpenModel(dir, &ModelOptions{Part: AdaptersOnly, Languages: []string{"yo_NG"}, Precision: p})
			require.NoError(t, err)
			defer m.Close()
			opened := time.Since(start)
			params := 0
			for _, x := range m.Params() {
				params += len(x.Value)
			}
			part := m.net.adapters.part("yo_NG")
			side := func(texts, tokens int) *Sequences {
				s := &Sequences{Offsets: []int{0}}
				for i := range texts {
					for j := range tokens {
						s.IDs, s.Keep = append(s.IDs, int32(10+(i*7919+j*104729)%200000)), append(s.Keep, true)
					}
					s.Offsets, s.Attended, s.Parts = append(s.Offsets, len(s.IDs)), append(s.Attended, tokens), append(s.Parts, part)
				}
				return s
			}
			q, d := side(16, 32), side(16, 112)
			var wall, cpu time.Duration
			const steps = 3
			for i := range 1 + steps { // the first packs the weights
				w, c := time.Now(), processor(t)
				_, err := m.Backward(context.Background(), q, d, mean, 1)
				require.NoError(t, err)
				for _, p := range m.Params() {
					for j, g := range p.Grad {
						p.Value[j] -= 1e-3 * g
					}
					clear(p.Grad)
				}
				if i > 0 {
					wall, cpu = wall+time.Since(w), cpu+processor(t)-c
				}
			}
			n := float64(steps * (len(q.IDs) + len(d.IDs)))
			out := filepath.Join(t.TempDir(), "pack")
			require.NoError(t, m.SaveDelta(out, nil))
			st, err := os.Stat(filepath.Join(out, "delta.safetensors"))
			require.NoError(t, err)
			t.Logf("%d parameters learn; opened in %.1f s; %.0f tokens/s, %.0f per second of processor time; peak of resident memory so far %s; pack of %d MB",
				params, opened.Seconds(), n/wall.Seconds(), n/cpu.Seconds(), peak(t), st.Size()>>20)
		})
	}
}

// processor gives the processor time that the process has used.
func processor(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak gives VmHWM and what of the memory is not mapped files.
func peak(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	field := func(name string) int {
		_, s, ok := strings.Cut(string(b), name+":")
		require.True(t, ok)
		var kb int
		_, err = fmt.Sscan(s, &kb)
		require.NoError(t, err)
		return kb >> 10
	}
	return fmt.Sprintf("%d MB (now %d MB, of which %d MB are not mapped files)", field("VmHWM"), field("VmRSS"), field("RssAnon"))
}
