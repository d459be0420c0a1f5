package delta

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/mmapfile"
)

// Apply lays packs over an open checkpoint, in this order. Build the encoder from it afterwards: one that is
// already built does not change. The packs' files stay open until the checkpoint is closed. When Apply fails, the
// checkpoint is as it was. Errors wrap ErrFormat, ErrBase or ErrUnsupported and name the pack and the tensor.
func Apply(c *checkpoint.Checkpoint, packs ...string) (err error) {
	o := &overlay{base: c.Tensors, prefix: c.Prefix, own: map[string]bool{}}
	for _, n := range c.Tensors.Names() {
		o.own[n] = true
	}
	defer func() {
		if err != nil {
			for _, p := range o.packs {
				err = errors.Join(err, p.tensors.Close())
			}
		}
	}()
	head := slices.Clone(c.Head)
	config := c.Config
	for _, dir := range packs {
		p, err := openPack(dir, o)
		if err != nil {
			return err
		}
		o.packs = append(o.packs, p)
		if c.Layout == checkpoint.Stanford { // whose projection lies beside the backbone and is loaded already
			p.rename("linear.", "head.0.")
		}
		if t := p.Base.ModelType; t != "" && t != c.Config.ModelType {
			return fmt.Errorf("%w: %s is for %q, the checkpoint is %q", ErrBase, dir, t, c.Config.ModelType)
		}
		if len(p.Languages) > 0 {
			if config, err = config.WithLanguages(p.Languages...); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrBase, dir, err)
			}
		}
		err = mmapfile.Guard(func() error {
			for _, key := range p.keys {
				if err := o.check(p, key, head); err != nil {
					return err
				}
				if i, part, ok := headKey(key); ok {
					if err := p.changes[key].applyHead(&head[i], part); err != nil {
						return fmt.Errorf("%w: %s: %q: %w", ErrBase, p.dir, key, err)
					}
				}
			}
			if want := p.Base.Fingerprint; want != "" {
				if got := fingerprint(&overlay{base: c.Tensors, prefix: c.Prefix}, c.Head, p.keys); got != want {
					return fmt.Errorf("%w: %s was made for fingerprint %.16s, the checkpoint has %.16s", ErrBase, dir, want, got)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range p.keys { // later packs may change what this one adds
			if _, _, ok := headKey(key); !ok && p.changes[key].set != nil && !o.own[o.name(key)] {
				o.own[o.name(key)] = true
				o.added = append(o.added, o.name(key))
			}
		}
	}
	c.Tensors, c.Head, c.Config = o, head, config
	return nil
}

// overlay is a checkpoint's tensors with packs over them.
type overlay struct {
	base   checkpoint.Tensors
	prefix string
	packs  []*pack
	own    map[string]bool // names of the base and of what packs add
	added  []string
}

// name gives the tensor of a key. Keys that the base has as they are, such as linear.weight, have no prefix.
func (o *overlay) name(key string) string {
	if !o.own[o.prefix+key] && o.own[key] {
		return key
	}
	return o.prefix + key
}

// Names implements checkpoint.Tensors.
func (o *overlay) Names() []string {
	return append(slices.Clone(o.base.Names()), o.added...)
}

// Tensor implements checkpoint.Tensors.
func (o *overlay) Tensor(name string) (checkpoint.Tensor, bool) {
	t, ok := o.base.Tensor(name)
	for _, p := range o.packs {
		c := p.changes[strings.TrimPrefix(name, o.prefix)]
		if c == nil {
			c = p.changes[name]
		}
		if c == nil {
			continue
		}
		if c.set != nil {
			t, ok = *c.set, true
			t.Name = name
			continue
		}
		if ok {
			v := t.Float32s(nil)
			c.addTo(v)
			t = checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: t.Shape, Data: bytesOf(v)}
		}
	}
	return t, ok
}

// Release tells those below that a tensor's data is not needed in memory for now: they know whose it is.
func (o *overlay) Release(t checkpoint.Tensor) {
	below := []checkpoint.Tensors{o.base}
	for _, p := range o.packs {
		below = append(below, p.tensors)
	}
	for _, ts := range below {
		if r, ok := ts.(interface{ Release(checkpoint.Tensor) }); ok {
			r.Release(t)
		}
	}
}

// Close implements checkpoint.Tensors.
func (o *overlay) Close() error {
	err := o.base.Close()
	for _, p := range o.packs {
		err = errors.Join(err, p.tensors.Close())
	}
	return err
}

// check compares a change with the tensor that it is for.
func (o *overlay) check(p *pack, key string, head []checkpoint.Dense) error {
	c := p.changes[key]
	var shape []int
	found := true
	if i, part, ok := headKey(key); ok {
		if i >= len(head) {
			return fmt.Errorf("%w: %s: %q, the checkpoint has %d projections", ErrBase, p.dir, key, len(head))
		}
		if shape, found = headShape(&head[i], part); c.set != nil && !c.set.DType.IsFloat() {
			return fmt.Errorf("%w: %s: set of %q is %v", ErrUnsupported, p.dir, key, c.set.DType)
		}
	} else {
		name := o.name(key)
		t, ok := o.base.Tensor(name)
		found = ok
		for _, q := range o.packs {
			if d := q.changes[key]; d != nil && d.set != nil && q != p {
				t, found = *d.set, true
			}
		}
		if shape = t.Shape; found && c.set == nil && !t.DType.IsFloat() {
			return fmt.Errorf("%w: %s: %q is %v in the checkpoint", ErrBase, p.dir, key, t.DType)
		}
	}
	if !found {
		if c.set != nil {
			return nil
		}
		return fmt.Errorf("%w: %s: the checkpoint has no tensor %q", ErrBase, p.dir, key)
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	bad := func(what string, got []int) error {
		return fmt.Errorf("%w: %s: %s of %q has shape %v, the tensor %v", ErrBase, p.dir, what, key, got, shape)
	}
	switch {
	case c.set != nil && !slices.Equal(c.set.Shape, shape):
		return bad("set", c.set.Shape)
	case c.add != nil && !slices.Equal(c.add.Shape, shape):
		return bad("add", c.add.Shape)
	}
	if c.a != nil {
		product := []int{c.b.Shape[0], c.a.Shape[1]}
		if c.transposed {
			product[0], product[1] = product[1], product[0]
		}
		if !slices.Equal(product, shape) {
			return bad("lora_B lora_A", product)
		}
	}
	if c.idx != nil {
		last := int64(-1)
		for i := range c.idx.Shape[0] {
			v := index(c.idx, i)
			if v <= last || v >= int64(n) {
				return fmt.Errorf("%w: %s: idx of %q has %d after %d, the tensor %d elements", ErrBase, p.dir, key, v, last, n)
			}
			last = v
		}
	}
	return nil
}

func index(t *checkpoint.Tensor, i int) int64 {
	if t.DType == checkpoint.I32 {
		return int64(int32(binary.LittleEndian.Uint32(t.Data[4*i:])))
	}
	return int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
}

// addTo adds the change to a flattened tensor, whose shape has been checked.
func (c *change) addTo(v []float32) {
	if c.idx != nil {
		for i, d := range c.val.Float32s(nil) {
			v[index(c.idx, i)] += d
		}
	}
	if c.add != nil {
		for i, d := range c.add.Float32s(nil) {
			v[i] += d
		}
	}
	if c.a != nil {
		a, b := c.a.Float32s(nil), c.b.Float32s(nil)
		r, in, out := c.a.Shape[0], c.a.Shape[1], c.b.Shape[0]
		if c.transposed { // v is (in, out)
			a, b, in, out = transpose(b, out, r), transpose(a, r, in), out, in
		}
		for i := range b {
			b[i] *= float32(c.scale)
		}
		kernel.Pack(transpose(a, r, in), in, r).Gemm(v, in, b, r, out, &kernel.Epilogue{Add: v, LdAdd: in})
	}
}

// transpose turns rows x cols into cols x rows.
func transpose(v []float32, rows, cols int) []float32 {
	t := make([]float32, len(v))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = v[i*cols+j]
		}
	}
	return t
}

