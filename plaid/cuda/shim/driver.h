// What the parts of the emulation share.
#pragma once
#include "cuda.h"

struct kernel {
	const char* name; // null at the end of the table
	void (*f)(void**);
	int threads;
	int shared; // bytes of dynamic shared memory that a block may have
};

extern kernel kernels[];
void shim_mma_body(void** args);
