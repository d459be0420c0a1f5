package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/golbert/golbert/internal/vfs"
)

// Kind names a call.
type Kind string

// The calls of vfs.FS and vfs.File.
const (
	Create  Kind = "create"
	Write   Kind = "write"
	Sync    Kind = "sync"
	Close   Kind = "close"
	ReadAt  Kind = "readat"
	Map     Kind = "map"
	Read    Kind = "read"
	List    Kind = "list"
	Size    Kind = "size"
	Rename  Kind = "rename"
	Remove  Kind = "remove"
	Mkdir   Kind = "mkdir"
	SyncDir Kind = "syncdir"
	Lock    Kind = "lock"
)

// Op is one call.
type Op struct {
	Kind Kind
	Path string // of a rename: the new name
	N    int    // number of the call, from 0
}

// String gives kind, base name and number.
func (o Op) String() string {
	return fmt.Sprintf("%s %s (call %d)", o.Kind, filepath.Base(o.Path), o.N)
}

// Mutates says whether the call changes what a crash may leave behind.
func (o Op) Mutates() bool {
	switch o.Kind {
	case Create, Write, Sync, Rename, Remove, Mkdir, SyncDir, Lock:
		return true
	}
	return false
}

// Short is an error of Hooks.Before that makes a write write N bytes and then fail with Err.
type Short struct {
	N   int
	Err error
}

// Error gives the error behind it.
func (s *Short) Error() string { return s.Err.Error() }

// Hooks are called for every call, without locks held. Nil ones do nothing.
type Hooks struct {
	// Before may fail the call; then it is not done.
	Before func(Op) error
	// After may fail the call, though it was done.
	After func(Op) error
	// Ignore makes a Sync or SyncDir report success and do nothing.
	Ignore func(Op) bool
}

// node is a file or a directory.
type node struct {
	// Of a file. Neither slice is ever changed below its length: images share them.
	data    []byte
	durable []byte
	open    int
	mapped  int
	locked  string

	// Of a directory, else nil.
	live map[string]*node
	kept map[string]*node
	log  []change
}

// change is what one call did to a directory: a new entry, an entry gone, or both.
type change struct {
	set   string
	unset string
	n     *node
}

func newDir() *node { return &node{live: map[string]*node{}, kept: map[string]*node{}} }

func (d *node) change(c change) {
	d.log = append(d.log, c)
	c.apply(d.live, true)
}

func (c change) apply(m map[string]*node, unset bool) {
	if c.set != "" {
		m[c.set] = c.n
	}
	if unset && c.unset != "" && m[c.unset] == c.n {
		delete(m, c.unset)
	}
}

// FS is the file system. It is safe for concurrent use; set Hooks and Windows before.
type FS struct {
	Hooks
	// Windows refuses to remove files that are open or mapped.
	Windows bool

	mu         sync.Mutex
	root       *node
	n          int
	violations []string
}

var _ vfs.FS = (*FS)(nil)

// New gives an empty file system.
func New() *FS { return &FS{root: newDir()} }

// InUse says what is open: files, mappings and locks. It is empty when nothing is.
func (f *FS) InUse() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	seen := map[*node]bool{}
	f.walk("", f.root, func(path string, n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if n.open > 0 {
			out = append(out, fmt.Sprintf("%s: open %d times", path, n.open))
		}
		if n.mapped > 0 {
			out = append(out, fmt.Sprintf("%s: mapped %d times", path, n.mapped))
		}
		if n.locked != "" {
			out = append(out, path+": locked")
		}
	})
	return out
}

// Violations lists calls that no right user makes: truncating a file that is mapped, and writing to a file that
// was removed or mapped.
func (f *FS) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// Ops counts the calls so far.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *FS) walk(path string, n *node, visit func(string, *node)) {
	visit(path, n)
	for _, name := range slices.Sorted(maps.Keys(n.live)) {
		f.walk(path+"/"+name, n.live[name], visit)
	}
}

