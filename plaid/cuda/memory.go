//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"unsafe"
)

// mem is device memory; the zero mem is the null pointer.
type mem struct {
	ptr  uintptr
	size int
}

// stream is a queue of work with memory of its own that later work reuses. All of its methods but submit and finish run on
// the device's goroutine.
type stream struct {
	v      *Device
	handle uintptr
	event  uintptr // recorded behind what is to be waited for
	device map[string]*mem
	pinned map[string]*pinned
	err    error // the first error; calls after it do nothing
}

// pinned is page-locked host memory, without which copies would not be asynchronous.
type pinned struct {
	ptr  unsafe.Pointer
	size int
}

func (v *Device) newStream() (*stream, error) {
	const nonBlocking = 1
	h, err := out[uintptr](v.d, "cuStreamCreate", nonBlocking)
	if err != nil {
		return nil, err
	}
	const disableTiming = 2
	e, err := out[uintptr](v.d, "cuEventCreate", disableTiming)
	if err != nil {
		_ = v.d.call("cuStreamDestroy_v2", h)
		return nil, err
	}
	return &stream{v: v, handle: h, event: e, device: map[string]*mem{}, pinned: map[string]*pinned{}}, nil
}

// submit runs f on the device's goroutine. f may leave an error in the stream.
func (s *stream) submit(ctx context.Context, f func()) error {
	return s.v.do(ctx, func() error {
		f()
		return s.take()
	})
}

// finish is submit, and waits for what f has queued: on the calling goroutine, so that others have their turn meanwhile.
func (s *stream) finish(ctx context.Context, f func()) error {
	return s.v.submit(ctx, func() error {
		f()
		return s.take()
	}, s)
}

// drain waits for everything that is queued, whatever became of it, so that the memory may be used again.
func (s *stream) drain() {
	_ = s.v.do(context.Background(), func() error {
		_ = s.wait()
		return nil
	})
}

// take returns the first error and forgets it.
func (s *stream) take() error {
	err := s.err
	s.err = nil
	return err
}

// close frees what the stream has.
func (s *stream) close() {
	_ = s.v.d.call("cuStreamSynchronize", s.handle)
	for _, m := range s.device {
		s.v.free(*m)
	}
	for _, p := range s.pinned {
		_ = s.v.d.call("cuMemFreeHost", uintptr(p.ptr))
	}
	_ = s.v.d.call("cuEventDestroy_v2", s.event)
	_ = s.v.d.call("cuStreamDestroy_v2", s.handle)
}

// streams are those of one owner that calls take in turn.
type streams struct {
	all  []*stream
	free chan *stream
}

// newStreams makes n streams.
func (v *Device) newStreams(n int) (*streams, error) {
	ss := &streams{free: make(chan *stream, n)}
	for range n {
		s, err := v.newStream()
		if err != nil {
			ss.close()
			return nil, err
		}
		ss.all = append(ss.all, s)
		ss.free <- s
	}
	return ss, nil
}

