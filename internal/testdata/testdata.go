// Package testdata finds the test collections that lie beside a checkout, for tests only.
package testdata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Env names the folder of the shared collections when they do not lie at ../shared of the module.
const Env = "GOLBERT_SHARED"

// Root returns the module's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Shared returns the path of shared/data/<rel>, and skips the test with a message when it is absent.
func Shared(t testing.TB, rel string) string {
	t.Helper()
	dir := os.Getenv(Env)
	if dir == "" {
		dir = filepath.Join(filepath.Dir(Root()), "shared")
	}
	p := filepath.Join(dir, "data", filepath.FromSlash(rel))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("skipped: needs the shared collection data/%s (set %s to the folder that holds data/)", rel, Env)
	}
	return p
}
