// Package stdlib reads the documentation of Go's standard library as passages: texts that every machine with Go has.
package stdlib

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// A Passage is one piece of documentation that can be an answer: the doc comment of one exported symbol, or
// a part of one when it is long.
type Passage struct {
	ID   string // "sync.WaitGroup.Wait"; the second part of a long one is "sync.WaitGroup#2"
	Text string // the declaration on one line, then the documentation
}

// wordsPerPassage is where a long doc comment is cut, at the next paragraph or heading. Late interaction
// keeps a vector per token, so that long passages do not blur; but a reader wants the paragraph that
// answers, not the page.
const wordsPerPassage = 150

// headingBytes is where a long declaration is cut. The beginning, with the symbol's name, is what matters.
const headingBytes = 80

// minWords is the least number of words that a comment needs to be a passage.
const minWords = 4

// ErrNoRoot reports that the source of the standard library is not on this machine.
var ErrNoRoot = errors.New("no Go source tree found")

// Root finds the source of the standard library: what the go command says, then the environment, then
// what was compiled in.
func Root() (string, error) {
	var tried []string
	check := func(dir string) bool {
		if dir == "" {
			return false
		}
		if _, err := os.Stat(filepath.Join(dir, "src", "fmt", "print.go")); err != nil {
			tried = append(tried, dir)
			return false
		}
		return true
	}
	if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); check(dir) {
			return dir, nil
		}
	}
	// What was compiled in may be the root of another machine, so it comes last and is checked like the others.
	for _, dir := range []string{os.Getenv("GOROOT"), build.Default.GOROOT} {
		if check(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w (looked in %q): install Go from https://go.dev/dl, or set GOROOT to a directory that holds src/fmt",
		ErrNoRoot, tried)
}

