// MaxSim over raw vectors. A query comes as parts of up to 32 rows, whose sums the host adds. A block takes one part and
// each of its warps one document at a time; neighbouring blocks take the parts of the same documents, so that a batch reads
// documents from device memory once. Documents are rows off[i] to off[i+1] of docs.
//
// A part's first `cached` columns are copied to shared memory; those behind them, of dimensions for which it is too small,
// are read from where they are. Grid: parts by groups of documents.
#include "common.cuh"

#define MAXSIM_THREADS 128

// dot_columns adds the products of dimensions `from` to `to` of a row with 32 query rows, given column by column.
DEVICE void dot_columns(float dot[32], const float4* row, const float4* columns, int from, int to) {
	for (int d = from; d < to; d += 4) {
		float4 x = row[d / 4];
		add_columns(dot, columns + d * 8, x.x);
		add_columns(dot, columns + d * 8 + 8, x.y);
		add_columns(dot, columns + d * 8 + 16, x.z);
		add_columns(dot, columns + d * 8 + 24, x.w);
	}
}

// maxsim_f32: float32 rows, every inner product one chain of fused multiply-adds in ascending order of the dimension: the
// same bits as the CPU's vector kernels. A part is dim x 32 values, column by column; a thread takes whole tokens. dim is a
// multiple of 4 after the host's padding.
KERNEL(MAXSIM_THREADS)
maxsim_f32(float* out, const float* query, const int* rows, int dim, int cached, const float* docs, const uint64_t* off, int ndocs) {
	DYNAMIC_SHARED(mem); // cached x 32
	int t = threadIdx.x, lane = t % 32, part = blockIdx.x;
	const float4* all = (const float4*)(query + (uint64_t)part * dim * 32);
	for (int i = t; i < cached * 8; i += MAXSIM_THREADS) ((float4*)mem)[i] = all[i];
	SYNC();
	for (int doc = blockIdx.y * 4 + t / 32; doc < ndocs; doc += gridDim.y * 4) {
		uint64_t from = off[doc];
		int tokens = (int)(off[doc + 1] - from);
		float best[32];
#pragma unroll
		for (int j = 0; j < 32; j++) best[j] = MINUS_INF;
		for (int i = lane; i < tokens; i += 32) {
			const float4* row = (const float4*)(docs + (from + i) * dim);
			float dot[32];
#pragma unroll
			for (int j = 0; j < 32; j++) dot[j] = 0;
			dot_columns(dot, row, (const float4*)mem, 0, cached);
			dot_columns(dot, row, all, cached, dim);
#pragma unroll
			for (int j = 0; j < 32; j++) best[j] = max_num(best[j], dot[j]);
		}
		float sum = sum_lanes(0, warp_max(best, lane), rows[part]);
		if (lane == 0) out[(uint64_t)part * ndocs + doc] = tokens > 0 ? sum : MINUS_INF;
	}
}

// The half-precision kernels: 16 tokens x 8 query rows x 16 dimensions per tensor-core product, sums in float32 in the
// hardware's order (within dim * 2^-23 * sum |a b| of the exact sum of the given values). Products may take dimensions in
// any order, so a lane takes 8 neighbouring ones of its row, 16 bytes, as what two products want of it: of chunk c of 32
// dimensions those from c * 32 + lane % 4 * 8 on. A part is laid out in the same way: for every chunk and 8 rows, 16 bytes
// of every lane. dim is a multiple of 32 after the host's padding. A warp works on 32 tokens.

template <bool bf16>
DEVICE void mma_half(float d[4], const uint32_t a[4], const uint32_t b[2]) {
	if (bf16) mma_bf16(d, a, b);
	else mma_f16(d, a, b);
}

// half_chunks adds the products of chunks `from` to `to` of four rows per lane; columns are the lane's of the part.
template <bool bf16>
DEVICE void half_chunks(float d[2][4][4], const uint4* const row[4], const uint4* columns, int from, int to) {
	for (int c = from; c < to; c++) {
		uint4 a[4];
#pragma unroll
		for (int i = 0; i < 4; i++) a[i] = row[i][c * 4];
#pragma unroll
		for (int n = 0; n < 4; n++) {
			uint4 b = columns[c * 128 + n * 32];
			uint32_t b0[2] = {b.x, b.y}, b1[2] = {b.z, b.w};
#pragma unroll
			for (int u = 0; u < 2; u++) {
				const uint4 &lo = a[2 * u], &hi = a[2 * u + 1];
				uint32_t a0[4] = {lo.x, hi.x, lo.y, hi.y}, a1[4] = {lo.z, hi.z, lo.w, hi.w};
				mma_half<bf16>(d[u][n], a0, b0);
				mma_half<bf16>(d[u][n], a1, b1);
			}
		}
	}
}

