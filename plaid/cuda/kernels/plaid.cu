// The stages of PLAID (Santhanam et al., CIKM 2022) for a batch of queries over one codebook's documents. Queries have L
// lanes each, a multiple of 32; lanes from rows[b] on are padding. Documents are numbered through all segments.
#include "tile.cuh"

// ---- Stage 1: centroid scores.

// centroid_scores: scores[(b*K + c)*L + lane] of all centroids (K x dim) with all query rows (B*L x dim). Grid: tiles of
// centroids by tiles of query rows.
KERNEL(256)
centroid_scores(float* scores, const float* cents, int K, const float* query, int nrows, int L, int dim) {
	SHARED float as[GEMM_DEPTH][GEMM_TILE];
	SHARED float bs[GEMM_DEPTH][GEMM_TILE];
	float acc[4][4];
	int c0 = blockIdx.x * GEMM_TILE, r0 = blockIdx.y * GEMM_TILE;
	tile_product(acc, as, bs, cents + (uint64_t)c0 * dim, K - c0, query + (uint64_t)r0 * dim, nrows - r0, dim);
	int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) {
			int c = c0 + ty * 4 + i, r = r0 + tx * 4 + j;
			if (c < K && r < nrows) scores[((uint64_t)(r / L) * K + c) * L + r % L] = acc[i][j];
		}
}

// byte_scale fixes, per query, what the bytes of stage 3 stand for: byte 0 the mean score of a lane over an even sample of
// the centroids, 255 the largest that lengths allow (top), by the widest lane. Grid: queries; block: L threads.
KERNEL(1024)
byte_scale(float* floors, float* inv, const float* scores, const float* top, const int* rows, int K, int L, int sample) {
	SHARED float width[1024];
	int b = blockIdx.x, lane = threadIdx.x;
	float sum = 0;
#pragma unroll 16
	for (int i = 0; i < sample; i++) {
		int c = (int)((uint64_t)i * K / sample);
		sum = add_rn(sum, scores[((uint64_t)b * K + c) * L + lane]);
	}
	float mean = div_rn(sum, (float)sample);
	floors[b * L + lane] = mean;
	width[lane] = lane < rows[b] ? top[b * L + lane] - mean : 0;
	SYNC();
	if (lane == 0) {
		float w = 0;
		for (int i = 0; i < L; i++) w = max_num(w, width[i]);
		inv[b] = w > 0 ? div_rn(255.0f, w) : 0;
	}
}

// centroid_bytes fills the table of stage 3 and, for probing, the best score of every 64 centroids and lane:
// groups[(b*L + lane)*ngroups + g]. Grid: groups by queries; block: L threads.
KERNEL(1024)
centroid_bytes(uint8_t* table, float* groups, const float* scores, const float* floors, const float* inv, const int* rows, int K, int L, int ngroups) {
	int g = blockIdx.x, b = blockIdx.y, lane = threadIdx.x;
	float f = floors[b * L + lane], v = inv[b], best = MINUS_INF;
	int live = lane < rows[b];
#pragma unroll 8
	for (int c = g * 64; c < min_int(K, g * 64 + 64); c++) {
		uint64_t at = ((uint64_t)b * K + c) * L + lane;
		float s = scores[at];
		best = max_num(best, s);
		int q = live ? round_rn((s - f) * v) : 0;
		table[at] = (uint8_t)(q < 0 ? 0 : q > 255 ? 255 : q);
	}
	groups[((uint64_t)b * L + lane) * ngroups + g] = best;
}

// ---- Stage 2: candidates.

// block_best reduces (key, index) pairs of 256 threads: the largest key, the lowest index among equals.
DEVICE void block_best(uint32_t* key, uint32_t* index, uint32_t* keys, uint32_t* indices) {
	int t = threadIdx.x;
	uint32_t k = *key, i = *index;
	for (int m = 16; m > 0; m >>= 1) {
		uint32_t ok = shuffle_xor(k, m), oi = shuffle_xor(i, m);
		if (ok > k || (ok == k && oi < i)) k = ok, i = oi;
	}
	if (t % 32 == 0) keys[t / 32] = k, indices[t / 32] = i;
	SYNC();
	k = keys[0], i = indices[0];
	for (int w = 1; w < 8; w++)
		if (keys[w] > k || (keys[w] == k && indices[w] < i)) k = keys[w], i = indices[w];
	SYNC();
	*key = k, *index = i;
}

