//go:build darwin || linux || windows

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	_ "embed"
)

//go:embed kernels/maxsim.ptx
var maxsimPTX string

//go:embed kernels/plaid.ptx
var plaidPTX string

//go:embed kernels/build.ptx
var buildPTX string

// Info describes a device.
type Info struct {
	Number          int
	Name            string
	Major, Minor    int // compute capability
	Multiprocessors int
	Clock           int    // kHz, the highest
	Memory          uint64 // bytes
	Driver          int    // version of the CUDA interface, such as 12040 for 12.4
}

// Device is an open device. One goroutine, on an operating-system thread of its own, makes all calls to the driver. It only
// queues work and asks whether events have come, so that calls of several goroutines overlap on the device; the methods are
// safe for concurrent use.
type Device struct {
	d       *driver
	info    Info
	context uintptr
	modules []uintptr
	kernels map[string]uintptr
	shared  int            // bytes of shared memory that a block may have
	allowed map[string]int // by kernel: bytes that its blocks may have now

	jobs  chan job
	close sync.Once
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed when the goroutine has ended

	lost atomic.Pointer[Error] // why the device is lost

	launched func(kernel string) // of tests; may be nil
}

type job struct {
	f    func() error
	s    *stream // when not nil, the job is done when all that it has queued there is
	done chan error
}

