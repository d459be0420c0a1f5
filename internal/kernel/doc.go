// Package kernel holds the numeric kernels of golbert: late-interaction scoring, matrix products with packed
// weights, and the element-wise functions of a transformer. Every kernel has a pure-Go reference and generated
// assembly (see _asm): AVX2 and AVX-512 on amd64, NEON on arm64. The build tag noasm leaves the assembly out.
//
// # Dispatch
//
// ISA names the instruction set in use: "generic", "avx2" (AVX2, FMA and F16C), "avx512" (AVX-512 F, BW, DQ and VL on
// top of it), "avx512vnni" (and VNNI), "avx512bf16" (and BF16), or "neon". A kernel has code for some of these levels
// and uses the best one that is not above the level in use. The best level that the processor and the operating system
// support is chosen when the program starts. The environment variable GOLBERT_SIMD overrides it with one of these
// names; a set that is not available falls back to the best available one below it, and an unknown value is ignored.
//
// # Numerics
//
// Results are deterministic: on one machine and one ISA the same input gives the same bits, whatever the
// number of goroutines and wherever the buffers lie. Every element of a matrix product and every inner product
// inside MaxSim is one chain of fused multiply-adds in ascending order of the inner dimension, so AVX2 and AVX-512
// agree in every bit there (NEON fuses in the same order); the generic code may round the product as well, and differs
// from them by at most dim * 2^-23 * sum_k |a_k*b_k|. Dot, Normalize, LayerNorm and Softmax sum in an order that depends
// on the ISA; the same bound holds.
//
// Products with int8 weights (PackedInt8) are exact integers, and rows become the same bytes, on every machine; only the
// scaling of the sums rounds as the ISA does. Products with bfloat16 weights (PackedBF16) sum exact products of two
// bfloat16 in float32: AVX-512 BF16 two at a time.
//
// Compressed-domain scores (ResidualQuery) are exact integers followed by unfused float32 steps: the same bits on every
// machine. F16 conversions agree everywhere, too.
//
// NaN: a NaN inner product never wins a maximum (Query.Max gives -Inf, ArgMax gives row 0 and -Inf, when there is
// nothing else); everywhere else NaN propagates. Reject NaN at ingest, as colbert/maxsim does.
//
// # Panics
//
// Functions here check slice lengths against the shapes they are given and panic on a mismatch: that is a
// mistake of the calling code, never of a file or a user. No content of any slice can make a kernel read or
// write out of range.
//
// # Preemption
//
// Assembly cannot be preempted by the Go scheduler, so every loop over assembly is blocked in Go and one call
// stays under about 100 microseconds.
//
// # Design
//
// All products share one register tile: 12 rows by 2 registers of 16 lanes (AVX-512), 6 by 2 of 8 (AVX2), 4 by 4 of 4
// (NEON). The matrix that is used again and again (weights, centroids, a query's tokens) lies in the lanes, packed in
// panels; rows of the other one (activations, points, a document's tokens) are read as they are, as broadcast scalars.
// Epilogues work on the accumulators: bias, scale, residual connection, running maxima, running arg maxima.
package kernel
