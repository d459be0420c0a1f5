// libcuda for a machine without a device: the part of the driver's interface that the package uses, over host memory, with
// the kernels of kernels.cpp. Built by the tests as a shared library; see cuda.h. Calls are checked more strictly than
// the driver does: sizes of copies and freed pointers are tracked, and faults can be ordered (shim_fail). When kernels.cpp is
// compiled with -fsanitize=thread, every access of the kernels is checked, too: see check.h.
#include "driver.h"

#include <map>
#include <mutex>
#include <setjmp.h>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

// ---- Fibers.

dim3_t threadIdx, blockIdx, gridDim;

namespace {

constexpr size_t stack_size = 64 << 10;

struct barrier {
	int waiting = 0, generation = 0;
};

struct fiber {
	jmp_buf at;
	int syncs = 0; // of its warp that order memory
	std::vector<char> stack = std::vector<char>(stack_size);
	bool started = false, done = false;
};

struct block_state {
	std::vector<fiber> fibers;
	int current = 0, alive = 0, size = 0;
	barrier all;
	std::vector<barrier> warps;
	std::vector<int> warp_alive;
	std::vector<uint32_t> words, dynamic;
	size_t dynamic_bytes = 0;
	jmp_buf home;
	void (*body)(void**) = nullptr;
	void** args = nullptr;
} blk;

// yield goes back to the scheduler, which resumes the fibers in turn.
void yield() {
	if (_setjmp(blk.fibers[blk.current].at) == 0) _longjmp(blk.home, 1);
}

// entry is what a fiber does: one thread after another.
void entry() {
	for (;;) {
		blk.body(blk.args);
		blk.fibers[blk.current].done = true;
		blk.alive--;
		blk.warp_alive[blk.current / 32]--;
		yield();
	}
}

void wait(barrier& b, const int& alive) {
	int mine = b.generation;
	b.waiting++;
	while (b.generation == mine) {
		// Threads that have returned count as arrived.
		if (b.waiting >= alive) {
			b.waiting = 0;
			b.generation++;
			break;
		}
		yield();
	}
}

void run_block(int threads) {
	blk.size = blk.alive = threads;
	blk.all = barrier{};
	blk.warps.assign((threads + 31) / 32, barrier{});
	blk.warp_alive.assign((threads + 31) / 32, 0);
	for (int i = 0; i < threads; i++) blk.warp_alive[i / 32]++;
	blk.words.assign((threads + 31) / 32 * 512, 0);
	if ((int)blk.fibers.size() < threads) blk.fibers.resize(threads);
	for (int i = 0; i < threads; i++) blk.fibers[i].done = false, blk.fibers[i].syncs = 0;
	while (blk.alive > 0)
		for (int i = 0; i < threads; i++) {
			fiber& f = blk.fibers[i];
			if (f.done) continue;
			blk.current = i;
			threadIdx = {(unsigned)i, 0, 0};
			if (_setjmp(blk.home)) continue;
			if (f.started) _longjmp(f.at, 1);
			f.started = true;
			ucontext_t c;
			getcontext(&c);
			c.uc_stack.ss_sp = f.stack.data();
			c.uc_stack.ss_size = f.stack.size();
			c.uc_link = nullptr;
			makecontext(&c, entry, 0);
			setcontext(&c);
		}
}

} // namespace

void shim_sync() {
	wait(blk.all, blk.alive);
}
void shim_warp_sync() {
	int w = blk.current / 32;
	wait(blk.warps[w], blk.warp_alive[w]);
}
void shim_syncwarp() {
	shim_warp_sync();
	blk.fibers[blk.current].syncs++;
}
// The halves take turns: what one operation has left may still be read while the next one is written.
uint32_t* shim_warp_words() {
	int w = blk.current / 32;
	return &blk.words[w * 512 + (blk.warps[w].generation & 1) * 256];
}
uint32_t* shim_dynamic_shared() { return blk.dynamic.data(); }

// ---- The driver's interface.

