// A host's stand-in for what the kernels use of CUDA: each thread of a block is a fiber, barriers and warp operations
// switch between them, and tensor-core products follow the layouts of the PTX ISA word for word. It is for testing
// the kernels' logic where there is no device; it says nothing about speed or about the hardware.
#pragma once
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

struct dim3_t {
	unsigned x, y, z;
};
extern dim3_t threadIdx, blockIdx, gridDim;

void shim_sync();      // of the block
void shim_warp_sync(); // of the warp, for exchanges of registers: it orders no memory
void shim_syncwarp();  // __syncwarp
uint32_t* shim_warp_words(); // 32 x 8 words that the lanes of a warp share, others after the next shim_warp_sync
uint32_t* shim_dynamic_shared();

#define KERNEL(threads) extern "C" void
#define DEVICE static inline
#ifdef __ELF__
#define SHARED static __attribute__((section("shim_shared"))) // so that the checks know what is shared
#else
#define SHARED static
#endif
#define SYNC() shim_sync()
#define WARP_SYNC() shim_syncwarp()
#define DYNAMIC_SHARED(name) uint32_t* name = shim_dynamic_shared()

// Vectors are aligned to their size, as on the device.
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(16) uint4 {
	uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
	uint32_t x, y;
};

static inline float mul_rn(float a, float b) { return a * b; }
static inline float add_rn(float a, float b) { return a + b; }
static inline float div_rn(float a, float b) { return a / b; }
static inline float sqrt_rn(float a) { return std::sqrt(a); }
static inline float fma_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline int round_rn(float a) { return (int)std::nearbyint(a); }
static inline uint32_t float_bits(float f) {
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
}
static inline float bits_float(uint32_t u) {
	float f;
	memcpy(&f, &u, 4);
	return f;
}
static inline float half_float(uint16_t h) {
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
	if (exp == 31) return bits_float(sign | 0x7f800000u | man << 13);
	if (exp) return bits_float(sign | (exp + 112) << 23 | man << 13);
	float f = (float)man * 0x1p-24f;
	return sign ? -f : f;
}
static inline uint16_t float_half(float f) {
	uint32_t u = float_bits(f), sign = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	if (u > 0x7f800000) return sign | 0x7fff;
	if (u >= 0x477ff000) return sign | 0x7c00; // rounds to what is too large
	if (u < 0x38800000) return sign | (uint16_t)std::nearbyint(bits_float(u) * 0x1p24f);
	return sign | (u + 0xfff + (u >> 13 & 1) - (112u << 23)) >> 13;
}
static inline double sqrt_double(double a) { return std::sqrt(a); }
static inline double div_double(double a, double b) { return a / b; }
static inline float round_double(double a) { return (float)a; }
static inline uint32_t reverse_bits(uint32_t v) {
	uint32_t r = 0;
	for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
	return r;
}
static inline float bf16_float(uint16_t h) { return bits_float((uint32_t)h << 16); }

static inline uint32_t max_u8x4(uint32_t a, uint32_t b) {
	uint32_t r = 0;
	for (int i = 0; i < 32; i += 8) {
		uint32_t x = a >> i & 255, y = b >> i & 255;
		r |= (x > y ? x : y) << i;
	}
	return r;
}
static inline uint32_t sum_u8x4(uint32_t a, uint32_t c) { return c + (a & 255) + (a >> 8 & 255) + (a >> 16 & 255) + (a >> 24); }
static inline int popcount(uint32_t v) { return __builtin_popcount(v); }

void shim_atomic_or(uint32_t* p, uint32_t v);
void shim_atomic_add(uint32_t* p, uint32_t v);
#define ATOMIC_OR(p, v) shim_atomic_or(p, v)
#define ATOMIC_ADD(p, v) shim_atomic_add(p, v)

static inline uint32_t shuffle_xor(uint32_t v, int mask) {
	uint32_t* w = shim_warp_words();
	int lane = threadIdx.x % 32;
	w[lane * 8] = v;
	shim_warp_sync();
	return w[(lane ^ mask) * 8];
}
static inline float shuffle_xor(float v, int mask) { return bits_float(shuffle_xor(float_bits(v), mask)); }
static inline uint32_t shuffle_from(uint32_t v, int from) {
	uint32_t* w = shim_warp_words();
	w[threadIdx.x % 32 * 8] = v;
	shim_warp_sync();
	return w[from * 8];
}
static inline float shuffle_from(float v, int from) { return bits_float(shuffle_from(float_bits(v), from)); }
static inline uint32_t warp_ballot(int flag) {
	uint32_t* w = shim_warp_words();
	int lane = threadIdx.x % 32;
	w[lane * 8] = flag != 0;
	shim_warp_sync();
	uint32_t r = 0;
	for (int i = 0; i < 32; i++) r |= w[i * 8] << i;
	return r;
}

// mma gathers A (16 x 8*width) and B (8*width x 8) from the lanes' registers, each of which holds `width` elements, and
// calls add(row, column, k, a, b) for each of the products of this lane's four results.
template <int width, class Element, class Add>
static inline void shim_mma(const uint32_t a[4], const uint32_t b[2], Element element, Add add) {
	uint32_t* w = shim_warp_words();
	int lane = threadIdx.x % 32;
	for (int i = 0; i < 4; i++) w[lane * 8 + i] = a[i];
	for (int i = 0; i < 2; i++) w[lane * 8 + 4 + i] = b[i];
	shim_warp_sync();
	for (int i = 0; i < 4; i++) {
		// C: c0 and c1 in row lane/4, c2 and c3 in row lane/4 + 8, columns lane%4*2 + {0, 1}.
		int row = lane / 4 + (i >= 2 ? 8 : 0), col = lane % 4 * 2 + i % 2;
		for (int k = 0; k < 8 * width; k++) {
			// A: register 0 has row g, 1 row g+8, 2 and 3 the same with the upper half of k; the lane tig of a group of
			// four has elements tig*width and on. B: register 0 has the lower half of k, 1 the upper one.
			int half = k / (4 * width), tig = k % (4 * width) / width, e = k % width;
			uint32_t ra = w[(row % 8 * 4 + tig) * 8 + half * 2 + row / 8], rb = w[(col * 4 + tig) * 8 + 4 + half];
			add(i, element(ra, e), element(rb, e));
		}
	}
}

static inline void mma_s8(int32_t d[4], const uint32_t a[4], const uint32_t b[2]) {
	shim_mma<4>(a, b, [](uint32_t r, int e) { return (int32_t)(int8_t)(r >> (8 * e)); }, [&](int i, int32_t x, int32_t y) { d[i] += x * y; });
}
static inline void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
	shim_mma<2>(a, b, [](uint32_t r, int e) { return half_float((uint16_t)(r >> (16 * e))); }, [&](int i, float x, float y) { d[i] += x * y; });
}
static inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
	shim_mma<2>(a, b, [](uint32_t r, int e) { return bf16_float((uint16_t)(r >> (16 * e))); }, [&](int i, float x, float y) { d[i] += x * y; });
}
