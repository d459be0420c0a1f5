//go:build darwin || linux || windows

package cuda

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/cudahost"
)

// The tests run against the kernels compiled for the host (shim/) where a C++ compiler is found, and against a device
// where there is one.
var (
	shimPath string // the emulated driver; empty without
	shimWhy  string // why it is missing
	shimLib  uintptr
	realWhy  string // why no device is tested; empty when one is
)

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "golbert-cuda")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if shimPath, shimLib, err = buildShim(dir); err != nil {
		shimPath, shimWhy = "", err.Error()
	}
	if infos, err := Devices(); err != nil {
		realWhy = err.Error()
	} else if len(infos) == 0 {
		realWhy = "the driver has no devices"
	} else {
		fmt.Printf("cuda: device 0 is %s, compute capability %d.%d\n", infos[0].Name, infos[0].Major, infos[0].Minor)
	}
	code := m.Run()
	onDevice, onHost := "all kernels", "all kernels, compiled by "+cudahost.Compiler()
	if realWhy != "" {
		onDevice = "nothing (" + strings.ReplaceAll(realWhy, "\n", "; ") + ")"
	}
	if shimPath == "" {
		onHost = "nothing (" + shimWhy + ")"
	}
	fmt.Printf("cuda: run on a device: %s; run on the host: %s\n", onDevice, onHost)
	return code
}

func buildShim(dir string, flags ...string) (path string, lib uintptr, err error) {
	if path, err = cudahost.Build(dir, "shim", flags...); err != nil {
		return "", 0, err
	}
	lib, err = openLibrary(path)
	return path, lib, err
}

// useShim makes the emulation the driver of a test, with so much device memory; at the end nothing may be left in it.
func useShim(t *testing.T, memory int) {
	t.Helper()
	if shimPath == "" {
		t.Skip(shimWhy)
	}
	t.Setenv(EnvDriver, shimPath)
	shimReset(memory)
	t.Cleanup(func() { require.Zero(t, shimReset(memory), "allocations left behind") })
}

// shimCall calls a function of the emulation.
func shimCall(name string, args ...uintptr) uintptr {
	f, err := librarySymbol(shimLib, name)
	if err != nil {
		panic(err)
	}
	r, _, _ := purego.SyscallN(f, args...)
	return r
}

func shimReset(memory int) int { return int(int32(shimCall("shim_reset", uintptr(memory)))) }

// shimFail makes the nth call of a function from now on fail, and all after it.
func shimFail(name string, nth, code int) {
	c := append([]byte(name), 0)
	shimCall("shim_fail", address(&c[0]), uintptr(nth), uintptr(code))
	runtime.KeepAlive(c)
}

// shimHold makes all work look unfinished, or no longer.
func shimHold(on bool) {
	n := uintptr(0)
	if on {
		n = 1
	}
	shimCall("shim_hold", n)
}

// eachDevice runs a test on the emulation and on a device.
func eachDevice(t *testing.T, f func(t *testing.T, dev *Device)) {
	t.Run("host", func(t *testing.T) {
		useShim(t, 1<<30)
		f(t, openDevice(t))
	})
	t.Run("device", func(t *testing.T) {
		if realWhy != "" {
			t.Skip(realWhy)
		}
		f(t, openDevice(t))
	})
}

func openDevice(t *testing.T) *Device {
	t.Helper()
	dev, err := Open(0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}
