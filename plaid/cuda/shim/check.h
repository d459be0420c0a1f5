// What NVIDIA's compute-sanitizer would look at, on the emulation: part of driver.cpp.
//
// kernels.cpp compiled with -fsanitize=thread calls a function before every access to memory; these are ours, not the
// sanitizer's library. An access must lie inside one allocation, or the block's shared memory, or the thread's own stack
// (memcheck), be aligned to its size, which the device wants and the host does not, read nothing that was not written
// (initcheck), and not race (racecheck): of two accesses of different threads to a byte, one of them a write, a barrier must
// come between, or both must be atomic. Barriers are SYNC for a block and WARP_SYNC for a warp; shuffles, votes and
// tensor-core products order no memory. Blocks of a launch have no order among them at all.

std::string report;
bool checking = false;

struct stamp { // one access
	uint32_t block = 0; // counted through all launches; 0 is none
	uint16_t thread = 0;
	bool atomic = false;
	int syncs = 0, warp_syncs = 0;
};

struct cell { // one byte
	stamp write, read, other; // the last write, the last read, and the last one of another warp
	bool written = false;
};

constexpr size_t cells = 64;
struct line {
	cell c[cells];
};
std::map<uintptr_t, line> shadow;
uint32_t block_number = 0, launch_first = 0;
const char* launched = "";

#ifdef __ELF__
extern "C" __attribute__((visibility("hidden"))) char __start_shim_shared[], __stop_shim_shared[];
#else
char __start_shim_shared[1], *__stop_shim_shared = __start_shim_shared;
#endif

void check_launch(const char* name) {
	launched = name;
	launch_first = block_number + 1;
}

// cell_of finds the cell of a byte, mostly in a line that was looked for before.
struct {
	uintptr_t number;
	line* at;
} recent[4096];

cell& cell_of(uintptr_t p) {
	uintptr_t number = p / cells;
	auto& r = recent[number % 4096];
	if (r.number != number) r = {number, &shadow[number]};
	return r.at->c[p % cells];
}

void check_reset() {
	shadow.clear();
	memset(recent, 0, sizeof recent);
	report.clear();
}

void check_written(uintptr_t p, size_t n) {
	if (!checking) return;
	for (size_t i = 0; i < n; i++) cell_of(p + i).written = true;
}
void check_forget(uintptr_t p, size_t n) {
	if (!checking) return;
	for (size_t i = 0; i < n; i++) cell_of(p + i) = cell{};
}

void complain(const char* what, uintptr_t p, size_t n, const char* where, size_t offset) {
	if (report.size() > 4000) return;
	char s[300];
	snprintf(s, sizeof s, "%s: %s: %zu bytes at %s + %zu (%p), block %u,%u, thread %u\n", launched, what, n, where, offset, (void*)p, blockIdx.x,
	         blockIdx.y, threadIdx.x);
	report += s;
}

// before says whether an access is ordered before the current one.
bool before(const stamp& s, const stamp& now, bool shared) {
	if (s.block < launch_first || (shared && s.block != now.block)) return true;
	if (s.block != now.block) return false;
	return s.thread == now.thread || s.syncs < now.syncs || (s.thread / 32 == now.thread / 32 && s.warp_syncs < now.warp_syncs);
}

void check(uintptr_t p, size_t n, bool write, bool atomic = false) {
	if (blk.current < 0 || blk.size == 0) return;
	fiber& f = blk.fibers[blk.current];
	auto in = [&](const void* base, size_t size) { return p >= (uintptr_t)base && p + n <= (uintptr_t)base + size; };
	if (in(f.stack.data(), f.stack.size())) return;
	if (in(blk.words.data(), blk.words.size() * 4) || in(&threadIdx, sizeof threadIdx) || in(&blockIdx, sizeof blockIdx) || in(&gridDim, sizeof gridDim)) return;
	const char* where = "global memory";
	bool shared = true;
	size_t offset = 0;
	if (in(__start_shim_shared, __stop_shim_shared - __start_shim_shared)) {
		where = "static shared memory", offset = p - (uintptr_t)__start_shim_shared;
	} else if (in(blk.dynamic.data(), blk.dynamic_bytes)) {
		where = "dynamic shared memory", offset = p - (uintptr_t)blk.dynamic.data();
	} else {
		shared = false;
		auto i = memory.upper_bound(p);
		if (i == memory.begin()) return complain("out of bounds", p, n, "nothing", 0);
		--i;
		offset = p - i->first;
		if (offset + n > i->second) return complain("out of bounds", p, n, where, offset);
	}
	if (p % n) complain("misaligned", p, n, where, offset);
	stamp now{block_number, (uint16_t)blk.current, atomic, blk.all.generation, f.syncs};
	for (size_t i = 0; i < n; i++) {
		cell& c = cell_of(p + i);
		bool known = shared ? c.write.block == now.block : c.written;
		if ((!write || atomic) && !known) return complain("read of what was not written", p, n, where, offset);
		if (!before(c.write, now, shared) && !(atomic && c.write.atomic)) return complain(write ? "two writes race" : "a read races with a write", p, n, where, offset);
		if (write) {
			if ((!before(c.read, now, shared) && !(atomic && c.read.atomic)) || (!before(c.other, now, shared) && !(atomic && c.other.atomic)))
				return complain("a write races with a read", p, n, where, offset);
			c.write = now, c.written = true;
		} else {
			if (c.read.block != now.block || c.read.thread / 32 != now.thread / 32) c.other = c.read;
			c.read = now;
		}
	}
}

// ---- What the compiler calls.

#define ACCESS(n)                                                                            \
	extern "C" void __tsan_read##n(void* p) { check((uintptr_t)p, n, false); }               \
	extern "C" void __tsan_write##n(void* p) { check((uintptr_t)p, n, true); }               \
	extern "C" void __tsan_unaligned_read##n(void* p) { check((uintptr_t)p, n, false); }     \
	extern "C" void __tsan_unaligned_write##n(void* p) { check((uintptr_t)p, n, true); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
extern "C" void __tsan_read_range(void* p, size_t n) { check((uintptr_t)p, n, false); }
extern "C" void __tsan_write_range(void* p, size_t n) { check((uintptr_t)p, n, true); }
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() { checking = true; }
