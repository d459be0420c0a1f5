// Building an index: k-means, and coding vectors as package quant does it. All of it is in the CPU's bits, where those are of
// vector kernels that fuse (see common.cuh) and of Go code that does not: amd64.
#include "tile.cuh"

// assign finds, for each of n vectors, the centroid with the largest inner product, the lowest number among equals:
// k-means assignment and the codes of an index, in the CPU's bits. Grid: tiles of 64 vectors.
KERNEL(256)
assign(uint32_t* codes, float* scores, const float* x, int n, const float* cents, int K, int dim) {
	SHARED float as[GEMM_DEPTH][GEMM_TILE];
	SHARED float bs[GEMM_DEPTH][GEMM_TILE];
	int r0 = blockIdx.x * GEMM_TILE, ty = threadIdx.x / 16, tx = threadIdx.x % 16;
	float best[4];
	uint32_t arg[4];
	for (int i = 0; i < 4; i++) best[i] = MINUS_INF, arg[i] = NONE;
	for (int c0 = 0; c0 < K; c0 += GEMM_TILE) {
		float acc[4][4];
		tile_product(acc, as, bs, x + (uint64_t)r0 * dim, n - r0, cents + (uint64_t)c0 * dim, K - c0, dim);
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < 4; j++) {
				uint32_t c = c0 + tx * 4 + j;
				if (c < (uint32_t)K && acc[i][j] > best[i]) best[i] = acc[i][j], arg[i] = c;
			}
	}
	for (int i = 0; i < 4; i++) {
		// The 16 threads of a row are neighbours in one warp.
		for (int m = 8; m > 0; m >>= 1) {
			float v = shuffle_xor(best[i], m);
			uint32_t a = shuffle_xor(arg[i], m);
			if (v > best[i] || (v == best[i] && a < arg[i])) best[i] = v, arg[i] = a;
		}
		int r = r0 + ty * 4 + i;
		if (tx == 0 && r < n) {
			codes[r] = arg[i] == NONE ? 0 : arg[i];
			if (scores) scores[r] = best[i];
		}
	}
}

// centroid_sums adds the vectors of every cluster to its row of sums, in ascending order: those of cluster c are
// order[start[c]] to order[start[c+1]-1] of x. Grid: clusters.
KERNEL(128)
centroid_sums(float* sums, const uint32_t* order, const uint32_t* start, const float* x, int dim) {
	int c = blockIdx.x;
	for (int d = threadIdx.x; d < dim; d += 128) {
		float sum = sums[(uint64_t)c * dim + d];
		for (uint32_t i = start[c]; i < start[c + 1]; i++) sum = add_rn(sum, x[(uint64_t)order[i] * dim + d]);
		sums[(uint64_t)c * dim + d] = sum;
	}
}

// rotate moves vectors into codec space: per round random signs, a permutation, and orthonormal Hadamard transforms of the
// blocks that the binary digits of dim give, largest first. A warp per vector, 2 x dim floats of shared memory each. Grid:
// n / warps.
KERNEL(128)
rotate(float* out, const float* in, int n, int dim, const int* perm, const float* sign, int rounds, int warps) {
	DYNAMIC_SHARED(mem);
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, v = blockIdx.x * warps + warp;
	if (v >= n) return;
	float* x = (float*)mem + warp * 2 * dim;
	float* y = x + dim;
	for (int i = lane; i < dim; i += 32) x[i] = in[(uint64_t)v * dim + i];
	WARP_SYNC();
	for (int r = 0; r < rounds; r++) {
		for (int i = lane; i < dim; i += 32) {
			int p = perm[r * dim + i];
			y[i] = mul_rn(x[p], sign[r * dim + p]);
		}
		WARP_SYNC();
		for (int off = 0; off < dim;) {
			int size = 1;
			while (size * 2 <= dim - off) size *= 2;
			for (int h = 1; h < size; h *= 2) {
				for (int i = lane; i < size / 2; i += 32) {
					float* at = y + off + i / h * 2 * h + i % h;
					float a = at[0], b = at[h];
					at[0] = add_rn(a, b), at[h] = add_rn(a, -b);
				}
				WARP_SYNC();
			}
			float scale = round_double(div_double(1, sqrt_double(size)));
			for (int i = lane; i < size; i += 32) y[off + i] = mul_rn(y[off + i], scale);
			off += size;
		}
		WARP_SYNC();
		float* z = x;
		x = y, y = z;
	}
	for (int i = lane; i < dim; i += 32) out[(uint64_t)v * dim + i] = x[i];
}

// bucket is how many of n ascending cutoffs are below v.
DEVICE int bucket(float v, const float* cuts, int n) {
	int lo = 0;
	while (lo < n) {
		int m = (lo + n) / 2;
		if (cuts[m] < v) lo = m + 1;
		else n = m;
	}
	return lo;
}

// squares adds the squares of a vector in ascending order, in double precision, where a product of two floats is exact.
DEVICE double squares(const float* x, int dim) {
	double sum = 0;
	for (int d = 0; d < dim; d++) sum += (double)x[d] * (double)x[d];
	return sum;
}

