package delta

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/mmapfile"
)

// DiffOptions say what Diff keeps. A nil pointer means the zero value, which keeps every difference.
type DiffOptions struct {
	// Density is the share of a matrix's elements that is kept, the largest differences first (lottery-ticket
	// sparse fine-tuning keeps a few per cent). 0 keeps all. Vectors such as biases are always kept whole.
	Density float64
	// Keep, when set, chooses the tensors by KEY; others are left as the base has them.
	Keep func(key string) bool
	// NoFingerprint leaves out what the base is recognised by.
	NoFingerprint bool
}

// denseShare is the share of changed elements above which four bytes each cost less than an index and a value.
const denseShare = 0.5

// maxIndex is the largest index of an I32.
const maxIndex = math.MaxInt32

// Diff writes to dir, which must not exist, the pack that turns base into tuned. Tensors that only tuned has become
// new ones; one that it lacks is an error, except unused poolers and heads. The differences are those of the values as
// float32: Apply gives tuned back up to the rounding of one float32 sum, and exactly where the base has zero.
// The differences, but not the checkpoints, are held in memory.
func Diff(dir string, base, tuned *checkpoint.Checkpoint, o *DiffOptions) error {
	if o == nil {
		o = new(DiffOptions)
	}
	if o.Density < 0 || o.Density > 1 || o.Density != o.Density {
		return fmt.Errorf("delta: density %g is not between 0 and 1", o.Density)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delta: %s: %w", dir, errors.Join(err, fs.ErrExist))
	}
	if base.Config.ModelType != tuned.Config.ModelType {
		return fmt.Errorf("%w: one is %q, the other %q", ErrBase, base.Config.ModelType, tuned.Config.ModelType)
	}
	if len(base.Head) != len(tuned.Head) {
		return fmt.Errorf("%w: %d and %d projections", ErrBase, len(base.Head), len(tuned.Head))
	}
	d := &differ{o: o, pack: &pack{changes: map[string]*change{}}}
	err := mmapfile.Guard(func() error { return d.run(base, tuned) })
	if err != nil {
		return err
	}
	return d.write(dir, base)
}

type differ struct {
	o    *DiffOptions
	pack *pack
	out  []checkpoint.Tensor
}

// run compares all tensors.
func (d *differ) run(base, tuned *checkpoint.Checkpoint) error {
	names := slices.Sorted(slices.Values(tuned.Tensors.Names()))
	seen := map[string]bool{}
	for _, name := range names {
		key := strings.TrimPrefix(name, tuned.Prefix)
		seen[key] = true
		if tuned.Layout == checkpoint.Stanford && strings.HasPrefix(key, "linear.") || d.o.Keep != nil && !d.o.Keep(key) {
			continue // the projection is in Head
		}
		now, _ := tuned.Tensors.Tensor(name)
		was, ok := base.Tensors.Tensor(base.Prefix + key)
		if !ok {
			was, ok = base.Tensors.Tensor(key)
		}
		if !ok {
			d.add(key, "set", checkpoint.Tensor{DType: now.DType, Shape: now.Shape, Data: now.Data})
			continue
		}
		if err := d.compare(key, was, now); err != nil {
			return err
		}
	}
	for _, name := range base.Tensors.Names() {
		key := strings.TrimPrefix(name, base.Prefix)
		unused := strings.HasPrefix(key, "pooler.") || strings.HasSuffix(key, "position_ids") || strings.HasPrefix(key, "cls.") || strings.HasPrefix(key, "lm_head.") || strings.HasPrefix(key, "linear.")
		if !seen[key] && !unused && (d.o.Keep == nil || d.o.Keep(key)) {
			return fmt.Errorf("%w: %q is in the base alone", ErrBase, key)
		}
	}
	for i := range base.Head {
		for _, part := range []string{"weight", "bias", "residual"} {
			key := fmt.Sprintf("head.%d.%s", i, part)
			was, ok1 := headShape(&base.Head[i], part)
			now, ok2 := headShape(&tuned.Head[i], part)
			if ok1 != ok2 || !slices.Equal(was, now) {
				return fmt.Errorf("%w: %q has shapes %v and %v", ErrBase, key, was, now)
			}
			if !ok1 || d.o.Keep != nil && !d.o.Keep(key) {
				continue
			}
			d.floats(key, was, *headPart(&base.Head[i], part), *headPart(&tuned.Head[i], part))
		}
	}
	return nil
}

