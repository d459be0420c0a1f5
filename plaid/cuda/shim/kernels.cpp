// The kernels, compiled for the host, and the table of them.
#define GOLBERT_SHIM
#include "../kernels/maxsim.cu"
#include "../kernels/plaid.cu"
#include "../kernels/build.cu"

#include "driver.h"
#include "faulty.h"

#include <utility>

// Arguments come from the host: they are none of what the checks look at.
#define UNCHECKED __attribute__((no_sanitize("thread")))

namespace {

template <class... A, size_t... I>
UNCHECKED void call(void (*f)(A...), void** p, std::index_sequence<I...>) { f(*(A*)p[I]...); }
template <class... A>
UNCHECKED void call(void (*f)(A...), void** p) { call(f, p, std::index_sequence_for<A...>{}); }
template <auto F>
UNCHECKED void thunk(void** p) { call(F, p); }

} // namespace

#define ENTRY(name, threads) {#name, thunk<name>, threads, 0}
kernel kernels[] = {
	ENTRY(maxsim_f32, 128), ENTRY(maxsim_f16, 128), ENTRY(maxsim_bf16, 128), ENTRY(mma_rate, 128),
	ENTRY(centroid_scores, 256), ENTRY(byte_scale, 1024), ENTRY(centroid_bytes, 1024), ENTRY(probe_select, 256),
	ENTRY(mark_postings, 128), ENTRY(interact, 128), ENTRY(select_best, 512), ENTRY(gather_docs, 128),
	ENTRY(score_compressed, 128), ENTRY(score_decoded, 128), ENTRY(copy_words, 128),
	ENTRY(assign, 256), ENTRY(centroid_sums, 128), ENTRY(rotate, 128), ENTRY(encode, 128), ENTRY(encode_half, 128),
	ENTRY(faulty_race, 64), ENTRY(faulty_warps, 64), ENTRY(faulty_shuffle, 64), ENTRY(faulty_blocks, 64), ENTRY(faulty_bounds, 64),
	ENTRY(faulty_shared, 64), ENTRY(faulty_alignment, 64), ENTRY(faulty_unwritten, 64), ENTRY(faultless, 64),
	{nullptr, nullptr, 0, 0},
};

UNCHECKED void shim_mma_body(void** p) {
	int kind = *(int*)p[0], lane = threadIdx.x;
	auto a = *(const uint32_t**)p[1] + lane * 4, b = *(const uint32_t**)p[2] + lane * 2;
	auto d = *(uint32_t**)p[3] + lane * 4;
	switch (kind) {
	case 0: return mma_s8((int32_t*)d, a, b);
	case 1: return mma_f16((float*)d, a, b);
	case 2: return mma_bf16((float*)d, a, b);
	}
}