func (ss *streams) acquire(ctx context.Context) (*stream, error) {
	select {
	case s := <-ss.free:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (ss *streams) release(s *stream) { ss.free <- s }

// close frees all of them; nobody may have one.
func (ss *streams) close() {
	for _, s := range ss.all {
		s.close()
	}
}

func (v *Device) alloc(size int) (mem, error) {
	p, err := out[uintptr](v.d, "cuMemAlloc_v2", uintptr(max(size, 4)))
	if err != nil {
		return mem{}, fmt.Errorf("%d bytes: %w", size, err)
	}
	return mem{p, size}, nil
}

func (v *Device) free(m mem) {
	if m.ptr != 0 {
		_ = v.d.call("cuMemFree_v2", m.ptr)
	}
}

// room returns the stream's device memory of a name, at least size bytes; growing forgets the content.
func (s *stream) room(name string, size int) mem {
	if s.err != nil {
		return mem{}
	}
	m := s.device[name]
	if m == nil {
		m = new(mem)
		s.device[name] = m
	}
	if m.ptr == 0 || m.size < size {
		// Work that still uses the old memory must end first.
		if s.err = s.v.d.call("cuStreamSynchronize", s.handle); s.err != nil {
			return mem{}
		}
		s.v.free(*m)
		*m = mem{}
		got, err := s.v.alloc(size + size/8)
		if err != nil {
			s.err = fmt.Errorf("%s: %w", name, err)
			return mem{}
		}
		*m = got
	}
	return mem{m.ptr, size}
}

// host returns pinned memory of a name as n values.
func host[T any](s *stream, name string, n int) []T {
	if s.err != nil || n == 0 {
		return nil
	}
	var z T
	size := n * int(unsafe.Sizeof(z))
	p := s.pinned[name]
	if p == nil || p.size < size {
		if p != nil {
			if s.err = s.v.d.call("cuStreamSynchronize", s.handle); s.err != nil {
				return nil
			}
			_ = s.v.d.call("cuMemFreeHost", uintptr(p.ptr))
			delete(s.pinned, name)
		}
		size += size / 8
		ptr, err := out[unsafe.Pointer](s.v.d, "cuMemHostAlloc", uintptr(size), 0)
		if err != nil {
			s.err = fmt.Errorf("%d bytes of pinned memory: %w", size, err)
			return nil
		}
		p = &pinned{ptr, size}
		s.pinned[name] = p
	}
	return unsafe.Slice((*T)(p.ptr), n)
}

// put copies pinned values to device memory, get the other way; both only queue the copy.
func put[T any](s *stream, to mem, v []T) {
	s.copy("cuMemcpyHtoDAsync_v2", to, bytesOf(v), true)
}

func get[T any](s *stream, v []T, from mem) {
	s.copy("cuMemcpyDtoHAsync_v2", from, bytesOf(v), false)
}

func (s *stream) copy(call string, m mem, b []byte, toDevice bool) {
	if s.err != nil || len(b) == 0 {
		return
	}
	if len(b) > m.size {
		panic(fmt.Sprintf("cuda: copy of %d bytes, device memory has %d", len(b), m.size))
	}
	h := uintptr(unsafe.Pointer(&b[0]))
	if toDevice {
		s.err = s.v.d.call(call, m.ptr, h, uintptr(len(b)), s.handle)
	} else {
		s.err = s.v.d.call(call, h, m.ptr, uintptr(len(b)), s.handle)
	}
}

// copyWithin queues a copy from device memory to device memory of the same size.
func (s *stream) copyWithin(to, from mem) {
	if s.err == nil {
		s.err = s.v.d.call("cuMemcpyDtoDAsync_v2", to.ptr, from.ptr, uintptr(from.size), s.handle)
	}
}

// fill sets 32-bit words.
func (s *stream) fill(m mem, word uint32) {
	if s.err == nil {
		s.err = s.v.d.call("cuMemsetD32Async", m.ptr, uintptr(word), uintptr(m.size/4), s.handle)
	}
}

// run launches a kernel.
func (s *stream) run(kernel string, gridX, gridY, threads, shared int, args ...any) {
	if s.err == nil {
		s.err = s.v.launch(s, kernel, gridX, gridY, threads, shared, args...)
	}
}

// wait waits for the stream's work and returns the first error.
func (s *stream) wait() error {
	err := s.v.d.call("cuStreamSynchronize", s.handle)
	if s.err == nil {
		s.err = err
	}
	return s.take()
}

func bytesOf[T any](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(z)))
}

// valuesOf looks at bytes, which are aligned, as values.
func valuesOf[T any](b []byte) []T {
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(z)))
}

// at is memory from an offset on.
func (m mem) at(offset, size int) mem {
	if offset+size > m.size {
		panic(fmt.Sprintf("cuda: %d bytes from %d on of %d", size, offset, m.size))
	}
	return mem{m.ptr + uintptr(offset), size}
}
