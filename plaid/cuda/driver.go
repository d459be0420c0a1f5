//go:build darwin || linux || windows

package cuda

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// EnvDriver names the environment variable with the path of the driver's library, in place of the system's.
const EnvDriver = "GOLBERT_CUDA_DRIVER"

// Sentinel errors; those of calls wrap *Error, too.
var (
	// ErrNoDriver reports that the driver's library is missing or lacks a function.
	ErrNoDriver = errors.New("cuda: no usable driver")
	// ErrNoDevice reports that there is no device of the wanted number, or none that is able enough.
	ErrNoDevice = errors.New("cuda: no such device")
	// ErrOutOfMemory reports that device or pinned memory ran out.
	ErrOutOfMemory = errors.New("cuda: out of memory")
	// ErrLost reports a device that no longer works: a fault in a kernel or of the hardware. It must be opened again.
	ErrLost = errors.New("cuda: device lost")
	// ErrClosed reports use after Close.
	ErrClosed = errors.New("cuda: closed")
	// ErrUnsupported reports vectors or codebooks that the device cannot take.
	ErrUnsupported = errors.New("cuda: not supported on a device")
)

// Error is a failed call of the driver.
type Error struct {
	Call       string // the function
	Code       int    // CUresult
	Name, Text string // as the driver has them
}

func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// Unwrap gives the sentinel that the code belongs to.
func (e *Error) Unwrap() error {
	switch {
	case e.Code == codeOutOfMemory:
		return ErrOutOfMemory
	case e.Code == codeNoDevice || e.Code == codeInvalidDevice:
		return ErrNoDevice
	case e.lost():
		return ErrLost
	}
	return nil
}

const (
	codeOutOfMemory   = 2
	codeDeinitialized = 4
	codeNoDevice      = 100
	codeInvalidDevice = 101
	codeECC           = 214
	codeNotReady      = 600
	codeUnknown       = 999
)

// lost says whether the context is unusable from now on: 700 to 720 are faults of kernels.
func (e *Error) lost() bool {
	return e.Code >= 700 && e.Code <= 720 || e.Code == codeECC || e.Code == codeUnknown || e.Code == codeDeinitialized
}

// driver is the loaded library.
type driver struct {
	path string
	fn   map[string]uintptr
}

// functions are what is used of the driver's interface, all there since CUDA 11.0.
var functions = []string{
	"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem_v2",
	"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent", "cuMemGetInfo_v2",
	"cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2",
	"cuMemsetD32Async",
	"cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel",
	"cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventQuery",
	"cuGetErrorName", "cuGetErrorString",
}

var (
	driversMu sync.Mutex
	drivers   = map[string]*driver{}
)

// loadDriver opens the library, once for each path.
func loadDriver() (*driver, error) {
	names := libraryNames
	if p := os.Getenv(EnvDriver); p != "" {
		names = []string{p}
	}
	driversMu.Lock()
	defer driversMu.Unlock()
	var faults []error
	for _, name := range names {
		if d, ok := drivers[name]; ok {
			return d, nil
		}
		d, err := openDriver(name)
		if err == nil {
			drivers[name] = d
			return d, nil
		}
		faults = append(faults, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrNoDriver, errors.Join(faults...))
}

func openDriver(name string) (*driver, error) {
	lib, err := openLibrary(name)
	if err != nil {
		return nil, err
	}
	d := &driver{path: name, fn: map[string]uintptr{}}
	for _, f := range functions {
		if d.fn[f], err = librarySymbol(lib, f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := d.call("cuInit", 0); err != nil {
		return nil, err
	}
	return d, nil
}

// call calls a function of the driver and turns its result into an error.
func (d *driver) call(name string, args ...uintptr) error {
	r, _, _ := purego.SyscallN(d.fn[name], args...)
	if code := int(int32(r)); code != 0 {
		return d.fail(name, code)
	}
	return nil
}

func (d *driver) fail(call string, code int) error {
	e := &Error{Call: call, Code: code, Name: "unknown error"}
	for _, q := range []struct {
		f  string
		to *string
	}{{"cuGetErrorName", &e.Name}, {"cuGetErrorString", &e.Text}} {
		var p *byte
		if r, _, _ := purego.SyscallN(d.fn[q.f], uintptr(code), address(&p)); r == 0 && p != nil {
			*q.to = cString(p)
		}
	}
	return e
}

// address is where v lies, for a call during which v is kept alive. What it is given lies on the heap and does not move: a
// stack could, when it grows on the way to the call.
func address[T any](v *T) uintptr {
	p := unsafe.Pointer(v)
	if toHeap != nil {
		toHeap(p)
	}
	return uintptr(p)
}

// toHeap is always nil. That the compiler does not know, and so takes what a call might get to be kept.
var toHeap func(unsafe.Pointer)

func cString(p *byte) string {
	var b strings.Builder
	for i := uintptr(0); i < 4096; i++ {
		c := *(*byte)(unsafe.Add(unsafe.Pointer(p), i))
		if c == 0 {
			break
		}
		b.WriteByte(c)
	}
	return b.String()
}

// out calls a function whose first argument is where its result goes.
func out[T any](d *driver, name string, args ...uintptr) (T, error) {
	v := new(T)
	err := d.call(name, append([]uintptr{address(v)}, args...)...)
	runtime.KeepAlive(v)
	return *v, err
}