// probe_select: the nprobe best centroids of every query row, probes[(b*L + row)*nprobe + i]; NONE where there are no more.
// They lie in the nprobe best groups of 64. Grid: L by queries.
KERNEL(256)
probe_select(uint32_t* probes, const float* scores, float* groups, const int* rows, int K, int L, int ngroups, int nprobe) {
	SHARED uint32_t keys[8];
	SHARED uint32_t indices[8];
	DYNAMIC_SHARED(mem);
	uint32_t* picked = mem;               // nprobe groups
	uint32_t* taken = mem + nprobe;       // 2 * nprobe words: a bit per centroid of the picked groups
	int row = blockIdx.x, b = blockIdx.y, t = threadIdx.x;
	uint32_t* out = probes + ((uint64_t)b * L + row) * nprobe;
	if (row >= rows[b]) {
		for (int i = t; i < nprobe; i += 256) out[i] = NONE;
		return;
	}
	float* best = groups + ((uint64_t)b * L + row) * ngroups;
	int npicked = min_int(nprobe, ngroups);
	for (int i = 0; i < npicked; i++) {
		uint32_t key = 0, index = NONE;
		for (int g = t; g < ngroups; g += 256) {
			uint32_t k = order(best[g]);
			if (k > key) key = k, index = g;
		}
		block_best(&key, &index, keys, indices);
		if (t == 0) {
			picked[i] = index;
			if (index != NONE) best[index] = bits_float(0x7fc00000u); // NaN is never the largest
		}
		SYNC();
	}
	for (int i = t; i < 2 * nprobe; i += 256) taken[i] = 0;
	SYNC();
	for (int i = 0; i < nprobe; i++) {
		uint32_t key = 0, index = NONE, slot = NONE;
		for (int j = t; j < npicked * 64; j += 256) {
			uint32_t g = picked[j / 64], c = g * 64 + j % 64;
			if (g == NONE || c >= (uint32_t)K || (taken[j / 32] >> (j % 32) & 1)) continue;
			uint32_t k = order(scores[((uint64_t)b * K + c) * L + row]);
			if (k > key || (k == key && c < index)) key = k, index = c, slot = j;
		}
		uint32_t mine = index;
		block_best(&key, &index, keys, indices);
		if (mine == index && slot != NONE && index != NONE) taken[slot / 32] |= 1u << (slot % 32);
		if (t == 0) out[i] = index;
		SYNC();
	}
}

// mark_postings sets the bits of the documents of every probed centroid. Grid: L*nprobe by queries.
KERNEL(128)
mark_postings(uint32_t* bits, const uint32_t* probes, const uint64_t* off, const uint32_t* docs, int per, int nwords) {
	uint32_t c = probes[(uint64_t)blockIdx.y * per + blockIdx.x];
	if (c == NONE) return;
	uint32_t* set = bits + (uint64_t)blockIdx.y * nwords;
	for (uint64_t i = off[c] + threadIdx.x; i < off[c + 1]; i += 128) ATOMIC_OR(&set[docs[i] / 32], 1u << (docs[i] % 32));
}

// ---- Stage 3: centroid interaction.