func (d *differ) compare(key string, was, now checkpoint.Tensor) error {
	switch {
	case !slices.Equal(was.Shape, now.Shape):
		return fmt.Errorf("%w: %q has shapes %v and %v", ErrBase, key, was.Shape, now.Shape)
	case was.DType == now.DType && slices.Equal(was.Data, now.Data):
		return nil
	case !was.DType.IsFloat() || !now.DType.IsFloat():
		return fmt.Errorf("%w: %q differs and is %v and %v", ErrUnsupported, key, was.DType, now.DType)
	}
	d.floats(key, was.Shape, was.Float32s(nil), now.Float32s(nil))
	return nil
}

// floats stores the difference of two arrays.
func (d *differ) floats(key string, shape []int, was, now []float32) {
	delta := make([]float32, len(now))
	var at []int
	for i := range now {
		if delta[i] = now[i] - was[i]; delta[i] != 0 {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return
	}
	if o := d.o.Density; o > 0 && len(shape) > 1 {
		if most := max(1, int(o*float64(len(now)))); len(at) > most {
			size := func(i int) float64 { return math.Abs(float64(delta[i])) }
			slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
			at = at[:most]
			slices.Sort(at)
		}
	} else if float64(len(at)) > denseShare*float64(len(now)) {
		d.add(key, "add", checkpoint.Tensor{DType: checkpoint.F32, Shape: shape, Data: bytesOf(delta)})
		return
	}
	val := make([]float32, len(at))
	idx := checkpoint.Tensor{DType: checkpoint.I32, Shape: []int{len(at)}}
	if len(now) > maxIndex {
		idx.DType = checkpoint.I64
	}
	for i, j := range at {
		val[i] = delta[j]
		if idx.DType == checkpoint.I32 {
			idx.Data = binary.LittleEndian.AppendUint32(idx.Data, uint32(j))
		} else {
			idx.Data = binary.LittleEndian.AppendUint64(idx.Data, uint64(j))
		}
	}
	d.add(key, "idx", idx)
	d.add(key, "val", checkpoint.Tensor{DType: checkpoint.F32, Shape: []int{len(at)}, Data: bytesOf(val)})
}

func (d *differ) add(key, kind string, t checkpoint.Tensor) {
	t.Name = key + "." + kind
	d.out = append(d.out, t)
	d.pack.at(key)
}

// write stores the pack under its name when it is whole.
func (d *differ) write(dir string, base *checkpoint.Checkpoint) (err error) {
	h := header{Format: formatName, Version: version}
	h.Base.ModelType = base.Config.ModelType
	for key := range d.pack.changes {
		d.pack.keys = append(d.pack.keys, key)
		if rest, ok := strings.CutPrefix(key, "encoder.layer.0.output.adapter_modules."); ok && base.Config.ModelType == "xmod" {
			if lang, _, _ := strings.Cut(rest, "."); !slices.Contains(h.Languages, lang) {
				if _, has := base.Tensors.Tensor(base.Prefix + key); !has {
					h.Languages = append(h.Languages, lang)
				}
			}
		}
	}
	slices.Sort(d.pack.keys)
	slices.Sort(h.Languages)
	if !d.o.NoFingerprint {
		err = mmapfile.Guard(func() error {
			h.Base.Fingerprint = fingerprint(&overlay{base: base.Tensors, prefix: base.Prefix}, base.Head, d.pack.keys)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	b, err := json.MarshalIndent(&h, "", "  ")
	if err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "delta.json"), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	f, err := os.Create(filepath.Join(tmp, "delta.safetensors"))
	if err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	err = mmapfile.Guard(func() error { return checkpoint.WriteSafeTensors(f, d.out, nil) })
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), os.Rename(tmp, dir)); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	return nil
}
