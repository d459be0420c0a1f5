//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpuTime is the processor time of this process, user and system, all threads.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