// interact gives every candidate 1 + the sum over lanes of the largest byte of its distinct codes, all others 0. One
// warp per document: 8 lanes hold 32 bytes of a row, 4 codes go at a time. probed may be null: all are candidates.
KERNEL(128)
interact(uint32_t* approx, const uint32_t* probed, const uint32_t* allowed, const uint64_t* off, const uint32_t* codes, const uint8_t* table, int K, int L, int ndocs) {
	int b = blockIdx.y, lane = threadIdx.x % 32, nwords = (ndocs + 31) / 32;
	for (int doc = blockIdx.x * 4 + threadIdx.x / 32; doc < ndocs; doc += gridDim.x * 4) {
		uint32_t in = allowed[doc / 32];
		if (probed) in &= probed[(uint64_t)b * nwords + doc / 32];
		uint32_t sum = 0;
		int is = in >> (doc % 32) & 1 && off[doc + 1] > off[doc];
		if (is) {
			for (int part = 0; part < L; part += 32) {
				uint32_t acc = 0;
				for (uint64_t i = off[doc] + lane / 8; i < off[doc + 1]; i += 4) {
					const uint8_t* row = table + ((uint64_t)b * K + codes[i]) * L + part;
					acc = max_u8x4(acc, *(const uint32_t*)(row + lane % 8 * 4));
				}
				acc = max_u8x4(acc, shuffle_xor(acc, 8));
				acc = max_u8x4(acc, shuffle_xor(acc, 16));
				sum = sum_u8x4(acc, sum);
			}
			sum += shuffle_xor(sum, 1);
			sum += shuffle_xor(sum, 2);
			sum += shuffle_xor(sum, 4);
		}
		if (lane == 0) approx[(uint64_t)b * ndocs + doc] = is ? 1 + sum : 0;
	}
}

// ---- Selection.

#define SELECT_THREADS 512
#define SELECT_WARPS (SELECT_THREADS / 32)
#define SELECT_KEYS 8 // per thread at a time: loads that wait for memory together

// block_scan returns the sum of the counts of threads before this one, and that of all.
DEVICE uint32_t block_scan(uint32_t count, uint32_t* warps, uint32_t* total) {
	int t = threadIdx.x, lane = t % 32;
	uint32_t sum = count;
	for (int m = 1; m < 32; m <<= 1) {
		uint32_t v = shuffle_from(sum, lane >= m ? lane - m : lane);
		if (lane >= m) sum += v;
	}
	if (lane == 31) warps[t / 32] = sum;
	SYNC();
	uint32_t before = sum - count, all = 0;
	for (int w = 0; w < SELECT_WARPS; w++) {
		if (w < t / 32) before += warps[w];
		all += warps[w];
	}
	SYNC();
	*total = all;
	return before;
}

// select_best writes the positions of the want largest keys of each row of n, in ascending order of position; of equal
// ones the first come first; keys of 0 are never taken. picked has a row of want, the rest of it NONE. Grid: rows.
KERNEL(SELECT_THREADS)
select_best(uint32_t* picked, const uint32_t* keys, int n, int want) {
	SHARED uint32_t hist[2048];
	SHARED uint32_t warps[SELECT_WARPS];
	SHARED uint32_t state[2]; // digit, and how many are still wanted with it
	int t = threadIdx.x;
	const uint32_t* row = keys + (uint64_t)blockIdx.x * n;
	uint32_t* out = picked + (uint64_t)blockIdx.x * want;
	uint32_t prefix = 0, need = want, total = 0;
	int exhausted = 0;
	for (int shift = 21; shift >= 0 && !exhausted; shift -= shift == 21 ? 11 : 10) {
		// Digits of 11, 11 and 10 bits from the top: bits 31-21, 20-10, 9-0.
		int width = shift ? 11 : 10;
		uint32_t above = shift == 21 ? 0 : shift == 10 ? 0xffe00000u : 0xfffffc00u;
		for (int i = t; i < 2048; i += SELECT_THREADS) hist[i] = 0;
		SYNC();
		for (int i0 = t; i0 < n; i0 += SELECT_THREADS * SELECT_KEYS) {
			uint32_t k[SELECT_KEYS];
#pragma unroll
			for (int j = 0; j < SELECT_KEYS; j++) k[j] = i0 + j * SELECT_THREADS < n ? row[i0 + j * SELECT_THREADS] : 0;
#pragma unroll
			for (int j = 0; j < SELECT_KEYS; j++)
				if (k[j] && (k[j] & above) == prefix) ATOMIC_ADD(&hist[k[j] >> shift & ((1u << width) - 1)], 1u);
		}
		SYNC();
		// From the top: thread t has digits 2047 - 4t down to 2044 - 4t.
		uint32_t own = 0;
		for (int j = 0; j < 4; j++) own += hist[2047 - 4 * t - j];
		uint32_t before = block_scan(own, warps, &total);
		if (before < need && before + own >= need) {
			uint32_t left = need - before;
			int d = 2047 - 4 * t;
			while (hist[d] < left) left -= hist[d--];
			state[0] = d, state[1] = left;
		}
		SYNC();
		if (total < need) exhausted = 1; // fewer keys than wanted, in the first round: all are taken
		else prefix |= state[0] << shift, need = state[1];
		SYNC();
	}
	uint32_t limit = exhausted ? 0 : prefix; // above it all are taken, of those equal to it need
	uint32_t at = 0, ties = 0;
	for (int i0 = 0; i0 < n; i0 += SELECT_THREADS * SELECT_KEYS) {
		int first = i0 + t * SELECT_KEYS;
		uint32_t k[SELECT_KEYS], equal = 0, count = 0;
#pragma unroll
		for (int j = 0; j < SELECT_KEYS; j++) {
			k[j] = first + j < n ? row[first + j] : 0;
			equal += !exhausted && k[j] == limit;
		}
		uint32_t rank = ties + block_scan(equal, warps, &total);
		ties += total;
#pragma unroll
		for (int j = 0; j < SELECT_KEYS; j++) {
			int take = k[j] > limit;
			if (!exhausted && k[j] == limit) take = rank++ < need;
			if (!take) k[j] = 0;
			count += take;
		}
		uint32_t place = at + block_scan(count, warps, &total);
		at += total;
#pragma unroll
		for (int j = 0; j < SELECT_KEYS; j++)
			if (k[j]) out[place++] = first + j;
	}
	for (uint32_t i = at + t; i < (uint32_t)want; i += SELECT_THREADS) out[i] = NONE;
}

