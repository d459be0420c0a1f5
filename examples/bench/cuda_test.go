//go:build linux

package main

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/cudahost"
	"github.com/golbert/golbert/plaid/cuda"
)

// TestCUDA runs everything that is for a device on the host's stand-in for one.
func TestCUDA(t *testing.T) {
	driver, err := cudahost.Build(t.TempDir(), "../../plaid/cuda/shim")
	if errors.Is(err, cudahost.ErrNoCompiler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Setenv(cuda.EnvDriver, driver)
	got := lines(t, "-case", "cuda", "-docs", "40", "-doclen", "4", "-dim", "8", "-nq", "2", "-topk", "10", "-points", "2:20", "-batches", "1,2,3", "-time", "1ms", "-threads", "2")
	seen := map[string]int{}
	for _, m := range got {
		seen[m["bench"].(string)]++
		require.Equal(t, "cuda:0 host emulation", m["device"])
		if m["bench"] == "cuda-check" {
			require.Equal(t, true, m["ok"], m)
		}
	}
	require.Equal(t, map[string]int{"cuda-device": 1, "cuda-check": 5, "cuda-maxsim": 9, "cuda-build": 1, "cuda-load": 1, "cuda-search": 1}, seen)
	last := got[len(got)-1]
	require.Greater(t, last["recall10"], .8)
	for _, key := range []string{"qps_batch1", "qps_batch2", "qps_batch3", "qps_8_callers"} {
		require.Greater(t, last[key], 0.)
	}
	err = run(t.Context(), []string{"-case", "cuda", "-batches", "0"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "-batches")
	t.Setenv(cuda.EnvDriver, "nowhere.so")
	err = run(t.Context(), []string{"-case", "cuda"}, io.Discard, io.Discard)
	require.ErrorIs(t, err, cuda.ErrNoDriver)
}
