package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// WriteSafeTensors writes a safetensors file with the tensors in the order given. Data must have exactly the
// length that type and shape ask for. The header is padded with spaces so that the data starts at a multiple of
// eight bytes; the caller orders tensors by element size, largest first, when all of them must be aligned.
func WriteSafeTensors(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	for _, t := range tensors {
		if size, ok := byteSize(t.DType, t.Shape); !ok || size != int64(len(t.Data)) {
			return fmt.Errorf("checkpoint: tensor %q of type %v and shape %v has %d bytes of data", t.Name, t.DType, t.Shape, len(t.Data))
		}
	}
	return StreamSafeTensors(w, tensors, metadata, func(i int, w io.Writer) error {
		_, err := w.Write(tensors[i].Data)
		return err
	})
}

// StreamSafeTensors is WriteSafeTensors for tensors that need not be in memory: their Data is not looked at, write
// gives that of tensor i, little-endian, when its turn comes. Another length than type and shape ask for is
// an error.
func StreamSafeTensors(w io.Writer, tensors []Tensor, metadata map[string]string, write func(i int, w io.Writer) error) error {
	header, err := safeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return fmt.Errorf("checkpoint: write header: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("checkpoint: write header: %w", err)
	}
	for i, t := range tensors {
		c := &byteCounter{w: w}
		if err := write(i, c); err != nil {
			return fmt.Errorf("checkpoint: write tensor %q: %w", t.Name, err)
		}
		if size, _ := byteSize(t.DType, t.Shape); size != c.n {
			return fmt.Errorf("checkpoint: write tensor %q: %d bytes for type %v and shape %v", t.Name, c.n, t.DType, t.Shape)
		}
	}
	return nil
}

// byteCounter counts what is written.
type byteCounter struct {
	w io.Writer
	n int64
}

func (c *byteCounter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// safeHeader makes the JSON of a safetensors file.
func safeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	if len(tensors) > maxTensors {
		return nil, fmt.Errorf("checkpoint: %d tensors, at most %d are allowed", len(tensors), maxTensors)
	}
	header := []byte{'{'}
	member := func(name string, value any) error {
		k, err := json.Marshal(name)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if len(header) > 1 {
			header = append(header, ',')
		}
		header = append(append(append(header, k...), ':'), v...)
		return nil
	}
	if len(metadata) > 0 {
		if err := member("__metadata__", metadata); err != nil {
			return nil, fmt.Errorf("checkpoint: metadata: %w", err)
		}
	}
	seen := make(map[string]bool, len(tensors))
	at := int64(0)
	for _, t := range tensors {
		size, ok := byteSize(t.DType, t.Shape)
		switch {
		case seen[t.Name] || t.Name == "__metadata__" || !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("checkpoint: tensor name %q is taken or not allowed", t.Name)
		case t.DType.Size() == 0:
			return nil, fmt.Errorf("checkpoint: tensor %q has no type", t.Name)
		case !ok || len(t.Shape) > maxDims:
			return nil, fmt.Errorf("checkpoint: tensor %q of type %v has shape %v", t.Name, t.DType, t.Shape)
		}
		seen[t.Name] = true
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		err := member(t.Name, struct {
			DType   string   `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.DType.String(), shape, [2]int64{at, at + size}})
		if err != nil {
			return nil, fmt.Errorf("checkpoint: tensor %q: %w", t.Name, err)
		}
		at += size
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if len(header) > maxHeader {
		return nil, fmt.Errorf("checkpoint: header of %d bytes, at most %d are allowed", len(header), maxHeader)
	}
	return header, nil
}
