package index

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	manifestFormat    = "golbert-index"
	maxManifestBytes  = 64 << 20
	maxAttributeBytes = 1 << 20
	manifestTrailer   = "crc32c:"
	tmpSuffix         = ".tmp"
	lockName          = "LOCK"
)

// manifest is one commit: everything that the index is at that generation. Its file form is canonical, so
// that parsing and writing it again gives the same bytes.
type manifest struct {
	Format        string            `json:"format"`
	Version       int               `json:"version"`
	Generation    uint64            `json:"generation"`
	Dim           int               `json:"dim"`
	NBits         int               `json:"nbits"`     // of codebooks trained from here on
	Centroids     int               `json:"centroids"` // of codebooks trained from here on, 0: by their tokens
	Seed          uint64            `json:"seed"`
	Normalize     string            `json:"normalize"`
	MaxDocTokens  int               `json:"max_doc_tokens"`
	AllowEmpty    bool              `json:"allow_empty"`
	SegmentTokens int               `json:"segment_tokens"`
	FixedCodebook bool              `json:"fixed_codebook"` // the last codebook was given and is used for ever
	Attributes    map[string]string `json:"attributes"`
	NextSegment   uint64            `json:"next_segment"`
	Docs          uint64            `json:"docs"`   // live
	Tokens        uint64            `json:"tokens"` // live
	Codebooks     []manCodebook     `json:"codebooks"`
	Segments      []manSegment      `json:"segments"`
	Tunings       []Tuning          `json:"tunings,omitempty"` // by ascending K
}

