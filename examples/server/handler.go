package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/golbert/golbert/colbert"
)

// Limits. A request beyond them is refused before it costs anything.
const (
	maxBody      = 8 << 20
	maxDocuments = 1000 // per request
	maxQuery     = 10_000
	maxK         = 10_000
	atOnce       = 16 // requests that work at the same time; more are told to come back
	requestTime  = 2 * time.Minute
)

// handler serves one index. It is safe for concurrent use, as the index is.
type handler struct {
	ix       *colbert.Index
	key      string // empty: no key is asked for
	log      *slog.Logger
	slots    chan struct{}
	draining atomic.Bool
	mux      *http.ServeMux
}

func newHandler(ix *colbert.Index, key string, log *slog.Logger) *handler {
	h := &handler{ix: ix, key: key, log: log, slots: make(chan struct{}, atOnce), mux: http.NewServeMux()}
	h.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, map[string]string{"status": "ok"}) })
	h.mux.HandleFunc("GET /readyz", h.ready)
	h.mux.Handle("GET /health", h.work(h.health))
	h.mux.Handle("POST /v1/documents", h.work(h.add))
	h.mux.Handle("DELETE /v1/documents/{id...}", h.work(h.remove))
	h.mux.Handle("POST /v1/search", h.work(h.search))
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// apiError is an error that the client may see.
type apiError struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *apiError) Error() string { return e.Message }

func refuse(status int, code, format string, args ...any) error {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

// work wraps what needs the index: authorisation, a bound on how much goes on at once, a time limit, and
// errors as JSON.
func (h *handler) work(f func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := func() (any, error) {
			if err := h.authorise(r); err != nil {
				return nil, err
			}
			select {
			case h.slots <- struct{}{}:
				defer func() { <-h.slots }()
			default:
				return nil, refuse(http.StatusServiceUnavailable, "BUSY", "%d requests are being worked on", atOnce)
			}
			ctx, cancel := context.WithTimeout(r.Context(), requestTime)
			defer cancel()
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			return f(r.WithContext(ctx))
		}()
		if err == nil {
			reply(w, http.StatusOK, out)
			return
		}
		e := describe(err)
		if e.status == http.StatusInternalServerError {
			h.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		if e.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		reply(w, e.status, e)
	})
}

func (h *handler) authorise(r *http.Request) error {
	if h.key == "" {
		return nil
	}
	// Hashes have one length, so that the time of the comparison says nothing about the key.
	got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	want := sha256.Sum256([]byte("Bearer " + h.key))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return refuse(http.StatusUnauthorized, "UNAUTHORIZED", "a bearer key is needed")
	}
	return nil
}

// describe turns an error into what the client sees. Errors of its input keep their text; others are named
// in the log alone.
func describe(err error) *apiError {
	var own *apiError
	var big *http.MaxBytesError
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &big):
		return &apiError{http.StatusRequestEntityTooLarge, "TOO_LARGE", fmt.Sprintf("the body is larger than %d bytes", big.Limit)}
	case is(colbert.ErrUnknownID):
		return &apiError{http.StatusNotFound, "UNKNOWN_ID", err.Error()}
	case is(colbert.ErrEmptyText, colbert.ErrInvalidUTF8, colbert.ErrInvalidID, colbert.ErrInvalidK,
		colbert.ErrTooManyTokens, colbert.ErrEmptyDocument, colbert.ErrInvalidMetadata, colbert.ErrLanguage):
		return &apiError{http.StatusUnprocessableEntity, "INVALID", err.Error()}
	case is(context.DeadlineExceeded, context.Canceled, colbert.ErrClosed):
		return &apiError{http.StatusServiceUnavailable, "UNAVAILABLE", "the request could not be finished in time"}
	}
	return &apiError{http.StatusInternalServerError, "INTERNAL", "internal error"}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a client that went away is its own loss
}

// decode reads a JSON body. Another content type is refused, which also keeps web pages of other sites from
// posting without being asked.
func decode(r *http.Request, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "CONTENT_TYPE", "want Content-Type: application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	d.UseNumber()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		} else if err == nil {
			err = errors.New("more than one value")
		}
	}
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return err
	}
	return refuse(http.StatusBadRequest, "BAD_JSON", "the body is not what is expected: %v", err)
}

func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() {
		reply(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (h *handler) health(r *http.Request) (any, error) {
	info, err := h.ix.Info()
	if err != nil {
		return nil, err
	}
	return map[string]any{"model": info.Model, "dim": info.Dim, "documents": info.Documents, "tokens": info.Tokens,
		"bytes": info.Index.Bytes.Total, "generation": info.Index.Generation}, nil
}

// add answers once the documents are durable on disk.
func (h *handler) add(r *http.Request) (any, error) {
	var in struct {
		Documents []struct {
			ID       string         `json:"id"`
			Text     string         `json:"text"`
			Language string         `json:"language"`
			Meta     map[string]any `json:"metadata"`
		} `json:"documents"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if n := len(in.Documents); n == 0 || n > maxDocuments {
		return nil, refuse(http.StatusUnprocessableEntity, "INVALID", "%d documents: want 1 to %d", n, maxDocuments)
	}
	docs := make([]colbert.Document, len(in.Documents))
	for i, d := range in.Documents {
		for name, v := range d.Meta {
			var err error
			if d.Meta[name], err = scalar(v); err != nil {
				return nil, refuse(http.StatusUnprocessableEntity, "INVALID", "document %q: metadata %q: %v", d.ID, name, err)
			}
		}
		docs[i] = colbert.Document{ID: d.ID, Text: d.Text, Language: d.Language, Meta: d.Meta}
	}
	res, err := h.ix.Add(r.Context(), slices.Values(docs), nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"added": res.Added, "replaced": res.Replaced, "tokens": res.Tokens, "truncated": res.Truncated}, nil
}

// scalar turns a JSON value into one that an index stores.
func scalar(v any) (any, error) {
	switch v := v.(type) {
	case string, bool:
		return v, nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		return strconv.ParseFloat(v.String(), 64)
	}
	return nil, errors.New("want a string, a number or a truth value")
}

func (h *handler) remove(r *http.Request) (any, error) {
	n, err := h.ix.Delete(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]int{"deleted": n}, nil
}

func (h *handler) search(r *http.Request) (any, error) {
	in := struct {
		Query    string `json:"query"`
		K        int    `json:"k"`
		Language string `json:"language"` // of the query
	}{K: 10}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Query) > maxQuery || in.K > maxK {
		return nil, refuse(http.StatusUnprocessableEntity, "INVALID", "query of %d bytes, k = %d: want at most %d and %d", len(in.Query), in.K, maxQuery, maxK)
	}
	hits, err := h.ix.Search(r.Context(), in.Query, in.K, &colbert.SearchOptions{Language: in.Language})
	if err != nil {
		return nil, err
	}
	type hit struct {
		Rank  int            `json:"rank"`
		ID    string         `json:"id"`
		Score float32        `json:"score"`
		Text  string         `json:"text"`
		Meta  map[string]any `json:"metadata,omitempty"`
	}
	out := make([]hit, len(hits))
	for i, x := range hits {
		out[i] = hit{x.Rank, x.ID, x.Score, x.Text, x.Meta}
	}
	return map[string]any{"hits": out}, nil
}