// Version names the release of a source tree, from its VERSION file ("go1.26.0"); a tree without one, such
// as a checkout of the development branch, is "devel".
func Version(root string) string {
	b, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return "devel"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// Read returns the passages of the public packages of the standard library under root, in the order
// of import paths and, in a package, of its documentation. The trees go and debug, for writers of compilers and
// debuggers, are left out: they are a sixth of the whole and would cost everybody else ten seconds. Files are chosen as for linux/amd64 without
// cgo on every machine, so that the corpus depends on the version of Go alone.
func Read(root string) ([]Passage, error) {
	ctx := build.Default
	ctx.GOROOT, ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = root, "linux", "amd64", false
	src := filepath.Join(root, "src")
	c := &corpus{seen: map[string]bool{}}
	err := filepath.WalkDir(src, func(dir string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() || dir == src {
			return nil
		}
		switch d.Name() {
		case "internal", "testdata", "vendor", "cmd", "syscall":
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(src, dir)
		if err != nil {
			return err
		}
		if rel == "go" || rel == "debug" {
			return filepath.SkipDir
		}
		return c.addDir(&ctx, dir, filepath.ToSlash(rel))
	})
	if err != nil {
		return nil, fmt.Errorf("reading the documentation under %s: %w", src, err)
	}
	if len(c.out) == 0 {
		return nil, fmt.Errorf("%w: %s holds no packages", ErrNoRoot, src)
	}
	return c.out, nil
}

// corpus collects passages; the fields from pkg on belong to the package being read.
type corpus struct {
	out  []Passage
	seen map[string]bool
	pkg  *doc.Package
	fset *token.FileSet
}

func (c *corpus) addDir(ctx *build.Context, dir, importPath string) error {
	bp, err := ctx.ImportDir(dir, 0)
	var none *build.NoGoError
	if errors.As(err, &none) || err == nil && bp.Name == "main" {
		return nil // no package for this system, or a generator
	}
	if err != nil {
		return err
	}
	c.fset = token.NewFileSet()
	var files []*ast.File
	for _, name := range bp.GoFiles {
		f, err := parser.ParseFile(c.fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	mode := doc.Mode(0)
	if importPath == "builtin" {
		mode = doc.AllDecls // its symbols are not upper case
	}
	if c.pkg, err = doc.NewFromFiles(c.fset, files, importPath, mode); err != nil {
		return err
	}
	c.add(importPath, "package "+c.pkg.Name, c.pkg.Doc)
	c.addValues(c.pkg.Consts)
	c.addValues(c.pkg.Vars)
	c.addFuncs(c.pkg.Funcs, "")
	for _, t := range c.pkg.Types {
		c.addType(t)
	}
	return nil
}

func (c *corpus) addType(t *doc.Type) {
	for _, s := range t.Decl.Specs {
		if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.Name == t.Name {
			c.add(c.name(t.Name), "type "+t.Name+" "+typeKind(ts.Type), t.Doc)
			c.addMembers(t.Name, ts.Type)
		}
	}
	c.addValues(t.Consts)
	c.addValues(t.Vars)
	c.addFuncs(t.Funcs, "")
	c.addFuncs(t.Methods, t.Name+".")
}

// addMembers adds the documented fields of a struct and methods of an interface; much of what the library
// can do (time limits of a server, say) is written only there.
func (c *corpus) addMembers(typeName string, typ ast.Expr) {
	var fields *ast.FieldList
	switch t := typ.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return
	}
	for _, f := range fields.List {
		if len(f.Names) == 0 || !f.Names[0].IsExported() {
			continue
		}
		comment := f.Doc.Text()
		if comment == "" {
			comment = f.Comment.Text()
		}
		head := "field " + typeName + "." + f.Names[0].Name + " " + c.source(f.Type)
		if ft, ok := f.Type.(*ast.FuncType); ok && fields.Opening.IsValid() {
			if _, isInterface := typ.(*ast.InterfaceType); isInterface {
				head = "method " + typeName + "." + f.Names[0].Name + strings.TrimPrefix(c.source(ft), "func")
			}
		}
		c.add(c.name(typeName+"."+f.Names[0].Name), head, comment)
	}
}

func (c *corpus) addFuncs(funcs []*doc.Func, prefix string) {
	for _, f := range funcs {
		// Methods of embedded exported types are not here; those of unexported ones (testing.common) are,
		// once for every type that shows them.
		decl := *f.Decl
		decl.Doc, decl.Body = nil, nil
		c.add(c.name(prefix+f.Name), c.source(&decl), f.Doc)
	}
}

// addValues adds a group of constants or variables under its first name, and each member that has
// documentation of its own under its own name.
func (c *corpus) addValues(values []*doc.Value) {
	for _, v := range values {
		kind := v.Decl.Tok.String() + " "
		if v.Doc != "" && len(v.Names) > 0 {
			c.add(c.name(v.Names[0]), kind+strings.Join(v.Names, ", "), v.Doc)
		}
		for _, s := range v.Decl.Specs {
			vs, ok := s.(*ast.ValueSpec)
			if !ok || len(vs.Names) == 0 {
				continue
			}
			comment := vs.Doc.Text()
			if comment == "" {
				comment = vs.Comment.Text()
			}
			if len(v.Decl.Specs) > 1 {
				c.add(c.name(vs.Names[0].Name), kind+vs.Names[0].Name, comment)
			}
		}
	}
}

func (c *corpus) name(symbol string) string { return c.pkg.ImportPath + "." + symbol }

// add appends the passages of one documented symbol. What says next to nothing ("User ID of owner") and what
// is deprecated answers nobody's question and has no passage.
func (c *corpus) add(id, heading, comment string) {
	if len(strings.Fields(comment)) < minWords || strings.HasPrefix(comment, "Deprecated:") ||
		strings.Contains(comment, "\n\nDeprecated:") {
		return
	}
	heading = "package " + path.Base(c.pkg.ImportPath) + ": " + clip(strings.Join(strings.Fields(heading), " "), headingBytes)
	if id == c.pkg.ImportPath {
		heading = "package " + c.pkg.ImportPath
	}
	part := 0
	for _, text := range split(string(c.pkg.Text(comment))) {
		unique := id
		for {
			part++
			if part > 1 {
				unique = id + "#" + strconv.Itoa(part)
			}
			if !c.seen[unique] {
				break
			}
		}
		c.seen[unique] = true
		c.out = append(c.out, Passage{ID: unique, Text: heading + "\n" + text})
	}
}

// split cuts a text in pieces of about wordsPerPassage words: at a heading when the piece is not tiny, else at
// the end of a paragraph.
func split(text string) []string {
	var out []string
	var piece []string
	words := 0
	flush := func() {
		if len(piece) > 0 {
			out = append(out, strings.Join(piece, "\n\n"))
		}
		piece, words = nil, 0
	}
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		p = strings.Trim(p, "\n")
		n := len(strings.Fields(p))
		if n == 0 {
			continue
		}
		heading := strings.HasPrefix(p, "# ")
		if heading && words > wordsPerPassage/4 || words+n > wordsPerPassage && words > wordsPerPassage/4 {
			flush()
		}
		piece = append(piece, p)
		words += n
	}
	flush()
	return out
}

// source prints a node on one line.
func (c *corpus) source(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, c.fset, node); err != nil {
		return ""
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func typeKind(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StructType:
		return "struct"
	case *ast.InterfaceType:
		return "interface"
	case *ast.FuncType:
		return "func"
	case *ast.MapType:
		return "map"
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// clip shortens s to at most n bytes at a rune boundary.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " ..."
}
