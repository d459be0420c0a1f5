package index

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sourceMutant takes one sync, rename, checksum or rule out of the source. edits are old texts, each followed by its
// new one.
type sourceMutant struct {
	name, file string
	edits      []string
	run        string // which tests should notice; "" for mutantTests
}

const mutantTests = "Crash|Fault|Flip|Hostile|Damaged"

// syncOnly leaves out the sync of files of one kind at the end of a commit.
func syncOnly(not string) []string {
	return []string{"err := p.f.Sync()", "var err error\n\tif !strings.Contains(p.name, " + fmt.Sprintf("%q", not) + ") {\n\t\terr = p.f.Sync()\n\t}",
		"\"slices\"\n", "\"slices\"\n\t\"strings\"\n"}
}

var sourceMutants = []sourceMutant{
	// Every sync.
	{name: "sync of segments", file: "commit.go", edits: syncOnly(".gbs")},
	{name: "sync of large segments, at once", file: "commit.go", edits: []string{
		"		if err := c.syncNow(p); err != nil {\n\t\t\treturn nil, manSegment{}, err", "		if err := p.f.Close(); err != nil {\n\t\t\treturn nil, manSegment{}, err"}},
	{name: "sync of deletions", file: "commit.go", edits: syncOnly(".gbd")},
	{name: "sync of codebooks", file: "commit.go", edits: syncOnly(".gbc")},
	{name: "sync of manifests", file: "commit.go", edits: syncOnly("MANIFEST")},
	{name: "sync of the directory before the manifest's rename", file: "commit.go", edits: []string{"c.syncAll(len(c.files) > 0)", "c.syncAll(false)"}},
	{name: "sync of the directory after the manifest's rename", file: "commit.go", edits: []string{
		"	if err := c.syncDir(); err != nil {\n\t\treturn nil, err\n\t}\n", ""}},
	{name: "sync of the directory before cleaning", file: "index.go", edits: []string{"if err := fsys.SyncDir(dir); err != nil {", "if err := error(nil); err != nil {"}},
	{name: "sync of the directories above", file: "index.go", edits: []string{"if err := fsys.SyncDir(p); err != nil && i < made {", "if err := error(nil); err != nil && i < made {"}},
	// Every rename, and the order of both.
	{name: "rename of the manifest", file: "commit.go", edits: []string{
		"f, err := c.createAs(name, name+tmpSuffix)\n\tif err != nil {\n\t\treturn nil, err", "f, err := c.createAs(name, name)\n\tif err != nil {\n\t\treturn nil, err",
		"	if err := c.ix.fs.Rename(c.path(name+tmpSuffix), c.path(name)); err != nil {\n\t\treturn nil, ", "	if err := error(nil); err != nil {\n\t\treturn nil, "}},
	{name: "rename of codebooks", file: "commit.go", run: "OrderOfCalls", edits: []string{
		"f, err := c.createAs(name, name+tmpSuffix)\n\tif err != nil {\n\t\treturn err", "f, err := c.createAs(name, name)\n\tif err != nil {\n\t\treturn err",
		"	if err := c.ix.fs.Rename(c.path(name+tmpSuffix), c.path(name)); err != nil {\n\t\treturn fmt", "	if err := error(nil); err != nil {\n\t\treturn fmt"}},
	{name: "manifest renamed only when all is synced", file: "commit.go", edits: []string{
		"	if err := c.syncAll(len(c.files) > 0); err != nil {\n\t\treturn nil, err\n\t}\n", "",
		"	c.done = true\n\treturn c.open", "	if err := c.syncAll(len(c.files) > 0); err != nil {\n\t\treturn nil, err\n\t}\n\tc.done = true\n\treturn c.open"}},
	// Every checksum.
	{name: "checksum of a block", file: "blocks.go", edits: []string{"if crc32c(block) != binary.LittleEndian.Uint32(v.table[4*b:]) {", "if block == nil {"}},
	{name: "checksum of the checksum table", file: "segfile.go", edits: []string{"if got := crc32c(table); got != foot.tableCRC {", "if got := uint32(0); got != 0 {"}},
	{name: "checksum of the table of contents", file: "segfile.go", edits: []string{"if got := crc32c(tocBytes); got != foot.tocCRC {", "if got := uint32(0); got != 0 {"}},
	{name: "checksum of the footer", file: "format.go", edits: []string{"if want, got := le.Uint32(b[52:]), crc32c(b[:52]); want != got {", "if want, got := uint32(0), uint32(0); want != got {"}},
	{name: "copy of the tail against the tail", file: "segfile.go", edits: []string{"if !bytes.Equal(f.data[f.foot.copyOff:end], tail) {", "if !bytes.Equal(tail, tail) {"}},
	{name: "zeros behind the copy of the tail", file: "segfile.go", edits: []string{"func(b byte) bool { return b != 0 }); i >= 0 {", "func(b byte) bool { return false }); i >= 0 {"}},
	{name: "checksums when a damaged tail is put together", file: "salvage.go", run: "RepairFlip", edits: []string{" && crc32c(data[off:off+length]) == sum {", " {"}},
	{name: "hash of a segment's tail", file: "state.go", edits: []string{`{"tail_sha256", s.Tail, f.root},`, `{"tail_sha256", s.Tail, s.Tail},`}},
	{name: "hash of deletions and codebooks", file: "state.go", edits: []string{"got != sum {", "got != sum && false {"}},
	// The canonical form holds the checksum, too: only without both is damage passed over.
	{name: "checksum and canonical form of the manifest", file: "manifest.go", edits: []string{"if got := crc32c(body); got != want {", "if got := want; got != want {", "!bytes.Equal(canon, b) {", "len(canon) == 0 {"}},
	{name: "checksum of deletions", file: "deletions.go", edits: []string{"if want, got := le.Uint32(b[end:]), crc32c(b[:end]); want != got {", "if want, got := uint32(0), uint32(0); want != got {"}},
	{name: "checksum of the codebook", file: "../quant/file.go", edits: []string{"le.Uint32(b[len(b)-4:]); sum != want {", "le.Uint32(b[len(b)-4:]); sum != want && false {"}},
	// The other rules of the protocol.
	{name: "a failed sync breaks the writer", file: "commit.go", edits: []string{"if err != nil && (c.published || errors.As(err, &se)) {", "if err != nil && (c.published || errors.As(err, &se) && false) {"}},
	{name: "an unknown commit breaks the writer", file: "commit.go", edits: []string{"if err != nil && (c.published || errors.As(err, &se)) {", "if err != nil && errors.As(err, &se) {"}},
	{name: "files of a commit that may be there stay", file: "commit.go", edits: []string{"if c.published {\n\t\treturn //", "if false {\n\t\treturn //"}},
	{name: "a failed compaction is undone within its turn", file: "compact.go", run: "FailedCompact", edits: []string{"		c.c.abort()\n\t\tc.ix.turn", "		c.ix.turn"}},
	{name: "segments stay while a snapshot needs them", file: "commit.go", run: "SnapshotIsFixed", edits: []string{"	f.drop.Store(&drop)\n", "	drop()\n"}},
	{name: "what an interrupted commit left is removed", file: "index.go", edits: []string{"k == kindData && !used[n] ||", "k == kindData && !used[n] && false ||"}},
	{name: "a reader looks again when a file is gone", file: "state.go", run: "ReadersAndWriter|ListingMisses|BetweenProcesses", edits: []string{"if !errors.Is(err, fs.ErrNotExist) {\n\t\t\treturn nil, err\n\t\t}\n\t\tlast", "if err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tlast"}},
	{name: "a listing without a manifest is done again", file: "state.go", run: "ListingMisses", edits: []string{"for range 50 {", "for range 1 {"}},
	{name: "the lock is held at the commit", file: "commit.go", run: "LockFileRemoved", edits: []string{"if err := c.ix.held(); err != nil {\n\t\treturn nil, err // and", "if err := error(nil); err != nil {\n\t\treturn nil, err // and"}},
	{name: "the lock is held when a file is made", file: "commit.go", run: "LockFileRemoved", edits: []string{"if err := c.ix.held(); err != nil {\n\t\treturn nil, err // it", "if err := error(nil); err != nil {\n\t\treturn nil, err // it"}},
	{name: "one writer", file: "index.go", run: "Lock|Crash", edits: []string{"if lock, err = takeLock(opts.fs, dir); err != nil {", "if lock, err = takeLock(opts.fs, dir+string(fmt.Appendf(nil, \"/../%d\", os.Getpid()))); err != nil {"}},
	{name: "token offsets before they are used for salvaging", file: "salvage.go", run: "RepairFlip|FuzzSegment", edits: []string{"	if !f.lax {", "	if f.lax || !f.lax {"}},
	{name: "guard of a document's codes", file: "segment.go", edits: []string{") Codes(dst []uint32, ord uint32) (_ []uint32, err error) {\n\tdefer s.f.catch(debug.SetPanicOnFault(true), &err)", ") Codes(dst []uint32, ord uint32) (_ []uint32, err error) {\n\tdefer s.f.catch(debug.SetPanicOnFault(false), &err)"}},
}