// gather_docs turns positions in a list of documents into documents. Grid: rows.
KERNEL(128)
gather_docs(uint32_t* docs, const uint32_t* picked, const uint32_t* from, int want, int n) {
	for (int i = threadIdx.x; i < want; i += 128) {
		uint32_t p = picked[(uint64_t)blockIdx.x * want + i];
		docs[(uint64_t)blockIdx.x * want + i] = p == NONE ? NONE : from[(uint64_t)blockIdx.x * n + p];
	}
}

// ---- Stage 4: scores. A block takes four documents of one query, a warp each; queries come in parts of 32 rows, whose
// first `cached` columns are copied to shared memory, as in maxsim.cu.

// fields8 fetches the levels (int8) of eight neighbouring dimensions of a packed row. lut maps a byte to the levels of its
// fields, first one lowest; with one bit per dimension it maps a nibble. row is aligned to the nbits bytes that are read.
DEVICE void fields8(uint32_t out[2], const uint8_t* row, int nbits, const uint32_t* lut) {
	switch (nbits) {
	case 1: {
		uint32_t v = row[0];
		out[0] = lut[v >> 4], out[1] = lut[v & 15];
		break;
	}
	case 2: {
		uint32_t v = *(const uint16_t*)row;
		out[0] = lut[v & 255], out[1] = lut[v >> 8];
		break;
	}
	case 4: {
		uint32_t v = *(const uint32_t*)row;
		out[0] = lut[v & 255] | lut[v >> 8 & 255] << 16;
		out[1] = lut[v >> 16 & 255] | lut[v >> 24] << 16;
		break;
	}
	default:
		for (int i = 0; i < 2; i++) {
			uint32_t v = ((const uint32_t*)row)[i];
			out[i] = lut[v & 255] | lut[v >> 8 & 255] << 8 | lut[v >> 16 & 255] << 16 | lut[v >> 24] << 24;
		}
	}
}

// int8_chunks adds the products of chunks `from` to `to` of two packed rows per lane; columns are the lane's of the part.
DEVICE void int8_chunks(int32_t d[4][4], const uint8_t* lo, const uint8_t* hi, const uint2* columns, int from, int to, int dim, int nbits, const uint32_t* lut) {
#pragma unroll 1
	for (int s = from; s < to; s++) {
		uint32_t l[2] = {0, 0}, h[2] = {0, 0};
		int k = s * 4 + threadIdx.x % 4; // in eights
		if (k * 8 < dim) fields8(l, lo + k * nbits, nbits, lut), fields8(h, hi + k * nbits, nbits, lut);
		uint32_t a[4] = {l[0], h[0], l[1], h[1]};
#pragma unroll
		for (int n = 0; n < 4; n++) {
			uint2 v = columns[s * 128 + n * 32];
			uint32_t b[2] = {v.x, v.y};
			mma_s8(d[n], a, b);
		}
	}
}

