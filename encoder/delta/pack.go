package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

var (
	// ErrFormat marks packs that are malformed; the message names the file and the tensor or field.
	ErrFormat = errors.New("delta: bad pack")
	// ErrBase marks packs that do not fit the checkpoint: another architecture, fingerprint, shape or name.
	ErrBase = errors.New("delta: pack for another checkpoint")
	// ErrUnsupported marks packs that ask for what this package does not do, such as DoRA.
	ErrUnsupported = errors.New("delta: unsupported")
)

const (
	formatName = "golbert.delta"
	version    = 1
	maxJSON    = 8 << 20
)

// header is delta.json.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Base    struct {
		ModelType   string `json:"model_type"`
		Fingerprint string `json:"fingerprint"`
	} `json:"base"`
	Scale     map[string]float64 `json:"scale,omitempty"`
	Languages []string           `json:"languages,omitempty"`
}

// pack is one open pack.
type pack struct {
	header
	dir     string
	tensors checkpoint.Tensors
	changes map[string]*change // by KEY
	keys    []string           // of changes, ascending
}

// change is what a pack does to one tensor.
type change struct {
	idx, val, add, a, b, set *checkpoint.Tensor
	scale                    float64
	transposed               bool // the product is (in, out): PEFT's embeddings
}

// kinds are the suffixes of names.
var kinds = map[string]func(*change) **checkpoint.Tensor{
	"idx":    func(c *change) **checkpoint.Tensor { return &c.idx },
	"val":    func(c *change) **checkpoint.Tensor { return &c.val },
	"add":    func(c *change) **checkpoint.Tensor { return &c.add },
	"lora_A": func(c *change) **checkpoint.Tensor { return &c.a },
	"lora_B": func(c *change) **checkpoint.Tensor { return &c.b },
	"set":    func(c *change) **checkpoint.Tensor { return &c.set },
}

// readJSON reads a small file.
func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return fmt.Errorf("delta: %s: %w", path, err)
	}
	if len(b) > maxJSON {
		return fmt.Errorf("%w: %s has over %d bytes", ErrFormat, path, maxJSON)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, path, err)
	}
	return nil
}

// openPack opens a folder: golbert's format, or PEFT's where there is an adapter_config.json. The base is needed
// for the names of the latter.
func openPack(dir string, base *overlay) (p *pack, err error) {
	own, peft := filepath.Join(dir, "delta.json"), filepath.Join(dir, "adapter_config.json")
	if _, err := os.Stat(own); err != nil {
		if _, err := os.Stat(peft); err == nil {
			return openPEFT(dir, base)
		}
		return nil, fmt.Errorf("%w: %s has neither delta.json nor adapter_config.json: %w", ErrFormat, dir, err)
	}
	p = &pack{dir: dir, changes: map[string]*change{}}
	if err := readJSON(own, &p.header); err != nil {
		return nil, err
	}
	if p.Format != formatName || p.Version != version {
		return nil, fmt.Errorf("%w: %s: format %.60q, version %d, want %q, version %d", ErrFormat, own, p.Format, p.Version, formatName, version)
	}
	file := filepath.Join(dir, "delta.safetensors")
	ts, err := checkpoint.OpenSafeTensors(file)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	p.tensors = ts
	defer func() {
		if err != nil {
			err = errors.Join(err, ts.Close())
		}
	}()
	if err := p.index(file); err != nil {
		return nil, err
	}
	return p, nil
}

// index sorts the tensors of a pack in golbert's format.
func (p *pack) index(file string) error {
	for _, name := range p.tensors.Names() {
		key, kind := name, ""
		if i := strings.LastIndexByte(name, '.'); i > 0 {
			key, kind = name[:i], name[i+1:]
		}
		place, ok := kinds[kind]
		if !ok {
			return fmt.Errorf("%w: %s: tensor %q does not end in idx, val, add, lora_A, lora_B or set", ErrFormat, file, name)
		}
		t, _ := p.tensors.Tensor(name)
		c := p.at(key)
		*place(c) = &t
	}
	for key, s := range p.Scale {
		c := p.changes[key]
		if c == nil || c.a == nil {
			return fmt.Errorf("%w: %s: scale of %q, which has no lora_A", ErrFormat, p.dir, key)
		}
		c.scale = s
	}
	return p.finish(file)
}

// at returns the change of a tensor.
func (p *pack) at(key string) *change {
	c := p.changes[key]
	if c == nil {
		c = &change{scale: 1}
		p.changes[key] = c
	}
	return c
}

// finish checks what can be checked without the base.
func (p *pack) finish(file string) error {
	for key, c := range p.changes {
		p.keys = append(p.keys, key)
		fault := ""
		switch {
		case (c.idx == nil) != (c.val == nil):
			fault = "idx without val, or val without idx"
		case (c.a == nil) != (c.b == nil):
			fault = "lora_A without lora_B, or lora_B without lora_A"
		case c.set != nil && (c.idx != nil || c.add != nil || c.a != nil):
			fault = "set beside another kind"
		case c.idx != nil && (c.idx.DType != checkpoint.I32 && c.idx.DType != checkpoint.I64 || len(c.idx.Shape) != 1 || !slices.Equal(c.idx.Shape, c.val.Shape)):
			fault = fmt.Sprintf("idx is %v of shape %v, val has shape %v", c.idx.DType, c.idx.Shape, c.val.Shape)
		case c.a != nil && (len(c.a.Shape) != 2 || len(c.b.Shape) != 2 || c.a.Shape[0] != c.b.Shape[1] || c.a.Shape[0] == 0):
			fault = fmt.Sprintf("lora_A of shape %v and lora_B of shape %v", c.a.Shape, c.b.Shape)
		case c.scale != c.scale || c.scale > 1e30 || c.scale < -1e30:
			fault = fmt.Sprintf("scale %g", c.scale)
		}
		for _, t := range []*checkpoint.Tensor{c.val, c.add, c.a, c.b} {
			if t != nil && fault == "" && !t.DType.IsFloat() {
				fault = fmt.Sprintf("%s is %v", t.Name, t.DType)
			}
		}
		if fault != "" {
			return fmt.Errorf("%w: %s: %q: %s", ErrFormat, file, key, fault)
		}
	}
	slices.Sort(p.keys)
	return nil
}
