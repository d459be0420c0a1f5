package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/hub"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// TestFetch downloads one of the encoder's tiny checkpoints from a server that speaks the hub's protocol, and encodes
// with it.
func TestFetch(t *testing.T) {
	const root = "../../encoder/testdata/layouts/native_fixed"
	files := map[string][]byte{}
	require.NoError(t, filepath.Walk(root, func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			rel, _ := filepath.Rel(root, p)
			files[filepath.ToSlash(rel)], err = os.ReadFile(p)
		}
		return err
	}))
	sum := func(b []byte) string {
		return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...)))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/models/org/tiny/revision/main" {
			var l []any
			for n, b := range files {
				l = append(l, map[string]any{"rfilename": n, "size": len(b), "blobId": sum(b)})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": l})
			return
		}
		b, ok := files[strings.TrimPrefix(r.URL.Path, "/org/tiny/resolve/"+commit+"/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"`+sum(b)+`"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
	}))
	defer s.Close()
	for _, v := range []string{"HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"} {
		t.Setenv(v, "")
	}
	t.Setenv("HF_ENDPOINT", s.URL)
	cache := t.TempDir()
	var out, status bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-cache", cache, "org/tiny"}, &out, &status))
	require.Contains(t, status.String(), "sentence-transformers")
	require.Contains(t, status.String(), "download of")
	dir := strings.TrimSpace(out.String())
	m, err := encoder.Open(dir, nil)
	require.NoError(t, err)
	defer m.Close()
	e, err := m.EncodeQuery(t.Context(), "Which planet is red?", nil)
	require.NoError(t, err)
	require.Equal(t, 8, e.Vectors.Dim)

	s.Close()
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-cache", cache, "-offline", "org/tiny"}, &out, &status))
	require.Equal(t, dir, strings.TrimSpace(out.String()))
	require.ErrorIs(t, run(t.Context(), []string{"-cache", cache, "-offline", "org/other"}, &out, &status), hub.ErrOffline)
	require.ErrorIs(t, run(t.Context(), nil, &out, &status), flag.ErrHelp)
}