// score_compressed scores documents from packed residuals with int8 tensor-core products, exact integers, and the same
// unfused steps after them as the CPU's: (dot * qscale + score / scale) * (inv * scale). keys gets order(score), 0 for no
// document. A warp takes 16 tokens at a time, a lane 8 neighbouring dimensions of chunks of 32, and query is laid out in the
// same way: for every part, chunk and 8 rows, 8 bytes of every lane. Residual rows of slot i of query b begin at
// slots[b*want + i] when slots is given (rows moved from the host), otherwise at the document's first token. Grid: want/4 by
// queries.
KERNEL(128)
score_compressed(uint32_t* keys, const uint32_t* docs, int want, const uint64_t* off, const uint32_t* codes, const uint8_t* residuals,
                 const uint64_t* slots, const float* invnorms, const float* scales, const float* scores, const uint32_t* levels,
                 const uint2* query, const float* qscale, const int* rows, int K, int L, int dim, int cached, int nbits, int rowbytes) {
	SHARED uint32_t lut[256];
	DYNAMIC_SHARED(mem); // cached / 32 chunks x 4 groups x 32 lanes x 8 bytes
	int b = blockIdx.y, t = threadIdx.x, lane = t % 32, g = lane / 4, tig = lane % 4;
	int slot = blockIdx.x * 4 + t / 32, steps = (dim + 31) / 32;
	uint64_t at = (uint64_t)b * want + slot;
	uint32_t doc = slot < want ? docs[at] : NONE;
	uint64_t from = 0, rfrom = 0;
	int tokens = 0;
	if (doc != NONE) {
		from = off[doc], rfrom = slots ? slots[at] : from;
		tokens = (int)(off[doc + 1] - from);
	}
	for (int i = t; i < 256; i += 128) lut[i] = levels[i];
	float sum = 0;
	for (int part = 0; part < rows[b]; part += 32) {
		const uint2* all = query + ((uint64_t)b * L + part) * steps * 4;
		SYNC();
		for (int i = t; i < cached * 4; i += 128) ((uint2*)mem)[i] = all[i];
		SYNC();
		float top[4][2];
		for (int n = 0; n < 4; n++) top[n][0] = top[n][1] = MINUS_INF;
		for (int t0 = 0; t0 < tokens; t0 += 16) {
			int lo = min_int(t0 + g, tokens - 1), hi = min_int(t0 + g + 8, tokens - 1);
			const uint8_t* rlo = residuals + (rfrom + lo) * rowbytes;
			const uint8_t* rhi = residuals + (rfrom + hi) * rowbytes;
			int32_t d[4][4];
			for (int n = 0; n < 4; n++)
				for (int i = 0; i < 4; i++) d[n][i] = 0;
			int8_chunks(d, rlo, rhi, (const uint2*)mem + lane, 0, cached / 32, dim, nbits, lut);
			int8_chunks(d, rlo, rhi, all + lane, cached / 32, steps, dim, nbits, lut);
			for (int h = 0; h < 2; h++) {
				uint64_t tok = from + (h ? hi : lo);
				uint32_t c = codes[tok];
				float scale = scales ? scales[c] : 1.0f, f = div_rn(1.0f, scale), norm = mul_rn(invnorms[tok], scale);
				const float* base = scores + ((uint64_t)b * K + c) * L + part;
				for (int n = 0; n < 4; n++)
					for (int i = 0; i < 2; i++) {
						int j = n * 8 + tig * 2 + i;
						// Lanes behind the query have scores, too, which sum_fragments does not add.
						float v = mul_rn((float)d[n][2 * h + i], qscale[b * L + part + j]);
						v = mul_rn(add_rn(v, mul_rn(base[j], f)), norm);
						top[n][i] = max_num(top[n][i], v);
					}
			}
		}
		if (tokens > 0) sum = sum_fragments(sum, top, rows[b] - part);
	}
	if (lane == 0 && slot < want) {
		uint32_t k = tokens > 0 ? order(sum) : 0;
		keys[at] = tokens > 0 && k == 0 ? 1 : k; // a document with NaN for a score is still there, as the last
	}
}

