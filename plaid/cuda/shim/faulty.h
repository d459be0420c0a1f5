// Kernels with the faults that check.h looks for, so that a test can see it find them.

KERNEL(64) faulty_race(uint32_t* out) { // without a barrier
	SHARED uint32_t word[64];
	word[threadIdx.x] = threadIdx.x;
	out[threadIdx.x] = word[63 - threadIdx.x];
}
KERNEL(64) faulty_warps(uint32_t* out) { // a warp's barrier orders nothing between warps
	SHARED uint32_t word[64];
	word[threadIdx.x] = threadIdx.x;
	WARP_SYNC();
	out[threadIdx.x] = word[63 - threadIdx.x];
}
KERNEL(64) faulty_shuffle(uint32_t* out) { // nor does a shuffle within one
	SHARED uint32_t word[64];
	word[threadIdx.x] = threadIdx.x;
	out[threadIdx.x] = word[threadIdx.x ^ 1] + shuffle_xor(threadIdx.x, 1);
}
KERNEL(64) faulty_blocks(uint32_t* out) { out[threadIdx.x] = blockIdx.x; }
KERNEL(64) faulty_bounds(uint32_t* out) { out[threadIdx.x] = 0; } // of 63 words
KERNEL(64) faulty_shared(uint32_t* out) {
	DYNAMIC_SHARED(mem);
	mem[threadIdx.x + 1] = out ? 1 : 0;
}
KERNEL(64) faulty_alignment(uint32_t* out) { ((uint64_t*)(out + 1))[threadIdx.x] = threadIdx.x; }
KERNEL(64) faulty_unwritten(uint32_t* out) {
	SHARED uint32_t word[64];
	if (threadIdx.x < 32) word[threadIdx.x] = 1;
	SYNC();
	out[threadIdx.x] = word[threadIdx.x];
}
KERNEL(64) faultless(uint32_t* out) {
	SHARED uint32_t word[64];
	word[threadIdx.x] = threadIdx.x;
	SYNC();
	uint32_t v = word[63 - threadIdx.x];
	SYNC();
	word[threadIdx.x] = v;
	WARP_SYNC();
	out[threadIdx.x] = word[threadIdx.x ^ 1];
	SYNC();
	ATOMIC_ADD(&word[0], 1u);
}
