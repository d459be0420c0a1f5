// What every kernel here builds on. Compiled by NVRTC for compute_80, without any of CUDA's headers, and by a C++
// compiler with ../shim/cuda.h in front, which runs the same source on the host.
//
// Numerics: sums that the CPU path makes as a chain of fused multiply-adds in ascending order are made the same way
// here (fma_chain), integer products are exact, and where the CPU rounds after every step so does mul_rn and add_rn.
// What differs is stated at the kernel.

#pragma once
#ifdef GOLBERT_SHIM
#include "cuda.h"
#else
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__
#define SYNC() __syncthreads()
#define WARP_SYNC() __syncwarp()
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) uint32_t name[]

DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
DEVICE float div_rn(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float sqrt_rn(float a) { return __fsqrt_rn(a); }
DEVICE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE int round_rn(float a) { return __float2int_rn(a); }
DEVICE uint32_t float_bits(float f) { return __float_as_uint(f); }
DEVICE float bits_float(uint32_t u) { return __uint_as_float(u); }

DEVICE float half_float(uint16_t h) {
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

// float_half rounds to nearest even.
DEVICE uint16_t float_half(float f) {
	uint16_t h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

// max_u8x4 is the maximum of four bytes each.
DEVICE uint32_t max_u8x4(uint32_t a, uint32_t b) { return __vmaxu4(a, b); }
// sum_u8x4 adds the four bytes of a to c.
DEVICE uint32_t sum_u8x4(uint32_t a, uint32_t c) { return __dp4a(a, 0x01010101u, c); }

#define ATOMIC_OR(p, v) atomicOr(p, v)
#define ATOMIC_ADD(p, v) atomicAdd(p, v)
DEVICE uint32_t warp_ballot(int flag) { return __ballot_sync(0xffffffffu, flag); }
DEVICE int popcount(uint32_t v) { return __popc(v); }
DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE uint32_t shuffle_xor(uint32_t v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE float shuffle_from(float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE uint32_t shuffle_from(uint32_t v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE uint32_t reverse_bits(uint32_t v) { return __brev(v); }
DEVICE double sqrt_double(double a) { return __dsqrt_rn(a); }
DEVICE double div_double(double a, double b) { return __ddiv_rn(a, b); }
DEVICE float round_double(double a) { return __double2float_rn(a); }

// The products of a warp: D (16 x 8) += A (16 x k) * B (k x 8), in the layouts of the PTX ISA, "mma.m16n8k16" and
// "mma.m16n8k32".
DEVICE void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_s8(int32_t d[4], const uint32_t a[4], const uint32_t b[2]) {
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

#define NONE 0xffffffffu
#define MINUS_INF bits_float(0xff800000u)

// order maps a float to an unsigned number of the same order; NaN, which never wins, to 0.
DEVICE uint32_t order(float f) {
	uint32_t u = float_bits(f);
	if (f != f) return 0;
	return u & 0x80000000u ? ~u : u | 0x80000000u;
}

DEVICE float unorder(uint32_t u) { return bits_float(u & 0x80000000u ? u & 0x7fffffffu : ~u); }

DEVICE int min_int(int a, int b) { return a < b ? a : b; }
DEVICE float max_num(float a, float b) { return b > a ? b : a; } // a NaN b never wins

// warp_max reduces 32 values per lane over the lanes of a warp: lane j gets the largest v[j] of all. Each step sends
// half of what is left, so that it takes 31 exchanges and not 160. v is overwritten.
template <int m>
DEVICE void warp_max_step(float v[32], int lane) {
#pragma unroll
	for (int j = 0; j < m; j++) {
		float send = lane & m ? v[j] : v[j + m], keep = lane & m ? v[j + m] : v[j];
		v[j] = max_num(keep, shuffle_xor(send, m));
	}
}

DEVICE float warp_max(float v[32], int lane) {
	warp_max_step<16>(v, lane);
	warp_max_step<8>(v, lane);
	warp_max_step<4>(v, lane);
	warp_max_step<2>(v, lane);
	warp_max_step<1>(v, lane);
	return v[0];
}

// sum_lanes adds the first of 32 values, value j in lane j, to a sum in ascending order of j; every lane gets it.
DEVICE float sum_lanes(float sum, float v, int rows) {
	for (int j = 0; j < 32; j++) {
		float x = shuffle_from(v, j);
		if (j < rows) sum = add_rn(sum, x);
	}
	return sum;
}

// sum_fragments does the same with the maxima of columns of tensor-core results: top[n][i] of the lanes with the same
// lane % 4 are maxima over some rows of column n * 8 + lane % 4 * 2 + i.
DEVICE float sum_fragments(float sum, float top[4][2], int rows) {
#pragma unroll
	for (int n = 0; n < 4; n++)
#pragma unroll
		for (int i = 0; i < 2; i++)
			for (int m = 4; m < 32; m <<= 1) top[n][i] = max_num(top[n][i], shuffle_xor(top[n][i], m));
#pragma unroll
	for (int j = 0; j < 32; j++) {
		float x = shuffle_from(top[j / 8][j % 2], j % 8 / 2);
		if (j < rows) sum = add_rn(sum, x);
	}
	return sum;
}

// add_columns adds x times 32 values to 32 sums, fused.
DEVICE void add_columns(float dot[32], const float4* col, float x) {
#pragma unroll
	for (int j = 0; j < 8; j++) {
		float4 c = col[j];
		dot[4 * j] = fma_rn(x, c.x, dot[4 * j]);
		dot[4 * j + 1] = fma_rn(x, c.y, dot[4 * j + 1]);
		dot[4 * j + 2] = fma_rn(x, c.z, dot[4 * j + 2]);
		dot[4 * j + 3] = fma_rn(x, c.w, dot[4 * j + 3]);
	}
}
