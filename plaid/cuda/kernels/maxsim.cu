// MaxSim over raw vectors. One block scores one document at a time for one query of up to 32 rows; longer queries come
// as several parts whose sums the host adds. Documents are rows off[i] to off[i+1] of docs.
#include "common.cuh"

#define MAXSIM_THREADS 128

// Partial maxima of the 4 warps, then the sum over the query's rows in ascending order.
DEVICE void finish_maxsim(float best[32], float* warps, float* out, int doc, int parts, int part, int rows, int warp, int lane, int tokens) {
	warps[warp * 32 + lane] = warp_max(best, lane);
	SYNC();
	if (warp == 0 && lane == 0) {
		float sum = 0;
		for (int j = 0; j < rows; j++) {
			float v = MINUS_INF;
			for (int w = 0; w < MAXSIM_THREADS / 32; w++) v = max_num(v, warps[w * 32 + j]);
			sum = add_rn(sum, v);
		}
		out[(uint64_t)doc * parts + part] = tokens > 0 ? sum : MINUS_INF;
	}
	SYNC();
}

// maxsim_f32: float32 rows, every inner product one chain of fused multiply-adds in ascending order of the dimension:
// the same bits as the CPU's vector kernels. The query lies in shared memory, dim x 32; each thread takes whole tokens.
KERNEL(MAXSIM_THREADS)
maxsim_f32(float* out, const float* query, int rows, int dim, const float* docs, const uint64_t* off, int ndocs, int parts, int part) {
	DYNAMIC_SHARED(mem);
	float* q = (float*)mem;             // dim x 32
	float* warps = q + dim * 32;        // 4 x 32
	int t = threadIdx.x, warp = t / 32, lane = t % 32;
	for (int i = t; i < dim * 32; i += MAXSIM_THREADS) {
		int d = i / 32, j = i % 32;
		q[i] = j < rows ? query[j * dim + d] : 0;
	}
	SYNC();
	for (int doc = blockIdx.x; doc < ndocs; doc += gridDim.x) {
		uint64_t from = off[doc];
		int tokens = (int)(off[doc + 1] - from);
		float best[32];
		for (int j = 0; j < 32; j++) best[j] = MINUS_INF;
		for (int i = t; i < tokens; i += MAXSIM_THREADS) {
			const float* row = docs + (from + i) * dim;
			float dot[32];
			for (int j = 0; j < 32; j++) dot[j] = 0;
			for (int d = 0; d < dim; d++) {
				float x = row[d];
				const float* col = q + d * 32;
#pragma unroll
				for (int j = 0; j < 32; j++) dot[j] = fma_rn(x, col[j], dot[j]);
			}
#pragma unroll
			for (int j = 0; j < 32; j++) best[j] = max_num(best[j], dot[j]);
		}
		finish_maxsim(best, warps, out, doc, parts, part, rows, warp, lane, tokens);
	}
}

// The half-precision kernels: 16 tokens x 8 query rows x 16 dimensions per tensor-core product, sums in float32 in the
// hardware's order (within dim * 2^-23 * sum |a b| of the exact sum of the given values). The query lies in shared
// memory as B fragments; dim is a multiple of 16 after the host's padding.
#define MAXSIM_HALF(NAME, MMA)                                                                                          \
	KERNEL(MAXSIM_THREADS)                                                                                              \
	NAME(float* out, const uint16_t* query, int rows, int dim, const uint16_t* docs, const uint64_t* off, int ndocs,     \
	     int parts, int part) {                                                                                         \
		DYNAMIC_SHARED(mem);                                                                                            \
		int t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, tig = lane % 4;                                \
		int steps = dim / 16;                                                                                           \
		uint32_t* q = mem; /* steps x 4 groups of 8 rows x 2 registers x 32 lanes */                                    \
		float* warps = (float*)(mem + steps * 256);                                                                     \
		for (int i = t; i < steps * 256; i += MAXSIM_THREADS) {                                                         \
			int l = i % 32, r = i / 32 % 2, n = i / 64 % 4, s = i / 256;                                                \
			int row = n * 8 + l / 4, d = s * 16 + (l % 4) * 2 + r * 8;                                                  \
			q[i] = row < rows ? (uint32_t)query[row * dim + d] | (uint32_t)query[row * dim + d + 1] << 16 : 0;          \
		}                                                                                                               \
		SYNC();                                                                                                         \
		for (int doc = blockIdx.x; doc < ndocs; doc += gridDim.x) {                                                     \
			uint64_t from = off[doc];                                                                                   \
			int tokens = (int)(off[doc + 1] - from);                                                                    \
			float top[4][2];                                                                                            \
			for (int n = 0; n < 4; n++) top[n][0] = top[n][1] = MINUS_INF;                                              \
			for (int at = warp * 16; at < tokens; at += MAXSIM_THREADS / 2) {                                           \
				int lo = at + g, hi = at + g + 8;                                                                       \
				/* Rows behind the end repeat the last one: a maximum does not mind. */                                 \
				const uint16_t* rlo = docs + (from + min_int(lo, tokens - 1)) * dim;                                    \
				const uint16_t* rhi = docs + (from + min_int(hi, tokens - 1)) * dim;                                    \
				float d[4][4];                                                                                          \
				for (int n = 0; n < 4; n++)                                                                             \
					for (int i = 0; i < 4; i++) d[n][i] = 0;                                                            \
				for (int s = 0; s < steps; s++) {                                                                       \
					int k = s * 16 + tig * 2;                                                                           \
					uint32_t a[4] = {*(const uint32_t*)(rlo + k), *(const uint32_t*)(rhi + k),                          \
					                 *(const uint32_t*)(rlo + k + 8), *(const uint32_t*)(rhi + k + 8)};                 \
					for (int n = 0; n < 4; n++) {                                                                       \
						uint32_t b[2] = {q[s * 256 + n * 64 + lane], q[s * 256 + n * 64 + 32 + lane]};                  \
						MMA(d[n], a, b);                                                                                \
					}                                                                                                   \
				}                                                                                                       \
				for (int n = 0; n < 4; n++) {                                                                           \
					top[n][0] = max_num(max_num(top[n][0], d[n][0]), d[n][2]);                                          \
					top[n][1] = max_num(max_num(top[n][1], d[n][1]), d[n][3]);                                          \
				}                                                                                                       \
			}                                                                                                           \
			/* Lanes of the same tig hold the same two query rows of each group. */                                     \
			for (int n = 0; n < 4; n++)                                                                                 \
				for (int i = 0; i < 2; i++) {                                                                           \
					float v = top[n][i];                                                                                \
					for (int m = 4; m < 32; m <<= 1) v = max_num(v, shuffle_xor(v, m));                                 \
					if (g == 0) warps[warp * 32 + n * 8 + tig * 2 + i] = v;                                             \
				}                                                                                                       \
			SYNC();                                                                                                     \
			if (t == 0) {                                                                                               \
				float sum = 0;                                                                                          \
				for (int j = 0; j < rows; j++) {                                                                        \
					float v = MINUS_INF;                                                                                \
					for (int w = 0; w < MAXSIM_THREADS / 32; w++) v = max_num(v, warps[w * 32 + j]);                    \
					sum = add_rn(sum, v);                                                                               \
				}                                                                                                       \
				out[(uint64_t)doc * parts + part] = tokens > 0 ? sum : MINUS_INF;                                       \
			}                                                                                                           \
			SYNC();                                                                                                     \
		}                                                                                                               \
	}

MAXSIM_HALF(maxsim_f16, mma_f16)
MAXSIM_HALF(maxsim_bf16, mma_bf16)