// level is one dimension of a packed row.
DEVICE float level(const uint8_t* row, int d, int nbits, const float* fields) {
	int per = 8 / nbits;
	return fields[row[d / per] * per + d % per];
}

// decode_columns adds the products of decoded dimensions `from` to `to` with 32 query rows, given column by column.
DEVICE void decode_columns(float dot[32], const float4* columns, int from, int to, const uint8_t* row, const float* cent, float scale, float unit,
                           int nbits, const float* fields) {
	for (int d = from; d < to; d++) {
		float v;
		if (nbits < 16) v = mul_rn(add_rn(cent[d], mul_rn(scale, level(row, d, nbits, fields))), unit);
		else v = mul_rn(half_float(((const uint16_t*)row)[d]), unit);
		add_columns(dot, columns + d * 8, v);
	}
}

// score_decoded decodes documents to float32, scales them to unit length and scores them exactly: what the CPU's last pass
// does, up to the order in which the squares of a vector are added (a relative 1e-6 of a score). A thread takes whole
// tokens. fields holds 2^8 x (8/nbits) levels; with 16 bits rows are float16 and stay as they are. query holds the parts
// column by column, dim x 32. Grid: want/4 by queries.
KERNEL(128)
score_decoded(float* out, const uint32_t* docs, int want, const uint64_t* off, const uint32_t* codes, const uint8_t* residuals,
              const uint64_t* slots, const float* invnorms, const float* scales, const float* cents, const float* fields,
              const float* query, const int* rows, int L, int dim, int cached, int nbits, int rowbytes) {
	DYNAMIC_SHARED(mem); // cached x 32
	int b = blockIdx.y, t = threadIdx.x, lane = t % 32, slot = blockIdx.x * 4 + t / 32;
	uint64_t at = (uint64_t)b * want + slot;
	uint32_t doc = slot < want ? docs[at] : NONE;
	uint64_t from = 0, rfrom = 0;
	int tokens = 0;
	if (doc != NONE) {
		from = off[doc], rfrom = slots ? slots[at] : from;
		tokens = (int)(off[doc + 1] - from);
	}
	float sum = 0;
	for (int part = 0; part < rows[b]; part += 32) {
		const float* all = query + ((uint64_t)b * L + part) * dim;
		SYNC();
		for (int i = t; i < cached * 8; i += 128) ((float4*)mem)[i] = ((const float4*)all)[i];
		SYNC();
		float best[32];
#pragma unroll
		for (int j = 0; j < 32; j++) best[j] = MINUS_INF;
		for (int i = lane; i < tokens; i += 32) {
			const uint8_t* row = residuals + (rfrom + i) * rowbytes;
			uint32_t c = codes[from + i];
			const float* cent = cents + (uint64_t)c * dim;
			float scale = scales ? scales[c] : 1.0f, unit = 1;
			if (nbits < 16) {
				float sq = 0;
				for (int d = 0; d < dim; d++) {
					float v = add_rn(cent[d], mul_rn(scale, level(row, d, nbits, fields)));
					sq = fma_rn(v, v, sq);
				}
				// As the CPU: what has practically no length is a vector of zeros.
				unit = sq > 1e-24f ? div_rn(1.0f, sqrt_rn(sq)) : 0;
			}
			if (invnorms[from + i] == 0) unit = 0;
			float dot[32];
#pragma unroll
			for (int j = 0; j < 32; j++) dot[j] = 0;
			decode_columns(dot, (const float4*)mem, 0, cached, row, cent, scale, unit, nbits, fields);
			decode_columns(dot, (const float4*)all, cached, dim, row, cent, scale, unit, nbits, fields);
#pragma unroll
			for (int j = 0; j < 32; j++) best[j] = max_num(best[j], dot[j]);
		}
		if (tokens > 0) sum = sum_lanes(sum, warp_max(best, lane), rows[b] - part);
	}
	if (lane == 0 && slot < want) out[at] = tokens > 0 ? sum : MINUS_INF;
}

// copy_words copies n words. Grid: n / 128.
KERNEL(128)
copy_words(uint32_t* to, const uint32_t* from, int n) {
	int i = blockIdx.x * 128 + threadIdx.x;
	if (i < n) to[i] = from[i];
}
