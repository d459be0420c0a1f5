package torchpt

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Stream is a tensor whose data is made while it is written.
type Stream struct {
	DType DType
	Shape []int
	// WriteTo writes the elements, little-endian in C order: as many as Shape says.
	WriteTo func(io.Writer) error
}

// Write writes one tensor, or a tuple when there are two or three, as torch.save does: torch.load reads it
// with weights_only on and off. root names the folder inside the archive; torch uses the file's stem. Data
// is stored plainly and aligned to 64 bytes, because some readers map it.
func Write(w io.Writer, root string, tensors ...*Tensor) error {
	streams := make([]Stream, len(tensors))
	for i, t := range tensors {
		streams[i] = Stream{DType: t.DType, Shape: t.Shape, WriteTo: func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}}
	}
	return WriteStreams(w, root, streams...)
}

// WriteStreams is Write for tensors that need not be in memory. A stream that writes another length than its
// shape says is an error.
func WriteStreams(w io.Writer, root string, tensors ...Stream) error {
	if len(tensors) < 1 || len(tensors) > 3 {
		return fmt.Errorf("torchpt: %d tensors, 1 to 3 can be written", len(tensors))
	}
	z := newZip(w, root)
	z.add("data.pkl", picklesOf(tensors))
	z.add("byteorder", []byte("little"))
	for i, t := range tensors {
		z.addFunc(fmt.Sprintf("data/%d", i), func(w io.Writer) error {
			c := &counter{w: w}
			if err := t.WriteTo(c); err != nil {
				return err
			}
			if want := t.elements() * t.DType.Size(); c.n != want {
				return fmt.Errorf("tensor %d of shape %v has %d bytes, %d were written", i, t.Shape, want, c.n)
			}
			return nil
		})
	}
	z.add("version", []byte("3\n"))
	return z.close()
}

func (t *Stream) elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

type zipWriter struct {
	z    *zip.Writer
	n    *counter
	root string
	err  error
}

// counter knows the offset, which the padding of the next entry depends on.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

func newZip(w io.Writer, root string) *zipWriter {
	c := &counter{w: w}
	return &zipWriter{z: zip.NewWriter(c), n: c, root: root}
}

func (z *zipWriter) add(name string, data []byte) {
	z.addFunc(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (z *zipWriter) addFunc(name string, write func(io.Writer) error) {
	if z.err != nil {
		return
	}
	if z.err = z.z.Flush(); z.err != nil {
		return
	}
	h := &zip.FileHeader{Name: z.root + "/" + name, Method: zip.Store}
	// A local header is 30 bytes, the name and the extra field; the extra field itself takes 4.
	pad := (64 - (z.n.n+descriptor(z)+30+len(h.Name)+4)%64) % 64
	h.Extra = append([]byte("FB"), byte(pad), 0)
	h.Extra = append(h.Extra, bytes.Repeat([]byte("Z"), pad)...)
	var w io.Writer
	if w, z.err = z.z.CreateHeader(h); z.err == nil {
		z.err = write(w)
	}
}

// descriptor gives the bytes that closing the entry before adds: zip.Writer does it when the next begins.
func descriptor(z *zipWriter) int {
	if z.n.n == 0 {
		return 0
	}
	return 16
}

func (z *zipWriter) close() error {
	if z.err == nil {
		z.err = z.z.Close()
	}
	if z.err != nil {
		return fmt.Errorf("torchpt: write: %w", z.err)
	}
	return nil
}

// picklesOf writes the instructions that torch.save writes, without memo entries.
func picklesOf(tensors []Stream) []byte {
	b := []byte{0x80, 2}
	for i, t := range tensors {
		b = append(b, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
		b = appendString(b, "storage")
		b = append(b, "ctorch\n"+string(t.DType)+"Storage\n"...)
		b = appendString(b, fmt.Sprint(i))
		b = appendString(b, "cpu")
		b = appendInt(b, int64(t.elements()))
		b = append(b, "tQ"...)
		b = appendInt(b, 0)
		strides := make([]int, len(t.Shape))
		for d, s := len(t.Shape)-1, 1; d >= 0; d-- {
			strides[d] = s
			s *= t.Shape[d]
		}
		for _, dims := range [][]int{t.Shape, strides} {
			b = append(b, '(')
			for _, n := range dims {
				b = appendInt(b, int64(n))
			}
			b = append(b, 't')
		}
		b = append(b, 0x89)
		b = append(b, "ccollections\nOrderedDict\n)RtR"...)
	}
	if len(tensors) > 1 {
		b = append(b, 0x84+byte(len(tensors)))
	}
	return append(b, '.')
}

func appendString(b []byte, s string) []byte {
	b = append(b, 'X')
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendInt(b []byte, n int64) []byte {
	if n >= 0 && n < 1<<31 {
		return binary.LittleEndian.AppendUint32(append(b, 'J'), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0x8a, 8), uint64(n))
}

// WriteDict writes a bare pickle of a dict, as pickle.dump does (protocol 2), which ParsePickle reads. Keys and
// values are strings or int64s; next gives the pairs until ok is false.
func WriteDict(w io.Writer, next func() (key, value any, ok bool)) error {
	b := []byte{0x80, 2, '}'}
	for {
		key, value, ok := next()
		if !ok {
			break
		}
		for _, v := range []any{key, value} {
			switch x := v.(type) {
			case string:
				b = appendString(b, x)
			case int64:
				b = appendInt(b, x)
			default:
				return fmt.Errorf("torchpt: a %T in a dict", v)
			}
		}
		b = append(b, 's')
		if len(b) > 1<<16 {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("torchpt: write: %w", err)
			}
			b = b[:0]
		}
	}
	if _, err := w.Write(append(b, '.')); err != nil {
		return fmt.Errorf("torchpt: write: %w", err)
	}
	return nil
}
