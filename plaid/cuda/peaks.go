//go:build darwin || linux || windows

package cuda

import (
	"context"
	"time"
)

// Peaks is what a device can do at most, as measured: the ceilings that the kernels' speed is compared with.
type Peaks struct {
	// Copy is the rate of a copy within device memory, bytes read and written per second.
	Copy float64
	// MMA is the rate of dense float16 tensor-core products (mma.sync, sums in float32) in operations per second, two for a
	// multiply-add. Hopper does about half as many again by wgmma, which the kernels do not use.
	MMA float64
}

const (
	peakTime   = 50 * time.Millisecond // that a measurement is to take, so that starting it does not count
	peakBytes  = 2 << 30               // of a copy; more than caches hold
	mmaOps     = 2 * 16 * 8 * 16       // of one product
	mmaChains  = 8                     // of a warp in mma_rate
	mmaLaunch  = 16                    // blocks per multiprocessor
	peakRounds = 3                     // of which the best counts
)

// Peaks measures the device, which should do nothing else meanwhile; it takes under a second and up to 4 GiB of its memory
// for that time. Errors: ErrOutOfMemory, ErrLost, ErrClosed, the context's.
func (v *Device) Peaks(ctx context.Context) (p Peaks, err error) {
	err = v.withStream(ctx, func(s *stream) error {
		var from, to, sums mem
		blocks, threads := mmaLaunch*max(v.info.Multiprocessors, 1), maxsimThreads
		err := s.submit(ctx, func() {
			var free int
			if free, s.err = v.freeMemory(); s.err != nil {
				return
			}
			size := min(peakBytes, free/8) &^ 3
			from, to, sums = s.room("from", size), s.room("to", size), s.room("sums", 4*blocks*threads)
			s.fill(from, 1)
		})
		if err != nil {
			return err
		}
		copies, err := s.rate(ctx, func(n int) {
			for range n {
				s.copyWithin(to, from)
			}
		})
		if err != nil {
			return err
		}
		products, err := s.rate(ctx, func(n int) { s.run("mma_rate", blocks, 1, threads, 0, sums, n) })
		p.Copy = copies * 2 * float64(from.size)
		p.MMA = products * mmaOps * mmaChains * float64(blocks*threads/32)
		return err
	})
	return p, err
}

// rate is how many times per second something is done, of which f queues n.
func (s *stream) rate(ctx context.Context, f func(n int)) (best float64, err error) {
	n := 1
	for round := 0; round < peakRounds; {
		start := time.Now()
		if err := s.finish(ctx, func() { f(n) }); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if took < peakTime && n < 1<<24 {
			n *= 2
			continue
		}
		best = max(best, float64(n)/took.Seconds())
		round++
	}
	return best, nil
}