// Devices lists the devices. Errors wrap ErrNoDriver or *Error.
func Devices() ([]Info, error) {
	d, err := loadDriver()
	if err != nil {
		return nil, err
	}
	n, err := out[int32](d, "cuDeviceGetCount")
	if err != nil {
		return nil, err
	}
	infos := make([]Info, n)
	for i := range infos {
		if infos[i], err = d.describe(i); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// Attributes of a device, CUdevice_attribute.
const (
	attrClock           = 13
	attrMultiprocessors = 16
	attrMajor           = 75
	attrMinor           = 76
	attrSharedOptIn     = 97
)

func (d *driver) describe(n int) (Info, error) {
	info := Info{Number: n}
	dev, err := out[int32](d, "cuDeviceGet", uintptr(n))
	if err != nil {
		return info, err
	}
	var name [256]byte
	if err := d.call("cuDeviceGetName", address(&name[0]), uintptr(len(name)-1), uintptr(dev)); err != nil {
		return info, err
	}
	info.Name = cString(&name[0])
	version, err := out[int32](d, "cuDriverGetVersion")
	if err != nil {
		return info, err
	}
	info.Driver = int(version)
	for attr, to := range map[uintptr]*int{attrClock: &info.Clock, attrMultiprocessors: &info.Multiprocessors, attrMajor: &info.Major, attrMinor: &info.Minor} {
		v, err := out[int32](d, "cuDeviceGetAttribute", attr, uintptr(dev))
		if err != nil {
			return info, err
		}
		*to = int(v)
	}
	size, err := out[uintptr](d, "cuDeviceTotalMem_v2", uintptr(dev))
	info.Memory = uint64(size)
	return info, err
}

// Open opens device n, counted from 0, and compiles the kernels for it, which takes a few seconds the first time; the driver
// keeps the result.
//
// Errors wrap ErrNoDriver, ErrNoDevice (no such number, or a compute capability under 8.0), or *Error.
func Open(n int) (*Device, error) {
	d, err := loadDriver()
	if err != nil {
		return nil, err
	}
	count, err := out[int32](d, "cuDeviceGetCount")
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= int(count) {
		return nil, fmt.Errorf("device %d of %d: %w", n, count, ErrNoDevice)
	}
	info, err := d.describe(n)
	if err != nil {
		return nil, err
	}
	if info.Major < 8 {
		return nil, fmt.Errorf("device %d, %s, has compute capability %d.%d, the least is 8.0: %w", n, info.Name, info.Major, info.Minor, ErrNoDevice)
	}
	dev := &Device{d: d, info: info, jobs: make(chan job), quit: make(chan struct{}), done: make(chan struct{}),
		kernels: map[string]uintptr{}, allowed: map[string]int{}}
	started := make(chan error)
	go dev.work(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("device %d, %s: %w", n, info.Name, err)
	}
	return dev, nil
}

// Info describes the device.
func (v *Device) Info() Info { return v.info }

// Name is the device's name with its number.
func (v *Device) Name() string { return fmt.Sprintf("cuda:%d %s", v.info.Number, v.info.Name) }

// Close waits for the job in progress and gives the context back. Indexes on the device are gone with it. Closing again
// does nothing.
func (v *Device) Close() error {
	v.close.Do(func() { close(v.quit) })
	<-v.done
	return nil
}

// work is the device's goroutine: contexts belong to operating-system threads.
func (v *Device) work(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(v.done)
	err := v.start()
	started <- err
	if err != nil {
		return
	}
	defer v.stop()
	var flying []job // waiting for their streams' events
	for {
		if len(flying) == 0 {
			select {
			case <-v.quit:
				return
			case j := <-v.jobs:
				flying = v.begin(j, flying)
			}
			continue
		}
		select {
		case <-v.quit:
			for _, j := range flying {
				v.end(j, v.d.call("cuStreamSynchronize", j.s.handle))
			}
			return
		case j := <-v.jobs:
			flying = v.begin(j, flying)
		default:
			flying = v.poll(flying)
		}
	}
}

// begin runs a job; one that has to wait goes to those that fly.
func (v *Device) begin(j job, flying []job) []job {
	err := j.f()
	if err == nil && j.s != nil {
		if err = v.d.call("cuEventRecord", j.s.event, j.s.handle); err == nil {
			return append(flying, j)
		}
	}
	v.end(j, err)
	return flying
}

// poll ends the jobs whose events have come. It is called again and again, which keeps a processor busy as waiting in the
// driver would: sleeping takes longer than most searches.
func (v *Device) poll(flying []job) []job {
	return slices.DeleteFunc(flying, func(j job) bool {
		err := v.d.call("cuEventQuery", j.s.event)
		var e *Error
		if errors.As(err, &e) && e.Code == codeNotReady {
			return false
		}
		v.end(j, err)
		return true
	})
}

// end tells the caller how a job went.
func (v *Device) end(j job, err error) {
	var e *Error
	if errors.As(err, &e) && e.lost() {
		v.lost.CompareAndSwap(nil, e)
	}
	j.done <- err
}

func (v *Device) start() (err error) {
	dev := uintptr(v.info.Number)
	if v.context, err = out[uintptr](v.d, "cuDevicePrimaryCtxRetain", dev); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			v.stop()
		}
	}()
	if err := v.d.call("cuCtxSetCurrent", v.context); err != nil {
		return err
	}
	shared, err := out[int32](v.d, "cuDeviceGetAttribute", attrSharedOptIn, dev)
	if err != nil {
		return err
	}
	v.shared = int(shared)
	for _, m := range []struct {
		ptx     string
		kernels []string
	}{
		{maxsimPTX, []string{"maxsim_f32", "maxsim_f16", "maxsim_bf16", "mma_rate"}},
		{plaidPTX, []string{
			"centroid_scores", "byte_scale", "centroid_bytes", "probe_select", "mark_postings", "interact", "select_best", "gather_docs",
			"score_compressed", "score_decoded", "copy_words",
		}},
		{buildPTX, []string{"assign", "centroid_sums", "rotate", "encode", "encode_half"}},
	} {
		image := append([]byte(m.ptx), 0)
		module, err := out[uintptr](v.d, "cuModuleLoadDataEx", address(&image[0]), 0, 0, 0)
		runtime.KeepAlive(image)
		if err != nil {
			return err
		}
		v.modules = append(v.modules, module)
		for _, name := range m.kernels {
			c := append([]byte(name), 0)
			f, err := out[uintptr](v.d, "cuModuleGetFunction", module, address(&c[0]))
			runtime.KeepAlive(c)
			if err != nil {
				return fmt.Errorf("kernel %s: %w", name, err)
			}
			v.kernels[name] = f
		}
	}
	return nil
}

