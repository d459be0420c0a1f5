//go:build darwin || linux

package cuda

import "github.com/ebitengine/purego"

var libraryNames = []string{"libcuda.so.1", "libcuda.so"}

func openLibrary(name string) (uintptr, error) {
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func librarySymbol(lib uintptr, name string) (uintptr, error) { return purego.Dlsym(lib, name) }
