package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder"
)

// words is an encoder that gives every word a random vector of its own: equal words match, others do not.
type words struct{}

func (words) Dim() int     { return 32 }
func (words) Name() string { return "words" }

func (words) encode(texts []string) []encoder.Encoded {
	out := make([]encoder.Encoded, len(texts))
	for i, text := range texts {
		for _, word := range strings.Fields(strings.ToLower(text)) {
			h := fnv.New64a()
			h.Write([]byte(word))
			r := rand.New(rand.NewPCG(h.Sum64(), 0))
			for range 32 {
				out[i].Vectors.Data = append(out[i].Vectors.Data, float32(r.NormFloat64()))
			}
			out[i].Vectors.Rows, out[i].Vectors.Dim = out[i].Vectors.Rows+1, 32
			out[i].Tokens = append(out[i].Tokens, encoder.Token{Text: word})
		}
		out[i].Vectors.Normalize()
	}
	return out
}

func (w words) EncodeQueries(_ context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return w.said(texts, o)
}

func (w words) EncodeDocuments(_ context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return w.said(texts, o)
}

// said is encode for a model that knows German and French.
func (w words) said(texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	out := w.encode(texts)
	if o != nil && o.Language != "" {
		if o.Language != "de" && o.Language != "fr" {
			return nil, fmt.Errorf("%q: %w", o.Language, encoder.ErrLanguage)
		}
		for i := range out {
			out[i].Language = o.Language
		}
	}
	return out, nil
}

var (
	_       colbert.Encoder = words{}
	discard                 = slog.New(slog.DiscardHandler)
)

func testServer(t *testing.T, key string) (*handler, *httptest.Server) {
	ix, err := colbert.Create(t.Context(), filepath.Join(t.TempDir(), "index"), words{}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { ix.Close() })
	h := newHandler(ix, key, discard)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s
}

func call(t *testing.T, s *httptest.Server, method, path, body string, header ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var out map[string]any
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		require.NoError(t, json.Unmarshal(b, &out), "%s", b)
	}
	return res.StatusCode, out
}

func TestAddSearchDelete(t *testing.T) {
	_, s := testServer(t, "")
	status, out := call(t, s, "POST", "/v1/documents", `{"documents":[
		{"id":"a/1","text":"green tea","metadata":{"year":2020,"price":1.5,"hot":true,"from":"Uji"}},
		{"id":"b","text":"black coffee"}]}`)
	require.Equal(t, 200, status, out)
	require.EqualValues(t, 2, out["added"])

	status, out = call(t, s, "POST", "/v1/search", `{"query":"tea","k":1}`)
	require.Equal(t, 200, status, out)
	hit := out["hits"].([]any)[0].(map[string]any)
	require.Equal(t, "a/1", hit["id"])
	require.Equal(t, "green tea", hit["text"])
	require.Equal(t, map[string]any{"year": 2020.0, "price": 1.5, "hot": true, "from": "Uji"}, hit["metadata"])

	status, out = call(t, s, "POST", "/v1/documents", `{"documents":[{"id":"b","text":"mint tea"}]}`)
	require.Equal(t, 200, status, out)
	require.EqualValues(t, 1, out["replaced"])

	status, out = call(t, s, "DELETE", "/v1/documents/a/1", "")
	require.Equal(t, 200, status, out)
	status, out = call(t, s, "DELETE", "/v1/documents/a/1", "")
	require.Equal(t, 404, status)
	require.Equal(t, "UNKNOWN_ID", out["code"])

	status, out = call(t, s, "GET", "/health", "")
	require.Equal(t, 200, status)
	require.EqualValues(t, 1, out["documents"])
}

