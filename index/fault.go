package index

import (
	"errors"
	"path/filepath"
	"runtime/debug"

	"github.com/golbert/golbert/internal/mmapfile"
)

// ErrFault reports mapped memory that could not be read: somebody has cut the file short while it was open, or
// its disk fails. The concrete error is a *CorruptError, which wraps ErrCorrupt, too.
var ErrFault = errors.New("index: mapped memory cannot be read")

// Guard runs f, and turns faults of mapped files while it runs, in this goroutine, into *CorruptError with
// ErrFault. The methods of Segment and Snapshot that return an error guard themselves. What needs Guard is
// DocTokens, and work on what Residuals returned, which is mapped memory, where the program must survive
// somebody else truncating the index's files. Every goroutine needs its own.
func Guard(f func() error) error { return asFault(mmapfile.Guard(f)) }

// asFault makes this package's error of a fault, be it one that came from another goroutine.
func asFault(err error) error {
	if err == nil || errors.Is(err, ErrFault) {
		return err
	}
	var fe *mmapfile.FaultError // on the heap, so not before there is an error
	if !errors.As(err, &fe) {
		return err
	}
	return &CorruptError{File: filepath.Base(fe.File), Offset: fe.Offset, Err: errors.Join(ErrFault, fe)}
}

// catch is deferred by methods that read the file. It is Guard without a closure.
func (f *segFile) catch(was bool, err *error) {
	debug.SetPanicOnFault(was)
	if r := recover(); r != nil {
		fe := mmapfile.FaultOf(r)
		if fe == nil {
			panic(r)
		}
		// The file may have had its temporary name when it was mapped.
		*err = &CorruptError{File: f.name, Offset: fe.Offset, Err: errors.Join(ErrFault, fe)}
	}
}

// catch is deferred by operations that read any number of files. It comes first, so that it is run last, when
// everything else has been put in order.
func catch(was bool, err *error) {
	debug.SetPanicOnFault(was)
	if r := recover(); r != nil {
		fe := mmapfile.FaultOf(r)
		if fe == nil {
			panic(r)
		}
		*err = asFault(fe)
	}
}
