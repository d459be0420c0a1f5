package depcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/golbert/golbert"

// A rule says what the packages under a path may import of this module, tests not counted. A path stands for
// itself; one that ends in "/..." for everything below it as well. The first rule that fits a package is its
// rule.
type rule struct {
	path string
	may  []string
}

var rules = []rule{
	{"internal/...", []string{"internal/..."}},
	{"colbert/maxsim", []string{"internal/kernel"}},
	{"colbert/eval", []string{"colbert/maxsim", "internal/..."}},
	{"quant", []string{"colbert/maxsim", "internal/..."}},
	{"index/...", []string{"index/...", "quant", "colbert/maxsim", "internal/..."}},
	{"plaid/...", []string{"plaid/...", "index", "quant", "colbert/maxsim", "internal/..."}},
	{"encoder/hub", []string{"internal/..."}}, // the network stays out of what encodes
	{"encoder/train/...", []string{"encoder", "encoder/checkpoint", "encoder/delta", "encoder/transformer", "colbert/maxsim", "colbert/eval", "colbert", "index", "plaid", "encoder/train", "internal/..."}}, // negatives are mined with our own index
	{"encoder/...", []string{"encoder/...", "colbert/maxsim", "internal/..."}},
	{"colbert", []string{"encoder", "plaid", "index", "index/interop", "quant", "colbert/maxsim", "internal/..."}},
	{"examples/...", []string{"..."}},
}

// heavy are modules that must not reach those who import only the core.
var heavy = []string{
	"gorgonia.org", "github.com/ebitengine/purego", "gonum.org", "modernc.org/sqlite", "github.com/mattn/go-sqlite3",
	"github.com/stretchr/testify", "github.com/ikawaha/kagome",
	"github.com/abadojack/whatlanggo",
}

// core are the packages that everybody imports.
var core = []string{"colbert", "colbert/maxsim", "colbert/eval", "index", "plaid", "quant", "encoder", "encoder/golbertmini"}

func (r rule) covers(pkg string) bool { return covers(r.path, pkg) }

func covers(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	base, below := strings.CutSuffix(pattern, "/...")
	return pkg == base || below && strings.HasPrefix(pkg, base+"/")
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Error      *struct{ Err string }
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Imports,Deps,Error"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("the go command is not on the path")
	}
	require.NoError(t, err, stderr.String())
	var pkgs []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else {
			require.NoError(t, err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	pkgs := list(t, "./...")
	require.NotEmpty(t, pkgs)
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		var r *rule
		for i := range rules {
			if rules[i].covers(name) {
				r = &rules[i]
				break
			}
		}
		if !assertf(t, r != nil, "%s has no rule: say in this test what it may import", name) {
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				assertf(t, !strings.HasPrefix(imp, "gorgonia.org/") || covers("encoder/train/...", name), "%s imports %s, which is for encoder/train alone", name, imp)
				continue
			}
			ok := false
			for _, m := range r.may {
				ok = ok || covers(m, dep)
			}
			assertf(t, ok, "%s imports %s; it may import only %q", name, dep, r.may)
		}
	}
}

func TestCoreStaysLight(t *testing.T) {
	args := make([]string, len(core))
	for i, c := range core {
		args[i] = "./" + c
	}
	for _, p := range list(t, args...) {
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		for _, d := range p.Deps {
			for _, h := range heavy {
				assertf(t, d != h && !strings.HasPrefix(d, h+"/"), "%s depends on %s", p.ImportPath, d)
			}
			// Only golbertmini links model weights.
			weights := d == module+"/encoder/golbertmini"
			assertf(t, !weights, "%s links the embedded model", p.ImportPath)
			// Nor are dictionaries of Japanese read but by those who ask for them.
			assertf(t, d != module+"/encoder/japanese", "%s depends on %s", p.ImportPath, d)
			// No cgo, and no network code in programs that only search.
			assertf(t, d != "net/http" && d != "runtime/cgo", "%s depends on %s", p.ImportPath, d)
		}
	}
}

func assertf(t *testing.T, ok bool, format string, args ...any) bool {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
	return ok
}
