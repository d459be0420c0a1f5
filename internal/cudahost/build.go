// Package cudahost builds the host's stand-in for NVIDIA's driver (plaid/cuda/shim), for tests.
package cudahost

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoCompiler reports that there is no C++ compiler: $CXX, or g++.
var ErrNoCompiler = errors.New("no C++ compiler")

// Compiler is the name of the C++ compiler.
func Compiler() string {
	if c := os.Getenv("CXX"); c != "" {
		return c
	}
	return "g++"
}

// Build makes the library in a folder, from the sources in another one, its kernels compiled with some flags more, and returns
// its path, for GOLBERT_CUDA_DRIVER. Errors wrap ErrNoCompiler or hold what the compiler says.
func Build(dir, sources string, flags ...string) (path string, err error) {
	if _, err := exec.LookPath(Compiler()); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	common := []string{"-std=c++17", "-ffp-contract=off", "-fPIC", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function", "-I", sources}
	run := func(args ...string) error {
		if out, err := exec.Command(Compiler(), append(args, common...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", Compiler(), err, out)
		}
		return nil
	}
	kernels := filepath.Join(dir, "kernels.o")
	if err := run(append([]string{"-O2", "-c", "-o", kernels, filepath.Join(sources, "kernels.cpp")}, flags...)...); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "libcuda_host.so")
	return path, run("-O2", "-shared", "-o", path, filepath.Join(sources, "driver.cpp"), kernels)
}
