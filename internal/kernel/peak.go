package kernel

import (
	"runtime"
	"time"
)

// MeasurePeak runs a loop of nothing but independent fused multiply-adds on registers, for about the given time, and
// returns the best rate seen in GFLOP/s: the ceiling that the product kernels are measured against. With the generic ISA
// it returns the rate of scalar Go code. It is for benchmarks.
func MeasurePeak(d time.Duration) float64 { return measurePeakAt(active, d) }

func measurePeakAt(l isa, d time.Duration) float64 {
	// One round takes 12 to 24 cycles; 4096 rounds stay under 50 microseconds.
	const rounds = 4096
	var best float64
	for start := time.Now(); ; {
		t := time.Now()
		flops := peakFMA(l, rounds)
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
