package kernel

import "os"

// isa is a level of vector instructions; higher levels include the lower ones.
type isa uint8

const (
	isaGeneric isa = iota
	isaNEON        // the vectors of arm64, of 128 bits; before those of amd64, which compare their levels
	isaAVX2        // AVX2, FMA, F16C
	isaAVX512      // AVX-512 F, BW, DQ, VL on top of AVX2
	isaVNNI        // AVX-512 VNNI: 8-bit integer products
	isaBF16        // AVX-512 BF16: bfloat16 products
)

// EnvSIMD is the environment variable that overrides the choice of instruction set; see the package comment.
const EnvSIMD = "GOLBERT_SIMD"

// impl is one row of the table of implementations: every primitive has a function that takes the level as its
// first argument, and tests and benchmarks run through the levels that are available.
type impl struct {
	Name      string
	ISA       isa
	Available bool
}

// impls lists the implementations from the slowest to the fastest.
var impls = []impl{
	{"generic", isaGeneric, true},
	{"neon", isaNEON, hasNEON()},
	{"avx2", isaAVX2, hasAVX2()},
	{"avx512", isaAVX512, hasAVX512()},
	{"avx512vnni", isaVNNI, hasVNNI()},
	{"avx512bf16", isaBF16, hasBF16()},
}

// active is the level that the exported functions use.
var active = chooseISA(os.Getenv(EnvSIMD))

// ISA names the selected instruction set: "avx512bf16", "avx512vnni", "avx512", "avx2", "neon" or "generic".
func ISA() string { return impls[active].Name }

// ISAs names the instruction sets that this machine has, the slowest first.
func ISAs() []string {
	var names []string
	for _, im := range impls {
		if im.Available {
			names = append(names, im.Name)
		}
	}
	return names
}

// WithISA runs f with another of the ISAs selected; an unknown name selects the best one. Nothing else may use the
// package meanwhile: it is for benchmarks.
func WithISA(name string, f func()) {
	before := active
	active = chooseISA(name)
	defer func() { active = before }()
	f()
}

// chooseISA returns the best available level, or the best available one not above the one named.
func chooseISA(name string) isa {
	limit := impls[len(impls)-1].ISA
	for _, im := range impls {
		if im.Name == name {
			limit = im.ISA
		}
	}
	best := isaGeneric
	for _, im := range impls {
		if im.Available && im.ISA <= limit {
			best = im.ISA
		}
	}
	return best
}

// FastInt8 tells whether the processor multiplies bytes faster than float32.
func FastInt8() bool {
	return active == isaVNNI || active == isaBF16 || active == isaNEON && hasDot()
}

// LevelBF16 and LevelInt8 name the level whose code products with PackedBF16 and PackedInt8 run: a processor without
// instructions for them multiplies with those of a lower level, "generic" being plain Go.
func LevelBF16() string {
	switch {
	case active == isaNEON || active == isaGeneric:
		return impls[isaGeneric].Name
	case active < isaBF16:
		return impls[isaAVX2].Name
	}
	return impls[isaBF16].Name
}

// LevelInt8 is described at LevelBF16.
func LevelInt8() string {
	switch {
	case active == isaNEON && hasDot():
		return impls[isaNEON].Name
	case active == isaNEON || active == isaGeneric:
		return impls[isaGeneric].Name
	case active < isaVNNI:
		return impls[isaAVX2].Name
	}
	return impls[isaVNNI].Name
}

// LevelFloat32 is LevelBF16 for Packed.
func LevelFloat32() string {
	if active == isaVNNI || active == isaBF16 {
		return impls[isaAVX512].Name
	}
	return impls[active].Name
}
