package hub

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	commit1 = "0123456789abcdef0123456789abcdef01234567"
	commit2 = "89abcdef0123456789abcdef0123456789abcdef"
	repo    = "org/tiny-model"
)

// fakeHub speaks the hub's protocol: the listing, HEAD and GET of files, and a second server for large ones.
type fakeHub struct {
	t      testing.TB
	server *httptest.Server
	store  *httptest.Server
	mu     sync.Mutex
	refs   map[string]string            // revision to commit
	files  map[string]map[string][]byte // commit to files
	large  map[string]bool              // names that lie in the store
	token  string                       // asked for when set
	hook   func(w http.ResponseWriter, r *http.Request) bool
	gets   map[string]int // GETs of files, by name
	ranges []string
	// What the store saw; it must never see the token.
	leaked atomic.Bool
}

func gitSHA(b []byte) string {
	return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...)))
}

func newHub(t testing.TB) *fakeHub {
	weights := bytes.Repeat([]byte("weights!"), 100_000)
	files := map[string][]byte{
		"config.json": []byte(`{"model_type":"bert"}`), "tokenizer.json": []byte(`{}`), "model.safetensors": weights,
		"pytorch_model.bin": []byte("not wanted"), "README.md": []byte("no"), "onnx/model.onnx": []byte("no"),
		"1_Dense/config.json": []byte(`{"in_features":4}`), "1_Dense/pytorch_model.bin": []byte("dense"), "modules.json": []byte(`[]`),
	}
	h := &fakeHub{
		t: t, refs: map[string]string{"main": commit1, commit1: commit1, "refs/pr/1": commit1}, gets: map[string]int{},
		files: map[string]map[string][]byte{commit1: files}, large: map[string]bool{"model.safetensors": true},
	}
	h.server = httptest.NewServer(http.HandlerFunc(h.serve))
	h.store = httptest.NewServer(http.HandlerFunc(h.serveStore))
	t.Cleanup(h.server.Close)
	t.Cleanup(h.store.Close)
	return h
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		w.Header().Set("X-Error-Message", "Access to model org/tiny-model is restricted")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if rev, ok := strings.CutPrefix(r.URL.Path, "/api/models/"+repo+"/revision/"); ok {
		h.list(w, rev)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/")
	commit, name, _ := strings.Cut(path, "/")
	h.mu.Lock()
	b, found := h.files[commit][name]
	large := h.large[name]
	h.mu.Unlock()
	if !ok || !found {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if large {
		w.Header().Set("X-Linked-Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(b))))
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(b)))
		w.Header().Set("Location", h.store.URL+"/"+commit+"/"+name+"?Signature=secret")
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+gitSHA(b)+`"`)
	h.content(w, r, name, b)
}

func (h *fakeHub) serveStore(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		h.leaked.Store(true)
	}
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	commit, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	h.mu.Lock()
	b := h.files[commit][name]
	h.mu.Unlock()
	h.content(w, r, name, b)
}

