package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// file downloads one blob. Another process or call that is at it is waited for.
func (s *settings) file(ctx context.Context, c *cache, r *remote, report func(have int64)) error {
	path := c.blob(r.etag)
	for _, d := range []string{filepath.Dir(path), c.locks} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	have := func() (bool, error) {
		n, err := size(path)
		if err != nil {
			return false, fmt.Errorf("hub: %w", err)
		}
		if n == r.size {
			report(n)
		}
		return n == r.size, nil
	}
	if ok, err := have(); ok || err != nil {
		return err
	}
	// The name is that of huggingface_hub's locks, which are flock(2) as well.
	lock := flock.New(filepath.Join(c.locks, r.etag+".lock"))
	ok, err := lock.TryLockContext(ctx, 50*time.Millisecond)
	if err != nil || !ok {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("hub: lock %s: %w", lock.Path(), err)
	}
	defer lock.Close()
	if ok, err := have(); ok || err != nil {
		return err
	}
	part := path + ".incomplete"
	if err := s.retry(ctx, func() error { return s.body(ctx, part, r, report) }); err != nil {
		if errors.Is(err, ErrChecksum) {
			os.Remove(part)
		}
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir makes a rename last; systems that do not sync directories say so with an error that means nothing.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// body downloads what part lacks, and checks the whole.
func (s *settings) body(ctx context.Context, part string, r *remote, report func(have int64)) (err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer func() {
		if cerr := f.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("hub: %w", cerr)
		}
	}()
	sum := newSum(r)
	n, err := io.Copy(sum, io.LimitReader(f, r.size+1))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if n > r.size {
		if n, err = 0, restart(f, sum); err != nil {
			return err
		}
	}
	start := n
	if n < r.size || n == 0 {
		n, err = s.stream(ctx, f, sum, n, r, report)
	}
	if serr := f.Sync(); serr != nil && err == nil {
		err = fmt.Errorf("hub: %w", serr)
	}
	var t *temporary
	if errors.As(err, &t) && n > start {
		return &temporary{fmt.Errorf("%w: %w", t.err, errAdvanced)}
	}
	if err != nil {
		return err
	}
	if got := sum.hex(); got != r.etag {
		err = fmt.Errorf("%w: %s after %d bytes, want %s", ErrChecksum, got, n, r.etag)
		if terr := f.Truncate(0); terr != nil {
			return errors.Join(err, terr)
		}
		if start > 0 { // perhaps it was the part from before that is damaged
			return &temporary{err}
		}
		return err
	}
	return nil
}

// restart empties a file and its checksum.
func restart(f *os.File, sum *checksum) error {
	sum.reset()
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// stream appends to a file of n bytes and returns its new length.
func (s *settings) stream(ctx context.Context, f *os.File, sum *checksum, n int64, r *remote, report func(have int64)) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := &temporary{fmt.Errorf("hub: %s: no byte for %v", bare(r.url), stall)}
	timer := time.AfterFunc(stall, func() { cancel(stalled) })
	defer timer.Stop()
	h := http.Header{"Accept-Encoding": {"identity"}}
	if n > 0 {
		h.Set("Range", "bytes="+strconv.FormatInt(n, 10)+"-")
	}
	resp, err := s.send(ctx, http.MethodGet, r.url, h, true)
	var se *StatusError
	if errors.As(err, &se) && se.Code == http.StatusRequestedRangeNotSatisfiable && n > 0 {
		if err := restart(f, sum); err != nil {
			return 0, err
		}
		return 0, &temporary{se}
	}
	if err != nil {
		return n, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusPartialContent {
		if v := resp.Header.Get("Content-Range"); !strings.HasPrefix(v, "bytes "+strconv.FormatInt(n, 10)+"-") {
			return n, fmt.Errorf("%w: %s: range %.60q, asked from byte %d", ErrProtocol, bare(r.url), v, n)
		}
	} else if n > 0 { // a server that does not know ranges
		if n, err = 0, restart(f, sum); err != nil {
			return 0, err
		}
	}
	buf := make([]byte, 256<<10)
	for {
		timer.Reset(stall)
		k, err := resp.Body.Read(buf)
		if int64(k) > r.size-n {
			_ = restart(f, sum)
			return 0, fmt.Errorf("%w: %s: more than the %d bytes that were announced", ErrChecksum, bare(r.url), r.size)
		}
		if k > 0 {
			sum.Write(buf[:k])
			if _, werr := f.Write(buf[:k]); werr != nil {
				return n, fmt.Errorf("hub: %w", werr)
			}
			n += int64(k)
			report(n)
		}
		switch {
		case err == io.EOF && n == r.size:
			return n, nil
		case err == io.EOF:
			return n, &temporary{fmt.Errorf("hub: %s: ends after %d of %d bytes", bare(r.url), n, r.size)}
		case err != nil && ctx.Err() != nil:
			return n, context.Cause(ctx)
		case err != nil:
			return n, &temporary{fmt.Errorf("hub: %s: %w", bare(r.url), err)}
		}
	}
}

// checksum is the SHA-256 of a file, or the SHA-1 that git gives it.
type checksum struct {
	hash.Hash
	head string
}

func newSum(r *remote) *checksum {
	if len(r.etag) == sha256.Size*2 {
		return &checksum{Hash: sha256.New()}
	}
	c := &checksum{Hash: sha1.New(), head: fmt.Sprintf("blob %d\x00", r.size)}
	c.reset()
	return c
}

func (c *checksum) reset() {
	c.Reset()
	io.WriteString(c.Hash, c.head)
}

func (c *checksum) hex() string { return hex.EncodeToString(c.Sum(nil)) }
