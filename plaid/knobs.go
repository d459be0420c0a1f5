package plaid

import (
	"math"
	"runtime"
)

const (
	// exhaustiveDocs is the size of collection up to which stage 4 scores everything by default.
	exhaustiveDocs = 2000
	// floodDocs is the size up to which stage 3 looks at every document.
	floodDocs = 1 << 15
	// maxSelectivity bounds how far a filter multiplies NProbe: the probes are needed to find allowed
	// documents, but past this the lists of one token overlap with the other tokens' anyway.
	maxSelectivity = 64
)

// mode is the way a search takes.
type mode uint8

const (
	modeProbe      mode = iota // all four stages
	modeFlood                  // stage 2 skipped: every allowed document is a candidate
	modeExhaustive             // stage 4 only
)

// String is used in Stats.
func (m mode) String() string {
	return [...]string{"plaid", "flood", "exhaustive"}[m]
}

// knobs are the options after defaults, for n allowed documents out of live.
type knobs struct {
	k, nprobe, ndocs int
	threshold        float32
	mode             mode
	workers          int
}

// defaultNDocs is the shortlist's length for k hits out of n documents. On 12,000 real passages, with
// vectors of a model that was not trained for late interaction (so that centroids say little), 990 documents
// hold .98 of the exhaustive top 10 and 3,100 hold .985 of the top 100. The need grows about with the square
// roots of k and n.
func defaultNDocs(k, n int) int {
	d := 400 * math.Sqrt(float64(k)) * math.Sqrt(float64(n)/20000)
	return max(int(min(max(d, 256), 1<<16)), saturatingMul(k, 4))
}

// defaultNProbe follows PLAID's own table (section 5.1 of the paper: 1, 2, 4 for k = 10, 100, 1000),
// scaled by four because missed candidates cannot be won back later and lists are cheap here.
func defaultNProbe(k int) int {
	switch {
	case k <= 10:
		return 4
	case k <= 100:
		return 8
	default:
		return 16
	}
}

func resolve(k int, o *Options, live, allowed int) knobs {
	if o == nil {
		o = &Options{}
	}
	kn := knobs{k: k, nprobe: o.NProbe, ndocs: o.NDocs, threshold: o.CentroidThreshold, workers: o.Workers}
	if kn.workers == 0 {
		kn.workers = runtime.GOMAXPROCS(0)
	}
	auto := o.NProbe == 0 && o.NDocs == 0
	if kn.ndocs == 0 {
		kn.ndocs = defaultNDocs(k, allowed)
	}
	kn.ndocs = max(kn.ndocs, k)
	if kn.nprobe == 0 {
		kn.nprobe = defaultNProbe(k)
	}
	if allowed > 0 && allowed < live {
		kn.nprobe = saturatingMul(kn.nprobe, min((live+allowed-1)/allowed, maxSelectivity))
	}
	switch {
	case o.Exhaustive, k > allowed/2, auto && allowed <= rescoreDocs(k):
		kn.mode = modeExhaustive
	case auto && allowed <= exhaustiveDocs:
		kn.mode, kn.ndocs = modeFlood, max(kn.ndocs, allowed)
	case auto && allowed <= floodDocs:
		kn.mode = modeFlood
	}
	return kn
}

func saturatingMul(a, b int) int {
	if a > math.MaxInt32/max(b, 1) {
		return math.MaxInt32
	}
	return a * b
}