func TestLanguages(t *testing.T) {
	ix, err := colbert.Create(t.Context(), filepath.Join(t.TempDir(), "index"), withLanguage(words{}, "fr"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { ix.Close() })
	s := httptest.NewServer(newHandler(ix, "", discard))
	t.Cleanup(s.Close)
	status, _ := call(t, s, "POST", "/v1/documents", `{"documents":[{"id":"a","text":"roter Apfel","language":"de"},{"id":"b","text":"pomme rouge"}]}`)
	require.Equal(t, http.StatusOK, status)
	for query, want := range map[string]string{`{"query":"Apfel","language":"de","k":1}`: "de", `{"query":"pomme","k":1}`: "fr"} {
		status, out := call(t, s, "POST", "/v1/search", query)
		require.Equal(t, http.StatusOK, status, out)
		require.Equal(t, map[string]any{"lang": want}, out["hits"].([]any)[0].(map[string]any)["metadata"])
	}
	for path, body := range map[string]string{
		"/v1/documents": `{"documents":[{"id":"c","text":"x","language":"ja"}]}`, "/v1/search": `{"query":"x","language":"ja"}`,
	} {
		status, out := call(t, s, "POST", path, body)
		require.Equal(t, http.StatusUnprocessableEntity, status, out)
		require.Contains(t, out["message"], "ja")
	}
}

func TestRefusals(t *testing.T) {
	_, s := testServer(t, "")
	for _, c := range []struct {
		name, path, body string
		status           int
	}{
		{"not JSON", "/v1/search", "{", 400},
		{"unknown field", "/v1/search", `{"query":"a","kk":3}`, 400},
		{"two values", "/v1/search", `{"query":"a"} {}`, 400},
		{"empty query", "/v1/search", `{"query":" "}`, 422},
		{"k of 0", "/v1/search", `{"query":"a","k":0}`, 422},
		{"huge k", "/v1/search", `{"query":"a","k":1000000}`, 422},
		{"long query", "/v1/search", `{"query":"` + strings.Repeat("a ", maxQuery) + `"}`, 422},
		{"no documents", "/v1/documents", `{"documents":[]}`, 422},
		{"empty text", "/v1/documents", `{"documents":[{"id":"a","text":""}]}`, 422},
		{"empty id", "/v1/documents", `{"documents":[{"id":"","text":"a"}]}`, 422},
		{"nested metadata", "/v1/documents", `{"documents":[{"id":"a","text":"a","metadata":{"x":[1]}}]}`, 422},
		{"number out of range", "/v1/documents", `{"documents":[{"id":"a","text":"a","metadata":{"x":1e400}}]}`, 422},
		{"too large", "/v1/documents", `{"documents":[{"id":"a","text":"` + strings.Repeat("a", maxBody) + `"}]}`, 413},
		{"no such path", "/v1/nothing", `{}`, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out := call(t, s, "POST", c.path, c.body)
			require.Equal(t, c.status, status, out)
		})
	}
	status, _ := call(t, s, "POST", "/v1/search", `{"query":"a"}`, "Content-Type", "text/plain")
	require.Equal(t, 415, status)
	status, out := call(t, s, "POST", "/v1/search", `{"query":"a"}`)
	require.Equal(t, 200, status, "an empty index has no hits and is no error")
	require.Empty(t, out["hits"])
}

func TestKeyAndDraining(t *testing.T) {
	h, s := testServer(t, "secret")
	status, _ := call(t, s, "POST", "/v1/search", `{"query":"a"}`)
	require.Equal(t, 401, status)
	status, _ = call(t, s, "POST", "/v1/search", `{"query":"a"}`, "Authorization", "Bearer wrong")
	require.Equal(t, 401, status)
	status, _ = call(t, s, "POST", "/v1/search", `{"query":"a"}`, "Authorization", "Bearer secret")
	require.Equal(t, 200, status)
	status, _ = call(t, s, "GET", "/readyz", "")
	require.Equal(t, 200, status)
	h.draining.Store(true)
	status, _ = call(t, s, "GET", "/readyz", "")
	require.Equal(t, 503, status)
	status, _ = call(t, s, "GET", "/healthz", "")
	require.Equal(t, 200, status)
}

func TestBusy(t *testing.T) {
	h, s := testServer(t, "")
	for range atOnce {
		h.slots <- struct{}{}
	}
	status, out := call(t, s, "POST", "/v1/search", `{"query":"a"}`)
	require.Equal(t, 503, status)
	require.Equal(t, "BUSY", out["code"])
}

func TestServeStopsGracefully(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := make(chan net.Addr, 1)
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, "127.0.0.1:0", filepath.Join(t.TempDir(), "index"), "", "", discard, func(a net.Addr) { addr <- a })
	}()
	select {
	case a := <-addr:
		res, err := http.Get("http://" + a.String() + "/readyz")
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, 200, res.StatusCode)
	case err := <-done:
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("did not stop")
	}
}

func TestServeInsistsOnAKey(t *testing.T) {
	err := serve(t.Context(), "0.0.0.0:0", t.TempDir(), "", "", discard, nil)
	require.ErrorContains(t, err, "GOLBERT_KEY")
	require.Error(t, serve(t.Context(), "127.0.0.1:0", "", "", "", discard, nil))
	require.ErrorContains(t, serve(t.Context(), "127.0.0.1:0", t.TempDir(), "klingonish", "", discard, nil), "-language")
}
