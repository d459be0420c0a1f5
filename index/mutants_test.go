package index

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sourceMutants take out one check each, in the source. edits are old texts, each followed by its new one.
var sourceMutants = []struct {
	name, file string
	edits      []string
}{
	{"checksum of a block", "blocks.go", []string{"if crc32c(block) != binary.LittleEndian.Uint32(v.table[4*b:]) {", "if block == nil {"}},
	{"checksum of the checksum table", "segfile.go", []string{"if got := crc32c(table); got != foot.tableCRC {", "if got := uint32(0); got != 0 {"}},
	{"checksum of the table of contents", "segfile.go", []string{"if got := crc32c(tocBytes); got != foot.tocCRC {", "if got := uint32(0); got != 0 {"}},
	{"checksum of the footer", "format.go", []string{"if want, got := le.Uint32(b[52:]), crc32c(b[:52]); want != got {", "if want, got := uint32(0), uint32(0); want != got {"}},
	{"hash of a segment's tail", "state.go", []string{`{"tail_sha256", s.Tail, f.root},`, `{"tail_sha256", s.Tail, s.Tail},`}},
	{"hash of deletions and codebooks", "state.go", []string{"got != sum {", "got != sum && false {"}},
	// The canonical form holds the checksum, too: only without both is damage passed over.
	{"checksum and canonical form of the manifest", "manifest.go", []string{"if got := crc32c(body); got != want {", "if got := want; got != want {", "!bytes.Equal(canon, b) {", "len(canon) == 0 {"}},
	{"checksum of deletions", "deletions.go", []string{"if want, got := le.Uint32(b[end:]), crc32c(b[:end]); want != got {", "if want, got := uint32(0), uint32(0); want != got {"}},
	{"checksum of the codebook", "../quant/file.go", []string{"le.Uint32(b[len(b)-4:]); sum != want {", "le.Uint32(b[len(b)-4:]); sum != want && false {"}},
	{"sync of data files and manifests", "commit.go", []string{"err := p.f.Sync()", "err := error(nil)"}},
	{"syncs of the directory", "commit.go", []string{"if err := c.ix.fs.SyncDir(c.ix.dir); err != nil {", "if err := error(nil); err != nil {"}},
	{"sync of the directory before cleaning", "index.go", []string{"if err := fsys.SyncDir(dir); err != nil {", "if err := error(nil); err != nil {"}},
	{"sync of the directories above", "index.go", []string{"if err := fsys.SyncDir(p); err != nil && i < made {", "if err := error(nil); err != nil && i < made {"}},
	{"a failed sync breaks the writer", "commit.go", []string{"if err != nil && (c.published || errors.As(err, &se)) {", "if err != nil && c.published {"}},
	{"an unknown commit breaks the writer", "commit.go", []string{"if err != nil && (c.published || errors.As(err, &se)) {", "if err != nil && errors.As(err, &se) {"}},
	{"files of a commit that may be there stay", "commit.go", []string{"if c.published {\n\t\treturn //", "if false {\n\t\treturn //"}},
	{"guard of a document's codes", "segment.go", []string{"Codes(dst []uint32, ord uint32) (_ []uint32, err error) {\n\tdefer s.f.catch(debug.SetPanicOnFault(true), &err)", "Codes(dst []uint32, ord uint32) (_ []uint32, err error) {\n\tdefer s.f.catch(debug.SetPanicOnFault(false), &err)"}},
}

// TestCrashSourceMutants takes out every checksum, sync and rule of the protocol in turn, compiles the package,
// and makes sure that the crash, fault, flip and hostile tests fail. It compiles often, so it is asked for:
//
//	GOLBERT_MUTANTS=1 go test -run TestCrashSourceMutants -v -timeout 0 ./index
func TestCrashSourceMutants(t *testing.T) {
	if os.Getenv("GOLBERT_MUTANTS") == "" {
		t.Skip("set GOLBERT_MUTANTS=1 to compile and test mutants of the package")
	}
	caught := 0
	for _, m := range sourceMutants {
		path, err := filepath.Abs(m.file)
		require.NoError(t, err)
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		mutant := string(src)
		for i := 0; i < len(m.edits); i += 2 {
			require.Equal(t, 1, strings.Count(mutant, m.edits[i]), "%s: this list is out of date", m.name)
			mutant = strings.Replace(mutant, m.edits[i], m.edits[i+1], 1)
		}
		dir := t.TempDir()
		mutated := filepath.Join(dir, "mutated.go")
		require.NoError(t, os.WriteFile(mutated, []byte(mutant), 0o600))
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
		require.NoError(t, err)
		list := filepath.Join(dir, "overlay.json")
		require.NoError(t, os.WriteFile(list, overlay, 0o600))
		cmd := exec.Command("go", "test", "-vet=off", "-short", "-failfast", "-overlay", list, "-run", "Crash|Fault|Flip|Hostile|Damaged", ".")
		cmd.Env = append(os.Environ(), "GOLBERT_MUTANTS=")
		out, err := cmd.CombinedOutput()
		text := string(out)
		switch {
		case err == nil:
			t.Errorf("%s: not noticed", m.name)
			continue
		case strings.Contains(text, "[build failed]"):
			t.Errorf("%s: does not compile: %s", m.name, text)
			continue
		}
		caught++
		by := "the end of the process"
		if _, rest, ok := strings.Cut(text, "--- FAIL: "); ok {
			by, _, _ = strings.Cut(rest, " ")
		}
		t.Logf("%s: noticed by %s", m.name, by)
	}
	t.Logf("source_mutants=%d caught=%d", len(sourceMutants), caught)
}