// TestCrashSourceMutants takes out every sync, rename, checksum and rule of the protocol in turn, compiles the package,
// and makes sure that tests fail; -v prints which. It compiles often, so it is asked for:
//
//	GOLBERT_MUTANTS=1 go test -run TestCrashSourceMutants -v -timeout 0 ./index
//
// Another value asks for the mutants with it in their names.
func TestCrashSourceMutants(t *testing.T) {
	// The list must fit the source at any time.
	mutated := make([]string, len(sourceMutants))
	for i, m := range sourceMutants {
		src, err := os.ReadFile(m.file)
		require.NoError(t, err)
		mutated[i] = string(src)
		for j := 0; j < len(m.edits); j += 2 {
			require.Equal(t, 1, strings.Count(mutated[i], m.edits[j]), "%s: this list is out of date: %q", m.name, m.edits[j])
			mutated[i] = strings.Replace(mutated[i], m.edits[j], m.edits[j+1], 1)
		}
	}
	which := os.Getenv("GOLBERT_MUTANTS")
	if which == "" {
		t.Skip("set GOLBERT_MUTANTS=1 to compile and test mutants of the package")
	}
	tried, caught := 0, 0
	table := []string{"| without | in | noticed by |", "|---|---|---|"}
	for i, m := range sourceMutants {
		if which != "1" && !strings.Contains(m.name, which) {
			continue
		}
		tried++
		by, err := testMutant(t, m, mutated[i])
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			by = "NOTHING"
		} else {
			caught++
		}
		table = append(table, fmt.Sprintf("| %s | %s | %s |", m.name, m.file, by))
		t.Log(table[len(table)-1])
	}
	t.Logf("source_mutants=%d caught=%d\n%s", tried, caught, strings.Join(table, "\n"))
}

// testMutant compiles and tests one mutant, and says which test fails first.
func testMutant(t *testing.T, m sourceMutant, src string) (by string, err error) {
	path, err := filepath.Abs(m.file)
	require.NoError(t, err)
	dir := t.TempDir()
	mutated := filepath.Join(dir, "mutated.go")
	require.NoError(t, os.WriteFile(mutated, []byte(src), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, overlay, 0o600))
	run := m.run
	if run == "" {
		run = mutantTests
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-short", "-failfast", "-timeout", "10m", "-overlay", list, "-run", run, ".")
	cmd.Env = append(os.Environ(), "GOLBERT_MUTANTS=")
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case err == nil:
		return "", fmt.Errorf("not noticed")
	case strings.Contains(text, "[build failed]") || strings.Contains(text, "[setup failed]"):
		return "", fmt.Errorf("does not compile: %s", text)
	}
	if _, rest, ok := strings.Cut(text, "--- FAIL: "); ok {
		by, _, _ = strings.Cut(rest, " ")
		return by, nil
	}
	return "the end of the process", nil
}
