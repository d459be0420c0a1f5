package kernel

import (
	"runtime"
	"time"
)

// MeasurePeak runs a loop of nothing but independent fused multiply-adds on registers, for about the given time, and
// returns the best rate seen in GFLOP/s: the ceiling that the product kernels are measured against. With the generic ISA
// it returns the rate of scalar Go code. It is for benchmarks.
func MeasurePeak(d time.Duration) float64 { return measurePeakAt(active, d) }

// MeasurePeakBF16 and MeasurePeakInt8 are MeasurePeak for the dot-product instructions of 16 and 8 bits. Where a level has
// none they are 0.
func MeasurePeakBF16(d time.Duration) float64 { return measurePeakBF16At(active, d) }

// MeasurePeakInt8 is described at MeasurePeakBF16.
func MeasurePeakInt8(d time.Duration) float64 { return measurePeakInt8At(active, d) }

func measurePeakAt(l isa, d time.Duration) float64 {
	return bestRate(d, func(rounds int) int { return peakFMA(l, rounds) })
}

func measurePeakBF16At(l isa, d time.Duration) float64 {
	if l < isaBF16 {
		return 0
	}
	return bestRate(d, peakDotBF16)
}

func measurePeakInt8At(l isa, d time.Duration) float64 {
	if l < isaVNNI {
		return 0
	}
	return bestRate(d, peakDotInt8)
}

// bestRate runs a loop again and again, which returns its number of operations.
func bestRate(d time.Duration, run func(rounds int) int) float64 {
	// One round takes 6 to 24 cycles; 4096 rounds stay under 50 microseconds.
	const rounds = 4096
	var best float64
	for start := time.Now(); ; {
		t := time.Now()
		flops := run(rounds)
		rate := float64(flops) / float64(time.Since(t).Nanoseconds())
		best = max(best, rate)
		if time.Since(start) > d {
			return best
		}
	}
}

func peakFMAGeneric(rounds int) int {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(rounds), float32(1)
	for range rounds {
		a += x * y
		b += x * y
		c += x * y
		d += x * y
		e += x * y
		f += x * y
		g += x * y
		h += x * y
		x, y = y, x
	}
	runtime.KeepAlive(a + b + c + d + e + f + g + h)
	return rounds * 16
}