namespace {

// guarded hands out memory that ends flush against a page without access, so that what reads or writes behind it faults.
constexpr size_t page = 4096;
size_t pages(size_t n) { return (n + 15 + page - 1) / page * page; }
void* guarded(size_t n) {
	char* base = (char*)mmap(nullptr, pages(n) + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED) return nullptr;
	mprotect(base + pages(n), page, PROT_NONE);
	return base + pages(n) - (n + 15) / 16 * 16;
}
void unguard(void* p, size_t n) { munmap((char*)p + (n + 15) / 16 * 16 - pages(n), pages(n) + page); }

std::mutex mu; // one launch at a time
std::map<uintptr_t, size_t> memory, pinned;
bool held = false;
size_t used = 0, capacity = 1 << 30;
std::map<std::string, std::pair<int, int>> faults; // of each function: calls until it fails, and its error

constexpr int plain_shared = 48 << 10, most_shared = 160 << 10;

enum { ok = 0, invalid_value = 1, out_of_memory = 2, not_found = 500, not_ready = 600 };

// fault says whether the call of a function is to fail.
int fault(const char* f) {
	std::lock_guard<std::mutex> l(mu);
	auto i = faults.find(f);
	if (i == faults.end() || --i->second.first > 0) return 0;
	return i->second.second;
}
#define FAULT(f) if (int e = fault(f)) return e

#include "check.h"

bool inside(uintptr_t p, size_t n) {
	auto i = memory.upper_bound(p);
	if (i == memory.begin()) return false;
	--i;
	return p >= i->first && p + n <= i->first + i->second;
}

// launch_block runs one block of a kernel.
void launch_block(void (*body)(void**), void** args, int threads, size_t shared) {
	blk.dynamic.assign((shared + 15) / 16 * 4 + 4, 0xcdcdcdcd);
	blk.dynamic_bytes = shared;
	blk.body = body;
	blk.args = args;
	block_number++;
	run_block(threads);
}

} // namespace

void shim_atomic_or(uint32_t* p, uint32_t v) {
	if (checking) check((uintptr_t)p, 4, true, true);
	*p |= v; // fibers switch at barriers only
}
void shim_atomic_add(uint32_t* p, uint32_t v) {
	if (checking) check((uintptr_t)p, 4, true, true);
	*p += v;
}