// call runs the hooks around do, which runs under the mutex.
func (f *FS) call(kind Kind, path string, do func() error) error {
	f.mu.Lock()
	op := Op{Kind: kind, Path: path, N: f.n}
	f.n++
	f.mu.Unlock()
	if f.Before != nil {
		if err := f.Before(op); err != nil {
			var s *Short
			if !errors.As(err, &s) || kind != Write {
				return &fs.PathError{Op: string(kind), Path: path, Err: err}
			}
			return err
		}
	}
	if (kind == Sync || kind == SyncDir) && f.Ignore != nil && f.Ignore(op) {
		return nil
	}
	f.mu.Lock()
	err := do()
	f.mu.Unlock()
	if err != nil {
		return &fs.PathError{Op: string(kind), Path: path, Err: err}
	}
	if f.After != nil {
		if err := f.After(op); err != nil {
			return &fs.PathError{Op: string(kind), Path: path, Err: err}
		}
	}
	return nil
}

func parts(path string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean("/"+path)), func(r rune) bool { return r == '/' })
}

// find gives the node at a path.
func (f *FS) find(path string) (*node, error) {
	n := f.root
	for _, p := range parts(path) {
		if n.live == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.live[p]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// parent gives the directory of a path and the name in it.
func (f *FS) parent(path string) (*node, string, error) {
	p := parts(path)
	if len(p) == 0 {
		return nil, "", syscall.EINVAL
	}
	d, err := f.find(strings.Join(p[:len(p)-1], "/"))
	if err == nil && d.live == nil {
		err = syscall.ENOTDIR
	}
	return d, p[len(p)-1], err
}

// regular gives the file at a path.
func (f *FS) regular(path string) (*node, error) {
	n, err := f.find(path)
	if err == nil && n.live != nil {
		err = syscall.EISDIR
	}
	return n, err
}

// Create implements vfs.FS.
func (f *FS) Create(path string) (vfs.File, error) {
	var h *handle
	err := f.call(Create, path, func() error {
		d, name, err := f.parent(path)
		if err != nil {
			return err
		}
		n := d.live[name]
		switch {
		case n == nil:
			n = &node{}
			d.change(change{set: name, n: n})
		case n.live != nil:
			return syscall.EISDIR
		default:
			if n.mapped > 0 {
				f.violations = append(f.violations, "truncated while mapped: "+path)
			}
			n.data = nil
		}
		n.open++
		h = &handle{f: f, n: n, path: path}
		return nil
	})
	if err != nil {
		if h != nil {
			h.n.open-- // done, but the caller has nothing to close
		}
		return nil, err
	}
	return h, nil
}

// handle is an open file.
type handle struct {
	f      *FS
	n      *node
	path   string
	closed bool
}

// Write implements io.Writer.
func (h *handle) Write(p []byte) (int, error) {
	write := func(p []byte) error {
		if h.closed {
			return fs.ErrClosed
		}
		if h.n.mapped > 0 {
			h.f.violations = append(h.f.violations, "written while mapped: "+h.path)
		}
		h.n.data = append(h.n.data, p...)
		return nil
	}
	err := h.f.call(Write, h.path, func() error { return write(p) })
	if s, ok := err.(*Short); ok {
		n := min(s.N, len(p))
		h.f.mu.Lock()
		defer h.f.mu.Unlock()
		if err := write(p[:n]); err != nil {
			return 0, err
		}
		return n, &fs.PathError{Op: string(Write), Path: h.path, Err: s.Err}
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadAt implements io.ReaderAt.
func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	err = h.f.call(ReadAt, h.path, func() error {
		if h.closed {
			return fs.ErrClosed
		}
		if off < int64(len(h.n.data)) {
			n = copy(p, h.n.data[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Sync implements vfs.File.
func (h *handle) Sync() error {
	return h.f.call(Sync, h.path, func() error {
		if h.closed {
			return fs.ErrClosed
		}
		h.n.durable = h.n.data[:len(h.n.data):len(h.n.data)]
		return nil
	})
}

// Close implements io.Closer. The handle is closed even if a hook fails the call.
func (h *handle) Close() error {
	h.f.mu.Lock()
	if h.closed {
		h.f.mu.Unlock()
		return fs.ErrClosed
	}
	h.closed = true
	h.n.open--
	h.f.mu.Unlock()
	return h.f.call(Close, h.path, func() error { return nil })
}

// mapping is a mapped file: the content at the time.
type mapping struct {
	f    *FS
	n    *node
	b    []byte
	once sync.Once
}

// Bytes implements vfs.Mapping.
func (m *mapping) Bytes() []byte { return m.b }

// Close implements vfs.Mapping.
func (m *mapping) Close() error {
	err := fs.ErrClosed
	m.once.Do(func() {
		m.f.mu.Lock()
		m.n.mapped--
		m.f.mu.Unlock()
		err = nil
	})
	return err
}

// Map implements vfs.FS.
func (f *FS) Map(path string) (vfs.Mapping, error) {
	var m *mapping
	err := f.call(Map, path, func() error {
		n, err := f.regular(path)
		if err != nil {
			return err
		}
		n.mapped++
		m = &mapping{f: f, n: n, b: n.data[:len(n.data):len(n.data)]}
		return nil
	})
	if err != nil {
		if m != nil {
			_ = m.Close()
		}
		return nil, err
	}
	return m, nil
}

// ReadFile implements vfs.FS.
func (f *FS) ReadFile(path string, limit int64) (b []byte, err error) {
	err = f.call(Read, path, func() error {
		n, err := f.regular(path)
		if err == nil && int64(len(n.data)) > limit {
			err = fmt.Errorf("larger than %d bytes", limit)
		}
		if err == nil {
			b = slices.Clone(n.data)
		}
		return err
	})
	return b, err
}

// List implements vfs.FS.
func (f *FS) List(dir string) (names []string, err error) {
	err = f.call(List, dir, func() error {
		d, err := f.find(dir)
		if err == nil && d.live == nil {
			err = syscall.ENOTDIR
		}
		if err == nil {
			names = slices.Sorted(maps.Keys(d.live))
		}
		return err
	})
	return names, err
}

// Size implements vfs.FS.
func (f *FS) Size(path string) (size int64, err error) {
	err = f.call(Size, path, func() error {
		n, err := f.regular(path)
		if err == nil {
			size = int64(len(n.data))
		}
		return err
	})
	return size, err
}

// Rename implements vfs.FS, within one directory.
func (f *FS) Rename(from, to string) error {
	return f.call(Rename, to, func() error {
		d, name, err := f.parent(to)
		if err != nil {
			return err
		}
		e, old, err := f.parent(from)
		if err != nil {
			return err
		}
		if d != e {
			return errors.New("crashfs: renames between directories are not simulated")
		}
		n := d.live[old]
		if n == nil {
			return fs.ErrNotExist
		}
		d.change(change{set: name, unset: old, n: n})
		return nil
	})
}

// Remove implements vfs.FS.
func (f *FS) Remove(path string) error {
	return f.call(Remove, path, func() error {
		d, name, err := f.parent(path)
		if err != nil {
			return err
		}
		n := d.live[name]
		switch {
		case n == nil:
			return fs.ErrNotExist
		case len(n.live) > 0:
			return syscall.ENOTEMPTY
		case f.Windows && (n.mapped > 0 || n.open > 0):
			return errors.New("sharing violation")
		}
		d.change(change{unset: name, n: n})
		return nil
	})
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(path string) error {
	return f.call(Mkdir, path, func() error {
		d := f.root
		for _, p := range parts(path) {
			n := d.live[p]
			if n == nil {
				n = newDir()
				d.change(change{set: p, n: n})
			}
			if n.live == nil {
				return syscall.ENOTDIR
			}
			d = n
		}
		return nil
	})
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(dir string) error {
	return f.call(SyncDir, dir, func() error {
		d, err := f.find(dir)
		if err != nil {
			return err
		}
		if d.live == nil {
			return syscall.ENOTDIR
		}
		d.kept, d.log = maps.Clone(d.live), nil
		return nil
	})
}

type lock struct {
	f    *FS
	n    *node
	path string
}

// Held implements vfs.Lock.
func (l *lock) Held() error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if n, err := l.f.regular(l.path); err != nil || n != l.n {
		return &fs.PathError{Op: string(Lock), Path: l.path, Err: errors.New("it is not this file")}
	}
	return nil
}

// Close gives the lock back.
func (l *lock) Close() error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.n.locked = ""
	return nil
}

// Lock implements vfs.FS. What it writes into the file is not simulated, for nothing depends on it.
func (f *FS) Lock(path, info string) (vfs.Lock, error) {
	var l *lock
	var held *vfs.LockedError
	err := f.call(Lock, path, func() error {
		d, name, err := f.parent(path)
		if err != nil {
			return err
		}
		n := d.live[name]
		if n == nil {
			n = &node{}
			d.change(change{set: name, n: n})
		}
		if n.locked != "" {
			held = &vfs.LockedError{Holder: n.locked}
			return nil
		}
		n.locked = info
		l = &lock{f, n, path}
		return nil
	})
	if held != nil {
		return nil, held
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		return nil, err
	}
	return l, nil
}
