package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Fetch downloads the checkpoint repo ("org/name") unless it is in the cache, and returns its folder, which
// encoder.Open takes. With a revision that can move, such as a branch, the hub is asked where it points now; a
// network that fails is an error, also when an older state is in the cache: set Offline to use that.
//
// Errors wrap ErrName, ErrNotFound, ErrUnauthorized, ErrOffline, ErrChecksum, ErrTooLarge or ErrProtocol, are a
// *StatusError for other answers of the hub, or come from the network, the file system or the context.
func Fetch(ctx context.Context, repo string, o *Options) (dir string, err error) {
	s, err := o.resolve()
	if err != nil {
		return "", err
	}
	if err := checkRepo(repo); err != nil {
		return "", err
	}
	if err := checkRevision(s.Revision); err != nil {
		return "", err
	}
	c := &cache{root: filepath.Join(s.CacheDir, repoFolder(repo)), locks: filepath.Join(s.CacheDir, ".locks", repoFolder(repo)), noSym: s.noSym}
	if s.Offline {
		return c.offline(repo, s.Revision)
	}
	l, err := s.list(ctx, repo)
	if err != nil {
		return "", fmt.Errorf("%s at %s: %w", repo, s.Revision, err)
	}
	if err := s.download(ctx, c, repo, l); err != nil {
		return "", fmt.Errorf("%s at %s: %w", repo, s.Revision, err)
	}
	if s.Revision != l.SHA {
		if err := c.setRef(s.Revision, l.SHA); err != nil {
			return "", err
		}
	}
	return c.snapshot(l.SHA), nil
}

// download brings the files of a listing into the cache.
func (s *settings) download(ctx context.Context, c *cache, repo string, l *listing) error {
	byName := make(map[string]*sibling, len(l.Siblings))
	var names []string
	for i := range l.Siblings {
		f := &l.Siblings[i]
		if byName[f.Name] == nil {
			names = append(names, f.Name)
		}
		byName[f.Name] = f
	}
	files := choose(names)
	if len(files) == 0 {
		return fmt.Errorf("%w: a checkpoint among its %d files", ErrNotFound, len(names))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.Parallel)
	where := make([]*remote, len(files))
	for i, name := range files {
		g.Go(func() (err error) {
			where[i], err = s.locate(gctx, repo, l.SHA, byName[name])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	total := int64(0)
	for i, r := range where {
		if r.size > s.MaxFile || total > s.MaxTotal-r.size {
			return fmt.Errorf("%w: %s has %d bytes, the limits are %d and %d for all files", ErrTooLarge, files[i], r.size, s.MaxFile, s.MaxTotal)
		}
		total += r.size
	}
	p := &progress{call: s.Progress, total: total}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(s.Parallel)
	for i, name := range files {
		g.Go(func() error {
			if err := s.file(gctx, c, where[i], p.of(name, where[i].size)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// The names come last, so that a snapshot is not found half done.
	for i, name := range files {
		if err := c.link(l.SHA, name, where[i].etag); err != nil {
			return fmt.Errorf("hub: %s: %w", name, err)
		}
	}
	return nil
}

// progress adds up the bytes of all files.
type progress struct {
	mu    sync.Mutex
	call  func(Progress)
	done  int64
	total int64
}

// of returns what to call with the bytes that a file has now.
func (p *progress) of(name string, size int64) func(have int64) {
	last := int64(0)
	return func(have int64) {
		if p.call == nil || have == last {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done += have - last
		last = have
		p.call(Progress{File: name, Done: have, Total: size, AllDone: p.done, AllSize: p.total})
	}
}

// offline finds a revision in the cache.
func (c *cache) offline(repo, rev string) (string, error) {
	commit := rev
	if !isCommit(rev) {
		b, err := os.ReadFile(filepath.Join(c.root, "refs", filepath.FromSlash(rev)))
		if err != nil {
			return "", fmt.Errorf("%w: %s at %s: %w", ErrOffline, repo, rev, err)
		}
		if commit = strings.TrimSpace(string(b)); !isCommit(commit) {
			return "", fmt.Errorf("%w: %s at %s: the cache names commit %.60q", ErrOffline, repo, rev, commit)
		}
	}
	dir := c.snapshot(commit)
	if err := complete(dir); err != nil {
		return "", fmt.Errorf("%w: %s at %s: %w", ErrOffline, repo, rev, err)
	}
	return dir, nil
}

// complete reports what a checkpoint's folder obviously lacks: another tool may have fetched a part of it.
func complete(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
		if _, old := os.Stat(filepath.Join(dir, "modules.json")); old != nil { // the backbone may have a folder of its own
			return err
		}
		return nil
	}
	for _, w := range append([]string{"adapter_model.safetensors"}, weights...) {
		path := filepath.Join(dir, w)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if strings.HasSuffix(w, ".index.json") {
			return shards(path)
		}
		return nil
	}
	return errors.New("no weights in " + dir)
}

// shards looks for the files that an index lists.
func shards(index string) error {
	b, err := os.ReadFile(index)
	if err != nil {
		return err
	}
	var j struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	for _, name := range j.WeightMap {
		if !local(name) {
			return fmt.Errorf("%w: %s lists %.200q", ErrName, index, name)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(index), filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return nil
}
