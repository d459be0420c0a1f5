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
// documents decoded and scored in float32. MaxSim over raw vectors in float32, float16 and bfloat16 (LoadDocuments). K-means
// (Device.KMeans) and the coding of vectors, from rotation to packed residuals (Coder), whose documents go to
// Index.AddEncoded. An index that does not fit keeps its residuals on the host and moves those of the shortlist only.
//
// Any dimension that is a multiple of 8 can be searched, any at all scored: what of a query does not fit into shared memory
// (1,700 dimensions in float32 on an H100, 700 on consumer devices) is read from device memory. A Coder needs all of a
// vector there and refuses dimensions beyond some 12,000.
//
// # Concurrency
//
// One goroutine per device owns its context and makes all calls to the driver; it queues work and asks for events, and
// waits for nothing while searches run. Up to four sub-batches of an index, of one call or of several, are on the device at a time,
// each on a stream of its own with its own scratch memory. A batch is cut into sub-batches of queries of like length (to
// 32 tokens), so that short queries are not padded to the longest. While something runs, the goroutine keeps a processor
// busy, as waiting in the driver does by default. Loading an index is one job: searches of others wait for it.
//
// # Numerics
//
// Centroid scores, assignments and float32 MaxSim are chains of fused multiply-adds in ascending order of the
// dimension, as in the CPU's vector kernels (which may take centroid scores in bfloat16), and integer products are exact;
// final scores differ from the CPU's by the order in which the squares of a decoded vector are added, a relative 1e-5 at
// most. Documents that both find come in the same order up to ties within that bound. Which ones they find may differ where
// a shortlist is cut: here stage 3 looks at all centroids of a candidate, as in the paper, there at those of the lists that
// were read. float16 and bfloat16 products are exact, their sums are float32 in the hardware's order. Codes and residuals
// are those of Codebook.Encode, see Coder.
//
// # Errors
//
// Nothing falls back to the CPU by itself: a device that is missing, out of memory or lost is an error that wraps
// plaid.ErrDevice and names it, and plaid.NewSearcher on the same snapshot goes on.
//
// # Kernels
//
// The sources are kernels/*.cu; the PTX made of them (ISA 7.0, compute_80: any driver from CUDA 11.0 on, any device from
// Ampere on) is committed and embedded, and kernels/generate.py makes it anew. There is no image of its own for Hopper, whose
// driver compiles the same PTX: what it could add is wgmma, which needs sm_90a, an image for that one chip, layouts of
// shared memory that no emulation of ours shows to be right, and hardware to tune on. MaxSim of one query is bound by memory bandwidth at 32 operations per
// byte, where mma.sync does as well; batches reach what mma.sync can do there, some 60 % of what wgmma can.
//
// The same sources compile for the host against shim/, a small emulation of the driver's interface; the tests run on it
// where a C++ compiler is found, once with every access to memory checked for bounds, alignment, initialisation and races.
// scripts/hardware.sh runs everything that only a device can show, beside what torch and fast-plaid do there
// (scripts/peers.py).
package cuda
