package kernel

import (
	"runtime"
	"testing"
	"time"
)

// eachISABench runs a benchmark for every available implementation. One iteration does flops floating-point operations;
// the rate, by processor time, is reported beside its fraction of the peak of the same instruction set, measured in
// the same process.
func eachISABench(b *testing.B, prefix string, flops float64, f func(l isa)) {
	eachISABenchPeak(b, prefix, flops, measurePeakAt, f)
}

// eachISABenchPeak is eachISABench with another peak; where that is 0 it is not reported.
func eachISABenchPeak(b *testing.B, prefix string, flops float64, peakAt func(isa, time.Duration) float64, f func(l isa)) {
	for _, im := range impls {
		if !im.Available {
			continue
		}
		b.Run(prefix+"/"+im.Name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			peak := peakAt(im.ISA, 30*time.Millisecond)
			f(im.ISA)
			start := threadTime()
			for b.Loop() {
				f(im.ISA)
			}
			rate := flops * float64(b.N) / float64((threadTime() - start).Nanoseconds())
			b.ReportMetric(rate, "GFLOP/s")
			b.ReportMetric(float64((threadTime()-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
			if im.ISA != isaGeneric && peak > 0 {
				b.ReportMetric(rate/peak, "of-peak")
			}
		})
	}
}
