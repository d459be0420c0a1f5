// A tile of a matrix product, which centroid scores and assignment have in common.
#pragma once
#include "common.cuh"

#define GEMM_TILE 64
#define GEMM_DEPTH 16

// tile_product is a 64 x 64 tile of A * B^T by 256 threads, 4 x 4 products each, every one a chain of fused
// multiply-adds in ascending order of the dimension. Rows behind the ends count as zeros.
DEVICE void tile_product(float acc[4][4], float (*as)[GEMM_TILE], float (*bs)[GEMM_TILE], const float* a, int arows, const float* b, int brows, int dim) {
	int t = threadIdx.x, ty = t / 16, tx = t % 16;
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) acc[i][j] = 0;
	for (int d0 = 0; d0 < dim; d0 += GEMM_DEPTH) {
		for (int i = t; i < GEMM_TILE * GEMM_DEPTH; i += 256) {
			int r = i / GEMM_DEPTH, d = i % GEMM_DEPTH;
			as[d][r] = r < arows && d0 + d < dim ? a[(uint64_t)r * dim + d0 + d] : 0;
			bs[d][r] = r < brows && d0 + d < dim ? b[(uint64_t)r * dim + d0 + d] : 0;
		}
		SYNC();
		int depth = min_int(GEMM_DEPTH, dim - d0);
#pragma unroll 4
		for (int d = 0; d < depth; d++)
#pragma unroll
			for (int i = 0; i < 4; i++)
#pragma unroll
				for (int j = 0; j < 4; j++) acc[i][j] = fma_rn(as[d][ty * 4 + i], bs[d][tx * 4 + j], acc[i][j]);
		SYNC();
	}
}
