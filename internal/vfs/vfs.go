// Package vfs is the small file system that the index writes through. Everything that matters to
// durability (create, write, sync, rename, remove, directory sync, lock) is a call on FS or File, so that
// tests can count, fail, tear or forget each of them.
package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/golbert/golbert/internal/mmapfile"
)

// LockedError is returned by FS.Lock when somebody else holds the lock.
type LockedError struct {
	Holder string // what the holder wrote about itself, "" when it cannot be read
}

// Error gives the holder.
func (e *LockedError) Error() string { return "vfs: locked by " + e.Holder }

// FS is what the index needs of a file system. Paths are the operating system's. Implementations are safe
// for concurrent use.
type FS interface {
	// Create makes a new file or truncates an old one, open for writing and reading.
	Create(path string) (File, error)
	// Map gives a file's content read-only.
	Map(path string) (Mapping, error)
	// ReadFile reads a whole file of at most limit bytes; a larger one is an error.
	ReadFile(path string, limit int64) ([]byte, error)
	// List gives the names in a directory, sorted.
	List(dir string) ([]string, error)
	// Size gives a regular file's length; the error wraps fs.ErrNotExist when there is none.
	Size(path string) (int64, error)
	// Rename moves a file onto a name, replacing what is there.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(path string) error
	// Mkdir makes a directory and those above it.
	Mkdir(path string) error
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock of a lock file without waiting, writes info into it, and holds it until
	// Close. When it is taken the error is a *LockedError.
	Lock(path, info string) (Lock, error)
}

// Lock is a lock that is held.
type Lock interface {
	io.Closer
	// Held gives an error when the file at the lock's path is not the one that is locked, because somebody has
	// removed it: then others can take the lock, too.
	Held() error
}

// File is a file being written.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	// Sync makes the content durable.
	Sync() error
}

// Mapping is a file's content in memory. One that is an io.ReaderAt, too, can be read without touching memory.
type Mapping interface {
	// Bytes is valid until Close and must not be written to.
	Bytes() []byte
	Close() error
}

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// Create implements FS.
func (OS) Create(path string) (File, error) { return os.Create(path) }

// Map implements FS.
func (OS) Map(path string) (Mapping, error) {
	m, err := mmapfile.OpenReadable(path)
	if err != nil {
		return nil, err // not m: a nil *mmapfile.File in the interface would not be nil
	}
	return m, nil
}

// ReadFile implements FS.
func (OS) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int64(0)
	if st, err := f.Stat(); err == nil {
		size = st.Size()
	}
	// With room for a last read, which finds the end.
	b := bytes.NewBuffer(make([]byte, 0, max(min(size, limit), 0)+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b.Bytes(), nil
}

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	sort.Strings(names)
	return names, nil
}

// Size implements FS.
func (OS) Size(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: errors.New("not a regular file")}
	}
	return st.Size(), nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// Mkdir implements FS.
func (OS) Mkdir(path string) error { return os.MkdirAll(path, 0o777) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be opened for syncing there; NTFS journals its names
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

type lock struct{ f *flock.Flock }

func (l lock) Close() error { return l.f.Unlock() }

func (l lock) Held() error {
	held, err := l.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.f.Path())
	if err != nil {
		return err
	}
	if !os.SameFile(held, there) {
		return &fs.PathError{Op: "lock", Path: l.f.Path(), Err: errors.New("it is another file now")}
	}
	return nil
}

// Lock implements FS with flock(2) or LockFileEx. The lock goes away with the process, however it ends.
func (OS) Lock(path, info string) (Lock, error) {
	// The lock file is opened read-write so that every system grants an exclusive lock on it.
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o666))
	ok, err := f.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", filepath.Base(path), err)
	}
	if !ok {
		// What the holder wrote is a help to people and nothing depends on it.
		held := new(LockedError)
		for range 10 {
			b, err := (OS{}).ReadFile(path, 4096)
			if err != nil {
				break
			}
			held.Holder = strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "?")), " ")
			if held.Holder != "" {
				break
			}
			time.Sleep(2 * time.Millisecond) // it has the lock, and has not written yet
		}
		return nil, held
	}
	l := lock{f}
	if err := l.Held(); err != nil { // removed between opening and locking it
		_ = f.Unlock()
		return nil, fmt.Errorf("lock %s: %w", filepath.Base(path), err)
	}
	if w, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0); err == nil {
		_, _ = io.WriteString(w, info+"\n")
		_ = w.Close()
	}
	return l, nil
}