func (h *fakeHub) content(w http.ResponseWriter, r *http.Request, name string, b []byte) {
	if r.Method == http.MethodGet {
		h.mu.Lock()
		h.gets[name]++
		if v := r.Header.Get("Range"); v != "" {
			h.ranges = append(h.ranges, v)
		}
		h.mu.Unlock()
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (h *fakeHub) list(w http.ResponseWriter, rev string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	commit, ok := h.refs[rev]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"error":"Invalid rev id: %s"}`, rev)
		return
	}
	l := map[string]any{"sha": commit}
	var siblings []any
	for name, b := range h.files[commit] {
		f := map[string]any{"rfilename": name, "size": len(b), "blobId": gitSHA(b)}
		if h.large[name] {
			f["lfs"] = map[string]any{"sha256": fmt.Sprintf("%x", sha256.Sum256(b)), "size": len(b)}
		}
		siblings = append(siblings, f)
	}
	l["siblings"] = siblings
	require.NoError(h.t, json.NewEncoder(w).Encode(l))
}

func (h *fakeHub) on(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	h.hook = f
	h.mu.Unlock()
}

// options are for this hub and an empty cache, without pauses.
func (h *fakeHub) options(t testing.TB) *Options {
	for _, v := range []string{"HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"} {
		if s, ok := t.(*testing.T); ok {
			s.Setenv(v, "")
		}
	}
	return &Options{Endpoint: h.server.URL, CacheDir: t.TempDir(), wait: func(time.Duration) time.Duration { return time.Millisecond }}
}

func TestFetch(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	var last Progress
	o.Progress = func(p Progress) {
		require.GreaterOrEqual(t, p.AllDone, last.AllDone)
		last = p
	}
	dir, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(o.CacheDir, "models--org--tiny-model", "snapshots", commit1), dir)
	var names []string
	require.NoError(t, filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, filepath.ToSlash(rel))
			got, err := os.ReadFile(p)
			require.NoError(t, err)
			require.Equal(t, h.files[commit1][filepath.ToSlash(rel)], got)
		}
		return err
	}))
	require.Equal(t, []string{"1_Dense/config.json", "1_Dense/pytorch_model.bin", "config.json", "model.safetensors", "modules.json", "tokenizer.json"}, names)
	require.Equal(t, last.AllSize, last.AllDone)
	require.Equal(t, last.Done, last.Total)
	link, err := os.Readlink(filepath.Join(dir, "1_Dense", "config.json"))
	require.NoError(t, err)
	require.Equal(t, "../../../blobs/"+gitSHA([]byte(`{"in_features":4}`)), filepath.ToSlash(link))
	ref, err := os.ReadFile(filepath.Join(o.CacheDir, "models--org--tiny-model", "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, commit1, string(ref))

	// Again: nothing is downloaded.
	last = Progress{}
	gets := len(h.gets)
	for _, n := range h.gets {
		require.Equal(t, 1, n)
	}
	again, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Len(t, h.gets, gets)
	for _, n := range h.gets {
		require.Equal(t, 1, n)
	}

	// Offline, by branch, by commit, and from the environment.
	h.server.Close()
	off := *o
	off.Offline = true
	for _, rev := range []string{"", "main", commit1} {
		off.Revision = rev
		got, err := Fetch(t.Context(), repo, &off)
		require.NoError(t, err)
		require.Equal(t, dir, got)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	t.Setenv("HF_HUB_CACHE", o.CacheDir)
	got, err := Fetch(t.Context(), repo, nil)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	for _, rev := range []string{"v1", commit2} {
		_, err = Fetch(t.Context(), repo, &Options{Revision: rev})
		require.ErrorIs(t, err, ErrOffline)
		require.ErrorContains(t, err, rev)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
	_, err = Fetch(t.Context(), repo, nil)
	require.ErrorIs(t, err, ErrOffline)
	require.ErrorContains(t, err, "no weights")
	// Another tool may have fetched one of two parts.
	index := filepath.Join(dir, "model.safetensors.index.json")
	require.NoError(t, os.WriteFile(index, []byte(`{"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}`), 0o666))
	_, err = Fetch(t.Context(), repo, nil)
	require.ErrorIs(t, err, ErrOffline)
	require.ErrorContains(t, err, "1.safetensors")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.safetensors"), nil, 0o666))
	_, err = Fetch(t.Context(), repo, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(index, []byte(`{"weight_map":{"a":"../x"}}`), 0o666))
	_, err = Fetch(t.Context(), repo, nil)
	require.ErrorIs(t, err, ErrName)
	t.Setenv("HF_HUB_OFFLINE", "0")
	o.Retries = -1
	_, err = Fetch(t.Context(), repo, o)
	require.Error(t, err, "a network that fails is an error")
}

func TestHome(t *testing.T) {
	h := newHub(t)
	h.options(t)
	home := t.TempDir()
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_ENDPOINT", h.server.URL+"/")
	h.token = "hf_secret"
	_, err := Fetch(t.Context(), repo, nil)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.ErrorContains(t, err, "restricted")
	t.Setenv("HF_TOKEN", "hf_secret")
	dir, err := Fetch(t.Context(), repo, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(home, "hub", "models--org--tiny-model", "snapshots", commit1), dir)
	require.False(t, h.leaked.Load(), "the token reached another host")
}

func TestRevisions(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	for rev, want := range map[string]string{"refs/pr/1": commit1, commit1: commit1} {
		o.Revision = rev
		dir, err := Fetch(t.Context(), repo, o)
		require.NoError(t, err)
		require.Equal(t, want, filepath.Base(dir))
	}
	_, err := os.Stat(filepath.Join(o.CacheDir, "models--org--tiny-model", "refs", "refs", "pr", "1"))
	require.NoError(t, err)
	// The branch moves on: new files, the old snapshot stays, equal content is not fetched again.
	h.mu.Lock()
	h.files[commit2] = map[string][]byte{}
	for k, v := range h.files[commit1] {
		h.files[commit2][k] = v
	}
	h.files[commit2]["config.json"] = []byte(`{"model_type":"roberta"}`)
	h.refs["main"] = commit2
	h.mu.Unlock()
	o.Revision = ""
	dir, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	require.Equal(t, commit2, filepath.Base(dir))
	require.Equal(t, 1, h.gets["model.safetensors"])
	require.Equal(t, 2, h.gets["config.json"])
	o.Revision = "absent"
	_, err = Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "Invalid rev id")
	var se *StatusError
	require.ErrorAs(t, err, &se)
	require.Equal(t, 404, se.Code)
	// A hub that answers with another commit than the one asked for.
	h.refs[commit2] = commit1
	o.Revision = commit2
	_, err = Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrProtocol)
}

