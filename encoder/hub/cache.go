package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cache is the folder of one repository, in the arrangement of huggingface_hub: blobs/ETAG holds the content,
// snapshots/COMMIT/PATH links to it, refs/BRANCH holds a commit.
type cache struct {
	root, locks string
	noSym       bool
}

func (c *cache) snapshot(commit string) string { return filepath.Join(c.root, "snapshots", commit) }

func (c *cache) blob(etag string) string { return filepath.Join(c.root, "blobs", etag) }

// setRef records where a branch or tag points.
func (c *cache) setRef(rev, commit string) error {
	path := filepath.Join(c.root, "refs", filepath.FromSlash(rev))
	if b, err := os.ReadFile(path); err == nil && string(b) == commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return replace(path, func(tmp string) error { return os.WriteFile(tmp, []byte(commit), 0o666) })
}

// link gives a blob its name in a snapshot: a relative link, or a copy where links are not allowed (Windows
// without developer mode).
func (c *cache) link(commit, name, etag string) error {
	path := filepath.Join(c.snapshot(commit), filepath.FromSlash(name))
	up := strings.Repeat("../", strings.Count(name, "/")+2)
	target := filepath.FromSlash(up + "blobs/" + etag)
	if got, err := os.Readlink(path); err == nil && got == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if !c.noSym {
		err := replace(path, func(tmp string) error { return os.Symlink(target, tmp) })
		if err == nil {
			return nil
		}
	}
	return replace(path, func(tmp string) error { return copyFile(tmp, c.blob(etag)) })
}

// replace lets make write a file beside path and renames it to path.
func replace(path string, make func(tmp string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if err = errors.Join(f.Close(), os.Remove(tmp)); err != nil {
		return err
	}
	if err = make(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func copyFile(dst, src string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// size gives the length of a regular file, -1 when there is none.
func size(path string) (int64, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", path)
	}
	return st.Size(), nil
}
