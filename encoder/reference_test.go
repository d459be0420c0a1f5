package encoder

import (
	"math"
	"math/rand/v2"
)

// tinyModel is a BERT with random weights, small enough for a forward pass in plain loops. Its tensors are kept
// by name, as checkpoints do.
type tinyModel struct {
	vocab, hidden, heads, ffn, layers, positions int
	tensors                                      map[string]tinyTensor
	order                                        []string
}

type tinyTensor struct {
	shape []int
	data  []float32
}

func newTinyModel(vocab int, seed uint64) *tinyModel {
	m := &tinyModel{vocab: vocab, hidden: 24, heads: 3, ffn: 40, layers: 2, positions: 48, tensors: map[string]tinyTensor{}}
	r := rand.New(rand.NewPCG(seed, 1))
	h := m.hidden
	m.add(r, "embeddings.word_embeddings.weight", .6, 0, vocab, h)
	m.add(r, "embeddings.position_embeddings.weight", .6, 0, m.positions, h)
	m.add(r, "embeddings.token_type_embeddings.weight", .6, 0, 2, h)
	m.add(r, "embeddings.LayerNorm.weight", .2, 1, h)
	m.add(r, "embeddings.LayerNorm.bias", .2, 0, h)
	for l := range m.layers {
		p := "encoder.layer." + string(rune('0'+l)) + "."
		for _, n := range []string{"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"} {
			m.add(r, p+n+".weight", .3, 0, h, h)
			m.add(r, p+n+".bias", .2, 0, h)
		}
		m.add(r, p+"intermediate.dense.weight", .3, 0, m.ffn, h)
		m.add(r, p+"intermediate.dense.bias", .2, 0, m.ffn)
		m.add(r, p+"output.dense.weight", .3, 0, h, m.ffn)
		m.add(r, p+"output.dense.bias", .2, 0, h)
		for _, n := range []string{"attention.output.LayerNorm", "output.LayerNorm"} {
			m.add(r, p+n+".weight", .2, 1, h)
			m.add(r, p+n+".bias", .2, 0, h)
		}
	}
	return m
}

func (m *tinyModel) add(r *rand.Rand, name string, spread, mean float64, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := tinyTensor{shape: shape, data: make([]float32, n)}
	for i := range t.data {
		t.data[i] = float32(mean + spread*r.NormFloat64())
	}
	m.tensors[name] = t
	m.order = append(m.order, name)
}

// forward is BERT for one sequence, straight from the formulas in float64. attend is the attention mask.
func (m *tinyModel) forward(ids []int32, attend []bool) [][]float64 {
	h := m.hidden
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = make([]float64, h)
		for j := range h {
			x[i][j] = float64(m.tensors["embeddings.word_embeddings.weight"].data[int(id)*h+j]) +
				float64(m.tensors["embeddings.position_embeddings.weight"].data[i*h+j]) +
				float64(m.tensors["embeddings.token_type_embeddings.weight"].data[j])
		}
		m.norm(x[i], "embeddings.LayerNorm")
	}
	for l := range m.layers {
		p := "encoder.layer." + string(rune('0'+l)) + "."
		q, k, v := make([][]float64, len(x)), make([][]float64, len(x)), make([][]float64, len(x))
		for i := range x {
			q[i], k[i], v[i] = m.linear(x[i], p+"attention.self.query"), m.linear(x[i], p+"attention.self.key"), m.linear(x[i], p+"attention.self.value")
		}
		d := h / m.heads
		for i := range x {
			ctx := make([]float64, h)
			for head := range m.heads {
				weights, sum := make([]float64, len(x)), 0.0
				for j := range x {
					if !attend[j] {
						continue
					}
					dot := 0.0
					for c := head * d; c < (head+1)*d; c++ {
						dot += q[i][c] * k[j][c]
					}
					weights[j] = math.Exp(dot / math.Sqrt(float64(d)))
					sum += weights[j]
				}
				for j := range x {
					for c := head * d; c < (head+1)*d; c++ {
						ctx[c] += weights[j] / sum * v[j][c]
					}
				}
			}
			// x[i] is still needed by nobody: keys and values are computed already.
			y := m.linear(ctx, p+"attention.output.dense")
			for j := range y {
				y[j] += x[i][j]
			}
			m.norm(y, p+"attention.output.LayerNorm")
			u := m.linear(y, p+"intermediate.dense")
			for j := range u {
				u[j] = refGELU(u[j])
			}
			z := m.linear(u, p+"output.dense")
			for j := range z {
				z[j] += y[j]
			}
			m.norm(z, p+"output.LayerNorm")
			x[i] = z
		}
	}
	return x
}

func (m *tinyModel) linear(x []float64, name string) []float64 {
	w := m.tensors[name+".weight"]
	y := refLinear(x, w.data, w.shape[0])
	for i, b := range m.tensors[name+".bias"].data {
		y[i] += float64(b)
	}
	return y
}

func (m *tinyModel) norm(x []float64, name string) {
	mean, sq := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		sq += (v - mean) * (v - mean) / float64(len(x))
	}
	for i := range x {
		x[i] = (x[i]-mean)/math.Sqrt(sq+1e-12)*float64(m.tensors[name+".weight"].data[i]) + float64(m.tensors[name+".bias"].data[i])
	}
}

// refLinear is W x for W of out rows.
func refLinear(x []float64, w []float32, out int) []float64 {
	y := make([]float64, out)
	for i := range y {
		for j, v := range x {
			y[i] += float64(w[i*len(x)+j]) * v
		}
	}
	return y
}

func refGELU(x float64) float64 { return x * .5 * (1 + math.Erf(x/math.Sqrt2)) }

func refUnit(x []float64) []float64 {
	n := 0.0
	for _, v := range x {
		n += v * v
	}
	for i := range x {
		x[i] /= math.Sqrt(n)
	}
	return x
}
