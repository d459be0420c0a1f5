package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// write stores the backbone, the projection, the vocabulary and the configuration in one safetensors file and
// returns its size. See golbertmini/load.go for the reader.
func write(path string, c *checkpoint.Checkpoint, proj []float32, dim int) (int64, error) {
	var ts []checkpoint.Tensor
	for _, name := range c.Tensors.Names() {
		short, ok := strings.CutPrefix(name, c.Prefix)
		if !ok || strings.HasPrefix(short, "pooler.") || strings.HasSuffix(short, "position_ids") {
			continue
		}
		t, _ := c.Tensors.Tensor(name)
		v := t.Float32s(nil)
		switch {
		case len(t.Shape) != 2:
			ts = append(ts, checkpoint.Float32Tensor(short, v, t.Shape...))
		case strings.Contains(short, "position_embeddings") || strings.Contains(short, "token_type"):
			// Small, and part of every token's input: half precision.
			ts = append(ts, f16(short, v, t.Shape...))
		default:
			ts = append(ts, int8s(short, v, t.Shape[0], t.Shape[1])...)
		}
	}
	ts = append(ts, checkpoint.Float32Tensor("projection.weight", proj, dim, len(proj)/dim))
	for _, name := range []string{"config.json", "vocab.txt"} {
		b, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil {
			return 0, err
		}
		ts = append(ts, checkpoint.Tensor{Name: name, DType: checkpoint.U8, Shape: []int{len(b)}, Data: b})
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = checkpoint.WriteSafeTensors(f, ts, map[string]string{
		"model":   "golbertmini",
		"origin":  "sentence-transformers/all-MiniLM-L6-v2, distilled from BAAI/bge-small-en-v1.5, BM25 and itself",
		"license": "Apache-2.0",
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), f.Close()
}

func f16(name string, v []float32, shape ...int) checkpoint.Tensor {
	h := make([]uint16, len(v))
	kernel.F32ToF16(h, v)
	b := make([]byte, 0, 2*len(v))
	for _, x := range h {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return checkpoint.Tensor{Name: name, DType: checkpoint.F16, Shape: shape, Data: b}
}

// int8s quantises a matrix row by row, symmetrically. Each row's scale is the one of a few candidates with the
// least squared error: clipping the largest weights a little often beats a step that reaches them.
func int8s(name string, v []float32, rows, cols int) []checkpoint.Tensor {
	data := make([]byte, rows*cols)
	scales := make([]float32, rows)
	for r := range rows {
		row := v[r*cols : (r+1)*cols]
		top := float32(0)
		for _, x := range row {
			top = max(top, max(x, -x))
		}
		if top == 0 {
			continue
		}
		least := math.Inf(1)
		for i := range 25 {
			s := top / 127 * (1 - float32(i)*.01)
			e := 0.0
			for _, x := range row {
				d := float64(x - s*float32(quantise(x, s)))
				e += d * d
			}
			if e < least {
				least, scales[r] = e, s
			}
		}
		for i, x := range row {
			data[r*cols+i] = byte(quantise(x, scales[r]))
		}
	}
	return []checkpoint.Tensor{
		{Name: name, DType: checkpoint.I8, Shape: []int{rows, cols}, Data: data},
		checkpoint.Float32Tensor(name+"_scale", scales, rows),
	}
}

func quantise(x, scale float32) int8 {
	return int8(min(max(math.RoundToEven(float64(x/scale)), -127), 127))
}