extern "C" {

// shim_reset sets the memory of the device and forgets faults; it returns the number of allocations that were left.
int shim_reset(size_t bytes) {
	std::lock_guard<std::mutex> l(mu);
	int left = (int)(memory.size() + pinned.size());
	for (auto& m : memory) unguard((void*)m.first, m.second);
	for (auto& m : pinned) unguard((void*)m.first, m.second);
	memory.clear();
	pinned.clear();
	check_reset();
	used = 0;
	capacity = bytes;
	faults.clear();
	held = false;
	return left;
}
// shim_fail makes the nth next call of a function, and those after it, fail.
void shim_fail(const char* f, int nth, int error) {
	std::lock_guard<std::mutex> l(mu);
	faults[f] = {nth, error};
}

// shim_hold makes events, from now on or no longer, look as if what came before them was still under way.
void shim_hold(int on) {
	std::lock_guard<std::mutex> l(mu);
	held = on;
}

// shim_report tells what the checks have found, and forgets it.
const char* shim_report() {
	std::lock_guard<std::mutex> l(mu);
	static std::string last;
	last.swap(report);
	report.clear();
	return last.c_str();
}

// shim_mma runs one tensor-core product of a warp: registers lane by lane, 4 of a, 2 of b, 4 of d.
int shim_mma(int kind, const uint32_t* a, const uint32_t* b, uint32_t* d) {
	std::lock_guard<std::mutex> l(mu);
	void* args[] = {&kind, &a, &b, &d};
	launch_block(shim_mma_body, args, 32, 0);
	return ok;
}

int cuInit(unsigned) { FAULT("cuInit"); return ok; }
int cuDriverGetVersion(int* v) { *v = 12000; return ok; }
int cuDeviceGetCount(int* n) { FAULT("cuDeviceGetCount"); *n = 1; return ok; }
int cuDeviceGet(int* d, int n) { if (n) return 101; *d = 0; return ok; }
int cuDeviceGetName(char* s, int n, int) { strncpy(s, "host emulation", n); return ok; }
int cuDeviceGetAttribute(int* v, int attribute, int) {
	switch (attribute) {
	case 75: *v = 8; return ok;  // compute capability, major
	case 76: *v = 0; return ok;  // minor
	case 13: *v = 1000000; return ok; // kHz
	case 16: *v = 2; return ok;  // multiprocessors
	case 97: *v = most_shared; return ok; // shared memory per block, opt-in
	}
	return invalid_value;
}
int cuDeviceTotalMem_v2(size_t* n, int) { *n = capacity; return ok; }
int cuDevicePrimaryCtxRetain(void** c, int) { FAULT("cuDevicePrimaryCtxRetain"); *c = &blk; return ok; }
int cuDevicePrimaryCtxRelease_v2(int) { return ok; }
int cuCtxSetCurrent(void*) { return ok; }
int cuCtxSynchronize() { return ok; }
int cuMemGetInfo_v2(size_t* f, size_t* t) { *f = capacity - used; *t = capacity; return ok; }
int cuMemAlloc_v2(uintptr_t* p, size_t n) {
	FAULT("cuMemAlloc_v2");
	std::lock_guard<std::mutex> l(mu);
	if (n == 0) return invalid_value;
	if (used + n > capacity) return out_of_memory;
	if (!(*p = (uintptr_t)guarded(n))) return out_of_memory;
	memset((void*)*p, 0xcd, n); // nothing may rely on zeros
	memory[*p] = n;
	check_forget(*p, n);
	used += n;
	return ok;
}
int cuMemFree_v2(uintptr_t p) {
	std::lock_guard<std::mutex> l(mu);
	auto i = memory.find(p);
	if (i == memory.end()) return invalid_value;
	used -= i->second;
	unguard((void*)p, i->second);
	memory.erase(i);
	return ok;
}
int cuMemHostAlloc(void** p, size_t n, unsigned) {
	FAULT("cuMemHostAlloc");
	std::lock_guard<std::mutex> l(mu);
	if (!n || !(*p = guarded(n))) return out_of_memory;
	memset(*p, 0xcd, n);
	pinned[(uintptr_t)*p] = n;
	return ok;
}
int cuMemFreeHost(void* p) {
	std::lock_guard<std::mutex> l(mu);
	auto i = pinned.find((uintptr_t)p);
	if (i == pinned.end()) return invalid_value;
	unguard(p, i->second);
	pinned.erase(i);
	return ok;
}
int cuMemcpyHtoDAsync_v2(uintptr_t d, const void* s, size_t n, void*) {
	FAULT("cuMemcpyHtoDAsync_v2");
	std::lock_guard<std::mutex> l(mu);
	if (!inside(d, n)) return invalid_value;
	memcpy((void*)d, s, n);
	check_written(d, n);
	return ok;
}
int cuMemcpyDtoHAsync_v2(void* d, uintptr_t s, size_t n, void*) {
	FAULT("cuMemcpyDtoHAsync_v2");
	std::lock_guard<std::mutex> l(mu);
	if (!inside(s, n)) return invalid_value;
	memcpy(d, (void*)s, n);
	return ok;
}
int cuMemcpyDtoDAsync_v2(uintptr_t d, uintptr_t s, size_t n, void*) {
	FAULT("cuMemcpyDtoDAsync_v2");
	std::lock_guard<std::mutex> l(mu);
	if (!inside(d, n) || !inside(s, n)) return invalid_value;
	memcpy((void*)d, (void*)s, n);
	check_written(d, n);
	return ok;
}
int cuMemsetD32Async(uintptr_t d, unsigned v, size_t n, void*) {
	std::lock_guard<std::mutex> l(mu);
	if (!inside(d, 4 * n)) return invalid_value;
	for (size_t i = 0; i < n; i++) ((uint32_t*)d)[i] = v;
	check_written(d, 4 * n);
	return ok;
}
int cuModuleLoadDataEx(void** m, const void* image, unsigned, int*, void**) {
	FAULT("cuModuleLoadDataEx");
	if (!strstr((const char*)image, ".version 7.0") || !strstr((const char*)image, ".target sm_80")) return 218;
	for (kernel* k = kernels; k->name; k++) k->shared = plain_shared;
	*m = &blk;
	return ok;
}
int cuModuleUnload(void*) { return ok; }
int cuModuleGetFunction(void** f, void*, const char* name) {
	for (kernel* k = kernels; k->name; k++)
		if (!strcmp(k->name, name)) {
			*f = (void*)k;
			return ok;
		}
	return not_found;
}
int cuFuncSetAttribute(void* f, int attribute, int v) {
	FAULT("cuFuncSetAttribute");
	if (attribute != 8 || v < 0 || v > most_shared) return invalid_value;
	((kernel*)f)->shared = v;
	return ok;
}
int cuStreamCreate(void** s, unsigned) { *s = malloc(1); return ok; }
int cuStreamDestroy_v2(void* s) { free(s); return ok; }
int cuStreamSynchronize(void*) { FAULT("cuStreamSynchronize"); return ok; }
int cuEventCreate(void** e, unsigned) { FAULT("cuEventCreate"); *e = malloc(1); return ok; }
int cuEventDestroy_v2(void* e) { free(e); return ok; }
int cuEventRecord(void*, void*) { FAULT("cuEventRecord"); return ok; }
int cuEventQuery(void*) {
	FAULT("cuEventQuery");
	std::lock_guard<std::mutex> l(mu);
	return held ? not_ready : ok;
}
int cuGetErrorName(int e, const char** s) {
	*s = e == out_of_memory ? "CUDA_ERROR_OUT_OF_MEMORY" : e == 999 ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR";
	return ok;
}
int cuGetErrorString(int, const char** s) { *s = "an error of the emulation"; return ok; }
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void*, void** args, void**) {
	FAULT("cuLaunchKernel");
	auto k = (const kernel*)f;
	if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || (int)bx > k->threads || by != 1 || bz != 1 || (int)shared > k->shared) return invalid_value;
	std::lock_guard<std::mutex> l(mu);
	gridDim = {gx, gy, gz};
	check_launch(k->name);
	for (unsigned z = 0; z < gz; z++)
		for (unsigned y = 0; y < gy; y++)
			for (unsigned x = 0; x < gx; x++) {
				blockIdx = {x, y, z};
				launch_block(k->f, args, bx, shared);
			}
	return ok;
}
}
