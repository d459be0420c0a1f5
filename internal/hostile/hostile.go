// Package hostile makes files that lie about sizes, for tests of parsers of untrusted bytes. It is used by tests
// only.
package hostile

import (
	"bytes"
	"encoding/binary"
	"math"
	"regexp"
	"runtime"
	"testing"
)

// values are what a liar would write for a length, a count or an offset.
var values = []uint64{1 << 20, math.MaxInt32, math.MaxUint32, 1 << 40, math.MaxInt64, math.MaxUint64}

// texts are the same for files that are text.
var texts = []string{"1048577", "2147483647", "4294967296", "1099511627776", "9223372036854775807", "18446744073709551615", "-1", "1e308"}

var number = regexp.MustCompile(`[0-9]+`)

// positions bounds how many places of a file are tried.
const positions = 120

// Sizes puts huge numbers wherever a number may stand in files that are sound: binary in both orders and as varints,
// and text. Whatever parse says of them, it must not panic, and must not take more than factor times the file's length
// and spare bytes from the heap, freed or not.
func Sizes(t testing.TB, files [][]byte, factor, spare uint64, parse func([]byte)) {
	t.Helper()
	count, most := 0, 0.0
	try := func(b []byte, what any, at int) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parse(b)
		runtime.ReadMemStats(&after)
		n := after.TotalAlloc - before.TotalAlloc
		if n > factor*uint64(len(b))+spare {
			t.Errorf("%v at %d of %d bytes: parsing takes %d bytes of memory", what, at, len(b), n)
		}
		most = max(most, (float64(n)-float64(spare))/float64(len(b)))
		count++
	}
	for _, whole := range files {
		try(whole, "nothing", 0)
		stride := 1 + len(whole)/positions
		for at := 0; at < len(whole); at += stride {
			for _, v := range values {
				for _, p := range [][]byte{
					binary.LittleEndian.AppendUint64(nil, v), binary.BigEndian.AppendUint64(nil, v),
					binary.LittleEndian.AppendUint32(nil, uint32(v)), binary.BigEndian.AppendUint32(nil, uint32(v)),
					binary.AppendUvarint(nil, v),
				} {
					if len(p) <= len(whole)-at {
						b := bytes.Clone(whole)
						copy(b[at:], p)
						try(b, v, at)
					}
				}
			}
		}
		found := number.FindAllIndex(whole, positions)
		for _, at := range found {
			for _, s := range texts {
				b := append(bytes.Clone(whole[:at[0]]), s...)
				try(append(b, whole[at[1]:]...), s, at[0])
			}
		}
	}
	if factor > 0 {
		t.Logf("hostile_files=%d panics=0 memory <= %.1f x file + %d KiB", count, max(most, 0), spare>>10)
	}
}
