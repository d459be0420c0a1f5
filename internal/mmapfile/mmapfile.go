// Package mmapfile maps whole files read-only into memory.
//
// A mapped slice is valid until Close. It never escapes the packages that own the file: their public
// methods either copy or say in their documentation how long a slice lives. Files are immutable by
// contract (see index), because truncating a mapped file turns reads into faults; Guard makes errors of those.
package mmapfile

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"unsafe"
)

// ErrClosed is returned by Close on a file that was closed before.
var ErrClosed = errors.New("mmapfile: closed")

// File is one mapped file. Bytes is safe for concurrent use; Close is not safe beside readers of the
// slice, so owners count their readers.
type File struct {
	name   string
	data   []byte
	mapped bool     // false for empty files and for targets without mmap, whose data is on the heap
	file   *os.File // of OpenReadable
	closed atomic.Bool
}

// Open maps the file at path. The error names the path. An empty file gives an empty slice.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("mmapfile: %w", err)
	}
	defer f.Close() // the mapping outlives the descriptor
	return Map(f)
}

// OpenReadable is Open for ReadAt, too: the file stays open as long as it is mapped.
func OpenReadable(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("mmapfile: %w", err)
	}
	m, err := Map(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	m.file = f
	return m, nil
}

// ReadAt implements io.ReaderAt without touching the mapping, so that nothing of it becomes resident. The file must have
// been opened by OpenReadable. It is safe for concurrent use.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.file == nil {
		return 0, fmt.Errorf("mmapfile: %s: not open for reading", f.name)
	}
	n, err := f.file.ReadAt(p, off)
	if err != nil {
		err = fmt.Errorf("mmapfile: %w", err)
	}
	return n, err
}

// Map maps an open file; the caller may close f afterwards.
func Map(f *os.File) (*File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("mmapfile: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("mmapfile: %s: not a regular file", f.Name())
	}
	size := st.Size()
	if size == 0 {
		return &File{name: f.Name()}, nil
	}
	if size < 0 || size > math.MaxInt {
		return nil, fmt.Errorf("mmapfile: %s: %d bytes do not fit in the address space", f.Name(), size)
	}
	data, mapped, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("mmapfile: map %s (%d bytes): %w", f.Name(), size, err)
	}
	m := &File{name: f.Name(), data: data, mapped: mapped}
	if mapped {
		m.register()
	}
	return m, nil
}

// Bytes returns the file's content. Writing to it faults. It is nil after Close.
func (f *File) Bytes() []byte {
	if f.closed.Load() {
		return nil
	}
	return f.data
}

// Name returns the path that the file was opened with.
func (f *File) Name() string { return f.name }

// Release tells the system that a part of Bytes is not needed in memory for now; reading it again brings it back
// from the file. It is a hint, which costs nothing where it means nothing: for slices of other memory, for parts smaller
// than a page, on systems without such a call.
func (f *File) Release(part []byte) {
	if !f.mapped || f.closed.Load() || len(part) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	base := uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	if at < base || at-base > uintptr(len(f.data)) || uintptr(len(part)) > uintptr(len(f.data))-(at-base) {
		return
	}
	// Whole pages: the neighbours of the part may be in use.
	from := (at - base + page - 1) / page * page
	to := (at - base + uintptr(len(part))) / page * page
	if from < to {
		release(f.data[from:to])
	}
}

// Close unmaps the file. Slices taken from Bytes must not be used afterwards.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return fmt.Errorf("%s: %w", f.name, ErrClosed)
	}
	var failed error
	if f.file != nil {
		failed = f.file.Close()
	}
	data := f.data
	if f.mapped {
		f.unregister()
		if err := unmapFile(data); err != nil {
			failed = fmt.Errorf("mmapfile: unmap %s: %w", f.name, err)
		}
	}
	f.data = nil
	return failed
}