func TestNames(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	for _, name := range []string{"", "/", "a/b/c", "../x", "a/..", "org/", "/x", "a--b/c", ".x", "x.", "a b", "a\\b", "c:x", "%2e%2e/x", strings.Repeat("a", 97), "é"} {
		_, err := Fetch(t.Context(), name, o)
		require.ErrorIs(t, err, ErrName, name)
	}
	for _, rev := range []string{"../x", "/x", "a\\b", "a/../b", "x ", "c:", ".", "a//b", strings.Repeat("x", 300), "a\nb"} {
		o.Revision = rev
		_, err := Fetch(t.Context(), repo, o)
		require.ErrorIs(t, err, ErrName, rev)
	}
	o.Revision = ""
	for _, name := range []string{"../config.json", "/etc/passwd", "1_Dense/../../config.json", `..\config.json`, "c:config.json"} {
		h.files[commit1][name] = []byte("x")
		_, err := Fetch(t.Context(), repo, o)
		require.ErrorIs(t, err, ErrName, name)
		delete(h.files[commit1], name)
	}
	for _, e := range []string{"ftp://x", "not an address", "https://user:pw@x", "https://"} {
		_, err := Fetch(t.Context(), repo, &Options{Endpoint: e, CacheDir: t.TempDir()})
		require.ErrorIs(t, err, ErrName, e)
	}
	_, err := Fetch(t.Context(), repo, &Options{Token: "a\r\nX: y", CacheDir: t.TempDir()})
	require.ErrorContains(t, err, "line break")
}

func TestOddAnswers(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	o.Retries = -1
	for name, body := range map[string]string{"html": "<html>", "no commit": "{}", "short commit": `{"sha":"abc"}`, "nothing of use": `{"sha":"` + commit1 + `","siblings":[{"rfilename":"README.md"}]}`} {
		h.on(func(w http.ResponseWriter, r *http.Request) bool { io.WriteString(w, body); return true })
		_, err := Fetch(t.Context(), repo, o)
		if name == "nothing of use" {
			require.ErrorIs(t, err, ErrNotFound)
		} else {
			require.ErrorIs(t, err, ErrProtocol, name)
		}
	}
	// A mirror that sends neither checksums nor sizes.
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			fmt.Fprintf(w, `{"sha":"%s","siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"}]}`, commit1)
		}
		return true
	})
	_, err := Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorContains(t, err, "no checksum")
	// A range that was not asked for.
	h.on(cut(1, true))
	_, err = Fetch(t.Context(), repo, o)
	require.Error(t, err)
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			return false
		}
		w.Header().Set("Content-Range", "bytes 5-9/800000")
		w.WriteHeader(http.StatusPartialContent)
		return true
	})
	_, err = Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrProtocol)
}

func TestChoose(t *testing.T) {
	for name, c := range map[string][2][]string{
		"shards":     {{"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}, {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}},
		"both":       {{"model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"}, {"model.safetensors"}},
		"pickles":    {{"pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin", "training_args.bin"}, {"pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"}},
		"per folder": {{"model.safetensors", "2_Dense/pytorch_model.bin", "2_Dense/sub/config.json", "runs/config.json", "_x/config.json", "1_/config.json"}, {"2_Dense/pytorch_model.bin", "model.safetensors"}},
		"bge":        {{"colbert_linear.pt", "sparse_linear.pt", "onnx/config.json"}, {"colbert_linear.pt"}},
	} {
		require.Equal(t, c[1], choose(c[0]), name)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"org/name", "refs/pr/1", "../x", `a\b`, "1_Dense/config.json", "c:x"} {
		f.Add(s)
	}
	root := string(filepath.Separator) + filepath.Join("cache", "x")
	f.Fuzz(func(t *testing.T, s string) {
		in := func(p string) bool {
			rel, err := filepath.Rel(root, p)
			return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
		}
		if checkRepo(s) == nil && !in(filepath.Join(root, repoFolder(s))) {
			t.Fatalf("repository %q leaves the cache", s)
		}
		if checkRevision(s) == nil && !in(filepath.Join(root, filepath.FromSlash(s))) {
			t.Fatalf("revision %q leaves the cache", s)
		}
		if local(s) && !in(filepath.Join(root, filepath.FromSlash(s))) {
			t.Fatalf("file %q leaves the cache", s)
		}
	})
}
