// Package cuda runs late-interaction search on NVIDIA devices, without cgo, build tags or a CUDA toolkit. A blank import
// registers it with package plaid:
//
//	import _ "github.com/golbert/golbert/plaid/cuda"
//
//	dev, err := plaid.OpenDevice("cuda:0")
//	searcher, err := plaid.NewSearcherOn(ctx, snapshot, dev, nil)
//
// The driver's library (libcuda.so.1, nvcuda.dll) is opened at run time; where there is none, opening a device is an
// error and nothing else changes. On systems other than Linux, Windows and macOS the package is empty. Importing it makes
// a program dynamically linked on Linux, which is why nothing else in golbert does.
//
// # What runs on the device
//
// All four stages of PLAID (Santhanam et al., CIKM 2022) for batches of queries: centroid scores, posting lists,
// centroid interaction on bytes, scores of packed residuals by int8 tensor-core products, and at the end the best
// documents decoded and scored in float32. MaxSim over raw vectors in float32, float16 and bfloat16, and the
// assignment of vectors to centroids. An index that does not fit keeps its residuals on the host and moves those of the
// shortlist only.
//
// # Numerics
//
// Centroid scores, assignments and float32 MaxSim are chains of fused multiply-adds in ascending order of the
// dimension, as in the CPU's vector kernels (which may take centroid scores in bfloat16), and integer products are exact; final scores differ from the CPU's by
// the order in which the squares of a decoded vector are added, a relative 1e-5 at most. Documents that both find come in
// the same order up to ties within that bound. Which ones they find may differ where a shortlist is cut: here stage 3 looks
// at all centroids of a candidate, as in the paper, there at those of the lists that were read. float16 and bfloat16 products are exact, their sums are float32 in the hardware's order.
//
// # Kernels
//
// The sources are kernels/*.cu; the PTX made of them (ISA 7.0, compute_80: any driver from CUDA 11.0 on, any device from
// Ampere on) is committed and embedded, and kernels/generate.py makes it anew. The same sources compile for the host
// against shim/, a small emulation of the driver's interface; the tests run on it where a C++ compiler is found.
package cuda