template <bool bf16>
DEVICE void maxsim_half(uint32_t* mem, float* out, const uint16_t* query, const int* rows, int dim, int cached, const uint16_t* docs,
                        const uint64_t* off, int ndocs) {
	int t = threadIdx.x, lane = t % 32, g = lane / 4, tig = lane % 4, part = blockIdx.x;
	const uint4* all = (const uint4*)(query + (uint64_t)part * dim * 32);
	for (int i = t; i < cached * 4; i += MAXSIM_THREADS) ((uint4*)mem)[i] = all[i];
	SYNC();
	for (int doc = blockIdx.y * 4 + t / 32; doc < ndocs; doc += gridDim.y * 4) {
		uint64_t from = off[doc];
		int tokens = (int)(off[doc + 1] - from);
		float top[4][2];
		for (int n = 0; n < 4; n++) top[n][0] = top[n][1] = MINUS_INF;
		for (int at = 0; at < tokens; at += 32) {
			// Rows behind the end repeat the last one: a maximum does not mind.
			const uint4* row[4];
			for (int i = 0; i < 4; i++) row[i] = (const uint4*)(docs + (from + min_int(at + i * 8 + g, tokens - 1)) * dim) + tig;
			float d[2][4][4];
			for (int u = 0; u < 2; u++)
				for (int n = 0; n < 4; n++)
					for (int i = 0; i < 4; i++) d[u][n][i] = 0;
			half_chunks<bf16>(d, row, (const uint4*)mem + lane, 0, cached / 32);
			half_chunks<bf16>(d, row, all + lane, cached / 32, dim / 32);
			for (int u = 0; u < 2; u++)
				for (int n = 0; n < 4; n++) {
					top[n][0] = max_num(max_num(top[n][0], d[u][n][0]), d[u][n][2]);
					top[n][1] = max_num(max_num(top[n][1], d[u][n][1]), d[u][n][3]);
				}
		}
		float sum = sum_fragments(0, top, rows[part]);
		if (lane == 0) out[(uint64_t)part * ndocs + doc] = tokens > 0 ? sum : MINUS_INF;
	}
}

KERNEL(MAXSIM_THREADS)
maxsim_f16(float* out, const uint16_t* query, const int* rows, int dim, int cached, const uint16_t* docs, const uint64_t* off, int ndocs) {
	DYNAMIC_SHARED(mem); // cached / 32 chunks x 4 groups of 8 rows x 32 lanes x 16 bytes
	maxsim_half<false>(mem, out, query, rows, dim, cached, docs, off, ndocs);
}

KERNEL(MAXSIM_THREADS)
maxsim_bf16(float* out, const uint16_t* query, const int* rows, int dim, int cached, const uint16_t* docs, const uint64_t* off, int ndocs) {
	DYNAMIC_SHARED(mem);
	maxsim_half<true>(mem, out, query, rows, dim, cached, docs, off, ndocs);
}

// mma_rate makes n tensor-core products of float16 in each of 8 chains per warp and nothing else: what Device.Peaks measures.
KERNEL(MAXSIM_THREADS)
mma_rate(float* out, int n) {
	uint32_t one = 0x3c003c00u + threadIdx.x; // about 1
	uint32_t a[4] = {one, one + 1, one + 2, one + 3}, b[2] = {one + 4, one + 5};
	float d[8][4];
#pragma unroll
	for (int c = 0; c < 8; c++)
#pragma unroll
		for (int i = 0; i < 4; i++) d[c][i] = 0;
	for (int i = 0; i < n; i++) {
#pragma unroll
		for (int c = 0; c < 8; c++) mma_f16(d[c], a, b);
	}
	float sum = 0;
#pragma unroll
	for (int c = 0; c < 8; c++)
#pragma unroll
		for (int i = 0; i < 4; i++) sum += d[c][i];
	out[blockIdx.x * MAXSIM_THREADS + threadIdx.x] = sum;
}