// headKey takes "head.N.weight" apart.
func headKey(key string) (n int, part string, ok bool) {
	rest, ok := strings.CutPrefix(key, "head.")
	if !ok {
		return 0, "", false
	}
	num, part, ok := strings.Cut(rest, ".")
	n, err := strconv.Atoi(num)
	return n, part, ok && err == nil && n >= 0 && (part == "weight" || part == "bias" || part == "residual")
}

// headPart gives the values of a projection.
func headPart(d *checkpoint.Dense, part string) *[]float32 {
	switch part {
	case "bias":
		return &d.Bias
	case "residual":
		return &d.ResidualWeight
	}
	return &d.Weight
}

func headShape(d *checkpoint.Dense, part string) ([]int, bool) {
	if len(*headPart(d, part)) == 0 {
		return nil, false
	}
	if part == "bias" {
		return []int{d.Out}, true
	}
	return []int{d.Out, d.In}, true
}

// applyHead changes a projection, which is copied first.
func (c *change) applyHead(d *checkpoint.Dense, part string) error {
	v := headPart(d, part)
	if c.set != nil {
		if _, ok := headShape(d, part); !ok {
			return errors.New("a part that the projection lacks cannot be added")
		}
		*v = c.set.Float32s(nil)
		return nil
	}
	*v = slices.Clone(*v)
	c.addTo(*v)
	return nil
}

func bytesOf(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// rename gives the keys with a prefix another one.
func (p *pack) rename(from, to string) {
	for i, key := range p.keys {
		if rest, ok := strings.CutPrefix(key, from); ok {
			p.keys[i] = to + rest
			p.changes[to+rest] = p.changes[key]
			delete(p.changes, key)
		}
	}
	slices.Sort(p.keys)
}

// fingerprintSamples is how many elements of a tensor count.
const fingerprintSamples = 64

// fingerprint tells bases apart, see FORMAT.md. Keys that the base lacks do not count.
func fingerprint(o *overlay, head []checkpoint.Dense, keys []string) string {
	if o.own == nil {
		o.own = map[string]bool{}
		for _, n := range o.base.Names() {
			o.own[n] = true
		}
	}
	h := sha256.New()
	for _, key := range keys {
		t, ok := o.base.Tensor(o.name(key))
		if i, part, is := headKey(key); is && i < len(head) {
			var shape []int
			if shape, ok = headShape(&head[i], part); ok {
				t = checkpoint.Tensor{DType: checkpoint.F32, Shape: shape, Data: bytesOf(*headPart(&head[i], part))}
			}
		}
		if !ok {
			continue
		}
		fmt.Fprintf(h, "%s %v %v\n", key, t.DType, t.Shape)
		n, size := t.Len(), t.DType.Size()
		for i := range min(n, fingerprintSamples) {
			at := i
			if n > fingerprintSamples {
				at = int(int64(i) * int64(n-1) / (fingerprintSamples - 1))
			}
			h.Write(t.Data[at*size : (at+1)*size])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
