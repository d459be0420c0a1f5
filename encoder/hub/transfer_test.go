package hub

import (
	"bytes"
	"context"
	"errors"
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

// cut answers the first GETs of the weights with a part only.
func cut(times int, ranges bool) func(w http.ResponseWriter, r *http.Request) bool {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "model.safetensors") || r.URL.RawQuery == "" {
			return false
		}
		if !ranges {
			r.Header.Del("Range")
		}
		if n.Add(1) > int64(times) {
			return false
		}
		start := 0
		if v := r.Header.Get("Range"); v != "" {
			fmt.Sscanf(v, "bytes=%d-", &start)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-799999/800000", start))
		}
		w.Header().Set("Content-Length", strconv.Itoa(800_000-start))
		if start > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(bytes.Repeat([]byte("weights!"), 10_000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestResume(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	o.Retries = 1 // progress between faults starts the count again
	h.on(cut(4, true))
	dir, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, h.files[commit1]["model.safetensors"], got)
	require.NotEmpty(t, h.ranges)
	for _, r := range h.ranges {
		require.NotEqual(t, "bytes=0-", r)
	}

	// A later call goes on with what an earlier one left.
	o = h.options(t)
	o.Retries = -1
	h.on(cut(1, true))
	_, err = Fetch(t.Context(), repo, o)
	require.Error(t, err)
	parts, err := filepath.Glob(filepath.Join(o.CacheDir, "models--org--tiny-model", "blobs", strings.Repeat("?", 64)+".incomplete"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	h.ranges = nil
	_, err = Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	require.Equal(t, []string{"bytes=80000-"}, h.ranges)

	// A damaged part is thrown away; so is one of a server without ranges, and one that is too long.
	for name, part := range map[string][]byte{"damaged": bytes.Repeat([]byte("x"), 80_000), "long": make([]byte, 900_000), "whole": h.files[commit1]["model.safetensors"]} {
		o = h.options(t)
		require.NoError(t, os.MkdirAll(filepath.Join(o.CacheDir, "models--org--tiny-model", "blobs"), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(o.CacheDir, "models--org--tiny-model", "blobs", filepath.Base(parts[0])), part, 0o666))
		h.on(nil)
		dir, err = Fetch(t.Context(), repo, o)
		require.NoError(t, err, name)
		got, err = os.ReadFile(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		require.Equal(t, h.files[commit1]["model.safetensors"], got, name)
	}
	o = h.options(t)
	h.on(cut(2, false))
	_, err = Fetch(t.Context(), repo, o)
	require.NoError(t, err)
}

func TestChecksum(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	other := bytes.Repeat([]byte("w3ights!"), 100_000)
	for name, hook := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"other content": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.RawQuery == "Signature=secret" {
				w.Write(other)
				return true
			}
			return false
		},
		"more": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.RawQuery == "Signature=secret" {
				w.Write(append(other, other...))
				return true
			}
			return false
		},
		"small file": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/config.json") {
				io.WriteString(w, `{"model_type":"BERT"}`)
				return true
			}
			return false
		},
		"other checksum": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/config.json") {
				w.Header().Set("ETag", `"`+gitSHA(other)+`"`)
				w.Header().Set("Content-Length", "21")
				return true
			}
			return false
		},
	} {
		h.on(hook)
		_, err := Fetch(t.Context(), repo, o)
		require.ErrorIs(t, err, ErrChecksum, name)
		require.NotContains(t, err.Error(), "secret", "an error must not show the signature of an address")
		for _, where := range []string{"blobs/*.incomplete", "refs/main", "snapshots/*/model.safetensors"} {
			left, err := filepath.Glob(filepath.Join(o.CacheDir, "models--org--tiny-model", where))
			require.NoError(t, err)
			require.Empty(t, left, name)
		}
		o = h.options(t)
	}
}

func TestBusyHub(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	var waits []time.Duration
	var mu sync.Mutex
	o.wait = func(d time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, d)
		return time.Millisecond
	}
	var n atomic.Int64
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	})
	_, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{7 * time.Second, time.Second}, waits)

	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error":"We had to rate limit you"}`)
		return true
	})
	_, err = Fetch(t.Context(), repo, o)
	var se *StatusError
	require.ErrorAs(t, err, &se)
	require.Equal(t, http.StatusTooManyRequests, se.Code)
	require.Equal(t, 9*time.Second, se.RetryAfter)
	require.ErrorContains(t, err, "rate limit")
	// A hub that asks for hours is not waited for.
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	waits = nil
	_, err = Fetch(t.Context(), repo, o)
	require.ErrorAs(t, err, &se)
	require.Greater(t, se.RetryAfter, 2*time.Hour)
	require.Empty(t, waits)
}

func TestRedirects(t *testing.T) {
	h := newHub(t)
	h.token = "hf_secret"
	o := h.options(t)
	o.Token = "hf_secret"
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			h.leaked.Store(true)
		}
		http.NotFound(w, r)
	}))
	defer other.Close()
	// A renamed repository: the hub answers with a path of its own.
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old/name/"); ok {
			w.Header().Set("Location", "/"+repo+"/"+rest)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/old/name/"); ok {
			w.Header().Set("Location", "/api/models/"+repo+"/"+rest)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	dir, err := Fetch(t.Context(), "old/name", o)
	require.NoError(t, err)
	require.Contains(t, dir, "models--old--name")
	require.False(t, h.leaked.Load())

	for name, location := range map[string]string{"loop": h.server.URL + "/api/models/" + repo + "/revision/main", "elsewhere": other.URL + "/x", "scheme": "ftp://" + other.URL[7:], "none": ""} {
		h.on(func(w http.ResponseWriter, r *http.Request) bool {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusFound)
			return true
		})
		_, err = Fetch(t.Context(), repo, o)
		if name == "elsewhere" {
			require.ErrorIs(t, err, ErrNotFound)
		} else {
			require.ErrorIs(t, err, ErrProtocol, name)
		}
		require.False(t, h.leaked.Load(), name)
	}
}

func TestConcurrent(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = Fetch(t.Context(), repo, o) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, 1, h.gets["model.safetensors"])
}

func TestCancel(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery != "Signature=secret" {
			return false
		}
		w.Header().Set("Content-Length", "800000")
		w.Write(make([]byte, 100))
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := Fetch(ctx, repo, o)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCopies(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	o.noSym = true
	dir, err := Fetch(t.Context(), repo, o)
	require.NoError(t, err)
	st, err := os.Lstat(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.True(t, st.Mode().IsRegular())
	_, err = Fetch(t.Context(), repo, o)
	require.NoError(t, err)
}

func TestLimits(t *testing.T) {
	h := newHub(t)
	o := h.options(t)
	o.MaxFile = 1000
	_, err := Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "model.safetensors")
	o.MaxFile, o.MaxTotal = 0, 800_001
	_, err = Fetch(t.Context(), repo, o)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Empty(t, h.gets)
}
