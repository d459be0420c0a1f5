package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/golbert/golbert/internal/kernel"
)

// The shapes: a query of 32 tokens, documents of 300, as in the comparison with other libraries' kernels.
const (
	queryRows = 32
	docRows   = 300
)

// aKernel is one row of the table. Work is what one call does: floating-point or integer operations, a multiplication
// and an addition counting two, or the bytes that it reads where that is what bounds it.
type aKernel struct {
	name  string
	work  float64
	bytes bool
	docs  int  // documents per call, when that says something
	bf16  bool // measured against the bfloat16 products, where there are any
	int8  bool // against those of int8
	call  func()
}

// runKernels measures every kernel with every instruction set that this machine has, on one thread. Rates are those of
// the best of many short runs, as is the peak, so that other work on the machine does not count.
func runKernels(ctx context.Context, b *bench) error {
	const span = 150 * time.Millisecond
	table := b.kernels()
	sets := kernel.ISAs()
	bar := b.bar("kernels", len(sets)*len(table))
	defer bar.End()
	for i, set := range sets {
		var err error
		kernel.WithISA(set, func() {
			peak, peakBF16, peakInt8 := kernel.MeasurePeak(span), kernel.MeasurePeakBF16(span), kernel.MeasurePeakInt8(span)
			for j, k := range table {
				if err = ctx.Err(); err != nil {
					return
				}
				best, median, cpu := rate(k.call, span)
				r := record{}.add("bench", "kernel", "peer", "golbert", "kernel", k.name, "isa", set, "threads", 1, "dim", b.dim)
				if k.docs > 0 {
					r = r.add("docs", k.docs, "docs_per_s", round(float64(k.docs)/median, 0))
				}
				peak := peak
				if k.bf16 && peakBF16 > 0 {
					peak = peakBF16
				}
				if k.int8 && peakInt8 > 0 {
					peak = peakInt8
				}
				if k.bytes {
					r = r.add("gbytes_per_s", round(k.work/best/1e9, 2), "gbytes_per_s_median", round(k.work/median/1e9, 2))
				} else {
					r = r.add("gflops", round(k.work/best/1e9, 2), "gflops_median", round(k.work/median/1e9, 2), "peak_gflops", round(peak, 1),
						"peak_fraction", round(k.work/best/1e9/peak, 3))
				}
				if err = b.out.print(r.add("us", round(median*1e6, 2), "cpu_us", round(cpu*1e6, 2))); err != nil {
					return
				}
				bar.Set(i*len(table) + j + 1)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rate gives the seconds of a call: the best and the median of runs of at least 100 microseconds, and the mean of the
// processor's time.
func rate(call func(), span time.Duration) (best, median, cpu float64) {
	n := 1
	for {
		t := time.Now()
		for range n {
			call()
		}
		if time.Since(t) > 100*time.Microsecond {
			break
		}
		n *= 2
	}
	var runs []float64
	watch := startWatch()
	for start := time.Now(); len(runs) < 5 || time.Since(start) < span; {
		t := time.Now()
		for range n {
			call()
		}
		runs = append(runs, time.Since(t).Seconds()/float64(n))
	}
	_, cpu = watch.seconds()
	cpu /= float64(n * len(runs))
	slices.Sort(runs)
	return runs[0], runs[len(runs)/2], cpu
}

func (b *bench) kernels() []aKernel {
	const many = 1000
	r := rand.New(rand.NewPCG(1, 2))
	dim := b.dim
	q := units(r, queryRows, dim)
	docs := units(r, many*docRows, dim)
	query := kernel.NewQuery(q, queryRows, dim)
	one := float64(2 * queryRows * docRows * dim)
	each := func(f func(doc []float32)) func() {
		return func() {
			for d := range many {
				f(docs[d*docRows*dim : (d+1)*docRows*dim])
			}
		}
	}
	out := []aKernel{
		{name: "maxsim_f32", work: one, docs: 1, call: func() { query.MaxSim(docs, docRows) }},
		{name: "maxsim_f32_stream", work: many * one, docs: many, call: each(func(doc []float32) { query.MaxSim(doc, docRows) })},
	}

	for _, h := range []kernel.Half{kernel.F16, kernel.BF16} {
		values, convert, name := make([]uint16, len(docs)), kernel.F32ToF16, "maxsim_f16"
		if h == kernel.BF16 {
			convert, name = kernel.F32ToBF16, "maxsim_bf16"
		}
		convert(values, docs)
		hq := kernel.NewHalfQuery(h, q, queryRows, dim)
		out = append(out, aKernel{name: name, work: one, docs: 1, bf16: h == kernel.BF16, call: func() { hq.MaxSim(values, docRows) }},
			aKernel{name: name + "_stream", work: many * one, docs: many, bf16: h == kernel.BF16, call: func() {
				for d := range many {
					hq.MaxSim(values[d*docRows*dim:], docRows)
				}
			}})
	}

	// Assignment: 1,024 vectors against 256 centroids, and the product alone.
	const points, cents = 1024, 256
	packed := kernel.Pack(docs, cents, dim)
	x := units(r, points, dim)
	idx, score, c := make([]uint32, points), make([]float32, points), make([]float32, points*cents)
	out = append(out,
		aKernel{name: "gemm_f32", work: 2 * points * cents * float64(dim), call: func() { packed.Gemm(c, cents, x, dim, points, nil) }},
		aKernel{name: "argmax_f32", work: 2 * points * cents * float64(dim), call: func() { packed.ArgMax(idx, score, x, dim, points) }},
	)

	// A layer of 384 inputs and 1,536 outputs over 48 tokens, in the precisions of the encoder.
	const tokens, in, outs = 48, 384, 1536
	w, act, y := units(r, outs, in), units(r, tokens, in), make([]float32, tokens*outs)
	f32, bf16, i8 := kernel.Pack(w, outs, in), kernel.PackBF16(w, outs, in), kernel.QuantizeInt8(w, outs, in)
	var rows16, rows8 kernel.Rows
	out = append(out,
		aKernel{name: "linear_f32", work: 2 * tokens * in * outs, call: func() { f32.Gemm(y, outs, act, in, tokens, nil) }},
		aKernel{name: "linear_bf16", work: 2 * tokens * in * outs, bf16: true, call: func() {
			rows16.BF16(act, in, tokens, in)
			bf16.Gemm(y, outs, &rows16, nil)
		}},
		aKernel{name: "linear_int8", work: 2 * tokens * in * outs, int8: true, call: func() {
			rows8.Int8(act, in, tokens, in)
			i8.Gemm(y, outs, &rows8, nil)
		}},
	)

	// The compressed domain.
	const book = 16384
	codes, norms := make([]uint32, docRows), make([]float32, docRows)
	for i := range codes {
		codes[i], norms[i] = uint32(r.IntN(book)), 1
	}
	base := &kernel.Base{Scores: make([]int16, book*queryRows), Unit: make([]float32, queryRows)}
	for i := range base.Scores {
		base.Scores[i] = int16(r.Uint32())
	}
	for i := range base.Unit {
		base.Unit[i] = 1. / math.MaxInt16
	}
	for _, bits := range []int{1, 2, 4, 8} {
		if dim*bits%8 != 0 {
			continue
		}
		weights := make([]float32, 1<<bits)
		for i := range weights {
			weights[i] = float32(i) - float32(len(weights)-1)/2
		}
		levels := kernel.NewLevels(weights, bits, dim)
		rows := make([]byte, docRows*levels.RowBytes())
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
		rq := kernel.NewResidualQuery(levels, q, queryRows)
		out = append(out, aKernel{name: "maxsim_" + string(rune('0'+bits)) + "bit", work: one, docs: 1, call: func() { rq.MaxSim(base, codes, rows, norms, nil) }})
	}
	// A posting list of every third of so many documents as a block of stage 3 has.
	rows, list := make([]uint8, 512<<10), []uint32{}
	for i := range rows {
		rows[i] = uint8(r.Uint32())
	}
	for i := 0; i < len(rows)/queryRows; i += 3 {
		list = append(list, uint32(i))
	}
	half := make([]uint16, docRows*dim)
	kernel.F32ToF16(half, docs[:len(half)])
	wide := make([]float32, len(half))
	return append(out,
		aKernel{name: "raise_u8", work: float64(len(list) * queryRows), bytes: true, call: func() { kernel.RaiseU8(rows, queryRows, 0, list, rows[:queryRows]) }},
		aKernel{name: "f16_to_f32", work: float64(2 * len(half)), bytes: true, call: func() { kernel.F16ToF32(wide, half) }},
		aKernel{name: "f32_to_f16", work: float64(4 * len(half)), bytes: true, call: func() { kernel.F32ToF16(half, wide) }},
	)
}
