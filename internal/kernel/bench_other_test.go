//go:build !linux

package kernel

import "time"

var processStart = time.Now()

func threadTime() time.Duration { return time.Since(processStart) }
