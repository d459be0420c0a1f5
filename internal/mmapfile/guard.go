package mmapfile

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"
)

// A mapped file that somebody else cuts short, or whose disk fails, cannot be read any more: the system answers
// with SIGBUS, and Go ends the program, unless the goroutine has asked for a panic instead. Guard and Catch ask
// for it and make an error of it. The request is the goroutine's own: every goroutine that reads mapped memory
// needs a guard, and memory handed to a system call or to another goroutine is not covered.

// FaultError is a read of mapped memory that failed.
type FaultError struct {
	File   string // as given to Open
	Offset int64  // of the byte that could not be read
	Err    error  // the runtime's error
}

// Error names file and offset.
func (e *FaultError) Error() string {
	return fmt.Sprintf("mmapfile: %s: byte %d cannot be read, the file has become shorter or its disk fails: %v", e.File, e.Offset, e.Err)
}

// Unwrap gives the runtime's error.
func (e *FaultError) Unwrap() error { return e.Err }

// Guard runs f and turns a fault in any mapped file into a *FaultError. All other panics pass.
func Guard(f func() error) (err error) {
	defer Catch(debug.SetPanicOnFault(true), &err)
	return f()
}

// Catch is Guard for functions that should not allocate a closure:
//
//	defer mmapfile.Catch(debug.SetPanicOnFault(true), &err)
func Catch(was bool, err *error) {
	debug.SetPanicOnFault(was)
	if r := recover(); r != nil {
		fe := FaultOf(r)
		if fe == nil {
			panic(r)
		}
		*err = fe
	}
}

// FaultOf says whether a recovered panic is a fault in a mapped file, and which; else it gives nil.
func FaultOf(r any) *FaultError {
	e, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	mappings.Lock()
	defer mappings.Unlock()
	for base, f := range mappings.m {
		if at := e.Addr(); at >= base && at-base < uintptr(len(f.data)) {
			return &FaultError{File: f.name, Offset: int64(at - base), Err: e}
		}
	}
	return nil
}

// mappings are the files that are mapped now, by address. They are as global as the address space: the handler
// of a fault has nothing but the address.
var mappings = struct {
	sync.Mutex
	m map[uintptr]*File
}{m: make(map[uintptr]*File)}

func (f *File) register() {
	mappings.Lock()
	mappings.m[uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))] = f
	mappings.Unlock()
}

func (f *File) unregister() {
	mappings.Lock()
	delete(mappings.m, uintptr(unsafe.Pointer(unsafe.SliceData(f.data))))
	mappings.Unlock()
}