func (v *Device) stop() {
	// Nothing is left to do about errors: the process or the device goes away.
	for _, m := range v.modules {
		_ = v.d.call("cuModuleUnload", m)
	}
	_ = v.d.call("cuCtxSetCurrent", 0)
	_ = v.d.call("cuDevicePrimaryCtxRelease_v2", uintptr(v.info.Number))
}

// do runs f on the device's goroutine, unless ctx ends before its turn comes.
func (v *Device) do(ctx context.Context, f func() error) error { return v.submit(ctx, f, nil) }

// submit is do, and waits for what f has queued on s if that is not nil.
func (v *Device) submit(ctx context.Context, f func() error, s *stream) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e := v.lost.Load(); e != nil {
		return fmt.Errorf("%w since %w", ErrLost, e)
	}
	j := job{f, s, make(chan error, 1)}
	select {
	case <-v.quit: // of two that are ready, select may take either
		return ErrClosed
	default:
	}
	select {
	case v.jobs <- j:
		return <-j.done
	case <-v.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	sharedSizeAttribute = 8 // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
	// plainShared is the dynamic shared memory that every kernel may have: 48 KiB less its static part.
	plainShared = 40 << 10
	// staticShared is an upper bound of the kernels' static part.
	staticShared = 8 << 10
)

// allowShared raises a kernel's limit of dynamic shared memory from the 48 KiB that every device has. It is never lowered:
// others on the device, of a larger dimension, rely on it.
func (v *Device) allowShared(kernel string, bytes int) error {
	if bytes > v.shared-staticShared {
		return fmt.Errorf("kernel %s needs %d bytes of shared memory, the device has %d: %w", kernel, bytes, v.shared-staticShared, ErrUnsupported)
	}
	if bytes <= max(v.allowed[kernel], plainShared) {
		return nil
	}
	if err := v.d.call("cuFuncSetAttribute", v.kernels[kernel], sharedSizeAttribute, uintptr(bytes)); err != nil {
		return fmt.Errorf("kernel %s: %w", kernel, err)
	}
	v.allowed[kernel] = bytes
	return nil
}

// cached is how many columns of a query a kernel keeps in shared memory: dim when it can, else a multiple of 32.
func (v *Device) cached(dim, bytesPerColumn int) int {
	if dim*bytesPerColumn <= v.shared-staticShared {
		return dim
	}
	return (v.shared - staticShared) / bytesPerColumn &^ 31
}

// warpsOf is how many warps of a block have room for so much shared memory each, 4 at most; 0 when not even one has.
func (v *Device) warpsOf(bytesPerWarp int) int {
	return min((v.shared-staticShared)/bytesPerWarp, 4)
}

// launch starts a kernel. Arguments are device pointers (mem), ints and 32-bit floats.
func (v *Device) launch(s *stream, kernel string, gridX, gridY, threads, shared int, args ...any) error {
	if gridX == 0 || gridY == 0 {
		return nil
	}
	if gridX > math.MaxInt32 || gridY > 1<<16-1 {
		return fmt.Errorf("kernel %s: %d x %d blocks: %w", kernel, gridX, gridY, ErrUnsupported)
	}
	const most = 24
	values, pointers := new([most]uint64), new([most]unsafe.Pointer)
	for i, a := range args {
		switch a := a.(type) {
		case mem:
			values[i] = uint64(a.ptr)
		case int:
			if a != int(int32(a)) {
				return fmt.Errorf("kernel %s: argument %d is %d, more than 32 bits: %w", kernel, i, a, ErrUnsupported)
			}
			values[i] = uint64(uint32(int32(a)))
		default:
			panic(fmt.Sprintf("cuda: argument %d of %s is a %T", i, kernel, a))
		}
		pointers[i] = unsafe.Pointer(&values[i])
	}
	err := v.d.call("cuLaunchKernel", v.kernels[kernel], uintptr(gridX), uintptr(gridY), 1, uintptr(threads), 1, 1,
		uintptr(shared), s.handle, address(&pointers[0]), 0)
	runtime.KeepAlive(values)
	runtime.KeepAlive(pointers)
	if v.launched != nil {
		v.launched(kernel)
	}
	if err != nil {
		return fmt.Errorf("kernel %s: %w", kernel, err)
	}
	return nil
}
