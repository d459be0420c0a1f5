package cuda

import (
	"slices"

	"golang.org/x/sys/windows"
)

var libraryNames = []string{"nvcuda.dll"}

func openLibrary(name string) (uintptr, error) {
	flags := uintptr(0)
	if slices.Contains(libraryNames, name) {
		flags = windows.LOAD_LIBRARY_SEARCH_SYSTEM32 // and not the folder that the program happens to run in
	}
	h, err := windows.LoadLibraryEx(name, 0, flags)
	return uintptr(h), err
}

func librarySymbol(lib uintptr, name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(lib), name)
}
