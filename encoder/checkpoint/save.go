package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/internal/mmapfile"
)

// Save writes an open checkpoint to dir, which must not exist: tensors, projections and configuration as they are in c,
// with the changes that delta packs made, and the files for the rest as they lie in c.Dir. Weights are written as
// one safetensors file a folder, a tensor at a time. The layout of BGE-M3, which keeps its projection in a pickle, is
// ErrUnsupported.
func Save(dir string, c *Checkpoint) error {
	if c.Layout == BGEM3 {
		return fmt.Errorf("%w: writing the layout %v", ErrUnsupported, c.Layout)
	}
	modules, err := readModules(c.Dir)
	if err != nil {
		return err
	}
	root := rootFolder(modules)
	heads, err := c.headFolders(modules)
	if err != nil {
		return err
	}
	return newDir(dir, func(tmp string) error {
		parts, err := folders(c.Dir)
		if err != nil {
			return err
		}
		for _, p := range append(slices.Clone(heads), root) {
			if !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
		for _, part := range parts {
			src, dst := filepath.Join(c.Dir, part), filepath.Join(tmp, part)
			if part == root {
				if err := copySettings(dst, src, "config.json"); err != nil {
					return err
				}
				if err := writeJSON(filepath.Join(dst, "config.json"), json.RawMessage(c.Config.Raw)); err != nil {
					return err
				}
				if err := newFile(filepath.Join(dst, "model.safetensors"), c.writeTensors); err != nil {
					return err
				}
				continue
			}
			if err := copySettings(dst, src); err != nil {
				return err
			}
			if i := slices.Index(heads, part); i >= 0 {
				if err := newFile(filepath.Join(dst, "model.safetensors"), c.Head[i].write); err != nil {
					return err
				}
			} else if err := copyWeights(dst, src); err != nil {
				return err
			}
		}
		return reopen(tmp)
	})
}

// rootFolder is the backbone's folder below the checkpoint's directory.
func rootFolder(modules []module) string {
	if len(modules) == 0 || modules[0].Path == "" {
		return ""
	}
	if p := filepath.Clean(filepath.FromSlash(modules[0].Path)); p != "." {
		return p
	}
	return ""
}

// headFolders lists the folders of the projections, none where they lie beside the backbone.
func (c *Checkpoint) headFolders(modules []module) ([]string, error) {
	var out []string
	for _, m := range modules {
		if m.kind() == "Dense" {
			out = append(out, filepath.Clean(filepath.FromSlash(m.Path)))
		}
	}
	switch c.Layout {
	case Stanford:
		return nil, nil
	case XTR:
		out = []string{xtrDir}
	}
	if len(out) != len(c.Head) {
		return nil, fmt.Errorf("%w: %d projections for %d folders", ErrMismatch, len(c.Head), len(out))
	}
	return out, nil
}

// writeTensors streams the backbone, and Stanford's projection.
func (c *Checkpoint) writeTensors(w io.Writer) error {
	names := c.Tensors.Names()
	specs := make([]Tensor, 0, len(names))
	get := func(name string) Tensor {
		if c.Layout == Stanford && len(c.Head) == 1 {
			switch d := &c.Head[0]; name {
			case "linear.weight":
				return Float32Tensor(name, d.Weight, d.Out, d.In)
			case "linear.bias":
				return Float32Tensor(name, d.Bias, d.Out)
			}
		}
		t, _ := c.Tensors.Tensor(name)
		t.Name = name
		return t
	}
	for _, name := range names {
		t := get(name)
		t.Data = nil // a changed tensor is computed again when its turn comes
		specs = append(specs, t)
	}
	return StreamSafeTensors(w, specs, map[string]string{"format": "pt"}, func(i int, w io.Writer) error {
		return mmapfile.Guard(func() error {
			_, err := w.Write(get(names[i]).Data)
			return err
		})
	})
}

// write writes a projection as its module's weights.
func (d *Dense) write(w io.Writer) error {
	ts := []Tensor{Float32Tensor("linear.weight", d.Weight, d.Out, d.In)}
	if len(d.Bias) > 0 {
		ts = append(ts, Float32Tensor("linear.bias", d.Bias, d.Out))
	}
	if len(d.ResidualWeight) > 0 {
		ts = append(ts, Float32Tensor("residual.weight", d.ResidualWeight, d.Out, d.In))
	}
	return WriteSafeTensors(w, ts, map[string]string{"format": "pt"})
}

// Float32Tensor makes a tensor of float32 values, which are copied.
func Float32Tensor(name string, v []float32, shape ...int) Tensor {
	return Tensor{Name: name, DType: F32, Shape: shape, Data: appendFloats(nil, F32, v)}
}

// Describe lists what a checkpoint holds, a line each: for people.
func (c *Checkpoint) Describe(w io.Writer) error {
	types := map[DType]int64{}
	params := int64(0)
	for _, n := range c.Tensors.Names() {
		t, _ := c.Tensors.Tensor(n)
		types[t.DType] += int64(t.Len())
		params += int64(t.Len())
	}
	var kinds []string
	for d, n := range types {
		kinds = append(kinds, fmt.Sprintf("%v %d", d, n))
	}
	slices.Sort(kinds)
	r := &c.Retrieval
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
	line("layout", "%v", c.Layout)
	arch := c.Config.ModelType
	for _, n := range []struct { // 0 where the architecture has other names for them
		format string
		n      int
	}{{", %d layers", c.Config.NumLayers}, {", hidden size %d", c.Config.HiddenSize}, {", vocabulary %d", c.Config.VocabSize}} {
		if n.n > 0 {
			arch += fmt.Sprintf(n.format, n.n)
		}
	}
	line("architecture", "%s", arch)
	line("tensors", "%d, %d elements: %s", len(c.Tensors.Names()), params, strings.Join(kinds, ", "))
	for _, d := range c.Head {
		line("projection", "%d to %d, bias %v, %s, residual %v", d.In, d.Out, len(d.Bias) > 0, d.Activation, d.Residual)
	}
	for _, m := range []struct {
		name   string
		m      Marker
		prompt string
		length int
	}{{"queries", r.Query, r.QueryPrompt, r.QueryLength}, {"documents", r.Document, r.DocumentPrompt, r.DocumentLength}} {
		s := fmt.Sprintf("%d tokens", m.length)
		if m.m.Token != "" {
			s += fmt.Sprintf(", marker %q = %d", m.m.Token, m.m.ID)
		}
		if m.prompt != "" {
			s += fmt.Sprintf(", prompt %q", m.prompt)
		}
		line(m.name, "%s", s)
	}
	if r.Expansion {
		n := r.ExpansionLength
		if n == 0 {
			n = r.QueryLength
		}
		line("expansion", "to %d tokens with %d, attended to: %v", n, r.ExpansionID, r.AttendExpansion)
	}
	line("skiplist", "%d tokens of documents, %d of queries", len(r.Skiplist), len(r.QuerySkiplist))
	_, err := io.WriteString(w, b.String())
	return err
}
