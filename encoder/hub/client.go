package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 10
	maxListing   = 64 << 20 // the JSON of a repository
	// stall is how long a download may wait for the next byte.
	stall    = 60 * time.Second
	maxPause = 5 * time.Minute // the longest Retry-After that is waited for
)

// sibling is a file of a repository as the hub lists it.
type sibling struct {
	Name   string `json:"rfilename"`
	Size   int64  `json:"size"`
	BlobID string `json:"blobId"` // SHA-1 of the git object
	LFS    *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// listing is what the hub says of a revision.
type listing struct {
	SHA      string    `json:"sha"`
	Siblings []sibling `json:"siblings"`
}

// list asks for the commit and the files of a revision.
func (s *settings) list(ctx context.Context, repo string) (*listing, error) {
	u := s.endpoint.String() + "/api/models/" + repo + "/revision/" + url.PathEscape(s.Revision) + "?blobs=true"
	var l listing
	err := s.retry(ctx, func() error {
		resp, err := s.send(ctx, http.MethodGet, u, nil, true)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxListing+1))
		if err != nil {
			return &temporary{fmt.Errorf("hub: %s: %w", bare(u), err)}
		}
		if len(b) > maxListing {
			return fmt.Errorf("%w: %s: listing of over %d bytes", ErrTooLarge, bare(u), maxListing)
		}
		l = listing{}
		if err := json.Unmarshal(b, &l); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrProtocol, bare(u), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !isCommit(l.SHA) {
		return nil, fmt.Errorf("%w: %s: commit %.60q", ErrProtocol, bare(u), l.SHA)
	}
	if isCommit(s.Revision) && l.SHA != s.Revision {
		return nil, fmt.Errorf("%w: asked for commit %s, got %s", ErrProtocol, s.Revision, l.SHA)
	}
	for _, f := range l.Siblings {
		if !local(f.Name) {
			return nil, fmt.Errorf("%w: %s lists a file %.200q", ErrName, bare(u), f.Name)
		}
	}
	return &l, nil
}

// remote is where a file is and what it must be.
type remote struct {
	url  string
	etag string
	size int64
}

// locate asks for a file's checksum, size and address, without its content.
func (s *settings) locate(ctx context.Context, repo, commit string, f *sibling) (*remote, error) {
	var escaped []string
	for _, p := range strings.Split(f.Name, "/") {
		escaped = append(escaped, url.PathEscape(p))
	}
	u := s.endpoint.String() + "/" + repo + "/resolve/" + commit + "/" + strings.Join(escaped, "/")
	var r *remote
	err := s.retry(ctx, func() error {
		// A redirect within the host is a renamed repository; one to another host is a store of large files,
		// and the headers of the answer that leads there are those that count.
		resp, err := s.send(ctx, http.MethodHead, u, http.Header{"Accept-Encoding": {"identity"}}, false)
		if err != nil {
			return err
		}
		resp.Body.Close()
		h := resp.Header
		if c := h.Get("X-Repo-Commit"); c != "" && c != commit {
			return fmt.Errorf("%w: %s: of commit %.60q, want %s", ErrProtocol, bare(u), c, commit)
		}
		r = &remote{url: resp.Request.URL.String(), etag: etagOf(h), size: -1}
		for _, v := range []string{h.Get("X-Linked-Size"), h.Get("Content-Length")} {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && r.size < 0 && (v != h.Get("Content-Length") || resp.StatusCode == http.StatusOK) {
				r.size = n
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// What the listing says takes the place of headers that a mirror does not send.
	want, size := f.BlobID, f.Size
	if f.LFS != nil {
		want, size = f.LFS.SHA256, f.LFS.Size
	}
	if !validEtag(r.etag) {
		r.etag = want
	}
	if r.size < 0 {
		r.size = size
	}
	switch {
	case !validEtag(r.etag):
		return nil, fmt.Errorf("%w: %s: no checksum", ErrProtocol, bare(u))
	case len(want) == len(r.etag) && want != r.etag:
		return nil, fmt.Errorf("%w: %s: %s in the list of files, %s in the answer", ErrChecksum, bare(u), want, r.etag)
	case size > 0 && r.size != size || r.size < 0:
		return nil, fmt.Errorf("%w: %s: %d bytes in the list of files, %d in the answer", ErrProtocol, bare(u), size, r.size)
	}
	return r, nil
}

// validEtag accepts the SHA-256 of large files and the git SHA-1 of others.
func validEtag(s string) bool { return isHex(s, 64) || isHex(s, 40) }

func etagOf(h http.Header) string {
	for _, name := range []string{"X-Linked-Etag", "Etag"} {
		if e := strings.Trim(strings.TrimPrefix(h.Get(name), "W/"), `"`); validEtag(e) {
			return e
		}
	}
	return ""
}

// send sends a request and follows redirects. The token goes to the endpoint's own scheme, host and port alone. With
// away, redirects to other hosts are followed, too; without, such an answer is returned as it is. An
// answer that is no success gives a *StatusError.
func (s *settings) send(ctx context.Context, method, target string, header http.Header, away bool) (*http.Response, error) {
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrProtocol, bare(target), err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", "golbert")
		own := req.URL.Scheme == s.endpoint.Scheme && req.URL.Host == s.endpoint.Host
		if own && s.Token != "" {
			req.Header.Set("Authorization", "Bearer "+s.Token)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			var ue *url.Error
			if errors.As(err, &ue) {
				err = ue.Err // its text has the whole address
			}
			return nil, &temporary{fmt.Errorf("hub: %s %s: %w", method, bare(target), err)}
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			next, err := resp.Location()
			if err != nil {
				resp.Body.Close()
				return nil, fmt.Errorf("%w: %s: redirect to nowhere: %w", ErrProtocol, bare(target), err)
			}
			if !away && next.Host != req.URL.Host {
				return resp, nil
			}
			resp.Body.Close()
			if next.Scheme != "https" && next.Scheme != req.URL.Scheme {
				return nil, fmt.Errorf("%w: %s: redirect to %s", ErrProtocol, bare(target), next.Scheme)
			}
			target = next.String()
			continue
		case http.StatusOK, http.StatusPartialContent:
			return resp, nil
		}
		return nil, statusError(target, resp)
	}
	return nil, fmt.Errorf("%w: %s: more than %d redirects", ErrProtocol, bare(target), maxRedirects)
}

// statusError reads an answer that is no success, and closes it.
func statusError(target string, resp *http.Response) error {
	defer resp.Body.Close()
	e := &StatusError{URL: bare(target), Code: resp.StatusCode, Message: resp.Header.Get("X-Error-Message")}
	if e.Message == "" {
		var j struct{ Error string }
		b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if err == nil && json.Unmarshal(b, &j) == nil {
			e.Message = j.Error
		}
	}
	if len(e.Message) > 500 {
		e.Message = e.Message[:500]
	}
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	switch e.Code {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &temporary{e}
	}
	return e
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// bare is an address without its query, which may hold a signature.
func bare(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "an address that cannot be read"
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}

// temporary marks faults that may be gone at the next try.
type temporary struct{ err error }

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// retry repeats f after temporary faults, with growing pauses or those that the hub asks for. Progress between
// two faults, which f reports with errAdvanced, starts the count again.
func (s *settings) retry(ctx context.Context, f func() error) error {
	pause := 500 * time.Millisecond
	for try := 0; ; try++ {
		err := f()
		var t *temporary
		if !errors.As(err, &t) {
			return err
		}
		if errors.Is(err, errAdvanced) {
			try, pause = 0, 500*time.Millisecond
		}
		if try >= s.Retries {
			return t.err
		}
		d := pause
		var se *StatusError
		if errors.As(err, &se) && se.RetryAfter > 0 {
			if d = se.RetryAfter; d > maxPause {
				return t.err
			}
		}
		timer := time.NewTimer(s.wait(d))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// errAdvanced marks a fault after which more of a file was there than before.
var errAdvanced = errors.New("interrupted")