// encode codes residuals, a warp per vector: the levels of the stretched residual; then, when the codebook has directions,
// passes of coordinate descent on e'Qe (quant/focus.go), Q given as rows and as columns; and at the end the packed
// bytes and the inverse norm of the sum. Shared memory per warp: 3 x dim floats and dim bytes. Grid: n / warps.
KERNEL(128)
encode(uint8_t* residuals, float* invnorms, const float* in, const uint32_t* codes, const float* scores, int n, const float* cents,
       const float* scales, const float* inverses, const float* cutoffs, const float* weights, const float* qrows, const float* qcols,
       const float* step, int passes, int dim, int nbits, int rowbytes, int warps) {
	SHARED float cuts[256];
	SHARED float levels[256];
	DYNAMIC_SHARED(mem);
	int t = threadIdx.x, warp = t / 32, lane = t % 32, v = blockIdx.x * warps + warp, ncuts = (1 << nbits) - 1;
	for (int i = t; i < ncuts; i += warps * 32) cuts[i] = cutoffs[i];
	for (int i = t; i <= ncuts; i += warps * 32) levels[i] = weights[i];
	SYNC();
	if (v >= n) return;
	int words = (dim + 3) / 4;
	float* x = (float*)(mem + warp * (3 * dim + words));
	float *e = x + dim, *grad = e + dim;
	uint8_t* idx = (uint8_t*)(grad + dim);
	uint32_t c = codes[v];
	const float* cent = cents + (uint64_t)c * dim;
	float scale = 1, inverse = 1, g = 1;
	if (scales) {
		scale = scales[c], inverse = inverses[c];
		g = div_rn(1, scores[v] > 0.5f ? scores[v] : 0.5f);
	}
	for (int d = lane; d < dim; d += 32) {
		x[d] = in[(uint64_t)v * dim + d];
		idx[d] = (uint8_t)bucket(mul_rn(add_rn(mul_rn(g, x[d]), -cent[d]), inverse), cuts, ncuts);
	}
	for (int pass = 0; pass < passes; pass++) {
		for (int d = lane; d < dim; d += 32) e[d] = add_rn(cent[d], mul_rn(scale, levels[idx[d]]));
		WARP_SYNC();
		float norm = round_double(sqrt_double(squares(e, dim)));
		WARP_SYNC();
		for (int d = lane; d < dim; d += 32) e[d] = add_rn(mul_rn(norm, x[d]), -e[d]);
		WARP_SYNC();
		for (int d = lane; d < dim; d += 32) {
			float sum = 0;
			for (int k = 0; k < dim; k++) sum = fma_rn(e[k], qcols[(uint64_t)k * dim + d], sum);
			grad[d] = sum;
		}
		for (int i = 0; i < dim; i++) {
			// Only lane i % 32 sees and changes grad[i] and idx[i].
			float gradient = lane == i % 32 ? grad[i] : 0;
			uint32_t old = lane == i % 32 ? idx[i] : 0;
			gradient = shuffle_from(gradient, i % 32), old = shuffle_from(old, i % 32);
			float rest = add_rn(mul_rn(norm, x[i]), -cent[i]);
			float want = mul_rn(add_rn(add_rn(rest, -e[i]), mul_rn(gradient, step[i])), inverse);
			uint32_t b = 0;
			for (int j = 0; j < ncuts; j += 32) b += popcount(warp_ballot(j + lane < ncuts && cuts[j + lane < ncuts ? j + lane : 0] < want));
			if (b == old) continue;
			if (lane == i % 32) idx[i] = (uint8_t)b;
			float move = add_rn(add_rn(rest, -mul_rn(scale, levels[b])), -e[i]);
			for (int d = lane; d < dim; d += 32) grad[d] = add_rn(grad[d], mul_rn(move, qrows[(uint64_t)i * dim + d]));
		}
		WARP_SYNC();
	}
	for (int d = lane; d < dim; d += 32) e[d] = add_rn(cent[d], mul_rn(scale, levels[idx[d]]));
	WARP_SYNC();
	if (lane == 0) {
		double sum = squares(e, dim);
		invnorms[v] = sum > 1e-24 ? round_double(div_double(1, sqrt_double(sum))) : 0;
	}
	int per = 8 / nbits;
	for (int i = lane; i < rowbytes; i += 32) {
		uint32_t byte = 0;
		// A number's lowest bit lies at the top of its field, and the first field at the top of the byte.
		for (int j = 0; j < per && i * per + j < dim; j++) byte |= reverse_bits(idx[i * per + j]) >> (24 + j * nbits);
		residuals[(uint64_t)v * rowbytes + i] = (uint8_t)byte;
	}
}

// encode_half rounds vectors to float16. Grid: values / 128.
KERNEL(128)
encode_half(uint16_t* rows, const float* x, int n) {
	int i = blockIdx.x * 128 + threadIdx.x;
	if (i < n) rows[i] = float_half(x[i]);
}