// manCodebook names a codebook file. The last in the list codes what is added next.
type manCodebook struct {
	ID     string `json:"id"`
	File   string `json:"file"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
	// CRC is the checksum at the file's end, in hexadecimal. With it the file is known without hashing it, which takes
	// longer than all else when an index is opened; "" in manifests of before.
	CRC string `json:"crc32c,omitempty"`
	// Tokens is the size of the collection that it was trained for; 0 when it was not trained here.
	Tokens uint64 `json:"tokens"`
}

// manSegment names a segment file.
type manSegment struct {
	Number   uint64  `json:"number"`
	File     string  `json:"file"`
	Length   int64   `json:"length"`
	Tail     string  `json:"tail_sha256"` // of the file from its checksum table on
	Codebook string  `json:"codebook"`
	Docs     uint64  `json:"docs"` // deleted ones included
	Tokens   uint64  `json:"tokens"`
	Deleted  *manDel `json:"deleted"`
}

// manDel names a deletions file.
type manDel struct {
	Generation uint64 `json:"generation"` // that wrote it
	File       string `json:"file"`
	Length     int64  `json:"length"`
	SHA256     string `json:"sha256"`
	Docs       uint64 `json:"docs"`
}

func manifestName(gen uint64) string        { return fmt.Sprintf("MANIFEST-%016x", gen) }
func segmentName(number uint64) string      { return fmt.Sprintf("seg-%016x.gbs", number) }
func deletionsName(number, g uint64) string { return fmt.Sprintf("del-%016x-%016x.gbd", number, g) }
func codebookName(id string) string         { return "codebook-" + id + ".gbc" }

// fileKind tells the index's own files by name.
type fileKind int

const (
	kindForeign fileKind = iota
	kindLock
	kindManifest
	kindData // segment, deletions, codebook
	kindTemp
)

// classify says what a name in the directory is; gen is set for manifests.
func classify(name string) (kind fileKind, gen uint64) {
	if name == lockName {
		return kindLock, 0
	}
	if base, ok := strings.CutSuffix(name, tmpSuffix); ok {
		if k, _ := classify(base); k == kindManifest || k == kindData || strings.HasPrefix(base, "spool-") {
			return kindTemp, 0
		}
		return kindForeign, 0
	}
	if s, ok := strings.CutPrefix(name, "MANIFEST-"); ok {
		if g, err := strconv.ParseUint(s, 16, 64); err == nil && manifestName(g) == name {
			return kindManifest, g
		}
		return kindForeign, 0
	}
	hexes := func(s string, lens ...int) bool {
		parts := strings.Split(s, "-")
		if len(parts) != len(lens) {
			return false
		}
		for i, p := range parts {
			if len(p) != lens[i] || strings.Trim(p, "0123456789abcdef") != "" {
				return false
			}
		}
		return true
	}
	for _, k := range []struct {
		pre, post string
		lens      []int
	}{{"seg-", ".gbs", []int{16}}, {"del-", ".gbd", []int{16, 16}}, {"codebook-", ".gbc", []int{32}}} {
		if s, ok := strings.CutPrefix(name, k.pre); ok {
			if s, ok = strings.CutSuffix(s, k.post); ok && hexes(s, k.lens...) {
				return kindData, 0
			}
		}
	}
	return kindForeign, 0
}

// marshal gives the file form: indented JSON and a line with the CRC32C of everything before it.
func (m *manifest) marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("index: manifest: %w", err)
	}
	fmt.Fprintf(&b, "%s%08x\n", manifestTrailer, crc32c(b.Bytes()))
	if b.Len() > maxManifestBytes {
		return nil, fmt.Errorf("index: manifest of %d bytes, at most %d", b.Len(), maxManifestBytes)
	}
	return b.Bytes(), nil
}

// parseManifest reads and validates a manifest. Errors are *CorruptError, or wrap ErrVersion.
func parseManifest(b []byte, name string) (*manifest, error) {
	bad := func(off int64, err error) error { return &CorruptError{File: name, Offset: off, Err: err} }
	at := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte{'\n'}), '\n') + 1
	var want uint32
	trailer := string(b[at:])
	if n, err := fmt.Sscanf(trailer, manifestTrailer+"%08x\n", &want); n != 1 || err != nil || trailer != fmt.Sprintf("%s%08x\n", manifestTrailer, want) {
		return nil, bad(int64(at), errors.New("the last line is not a checksum"))
	}
	body := b[:at]
	if got := crc32c(body); got != want {
		return nil, &CorruptError{File: name, Section: "checksum", Offset: int64(at), Want: hex32(got), Got: hex32(want)}
	}
	// The version first: a newer manifest may have fields that this program does not know.
	var v struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, bad(0, err)
	}
	if v.Format != manifestFormat {
		return nil, &CorruptError{File: name, Section: "format", Offset: 0, Want: manifestFormat, Got: clip(v.Format)}
	}
	if v.Version != formatVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads %d: %w", name, v.Version, formatVersion, ErrVersion)
	}
	m := new(manifest)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, bad(d.InputOffset(), err)
	}
	if canon, err := m.marshal(); err != nil || !bytes.Equal(canon, b) {
		return nil, bad(-1, errors.New("not in canonical form"))
	}
	if err := m.validate(); err != nil {
		return nil, bad(-1, err)
	}
	return m, nil
}

// validate checks a manifest against itself.
func (m *manifest) validate() error {
	o, err := m.options()
	if err != nil {
		return err
	}
	if _, err := o.complete(); err != nil {
		return err
	}
	if err := checkTunings(m.Tunings); err != nil {
		return err
	}
	if m.Generation == 0 || m.Attributes == nil || m.Codebooks == nil || m.Segments == nil {
		return errors.New("incomplete")
	}
	books := make(map[string]bool)
	for _, c := range m.Codebooks {
		if k, _ := classify(c.File); k != kindData || c.File != codebookName(c.ID) || books[c.ID] || c.Length < 1 || !isSHA256(c.SHA256) || c.CRC != "" && !isHex(c.CRC, 8) {
			return fmt.Errorf("codebook %q of %d bytes", clip(c.File), c.Length)
		}
		books[c.ID] = true
	}
	if m.FixedCodebook && len(books) == 0 {
		return errors.New("no codebook, though it is fixed")
	}
	var docs, dead, tokens uint64
	next := uint64(0)
	for _, s := range m.Segments {
		if s.Number < next || s.Number >= m.NextSegment || s.File != segmentName(s.Number) || s.Length < segHeaderLen+segFooterLen ||
			!isSHA256(s.Tail) || !books[s.Codebook] || s.Docs < 1 || s.Docs > maxDocuments || s.Tokens > uint64(s.Length) {
			return fmt.Errorf("segment %q of %d bytes with %d documents, codebook %q", clip(s.File), s.Length, s.Docs, clip(s.Codebook))
		}
		next = s.Number + 1
		if d := s.Deleted; d != nil {
			if d.File != deletionsName(s.Number, d.Generation) || d.Generation > m.Generation || d.Length < 1 || !isSHA256(d.SHA256) ||
				d.Docs < 1 || d.Docs > s.Docs {
				return fmt.Errorf("deletions %q of %d bytes with %d documents", clip(d.File), d.Length, d.Docs)
			}
			dead += d.Docs
		}
		docs += s.Docs
		tokens += s.Tokens
	}
	if m.Docs != docs-dead || m.Tokens > tokens {
		return fmt.Errorf("%d documents with %d tokens, the segments have %d with at most %d", m.Docs, m.Tokens, docs-dead, tokens)
	}
	return nil
}

func isSHA256(s string) bool { return isHex(s, 64) }

// isHex says whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == n && strings.ToLower(s) == s
}

// options gives the options that the manifest stores.
func (m *manifest) options() (*Options, error) {
	o := &Options{
		Dim: m.Dim, NBits: m.NBits, Centroids: m.Centroids, Seed: m.Seed, MaxDocTokens: m.MaxDocTokens,
		AllowEmpty: m.AllowEmpty, SegmentTokens: m.SegmentTokens, Attributes: m.Attributes,
	}
	for p := Normalize; p <= AsIs; p++ {
		if p.String() == m.Normalize {
			o.Normalize = p
			return o, nil
		}
	}
	return nil, fmt.Errorf("normalisation %q", clip(m.Normalize))
}

// newManifest gives generation 0 of an index with complete options.
func newManifest(o *Options) *manifest {
	return &manifest{
		Format: manifestFormat, Version: formatVersion,
		Dim: o.Dim, NBits: o.NBits, Centroids: o.Centroids, Seed: o.Seed, Normalize: o.Normalize.String(),
		MaxDocTokens: o.MaxDocTokens, AllowEmpty: o.AllowEmpty, SegmentTokens: o.SegmentTokens,
		FixedCodebook: o.Codebook != nil, Attributes: cloneAttributes(o.Attributes), NextSegment: 1,
		Codebooks: []manCodebook{}, Segments: []manSegment{},
	}
}

// next gives a copy to be changed into the next generation.
func (m *manifest) next() *manifest {
	c := *m
	c.Generation++
	c.Attributes = cloneAttributes(m.Attributes)
	c.Codebooks = append([]manCodebook{}, m.Codebooks...)
	c.Segments = append([]manSegment{}, m.Segments...)
	c.Tunings = append([]Tuning(nil), m.Tunings...)
	return &c
}

// files gives the names of all files of the commit but the manifest itself.
func (m *manifest) files() map[string]bool {
	f := make(map[string]bool)
	for _, c := range m.Codebooks {
		f[c.File] = true
	}
	for _, s := range m.Segments {
		f[s.File] = true
		if s.Deleted != nil {
			f[s.Deleted.File] = true
		}
	}
	return f
}

// dropUnused removes codebooks that no segment needs, but for the last.
func (m *manifest) dropUnused() {
	used := make(map[string]bool)
	for _, s := range m.Segments {
		used[s.Codebook] = true
	}
	kept := m.Codebooks[:0]
	for i, c := range m.Codebooks {
		if used[c.ID] || i == len(m.Codebooks)-1 {
			kept = append(kept, c)
		}
	}
	m.Codebooks = kept
}

func cloneAttributes(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	maps.Copy(c, m)
	return c
}

func checkAttributes(m map[string]string) error {
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("attribute %q is not valid UTF-8", clip(k))
		}
	}
	if size > maxAttributeBytes {
		return fmt.Errorf("attributes of %d bytes, at most %d", size, maxAttributeBytes)
	}
	return nil
}
