package encoder

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFullSize opens a checkpoint of the size of ColBERT-XM for one language and encodes a passage and a query. The
// environment variable GOLBERT_XMOD names its folder; encoder/scripts/xmod_full.py makes one.
func TestFullSize(t *testing.T) {
	dir := os.Getenv("GOLBERT_XMOD")
	if dir == "" {
		t.Skip("skipped: set GOLBERT_XMOD to a folder with ColBERT-XM")
	}
	text := strings.Repeat("The tides are raised by the moon's gravity and, less strongly, by that of the sun. ", 20)
	before := resident(t)
	start, began := time.Now(), cpu(t)
	m, err := Open(dir, &Options{Language: "en"})
	require.NoError(t, err)
	defer m.Close()
	opened, afterOpen, work := time.Since(start), resident(t), cpu(t)-began
	start = time.Now()
	docs, err := m.EncodeDocuments(ctx, []string{text}, nil)
	require.NoError(t, err)
	passage := time.Since(start)
	start = time.Now()
	_, err = m.EncodeQuery(ctx, "what raises the tides", nil)
	require.NoError(t, err)
	query, after := time.Since(start), resident(t)
	start = time.Now()
	_, err = m.EncodeQuery(ctx, "was hebt die Gezeiten", &TextOptions{Language: "de"})
	require.NoError(t, err)
	t.Logf("%d parameters in use, %d languages: opened in %.2f s (%.2f s of processor time), passage of %d vectors in %.2f s, query in %.3f s, first query in another language in %.3f s",
		m.Info().Parameters, len(m.Languages()), opened.Seconds(), work.Seconds(), docs[0].Vectors.Rows, passage.Seconds(), query.Seconds(), time.Since(start).Seconds())
	t.Logf("resident: %d MB at the start, %d MB open, %d MB after encoding, %d MB with a second language", before>>20, afterOpen>>20, after>>20, resident(t)>>20)
	require.Less(t, after, int64(1.4e9))
}

// resident gives the memory that the process holds (VmRSS), mapped pages included.
func resident(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, s, ok := strings.Cut(string(b), "VmRSS:")
	require.True(t, ok)
	var kb int64
	_, err = fmt.Sscan(s, &kb)
	require.NoError(t, err)
	return kb << 10
}

// cpu gives the processor time that the process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
